// Forty people's traits, each changed three times within an instant, with @segment/analytics-node. Arguments: host, write key.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushInterval: 50, maxEventsInBatch: 15 });
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
const second = new Date(Math.floor(Date.now() / 1000) * 1000);
for (let person = 0; person < 40; person++) {
  for (const plan of ["basic", "silver", "gold"]) {
    analytics.identify({ userId: `u-${person}`, traits: { plan }, timestamp: second });
  }
}
await analytics.closeAndFlush({ timeout: 20_000 });
