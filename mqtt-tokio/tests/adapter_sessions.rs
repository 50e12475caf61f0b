//! A Session that goes from one client to the next: nothing is lost, doubled, or told twice.

mod common;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::Arc;

use common::{broker, builder, connect, options, peers, poll_times, secs, settle, with_peer};
use mqtt_codec::{Connack, ConnectReturnCode, OwnedPacket, PacketType};
use mqtt_tokio::testing::{Faults, OnSend, TestBroker, When};
use mqtt_tokio::{
    Backoff, Builder, Cause, Client, Connector, DisconnectError, Drain, Options, PubSub, PublishError, QoS,
    Session, SubscribeError, Subscription,
};
use tokio::time::timeout;

/// Another client that sees what arrives.
async fn observer(broker: &Arc<TestBroker>) -> (Client<PubSub>, Subscription) {
    let client = builder(broker, 4096, Options::new("observer")).connect::<PubSub>().await.unwrap();
    let stream = client.subscribe("t", QoS::ExactlyOnce).await.unwrap();
    (client, stream)
}

/// The same Session after a night on a disk.
fn stored(session: &Session) -> Session {
    Session::from_bytes(&session.to_bytes()).unwrap()
}

/// A client that gets no connection.
fn away(options: Options) -> Client<PubSub> {
    let connector = Connector::new(std::future::pending::<std::io::Result<tokio::io::DuplexStream>>);
    Builder::with_connector(connector, options.connack_timeout(secs(360_000))).start().unwrap()
}

