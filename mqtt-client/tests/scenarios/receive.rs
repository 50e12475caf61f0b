use crate::common::{Pair, Q1, kept};
use mqtt_client::{AckMode, AcknowledgeError, ConnectionError, Options, PacketType, State};

#[test]
fn unknown_pubrel_pubcomp() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.peer("PUBREL 7");
    pair.expect(["PUBCOMP 7"]);
    assert_eq!(pair.client.state(), State::Connected);
    assert_eq!(pair.client.stats().unknown_acknowledgements, 1);
}

/// A rule that is broken: the bytes, and the id that the error ends with. The client stays usable.
fn refused(bytes: &[u8], rule: &str) {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.publish("m", Q1);
    pair.sent();
    let error = pair.feed(bytes).unwrap_err();
    assert!(matches!(error, ConnectionError::Decode(_)), "{error:?}");
    assert!(error.to_string().ends_with(&format!("[{rule}]")), "{error}");
    assert_eq!(pair.client.state(), State::Disconnected);
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 dup m"]);
    pair.peer("PUBACK 1");
    pair.expect_events(["m delivered"]);
}

#[test]
fn qos3_publish() {
    refused(&[0x36, 5, 0, 1, b't', 0, 1], "MQTT-3.3.1-4");
}

#[test]
fn five_byte_length() {
    refused(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01], "MQTT-2.2.3");
}

#[test]
fn short_topic() {
    refused(&[0x30, 3, 0, 9, b't'], "MQTT-2.2.3");
    refused(&[0x30, 2, 0, 0], "MQTT-4.7.3-1");
}

#[test]
fn id_zero() {
    refused(&[0x32, 5, 0, 1, b't', 0, 0], "MQTT-2.3.1-1");
    refused(&[0x40, 2, 0, 0], "MQTT-2.3.1-1");
}

#[test]
fn handler_error_before_ack() {
    let mut pair: Pair = Pair::new(kept().ack_mode(AckMode::Manual));
    pair.open(false);
    pair.peer("PUBLISH 1 q1 a");
    pair.peer("PUBLISH 2 q2 b");
    pair.peer("PUBLISH - q0 c");
    pair.peer("PUBLISH 3 q1 d");
    pair.expect_events(["message q1 a", "message q2 b", "message q0 c", "message q1 d"]);
    pair.expect([]);
    // The handler of `a` failed: nothing that came behind it is acknowledged either [MQTT-4.6.0-2].
    for token in [pair.acks[2], pair.acks[1]] {
        pair.client.acknowledge(token).unwrap();
    }
    pair.expect([]);
    pair.cut();
    pair.open(true);
    // `a` comes again and is taken this time; `b` was taken and is not handed over twice.
    pair.acks.clear();
    pair.peer("PUBLISH 1 q1 dup a");
    pair.peer("PUBLISH 2 q2 dup b");
    pair.peer("PUBLISH 3 q1 dup d");
    pair.expect_events(["message q1 dup a", "message q1 dup d"]);
    pair.expect([]);
    pair.client.acknowledge(pair.acks[0]).unwrap();
    pair.expect(["PUBACK 1", "PUBREC 2"]);
    pair.client.acknowledge(pair.acks[1]).unwrap();
    pair.expect(["PUBACK 3"]);
    pair.peer("PUBREL 2");
    pair.expect(["PUBCOMP 2"]);
}

#[test]
fn a_held_message_is_not_handed_over_again() {
    let mut pair: Pair = Pair::new(kept().ack_mode(AckMode::Manual));
    pair.open(false);
    pair.peer("PUBLISH 1 q2 a");
    pair.peer("PUBLISH 2 q1 b");
    pair.expect_events(["message q2 a", "message q1 b"]);
    for token in pair.acks.clone() {
        pair.client.hold(token).unwrap();
    }
    pair.expect([]);
    let old = pair.acks.clone();
    pair.cut();
    assert_eq!(pair.client.hold(old[0]), Err(AcknowledgeError::Stale));
    pair.open(true);
    pair.acks.clear();
    pair.peer("PUBLISH 1 q2 dup a");
    pair.peer("PUBLISH 2 q1 dup b");
    pair.expect_events(["message q1 dup b"]);
    pair.expect(["PUBREC 1"]);
    assert_eq!(pair.client.hold(old[0]), Err(AcknowledgeError::Stale));
    pair.client.acknowledge(pair.acks[0]).unwrap();
    assert_eq!(pair.client.hold(pair.acks[0]), Err(AcknowledgeError::Stale));
    pair.expect(["PUBACK 2"]);
    pair.peer("PUBREL 1");
    pair.expect(["PUBCOMP 1"]);
    pair.peer("PUBLISH 1 q2 new");
    pair.expect_events(["message q2 new"]);
}

/// MQTT 3.1 does not tell whether the Server kept the Session, and mosquitto forgets DUP when it is restarted: the same
/// message with the same identifier is the same, another one is new.
#[test]
fn without_session_present_the_content_decides() {
    let mut pair: Pair = Pair::v3_1(kept());
    pair.open(false);
    pair.peer("PUBLISH 1 q2 a");
    pair.expect_events(["message q2 a"]);
    pair.cut();
    pair.open(false);
    pair.peer("PUBLISH 1 q2 a");
    pair.expect_events([]);
    pair.expect(["PUBREC 1"]);
    pair.peer("PUBREL 1");
    pair.expect(["PUBCOMP 1"]);
    pair.peer("PUBLISH 1 q2 a");
    pair.expect_events(["message q2 a"]);
    pair.cut();
    pair.open(false);
    pair.peer("PUBLISH 1 q2 b");
    pair.expect_events(["message q2 b"]);
}

