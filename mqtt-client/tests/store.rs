//! A Session as bytes: whole, cut off, and with every byte changed.

mod common;

use common::{Pair, Q0, Q1, Q2, kept};
use mqtt_client::{Session, SessionDecodeError, SessionLoss};

/// A client with something of every kind in its Session.
fn full() -> Pair {
    let options = kept().max_in_flight(4).queue_qos0(true).session_loss(SessionLoss::RepublishAll);
    let mut pair: Pair = Pair::new(options);
    pair.open(false);
    pair.subscribe("granted/+", Q1);
    pair.subscribe("other/#", Q0);
    pair.sent();
    pair.peer("SUBACK 1 1");
    pair.peer("SUBACK 2 0");
    for (name, qos) in [("rel", Q2), ("rec", Q2), ("ack", Q1), ("unsent", Q1), ("queued", Q1)] {
        pair.publish(name, qos);
    }
    let all = pair.client.output_len();
    pair.take(all - 3);
    pair.peer("PUBREC 3");
    pair.peer("PUBLISH 77 q2 in");
    pair.peer("PUBLISH 65535 q2 in");
    pair.sent();
    pair.subscribe("pending", Q2);
    pair.sent();
    pair.unsubscribe("granted/+");
    pair.cut();
    pair.publish("zero", Q0);
    pair.publish("last", Q2);
    pair.events();
    pair
}

fn connect_and_show(session: Session) -> Vec<String> {
    let mut pair: Pair = Pair::with_session(kept(), session, Default::default());
    pair.dial();
    pair.peer("CONNACK present");
    pair.sent()
}

#[test]
fn round_trip() {
    for session in [Session::new(), full().client.into_session()] {
        let bytes = session.to_bytes();
        let back = Session::from_bytes(&bytes).unwrap();
        assert_eq!(back.to_bytes(), bytes);
        assert_eq!(back.is_empty(), session.is_empty());
        assert_eq!(
            back.pending_publishes().map(|(_, message)| message.cloned()).collect::<Vec<_>>(),
            session.pending_publishes().map(|(_, message)| message.cloned()).collect::<Vec<_>>()
        );
        assert_eq!(connect_and_show(back), connect_and_show(session));
    }
    let sent = connect_and_show(full().client.into_session());
    assert_eq!(
        sent,
        [
            "PUBREL 3",
            "PUBLISH 4 q2 dup rec",
            "PUBLISH 5 q1 dup ack",
            "PUBLISH 6 q1 dup unsent",
            "SUBSCRIBE 7 pending:2",
            "UNSUBSCRIBE 8 granted/+",
            "PUBLISH - q0 zero",
            "PUBLISH 9 q1 queued",
            "PUBLISH 10 q2 last",
        ]
    );
}

/// Subscriptions that are under way once more after a loss of the Session are asked for again, whether the Server then
/// has its new Session or lost that too.
#[test]
fn resubscribing_survives_a_restart() {
    for present in [true, false] {
        let mut pair = full();
        pair.open(false);
        let mut pair = pair.restart(kept(), |session| Session::from_bytes(&session.to_bytes()).unwrap());
        pair.open(present);
        let again = pair.sent().into_iter().filter(|packet| packet.ends_with("granted/+:1 other/#:0"));
        assert_eq!(again.count(), 1, "{present}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = full().client.into_session().to_bytes();
    for len in 0..bytes.len() {
        let error = Session::from_bytes(&bytes[..len]).unwrap_err();
        let expected = if len < 3 { SessionDecodeError::NotASession } else { SessionDecodeError::Truncated };
        assert_eq!(error, expected, "{len}");
    }
    let mut more = bytes;
    more.push(0);
    assert_eq!(Session::from_bytes(&more), Err(SessionDecodeError::TrailingBytes));
}

/// Whatever is accepted works: it is a Session that can be stored again and used.
fn accepts_or_refuses(bytes: &[u8]) -> bool {
    let Ok(session) = Session::from_bytes(bytes) else { return false };
    let again = session.to_bytes();
    assert_eq!(Session::from_bytes(&again).unwrap().to_bytes(), again);
    connect_and_show(session.clone());
    let mut pair: Pair = Pair::with_session(kept(), session, Default::default());
    pair.client.connect(pair.now).unwrap();
    pair.take(usize::MAX);
    pair.client.discard_session();
    assert!(pair.client.session().is_empty());
    true
}

#[test]
fn every_byte_changed() {
    let bytes = full().client.into_session().to_bytes();
    let (mut accepted, mut refused) = (0, 0);
    for at in 0..bytes.len() {
        for change in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF, bytes[at]] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            match accepts_or_refuses(&changed) {
                true => accepted += 1,
                false => refused += 1,
            }
        }
    }
    assert!(accepted > 100 && refused > 500, "{accepted} {refused}");
}