/// Wherever the wire was cut.
#[tokio::test(start_paused = true)]
async fn each_publish_has_its_outcome_or_is_in_the_session() {
    const MESSAGES: u8 = 20;
    let (mut kept_in_all, mut done_in_all) = (0, 0);
    for bytes in 0..300 {
        let broker = broker();
        let (_observer, mut arrived) = observer(&broker).await;
        let pauses = Backoff::default().initial(secs(360_000)).max(secs(360_000));
        let client = connect(&broker, 32, options().max_in_flight(4).backoff(pauses)).await;
        let faults = Faults::none();
        let faults = match bytes % 2 {
            0 => faults.cut_after_received_bytes(bytes),
            _ => faults.cut_after_sent_bytes(bytes),
        };
        let connection = broker.with(|it| it.connection_of("c").unwrap());
        broker.with(|it| it.set_connection_faults(connection, faults));
        let mut receipts = Vec::new();
        for n in 0..MESSAGES {
            let qos = if n % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            receipts.push(client.publish("t", vec![n]).qos(qos).receipt().await.unwrap());
        }
        settle().await;
        let drain = if bytes % 4 < 2 { Drain::Now } else { Drain::Queue(secs(1)) };
        let session = client.disconnect_keeping_session(drain).await.unwrap();
        let (mut kept, mut done) = (0, 0);
        for receipt in receipts {
            match timeout(secs(1), receipt).await.expect("every receipt is resolved") {
                Ok(()) => done += 1,
                Err(PublishError::Kept) => kept += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((session.pending_publishes().count(), done + kept), (kept, usize::from(MESSAGES)));
        kept_in_all += kept;
        done_in_all += done;
        let session = if bytes % 3 == 0 { stored(&session) } else { session };
        let next = builder(&broker, 32, options()).session(session).connect::<PubSub>().await.unwrap();
        next.disconnect(Drain::Queue(secs(60))).await.unwrap();
        settle().await;
        let mut seen = BTreeMap::new();
        while let Some(message) = arrived.try_next() {
            *seen.entry(message.payload()[0]).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), usize::from(MESSAGES), "nothing is lost");
        let twice: Vec<_> = seen.into_iter().filter(|(_, times)| *times > 1).map(|(n, _)| n).collect();
        assert!(twice.iter().all(|n| n % 2 == 1), "QoS 2 twice: {twice:?}");
    }
    assert!(kept_in_all > 100 && done_in_all > 100, "{kept_in_all} kept, {done_in_all} done");
}

/// Those who wait are told, each in its own way.
#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_that_it_is_kept() {
    let client = away(options().max_queue_len(2));
    let receipt = client.publish("a", "1").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let waits = client.publish("a", "2").qos(QoS::ExactlyOnce).into_future();
    let has_no_room = async {
        settle().await;
        client.publish("a", "3").qos(QoS::AtLeastOnce).await
    };
    let end = async {
        settle().await;
        settle().await;
        client.disconnect_keeping_session(Drain::Now).await
    };
    let (waits, has_no_room, subscribed, unsubscribed, session) = tokio::join!(
        waits,
        has_no_room,
        client.subscribe("b", QoS::AtLeastOnce).into_future(),
        client.unsubscribe("c"),
        end
    );
    assert_eq!((waits, receipt.await), (Err(PublishError::Kept), Err(PublishError::Kept)));
    assert_eq!(has_no_room, Err(PublishError::Closed), "it was never accepted");
    assert!(matches!(subscribed, Err(SubscribeError::Kept)));
    assert_eq!(unsubscribed, Err(SubscribeError::Kept));

    let (connector, mut peers) = peers(4096);
    let next = Builder::with_connector(connector, options()).session(session.unwrap());
    let next = next.start::<PubSub>().unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await.unwrap();
    let (mut requests, mut payloads) = (0, Vec::new());
    for _ in 0..4 {
        let packet = peer.recv().await.unwrap();
        match &packet {
            OwnedPacket::Publish(publish) => payloads.push(publish.payload.clone()),
            OwnedPacket::Subscribe { .. } | OwnedPacket::Unsubscribe { .. } => requests += 1,
            other => panic!("{other:?}"),
        }
        peer.answer(&packet).await.unwrap();
    }
    assert_eq!((requests, payloads), (2, vec!["1".into(), "2".into()]));
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn the_session_waits_for_who_takes_it_and_is_taken_once() {
    for _ in 0..3 {
        let client = away(options());
        drop(client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
        assert!(poll_times(client.disconnect_keeping_session(Drain::Now), 1).await.is_none());
        tokio::time::sleep(secs(10)).await;
        assert_eq!(client.disconnect(Drain::Now).await, Err(DisconnectError::Closed));
        let (one, other) = tokio::join!(
            client.disconnect_keeping_session(Drain::Now),
            client.disconnect_keeping_session(Drain::Now)
        );
        assert_eq!(one.unwrap().pending_publishes().count(), 1);
        assert_eq!(other, Err(DisconnectError::Closed));
    }
    // Whoever else disconnects, and how.
    let client = away(options());
    drop(client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
    let (kept, hasty) = tokio::join!(client.disconnect_keeping_session(Drain::Queue(secs(600))), async {
        settle().await;
        client.disconnect(Drain::Now).await
    });
    assert_eq!((kept.unwrap().pending_publishes().count(), hasty), (1, Ok(())));
    // Nor is there one that nobody asked to keep.
    let client = away(options());
    let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    assert!(matches!(receipt.await, Err(PublishError::NotSent(_))));
    assert_eq!(client.disconnect_keeping_session(Drain::Now).await, Err(DisconnectError::Closed));
}

/// However the client ends once it was asked for, the Session is there.
#[tokio::test(start_paused = true)]
async fn the_session_survives_an_end_in_disorder() {
    for gives_up in [false, true] {
        let (client, peer, mut peers) = with_peer(64, options()).await;
        let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        let closing = {
            let client = client.clone();
            tokio::spawn(async move { client.disconnect_keeping_session(Drain::Queue(secs(600))).await })
        };
        settle().await;
        drop(peer);
        let mut peer = peers.recv().await.unwrap();
        let code = if gives_up { ConnectReturnCode::NotAuthorized } else { ConnectReturnCode::Accepted };
        peer.accept_with(Connack { session_present: !gives_up, code }).await.unwrap();
        let session = timeout(secs(700), closing).await.expect("it ends").unwrap().unwrap();
        assert_eq!(session.pending_publishes().count(), 1);
        assert_eq!(receipt.await, Err(PublishError::Kept));
    }
    let broker = broker();
    let (client, driver) = builder(&broker, 64, options()).build::<PubSub>().unwrap();
    let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let (session, ()) = tokio::join!(client.disconnect_keeping_session(Drain::Now), async {
        settle().await;
        drop(driver);
    });
    assert_eq!(session.unwrap().pending_publishes().count(), 1);
    assert_eq!(receipt.await, Err(PublishError::Kept));
}

/// What was sent has DUP on the next connection, of whatever client, and what was not has not.
#[tokio::test(start_paused = true)]
async fn dup_is_exact_over_clients() {
    let broker = broker();
    let (_observer, mut arrived) = observer(&broker).await;
    broker.with(|it| it.set_faults(Faults::none().on_send(PacketType::Pubrec, When::Always, OnSend::Drop)));
    let client = connect(&broker, 4096, options().max_in_flight(2)).await;
    for n in 0..4_u8 {
        client.publish("t", vec![n]).qos(QoS::ExactlyOnce).accepted().await.unwrap();
    }
    settle().await;
    let session = stored(&client.disconnect_keeping_session(Drain::Now).await.unwrap());
    broker.with(|it| it.set_faults(Faults::none()));
    let next = builder(&broker, 4096, options()).session(session).connect::<PubSub>().await.unwrap();
    next.disconnect(Drain::Queue(secs(60))).await.unwrap();
    let flags = common::received(&broker, PacketType::Publish).into_iter().map(|packet| match packet {
        OwnedPacket::Publish(publish) => (publish.payload[0], publish.delivery.dup()),
        other => panic!("{other:?}"),
    });
    let expected = [(0, false), (1, false), (0, true), (1, true), (2, false), (3, false)];
    assert_eq!(flags.collect::<Vec<_>>(), expected);
    for n in 0..4_u8 {
        assert_eq!(timeout(secs(5), arrived.next()).await.unwrap().unwrap().payload(), [n]);
    }
    assert!(timeout(secs(5), arrived.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn dup_is_exact_over_clients_when_the_transport_was_stuck() {
    let (client, _peer, _peers) = with_peer(8, options()).await;
    for payload in [vec![0; 1000], vec![1]] {
        client.publish("t", payload).qos(QoS::AtLeastOnce).accepted().await.unwrap();
    }
    settle().await;
    let session = client.disconnect_keeping_session(Drain::Now).await.unwrap();
    let (connector, mut peers) = peers(4096);
    let next = Builder::with_connector(connector, options()).session(session).start::<PubSub>().unwrap();
    let mut peer = peers.recv().await.unwrap();
    let code = ConnectReturnCode::Accepted;
    peer.accept_with(Connack { session_present: true, code }).await.unwrap();
    for partly_sent in [true, false] {
        let OwnedPacket::Publish(publish) = peer.recv().await.unwrap() else { panic!() };
        assert_eq!(publish.delivery.dup(), partly_sent);
    }
    drop(next);
}

/// A message with QoS 0 that was held for the connection is not kept: it fails as it does when a connection fails.
#[tokio::test(start_paused = true)]
async fn qos0_is_kept_only_where_it_is_queued() {
    for queued in [false, true] {
        let client = away(options().queue_qos0(queued));
        settle().await;
        let receipt = client.publish("a", "x").receipt().await.unwrap();
        let session = client.disconnect_keeping_session(Drain::Now).await.unwrap();
        assert_eq!(session.pending_publishes().count(), usize::from(queued));
        let lost = PublishError::NotSent(Cause::ConnectionLost);
        assert_eq!(receipt.await, Err(if queued { PublishError::Kept } else { lost }));
    }
}

/// By a clock that both clients have, while neither of them runs too.
#[tokio::test(start_paused = true)]
async fn a_time_to_live_goes_on() {
    for is_stored in [false, true] {
        let client = away(options());
        tokio::time::sleep(secs(10_000)).await;
        for lifetime in [100, 300] {
            let publish = client.publish("a", "x").qos(QoS::AtLeastOnce).expires_after(secs(lifetime));
            drop(publish.receipt().await.unwrap());
        }
        let mut session = client.disconnect_keeping_session(Drain::Now).await.unwrap();
        tokio::time::sleep(secs(50)).await;
        for (wait, left) in [(1, 2), (100, 1), (200, 0)] {
            let from = if is_stored { stored(&session) } else { session };
            let connector = Connector::new(std::future::pending::<std::io::Result<tokio::io::DuplexStream>>);
            let options = options().connack_timeout(secs(360_000));
            let next = Builder::with_connector(connector, options).session(from).start::<PubSub>().unwrap();
            tokio::time::sleep(secs(wait)).await;
            session = next.disconnect_keeping_session(Drain::Now).await.unwrap();
            assert_eq!(session.pending_publishes().count(), left);
        }
    }
}