#[test]
fn stale_ack_after_reconnect() {
    for options in [kept(), Options::new("c")] {
        let mut pair: Pair = Pair::new(options.ack_mode(AckMode::Manual));
        pair.open(false);
        pair.peer("PUBLISH 1 q1 a");
        pair.peer("PUBLISH 2 q2 b");
        let old = pair.acks.clone();
        pair.cut();
        assert_eq!(pair.client.acknowledge(old[0]), Err(AcknowledgeError::Stale));
        pair.dial();
        assert_eq!(pair.client.acknowledge(old[0]), Err(AcknowledgeError::Stale));
        pair.accept(false);
        pair.peer("PUBLISH 1 q1 x");
        pair.peer("PUBLISH 2 q2 y");
        for token in old {
            assert_eq!(pair.client.acknowledge(token), Err(AcknowledgeError::Stale));
        }
        pair.expect([]);
        let token = pair.acks[2];
        pair.client.acknowledge(token).unwrap();
        pair.expect(["PUBACK 1"]);
        assert_eq!(pair.client.acknowledge(token), Err(AcknowledgeError::Stale));
        pair.expect([]);
    }
}

#[test]
fn qos2_duplicate_over_reconnect() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.peer("PUBLISH 1 q2 a");
    pair.expect_events(["message q2 a"]);
    // The PUBREC does not arrive.
    pair.cut();
    pair.open(true);
    pair.peer("PUBLISH 1 q2 dup a");
    pair.expect_events([]);
    pair.expect(["PUBREC 1"]);
    assert_eq!(pair.client.stats().duplicates, 1);
    // Neither does the PUBREL, nor after a restart of the program.
    let mut pair =
        pair.restart(kept(), |session| mqtt_client::Session::from_bytes(&session.to_bytes()).unwrap());
    pair.open(true);
    pair.peer("PUBLISH 1 q2 dup a");
    pair.expect_events([]);
    pair.peer("PUBREL 1");
    pair.expect(["PUBREC 1", "PUBCOMP 1"]);
    pair.peer("PUBLISH 1 q2 b");
    pair.expect_events(["message q2 b"]);
}

#[test]
fn qos2_new_message_after_session_loss() {
    for options in [kept(), Options::new("c")] {
        let mut pair: Pair = Pair::new(options);
        pair.open(false);
        pair.peer("PUBLISH 1 q2 a");
        pair.cut();
        pair.open(false);
        pair.peer("PUBLISH 1 q2 b");
        pair.expect_events(["message q2 a", "message q2 b"]);
        pair.client.discard_session();
        pair.open(false);
        pair.peer("PUBLISH 1 q2 c");
        pair.expect_events(["message q2 c"]);
    }
}

/// The close policy: the connection ends at the fixed header, before any of the packet has to be kept.
#[test]
fn oversize_message() {
    let mut pair: Pair = Pair::new(kept().max_packet_size(100));
    pair.open(false);
    let error = pair.feed(&[0x32, 0x80, 0x01]).unwrap_err();
    let ConnectionError::Oversize { packet_type: PacketType::Publish, len: 131, max: 100 } = error else {
        panic!("{error:?}")
    };
    assert_eq!(pair.client.state(), State::Disconnected);
    pair.open(true);
    let largest = format!("PUBLISH 1 q1 {}", "x".repeat(100 - 7));
    pair.peer(&largest);
    pair.expect(["PUBACK 1"]);
    assert!(matches!(pair.peer_error(&format!("{largest}x")), ConnectionError::Oversize { len: 101, .. }));
}

#[test]
fn publisher_acknowledges_what_it_never_asked_for() {
    let mut pair = Pair::<mqtt_client::Publisher>::new(kept());
    pair.open(false);
    pair.peer("PUBLISH 1 q1 a");
    pair.peer("PUBLISH 2 q2 b");
    pair.peer("PUBREL 2");
    pair.expect(["PUBACK 1", "PUBREC 2", "PUBCOMP 2"]);
    pair.expect_events(["message q1 a", "message q2 b"]);
}

/// A QoS 2 message comes again on the same connection, before and after the application took it.
#[test]
fn qos2_duplicate_while_it_waits_for_the_application() {
    let mut pair: Pair = Pair::new(kept().ack_mode(AckMode::Manual));
    pair.open(false);
    pair.peer("PUBLISH 2 q2 m");
    pair.peer("PUBLISH 2 q2 dup m");
    pair.expect_events(["message q2 m"]);
    pair.expect([]);
    pair.client.acknowledge(pair.acks[0]).unwrap();
    pair.expect(["PUBREC 2"]);
    pair.peer("PUBLISH 2 q2 dup m");
    pair.expect(["PUBREC 2"]);
    pair.expect_events([]);
    assert_eq!(pair.acks.len(), 1);
    assert_eq!(pair.client.stats().duplicates, 2);
}
