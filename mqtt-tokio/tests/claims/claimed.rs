//! Streams that come in time.

use std::future::IntoFuture;
use std::time::Duration;

use mqtt_codec::{OwnedPacket, PacketType};
use mqtt_tokio::testing::BrokerOptions;
use mqtt_tokio::{AckMode, Drain, ProtocolVersion, PubSub, QoS, SubscribeError, TopicFilter};
use tokio::time::{Instant, timeout};

use crate::common::{broker, broker_with, builder, connect, count, options, poll_times, secs, settle, topic};
use crate::support::{MODES, cases, earlier, message, publish, resumed, take_all, unacknowledged};

#[tokio::test(start_paused = true)]
async fn what_comes_before_its_stream_waits_for_it() {
    for (version, qos) in cases() {
        for mode in MODES {
            let options = || options().version(version).ack_mode(mode);
            let broker = broker();
            earlier(&broker, &["a/+", "b"], options()).await;
            for n in 0..6 {
                publish(&broker, ["a/x", "b", "a/y"][n as usize % 3], n, qos);
            }
            let client = connect(&broker, 4096, options()).await;
            settle().await;
            assert_eq!(unacknowledged(&broker), 6, "{version:?} {qos:?} {mode:?}: it has come, and waits");
            let first = client.subscribe("a/+", qos);
            // Behind what waits, and before the SUBACK.
            let (first, ()) = tokio::join!(first.into_future(), async { publish(&broker, "a/x", 6, qos) });
            let mut first = first.unwrap();
            publish(&broker, "a/y", 7, qos);
            settle().await;
            assert_eq!(take_all(&mut first), [0, 2, 3, 5, 6, 7], "{version:?} {qos:?} {mode:?}");
            settle().await;
            let acknowledged = count(&broker, PacketType::Puback) + count(&broker, PacketType::Pubrec);
            assert_eq!(acknowledged, 1, "only 0 came before the first that nobody wants yet");
            let mut second = client.subscribe_all([("b", qos), ("c", qos)]).await.unwrap();
            if mode == AckMode::Manual {
                settle().await;
                assert!(unacknowledged(&broker) > 0, "the application does it");
            }
            assert_eq!(take_all(&mut second), [1, 4]);
            settle().await;
            assert_eq!((unacknowledged(&broker), client.unclaimed()), (0, 0));
            // One that finds its stream while others could still come.
            publish(&broker, "a/x", 8, qos);
            settle().await;
            assert_eq!(unacknowledged(&broker), usize::from(mode == AckMode::Manual));
            assert_eq!(take_all(&mut first), [8]);
            tokio::time::sleep(secs(10)).await;
            assert_eq!(
                (take_all(&mut first), take_all(&mut second), client.unclaimed()),
                (vec![], vec![], 0)
            );
            assert_eq!(broker.with(|it| it.counters().connections), 2);
        }
    }
}

/// The acknowledgements leave in the order of receipt, whoever claims first.
#[tokio::test(start_paused = true)]
async fn acknowledgements_leave_in_the_order_of_receipt() {
    let ((client, _status), mut peer, _peers) = resumed(options()).await;
    for n in 1..=6 {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(n) % 2];
        peer.send(message(["a", "b"][usize::from(n) / 4], n, qos)).await.unwrap();
    }
    let order = tokio::spawn(async move {
        let mut order = Vec::new();
        while order.len() < 6 {
            match peer.recv().await.unwrap() {
                OwnedPacket::Puback(id) | OwnedPacket::Pubrec(id) => order.push(id.get()),
                subscribe => peer.answer(&subscribe).await.unwrap(),
            }
        }
        order
    });
    settle().await;
    let subscribe = |filter| timeout(secs(1), client.subscribe(filter, QoS::ExactlyOnce).into_future());
    let b = subscribe("b").await.unwrap().unwrap();
    settle().await;
    assert!(!order.is_finished());
    let a = subscribe("a").await.unwrap().unwrap();
    assert_eq!(timeout(secs(1), order).await.unwrap().unwrap(), [1, 2, 3, 4, 5, 6]);
    drop((a, b));
}

/// The acknowledgements of the others wait behind those that nobody has claimed, so the Server stops at its window.
#[tokio::test(start_paused = true)]
async fn other_streams_and_publishes_go_on() {
    for (version, qos) in cases() {
        for mode in MODES {
            let options = || options().version(version).ack_mode(mode);
            let broker = broker();
            earlier(&broker, &["a", "b"], options()).await;
            publish(&broker, "b", 1000, qos);
            (0..100).for_each(|n| publish(&broker, "a", n, qos));
            let client = connect(&broker, 4096, options()).await;
            let start = Instant::now();
            let mut a = client.subscribe("a", qos).buffer(1).await.unwrap();
            let mut got = take_all(&mut a);
            client.publish("c", "x").qos(QoS::ExactlyOnce).await.unwrap();
            client.subscribe("d", qos).await.unwrap().unsubscribe().await.unwrap();
            settle().await;
            got.extend(take_all(&mut a));
            assert_eq!(got, (0..19).collect::<Vec<_>>(), "{version:?} {qos:?} {mode:?}: the Server's window");
            assert!(start.elapsed() < secs(4), "{:?}", start.elapsed());
            while got.len() < 100 {
                let mut message = timeout(secs(10), a.next()).await.unwrap().unwrap();
                message.ack();
                got.push(u32::from_be_bytes(message.payload().try_into().unwrap()));
            }
            assert_eq!(got, (0..100).collect::<Vec<_>>());
            assert!(start.elapsed() < secs(6), "{:?}", start.elapsed());
            settle().await;
            assert_eq!((unacknowledged(&broker), client.unclaimed()), (0, 1));
        }
    }
}

