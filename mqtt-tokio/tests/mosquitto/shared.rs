//! Shared subscriptions, which mosquitto offers to clients of every version.

use std::collections::BTreeSet;

use mqtt_tokio::{
    AckMode, Builder, Client, Drain, ProtocolVersion, Publisher, QoS, ReceivedMessage, Subscriber,
};

use crate::broker::Mosquitto;
use crate::support::{DRAIN, in_both_versions, next, options, silent};

in_both_versions!(
    one_member_gets_a_message,
    the_others_go_on_when_a_member_leaves,
    not_for_the_prefix_of_emqx,
    a_member_that_is_away_has_its_turn,
    what_a_dead_member_had_goes_to_nobody_else
);

const FILTER: &str = "$share/workers/jobs/+";

async fn publish(broker: &Mosquitto, version: ProtocolVersion, numbers: std::ops::Range<u32>) {
    let client = Client::<Publisher>::connect(&broker.uri(), options("writer", version)).await.unwrap();
    for number in numbers {
        let publish = client.publish(format!("jobs/{number}"), number.to_string()).qos(QoS::AtLeastOnce);
        publish.accepted().await.unwrap();
    }
    client.disconnect(DRAIN).await.unwrap();
}

fn number(message: &ReceivedMessage) -> u32 {
    assert_eq!(message.topic(), format!("jobs/{}", message.text().unwrap()), "the topic has no prefix");
    message.text().unwrap().parse().unwrap()
}

async fn one_member_gets_a_message(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let one = Client::<Subscriber>::connect(&broker.uri(), options("one", version)).await.unwrap();
    let two = Client::<Subscriber>::connect(&broker.uri(), options("two", version)).await.unwrap();
    let mut streams = [
        one.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap(),
        two.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap(),
    ];
    publish(&broker, version, 0..100).await;
    let mut all = BTreeSet::new();
    for stream in &mut streams {
        // In turn: as many each, and in order.
        let mut numbers = Vec::new();
        for _ in 0..50 {
            numbers.push(number(&next(stream).await));
        }
        assert!(numbers.is_sorted(), "{numbers:?}");
        all.extend(numbers);
        silent(stream).await;
    }
    assert_eq!(all, (0..100).collect());
}

async fn the_others_go_on_when_a_member_leaves(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let one = Client::<Subscriber>::connect(&broker.uri(), options("one", version)).await.unwrap();
    let two = Client::<Subscriber>::connect(&broker.uri(), options("two", version)).await.unwrap();
    let mut staying = one.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
    let leaving = two.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
    // To drop the stream unsubscribes, by the whole name.
    leaving.unsubscribe().await.unwrap();
    publish(&broker, version, 0..10).await;
    for expected in 0..10 {
        assert_eq!(number(&next(&mut staying).await), expected);
    }
    two.disconnect(Drain::Now).await.unwrap();
}

/// `$queue/` is EMQX's: here it is a filter like any other, for which nothing comes.
async fn not_for_the_prefix_of_emqx(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let client = Client::<Subscriber>::connect(&broker.uri(), options("one", version)).await.unwrap();
    let mut stream = client.subscribe("$queue/jobs/+", QoS::AtLeastOnce).await.unwrap();
    publish(&broker, version, 0..2).await;
    silent(&mut stream).await;
}

/// It has its turn all the same, and its messages wait for it: the guide says so of mosquitto.
async fn a_member_that_is_away_has_its_turn(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let kept = options("away", version).clean_session(false);
    let away = Client::<Subscriber>::connect(&broker.uri(), kept.clone()).await.unwrap();
    let stream = away.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
    away.disconnect(Drain::Now).await.unwrap();
    drop(stream);
    let staying = Client::<Subscriber>::connect(&broker.uri(), options("staying", version)).await.unwrap();
    let mut stayed = staying.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
    publish(&broker, version, 0..10).await;

    // Sent before the stream is there, and kept for it.
    let back = Client::<Subscriber>::connect(&broker.uri(), kept).await.unwrap();
    let mut came_back = back.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
    let mut all = BTreeSet::new();
    for stream in [&mut stayed, &mut came_back] {
        for _ in 0..5 {
            all.insert(number(&next(stream).await));
        }
        silent(stream).await;
    }
    assert_eq!(all, (0..10).collect());
}

/// What a member had not acknowledged goes to no other: it waits for it, or is lost with its Session.
async fn what_a_dead_member_had_goes_to_nobody_else(version: ProtocolVersion) {
    for clean in [true, false] {
        let broker = Mosquitto::start().await;
        let dies = options("dies", version).clean_session(clean).ack_mode(AckMode::Manual);
        let (dying, driver) =
            Builder::new(&broker.uri(), dies.clone()).unwrap().build::<Subscriber>().unwrap();
        let driver = tokio::spawn(driver);
        let mut stream = dying.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
        publish(&broker, version, 0..5).await;
        assert_eq!(number(&next(&mut stream).await), 0);
        let staying =
            Client::<Subscriber>::connect(&broker.uri(), options("staying", version)).await.unwrap();
        let mut stayed = staying.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
        driver.abort();
        silent(&mut stayed).await;

        let again = Client::<Subscriber>::connect(&broker.uri(), dies).await.unwrap();
        let mut came_back = again.subscribe(FILTER, QoS::AtLeastOnce).await.unwrap();
        for expected in 0..if clean { 0 } else { 5 } {
            assert_eq!(number(&next(&mut came_back).await), expected);
        }
        silent(&mut came_back).await;
    }
}
