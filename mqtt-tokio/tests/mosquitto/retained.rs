//! Retained messages.

use mqtt_tokio::{Client, ProtocolVersion, PubSub, QoS};

use crate::broker::Mosquitto;
use crate::support::{EVERY_QOS, in_both_versions, next, options, silent};

in_both_versions!(set_received_and_cleared);

async fn set_received_and_cleared(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let client = Client::<PubSub>::connect(&broker.uri(), options("a", version)).await.unwrap();
    for qos in EVERY_QOS {
        let mut before = client.subscribe("state", QoS::ExactlyOnce).await.unwrap();
        client.publish("state", "on").qos(qos).retain(true).await.unwrap();
        let live = next(&mut before).await;
        assert_eq!((live.payload(), live.qos(), live.retain()), (&b"on"[..], qos, false));
        before.unsubscribe().await.unwrap();

        let mut after = client.subscribe("state", QoS::ExactlyOnce).await.unwrap();
        let kept = next(&mut after).await;
        assert_eq!((kept.payload(), kept.qos(), kept.retain()), (&b"on"[..], qos, true));

        client.publish("state", "").qos(qos).retain(true).await.unwrap();
        let cleared = next(&mut after).await;
        assert_eq!((cleared.payload(), cleared.retain()), (&b""[..], false));
        after.unsubscribe().await.unwrap();

        let mut nothing = client.subscribe("state", QoS::ExactlyOnce).await.unwrap();
        silent(&mut nothing).await;
        nothing.unsubscribe().await.unwrap();
    }
}
