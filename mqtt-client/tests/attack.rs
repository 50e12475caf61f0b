//! A hostile Server, and an application that never stops: what the core holds stays under a stated bound.
//!
//! Bounds are bytes on 64-bit targets, counted by an allocator; what the embedder holds (input, events that it has
//! fetched) is not among them. The same attacks on the adapter, with its buffers, are in `mqtt-tokio/tests/attack.rs`.

mod common;

use std::time::Duration;

use allocation_counter::measure;
use common::{filter, kept, message, text};
use mqtt_client::bytes::{Buf, BytesMut};
use mqtt_client::{
    AckMode, Client, ConnectionError, Event, Message, Options, Oversize, PacketId, ProtocolVersion, PubSub,
    PublishError, QoS, Time, TopicFilter, TopicName, TopicNameRef,
};
use mqtt_codec::{Delivery, FilterMap, Publish};

const NOW: Time = Time::ZERO;
const KIB: u64 = 1024;

/// Answers that wait for the transport: 64 KiB, then nothing more is read; in a buffer that doubles (the old half is
/// still there while the new one is filled).
const ANSWERS: u64 = 3 * 64 * KIB + KIB;

/// One bit for each identifier, in a vector that grows by doubling: once for what was received, once for what waits
/// for its acknowledgement.
const IDS: u64 = 2 * 16 * KIB;

/// What waits for a manual acknowledgement: 65 535 times an identifier and two flags, in a queue that doubles (the
/// old half is copied).
const UNACKNOWLEDGED: u64 = 3 * 65_536 * 4 + IDS;

/// With MQTT 3.1, a digest for each identifier: ten bytes each, in a tree whose nodes are half empty at the worst.
const DIGESTS: u64 = 65_535 * 40 + IDS;

/// A level of a filter in a [`FilterMap`]: a node, its text and its place in an index, in vectors that double.
const LEVEL: u64 = 256;

/// What a message in the queue costs besides topic and payload: its place in a slab that doubles.
const QUEUED: u64 = 3 * 112;

/// What an unsaved change costs: 16 384 of them, in a vector that doubles.
const CHANGES: u64 = 3 * 16_384 * 112;

fn connected(options: Options, version: ProtocolVersion) -> Client<PubSub> {
    let mut client = Client::new(options.version(version)).unwrap();
    open(&mut client, version);
    client
}

/// A new connection, as from a Server that does not wait for the CONNECT.
fn open(client: &mut Client<PubSub>, version: ProtocolVersion) {
    client.connect(NOW).unwrap();
    take(client, usize::MAX);
    let connack = text::encode("CONNACK 0", version);
    let mut input = &connack[..];
    while client.handle_input(&mut input, NOW).unwrap().is_some() {}
}

fn encoded(packet: &str) -> Vec<u8> {
    text::encode(packet, ProtocolVersion::V3_1_1)
}

fn publish_to(topic: &str, delivery: Delivery, payload: &[u8], out: &mut BytesMut) {
    let publish = Publish { delivery, retain: false, topic: TopicNameRef::new(topic).unwrap(), payload };
    publish.encode(out).unwrap();
}

/// The transport takes up to `max` bytes.
fn take(client: &mut Client<PubSub>, max: usize) -> usize {
    let mut output = client.poll_output(NOW);
    let mut taken = 0;
    while output.has_remaining() && taken < max {
        let count = output.chunk().len().min(max - taken);
        output.advance(count);
        taken += count;
    }
    taken
}

/// Feeds all of `bytes` if they are wanted; how many events came.
fn feed(client: &mut Client<PubSub>, bytes: &[u8]) -> Result<usize, ConnectionError> {
    let mut input = bytes;
    let mut events = 0;
    while client.handle_input(&mut input, NOW)?.is_some() {
        events += 1;
    }
    Ok(events)
}

/// Sends `packets` again and again, `rounds` times; whether the client wanted all of them.
fn flood(client: &mut Client<PubSub>, packets: &[u8], rounds: usize) -> bool {
    (0..rounds).all(|_| {
        let wanted = client.wants_input();
        feed(client, packets).unwrap();
        wanted
    })
}

#[track_caller]
fn bounded(bound: u64, attack: impl FnOnce()) {
    let info = measure(attack);
    assert!(info.bytes_max <= bound, "{} bytes, more than {bound}", info.bytes_max);
}

/// Five bytes that declare 256 MB: no byte is allocated for them, whatever is allowed.
#[test]
fn a_declared_length() {
    const ALL: usize = 268_435_460;
    let declared = b"\x30\xff\xff\xff\x7f";
    for (max, oversize) in [(ALL, Oversize::Close), (16 << 20, Oversize::Close), (16 << 20, Oversize::Skip)] {
        let options = kept().max_packet_size(max).oversize(oversize);
        let mut client = connected(options, ProtocolVersion::V3_1_1);
        let refused = max != ALL && oversize == Oversize::Close;
        bounded(0, || assert_eq!(feed(&mut client, declared).is_err(), refused));
    }
}

