//! The connection, or the client, ends while messages wait.

use std::time::Duration;

use mqtt_codec::OwnedPacket;
use mqtt_tokio::{AckMode, Drain, QoS};
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
