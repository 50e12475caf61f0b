//! The connection, or the client, ends while messages wait.

use std::time::Duration;

use mqtt_codec::{OwnedPacket, PacketType};
use mqtt_tokio::testing::{Faults, OnSend, When};
use mqtt_tokio::{AckMode, Drain, ProtocolVersion, QoS};
use tokio::time::timeout;

use crate::common::{broker, connect, options, secs, settle};
use crate::support::{
    MODES, PRESENT, cases, earlier, id, message, publish, resumed, take_all, told, unacknowledged,
};

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
                broker.cut_all();
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
    broker.cut_all();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (0, 1));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((client.unclaimed(), unacknowledged(&broker)), (1, 0));
    assert_eq!(told(&mut status).await, [1]);
    broker.cut_all();
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

/// What comes no second time is lost with the client, and told.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_tells() {
    let ((client, mut status), mut peer, _peers) = resumed(options()).await;
    peer.send(message("a", 1, QoS::AtMostOnce)).await.unwrap();
    peer.send(message("a", 1, QoS::AtLeastOnce)).await.unwrap();
    settle().await;
    client.disconnect(Drain::Now).await.unwrap();
    assert_eq!((told(&mut status).await, client.unclaimed()), (vec![1], 1));
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
        let silent = Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop);
        broker.with(|it| it.set_faults(silent));
        drop(client.publish("x", "").qos(QoS::AtLeastOnce).receipt().await.unwrap());
        // The time is over before it is closed.
        assert!(client.disconnect(Drain::Queue(secs(20))).await.is_err());
        assert_eq!((client.unclaimed(), told(&mut status).await), (0, vec![]));
        broker.with(|it| it.set_faults(Faults::none()));
        let client = connect(&broker, 4096, options().version(version)).await;
        let mut all = client.subscribe("#", qos).await.unwrap();
        settle().await;
        assert_eq!(take_all(&mut all), [0, 1, 2, 3], "{version:?} {qos:?}");
    }
}

/// What a stream has is not for it again, acknowledged or not. With MQTT 3.1, mosquitto sends it without DUP when it was
/// restarted: there it is known by what it was.
#[tokio::test(start_paused = true)]
async fn a_second_copy_of_what_was_claimed_is_known() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        // When the stream comes: before the messages, or behind them, and then it has room for the first one only.
        for (buffer, early) in [(1000, true), (1, false)] {
            let ((client, _status), mut peer, mut peers) = resumed(options().version(version)).await;
            let server = async {
                if early {
                    assert!(matches!(peer.recv().await.unwrap(), OwnedPacket::Subscribe { .. }));
                }
                for n in 1..=2 {
                    peer.send(message("a", n, QoS::ExactlyOnce)).await.unwrap();
                }
                for _ in 0..2 {
                    // SUBSCRIBE or PUBREC, which is not answered.
                    peer.recv().await.unwrap();
                }
                drop(peer);
                let mut peer = timeout(secs(3), peers.recv()).await.unwrap().unwrap();
                peer.accept_with(PRESENT).await.unwrap();
                for n in 1..=2 {
                    peer.send(message("a", n, QoS::ExactlyOnce)).await.unwrap();
                }
                loop {
                    let packet = peer.recv().await.unwrap();
                    peer.answer(&packet).await.unwrap();
                    if matches!(packet, OwnedPacket::Subscribe { .. }) {
                        return peer;
                    }
                }
            };
            let subscribe = async {
                if !early {
                    settle().await;
                }
                client.subscribe("a", QoS::ExactlyOnce).buffer(buffer).await.unwrap()
            };
            let (mut stream, _peer) =
                timeout(secs(10), async { tokio::join!(subscribe, server) }).await.unwrap();
            settle().await;
            assert_eq!(take_all(&mut stream), [1, 2], "{version:?} {buffer}");
            tokio::time::sleep(secs(10)).await;
            assert_eq!((take_all(&mut stream), client.unclaimed()), (vec![], 0));
        }
    }
}
