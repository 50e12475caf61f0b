//! Servers that do not acknowledge: what is sent again, when that ends the connection, and when it does not.

mod common;

use std::future::IntoFuture;
use std::time::Duration;

use common::{options, secs, settle, topic, with_peer};
use mqtt_codec::{Connack, ConnectReturnCode, Delivery, OwnedPacket, OwnedPublish, PacketType};
use mqtt_tokio::mqtt_client;
use mqtt_tokio::testing::{Peer, PeerError};
use mqtt_tokio::{
    ConnectionError, Drain, Options, ProtocolVersion, QoS, Retransmission, Status, Subscription, Timed,
};
use tokio::time::{Instant, timeout};

/// No PINGREQ, and 3.1, which sends again after a time.
fn old() -> Options {
    options().version(ProtocolVersion::V3_1).keep_alive(Duration::ZERO)
}

/// The next packet, which comes some time.
async fn recv(peer: &mut Peer) -> OwnedPacket {
    timeout(secs(100_000), peer.recv()).await.expect("a packet").unwrap()
}

/// The next packet, which is a PUBLISH, and its DUP flag.
async fn publish(peer: &mut Peer) -> (OwnedPublish, bool) {
    match recv(peer).await {
        OwnedPacket::Publish(publish) => {
            let dup = publish.delivery.dup();
            (publish, dup)
        }
        other => panic!("{other:?}"),
    }
}

