// Ann's visit with @rudderstack/rudder-sdk-node. Arguments: host, write key.
import RudderAnalytics from "@rudderstack/rudder-sdk-node";

const [host, writeKey] = process.argv.slice(2);
const client = new RudderAnalytics(writeKey, { dataPlaneUrl: host, flushInterval: 50, logLevel: "error" });
client.identify({ userId: "ann", traits: { email: "ann@example.com" } });
client.track({ userId: "ann", event: "Order Completed", properties: { order_id: "o-1", total: 42.5, currency: "EUR" } });
client.page({ userId: "ann", name: "Docs", properties: { url: "https://shop.example/docs" } });
client.screen({ userId: "ann", name: "Home" });
client.group({ userId: "ann", groupId: "acme", traits: { name: "Acme" } });
client.alias({ userId: "ann", previousId: "anon-1" });
await new Promise((resolve, reject) => client.flush((error) => (error ? reject(error) : resolve())));