/// A packet just below the limit, byte by byte: the core keeps none of it and allocates nothing.
#[test]
fn a_slow_drip() {
    const LEN: usize = 256 * 1024;
    let mut packet = BytesMut::new();
    publish_to("a/b", Delivery::AtMostOnce, &[7; LEN - 9], &mut packet);
    assert_eq!(packet.len(), LEN);
    let mut client = connected(kept().max_packet_size(LEN), ProtocolVersion::V3_1_1);
    bounded(0, || {
        for have in 1..LEN {
            assert_eq!(feed(&mut client, &packet[..have]), Ok(0));
        }
        assert_eq!(feed(&mut client, &packet), Ok(1));
    });
}

/// Messages on a million topics leave no trace.
#[test]
fn a_million_topics() {
    let mut client = connected(kept(), ProtocolVersion::V3_1_1);
    let mut packet = BytesMut::with_capacity(64);
    bounded(0, || {
        for n in 0..1_000_000_u32 {
            packet.clear();
            // Written by hand, so that the test itself allocates nothing.
            let digits: [u8; 7] = std::array::from_fn(|at| b'0' + (n / 10_u32.pow(at as u32) % 10) as u8);
            publish_to(std::str::from_utf8(&digits).unwrap(), Delivery::AtMostOnce, &[], &mut packet);
            assert_eq!(feed(&mut client, &packet), Ok(1));
        }
    });
}

/// The Server uses all identifiers for QoS 2, twice over, and never sends a PUBREL. With MQTT 3.1 each message
/// leaves a digest.
#[test]
fn qos2_without_end() {
    for (version, ack_mode, bound) in [
        (ProtocolVersion::V3_1_1, AckMode::Automatic, IDS),
        (ProtocolVersion::V3_1, AckMode::Automatic, DIGESTS),
        (ProtocolVersion::V3_1_1, AckMode::Manual, UNACKNOWLEDGED),
        (ProtocolVersion::V3_1, AckMode::Manual, UNACKNOWLEDGED + DIGESTS),
    ] {
        let mut client = connected(kept().ack_mode(ack_mode), version);
        let mut packet = BytesMut::with_capacity(64);
        let mut events = 0;
        bounded(bound + ANSWERS, || {
            for (n, id) in (0..2_u8).flat_map(|n| (1..=u16::MAX).map(move |id| (n, id))) {
                packet.clear();
                let id = PacketId::new(id).unwrap();
                publish_to("t", Delivery::ExactlyOnce { id, dup: false }, &[n], &mut packet);
                events += feed(&mut client, &packet).unwrap();
                take(&mut client, usize::MAX);
            }
        });
        assert!(events >= 65_535, "{version:?} {ack_mode:?}: {events}");
        assert_eq!(client.wants_input(), ack_mode == AckMode::Automatic);
    }
}

/// Acknowledgements of what nobody sent. Some are answered: if the transport takes no answers, reading stops.
#[test]
fn unknown_acknowledgements() {
    let quiet = ["PUBACK", "PUBCOMP", "SUBACK", "UNSUBACK"];
    for (name, answered) in
        quiet.map(|name| (name, false)).into_iter().chain([("PUBREC", true), ("PUBREL", true)])
    {
        let packets: Vec<u8> = (1..=u16::MAX).flat_map(|id| encoded(&format!("{name} {id} 0"))).collect();
        let mut client = connected(kept(), ProtocolVersion::V3_1_1);
        bounded(if answered { ANSWERS } else { 0 }, || {
            assert_eq!(flood(&mut client, &packets, 3), !answered, "{name}");
        });
        assert_eq!(client.has_output(), answered);
    }
    // And with a transport that takes them, one byte at a time when one is due.
    let mut client = connected(kept(), ProtocolVersion::V3_1_1);
    bounded(ANSWERS, || {
        for _ in 0..200_000 {
            feed(&mut client, b"\x50\x02\x12\x34").unwrap();
            take(&mut client, 4);
        }
    });
    assert_eq!(client.stats().unknown_acknowledgements, 200_000);
}

/// PINGRESPs that nobody asked for, and an application that pings upon each: nothing, or answers of two bytes that the
/// transport does not take.
#[test]
fn pingresp_flood() {
    let mut client = connected(kept(), ProtocolVersion::V3_1_1);
    let flooding = b"\xd0\x00".repeat(1000);
    bounded(0, || assert!(flood(&mut client, &flooding, 100)));
}

