//! Sessions: kept while the client is away, ended, taken over.

use std::time::Duration;

use mqtt_tokio::{Builder, Client, Drain, ProtocolVersion, PubSub, Publisher, QoS, Status, Subscriber};
use tokio::time::timeout;

use crate::broker::Mosquitto;
use crate::support::{DRAIN, in_both_versions, next, options, silent};

in_both_versions!(
    messages_wait_for_a_persistent_session,
    a_clean_session_has_none,
    the_same_client_id_takes_over
);

async fn messages_wait_for_a_persistent_session(version: ProtocolVersion) {
    away_and_back(version, false).await;
}

async fn a_clean_session_has_none(version: ProtocolVersion) {
    away_and_back(version, true).await;
}

async fn away_and_back(version: ProtocolVersion, clean: bool) {
    const COUNT: u32 = 1_000;
    const TOPICS: [(&str, QoS); 2] = [("offline/1", QoS::AtLeastOnce), ("offline/2", QoS::ExactlyOnce)];
    // Its default limit included: beside 20 messages with QoS 2 it would confirm, and lose, those with QoS 1.
    let broker = Mosquitto::start().await;
    let subscriber = options("reader", version).clean_session(clean);
    let client = Client::<Subscriber>::connect(&broker.uri(), subscriber.clone()).await.unwrap();
    let stream = client.subscribe("offline/#", QoS::ExactlyOnce).await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    drop((stream, client));

    let publisher = Client::<Publisher>::connect(&broker.uri(), options("writer", version)).await.unwrap();
    for number in 0..COUNT {
        for (topic, qos) in TOPICS {
            publisher.publish(topic, number.to_string()).qos(qos).accepted().await.unwrap();
        }
    }
    publisher.disconnect(DRAIN).await.unwrap();

    // They come right after the CONNACK: the stream must be there before.
    let builder = Builder::new(&broker.uri(), subscriber).unwrap();
    let (client, driver) = builder.build::<Subscriber>().unwrap();
    let mut status = client.status();
    let subscribe = async { client.subscribe("offline/#", QoS::ExactlyOnce).await };
    let drive = async { drop(tokio::spawn(driver)) };
    let (stream, ()) = tokio::join!(biased; subscribe, drive);
    let mut stream = stream.unwrap();
    let change = status.next().await;
    let Some(Status::Connected { session_present, .. }) = change else { panic!("{change:?}") };
    // MQTT 3.1 does not tell.
    assert_eq!(session_present, !clean && version == ProtocolVersion::V3_1_1);
    if !clean {
        // In order with each QoS; one does not wait for the other.
        let mut expected = [0; 2];
        for _ in 0..2 * COUNT {
            let message = next(&mut stream).await;
            let at = TOPICS.iter().position(|(topic, _)| *topic == message.topic()).unwrap();
            assert_eq!((message.text().unwrap(), message.qos()), (&*expected[at].to_string(), TOPICS[at].1));
            assert!(!message.retain());
            expected[at] += 1;
        }
        assert_eq!(expected, [COUNT; 2]);
    }
    silent(&mut stream).await;
    client.disconnect(DRAIN).await.unwrap();
}

async fn the_same_client_id_takes_over(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let older = Client::<PubSub>::connect(&broker.uri(), options("twin", version)).await.unwrap();
    let mut status = older.status();
    let newer = Client::<PubSub>::connect(&broker.uri(), options("twin", version)).await.unwrap();
    let change = timeout(Duration::from_secs(5), status.next()).await.unwrap();
    assert!(matches!(change, Some(Status::Lost { .. })), "{change:?}");
    // It would take the session back, and so on without end.
    older.disconnect(Drain::Now).await.unwrap();

    newer.connected().await.unwrap();
    let mut stream = newer.subscribe("twin", QoS::ExactlyOnce).await.unwrap();
    newer.publish("twin", "mine").qos(QoS::ExactlyOnce).await.unwrap();
    assert_eq!(next(&mut stream).await.payload(), b"mine");
}
