//! From MQTT 3.1.1 to 3.1, where the Server knows no better.

mod common;

use std::sync::Arc;

use common::{broker_with, builder, connect, options, received, secs, settle};
use mqtt_codec::{OwnedPacket, PacketType};
use mqtt_tokio::mqtt_client;
use mqtt_tokio::testing::{Broker, BrokerOptions, TestBroker};
use mqtt_tokio::{
    Client, ConnectError, ConnectReturnCode, ConnectionError, Drain, Fallback, Options, ProtocolVersion,
    PubSub, QoS, Status,
};
use tokio::time::{Instant, timeout};

const REFUSED: mqtt_client::ConnectionError =
    mqtt_client::ConnectionError::Refused(ConnectReturnCode::UnacceptableProtocolVersion);

/// A broker that knows MQTT 3.1 only, and refuses the other version or closes without a word.
fn old(closes: bool) -> Broker {
    let options = BrokerOptions::new().only_version(ProtocolVersion::V3_1).close_other_versions(closes);
    Broker::with_options(options)
}

/// A broker that wants neither version.
fn picky(closes: bool) -> Arc<TestBroker> {
    let refuse = |_: &_| ConnectReturnCode::UnacceptableProtocolVersion;
    broker_with(BrokerOptions::new().authenticate(refuse).close_other_versions(closes))
}

fn connections(broker: &TestBroker) -> u64 {
    broker.with(|it| it.counters().connections)
}

