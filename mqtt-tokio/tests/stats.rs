//! What the statistics of a client add to those of the core.

use std::time::Duration;

use mqtt_tokio::testing::{Broker, TestBroker};
use mqtt_tokio::{Backoff, Builder, Client, Options, Overflow, Oversize, PubSub, QoS, Status};

fn options(id: &str) -> Options {
    let backoff = Backoff::default().initial(Duration::from_millis(1)).max(Duration::from_millis(1));
    Options::new(id).clean_session(false).backoff(backoff)
}

async fn connect(broker: &TestBroker, options: Options) -> Client<PubSub> {
    Builder::with_connector(broker.connector(1024), options).connect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn connections_attempts_and_time() {
    let broker = TestBroker::start_with(Broker::new()).await.unwrap();
    let client = connect(&broker, options("c")).await;
    let stats = client.stats();
    assert_eq!((stats.attempts, stats.connections, stats.connections_lost), (1, 1, 0));
    assert_eq!(stats.connected_for, Some(Duration::ZERO));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(client.stats().connected_for, Some(Duration::from_secs(5)));
    let mut status = client.status();
    broker.cut_all();
    assert!(matches!(status.next().await, Some(Status::Lost { .. })));
    assert_eq!(client.stats().connected_for, None);
    assert!(matches!(status.next().await, Some(Status::Connected { .. })));
    let stats = client.stats();
    assert_eq!((stats.attempts, stats.connections, stats.connections_lost), (2, 2, 1));
    assert!(stats.connected_for < Some(Duration::from_secs(1)));
    client.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
    let stats = client.stats();
    assert_eq!((stats.delivered, stats.sent.at_least_once.messages), (1, 1));
    assert_eq!(stats.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_that_streams_drop() {
    let broker = TestBroker::start_with(Broker::new()).await.unwrap();
    let client = connect(&broker, options("c").max_packet_size(50).oversize(Oversize::Skip)).await;
    let small = |overflow| client.subscribe("t", QoS::AtLeastOnce).buffer(1).overflow(overflow);
    let oldest = small(Overflow::DropOldest).await.unwrap();
    let newest = small(Overflow::DropNewest).await.unwrap();
    for payload in ["a", "b", "c"] {
        client.publish("t", payload).qos(QoS::AtLeastOnce).await.unwrap();
    }
    client.publish("t", vec![b'x'; 100]).qos(QoS::AtLeastOnce).await.unwrap();
    // What follows on the same connection shows that all of that has come.
    let mut end = client.subscribe("end", QoS::AtLeastOnce).await.unwrap();
    client.publish("end", "").qos(QoS::AtLeastOnce).await.unwrap();
    end.next().await.unwrap();
    assert_eq!((oldest.dropped(), newest.dropped()), (3, 3));
    assert_eq!(client.stats().stream_dropped, 6);
    drop(oldest);
    assert_eq!((client.stats().stream_dropped, client.stats().skipped), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn messages_that_no_stream_wanted() {
    let broker = TestBroker::start_with(Broker::new()).await.unwrap();
    let client = connect(&broker, options("c")).await;
    let stream = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    let mut session = client.disconnect_keeping_session(mqtt_tokio::Drain::Now).await.unwrap();
    drop((stream, client));
    let other = connect(&broker, options("d")).await;
    other.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
    session = mqtt_tokio::Session::from_bytes(&session.to_bytes()).unwrap();
    let builder = Builder::with_connector(broker.connector(1024), options("c")).session(session);
    let client: Client<PubSub> = builder.claim_within(Duration::from_secs(1)).connect().await.unwrap();
    let mut status = client.status();
    assert_eq!(client.stats().unclaimed, 0);
    assert!(matches!(status.next().await, Some(Status::Unclaimed { count: 1 })));
    assert_eq!(client.stats().unclaimed, 1);
}
