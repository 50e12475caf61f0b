//! Messages that leave the queue without being sent: they expire, or are taken back.

mod common;

use std::future::IntoFuture;
use std::sync::Arc;

use common::{QOS, broker, builder, connect, options, peers, received, secs, settle, topic, with_peer};
use mqtt_codec::{OwnedPacket, PacketType};
use mqtt_tokio::testing::{Faults, OnSend, TestBroker, When};
use mqtt_tokio::{Backoff, Builder, Cause, Client, Connector, Drain, Message, PubSub, PublishError, QoS};
use tokio::time::{Instant, timeout};

const EXPIRED: Result<(), PublishError> = Err(PublishError::NotSent(Cause::Expired));

type Dialled = std::io::Result<tokio::io::DuplexStream>;

/// Clients that dial without end, and that pause after a dial that failed.
fn away() -> [Client<PubSub>; 2] {
    let endless = Connector::new(std::future::pending::<Dialled>);
    let failing = Connector::new(|| std::future::ready(Dialled::Err(std::io::ErrorKind::NotFound.into())));
    [endless, failing].map(|connector| {
        let backoff = Backoff::default().initial(secs(360_000)).max(secs(360_000));
        let options = options().connack_timeout(secs(360_000)).backoff(backoff);
        Builder::with_connector(connector, options).start().unwrap()
    })
}

/// A client whose window is full of one message that is never acknowledged.
async fn stuck(broker: &Arc<TestBroker>) -> Client<PubSub> {
    broker.with(|it| it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop)));
    let client = connect(broker, 64, options().max_in_flight(1).max_queue_len(2)).await;
    client.publish("a", "first").qos(QoS::AtLeastOnce).accepted().await.unwrap();
    settle().await;
    client
}

