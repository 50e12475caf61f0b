//! Frames apart from streams: every cut, every mistake.

use super::super::frames::Frames;
use super::*;

/// Binary, a ping within a message of three frames, an empty frame, lengths of two and eight bytes.
fn sample(long: usize) -> (Vec<u8>, Vec<u8>) {
    let medium = vec![b'm'; 126];
    let large = vec![b'l'; long];
    let frames = [
        frame(0x82, b"ab"),
        frame(0x02, b"c"),
        frame(0x89, b"first"),
        frame(0x00, b""),
        frame(0x8a, b"unasked"),
        frame(0x80, b"de"),
        frame(0x82, b""),
        frame(0x82, &medium),
        frame(0x89, b"last"),
        frame(0x82, &large),
        frame(0x82, b"f"),
    ];
    (frames.concat(), [b"abcde".to_vec(), medium, large, b"f".to_vec()].concat())
}

fn payload_of(pieces: &[&[u8]]) -> Vec<u8> {
    let mut frames = Frames::new(DEFAULT_MAX_FRAME_SIZE);
    let (mut payload, mut pings) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let unframed = frames.unframe(&mut bytes);
        assert!(unframed.end.is_none(), "{:?}", unframed.end);
        payload.extend(&bytes[..unframed.len]);
        pings.extend(unframed.ping.map(|ping| ping.payload().to_vec()));
    }
    // Of pings that come together, the last is enough.
    assert_eq!(pings.last().unwrap(), b"last");
    payload
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let (bytes, payload) = sample(127);
    for first in 0..bytes.len() {
        let (head, tail) = bytes.split_at(first);
        for second in 0..tail.len() {
            let (middle, tail) = tail.split_at(second);
            assert_eq!(payload_of(&[head, middle, tail]), payload, "{first} {second}");
        }
    }
    let (bytes, payload) = sample(70_000);
    for size in [1, 2, 3, 7, 125, 4096, bytes.len()] {
        assert!(payload_of(&bytes.chunks(size).collect::<Vec<_>>()) == payload, "{size}");
    }
}

/// Feeds byte by byte; returns the payload before the end, and why it ended.
fn end_of(bytes: &[u8], max: u64) -> (Vec<u8>, Option<WebSocketError>) {
    let mut frames = Frames::new(max);
    let mut payload = Vec::new();
    let mut end = None;
    for byte in bytes {
        assert!(end.is_none(), "refused before the end of {bytes:?}");
        let unframed = frames.unframe(&mut [*byte]);
        payload.extend([*byte].iter().take(unframed.len));
        end = unframed.end;
    }
    if end.is_some() {
        assert_eq!(frames.unframe(&mut [0x82, 1, b'x']).len, 0, "what follows the end");
    }
    (payload, end)
}

#[test]
fn what_breaks_a_rule_is_refused_at_once() {
    for (bytes, rule) in [
        (&b"\xc2"[..], "a reserved bit is set"),
        (b"\xa2", "a reserved bit is set"),
        (b"\x92", "a reserved bit is set"),
        (b"\x80", "a continuation of nothing"),
        (b"\x00", "a continuation of nothing"),
        (b"\x82\x01x\x80", "a continuation of nothing"),
        (b"\x02\x00\x80\x01x\x80", "a continuation of nothing"),
        (b"\x02\x01x\x82", "a message within a message"),
        (b"\x02\x01x\x02", "a message within a message"),
        (b"\x02\x01x\x81", "a message within a message"),
        (b"\x02\x00\x89\x00\x82", "a message within a message"),
        (b"\x09", "a control frame in fragments"),
        (b"\x08", "a control frame in fragments"),
        (b"\x83", "an unknown opcode"),
        (b"\x8b", "an unknown opcode"),
        (b"\x8f", "an unknown opcode"),
        (b"\x82\x81", "a masked frame"),
        (b"\x89\x80", "a masked frame"),
        (b"\x89\x7e", "a control frame of more than 125 bytes"),
        (b"\x88\x7f", "a control frame of more than 125 bytes"),
        (b"\x82\x7e\x00\x7d", "a length in more bytes than it needs"),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "a length in more bytes than it needs"),
        (b"\x88\x01\x03", "half of a status code"),
        (b"\x88\x02\x03\xe7", "an invalid status code"),
        (b"\x88\x02\x03\xed", "an invalid status code"),
        (b"\x88\x02\x03\xf7", "an invalid status code"),
        (b"\x88\x02\x0b\xb7", "an invalid status code"),
        (b"\x88\x02\x13\x88", "an invalid status code"),
        (b"\x88\x03\x03\xe8\xff", "a reason that is not UTF-8"),
    ] {
        let (_, end) = end_of(bytes, DEFAULT_MAX_FRAME_SIZE);
        assert!(matches!(&end, Some(WebSocketError::Protocol(why)) if *why == rule), "{bytes:?}: {end:?}");
    }
}

#[test]
fn text_is_refused_before_it_comes() {
    for bytes in [&b"\x81"[..], b"\x01", b"\x82\x02\x20\x02\x81"] {
        assert!(matches!(end_of(bytes, 10).1, Some(WebSocketError::TextFrame)), "{bytes:?}");
    }
}

#[test]
fn sizes_have_a_limit_for_each_frame_and_none_for_a_message() {
    let large = b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff";
    let (_, end) = end_of(large, DEFAULT_MAX_FRAME_SIZE);
    assert!(matches!(
        end,
        Some(WebSocketError::FrameTooLarge { len: u64::MAX, max: DEFAULT_MAX_FRAME_SIZE })
    ));
    assert!(matches!(end_of(b"\x82\x04", 3).1, Some(WebSocketError::FrameTooLarge { len: 4, max: 3 })));
    let (payload, end) = end_of(b"\x02\x03abc\x00\x03def\x80\x03ghi\x82\x03jkl", 3);
    assert!(payload == b"abcdefghijkl" && end.is_none());
    assert!(end_of(large, u64::MAX).1.is_none());
}

#[test]
fn a_close_is_reported_with_code_and_reason() {
    for (bytes, code, reason) in [
        (&b"\x88\x00"[..], None, ""),
        (b"\x88\x02\x03\xe8", Some(1000), ""),
        (b"\x88\x07\x03\xf0go\n\x1b!", Some(1008), "go\\n\\u{1b}!"),
        (b"\x88\x02\x0b\xb8", Some(3000), ""),
        (b"\x88\x02\x13\x87", Some(4999), ""),
        (b"\x82\x01x\x88\x02\x03\xe9", Some(1001), ""),
    ] {
        let (_, end) = end_of(bytes, 10);
        let Some(WebSocketError::Closed { code: is, reason: why }) = &end else { panic!("{end:?}") };
        assert_eq!((*is, why.as_str()), (code, reason));
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut ends = 0;
    for _ in 0..20_000 {
        let mut frames = Frames::new(300);
        for _ in 0..8 {
            let mut byte = |_| match random.u8(..4) {
                0 => [0x00, 0x02, 0x80, 0x82, 0x88, 0x89, 0x8a][random.usize(..7)],
                1 => random.u8(..4),
                2 => random.u8(120..128),
                _ => random.u8(..),
            };
            let len = usize::from(byte(0));
            let mut bytes: Vec<u8> = (0..len).map(byte).collect();
            let unframed = frames.unframe(&mut bytes);
            assert!(unframed.len <= bytes.len());
            ends += usize::from(unframed.end.is_some());
        }
    }
    assert!(ends > 10_000, "{ends}");
}
