//! Messages that a kept Session brings before the application has subscribed: they wait for their stream, for a time.

mod common;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use common::{broker, broker_with, builder, connect, count, options, peers, poll_times, secs, settle, topic};
use mqtt_codec::{Connack, ConnectReturnCode, Delivery, OwnedPacket, OwnedPublish, PacketId, PacketType};
use mqtt_tokio::testing::{BrokerOptions, Peer, TestBroker};
use mqtt_tokio::{
    AckMode, Builder, Client, Drain, Options, ProtocolVersion, PubSub, QoS, Status, StatusStream,
    SubscribeError, Subscription, TopicFilter,
};
use tokio::time::{Instant, timeout};

const MODES: [AckMode; 2] = [AckMode::Automatic, AckMode::Manual];

/// Both versions, and both QoS that are acknowledged.
fn cases() -> impl Iterator<Item = (ProtocolVersion, QoS)> {
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1]
        .into_iter()
        .flat_map(|version| [(version, QoS::AtLeastOnce), (version, QoS::ExactlyOnce)])
}

/// An earlier process subscribes `filters`, and ends.
async fn earlier(broker: &Arc<TestBroker>, filters: &[&str], options: Options) {
    let client = connect(broker, 4096, options).await;
    for filter in filters {
        drop(tokio::spawn(keep(client.subscribe(*filter, QoS::ExactlyOnce).await.unwrap())));
    }
    client.disconnect(Drain::Now).await.unwrap();
    settle().await;
    broker.with(|it| it.clear_log());
}

/// Reads until the client is closed: to drop a stream would be to unsubscribe.
async fn keep(mut stream: Subscription) {
    while stream.next().await.is_some() {}
}

/// The broker gets a message for the Session.
fn publish(broker: &TestBroker, name: &str, n: u32, qos: QoS) {
    broker.with(|it| it.publish(topic(name), n.to_be_bytes().to_vec(), qos, false));
}

/// What is there to take, acknowledged in the manual mode too.
fn take_all(stream: &mut Subscription) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(mut message) = stream.try_next() {
        message.ack();
        numbers.push(u32::from_be_bytes(message.payload().try_into().unwrap()));
    }
    numbers
}

/// How many messages the Server has sent and got no acknowledgement for.
fn unacknowledged(broker: &TestBroker) -> usize {
    broker.with(|it| it.session("c").unwrap().in_flight)
}

