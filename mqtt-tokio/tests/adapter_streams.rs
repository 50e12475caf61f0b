//! Streams: sharing, overflow, acknowledgement, and how they end.

mod common;

use common::{
    QOS, broker, broker_with, connect, count, options, poll_times, received, secs, settle, topic, with_peer,
};
use mqtt_codec::{Delivery, OwnedPacket, OwnedPublish, PacketId, PacketType, SubackCode, TopicFilter};
use mqtt_tokio::testing::{BrokerOptions, Faults, OnSend, TestBroker, When};
use mqtt_tokio::{AckMode, Drain, Overflow, QoS, ReceivedMessage, Status, SubscribeError, Subscription};
use tokio::time::timeout;

fn number(message: &ReceivedMessage) -> u32 {
    u32::from_be_bytes(message.payload().try_into().unwrap())
}

fn publish(broker: &TestBroker, name: &str, n: u32, qos: QoS) {
    broker.with(|it| it.publish(topic(name), n.to_be_bytes().to_vec(), qos, false));
}

/// All that is there.
async fn rest(stream: &mut Subscription) -> Vec<u32> {
    let mut all = Vec::new();
    while let Ok(Some(message)) = timeout(secs(1), stream.next()).await {
        all.push(number(&message));
    }
    all
}

fn subscriptions(broker: &TestBroker) -> Vec<String> {
    let info = broker.with(|it| it.session("c").unwrap());
    info.subscriptions.iter().map(|(filter, qos)| format!("{} {}", filter.as_str(), *qos as u8)).collect()
}

