//! Losing the connection and getting it back.

mod common;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{
    QOS, broker, broker_with, builder, connect, count, options, peers, received, secs, settle, topic,
    with_peer,
};
use mqtt_codec::{Connack, ConnectReturnCode, Delivery, OwnedPacket, PacketType};
use mqtt_tokio::testing::{Broker, BrokerOptions, Faults, OnReceive, OnSend, Sessions, TestBroker, When};
use mqtt_tokio::{
    Backoff, Builder, Client, ConnectError, ConnectionError, Connector, Drain, Message, PubSub, PublishError,
    QoS, SessionLoss, Status,
};
use tokio::time::{Instant, timeout};

/// A connector that counts its dials, notes their times, and fails as long as it is told to.
fn flaky(broker: &Arc<TestBroker>, failures: u32) -> (Connector, Arc<Mutex<Vec<Instant>>>) {
    let dials = Arc::new(Mutex::new(Vec::new()));
    let (broker, noted) = (Arc::clone(broker), Arc::clone(&dials));
    let connector = Connector::new(move || {
        let mut noted = noted.lock().unwrap();
        noted.push(Instant::now());
        let fails = noted.len() as u32 <= failures;
        let result =
            if fails { Err(std::io::ErrorKind::ConnectionRefused.into()) } else { Ok(broker.duplex(4096)) };
        std::future::ready(result)
    });
    (connector, dials)
}