/// The counts that were told so far.
async fn told(status: &mut StatusStream) -> Vec<u64> {
    let mut counts = Vec::new();
    while let Some(Some(change)) = poll_times(status.next(), 1).await {
        if let Status::Unclaimed { count } = change {
            counts.push(count);
        }
    }
    counts
}

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
            tokio::time::sleep(secs(10)).await;
            assert_eq!(
                (take_all(&mut first), take_all(&mut second), client.unclaimed()),
                (vec![], vec![], 0)
            );
            assert_eq!(broker.with(|it| it.counters().connections), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_claims_in_time_is_told() {
    for (version, qos) in cases() {
        for mode in MODES {
            let options = || options().version(version).ack_mode(mode);
            let broker = broker();
            earlier(&broker, &["a", "b"], options()).await;
            (0..4).for_each(|n| publish(&broker, ["a", "b"][n as usize % 2], n, qos));
            let client = connect(&broker, 4096, options()).await;
            let mut status = client.status();
            let mut a = client.subscribe("a", qos).await.unwrap();
            assert_eq!(take_all(&mut a), [0, 2]);
            tokio::time::sleep(Duration::from_millis(4_900)).await;
            assert_eq!((unacknowledged(&broker), client.unclaimed()), (3, 0));
            // Nothing else happens that could wake the driver.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!((unacknowledged(&broker), client.unclaimed()), (0, 2), "{version:?} {qos:?} {mode:?}");
            assert_eq!(told(&mut status).await, [2]);
            // Later ones are not kept.
            (4..6).for_each(|n| publish(&broker, ["a", "b"][n as usize % 2], n, qos));
            settle().await;
            assert_eq!((take_all(&mut a), client.unclaimed()), (vec![4], 3));
            settle().await;
            assert_eq!(unacknowledged(&broker), 0);
            assert_eq!(told(&mut status).await, [0; 0]);
        }
    }
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

#[tokio::test(start_paused = true)]
async fn when_too_many_wait_the_oldest_go_and_are_told() {
    for (version, qos) in cases() {
        for mode in MODES {
            let options = || options().version(version).ack_mode(mode);
            let broker = broker_with(BrokerOptions::new().max_in_flight(5_000));
            earlier(&broker, &["a"], options()).await;
            (0..1_200).for_each(|n| publish(&broker, "a", n, qos));
            let client = connect(&broker, 65_536, options()).await;
            let mut status = client.status();
            settle().await;
            settle().await;
            assert_eq!(client.unclaimed(), 200, "{version:?} {qos:?} {mode:?}");
            assert_eq!(unacknowledged(&broker), 1_000);
            let mut a = client.subscribe("a", qos).await.unwrap();
            assert_eq!(take_all(&mut a), (200..1_200).collect::<Vec<_>>());
            settle().await;
            assert_eq!(unacknowledged(&broker), 0);
            assert_eq!(told(&mut status).await, [0; 0], "once, at the end");
            tokio::time::sleep(secs(6)).await;
            assert_eq!((told(&mut status).await, client.unclaimed()), (vec![200], 200));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn their_bytes_are_bounded_too() {
    let broker = broker_with(BrokerOptions::new().max_in_flight(100));
    earlier(&broker, &["a"], options()).await;
    for n in 0..20_u8 {
        broker.with(|it| it.publish(topic("a"), vec![n; 1 << 20], QoS::AtLeastOnce, false));
    }
    let client = connect(&broker, 1 << 20, options()).await;
    tokio::time::sleep(secs(1)).await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (4, 16));
    let mut a = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    for n in 4..20 {
        assert_eq!(timeout(secs(1), a.next()).await.unwrap().unwrap().payload()[0], n);
    }
    // None of a time is left over: the next client has as much room.
    assert!(a.try_next().is_none());
}

/// The Server sends again what it has no acknowledgement for: once for each message, and in order.
#[tokio::test(start_paused = true)]
async fn the_connection_is_lost_meanwhile() {
    for (version, qos) in cases() {
        for mode in MODES {
            // When the stream comes: before the loss, while there is no connection, afterwards.
            for when in 0..3 {
                let options = || options().version(version).ack_mode(mode);
                let broker = broker();
                earlier(&broker, &["a", "b"], options()).await;
                (0..6).for_each(|n| publish(&broker, ["b", "a"][n as usize % 2], n, qos));
                let client = connect(&broker, 4096, options()).await;
                settle().await;
                let mut a = None;
                if when == 0 {
                    a = Some(client.subscribe("a", qos).await.unwrap());
                }
                broker.with(|it| it.cut_all());
                if when == 1 {
                    while client.is_connected() {
                        tokio::task::yield_now().await;
                    }
                    a = Some(client.subscribe("a", qos).await.unwrap());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert!(client.is_connected());
                let mut a = match a {
                    Some(a) => a,
                    None => client.subscribe("a", qos).await.unwrap(),
                };
                let mut b = client.subscribe("b", qos).await.unwrap();
                settle().await;
                let mut got = take_all(&mut a);
                if when == 0 && (qos == QoS::AtLeastOnce || mode == AckMode::Manual) {
                    // It had them on the first connection, and they could not be acknowledged there.
                    assert_eq!(got.drain(..3).collect::<Vec<_>>(), [1, 3, 5]);
                }
                let case = format!("{version:?} {qos:?} {mode:?} {when}");
                assert_eq!((got, take_all(&mut b)), (vec![1, 3, 5], vec![0, 2, 4]), "{case}");
                tokio::time::sleep(secs(10)).await;
                assert_eq!((unacknowledged(&broker), client.unclaimed()), (0, 0), "{case}");
                assert!(a.try_next().is_none() && b.try_next().is_none());
            }
        }
    }
}

/// The time runs from the first CONNACK on, whatever happens to the connection.
#[tokio::test(start_paused = true)]
async fn the_time_is_that_of_the_client() {
    let broker = broker();
    earlier(&broker, &["a"], options()).await;
    let client = connect(&broker, 4096, options()).await;
    let mut status = client.status();
    publish(&broker, "a", 0, QoS::ExactlyOnce);
    tokio::time::sleep(secs(4)).await;
    broker.with(|it| it.cut_all());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (0, 1));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (1, 0));
    assert_eq!(told(&mut status).await, [1]);
    broker.with(|it| it.cut_all());
    tokio::time::sleep(Duration::from_millis(100)).await;
    publish(&broker, "a", 1, QoS::ExactlyOnce);
    settle().await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (2, 0), "at once");
}

/// A connection that is lost for longer than the time: what the Server sends again finds no time left.
#[tokio::test(start_paused = true)]
async fn the_time_is_over_while_there_is_no_connection() {
    let (mut client, mut peer, mut peers) = resumed(options()).await;
    peer.send(message("a", 1, QoS::AtLeastOnce)).await.unwrap();
    peer.send(message("a", 2, QoS::AtMostOnce)).await.unwrap();
    settle().await;
    drop(peer);
    let mut next = timeout(secs(1), peers.recv()).await.unwrap().unwrap();
    tokio::time::sleep(secs(6)).await;
    assert_eq!(client.0.unclaimed(), 0);
    next.accept_with(PRESENT).await.unwrap();
    settle().await;
    assert_eq!(told(&mut client.1).await, [1], "the one that does not come again");
    next.send(message("a", 1, QoS::AtLeastOnce)).await.unwrap();
    next.expect(|it| *it == OwnedPacket::Puback(id(1))).await.unwrap();
    assert_eq!(client.0.unclaimed(), 2);
}

#[tokio::test(start_paused = true)]
async fn zero_switches_it_off_and_so_does_a_new_session() {
    for (version, qos) in cases() {
        let broker = broker();
        earlier(&broker, &["a"], options().version(version)).await;
        publish(&broker, "a", 0, qos);
        let client = builder(&broker, 4096, options().version(version)).claim_within(Duration::ZERO);
        let client = client.connect::<PubSub>().await.unwrap();
        let mut status = client.status();
        settle().await;
        assert_eq!((client.unclaimed(), unacknowledged(&broker)), (1, 0), "{version:?} {qos:?}");
        tokio::time::sleep(secs(10)).await;
        assert_eq!(told(&mut status).await, [0; 0]);
    }
    // What a Server sends without a subscription is not waited for.
    let (connector, mut peers) = peers(4096);
    let client = Builder::with_connector(connector, options()).start::<PubSub>().unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await.unwrap();
    peer.send(message("a", 1, QoS::AtLeastOnce)).await.unwrap();
    peer.expect(|it| *it == OwnedPacket::Puback(id(1))).await.unwrap();
    assert_eq!(client.unclaimed(), 1);
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
            // Given up before the SUBACK; with more than its buffer takes, or not.
            for buffer in [1, 2, 1000] {
                let subscribe = client.subscribe("a/+", qos).buffer(buffer);
                assert!(poll_times(subscribe.into_future(), 1).await.is_none());
                settle().await;
            }
            if version == ProtocolVersion::V3_1_1 {
                let refused = client.subscribe("a/#", qos).await;
                assert!(matches!(refused, Err(SubscribeError::Refused(_))), "{refused:?}");
            }
            let mut a = client.subscribe("a/+", qos).await.unwrap();
            publish(&broker, "a/b", 5, qos);
            settle().await;
            assert_eq!(take_all(&mut a), [1, 3, 5], "{version:?} {qos:?} {mode:?}");
            assert_eq!(client.unclaimed(), 0);
            tokio::time::sleep(secs(6)).await;
            assert_eq!((client.unclaimed(), unacknowledged(&broker)), (2, 0));
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

/// What was not claimed when the client is closed is the next client's.
#[tokio::test(start_paused = true)]
async fn the_next_client_gets_what_was_not_claimed() {
    for (version, qos) in cases() {
        let broker = broker();
        earlier(&broker, &["a", "b"], options().version(version)).await;
        (0..4).for_each(|n| publish(&broker, ["b", "a"][n as usize % 2], n, qos));
        let client = connect(&broker, 4096, options().version(version)).await;
        let mut status = client.status();
        settle().await;
        client.disconnect(Drain::Queue(secs(1))).await.unwrap();
        assert_eq!((client.unclaimed(), told(&mut status).await), (0, vec![]));
        let client = connect(&broker, 4096, options().version(version)).await;
        let mut all = client.subscribe("#", qos).await.unwrap();
        settle().await;
        assert_eq!(take_all(&mut all), [0, 1, 2, 3], "{version:?} {qos:?}");
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

const PRESENT: Connack = Connack { session_present: true, code: ConnectReturnCode::Accepted };

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

fn message(name: &str, n: u16, qos: QoS) -> OwnedPacket {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(n), dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(n), dup: false },
    };
    let payload = u32::from(n).to_be_bytes().to_vec().into();
    OwnedPacket::Publish(OwnedPublish { topic: topic(name), payload, delivery, retain: false })
}

type Watched = (Client<PubSub>, StatusStream);

/// A client whose Session the peer has kept.
async fn resumed(options: Options) -> (Watched, Peer, tokio::sync::mpsc::UnboundedReceiver<Peer>) {
    let (connector, mut peers) = peers(1 << 20);
    let client = Builder::with_connector(connector, options).start::<PubSub>().unwrap();
    let status = client.status();
    let mut peer = peers.recv().await.unwrap();
    peer.accept_with(PRESENT).await.unwrap();
    ((client, status), peer, peers)
}

/// QoS 0 waits too, but takes nobody's place.
#[tokio::test(start_paused = true)]
async fn qos_0_gives_way() {
    let ((client, mut status), mut peer, _peers) = resumed(options()).await;
    for n in 1..=999 {
        peer.send(message("a", n, QoS::AtLeastOnce)).await.unwrap();
    }
    for n in 1_000..=1_002 {
        peer.send(message("a", n, QoS::AtMostOnce)).await.unwrap();
    }
    peer.send(message("a", 1_003, QoS::ExactlyOnce)).await.unwrap();
    peer.send(message("a", 1_004, QoS::AtMostOnce)).await.unwrap();
    settle().await;
    assert_eq!(client.unclaimed(), 4, "all with QoS 0");
    let (mut a, ()) = {
        let answer = async {
            let subscribe = peer.recv().await.unwrap();
            assert!(matches!(subscribe, OwnedPacket::Subscribe { .. }), "{subscribe:?}");
            peer.answer(&subscribe).await.unwrap();
        };
        let (a, ()) = tokio::join!(client.subscribe("a", QoS::ExactlyOnce).into_future(), answer);
        (a.unwrap(), ())
    };
    let expected: Vec<_> = (1..=999).chain([1_003]).collect();
    assert_eq!(take_all(&mut a), expected);
    tokio::time::sleep(secs(5)).await;
    assert_eq!(told(&mut status).await, [4]);
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
    let b = client.subscribe("b", QoS::ExactlyOnce).await.unwrap();
    settle().await;
    assert!(!order.is_finished());
    let a = client.subscribe("a", QoS::ExactlyOnce).await.unwrap();
    assert_eq!(timeout(secs(1), order).await.unwrap().unwrap(), [1, 2, 3, 4, 5, 6]);
    drop((a, b));
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
        broker.with(|it| it.cut_all());
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
