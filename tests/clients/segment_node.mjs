// Ann's visit with @segment/analytics-node. Arguments: host, write key.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushInterval: 50 });
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
analytics.identify({ userId: "ann", traits: { email: "ann@example.com" } });
analytics.track({ userId: "ann", event: "Order Completed", properties: { order_id: "o-1", total: 42.5, currency: "EUR" } });
analytics.page({ userId: "ann", category: "Guides", name: "Docs" });
analytics.screen({ userId: "ann", category: "App", name: "Home" });
analytics.group({ userId: "ann", groupId: "acme", traits: { name: "Acme" } });
analytics.alias({ userId: "ann", previousId: "anon-1" });
await analytics.closeAndFlush({ timeout: 20_000 });
