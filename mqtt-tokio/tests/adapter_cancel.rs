//! Every future is dropped after each number of polls: nothing is lost, nothing is left behind.

mod common;

use std::collections::BTreeSet;
use std::future::Future;
use std::task::Context;

use common::{QOS, Wakes, broker, connect, options, poll_times, received, secs, settle, topic};
use mqtt_codec::{OwnedPacket, PacketType};
use mqtt_tokio::testing::{Faults, OnSend, Sessions, TestBroker, When};
use mqtt_tokio::{Client, Drain, Message, Overflow, PubSub, PublishError, QoS};
use tokio::time::timeout;

fn published(broker: &TestBroker) -> Vec<Vec<u8>> {
    received(broker, PacketType::Publish)
        .into_iter()
        .map(|packet| match packet {
            OwnedPacket::Publish(publish) => publish.payload.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Nobody counts as waiting: a full stream stops the reading, so that nothing needs to be dropped.
async fn nobody_waits(broker: &TestBroker, client: &Client<PubSub>) {
    let mut stream = client.subscribe("full", QoS::AtMostOnce).buffer(1).await.unwrap();
    for n in 0..50_u8 {
        broker.with(|it| it.publish(topic("full"), vec![n], QoS::AtMostOnce, false));
    }
    tokio::time::sleep(secs(30)).await;
    for n in 0..50_u8 {
        assert_eq!(timeout(secs(5), stream.next()).await.unwrap().unwrap().payload(), [n]);
    }
    assert_eq!(stream.dropped(), 0);
    stream.unsubscribe().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_dropped_has_its_place_or_not() {
    for buffer in [1, 64] {
        let broker = broker();
        let client = connect(&broker, buffer, options()).await;
        let mut expected = Vec::new();
        let mut n = 0;
        for polls in 0..12 {
            for qos in QOS {
                for what in 0..4 {
                    n += 1;
                    let payload = vec![n, polls as u8];
                    let publish = client.publish("a", payload.clone()).qos(qos);
                    match what {
                        0 => drop(poll_times(publish.into_future(), polls).await),
                        1 => drop(poll_times(publish.receipt(), polls).await),
                        2 => drop(poll_times(publish.accepted(), polls).await),
                        _ => {
                            let receipt = publish.receipt().await.unwrap();
                            drop(poll_times(receipt, polls).await);
                        }
                    }
                    // The queue has room, so that one poll is enough.
                    if polls > 0 || what == 3 {
                        expected.push(payload);
                    }
                }
            }
        }
        tokio::time::sleep(secs(5)).await;
        assert_eq!(published(&broker), expected);
        nobody_waits(&broker, &client).await;
        client.disconnect(Drain::Queue(secs(5))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_waits_for_room_is_not_published_when_it_is_dropped() {
    let broker = broker();
    broker.with(|it| it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop)));
    let client = connect(&broker, 64, options().max_in_flight(1).max_queue_len(1)).await;
    let first = client.publish("a", "1").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let second = client.publish("a", "2").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    for polls in 0..6 {
        let publish = || client.publish("a", "never").qos(QoS::AtLeastOnce);
        assert!(poll_times(publish().into_future(), polls).await.is_none());
        assert!(poll_times(publish().receipt(), polls).await.is_none());
        assert!(poll_times(publish().accepted(), polls).await.is_none());
        // The other side of it: to be woken, and then dropped, takes nobody's turn.
        let message = Message::new(topic("a"), "back").qos(QoS::AtLeastOnce);
        match client.try_publish(message) {
            Err(PublishError::QueueFull(message)) => assert_eq!(message.payload, "back"),
            other => panic!("{other:?}"),
        }
    }
    nobody_waits(&broker, &client).await;
    let waiting: Vec<_> = (0..6_u8)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.publish("a", vec![n]).qos(QoS::AtLeastOnce).await })
        })
        .collect();
    settle().await;
    broker.with(|it| it.set_faults(Faults::none()));
    broker.cut_all();
    first.await.unwrap();
    second.await.unwrap();
    // Half of them go away while they wait or just after they were woken.
    for (n, task) in waiting.into_iter().enumerate() {
        if n % 2 == 0 {
            task.abort();
        } else {
            timeout(secs(5), task).await.expect("woken").unwrap().unwrap();
        }
    }
    let got: BTreeSet<_> = published(&broker).into_iter().collect();
    assert!(!got.contains(&b"never"[..]) && !got.contains(&b"back"[..]), "{got:?}");
    assert!([1, 3, 5].iter().all(|n| got.contains(&vec![*n])));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_can_be_polled_from_anywhere_and_waits_for_no_one() {
    let broker = broker();
    let client = connect(&broker, 64, options()).await;
    let mut receipt = client.publish("a", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    // Polled by one task, and then by another: the later one is woken.
    let (first, waker) = Wakes::new();
    assert!(std::pin::Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker)).is_pending());
    let (second, waker) = Wakes::new();
    assert!(std::pin::Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker)).is_pending());
    settle().await;
    assert_eq!((first.count(), second.count()), (0, 1));
    receipt.await.unwrap();
    // Many receipts that nobody polls hinder nothing.
    let mut receipts = Vec::new();
    for _ in 0..500 {
        receipts.push(client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
    }
    tokio::time::sleep(secs(5)).await;
    assert_eq!(published(&broker).len(), 501);
    nobody_waits(&broker, &client).await;
    client.disconnect(Drain::Now).await.unwrap();
    // And they know the outcome after the end.
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_futures_can_be_dropped_too() {
    for polls in 0..8 {
        let broker = broker();
        let client = connect(&broker, 2, options()).await;
        let filters = [("b", QoS::AtMostOnce), ("c/#", QoS::ExactlyOnce)];
        let overflow = Overflow::DropOldest;
        drop(
            poll_times(client.subscribe("a", QoS::AtMostOnce).overflow(overflow).into_future(), polls).await,
        );
        drop(poll_times(client.subscribe_all(filters).into_future(), polls).await);
        drop(poll_times(client.unsubscribe("zzz"), polls).await);
        let stream = client.subscribe("d", QoS::AtLeastOnce).await.unwrap();
        drop(poll_times(stream.unsubscribe(), polls).await);
        let mut status = client.status();
        assert!(poll_times(status.next(), polls).await.is_none());
        broker.stop().await;
        settle().await;
        drop(poll_times(client.connected(), polls).await);
        drop(poll_times(client.publish("a", "kept").qos(QoS::AtLeastOnce).into_future(), 1).await);
        broker.restart(Sessions::Keep).await.unwrap();
        client.connected().await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert!(broker.with(|it| it.session("c").unwrap().subscriptions.is_empty()), "{polls}");
        assert!(published(&broker).contains(&b"kept".to_vec()));
        nobody_waits(&broker, &client).await;
        // Disconnecting goes on.
        let _ = poll_times(client.disconnect(Drain::Queue(secs(5))), polls).await;
        tokio::time::sleep(secs(1)).await;
        assert_eq!(broker.with(|it| it.connection_of("c").is_none()), polls > 0);
        assert_eq!(client.publish("a", "x").await == Err(PublishError::Closed), polls > 0);
    }
}
