//! Messages above the limit: skipped and told of, or the end of the connection, though not again and again at once.

mod common;

use std::sync::Arc;

use common::{QOS, broker, connect, count, options, secs, settle, topic};
use mqtt_codec::PacketType;
use mqtt_tokio::mqtt_client;
use mqtt_tokio::testing::TestBroker;
use mqtt_tokio::{
    AckMode, Backoff, Client, ConnectionError, Drain, Options, Overflow, Oversize, PubSub, QoS, Status,
    StatusStream,
};
use tokio::time::timeout;

const MAX: usize = 100;

fn skipping() -> Options {
    options().max_packet_size(MAX).oversize(Oversize::Skip)
}

/// A message on `name`, too large or not.
fn publish(broker: &TestBroker, name: &str, qos: QoS, is_large: bool) {
    let payload = vec![b'x'; if is_large { 100 * MAX } else { 1 }];
    broker.with(|it| it.publish(topic(name), payload, qos, false));
}

async fn skipped(status: &mut StatusStream) -> (String, usize, QoS) {
    match timeout(secs(5), status.next()).await.expect("told").unwrap() {
        Status::Skipped(message) => (message.topic.to_string(), message.payload_len, message.qos),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_skipped_message_is_told_to_those_who_would_have_got_it() {
    for buffer in [7, 4096] {
        for qos in QOS {
            let broker = broker();
            let client = connect(&broker, buffer, skipping()).await;
            let filters = [("a/#", qos), ("+/b", qos)];
            let mut both = client.subscribe_all(filters).overflow(Overflow::DropOldest).await.unwrap();
            let mut one = client.subscribe("a/b", qos).await.unwrap();
            let mut other = client.subscribe("c", qos).await.unwrap();
            let mut status = client.status();
            for is_large in [true, false, true, true, false] {
                publish(&broker, "a/b", qos, is_large);
            }
            publish(&broker, "a", qos, true);
            publish(&broker, "c", qos, false);
            assert_eq!(timeout(secs(5), other.next()).await.expect("flows").unwrap().missed(), 0);
            for stream in [&mut both, &mut one] {
                assert_eq!(stream.next().await.unwrap().missed(), 1);
                let second = stream.next().await.unwrap();
                assert_eq!((second.missed(), second.payload()), (2, &b"x"[..]));
            }
            assert_eq!([both.dropped(), one.dropped(), other.dropped()], [4, 3, 0]);
            for name in ["a/b", "a/b", "a/b", "a"] {
                assert_eq!(skipped(&mut status).await, (name.to_owned(), 100 * MAX, qos));
            }
            assert_eq!((client.stats().skipped, broker.with(|it| it.counters().connections)), (4, 1));
            client.disconnect(Drain::Now).await.unwrap();
        }
    }
}

/// Nobody has to acknowledge what nobody gets, and the Server does not send it again.
#[tokio::test(start_paused = true)]
async fn a_skipped_message_is_acknowledged() {
    let broker = broker();
    let client = connect(&broker, 64, skipping().ack_mode(AckMode::Manual)).await;
    let mut stream = client.subscribe("a", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publish(&broker, "a", qos, false);
        publish(&broker, "a", qos, true);
    }
    for missed in [0, 1] {
        let mut message = stream.next().await.unwrap();
        assert_eq!(message.missed(), missed);
        message.ack();
    }
    settle().await;
    assert_eq!([PacketType::Puback, PacketType::Pubcomp].map(|it| count(&broker, it)), [2, 2]);
    broker.cut_all();
    settle().await;
    client.connected().await.unwrap();
    assert!(timeout(secs(60), stream.next()).await.is_err());
    assert_eq!((stream.dropped(), client.stats().skipped), (2, 2));
}

/// Scenario oversize-message, with the policy that is the default: the error names the sizes, and though the Server
/// sends the message again on each connection, the pauses grow.
#[tokio::test(start_paused = true)]
async fn oversize_message() {
    let broker: Arc<TestBroker> = broker();
    let backoff = Backoff::default().initial(secs(1)).max(secs(600));
    let client: Client<PubSub> =
        connect(&broker, 4096, options().max_packet_size(MAX).backoff(backoff)).await;
    let stream = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    let mut status = client.status();
    publish(&broker, "a", QoS::AtLeastOnce, true);
    let Some(Status::Lost { error, .. }) = status.next().await else { panic!() };
    assert_eq!(error.to_string(), "PUBLISH of 10008 bytes is larger than the limit of 100 bytes");
    let ConnectionError::Protocol(mqtt_client::ConnectionError::Oversize { packet_type, len, max }) = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((packet_type, len, max), (PacketType::Publish, 10_008, MAX));
    tokio::time::sleep(secs(3600)).await;
    let connections = broker.with(|it| it.counters().connections);
    // The ceilings of the pauses reach 600 seconds with the tenth; the pauses are half of that on average.
    assert!((8..60).contains(&connections), "{connections} connections in an hour");
    assert_eq!(stream.dropped(), 0);
}
