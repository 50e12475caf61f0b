//! A hostile Server, and an application that does not read: what the client holds, with all its buffers, stays under a
//! stated bound.
//!
//! Everything runs on one thread, whose allocator counts; the scripted peer is counted too, with the little it holds.
//! What the core holds is in `mqtt-client/tests/attack.rs`.

mod common;

use std::future::{Future, IntoFuture};

use allocation_counter::{AllocationInfo, measure};
use bytes::BytesMut;
use common::{options, peers, poll_times, secs, settle, topic, with_peer};
use mqtt_codec::{Delivery, PacketId, Publish, TopicNameRef};
use mqtt_tokio::testing::Peer;
use mqtt_tokio::{
    AckMode, Builder, Client, Message, Options, Overflow, Oversize, PubSub, QoS, Status, Subscription,
};
use tokio::time::timeout;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What fits into the transport in each direction.
const TRANSPORT: usize = 64 * 1024;

/// Runtime, transport, client and peer.
const WORLD: u64 = 2 * TRANSPORT as u64 + 128 * KIB;

/// The read buffer with small packets: it has room for as much again as it holds; and the one before it is still there
/// while what is left in it is moved.
const READ: u64 = 3 * 2 * TRANSPORT as u64;

/// With large packets: the buffer grows by doubling up to four times what came.
const READ_LARGE: u64 = 4;

/// What a small message in a stream's buffer costs besides its bytes: its place in a queue that doubles, the count of
/// those who share it, its acknowledgement.
const KEPT: u64 = 3 * 72 + 2 * 64;

/// A large message keeps the buffer in which it was received, of which it is a fourth at least.
const SHARE: u64 = 4;

/// The defaults of a stream's buffer.
const BUFFER: u64 = 1000;
const BUFFER_SIZE: u64 = 16 * MIB;

/// What the core keeps of answers that the transport does not take, and what is under way to the transport.
const ANSWERS: u64 = 4 * 64 * KIB;

/// Changes of the connection that nobody reads.
const STATUSES: u64 = 64 * 256;

#[track_caller]
fn bounded<F: Future>(bound: u64, attack: F) -> AllocationInfo {
    let info = measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(attack);
    });
    assert!(info.bytes_max <= bound, "{} bytes, more than {bound}", info.bytes_max);
    info
}

