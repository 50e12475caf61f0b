//! Messages above the limit that are skipped; that they end the connection otherwise is in `receive.rs`.

use mqtt_client::{AckMode, ConnectionError, Options, Oversize, PacketType};
use mqtt_codec::DecodeError;

use crate::common::{Pair, kept, secs, text};

/// Packets above 40 bytes are skipped.
fn skipping() -> Options {
    kept().max_packet_size(40).oversize(Oversize::Skip)
}

/// A PUBLISH to the topic `t` with so many bytes of payload.
fn publish(head: &str, payload_len: usize) -> Vec<u8> {
    text::encode(&format!("PUBLISH {head} {}", "x".repeat(payload_len)), Default::default())
}

/// A message that is too large for us is acknowledged and reported, so that the Server does not send it on each
/// connection again and the client does not reconnect for ever.
#[test]
fn oversize_message_is_skipped() {
    let mut pair: Pair = Pair::new(skipping());
    pair.open(false);
    pair.feed(&publish("- q0", 100)).unwrap();
    pair.feed(&publish("1 q1 dup", 100)).unwrap();
    pair.feed(&publish("2 q2 retain", 200)).unwrap();
    pair.expect_events([
        "skipped q0 t, 100 bytes",
        "skipped q1 dup t, 100 bytes",
        "skipped q2 retain t, 200 bytes",
    ]);
    pair.expect(["PUBACK 1", "PUBREC 2"]);
    pair.peer("PUBREL 2");
    pair.expect(["PUBCOMP 2"]);
    pair.peer("PUBLISH 3 q1 y");
    pair.expect_events(["message q1 y"]);
    pair.expect(["PUBACK 3"]);
    assert_eq!(pair.client.stats().skipped, 3);
    assert!(pair.client.session().is_empty());
}

#[test]
fn a_message_of_exactly_the_limit_is_a_message() {
    for (payload_len, skipped) in [(33, false), (34, true)] {
        let bytes = publish("1 q1", payload_len);
        assert_eq!(bytes.len(), 7 + payload_len);
        let mut pair: Pair = Pair::new(skipping());
        pair.open(false);
        pair.feed(&bytes).unwrap();
        assert_eq!(pair.events()[0].starts_with("skipped"), skipped, "{payload_len}");
        pair.expect(["PUBACK 1"]);
    }
}

/// Cut into pieces of any size, with a packet before and one behind; the caller never keeps more than the limit.
#[test]
fn oversize_message_in_pieces() {
    let mut bytes = publish("- q0", 5);
    bytes.extend(publish("1 q2", 100));
    bytes.extend(publish("- q0", 6));
    for size in 1..bytes.len() {
        let mut pair: Pair = Pair::new(skipping());
        pair.open(false);
        for piece in bytes.chunks(size) {
            pair.feed(piece).unwrap();
            assert!(pair.unused() <= 40, "pieces of {size}");
        }
        pair.expect_events(["message q0 xxxxx", "skipped q2 t, 100 bytes", "message q0 xxxxxx"]);
        pair.expect(["PUBREC 1"]);
    }
}

/// What precedes the payload must be within the limit, however the input is cut.
#[test]
fn a_topic_above_the_limit_ends_the_connection() {
    // `len` bytes of topic and 1000 of payload.
    let packet = |len: u8| {
        let remaining = 2 + usize::from(len) + 2 + 1000;
        let length = [(remaining % 128) as u8 | 0x80, (remaining / 128) as u8];
        [&[0x32, length[0], length[1], 0, len][..], &vec![b'a'; len.into()], &[0, 1], &[b'x'; 1000]].concat()
    };
    // 3 bytes of header, 2 of length, 2 of identifier.
    for (len, fits) in [(33, true), (34, false), (200, false)] {
        let bytes = packet(len);
        for size in [1, 7, bytes.len()] {
            let mut pair: Pair = Pair::new(skipping());
            pair.open(false);
            let result = bytes.chunks(size).try_for_each(|piece| pair.feed(piece));
            assert_eq!(result.is_ok(), fits, "{len} bytes of topic in pieces of {size}: {result:?}");
            if let Err(error) = result {
                assert!(matches!(error, ConnectionError::Oversize { max: 40, .. }), "{error:?}");
            }
        }
    }
}

/// The rules of the part before the payload hold for a message that nobody gets, too.
#[test]
fn an_illegal_message_is_not_skipped() {
    let long = |first: u8, rest: &[u8]| [&[first, 100][..], rest, &[b'x'; 100]].concat();
    for (bytes, expected) in [
        (long(0x32, &[0, 1, b'#', 0, 1]), "MQTT-4.7.1-1"),
        (long(0x32, &[0, 1, b't', 0, 0]), "MQTT-2.3.1-1"),
        (long(0x30, &[0, 0]), "MQTT-4.7.3-1"),
        (long(0x36, &[0, 1, b't', 0, 1]), "MQTT-3.3.1-4"),
    ] {
        let mut pair: Pair = Pair::new(skipping());
        pair.open(false);
        let error = pair.feed(&bytes).unwrap_err();
        assert!(error.to_string().ends_with(&format!("[{expected}]")), "{error}");
        pair.open(true);
    }
    // A topic that is longer than its packet.
    let mut pair: Pair = Pair::new(skipping());
    pair.open(false);
    let error = pair.feed(&long(0x32, &[0, 120])[..6]).unwrap_err();
    assert_eq!(error, ConnectionError::Decode(DecodeError::Truncated(PacketType::Publish)));
}