/// A publish is answered with PUBRECs without end, and its PUBREL with garbage.
#[test]
fn pubrels_that_are_not_answered() {
    let mut client = connected(kept(), ProtocolVersion::V3_1_1);
    client.publish(message("m", QoS::ExactlyOnce)).unwrap();
    take(&mut client, usize::MAX);
    feed(&mut client, b"\x50\x02\x00\x01").unwrap();
    take(&mut client, usize::MAX);
    let pubrecs = b"\x50\x02\x00\x01".repeat(1000);
    bounded(ANSWERS, || assert!(!flood(&mut client, &pubrecs, 100)));
    take(&mut client, usize::MAX);
    for garbage in [&b"\xff\xff"[..], b"\x70\x00", b"\x62\x03\x00\x01\x00", b"\x40\x02\x00\x01"] {
        bounded(KIB, || {
            for _ in 0..100 {
                assert!(feed(&mut client, garbage).is_err());
                client.connect(NOW).unwrap();
                take(&mut client, usize::MAX);
                feed(&mut client, b"\x20\x02\x01\x00").unwrap();
                take(&mut client, usize::MAX);
            }
        });
    }
    assert_eq!(client.in_flight_len(), 1);
}

/// Endless messages that are skipped: no payload is kept, only the topic of the one that is being skipped.
#[test]
fn endless_skipping() {
    const TOPIC: usize = 1000;
    let options = kept().max_packet_size(2 * TOPIC).oversize(Oversize::Skip);
    let mut client = connected(options, ProtocolVersion::V3_1_1);
    let mut packet = BytesMut::with_capacity(200_000);
    let mut events = 0;
    bounded(TOPIC as u64 + IDS + ANSWERS, || {
        for id in 1..=3000 {
            packet.clear();
            let delivery = Delivery::ExactlyOnce { id: PacketId::new(id).unwrap(), dup: false };
            publish_to(&LONG_TOPIC[..TOPIC], delivery, &LONG_TOPIC.as_bytes()[..60_000], &mut packet);
            for piece in packet.chunks(1500) {
                events += feed(&mut client, piece).unwrap();
                take(&mut client, usize::MAX);
            }
        }
    });
    assert_eq!(events, 3000);
}

/// As long as a Topic Name can be.
const LONG_TOPIC: &str = match std::str::from_utf8(&[b'x'; 65_535]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Filters and topics of 65 535 slashes: a small stack is enough, time and memory grow with the length.
#[test]
fn slashes() {
    let work = || {
        let slashes = "/".repeat(65_535);
        let plus = "+/".repeat(32_767);
        let topic = TopicName::try_from(slashes.as_str()).unwrap();
        bounded(3 * 32_768 * LEVEL, || {
            let mut map = FilterMap::new();
            for text in [&slashes, &plus, &format!("{plus}#")] {
                map.insert(TopicFilter::try_from(text.as_str()).unwrap(), ());
            }
            for _ in 0..3 {
                assert_eq!(map.matches(&topic).count(), 2);
            }
            assert_eq!(map.remove(&TopicFilter::try_from(slashes.as_str()).unwrap()), Some(()));
        });
        bounded(4 * 65_536, || {
            for text in [&slashes, &plus] {
                let filter = TopicFilter::try_from(text.as_str()).unwrap();
                assert_eq!(filter.matches(&topic), text.len() == 65_535);
            }
        });
    };
    // No recursion: what calls itself for each level does not fit into this.
    std::thread::Builder::new().stack_size(128 * 1024).spawn(work).unwrap().join().unwrap();
}

/// Wildcards that could match in 2^200 ways, were each tried: a walk goes to every level of every filter once.
#[test]
fn wildcards_against_deep_topics() {
    const DEPTH: usize = 200;
    let level = |plus: bool| if plus { "+/" } else { "a/" };
    let mut map = FilterMap::new();
    for at in 0..DEPTH {
        for at_too in [at, (7 * at + 3) % DEPTH] {
            let levels = (0..DEPTH).map(|depth| level(depth <= at || depth == at_too));
            map.insert(TopicFilter::try_from(levels.collect::<String>() + "b").unwrap(), ());
        }
    }
    let missed = TopicName::try_from("a/".repeat(DEPTH) + "c").unwrap();
    let matched = TopicName::try_from("a/".repeat(DEPTH) + "b").unwrap();
    for _ in 0..20 {
        assert_eq!((map.matches(&missed).count(), map.matches(&matched).count()), (0, map.len()));
    }
}

/// An application that publishes and subscribes without end, and fetches neither output nor events.
#[test]
fn an_application_that_only_asks() {
    const LEN: usize = 1000;
    const SIZE: usize = 100_000;
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V3_1] {
        let options = kept().max_queue_len(LEN).max_queue_size(SIZE).max_requests(LEN).queue_qos0(true);
        let mut client = connected(options, version);
        // Twice the size: what waits, and what is in flight or in the output. A request is like a message here.
        bounded(2 * SIZE as u64 + 3 * LEN as u64 * QUEUED + ANSWERS, || {
            for n in 0..100_000_u32 {
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][n as usize % 3];
                let _ = client.publish(message("payload of a message", qos));
                let _ = client.subscribe([(filter("a/b"), qos)]);
                let _ = client.unsubscribe([filter("a/b")]);
                let _ = client.ping(NOW);
                if n % 1000 == 0 {
                    // All is resolved by that, and no event is fetched.
                    client.discard_session();
                    client.connect(NOW).unwrap();
                }
            }
        });
        assert!(matches!(client.publish(message("", QoS::AtLeastOnce)), Err(PublishError::QueueFull(_))));
    }
}