fn encoded(topic: &str, delivery: Delivery, payload_len: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(topic.len() + payload_len + 9);
    let topic = TopicNameRef::new(topic).unwrap();
    Publish { delivery, retain: true, topic, payload: &vec![7; payload_len] }.encode(&mut out).unwrap();
    out
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

/// Sends bytes unless the client stops reading; whether it took all of them.
async fn send(peer: &mut Peer, bytes: &[u8]) -> bool {
    matches!(timeout(secs(5), peer.send_raw(bytes)).await, Ok(Ok(())))
}

/// Sends as many packets, or fewer if the client stops reading.
async fn send_all(peer: &mut Peer, packet: &[u8], count: usize) -> bool {
    for _ in 0..count {
        if !send(peer, packet).await {
            return false;
        }
    }
    true
}

/// A client with a stream, and the peer that granted it.
async fn subscribed(
    options: Options,
    filter: &str,
    overflow: Overflow,
) -> (Client<PubSub>, Subscription, Peer) {
    let (client, mut peer, _) = with_peer(TRANSPORT, options).await;
    let subscribing = async { client.subscribe(filter, QoS::ExactlyOnce).overflow(overflow).await.unwrap() };
    let granting = async {
        let packet = peer.recv().await.unwrap();
        peer.answer(&packet).await.unwrap();
    };
    let (stream, ()) = tokio::join!(subscribing, granting);
    (client, stream, peer)
}

/// Something that waits for the Server, as long as `work` takes.
async fn while_waiting(client: &Client<PubSub>, work: impl Future<Output = bool>) -> bool {
    let message = Message::new(topic("x"), "").qos(QoS::AtLeastOnce);
    let receipt = client.try_publish(message).unwrap();
    tokio::select! {
        done = work => done,
        _ = receipt => panic!("nobody answers"),
    }
}

/// Five bytes that declare 256 MB, and a little of what they declare.
#[test]
fn a_declared_length() {
    for max in [268_435_460, 16 << 20] {
        bounded(WORLD, async {
            let (client, mut peer, _dials) = with_peer(TRANSPORT, options().max_packet_size(max)).await;
            send(&mut peer, b"\x30\xff\xff\xff\x7f").await;
            send_all(&mut peer, &[0; 100], 100).await;
            settle().await;
            assert_eq!(client.is_connected(), max > 16 << 20);
        });
    }
}

/// A packet just below the limit, in small pieces: what is held grows with what came, and so does what is copied.
#[test]
fn a_slow_drip() {
    for (piece, len) in [(1, 64 * KIB), (1000, 4 * MIB)] {
        let packet = encoded("a", Delivery::AtMostOnce, len as usize);
        let info = bounded(WORLD + READ_LARGE * len, async {
            let options = options().max_packet_size(packet.len());
            let (_client, mut stream, mut peer) = subscribed(options, "a", Overflow::Wait).await;
            for piece in packet.chunks(piece) {
                send(&mut peer, piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(stream.next().await.unwrap().payload().len() as u64, len);
        });
        assert!(info.bytes_total < WORLD + 2 * READ_LARGE * len, "{info:?}");
    }
}

/// Retained messages for a stream that nobody reads, small ones and large ones; also while a future waits for the
/// Server, when twice as much is taken.
#[test]
fn a_flood_of_retained_messages() {
    for (overflow, payload, waits) in [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest]
        .into_iter()
        .flat_map(|overflow| [(overflow, 10), (overflow, MIB)])
        .flat_map(|(overflow, payload)| [(overflow, payload, false), (overflow, payload, true)])
    {
        let packet = encoded("t", Delivery::AtMostOnce, payload as usize);
        let twice = if waits && overflow == Overflow::Wait { 2 } else { 1 };
        let (bound, count) = match payload {
            MIB => ((twice * BUFFER_SIZE + payload) * SHARE + READ_LARGE * payload, 100),
            _ => (twice * BUFFER * (payload + KEPT) + READ, 20_000),
        };
        bounded(WORLD + bound, async {
            let (client, stream, mut peer) = subscribed(options(), "t", overflow).await;
            let all = send_all(&mut peer, &packet, count);
            let all = if waits { while_waiting(&client, all).await } else { all.await };
            assert_eq!(all, waits || overflow != Overflow::Wait);
            settle().await;
            assert_eq!(stream.dropped() > 0, all);
        });
    }
}

/// Messages with QoS 1, which are not dropped, for a stream that nobody reads, while a future waits for a Server that
/// does not answer: four times the size of the buffer, and then reading stops.
#[test]
fn a_flood_of_what_must_not_be_dropped() {
    let bound = (4 * BUFFER_SIZE + MIB) * SHARE + READ_LARGE * MIB;
    bounded(WORLD + bound, async {
        let (client, mut stream, mut peer) = subscribed(options(), "t", Overflow::Wait).await;
        let flood = async {
            for n in 1..200 {
                if !send(&mut peer, &encoded("t", Delivery::AtLeastOnce { id: id(n), dup: false }, 1 << 20))
                    .await
                {
                    return false;
                }
            }
            true
        };
        assert!(!while_waiting(&client, flood).await);
        // What is read makes room.
        assert!(stream.try_next().is_some());
        assert!(send(&mut peer, b"\xd0\x00").await);
    });
}

/// Messages that are kept where they were received, each behind a much larger one that nobody wants: a message may not
/// hold a buffer that is many times its size.
#[test]
fn small_messages_in_large_buffers() {
    const LEN: u64 = 16 * KIB;
    for junk in [200 * KIB, 4 * MIB] {
        let (junk, kept) = (
            encoded("x", Delivery::AtMostOnce, junk as usize),
            encoded("t", Delivery::AtMostOnce, LEN as usize),
        );
        let bound = 2 * READ_LARGE * junk.len() as u64 + READ + 100 * LEN * SHARE;
        bounded(WORLD + bound, async {
            let (_client, mut stream, mut peer) = subscribed(options(), "t", Overflow::Wait).await;
            for _ in 0..100 {
                assert!(send(&mut peer, &junk).await && send(&mut peer, &kept).await);
            }
            settle().await;
            assert_eq!(std::iter::from_fn(|| stream.try_next()).count(), 100);
        });
    }
}

/// Messages on many topics, most of which are not remembered for long.
#[test]
fn many_topics() {
    // 64 topics of up to 256 bytes are remembered.
    bounded(WORLD + READ + 64 * 2 * 256, async {
        let (_client, mut stream, mut peer) = subscribed(options(), "a/#", Overflow::Wait).await;
        for n in 0..50_000 {
            let name = format!("a/{n}/{}", "x".repeat(n % 300));
            assert!(send(&mut peer, &encoded(&name, Delivery::AtMostOnce, 0)).await);
            assert_eq!(stream.next().await.unwrap().topic(), name);
        }
    });
}

/// The longest filters and topics, of nothing but levels: their trie is what they cost.
#[test]
fn slashes() {
    bounded(WORLD + READ + 65_536 * 256 + 8 * 65_536, async {
        let filter = "+/".repeat(32_767) + "#";
        let (_client, mut stream, mut peer) = subscribed(options(), &filter, Overflow::Wait).await;
        for _ in 0..3 {
            assert!(send(&mut peer, &encoded(&"/".repeat(65_535), Delivery::AtMostOnce, 0)).await);
            assert_eq!(stream.next().await.unwrap().topic().len(), 65_535);
        }
    });
}

/// Acknowledgements of what nobody sent, while the peer does not read the answers that some of them get.
#[test]
fn unknown_acknowledgements() {
    for (packet, answered) in [
        (&b"\x40\x02\x12\x34"[..], false),
        (b"\x50\x02\x12\x34", true),
        (b"\x62\x02\x12\x34", true),
        (b"\x70\x02\x12\x34", false),
        (b"\x90\x03\x12\x34\x00", false),
        (b"\xb0\x02\x12\x34", false),
        (b"\xd0\x00", false),
    ] {
        let packets = packet.repeat(1000);
        bounded(WORLD + READ + ANSWERS, async {
            let (client, mut peer, _dials) = with_peer(TRANSPORT, options()).await;
            assert_eq!(send_all(&mut peer, &packets, 1000).await, !answered, "{packet:x?}");
            assert!(client.is_connected());
        });
    }
}

/// The Server uses all identifiers for QoS 2 and never sends a PUBREL; the application takes the messages, and never
/// acknowledges them.
#[test]
fn qos2_without_end() {
    for ack_mode in [AckMode::Automatic, AckMode::Manual] {
        // An acknowledgement that waits is a place in a queue that doubles, and a bit in two maps.
        let pending = if ack_mode == AckMode::Manual { 3 * 65_536 * 4 } else { 0 };
        bounded(WORLD + READ + ANSWERS + pending + 4 * 16 * KIB, async {
            let (_client, mut stream, mut peer) =
                subscribed(options().ack_mode(ack_mode), "t", Overflow::Wait).await;
            for n in 1..=u16::MAX {
                let delivery = Delivery::ExactlyOnce { id: id(n), dup: false };
                assert!(send(&mut peer, &encoded("t", delivery, 1)).await);
                drop(stream.next().await.unwrap());
                if ack_mode == AckMode::Automatic {
                    peer.recv().await.unwrap();
                }
            }
            let more = send_all(&mut peer, &encoded("t", Delivery::AtMostOnce, 1000), 500).await;
            assert_eq!(more, ack_mode == AckMode::Automatic);
        });
    }
}

/// Oversize messages without end that are skipped: no payload is kept, and of the topics those of the last statuses.
#[test]
fn endless_skipping() {
    const TOPIC: usize = 10_000;
    let packet = encoded(&"x".repeat(TOPIC), Delivery::AtMostOnce, MIB as usize);
    bounded(WORLD + READ + STATUSES + 65 * TOPIC as u64, async {
        let options = options().max_packet_size(2 * TOPIC).oversize(Oversize::Skip);
        let (client, stream, mut peer) = subscribed(options, "#", Overflow::Wait).await;
        let _unread = client.status();
        assert!(send_all(&mut peer, &packet, 100).await);
        settle().await;
        assert_eq!((stream.dropped(), client.stats().skipped), (100, 100));
    });
}

/// A Server that accepts and closes at once, for ever; nobody reads the statuses.
#[test]
fn reconnecting() {
    bounded(WORLD + STATUSES, async {
        let (connector, mut dials) = peers(1024);
        let client: Client<PubSub> = Builder::with_connector(connector, options()).start().unwrap();
        let mut status = client.status();
        for _ in 0..2000 {
            let mut peer = dials.recv().await.unwrap();
            peer.accept().await.unwrap();
            settle().await;
        }
        let mut kept = 0;
        while let Some(Some(Status::Connected { .. } | Status::Lost { .. })) =
            poll_times(status.next(), 1).await
        {
            kept += 1;
        }
        assert_eq!(kept, 64);
    });
}

/// An application that publishes without end to a peer that reads nothing, and drops its futures.
#[test]
fn publishing_without_end() {
    const LEN: usize = 2000;
    // A place in the queue and in the table of those who wait, both doubling; bytes in the queue and in flight.
    bounded(WORLD + ANSWERS + LEN as u64 * 3 * (112 + 64) + 2 * 1_000_000, async {
        let options = options().max_queue_len(LEN).max_queue_size(1_000_000);
        let (client, _peer, _dials) = with_peer(1024, options).await;
        let mut refused = 0;
        for n in 0..20_000 {
            let message = Message::new(topic("a/b"), "payload".repeat(10)).qos(common::QOS[n % 3]);
            refused += usize::from(client.try_publish(message.clone()).is_err());
            poll_times(client.publish_message(message).into_future(), 2).await;
        }
        assert!(refused > 10_000, "{refused}");
    });
}

/// An application that subscribes without end to a peer that answers nothing, and drops its futures: the requests are
/// limited, and so is what is to be asked for later.
#[test]
fn subscribing_without_end() {
    const REQUESTS: usize = 100;
    bounded(WORLD + REQUESTS as u64 * 256, async {
        let (client, _peer, _dials) = with_peer(1024, options().max_requests(REQUESTS)).await;
        for n in 0..5000 {
            poll_times(client.subscribe(format!("a/{n}"), QoS::AtLeastOnce).into_future(), 2).await;
            poll_times(client.unsubscribe(format!("a/{n}")), 2).await;
        }
    });
}