async fn is_silent(peer: &mut Peer, time: Duration) -> bool {
    timeout(time, peer.recv()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn mqtt_3_1_sends_again_after_a_time() {
    let (client, mut peer, _peers) = with_peer(4096, old()).await;
    let start = Instant::now();
    let receipt = client.publish("a", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    let (first, dup) = publish(&mut peer).await;
    assert!(!dup);
    // Each pause is 4 s and a little for the bytes; it is that little which doubles.
    let mut pauses = Vec::new();
    let mut last = start;
    for _ in 0..3 {
        let (again, dup) = publish(&mut peer).await;
        assert!(dup && again.payload == first.payload && again.delivery.id() == first.delivery.id());
        pauses.push((Instant::now() - last).as_secs());
        last = Instant::now();
    }
    assert_eq!(pauses, [4, 4, 4]);
    let Delivery::ExactlyOnce { id, .. } = first.delivery else { panic!() };
    peer.send(OwnedPacket::Pubrec(id)).await.unwrap();
    // Now it is the PUBREL that is sent again, and later each time.
    last = Instant::now();
    for (pause, again) in [(0, false), (4, true), (8, true)] {
        assert_eq!(recv(&mut peer).await, OwnedPacket::Pubrel { id, dup: again });
        assert_eq!((Instant::now() - last).as_secs(), pause);
        last = Instant::now();
    }
    peer.send(OwnedPacket::Pubcomp(id)).await.unwrap();
    receipt.await.unwrap();
    assert!(is_silent(&mut peer, secs(3600)).await);
    assert_eq!(client.stats().retransmitted, 5);
}

/// Scenario unsub-retransmit.
#[tokio::test(start_paused = true)]
async fn requests_are_sent_again_too() {
    let (client, mut peer, _peers) = with_peer(4096, old()).await;
    let (unsubscribed, ()) = tokio::join!(client.unsubscribe("a"), async {
        let start = Instant::now();
        for again in [false, true] {
            let packet = recv(&mut peer).await;
            assert!(matches!(packet, OwnedPacket::Unsubscribe { dup, .. } if dup == again), "{packet:?}");
            assert_eq!(start.elapsed().as_secs(), if again { 4 } else { 0 });
            if again {
                peer.answer(&packet).await.unwrap();
            }
        }
    });
    unsubscribed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_sends_again_is_an_option() {
    for (options, again) in [
        (old().version(ProtocolVersion::V3_1_1), false),
        (old().retransmission(Retransmission::OnReconnect), false),
        (
            old().version(ProtocolVersion::V3_1_1).retransmission(Retransmission::Timed(Timed::default())),
            true,
        ),
    ] {
        let (client, mut peer, _peers) = with_peer(4096, options).await;
        let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        publish(&mut peer).await;
        assert_eq!(is_silent(&mut peer, secs(1000)).await, !again);
        drop(receipt);
    }
}

/// A stream that nobody reads and that must lose nothing, full of what `peer` sends.
async fn full_stream(client: &mqtt_tokio::Client<mqtt_tokio::PubSub>, peer: &mut Peer) -> Subscription {
    let subscribe = client.subscribe("full", QoS::AtMostOnce).buffer(1);
    let (stream, ()) = tokio::join!(subscribe.into_future(), async {
        let packet = peer.expect(|packet| matches!(packet, OwnedPacket::Subscribe { .. })).await.unwrap();
        peer.answer(&packet).await.unwrap();
    });
    let message = OwnedPublish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: topic("full"),
        payload: "x".into(),
    };
    peer.send(OwnedPacket::Publish(message)).await.unwrap();
    settle().await;
    stream.unwrap()
}

/// The answer may lie there unread: nothing is sent again, and nothing ends, until it could have been read.
#[tokio::test(start_paused = true)]
async fn a_full_stream_suspends_both() {
    let options = || old().ack_timeout(Some(secs(20)));
    for answers in [true, false] {
        let (client, mut peer, _peers) = with_peer(4096, options()).await;
        let mut stream = full_stream(&client, &mut peer).await;
        let mut status = client.status();
        // Nobody waits for it, or the stream would be read beyond its limit.
        client.publish("a", "x").qos(QoS::AtLeastOnce).accepted().await.unwrap();
        let (first, _) = publish(&mut peer).await;
        if answers {
            peer.answer(&OwnedPacket::Publish(first)).await.unwrap();
        }
        assert!(is_silent(&mut peer, secs(3600)).await, "it would only wait behind the rest");
        let start = Instant::now();
        stream.next().await.unwrap();
        if answers {
            assert!(is_silent(&mut peer, secs(3600)).await, "it was acknowledged");
            client.disconnect(Drain::Queue(secs(5))).await.unwrap();
        } else {
            let (_, dup) = publish(&mut peer).await;
            assert!(dup && start.elapsed().as_secs() == 4, "{:?}", start.elapsed());
            assert!(matches!(status.next().await, Some(Status::Lost { .. })));
            assert_eq!(start.elapsed().as_secs(), 20);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_acknowledges_is_left() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let options = options().ack_timeout(Some(secs(20)));
        let (client, mut peer, mut peers) = with_peer(4096, options).await;
        let mut status = client.status();
        let receipt = client.publish("a", "x").qos(qos).receipt().await.unwrap();
        let start = Instant::now();
        let (first, _) = publish(&mut peer).await;
        let Some(Status::Lost { error: ConnectionError::Protocol(error), .. }) = status.next().await else {
            panic!()
        };
        assert_eq!((error, start.elapsed().as_secs()), (mqtt_client::ConnectionError::AckTimeout, 20));
        assert!(matches!(peer.recv().await, Err(PeerError::Closed(0))));
        // And so on, as after every loss.
        let mut peer = peers.recv().await.unwrap();
        let code = ConnectReturnCode::Accepted;
        peer.accept_with(Connack { session_present: true, code }).await.unwrap();
        let (again, dup) = publish(&mut peer).await;
        assert!(dup && again.delivery.id() == first.delivery.id());
        peer.answer(&OwnedPacket::Publish(again)).await.unwrap();
        if qos == QoS::ExactlyOnce {
            let pubrel = recv(&mut peer).await;
            peer.answer(&pubrel).await.unwrap();
        }
        receipt.await.unwrap();
        // What waits for nothing has no deadline.
        assert!(matches!(status.next().await, Some(Status::Connected { .. })));
        client.publish("a", "x").await.unwrap();
        publish(&mut peer).await;
        let packet_type = |packet: OwnedPacket| packet.as_packet().unwrap().packet_type();
        assert_eq!(packet_type(recv(&mut peer).await), PacketType::Pingreq);
        assert!(client.is_connected());
    }
}