/// How the first attempt of a client without a fallback ends.
async fn refused(broker: &Arc<TestBroker>, options: Options) -> ConnectionError {
    match builder(broker, 64, options).connect::<PubSub>().await {
        Err(ConnectError::Connection(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn is_refusal(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Protocol(error) if *error == REFUSED)
}

#[tokio::test(start_paused = true)]
async fn fallback_3_1() {
    for closes in [false, true] {
        let broker = Arc::new(TestBroker::in_memory(old(closes)));
        let start = Instant::now();
        let client = connect(&broker, 64, options().fallback(Fallback::RefusedOrClosed)).await;
        assert_eq!(start.elapsed().as_millis(), 0, "no pause");
        assert_eq!((client.version(), connections(&broker)), (ProtocolVersion::V3_1, 2));
        let mut stream = client.subscribe("a/#", QoS::ExactlyOnce).await.unwrap();
        let mut status = client.status();
        for round in 0..3_u8 {
            // Losing the Session or not: the version is remembered, and messages flow again.
            if round % 2 == 0 {
                broker.with(Broker::forget_sessions);
            }
            broker.cut_all();
            assert!(matches!(status.next().await, Some(Status::Lost { .. })));
            let Some(Status::Connected { session_present: false, version }) = status.next().await else {
                panic!()
            };
            assert_eq!(version, ProtocolVersion::V3_1);
            settle().await;
            client.publish("a/b", vec![round]).qos(QoS::ExactlyOnce).await.unwrap();
            let message = timeout(secs(5), stream.next()).await.expect("messages flow").unwrap();
            assert_eq!(message.payload(), [round]);
            assert_eq!(connections(&broker), 3 + u64::from(round));
        }
        client.disconnect(Drain::Queue(secs(5))).await.unwrap();
    }
}

#[tokio::test]
async fn fallback_over_tcp() {
    for closes in [false, true] {
        let broker = TestBroker::start_with(old(closes)).await.unwrap();
        let options = options().fallback(Fallback::RefusedOrClosed);
        let client = Client::<PubSub>::connect(&broker.uri(), options).await.unwrap();
        assert_eq!(client.version(), ProtocolVersion::V3_1);
        let mut stream = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        client.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap();
        assert_eq!(stream.next().await.unwrap().payload(), b"x");
        client.disconnect(Drain::Queue(secs(5))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_seen() {
    let broker = Arc::new(TestBroker::in_memory(old(false)));
    let client = builder(&broker, 64, options()).start::<PubSub>().unwrap();
    assert_eq!(client.version(), ProtocolVersion::V3_1_1);
    let mut status = client.status();
    let Some(Status::Lost { error, retry_in }) = status.next().await else { panic!() };
    assert!(is_refusal(&error) && retry_in.is_zero(), "{error:?} {retry_in:?}");
    let Some(Status::Connected { version, .. }) = status.next().await else { panic!() };
    assert_eq!(version, ProtocolVersion::V3_1);
    // A Server that was replaced by a newer one: the way back is as short.
    broker.with(|it| it.set_options(|options| options.only_version(ProtocolVersion::V3_1_1)));
    broker.cut_all();
    let Some(Status::Lost { error: ConnectionError::ClosedByServer, .. }) = status.next().await else {
        panic!()
    };
    let Some(Status::Lost { error, retry_in }) = status.next().await else { panic!() };
    assert!(is_refusal(&error) && retry_in.is_zero(), "{error:?} {retry_in:?}");
    let Some(Status::Connected { version, .. }) = status.next().await else { panic!() };
    assert_eq!((version, client.version()), (ProtocolVersion::V3_1_1, ProtocolVersion::V3_1_1));
}

#[tokio::test(start_paused = true)]
async fn there_is_no_fallback_that_nobody_wants() {
    for (closes, fallback) in [(false, Fallback::Never), (true, Fallback::Never), (true, Fallback::Refused)] {
        let broker = Arc::new(TestBroker::in_memory(old(closes)));
        let error = refused(&broker, options().fallback(fallback)).await;
        assert_eq!(is_refusal(&error), !closes, "{error:?}");
        assert_eq!(connections(&broker), 1);
    }
    // Nor one to an identifier that 3.1 does not allow.
    let broker = Arc::new(TestBroker::in_memory(old(false)));
    let error = refused(&broker, Options::new("an-identifier-of-25-letter")).await;
    assert!(is_refusal(&error) && connections(&broker) == 1, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_both_versions_ends_it() {
    let broker = picky(false);
    assert!(is_refusal(&refused(&broker, options()).await));
    assert_eq!(connections(&broker), 2);
    let client = builder(&broker, 64, options()).start::<PubSub>().unwrap();
    let mut status = client.status();
    let Some(Status::Lost { error, retry_in }) = status.next().await else { panic!() };
    assert!(is_refusal(&error) && retry_in.is_zero());
    let Some(Status::GaveUp { error }) = status.next().await else { panic!() };
    assert!(is_refusal(&error));
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(connections(&broker), 4);
}

/// A Server that closes on both versions is tried again as ever: with pauses, in turn.
#[tokio::test(start_paused = true)]
async fn a_server_that_closes_on_both_versions_is_not_hammered() {
    let broker = picky(true);
    let options = || options().fallback(Fallback::RefusedOrClosed);
    let error = refused(&broker, options()).await;
    assert!(matches!(error, ConnectionError::ClosedByServer));
    assert_eq!(connections(&broker), 2);
    let client = builder(&broker, 64, options()).start::<PubSub>().unwrap();
    let mut status = client.status();
    for attempt in 0..6 {
        let Some(Status::Lost { error: ConnectionError::ClosedByServer, retry_in }) = status.next().await
        else {
            panic!()
        };
        assert_eq!(retry_in.is_zero(), attempt == 0, "{attempt}");
    }
    let versions = received(&broker, PacketType::Connect).into_iter().map(|packet| match packet {
        OwnedPacket::Connect(connect) => connect.version,
        other => panic!("{other:?}"),
    });
    let in_turn = [ProtocolVersion::V3_1_1, ProtocolVersion::V3_1].into_iter().cycle();
    // Those of the first client, and of this one.
    assert!(versions.zip(in_turn).take(8).all(|(version, expected)| version == expected));
    assert!(connections(&broker) <= 9);
}
