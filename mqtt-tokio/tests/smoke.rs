//! The main job over real TCP, in short.

use std::time::Duration;

use mqtt_tokio::testing::TestBroker;
use mqtt_tokio::{Client, Drain, Options, PubSub, QoS};

#[tokio::test]
async fn publishes_and_receives() {
    let broker = TestBroker::start().await.unwrap();
    let client =
        Client::<PubSub>::connect(&broker.uri(), Options::new("a").clean_session(false)).await.unwrap();
    let mut all = client.subscribe("t/#", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish("t/x", "hello").qos(qos).await.unwrap();
        let message = all.next().await.unwrap();
        assert_eq!((message.topic(), message.payload(), message.qos()), ("t/x", &b"hello"[..], qos));
    }
    let mut status = client.status();
    for n in 0..1000_u32 {
        if n % 100 == 50 {
            broker.cut_all();
        }
        drop(client.publish("t/n", n.to_be_bytes().to_vec()).qos(QoS::ExactlyOnce).receipt().await.unwrap());
    }
    println!("{:?}", status.next().await);
    for n in 0..1000_u32 {
        let message = all.next().await.unwrap();
        assert_eq!(message.payload(), n.to_be_bytes());
    }
    client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
}