/// Publishes that are taken back or expire at once, without end.
#[test]
fn cancelling_and_expiring() {
    let mut client = Client::<PubSub>::new(kept()).unwrap();
    let message = message("payload", QoS::AtLeastOnce);
    bounded(8 * KIB, || {
        for n in 0..50_000_u64 {
            let token = client.publish(message.clone()).unwrap().unwrap();
            client.expire(token, NOW + Duration::from_secs(n)).unwrap();
            if n % 2 == 0 {
                client.cancel(token).unwrap();
            } else {
                client.handle_timeout(NOW + Duration::from_secs(n)).unwrap();
                assert_eq!(feed(&mut client, &[]), Ok(1));
            }
        }
    });
}

/// A Server that accepts and closes, for ever, while everything is to be sent and subscribed again each time.
#[test]
fn reconnecting() {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V3_1] {
        let mut client = loaded(kept(), version);
        bounded(ANSWERS, || {
            for _ in 0..2000 {
                client.handle_close();
                open(&mut client, version);
            }
        });
    }
}

/// A client with subscriptions, messages in flight and in the queue.
fn loaded(options: Options, version: ProtocolVersion) -> Client<PubSub> {
    let mut client = connected(options.max_in_flight(20).max_in_flight_qos2(10), version);
    for id in 1..=10 {
        client.subscribe([(filter(&format!("a/{id}")), QoS::AtLeastOnce)]).unwrap();
        if let Some(changes) = client.poll_changes() {
            client.changes_saved(changes.mark);
        }
        take(&mut client, usize::MAX);
        feed(&mut client, &text::encode(&format!("SUBACK {id} 1"), version)).unwrap();
    }
    for n in 0..100 {
        let qos = if n % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        client.publish(message("payload", qos)).unwrap();
    }
    client
}

/// With a journal whose store never saves, or never even fetches: 16 384 changes, then nothing is accepted, neither
/// from the application nor from the Server. What one connection then still changes is as large as the Session.
#[test]
fn a_store_that_never_saves() {
    for (version, fetches) in
        [(ProtocolVersion::V3_1_1, false), (ProtocolVersion::V3_1_1, true), (ProtocolVersion::V3_1, false)]
    {
        let mut client = loaded(kept().journal(true), version);
        let message: Message = message("payload", QoS::AtLeastOnce);
        let release = text::encode("PUBREL 9", version);
        let publish = text::encode("PUBLISH 9 q2 payload", version);
        bounded(CHANGES + ANSWERS, || {
            for _ in 0..3000 {
                client.handle_close();
                client.connect(NOW).unwrap();
                // A Server that does not wait for the CONNECT, which stays in the core.
                let connack = text::encode("CONNACK 0", version);
                feed(&mut client, &connack).unwrap();
                for _ in 0..10 {
                    feed(&mut client, &publish).unwrap();
                    feed(&mut client, &release).unwrap();
                    if let Ok(Some(token)) = client.publish(message.clone()) {
                        let _ = client.expire(token, NOW + Duration::from_secs(1000));
                        let _ = client.cancel(token);
                    }
                }
                assert_eq!(take(&mut client, usize::MAX), 0, "nothing leaves before it is safe");
                if fetches {
                    client.poll_changes();
                }
            }
        });
        assert!(matches!(client.publish(message), Err(PublishError::QueueFull(_))));
    }
}

/// Input is handed out, not kept: a flood of messages that nobody acknowledges costs only their acknowledgements.
#[test]
fn a_flood_of_messages() {
    let flood = encoded("PUBLISH 7 q1 payload").repeat(100_000);
    for (ack_mode, bound) in [(AckMode::Automatic, ANSWERS), (AckMode::Manual, UNACKNOWLEDGED)] {
        let mut client = connected(kept().ack_mode(ack_mode), ProtocolVersion::V3_1_1);
        let mut input = &flood[..];
        bounded(bound, || {
            while let Some(event) = client.handle_input(&mut input, NOW).unwrap() {
                assert!(matches!(event, Event::Message(_)));
            }
        });
        assert!(!input.is_empty() && !client.wants_input());
    }
}
