//! The will, published when the connection breaks and only then.

use mqtt_tokio::{
    Builder, Client, Drain, Options, ProtocolVersion, Publisher, QoS, Subscriber, TopicName, Will,
};

use crate::broker::Mosquitto;
use crate::support::{EVERY_QOS, in_both_versions, next, options, silent};

in_both_versions!(published_on_abnormal_close, not_published_after_disconnect);

fn with_will(version: ProtocolVersion, qos: QoS) -> Options {
    // A will is binary.
    let will = Will::new(TopicName::new("will").unwrap(), &b"gone\0\xff"[..]).qos(qos);
    options("mortal", version).will(will)
}

async fn published_on_abnormal_close(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let heir = Client::<Subscriber>::connect(&broker.uri(), options("heir", version)).await.unwrap();
    let mut wills = heir.subscribe("will", QoS::ExactlyOnce).await.unwrap();
    for qos in EVERY_QOS {
        let builder = Builder::new(&broker.uri(), with_will(version, qos)).unwrap();
        let (client, mut driver) = builder.build::<Publisher>().unwrap();
        tokio::select! {
            ended = &mut driver => panic!("{ended:?}"),
            connected = client.connected() => connected.unwrap(),
        }
        assert!(wills.try_next().is_none());
        // No DISCONNECT: that is for the driver to send.
        drop(driver);
        let will = next(&mut wills).await;
        assert_eq!((will.payload(), will.qos(), will.retain()), (&b"gone\0\xff"[..], qos, false));
    }
    silent(&mut wills).await;
}

async fn not_published_after_disconnect(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let heir = Client::<Subscriber>::connect(&broker.uri(), options("heir", version)).await.unwrap();
    let mut wills = heir.subscribe("will", QoS::ExactlyOnce).await.unwrap();
    for qos in EVERY_QOS {
        let client = Client::<Publisher>::connect(&broker.uri(), with_will(version, qos)).await.unwrap();
        client.disconnect(Drain::Now).await.unwrap();
    }
    // Neither does the last handle leave one behind.
    drop(Client::<Publisher>::connect(&broker.uri(), with_will(version, QoS::AtLeastOnce)).await.unwrap());
    silent(&mut wills).await;
}
