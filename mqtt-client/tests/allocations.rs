//! What may not grow unnoticed: allocations, the size of hot types, what an idle client holds.

mod common;

use allocation_counter::{AllocationInfo, measure};
use common::{kept, message, text};
use mqtt_client::bytes::Buf;
use mqtt_client::{Client, Event, Message, Options, PubSub, QoS, Session, Time};

const NOW: Time = Time::ZERO;
const ROUNDS: u64 = 1000;

/// Bytes allocated in all by `work`, and how often.
fn allocations(work: impl FnOnce()) -> AllocationInfo {
    measure(work)
}

fn take_all(client: &mut Client<PubSub>) -> usize {
    let mut output = client.poll_output(NOW);
    let mut taken = 0;
    while output.has_remaining() {
        let count = output.chunk().len();
        taken += count;
        output.advance(count);
    }
    taken
}

/// Feeds bytes; how many events came.
fn feed(client: &mut Client<PubSub>, mut bytes: &[u8]) -> usize {
    let mut events = 0;
    while let Some(event) = client.handle_input(&mut bytes, NOW).unwrap() {
        assert!(!matches!(event, Event::Connected { .. }));
        events += 1;
    }
    events
}

fn connected(options: Options) -> Client<PubSub> {
    let mut client = Client::new(options).unwrap();
    client.connect(NOW).unwrap();
    take_all(&mut client);
    let connack = text::encode("CONNACK 0", Default::default());
    assert!(client.handle_input(&mut &connack[..], NOW).unwrap().is_some());
    client
}

fn encoded(packet: &str) -> Vec<u8> {
    text::encode(packet, Default::default())
}

#[test]
fn receiving_allocates_nothing() {
    for (packet, answer) in [("PUBLISH - q0 payload", 0), ("PUBLISH 9 q1 payload", 4)] {
        let bytes = encoded(packet);
        let mut client = connected(kept());
        let round = |client: &mut Client<PubSub>| {
            assert_eq!(feed(client, &bytes), 1);
            assert_eq!(take_all(client), answer);
        };
        round(&mut client);
        let info = allocations(|| (0..ROUNDS).for_each(|_| round(&mut client)));
        assert_eq!(info.count_total, 0, "{packet}");
    }
}

#[test]
fn receiving_qos2_allocates_nothing() {
    let (publish, release) = (encoded("PUBLISH 9 q2 payload"), encoded("PUBREL 9"));
    let mut client = connected(kept());
    let round = |client: &mut Client<PubSub>| {
        assert_eq!(feed(client, &publish) + feed(client, &release), 1);
        assert_eq!(take_all(client), 8);
    };
    round(&mut client);
    assert_eq!(allocations(|| (0..ROUNDS).for_each(|_| round(&mut client))).count_total, 0);
}

/// A hundred messages in one read: the answers are collected without an allocation for each.
#[test]
fn receiving_in_batches_allocates_nothing() {
    let batch = encoded("PUBLISH 9 q1 payload").repeat(100);
    let mut client = connected(kept());
    let round = |client: &mut Client<PubSub>| {
        assert_eq!(feed(client, &batch), 100);
        assert_eq!(take_all(client), 400);
    };
    for _ in 0..3 {
        round(&mut client);
    }
    assert_eq!(allocations(|| (0..ROUNDS).for_each(|_| round(&mut client))).count_total, 0);
}

/// Publishes `count` messages that exist already, one after the other, each with its acknowledgement.
fn publish_rounds(client: &mut Client<PubSub>, qos: QoS, ids: std::ops::Range<u64>) -> u64 {
    let messages: Vec<Message> = ids.clone().map(|_| message("payload", qos)).collect();
    let acks: Vec<Vec<u8>> = ids.map(|id| encoded(&format!("PUBACK {id}"))).collect();
    let info = allocations(|| {
        for (message, ack) in messages.into_iter().zip(&acks) {
            let token = client.publish(message).unwrap();
            take_all(client);
            if token.is_some() {
                assert_eq!(feed(client, ack), 1);
            }
        }
    });
    info.count_total
}

#[test]
fn publishing_qos0_allocates_nothing() {
    let mut client = connected(kept());
    publish_rounds(&mut client, QoS::AtMostOnce, 1..2);
    assert_eq!(publish_rounds(&mut client, QoS::AtMostOnce, 1..ROUNDS), 0);
}

