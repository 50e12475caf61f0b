//! Every QoS with payloads of every size.

use mqtt_tokio::{Client, ProtocolVersion, PubSub};

use crate::broker::Mosquitto;
use crate::support::{DRAIN, EVERY_QOS, in_both_versions, next, options, silent};

in_both_versions!(every_qos_and_size);

async fn every_qos_and_size(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let client = Client::<PubSub>::connect(&broker.uri(), options("a", version)).await.unwrap();
    for granted in EVERY_QOS {
        let mut stream = client.subscribe("round/+", granted).await.unwrap();
        for qos in EVERY_QOS {
            for len in [0, 1, 64 * 1024, 1024 * 1024] {
                let payload: Vec<u8> = (0..len).map(|at: u32| (at / 251) as u8 ^ (at % 251) as u8).collect();
                client.publish("round/trip", payload.clone()).qos(qos).await.unwrap();
                let message = next(&mut stream).await;
                assert_eq!((message.topic(), message.qos()), ("round/trip", qos.min(granted)));
                assert!(message.payload() == payload, "{len} bytes come as they were");
                assert!(!message.retain() && !message.dup());
            }
        }
        silent(&mut stream).await;
        stream.unsubscribe().await.unwrap();
    }
    client.disconnect(DRAIN).await.unwrap();
}