fn payloads(broker: &TestBroker) -> Vec<Vec<u8>> {
    let payload = |packet| match packet {
        OwnedPacket::Publish(publish) => publish.payload.to_vec(),
        other => panic!("{other:?}"),
    };
    received(broker, PacketType::Publish).into_iter().map(payload).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_expire_while_the_client_is_away() {
    for client in away() {
        // The driver sleeps, and knows of no deadline as near as those that come now.
        tokio::time::sleep(secs(10)).await;
        let start = Instant::now();
        let lasting = client.publish("a", "lasting").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        let expiring = |seconds| client.publish("a", "x").qos(QoS::ExactlyOnce).expires_after(secs(seconds));
        assert_eq!(timeout(secs(60), expiring(2)).await.expect("in time"), EXPIRED);
        assert_eq!(start.elapsed().as_secs(), 2);
        let late = expiring(10).receipt().await.unwrap();
        settle().await;
        assert_eq!(timeout(secs(60), expiring(3)).await.expect("in time"), EXPIRED);
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(timeout(secs(60), late).await.expect("in time"), EXPIRED);
        assert_eq!(start.elapsed().as_secs(), 12);
        assert!(timeout(secs(1000), lasting).await.is_err(), "this one has no end");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_expire_behind_a_full_window() {
    let broker = broker();
    let client = stuck(&broker).await;
    let start = Instant::now();
    let queued = client.publish("a", "queued").qos(QoS::AtLeastOnce).expires_after(secs(3));
    let queued = queued.receipt().await.unwrap();
    let kept = client.publish("a", "kept").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    // The queue is full now: who waits for room has it when a message expires, and its own time begins then.
    let waiting = client.publish("a", "waiting").qos(QoS::AtLeastOnce).expires_after(secs(4)).into_future();
    let (waited, queued) = tokio::join!(timeout(secs(60), waiting), timeout(secs(60), queued));
    assert_eq!((waited.expect("in time"), queued.expect("in time")), (EXPIRED, EXPIRED));
    assert_eq!(start.elapsed().as_secs(), 7);
    broker.with(|it| it.set_faults(Faults::none()));
    broker.cut_all();
    timeout(secs(60), kept).await.expect("its turn").unwrap();
    let mut payloads = payloads(&broker);
    payloads.dedup();
    assert_eq!(payloads, [&b"first"[..], b"kept"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_does_not_expire() {
    let (client, mut peer, _peers) = with_peer(4096, options()).await;
    let publish = client.publish("a", "x").qos(QoS::AtLeastOnce).expires_after(secs(1));
    let receipt = publish.receipt().await.unwrap();
    let packet = peer.recv().await.unwrap();
    tokio::time::sleep(secs(10)).await;
    peer.answer(&packet).await.unwrap();
    receipt.await.unwrap();
    // Nor does one that never waited, or that has all the time there is.
    client.publish("a", "y").expires_after(secs(0)).await.unwrap();
    peer.recv().await.unwrap();
    let endless = client.publish("a", "z").qos(QoS::AtLeastOnce).expires_after(std::time::Duration::MAX);
    let receipt = endless.receipt().await.unwrap();
    let packet = peer.recv().await.unwrap();
    peer.answer(&packet).await.unwrap();
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_what_has_left_the_queue() {
    for cancelled in [false, true] {
        for client in away() {
            settle().await;
            let start = Instant::now();
            let publish = client.publish("a", "x").qos(QoS::AtLeastOnce).expires_after(secs(100));
            let receipt = publish.receipt().await.unwrap();
            let (disconnected, ()) = tokio::join!(client.disconnect(Drain::Queue(secs(1000))), async {
                if cancelled {
                    tokio::time::sleep(secs(50)).await;
                    assert_eq!(receipt.cancel().ok().unwrap().payload, "x");
                } else {
                    assert_eq!(receipt.await, EXPIRED);
                }
            });
            assert_eq!(disconnected, Ok(()));
            assert_eq!(start.elapsed().as_secs(), if cancelled { 50 } else { 100 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_taken_back_before_it_is_sent() {
    for qos in QOS {
        let broker = broker();
        let options = options().queue_qos0(true).connack_timeout(secs(3600));
        let (client, driver) = builder(&broker, 64, options).build::<PubSub>().unwrap();
        let mut receipts = Vec::new();
        for n in 0..5_u8 {
            receipts.push(client.publish("a", vec![n]).qos(qos).receipt().await.unwrap());
        }
        let message = receipts.remove(2).cancel().ok().unwrap();
        assert_eq!((&message.payload[..], message.qos), (&[2][..], qos));
        // Its place is used again: the outcome of one is not that of the other.
        let sixth = client.try_publish(Message::new(topic("a"), vec![5]).qos(qos)).unwrap();
        assert_eq!(receipts.remove(0).cancel().ok().unwrap().payload[..], [0]);
        let again = client.publish_message(message).receipt().await.unwrap();
        drop(tokio::spawn(driver));
        for receipt in receipts.into_iter().chain([sixth, again]) {
            timeout(secs(60), receipt).await.expect("resolved").unwrap();
        }
        assert_eq!(payloads(&broker), [[1], [3], [4], [5], [2]]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_not_taken_back() {
    let (client, mut peer, _peers) = with_peer(4096, options()).await;
    let receipt = client.publish("a", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    let publish = peer.recv().await.unwrap();
    let receipt = receipt.cancel().expect_err("the Server may have it");
    peer.answer(&publish).await.unwrap();
    let pubrel = peer.recv().await.unwrap();
    let receipt = receipt.cancel().expect_err("the Server has it");
    peer.answer(&pubrel).await.unwrap();
    settle().await;
    let receipt = receipt.cancel().expect_err("it is known");
    receipt.await.unwrap();
    // QoS 0 is done at once.
    let receipt = client.publish("a", "y").receipt().await.unwrap();
    receipt.cancel().expect_err("it is in the output").await.unwrap();
    // And so it is after the end.
    let receipt = client.publish("a", "z").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    let ambiguous = receipt.cancel().expect_err("the end has resolved it").await;
    assert!(matches!(ambiguous, Err(PublishError::Ambiguous(Cause::Discarded))));
}

/// Also where no driver runs that could do it.
#[tokio::test(start_paused = true)]
async fn taking_back_makes_room() {
    let (connector, _peers) = peers(64);
    let (client, _driver) =
        Builder::with_connector(connector, options().max_queue_len(1)).build::<PubSub>().unwrap();
    let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let waiting = tokio::spawn(async move {
        let receipt = client.publish("a", "y").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        receipt.cancel().ok().unwrap().payload
    });
    settle().await;
    assert!(!waiting.is_finished());
    receipt.cancel().ok().unwrap();
    assert_eq!(timeout(secs(60), waiting).await.expect("there is room").unwrap(), "y");
}

/// What a message held back goes at once when it is taken back.
#[tokio::test(start_paused = true)]
async fn taking_back_lets_others_move_up() {
    let broker = broker();
    let client = stuck(&broker).await;
    let held = client.publish("a", "held").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    let next = client.publish("a", "next").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    assert_eq!(held.cancel().ok().unwrap().payload, "held");
    broker.with(|it| it.set_faults(Faults::none()));
    broker.cut_all();
    timeout(secs(60), next).await.expect("its turn").unwrap();
    assert!(!payloads(&broker).contains(&b"held".to_vec()));
}