#[test]
fn publishing_qos1_allocates_at_most_once() {
    let mut client = connected(kept());
    publish_rounds(&mut client, QoS::AtLeastOnce, 1..2);
    let count = publish_rounds(&mut client, QoS::AtLeastOnce, 2..ROUNDS + 2);
    assert_eq!(count, 0, "a budget of one for each was given; none is used");
}

/// With the window full all the time, through the queue: still next to nothing.
#[test]
fn publishing_through_a_full_window() {
    let mut client = connected(kept().max_in_flight(10));
    let messages: Vec<Message> = (0..ROUNDS).map(|_| message("payload", QoS::AtLeastOnce)).collect();
    let acks: Vec<Vec<u8>> = (1..=ROUNDS).map(|id| encoded(&format!("PUBACK {id}"))).collect();
    let info = allocations(|| {
        for message in messages {
            client.publish(message).unwrap();
        }
        for ack in &acks {
            take_all(&mut client);
            feed(&mut client, ack);
        }
    });
    assert!(info.count_total < ROUNDS / 20, "{info:?}");
    assert!(client.session().is_empty());
}

/// Large payloads go out from where they lie.
#[test]
fn large_payloads_are_not_copied() {
    let mut client = connected(kept());
    let payload = "x".repeat(1 << 20);
    let messages: Vec<Message> = (0..20).map(|_| message(&payload, QoS::AtMostOnce)).collect();
    let info = allocations(|| {
        for message in messages {
            client.publish(message).unwrap();
            assert!(take_all(&mut client) > payload.len());
        }
    });
    assert!(info.bytes_total < 20 * 200, "{info:?}");
}

/// What a client holds when nothing goes on: before and after a lot went on.
#[test]
fn an_idle_client_holds_little() {
    let mut client = None;
    let info = allocations(|| client = Some(connected(Options::new("c"))));
    assert!(info.bytes_current < 512, "{info:?}");
    let mut client = client.unwrap();
    let payload = "x".repeat(1000);
    let publish = encoded("PUBLISH 9 q1 payload").repeat(10_000);
    let acks: Vec<u8> = (1..=3000).flat_map(|id| encoded(&format!("PUBACK {id}"))).collect();
    let info = allocations(|| {
        for _ in 0..3000 {
            client.publish(message(&payload, QoS::AtLeastOnce)).unwrap();
        }
        let mut input = &acks[..];
        while !input.is_empty() {
            take_all(&mut client);
            // In pieces, as a window at a time is acknowledged.
            let (now, rest) = input.split_at(input.len().min(400));
            feed(&mut client, now);
            input = rest;
        }
        feed(&mut client, &publish);
        take_all(&mut client);
    });
    assert!(client.session().is_empty());
    assert!(info.bytes_max > 3_000_000, "something went on: {info:?}");
    assert!(info.bytes_current < 8 * 1024, "{info:?}");
}

/// The sizes of what is moved and kept for each message, on 64-bit targets. Raise one only for a good reason.
#[test]
#[cfg(target_pointer_width = "64")]
fn sizes() {
    assert!(size_of::<Message>() <= 72, "{}", size_of::<Message>());
    assert!(size_of::<Event<'_>>() <= 64, "{}", size_of::<Event<'_>>());
    assert!(size_of::<mqtt_client::PublishToken>() == 8);
    assert!(size_of::<mqtt_client::AckToken>() <= 16);
    assert!(size_of::<mqtt_client::ConnectionError>() <= 32, "{}", size_of::<mqtt_client::ConnectionError>());
    assert!(size_of::<Session>() <= 448, "{}", size_of::<Session>());
    assert!(size_of::<Client<PubSub>>() <= 1792, "{}", size_of::<Client<PubSub>>());
}

/// What one message costs while it waits, besides its topic and payload.
#[test]
fn a_queued_message_costs_little() {
    let mut client = Client::<PubSub>::new(kept().max_queue_len(100_000)).unwrap();
    let message = message("payload", QoS::AtLeastOnce);
    let info = allocations(|| {
        for _ in 0..65_536 {
            client.publish(message.clone()).unwrap();
        }
    });
    let each = info.bytes_current / 65_536;
    assert!(each <= 112, "{each} bytes each");
}
