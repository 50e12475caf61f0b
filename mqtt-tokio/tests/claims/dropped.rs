//! Messages that nobody claims in time, and that are too many.

use std::future::IntoFuture;
use std::time::Duration;

use mqtt_codec::OwnedPacket;
use mqtt_tokio::testing::BrokerOptions;
use mqtt_tokio::{Builder, PubSub, QoS};
use tokio::time::timeout;

use crate::common::{broker, broker_with, builder, connect, options, peers, secs, settle, topic};
use crate::support::{MODES, cases, earlier, id, message, publish, resumed, take_all, told, unacknowledged};

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
    earlier(&broker, &["a", "b"], options()).await;
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
    // What was claimed takes no room any more.
    for n in 0..15_u8 {
        broker.with(|it| it.publish(topic("b"), vec![n; 1 << 20], QoS::AtLeastOnce, false));
    }
    tokio::time::sleep(secs(1)).await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (4, 15));
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
    let acknowledged = peer.expect(|it| *it == OwnedPacket::Puback(id(1)));
    timeout(secs(1), acknowledged).await.expect("at once").unwrap();
    assert_eq!(client.unclaimed(), 1);
}