/// Only messages are skipped: of what an oversize SUBACK answers, nothing would be known.
#[test]
fn other_packets_above_the_limit_end_the_connection() {
    let mut pair: Pair = Pair::new(skipping());
    pair.open(false);
    let error = pair.feed(&[0x90, 100]).unwrap_err();
    assert!(matches!(error, ConnectionError::Oversize { packet_type: PacketType::Suback, .. }), "{error:?}");
    pair.dial();
    let error = pair.feed(&publish("- q0", 100)).unwrap_err();
    assert!(
        matches!(error, ConnectionError::Oversize { .. }),
        "before CONNACK nothing is skipped: {error:?}"
    );
}

/// Its acknowledgement waits for those of earlier messages [MQTT-4.6.0-2], and is not up to the application.
#[test]
fn oversize_message_with_manual_acknowledgement() {
    let mut pair: Pair = Pair::new(skipping().ack_mode(AckMode::Manual));
    pair.open(false);
    pair.peer("PUBLISH 1 q1 a");
    pair.feed(&publish("2 q2", 100)).unwrap();
    pair.peer("PUBLISH 3 q1 b");
    pair.expect_events(["message q1 a", "skipped q2 t, 100 bytes", "message q1 b"]);
    assert_eq!(pair.acks.len(), 2);
    pair.client.acknowledge(pair.acks[1]).unwrap();
    pair.expect([]);
    // The same once more: it is acknowledged once it is its turn, and not reported twice.
    pair.feed(&publish("2 q2 dup", 100)).unwrap();
    pair.expect_events([]);
    pair.client.acknowledge(pair.acks[0]).unwrap();
    pair.expect(["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
    // Of a message that the application still has to acknowledge, a copy above the limit changes nothing.
    pair.peer("PUBLISH 4 q2 c");
    pair.feed(&publish("4 q2 dup", 100)).unwrap();
    pair.expect_events(["message q2 c"]);
    pair.expect([]);
    pair.client.acknowledge(pair.acks[2]).unwrap();
    pair.expect(["PUBREC 4"]);
}

/// QoS 2: reported once, over any number of copies and connections, and after a cut in the middle.
#[test]
fn oversize_message_over_reconnect() {
    let mut pair: Pair = Pair::new(skipping());
    pair.open(false);
    let bytes = publish("2 q2", 100);
    pair.feed(&bytes[..60]).unwrap();
    pair.expect_events([]);
    pair.cut();
    pair.open(true);
    pair.expect([]);
    pair.feed(&publish("2 q2 dup", 100)).unwrap();
    pair.expect_events(["skipped q2 dup t, 100 bytes"]);
    // The PUBREC is lost.
    pair.cut();
    pair.open(true);
    pair.feed(&publish("2 q2 dup", 100)).unwrap();
    pair.expect_events([]);
    pair.expect(["PUBREC 2"]);
    assert_eq!((pair.client.stats().skipped, pair.client.stats().duplicates), (1, 1));
    pair.peer("PUBREL 2");
    pair.expect(["PUBCOMP 2"]);
    pair.feed(&publish("2 q2", 100)).unwrap();
    pair.expect_events(["skipped q2 t, 100 bytes"]);
}

/// What is thrown away shows that the Server lives, byte for byte.
#[test]
fn skipped_bytes_are_a_sign_of_life() {
    let mut pair: Pair = Pair::new(skipping().pingresp_timeout(secs(10)));
    pair.open(false);
    pair.client.ping(pair.now).unwrap();
    pair.sent();
    let bytes = publish("- q0", 100);
    for byte in &bytes {
        pair.advance(secs(9));
        assert_eq!(pair.timeout(), Ok(()));
        pair.feed(&[*byte]).unwrap();
    }
    pair.advance(secs(10));
    assert_eq!(pair.timeout(), Err(ConnectionError::PingrespTimeout));
}

/// The protocol's largest packet, announced and never sent, costs nothing; sent, it is counted right.
#[test]
fn the_largest_packet_is_skipped() {
    let mut pair: Pair = Pair::new(skipping());
    pair.open(false);
    pair.feed(&[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, b't']).unwrap();
    let chunk = vec![0; 1 << 20];
    let mut left = 268_435_455 - 3;
    while left > 0 {
        let count = chunk.len().min(left);
        pair.feed(&chunk[..count]).unwrap();
        assert_eq!(pair.unused(), 0);
        left -= count;
        assert_eq!(pair.events().len(), usize::from(left == 0));
    }
    pair.peer("PUBLISH - q0 y");
    pair.expect_events(["message q0 y"]);
}