#[test]
fn what_cannot_be_is_corrupt() {
    use SessionDecodeError::{Corrupt, NotASession, Truncated, UnknownFormat};
    let none = [0_u8; 12];
    let with_publish = |entry: &[u8]| {
        let mut bytes = b"MQS\x02\x00\x00\x01\x00\x00\x00\x01".to_vec();
        bytes.extend_from_slice(entry);
        bytes.extend_from_slice(&none);
        Session::from_bytes(&bytes).map(|session| session.pending_publishes().count())
    };
    // A queued QoS 1 message on the topic `t` without a payload.
    assert_eq!(with_publish(b"\x28\x00\x01t\0\0\0\0"), Ok(1));
    // The same, and it expires after a second.
    assert_eq!(with_publish(b"\x2c\0\0\0\0\x3b\x9a\xca\0\x00\x01t\0\0\0\0"), Ok(1));
    for (entry, why) in [
        (&b"\x68\x00\x01t\0\0\0\0"[..], "QoS 3"),
        (b"\x28\x00\x01#\0\0\0\0", "a wildcard"),
        (b"\x28\x00\x00\0\0\0\0", "no topic"),
        (b"\x00", "queued without a message"),
        (b"\x09\x00\x01\x00\x01t\0\0\0\0", "awaiting PUBACK with QoS 0"),
        (b"\x49\x00\x01\x00\x01t\0\0\0\0", "awaiting PUBACK with QoS 2"),
        (b"\x2a\x00\x01\x00\x01t\0\0\0\0", "awaiting PUBREC with QoS 1"),
        (b"\x03\x00\x00", "identifier 0"),
        (b"\x13\x00\x01", "RETAIN without a message"),
        (b"\x01\x00\x01", "awaiting PUBACK without a message"),
    ] {
        assert_eq!(with_publish(entry), Err(Corrupt), "{why}");
    }
    let session = |rest: &[u8]| Session::from_bytes(&[b"MQS\x02\x00\x00\x01", rest].concat()).err();
    assert_eq!(session(&[&none[..], &[0; 4]].concat()), None);
    let twice = b"\0\0\0\x02\x03\0\x05\x03\0\x05\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(session(twice), Some(Corrupt), "an identifier twice");
    let received_twice = b"\0\0\0\0\0\0\0\x02\0\x05\0\x05\0\0\0\0\0\0\0\0";
    assert_eq!(session(received_twice), Some(Corrupt));
    let no_filter = b"\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0";
    assert_eq!(session(no_filter), Some(Corrupt));
    // Counts that the input cannot hold are found out without reserving anything for them.
    assert_eq!(session(b"\xff\xff\xff\xff"), Some(Truncated));
    assert_eq!(Session::from_bytes(b"MQS\x03"), Err(UnknownFormat(3)));
    assert_eq!(Session::from_bytes(b"mqs\x01"), Err(NotASession));
}

/// No two owners of one identifier, in whatever part.
#[test]
fn an_identifier_of_a_publish_and_a_request_is_corrupt() {
    let mut bytes = b"MQS\x02\x00\x00\x01".to_vec();
    bytes.extend_from_slice(b"\0\0\0\x01\x03\0\x05");
    bytes.extend_from_slice(b"\0\0\0\0");
    bytes.extend_from_slice(b"\0\0\0\x01\x08\0\x05\0\0\0\x01\0\x01f\0");
    bytes.extend_from_slice(b"\0\0\0\0");
    assert_eq!(Session::from_bytes(&bytes), Err(SessionDecodeError::Corrupt));
    let at = bytes.len() - 4 - 8 - 2;
    let mut other = bytes.clone();
    assert_eq!(other[at + 1], 5);
    other[at + 1] = 6;
    assert!(Session::from_bytes(&other).is_ok());
}

proptest::proptest! {
    /// Any bytes behind a right beginning.
    #[test]
    fn any_bytes(rest in proptest::collection::vec(0_u8..10, 0..200)) {
        accepts_or_refuses(&[b"MQS\x02\x00\x00\x01\x00\x00\x00", &rest[..]].concat());
    }
}