#[tokio::test(start_paused = true)]
async fn overflow_reported() {
    for overflow in [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest] {
        for buffer in [1, 2, 7] {
            for burst in [1_u32, 2, 5, 40] {
                let broker = broker();
                let client = connect(&broker, 4096, options()).await;
                let subscribe = client.subscribe("t", QoS::ExactlyOnce).buffer(buffer).overflow(overflow);
                let mut stream = subscribe.await.unwrap();
                // Somebody waits, so that even a stream that waits can overflow.
                let waiting = (burst == 40).then(|| {
                    broker.with(|it| {
                        let faults = Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop);
                        it.set_faults(faults);
                    });
                    let client = client.clone();
                    tokio::spawn(async move { client.publish("out", "x").qos(QoS::AtLeastOnce).await })
                });
                let (mut sent, mut got, mut missed) = (0_u64, Vec::new(), 0);
                for round in 0..20 {
                    for n in 0..burst {
                        publish(&broker, "t", sent as u32, QOS[(n % 3) as usize]);
                        sent += 1;
                    }
                    tokio::time::sleep(secs(5)).await;
                    for _ in 0..round % 4 {
                        if let Some(message) = stream.try_next() {
                            missed += message.missed();
                            got.push(number(&message));
                        }
                    }
                }
                loop {
                    while let Some(message) = stream.try_next() {
                        missed += message.missed();
                        got.push(number(&message));
                    }
                    // What waited in the transport follows.
                    match timeout(secs(5), stream.next()).await {
                        Ok(message) => {
                            let message = message.unwrap();
                            missed += message.missed();
                            got.push(number(&message));
                        }
                        Err(_) => break,
                    }
                }
                let what = format!("{overflow:?} {buffer} {burst}: {got:?}");
                assert_eq!(got.len() as u64 + stream.dropped(), sent, "{what}");
                assert!(missed <= stream.dropped(), "{what}");
                if stream.dropped() > missed {
                    // The last ones were dropped: the next message tells.
                    publish(&broker, "t", 0, QoS::AtMostOnce);
                    missed += stream.next().await.unwrap().missed();
                }
                assert_eq!(missed, stream.dropped(), "{what}");
                if overflow == Overflow::Wait && burst < 40 {
                    assert_eq!(missed, 0, "{what}");
                }
                if overflow != Overflow::Wait && burst == 40 {
                    assert!(missed > 0, "{what}");
                }
                drop((stream, client));
                if let Some(waiting) = waiting {
                    waiting.abort();
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn streams_share_one_subscribe() {
    let broker = broker();
    let client = connect(&broker, 4096, options()).await;
    let mut first = client.subscribe("a/+", QoS::AtMostOnce).await.unwrap();
    let mut second = client.subscribe("a/+", QoS::AtMostOnce).await.unwrap();
    assert_eq!(count(&broker, PacketType::Subscribe), 1);
    // A higher QoS upgrades, a lower one does not ask.
    let mut third = client.subscribe("a/+", QoS::ExactlyOnce).await.unwrap();
    let fourth = client.subscribe("a/+", QoS::AtLeastOnce).await.unwrap();
    assert_eq!(count(&broker, PacketType::Subscribe), 2);
    assert_eq!(subscriptions(&broker), ["a/+ 2"]);
    publish(&broker, "a/x", 7, QoS::ExactlyOnce);
    for stream in [&mut first, &mut second, &mut third] {
        assert_eq!(rest(stream).await, [7]);
    }
    drop((first, third, fourth));
    settle().await;
    assert_eq!(count(&broker, PacketType::Unsubscribe), 0);
    publish(&broker, "a/x", 8, QoS::ExactlyOnce);
    assert_eq!(rest(&mut second).await, [8]);
    second.unsubscribe().await.unwrap();
    assert_eq!(count(&broker, PacketType::Unsubscribe), 1);
    assert!(subscriptions(&broker).is_empty());
    // Anew.
    let mut again = client.subscribe("a/+", QoS::AtLeastOnce).await.unwrap();
    assert_eq!(count(&broker, PacketType::Subscribe), 3);
    publish(&broker, "a/x", 9, QoS::ExactlyOnce);
    assert_eq!(rest(&mut again).await, [9]);
    drop(again);
    settle().await;
    assert!(subscriptions(&broker).is_empty());
    assert_eq!(count(&broker, PacketType::Unsubscribe), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribed_filter_is_asked_for_again() {
    let broker = broker();
    let client = connect(&broker, 4096, options()).await;
    let mut old = client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    client.unsubscribe("a").await.unwrap();
    publish(&broker, "a", 1, QoS::AtMostOnce);
    assert!(rest(&mut old).await.is_empty());
    let mut new = client.subscribe("a", QoS::AtMostOnce).await.unwrap();
    publish(&broker, "a", 2, QoS::AtMostOnce);
    assert_eq!(rest(&mut old).await, [2]);
    assert_eq!(rest(&mut new).await, [2]);
    client.unsubscribe("a").await.unwrap();
    let unsubscribes = count(&broker, PacketType::Unsubscribe);
    drop((old, new));
    settle().await;
    assert_eq!(count(&broker, PacketType::Unsubscribe), unsubscribes, "there is nothing left to end");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_filter() {
    let refused = TopicFilter::try_from("no/#").unwrap();
    let broker = broker_with(BrokerOptions::new().refuse_filter(refused));
    let client = connect(&broker, 4096, options()).await;
    let kept = client.subscribe("yes/1", QoS::AtLeastOnce).await.unwrap();
    let filters = [("yes/1", QoS::AtMostOnce), ("no/#", QoS::AtLeastOnce), ("yes/2", QoS::ExactlyOnce)];
    let Err(SubscribeError::Refused(codes)) = client.subscribe_all(filters).await else { panic!() };
    // In the order of the filters, though the first needed no asking.
    let granted = SubackCode::Granted;
    assert_eq!(codes, [granted(QoS::AtLeastOnce), SubackCode::Failure, granted(QoS::ExactlyOnce)]);
    settle().await;
    assert_eq!(subscriptions(&broker), ["yes/1 1"], "what was granted is given back");
    let ended: Vec<_> = received(&broker, PacketType::Unsubscribe)
        .into_iter()
        .flat_map(|packet| match packet {
            OwnedPacket::Unsubscribe { filters, .. } => filters,
            other => panic!("{other:?}"),
        })
        .map(|filter| filter.as_str().to_owned())
        .collect();
    assert_eq!(ended, ["yes/2"], "and nothing else");
    assert!(matches!(client.subscribe("no/#", QoS::AtMostOnce).await, Err(SubscribeError::Refused(_))));
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn requests_have_a_limit_and_leave_nothing_behind() {
    let broker = broker();
    let client = connect(&broker, 4096, options().max_requests(2)).await;
    let one = client.subscribe("1", QoS::AtMostOnce).await.unwrap();
    let two = client.subscribe("2", QoS::AtMostOnce).await.unwrap();
    let three = client.subscribe("3", QoS::AtMostOnce).await.unwrap();
    broker.with(|it| {
        it.set_faults(Faults::none().on_send(PacketType::Suback, When::Always, OnSend::Drop));
    });
    assert!(poll_times(client.subscribe("4", QoS::AtMostOnce).into_future(), 3).await.is_none());
    for _ in 0..10 {
        // One SUBSCRIBE without an answer, and the UNSUBSCRIBE behind it.
        assert!(matches!(client.subscribe("5", QoS::AtMostOnce).await, Err(SubscribeError::Request(_))));
    }
    assert!(matches!(three.unsubscribe().await, Err(SubscribeError::Request(_))));
    // It is still to be ended, and so it stays although somebody wanted it again in between.
    assert!(matches!(client.subscribe("3", QoS::AtMostOnce).await, Err(SubscribeError::Request(_))));
    drop((one, two));
    broker.with(|it| it.set_faults(Faults::none()));
    broker.cut_all();
    tokio::time::sleep(secs(5)).await;
    assert!(subscriptions(&broker).is_empty(), "{:?}", subscriptions(&broker));
}

#[tokio::test(start_paused = true)]
async fn overlapping_subscriptions_get_one_copy() {
    let broker = broker();
    let client = connect(&broker, 4096, options()).await;
    let mut all = client.subscribe("#", QoS::AtMostOnce).await.unwrap();
    let filters = [("a/#", QoS::AtLeastOnce), ("a/+", QoS::ExactlyOnce), ("b", QoS::AtMostOnce)];
    let mut several = client.subscribe_all(filters).await.unwrap();
    let mut twice =
        client.subscribe_all([("a/b", QoS::AtMostOnce), ("a/b", QoS::AtLeastOnce)]).await.unwrap();
    for (n, name) in ["a/b", "b", "a", "a/b/c", "c"].iter().enumerate() {
        for (m, qos) in QOS.iter().enumerate() {
            publish(&broker, name, (n * 10 + m) as u32, *qos);
        }
    }
    assert_eq!(rest(&mut all).await, [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42]);
    assert_eq!(rest(&mut several).await, [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]);
    assert_eq!(rest(&mut twice).await, [0, 1, 2]);
    assert_eq!(several.filters().len(), 3);
    drop(several);
    publish(&broker, "a/b", 99, QoS::ExactlyOnce);
    assert_eq!(rest(&mut all).await, [99]);
    assert_eq!(rest(&mut twice).await, [99]);
    settle().await;
    assert_eq!(subscriptions(&broker), ["# 0", "a/b 1"]);
    assert_eq!(broker.with(|it| it.session("c").unwrap().in_flight), 0, "all is acknowledged");
}

fn acknowledged(broker: &TestBroker) -> u64 {
    count(broker, PacketType::Puback) + count(broker, PacketType::Pubrec)
}

#[tokio::test(start_paused = true)]
async fn handler_error_before_ack() {
    let broker = broker();
    let client = connect(&broker, 4096, options().ack_mode(AckMode::Manual)).await;
    let mut stream = client.subscribe("a", QoS::ExactlyOnce).await.unwrap();
    for n in 0..4 {
        publish(&broker, "a", n, QOS[1 + n as usize % 2]);
    }
    let mut messages = Vec::new();
    for _ in 0..4 {
        messages.push(stream.next().await.unwrap());
    }
    settle().await;
    assert_eq!(acknowledged(&broker), 0);
    // In the order of receipt, whatever the order of the calls.
    messages[2].ack();
    messages[1].ack();
    settle().await;
    assert_eq!(acknowledged(&broker), 0);
    messages[0].ack();
    messages[0].ack();
    settle().await;
    assert_eq!(acknowledged(&broker), 3);
    // The handler of the last one fails: it comes again, and only it.
    broker.cut_all();
    let again = stream.next().await.unwrap();
    assert_eq!((number(&again), again.dup()), (3, true));
    // An acknowledgement of the earlier connection means nothing.
    messages[3].ack();
    settle().await;
    assert_eq!(acknowledged(&broker), 3);
    let mut again = again;
    again.ack();
    settle().await;
    assert_eq!(acknowledged(&broker), 4);
    assert!(rest(&mut stream).await.is_empty());
    assert_eq!(broker.with(|it| it.session("c").unwrap().in_flight), 0);
}

#[tokio::test(start_paused = true)]
async fn several_streams_acknowledge_together() {
    let broker = broker();
    let client = connect(&broker, 4096, options().ack_mode(AckMode::Manual)).await;
    let mut one = client.subscribe("a/#", QoS::AtLeastOnce).await.unwrap();
    let mut two = client.subscribe("a/+", QoS::AtLeastOnce).await.unwrap();
    publish(&broker, "a/b", 1, QoS::AtLeastOnce);
    let (mut first, mut second) = (one.next().await.unwrap(), two.next().await.unwrap());
    first.ack();
    first.ack();
    settle().await;
    assert_eq!(acknowledged(&broker), 0);
    second.ack();
    settle().await;
    assert_eq!(acknowledged(&broker), 1);
    // What nobody wants is acknowledged all the same.
    drop((one, two));
    settle().await;
    let stray = OwnedPacket::Publish(OwnedPublish {
        delivery: Delivery::AtLeastOnce { id: PacketId::new(77).unwrap(), dup: false },
        retain: false,
        topic: topic("nobody"),
        payload: "x".into(),
    });
    broker.with(|it| it.send(it.connection_of("c").unwrap(), stray));
    settle().await;
    assert_eq!(acknowledged(&broker), 2);
}

/// A stream that is dropped while messages wait in it for their acknowledgement must not hold back those of others.
#[tokio::test(start_paused = true)]
async fn a_dropped_stream_holds_nothing_back() {
    for taken_over in [false, true] {
        let broker = broker();
        let client = connect(&broker, 65_536, options()).await;
        let mut full = client.subscribe("full", QoS::ExactlyOnce).buffer(1).await.unwrap();
        let mut other = client.subscribe("other", QoS::ExactlyOnce).await.unwrap();
        broker.with(|it| {
            it.set_faults(Faults::none().on_send(PacketType::Pubcomp, When::Always, OnSend::Drop));
        });
        // It waits, so that the driver reads past the full stream.
        let waiting = {
            let client = client.clone();
            tokio::spawn(async move { client.publish("out", "x").qos(QoS::ExactlyOnce).await })
        };
        settle().await;
        for n in 0..12 {
            publish(&broker, "full", n, QOS[1 + n as usize % 2]);
        }
        tokio::time::sleep(secs(10)).await;
        if taken_over {
            assert_eq!(number(&full.next().await.unwrap()), 0);
        }
        drop(full);
        for n in 0..40 {
            publish(&broker, "other", n, QOS[n as usize % 3]);
        }
        let mut got = rest(&mut other).await;
        // QoS 0 does not wait for the window of the broker.
        got.sort_unstable();
        assert_eq!(got, (0..40).collect::<Vec<_>>());
        assert_eq!(broker.with(|it| it.session("c").unwrap().in_flight), 0);
        waiting.abort();
        client.disconnect(Drain::Now).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_can_be_dropped_after_the_end() {
    let broker = broker();
    let client = connect(&broker, 65_536, options()).await;
    let mut stream = client.subscribe("a", QoS::AtLeastOnce).buffer(2).await.unwrap();
    let idle = client.subscribe("a", QoS::AtLeastOnce).buffer(1).await.unwrap();
    for n in 0..5 {
        publish(&broker, "a", n, QoS::AtLeastOnce);
    }
    settle().await;
    client.disconnect(Drain::Now).await.unwrap();
    drop(idle);
    // What is there can still be taken.
    assert_eq!(number(&stream.next().await.unwrap()), 0);
    assert!(stream.next().await.is_none() || stream.next().await.is_none());
    assert!(stream.next().await.is_none());
    assert!(matches!(stream.unsubscribe().await, Ok(()) | Err(SubscribeError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_given_up_is_ended() {
    for polls in 0..6 {
        for connected in [false, true] {
            let broker = broker();
            let client = connect(&broker, 16, options()).await;
            if !connected {
                broker.stop().await;
                settle().await;
            }
            let given_up = poll_times(client.subscribe("a/#", QoS::AtLeastOnce).into_future(), polls).await;
            drop(given_up);
            if !connected {
                broker.restart(mqtt_tokio::testing::Sessions::Keep).await.unwrap();
            }
            tokio::time::sleep(secs(2)).await;
            assert!(subscriptions(&broker).is_empty(), "{polls}");
            let mut stream = client.subscribe("a/#", QoS::AtLeastOnce).await.unwrap();
            publish(&broker, "a/b", 1, QoS::AtLeastOnce);
            assert_eq!(rest(&mut stream).await, [1]);
            // The same for ending it.
            poll_times(stream.unsubscribe(), polls).await;
            tokio::time::sleep(secs(2)).await;
            assert!(subscriptions(&broker).is_empty(), "{polls}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_reading_future_loses_nothing() {
    let broker = broker();
    let client = connect(&broker, 3, options()).await;
    let mut stream = client.subscribe("a", QoS::AtLeastOnce).buffer(2).await.unwrap();
    let mut got = Vec::new();
    for n in 0..100 {
        publish(&broker, "a", n, QOS[n as usize % 2]);
        for polls in 1..4 {
            if let Some(message) = poll_times(stream.next(), polls).await {
                got.push(number(&message.unwrap()));
            }
        }
    }
    got.extend(rest(&mut stream).await);
    assert_eq!(got, (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn subscription_lost_is_told() {
    let (client, mut peer, mut peers) = with_peer(4096, options()).await;
    let mut status = client.status();
    let subscribe = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let answering = async {
        let packet = peer.recv().await.unwrap();
        peer.answer(&packet).await.unwrap();
    };
    let (stream, ()) = tokio::join!(subscribe, answering);
    drop(peer);
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await.unwrap();
    let OwnedPacket::Subscribe { id, .. } = peer.recv().await.unwrap() else { panic!() };
    peer.send(OwnedPacket::Suback { id, codes: vec![SubackCode::Failure] }).await.unwrap();
    let lost = loop {
        match status.next().await.unwrap() {
            Status::SubscriptionLost { filter } => break filter,
            Status::Lost { .. } | Status::Connected { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(lost.as_str(), "a");
    // A new stream asks again.
    let second = client.subscribe("a", QoS::AtMostOnce).into_future();
    let answering = async {
        let packet = peer.recv().await.unwrap();
        assert!(matches!(packet, OwnedPacket::Subscribe { .. }), "{packet:?}");
        peer.answer(&packet).await.unwrap();
    };
    let (second, ()) = tokio::join!(second, answering);
    drop((stream, second.unwrap()));
}