/// More than the buffer of the stream takes: it comes all the same, and the rest waits for the reader.
#[tokio::test(start_paused = true)]
async fn a_small_buffer_takes_what_has_waited() {
    for (version, qos) in cases() {
        let broker = broker();
        earlier(&broker, &["a"], options().version(version)).await;
        (0..50).for_each(|n| publish(&broker, "a", n, qos));
        let client = connect(&broker, 4096, options().version(version)).await;
        settle().await;
        let mut a =
            timeout(secs(3), client.subscribe("a", qos).buffer(1).into_future()).await.unwrap().unwrap();
        broker.cut_all();
        let mut got = Vec::new();
        while got.last() != Some(&49) {
            let message = timeout(secs(3), a.next()).await.unwrap().unwrap();
            got.push(u32::from_be_bytes(message.payload().try_into().unwrap()));
        }
        if qos == QoS::ExactlyOnce {
            assert_eq!(got, (0..50).collect::<Vec<_>>(), "{version:?}");
        }
        got.sort_unstable();
        got.dedup();
        assert_eq!(got, (0..50).collect::<Vec<_>>(), "{version:?} {qos:?}");
        settle().await;
        assert_eq!((unacknowledged(&broker), client.unclaimed()), (0, 0));
    }
}

/// A stream that the application never got gives back what it claimed.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_not_made_keeps_nothing() {
    for (version, qos) in cases() {
        for mode in MODES {
            let refuses = BrokerOptions::new().refuse_filter(TopicFilter::new("a/#").unwrap());
            let broker = broker_with(refuses);
            let options = || options().version(version).ack_mode(mode);
            earlier(&broker, &["a/b", "b"], options()).await;
            (0..4).for_each(|n| publish(&broker, ["b", "a/b"][n as usize % 2], n, qos));
            let client = connect(&broker, 4096, options()).await;
            settle().await;
            let mut c = client.subscribe("c", qos).await.unwrap();
            // Given up before the SUBACK; with more than its buffer takes, or not.
            for buffer in [1, 2, 1000] {
                let subscribe = client.subscribe("a/+", qos).buffer(buffer);
                assert!(poll_times(subscribe.into_future(), 1).await.is_none());
                settle().await;
            }
            if version == ProtocolVersion::V3_1_1 {
                let refused = client.subscribe_all([("a/#", qos), ("c", qos)]).into_future();
                let (refused, ()) = tokio::join!(refused, async { publish(&broker, "c", 9, qos) });
                assert_eq!(take_all(&mut c), [9]);
                assert!(matches!(refused, Err(SubscribeError::Refused(_))), "{refused:?}");
            }
            let mut a = client.subscribe("a/+", qos).await.unwrap();
            publish(&broker, "a/b", 5, qos);
            settle().await;
            assert_eq!(take_all(&mut a), [1, 3, 5], "{version:?} {qos:?} {mode:?}");
            assert_eq!(client.unclaimed(), 0);
            // What the application had is its own to drop.
            publish(&broker, "a/b", 6, qos);
            settle().await;
            drop(a);
            settle().await;
            assert!(take_all(&mut client.subscribe("a/+", qos).await.unwrap()).is_empty());
            tokio::time::sleep(secs(6)).await;
            let its_own = usize::from(mode == AckMode::Manual);
            assert_eq!((client.unclaimed(), unacknowledged(&broker)), (2, its_own));
        }
    }
}

/// Streams can be there before the connection: then nothing has to wait.
#[tokio::test(start_paused = true)]
async fn streams_that_are_there_before_the_connection() {
    for (version, qos) in cases() {
        for within in [secs(5), Duration::ZERO] {
            let options = || options().version(version);
            let broker = broker();
            earlier(&broker, &["a", "b"], options()).await;
            broker.with(|it| it.publish(topic("b"), 7_u32.to_be_bytes().to_vec(), qos, true));
            (0..4).for_each(|n| publish(&broker, "a", n, qos));
            let builder = builder(&broker, 4096, options()).claim_within(within);
            let (client, driver) = builder.build::<PubSub>().unwrap();
            let subscribing = {
                let client = client.clone();
                async move {
                    tokio::try_join!(
                        client.subscribe("a", qos).into_future(),
                        client.subscribe("b", qos).into_future()
                    )
                }
            };
            let subscribing = tokio::spawn(subscribing);
            settle().await;
            drop(tokio::spawn(driver));
            let (mut a, mut b) = subscribing.await.unwrap().unwrap();
            settle().await;
            assert_eq!(take_all(&mut a), [0, 1, 2, 3], "{version:?} {qos:?}");
            let mut retained = Vec::new();
            while let Some(message) = b.try_next() {
                retained.push(message.retain());
            }
            assert_eq!(retained, [false, true], "from the Session, and because of the SUBSCRIBE");
            assert_eq!(count(&broker, PacketType::Subscribe), 4, "two of the earlier client, and again");
            assert_eq!((client.unclaimed(), unacknowledged(&broker)), (0, 0));
        }
    }
}

/// The Server has lost the Session that the client was given: the core makes its subscriptions again, before the
/// application does.
#[tokio::test(start_paused = true)]
async fn retained_messages_of_a_session_that_is_made_again_wait_too() {
    let broker = broker();
    let client = connect(&broker, 4096, options()).await;
    let stream = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    let session = client.disconnect_keeping_session(Drain::Now).await.unwrap();
    drop(stream);
    settle().await;
    broker.with(|it| {
        it.forget_sessions();
        it.publish(topic("a"), 1_u32.to_be_bytes().to_vec(), QoS::AtLeastOnce, true);
    });
    let client = builder(&broker, 4096, options()).session(session).connect::<PubSub>().await.unwrap();
    settle().await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (0, 1));
    let mut a = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    assert_eq!(take_all(&mut a)[0], 1);
}
