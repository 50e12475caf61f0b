//! Filters with a prefix that is an instruction to the Server (`$share/group/filter` and its kin): their messages arrive on
//! topics that match what is behind it.

mod common;

use bytes::Bytes;
use common::{broker, builder, connect, options, secs, settle, topic, with_peer};
use mqtt_codec::{Delivery, OwnedPacket, OwnedPublish, PacketId, PacketType};
use mqtt_tokio::testing::{Peer, TestBroker};
use mqtt_tokio::{AckMode, Drain, QoS, Subscription};
use tokio::time::timeout;

/// All that is there, as `topic=payload`.
async fn rest(stream: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(Some(message)) = timeout(secs(1), stream.next()).await {
        all.push(format!("{}={}", message.topic(), message.text().unwrap()));
    }
    all
}

fn message(name: &str, payload: &'static str, id: u16) -> OwnedPacket {
    let delivery = Delivery::AtLeastOnce { id: PacketId::new(id).unwrap(), dup: false };
    let payload = Bytes::from_static(payload.as_bytes());
    OwnedPacket::Publish(OwnedPublish { delivery, retain: false, topic: topic(name), payload })
}

fn publish(broker: &TestBroker, name: &str, payload: &'static str) {
    broker.with(|it| it.publish(topic(name), payload, QoS::AtLeastOnce, false));
}

/// Answers a SUBSCRIBE or UNSUBSCRIBE, which has to be for this filter.
async fn grant(peer: &mut Peer, filter: &str) {
    let request = peer.recv().await.unwrap();
    let named = match &request {
        OwnedPacket::Subscribe { filters, .. } => filters[0].0 == filter,
        OwnedPacket::Unsubscribe { filters, .. } => filters[0] == filter,
        _ => false,
    };
    assert!(named, "{request:?}");
    peer.answer(&request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_without_the_prefix() {
    for (filter, matching, other) in [
        ("$share/g/a/+", "a/b", "a/b/c"),
        ("$share/g/#", "x", "$SYS/x"),
        ("$share/g//a", "/a", "a"),
        ("$oshare/g/a/#", "a", "b"),
        ("$queue/a", "a", "a/b"),
        ("$exclusive/a", "a", "b"),
        // For a Server that takes it for a filter like any other.
        ("$share/g/a/+", "$share/g/a/b", "$share/h/a/b"),
        ("$queue/#", "$queue/a", "$queues"),
        // No group, so no prefix.
        ("$share//a", "$share//a", "a"),
    ] {
        let (client, mut peer, _peers) = with_peer(1024, options()).await;
        let (stream, ()) =
            tokio::join!(client.subscribe(filter, QoS::AtLeastOnce).into_future(), grant(&mut peer, filter));
        let mut stream = stream.unwrap();
        peer.send(message(matching, "mine", 1)).await.unwrap();
        peer.send(message(other, "not mine", 2)).await.unwrap();
        assert_eq!(rest(&mut stream).await, [format!("{matching}=mine")], "{filter}");
        assert_eq!(client.unclaimed(), 1, "{filter}");
        for id in [1, 2] {
            peer.expect(|it| *it == OwnedPacket::Puback(PacketId::new(id).unwrap())).await.unwrap();
        }

        // Known by its whole name when it ends, and forgotten then.
        tokio::join!(async { stream.unsubscribe().await.unwrap() }, grant(&mut peer, filter));
        peer.send(message(matching, "nobody's", 3)).await.unwrap();
        settle().await;
        assert_eq!(client.unclaimed(), 2, "{filter}");
    }
}

/// Streams of different groups, and one without a group, with the same filter behind the prefix.
#[tokio::test(start_paused = true)]
async fn groups_are_told_apart() {
    let broker = broker();
    let client = connect(&broker, 4096, options()).await;
    let mut one = client.subscribe("$share/one/a/+", QoS::AtLeastOnce).await.unwrap();
    let two = client.subscribe("$share/two/a/+", QoS::AtLeastOnce).await.unwrap();
    let mut both = client
        .subscribe_all([("$share/one/a/+", QoS::AtLeastOnce), ("$share/two/a/+", QoS::AtLeastOnce)])
        .await
        .unwrap();
    publish(&broker, "a/b", "1");
    assert_eq!(rest(&mut one).await, ["a/b=1"]);
    assert_eq!(rest(&mut both).await, ["a/b=1"], "once, although two of its filters match");
    drop(both);
    drop(two);
    settle().await;
    let subscribed = broker.with(|it| it.session("c").unwrap().subscriptions);
    assert_eq!(subscribed.len(), 1, "{subscribed:?}");
    publish(&broker, "a/b", "2");
    assert_eq!(rest(&mut one).await, ["a/b=2"]);
    drop(one);
    settle().await;
    assert!(broker.with(|it| it.session("c").unwrap().subscriptions).is_empty());
    assert_eq!(client.unclaimed(), 0);
}

/// A group is subscribed to again, by its whole name, when the Session was lost.
#[tokio::test(start_paused = true)]
async fn subscribed_again_with_the_prefix() {
    let broker = broker();
    let client = connect(&broker, 4096, options().clean_session(true)).await;
    let mut stream = client.subscribe("$share/g/a", QoS::AtLeastOnce).await.unwrap();
    broker.cut_all();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(broker.with(|it| it.counters().received(PacketType::Subscribe)), 2);
    publish(&broker, "a", "x");
    assert_eq!(rest(&mut stream).await, ["a=x"]);
}

/// What comes right behind the CONNACK of a kept Session waits for a stream with the prefix too.
#[tokio::test(start_paused = true)]
async fn claimed_by_a_group() {
    let broker = broker();
    let manual = options().ack_mode(AckMode::Manual);
    let earlier = connect(&broker, 4096, manual.clone()).await;
    let stream = earlier.subscribe("$share/g/a/+", QoS::AtLeastOnce).await.unwrap();
    earlier.disconnect(Drain::Now).await.unwrap();
    drop(stream);
    publish(&broker, "a/b", "waited");
    let client = builder(&broker, 4096, manual).connect::<mqtt_tokio::PubSub>().await.unwrap();
    settle().await;
    let mut stream = client.subscribe("$share/g/a/+", QoS::AtLeastOnce).await.unwrap();
    let mut waited = timeout(secs(60), stream.next()).await.unwrap().unwrap();
    assert_eq!((waited.topic(), waited.payload()), ("a/b", &b"waited"[..]));
    waited.ack();
    settle().await;
    assert_eq!(broker.with(|it| it.session("c").unwrap().in_flight), 0);
    assert_eq!(client.unclaimed(), 0);
}