#[tokio::test(start_paused = true)]
async fn resubscribe_after_clean_reconnect() {
    for clean in [true, false] {
        let broker = broker();
        let client = connect(&broker, 64, options().clean_session(clean)).await;
        let mut one = client.subscribe("one/#", QoS::ExactlyOnce).await.unwrap();
        let mut two =
            client.subscribe_all([("two", QoS::AtMostOnce), ("+/3", QoS::AtLeastOnce)]).await.unwrap();
        for round in 0..3_u8 {
            broker.with(Broker::forget_sessions);
            broker.cut_all();
            settle().await;
            client.connected().await.unwrap();
            settle().await;
            broker.with(|it| {
                it.publish(topic("one/x"), vec![round], QoS::ExactlyOnce, false);
                it.publish(topic("two"), vec![round], QoS::ExactlyOnce, false);
                it.publish(topic("t/3"), vec![round], QoS::ExactlyOnce, false);
            });
            let message = timeout(secs(5), one.next()).await.expect("messages flow").unwrap();
            assert_eq!((message.payload(), message.qos()), (&[round][..], QoS::ExactlyOnce));
            let message = timeout(secs(5), two.next()).await.expect("messages flow").unwrap();
            assert_eq!((message.topic(), message.qos()), ("two", QoS::AtMostOnce));
            let message = timeout(secs(5), two.next()).await.expect("messages flow").unwrap();
            assert_eq!((message.topic(), message.qos()), ("t/3", QoS::AtLeastOnce));
        }
        // The books are right after that: sharing needs no SUBSCRIBE, the last one ends it.
        let subscribes = count(&broker, PacketType::Subscribe);
        drop(client.subscribe("one/#", QoS::AtLeastOnce).await.unwrap());
        assert_eq!(count(&broker, PacketType::Subscribe), subscribes);
        drop((one, two));
        settle().await;
        assert!(broker.with(|it| it.session("c").unwrap().subscriptions.is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_session_is_not_subscribed_again() {
    let broker = broker();
    let client = connect(&broker, 64, options()).await;
    let mut stream = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    for n in 0..5_u8 {
        broker.cut_all();
        broker.with(|it| it.publish(topic("a"), vec![n], QoS::AtLeastOnce, false));
        assert_eq!(stream.next().await.unwrap().payload(), [n], "kept for us");
    }
    assert_eq!(count(&broker, PacketType::Subscribe), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_limit_honoured() {
    let broker = broker();
    let backoff = Backoff::default().initial(secs(1)).max(secs(8)).max_attempts(Some(6));
    let (connector, dials) = flaky(&broker, u32::MAX);
    let (client, driver) =
        Builder::with_connector(connector, options().backoff(backoff)).build::<PubSub>().unwrap();
    let mut status = client.status();
    let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let driver = tokio::spawn(driver);
    let mut pauses = Vec::new();
    loop {
        match status.next().await.unwrap() {
            Status::Lost { error: ConnectionError::Dial(_), retry_in } => pauses.push(retry_in),
            Status::GaveUp { error: ConnectionError::Dial(_) } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(status.next().await.is_none());
    assert!(driver.await.unwrap().is_err());
    let dials = dials.lock().unwrap().clone();
    assert_eq!((dials.len(), pauses.len()), (7, 6));
    for (n, pause) in pauses.iter().enumerate() {
        assert!(*pause <= secs(1 << n.min(3)), "{n}: {pause:?}");
        let waited = dials[n + 1] - dials[n];
        // A timer has a resolution of a millisecond.
        assert!(waited >= *pause && waited <= *pause + Duration::from_millis(2), "{pause:?} {waited:?}");
    }
    assert!(matches!(receipt.await, Err(PublishError::NotSent(_))));
    assert_eq!(client.publish("a", "x").await, Err(PublishError::Closed));
}

#[tokio::test(start_paused = true)]
async fn refused_is_not_retried() {
    use ConnectReturnCode::{BadUserNameOrPassword, NotAuthorized, ServerUnavailable};
    for (code, retried) in [(BadUserNameOrPassword, false), (NotAuthorized, false), (ServerUnavailable, true)]
    {
        for told in [false, true] {
            let broker = broker();
            broker.with(|it| it.set_faults(Faults::none().refuse_connects(3, code)));
            let backoff = Backoff::default().initial(secs(1)).retry_refused(told);
            let client = builder(&broker, 64, options().backoff(backoff)).start::<PubSub>().unwrap();
            let result = timeout(secs(600), client.connected()).await.unwrap();
            let expected = if retried || told { 4 } else { 1 };
            assert_eq!(broker.with(|it| it.counters().connections), expected);
            assert_eq!(result.is_ok(), retried || told);
            if let Err(ConnectError::Connection(error)) = result {
                assert!(!error.is_retryable());
            }
        }
        // `connect` gives the reason of the first attempt, whatever it is, and nothing goes on.
        let broker = broker();
        broker.with(|it| it.set_faults(Faults::none().refuse_connects(3, code)));
        let Err(ConnectError::Connection(ConnectionError::Protocol(error))) =
            builder(&broker, 64, options()).connect::<PubSub>().await
        else {
            panic!()
        };
        assert_eq!(error, mqtt_client::ConnectionError::Refused(code));
        tokio::time::sleep(secs(600)).await;
        assert_eq!(broker.with(|it| it.counters().connections), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_resets_only_when_stable() {
    // A server that accepts and then closes.
    let broker = broker();
    let backoff = Backoff::default().initial(secs(1)).max(secs(3600)).stable_after(secs(30));
    let client = connect(&broker, 64, options().backoff(backoff)).await;
    let mut status = client.status();
    let mut pauses = Vec::new();
    for stable in [false, false, false, false, false, false, false, false, true, false] {
        tokio::time::sleep(if stable { secs(31) } else { secs(1) }).await;
        broker.cut_all();
        loop {
            match status.next().await.unwrap() {
                Status::Lost { retry_in, .. } => pauses.push(retry_in),
                Status::Connected { .. } => break,
                other => panic!("{other:?}"),
            }
        }
    }
    // Full jitter: each pause is anything below its ceiling, so that only ceilings can be checked, and sums.
    assert!(pauses[8] <= secs(1), "{pauses:?}");
    assert!(pauses[9] <= secs(2), "{pauses:?}");
    let long: Duration = pauses[3..8].iter().sum();
    assert!(long > secs(2), "the ceilings were 8 to 128 seconds: {pauses:?}");
}

#[tokio::test]
async fn reset_not_fatal() {
    let broker = TestBroker::start().await.unwrap();
    let client = Client::<PubSub>::connect(&broker.uri(), options()).await.unwrap();
    let mut status = client.status();
    let mut stream = client.subscribe("a", QoS::ExactlyOnce).await.unwrap();
    for n in 0..5_u8 {
        broker.with(|it| it.reset(it.connection_of("c").unwrap()));
        client.publish("a", vec![n]).qos(QoS::ExactlyOnce).await.unwrap();
        assert_eq!(stream.next().await.unwrap().payload(), [n]);
        assert!(matches!(status.next().await, Some(Status::Lost { .. })));
        assert!(matches!(status.next().await, Some(Status::Connected { session_present: true, .. })));
    }
    client.disconnect(Drain::Queue(secs(5))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn loss_while_connecting() {
    let broker = broker();
    broker.with(|it| it.set_faults(Faults::none().close_before_connack(2)));
    let start = Instant::now();
    let result = builder(&broker, 64, options()).connect::<PubSub>().await;
    assert!(matches!(result, Err(ConnectError::Connection(ConnectionError::ClosedByServer))), "{result:?}");
    assert!(start.elapsed() < secs(1), "at once, not at the deadline");
    let client = builder(&broker, 64, options()).start::<PubSub>().unwrap();
    let mut status = client.status();
    assert!(matches!(status.next().await, Some(Status::Lost { error: ConnectionError::ClosedByServer, .. })));
    assert!(matches!(status.next().await, Some(Status::Connected { .. })));
    assert!(start.elapsed() < secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_and_an_endless_dial_run_into_the_deadline() {
    let broker = broker();
    broker.with(|it| it.set_faults(Faults::none().no_connack()));
    let start = Instant::now();
    let result = builder(&broker, 64, options().connack_timeout(secs(3))).connect::<PubSub>().await;
    let expected = mqtt_client::ConnectionError::ConnackTimeout;
    assert!(
        matches!(result, Err(ConnectError::Connection(ConnectionError::Protocol(error))) if error == expected)
    );
    assert_eq!(start.elapsed().as_secs(), 3);
    let connector = Connector::new(std::future::pending::<std::io::Result<tokio::io::DuplexStream>>);
    let connecting = Builder::with_connector(connector, options().connack_timeout(secs(3)));
    let result = connecting.connect::<PubSub>().await;
    assert!(
        matches!(result, Err(ConnectError::Connection(ConnectionError::Protocol(error))) if error == expected)
    );
    assert_eq!(start.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_noticed() {
    let broker = broker();
    let client = connect(&broker, 64, options().keep_alive(secs(20))).await;
    let mut status = client.status();
    broker.with(|it| it.set_faults(Faults::none().no_pingresp()));
    let start = Instant::now();
    let Some(Status::Lost { error: ConnectionError::Protocol(error), .. }) = status.next().await else {
        panic!()
    };
    assert_eq!(error, mqtt_client::ConnectionError::PingrespTimeout);
    assert!(start.elapsed() > secs(25) && start.elapsed() < secs(31));
}

#[tokio::test(start_paused = true)]
async fn accepted_before_loss() {
    for clean in [false, true] {
        for buffer in [1, 64, 4096] {
            let broker = broker();
            let options = options().clean_session(clean).session_loss(SessionLoss::RepublishAll);
            let client = connect(&broker, buffer, options).await;
            let mut receipts = Vec::new();
            for n in 0..200_u32 {
                if n % 40 == 20 {
                    broker.cut_all();
                }
                let message = Message::new(topic("a"), n.to_be_bytes().to_vec()).qos(QOS[1 + n as usize % 2]);
                receipts.push(client.try_publish(message).unwrap());
                if n % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            for (n, receipt) in receipts.into_iter().enumerate() {
                let result = timeout(secs(60), receipt).await.expect("resolved");
                assert_eq!(result, Ok(()), "{n} {clean} {buffer}");
            }
            let seen: std::collections::BTreeSet<_> = received(&broker, PacketType::Publish)
                .into_iter()
                .map(|packet| match packet {
                    OwnedPacket::Publish(publish) => publish.payload,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(seen.len(), 200);
        }
    }
}

/// DUP if and only if the transport took a byte of it, also in the round in which the connection ends.
#[tokio::test(start_paused = true)]
async fn dup_is_exact_when_writing_and_the_end_meet() {
    for written in [true, false] {
        let (client, mut peer, mut peers) = with_peer(4096, options()).await;
        let receipt = if written {
            // Placed, and in the same breath the other side closes: one round of the driver writes, and reads the end.
            let publish = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt();
            let (receipt, closed) = tokio::join!(publish, peer.close());
            closed.unwrap();
            receipt.unwrap()
        } else {
            peer.close().await.unwrap();
            settle().await;
            client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap()
        };
        let first = peer.recv().await;
        assert_eq!(first.is_ok(), written, "{first:?}");
        let code = ConnectReturnCode::Accepted;
        let mut peer = peers.recv().await.unwrap();
        peer.accept_with(Connack { session_present: true, code }).await.unwrap();
        let OwnedPacket::Publish(publish) = peer.recv().await.unwrap() else { panic!() };
        assert!(matches!(publish.delivery, Delivery::AtLeastOnce { dup, .. } if dup == written));
        peer.answer(&OwnedPacket::Publish(publish)).await.unwrap();
        receipt.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn publish_not_ok_without_ack() {
    let broker = broker();
    let client = connect(&broker, 64, options().session_loss(SessionLoss::Fail)).await;
    for (packet, qos) in [(PacketType::Puback, QoS::AtLeastOnce), (PacketType::Pubrec, QoS::ExactlyOnce)] {
        broker.with(|it| it.set_faults(Faults::none().on_send(packet, When::Always, OnSend::Drop)));
        let publishing = {
            let client = client.clone();
            tokio::spawn(async move { client.publish("a", "x").qos(qos).await })
        };
        tokio::time::sleep(secs(1000)).await;
        assert!(!publishing.is_finished());
        broker.with(Broker::forget_sessions);
        broker.cut_all();
        assert!(matches!(publishing.await.unwrap(), Err(PublishError::Ambiguous(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn qos0_without_a_connection() {
    let broker = broker();
    let client = connect(&broker, 64, options()).await;
    let queueing = connect(&broker, 64, options().queue_qos0(true)).await;
    broker.stop().await;
    tokio::time::sleep(secs(2)).await;
    match client.publish("a", "x").await {
        Err(PublishError::NotConnected(message)) => assert_eq!(message.payload, "x"),
        other => panic!("{other:?}"),
    }
    let held = queueing.publish("a", "y").receipt().await.unwrap();
    broker.restart(Sessions::Keep).await.unwrap();
    timeout(secs(60), held).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn qos0_that_was_held_for_a_connection_is_told_when_there_is_none() {
    let (connector, mut peers) = peers(64);
    let client =
        Builder::with_connector(connector, options().backoff(Backoff::default().initial(secs(3600))))
            .start::<PubSub>()
            .unwrap();
    let peer = peers.recv().await.unwrap();
    let publishing = client.publish("a", "x").into_future();
    let (published, ()) = tokio::join!(timeout(secs(1), publishing), async {
        settle().await;
        drop(peer);
    });
    assert!(matches!(published.expect("at once"), Err(PublishError::NotSent(_))));
}

#[tokio::test(start_paused = true)]
async fn status_events() {
    let broker = broker();
    let client = builder(&broker, 64, options()).start::<PubSub>().unwrap();
    let (mut status, mut second) = (client.status(), client.status());
    assert!(matches!(status.next().await, Some(Status::Connected { session_present: false, .. })));
    broker.cut_all();
    let Some(Status::Lost { error: ConnectionError::ClosedByServer, retry_in }) = status.next().await else {
        panic!()
    };
    assert!(retry_in <= Duration::from_millis(10));
    assert!(matches!(status.next().await, Some(Status::Connected { session_present: true, .. })));
    client.disconnect(Drain::Now).await.unwrap();
    assert!(matches!(status.next().await, Some(Status::Disconnected)));
    assert!(status.next().await.is_none());
    assert!(status.next().await.is_none());
    let mut all = 0;
    while second.next().await.is_some() {
        all += 1;
    }
    assert_eq!(all, 4);
}

#[tokio::test(start_paused = true)]
async fn a_failed_connect_ends_the_driver() {
    let broker = broker();
    let (connector, dials) = flaky(&broker, 1);
    let result = Builder::with_connector(connector, options()).connect::<PubSub>().await;
    assert!(matches!(result, Err(ConnectError::Connection(ConnectionError::Dial(_)))));
    tokio::time::sleep(secs(1000)).await;
    assert_eq!(dials.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn subscribing_survives_a_loss() {
    let broker = broker();
    let client = connect(&broker, 64, options()).await;
    broker.with(|it| {
        it.set_faults(Faults::none().on_receive(PacketType::Subscribe, When::First(3), OnReceive::CutBefore));
    });
    let streams = tokio::join!(
        client.subscribe("a", QoS::AtLeastOnce).into_future(),
        client.subscribe("b", QoS::AtLeastOnce).into_future(),
    );
    let (mut a, mut b) = (streams.0.unwrap(), streams.1.unwrap());
    client.publish("a", "1").qos(QoS::AtLeastOnce).await.unwrap();
    client.publish("b", "2").qos(QoS::AtLeastOnce).await.unwrap();
    assert_eq!(a.next().await.unwrap().payload(), b"1");
    assert_eq!(b.next().await.unwrap().payload(), b"2");
}

#[tokio::test(start_paused = true)]
async fn credentials_reach_the_broker() {
    let broker = broker_with(BrokerOptions::new().user("u", "p\0\u{e9}"));
    let options = || options().backoff(Backoff::default());
    let result = builder(&broker, 64, options()).connect::<PubSub>().await;
    assert!(matches!(result, Err(ConnectError::Connection(_))));
    let right = options().credentials("u", Some("p\0\u{e9}"));
    builder(&broker, 64, right).connect::<PubSub>().await.unwrap();
}

/// Cut after every byte, both ways: nothing is lost, QoS 2 is not doubled.
#[tokio::test(start_paused = true)]
async fn cut_after_every_byte() {
    static CUTS: AtomicU32 = AtomicU32::new(0);
    for sent in [true, false] {
        for bytes in 0..120 {
            let broker = broker();
            let client = connect(&broker, 7, options()).await;
            let mut stream = client.subscribe("t", QoS::ExactlyOnce).await.unwrap();
            let faults = Faults::none();
            let faults = if sent {
                faults.cut_after_sent_bytes(bytes)
            } else {
                faults.cut_after_received_bytes(bytes)
            };
            broker.with(|it| it.set_faults(faults));
            for n in 0..4_u8 {
                client.publish("t", vec![n]).qos(QoS::ExactlyOnce).await.unwrap();
            }
            for n in 0..4_u8 {
                let message = timeout(secs(60), stream.next()).await.expect("nothing is lost").unwrap();
                assert_eq!(message.payload(), [n], "{sent} {bytes}");
            }
            assert!(timeout(secs(1), stream.next()).await.is_err(), "nothing is doubled");
            CUTS.fetch_add(broker.with(|it| it.counters().connections) as u32 - 1, Ordering::Relaxed);
            client.disconnect(Drain::Queue(secs(5))).await.unwrap();
        }
    }
    let cuts = CUTS.load(Ordering::Relaxed);
    assert!(cuts > 150, "{cuts}");
}
