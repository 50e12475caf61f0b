//! From MQTT 3.1.1 to 3.1, and when not.

use mqtt_client::{
    ConnectReturnCode, ConnectionError, Fallback, Options, ProtocolVersion, Retransmission, State,
};

use crate::common::{Pair, Q1, kept, secs};

const OLD: ProtocolVersion = ProtocolVersion::V3_1;
const NEW: ProtocolVersion = ProtocolVersion::V3_1_1;
const REFUSED: ConnectionError = ConnectionError::Refused(ConnectReturnCode::UnacceptableProtocolVersion);

/// A connection that is closed before the CONNACK, when the transport has taken so many bytes.
fn closed_after(pair: &mut Pair, bytes: usize) {
    pair.client.connect(pair.now).unwrap();
    pair.take(bytes);
    pair.cut();
}

/// The CONNECT says what the client says.
#[track_caller]
fn refused(pair: &mut Pair, version: ProtocolVersion) {
    assert_eq!(pair.client.version(), version);
    pair.client.connect(pair.now).unwrap();
    let mut connect = [0; 64];
    let mut output = pair.client.poll_output(pair.now);
    let count = mqtt_client::bytes::Buf::remaining(&output);
    mqtt_client::bytes::Buf::copy_to_slice(&mut output, &mut connect[..count]);
    let begin: &[u8] = if version == OLD { b"\0\x06MQIsdp\x03" } else { b"\0\x04MQTT\x04" };
    assert_eq!(&connect[2..2 + begin.len()], begin);
    assert_eq!(pair.client.version(), version);
    assert_eq!(pair.peer_error("CONNACK 1"), REFUSED);
}

/// CONNACK code 1 leads to 3.1, which stays; all that was asked for meanwhile goes out in 3.1, with its rules.
#[test]
fn fallback_3_1() {
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(0)));
    pair.publish("a", Q1);
    refused(&mut pair, NEW);
    assert_eq!(pair.client.version(), OLD);
    pair.open(false);
    pair.expect(["PUBLISH 1 q1 a"]);
    pair.unsubscribe("u");
    pair.expect(["UNSUBSCRIBE 2 u"]);
    // Also that of sending again.
    let sent: Vec<_> = pair.idle(secs(5)).unwrap().into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(sent, ["UNSUBSCRIBE 2 dup u", "PUBLISH 1 q1 dup a"]);
    // Remembered, whatever ends the connection.
    pair.cut();
    for _ in 0..3 {
        closed_after(&mut pair, usize::MAX);
        assert_eq!(pair.client.version(), OLD);
    }
    pair.open(false);
    pair.expect(["PUBLISH 1 q1 dup a", "UNSUBSCRIBE 2 dup u"]);
}

/// A Server that wants neither: one attempt with each in turn, each of which tells that it was refused.
#[test]
fn a_server_that_wants_no_version() {
    let mut pair: Pair = Pair::new(kept());
    for version in [NEW, OLD, NEW, OLD] {
        refused(&mut pair, version);
    }
}

/// A Server that is replaced by one which refuses what the old one wanted.
#[test]
fn fallback_back_to_3_1_1() {
    let mut pair: Pair = Pair::new(kept());
    refused(&mut pair, NEW);
    pair.open(false);
    pair.cut();
    refused(&mut pair, OLD);
    assert_eq!(pair.client.version(), NEW);
    pair.open(true);
}

#[test]
fn fallback_only_where_it_is_asked_for() {
    for (options, on_code, on_close) in [
        (kept(), true, false),
        (kept().fallback(Fallback::Refused), true, false),
        (kept().fallback(Fallback::RefusedOrClosed), true, true),
        (kept().fallback(Fallback::Never), false, false),
        // 3.1 does not allow these client identifiers.
        (Options::new("").fallback(Fallback::RefusedOrClosed), false, false),
        (Options::new("x".repeat(24)).fallback(Fallback::RefusedOrClosed), false, false),
        (Options::new("x".repeat(23)).fallback(Fallback::RefusedOrClosed), true, true),
    ] {
        let version = |falls_back| if falls_back { OLD } else { NEW };
        let mut pair: Pair = Pair::new(options.clone());
        refused(&mut pair, NEW);
        assert_eq!(pair.client.version(), version(on_code), "{options:?}");
        let mut pair: Pair = Pair::new(options.clone());
        closed_after(&mut pair, usize::MAX);
        assert_eq!(pair.client.version(), version(on_close), "{options:?}");
    }
    // From 3.1 there is nowhere to fall.
    let mut pair: Pair = Pair::new(kept().version(OLD).fallback(Fallback::RefusedOrClosed));
    refused(&mut pair, OLD);
    closed_after(&mut pair, usize::MAX);
    assert_eq!(pair.client.version(), OLD);
}

/// Only a Server that has got the whole CONNECT can have closed the connection for its sake; and the way back to 3.1.1 is
/// the same.
#[test]
fn fallback_when_closed_before_connack() {
    let mut pair: Pair = Pair::new(kept().fallback(Fallback::RefusedOrClosed));
    // 14 bytes and the client identifier; MQTT 3.1 has two more in the name of the protocol.
    for (version, len) in [(NEW, 15), (OLD, 17), (NEW, 15)] {
        for bytes in [0, 1, len - 1] {
            closed_after(&mut pair, bytes);
            assert_eq!(pair.client.version(), version, "{bytes}");
        }
        closed_after(&mut pair, len);
        assert_ne!(pair.client.version(), version);
    }
    // What we end ourselves says nothing about the Server.
    let version = pair.client.version();
    pair.dial();
    pair.client.disconnect();
    pair.client.handle_close();
    assert_eq!(pair.client.version(), version);
    pair.dial();
    pair.advance(secs(10));
    assert_eq!(pair.timeout(), Err(ConnectionError::ConnackTimeout));
    pair.client.handle_close();
    assert_eq!(pair.client.version(), version);
    pair.dial();
    assert_eq!(pair.peer_error("CONNACK 5"), ConnectionError::Refused(ConnectReturnCode::NotAuthorized));
    pair.client.handle_close();
    assert_eq!(pair.client.version(), version);
    // Nor does what comes after a connection that was accepted.
    pair.open(false);
    pair.cut();
    for _ in 0..3 {
        closed_after(&mut pair, usize::MAX);
        assert_eq!(pair.client.version(), version);
    }
}

/// A choice of retransmission holds for both versions.
#[test]
fn fallback_keeps_a_chosen_retransmission() {
    let options = kept().keep_alive(secs(0)).retransmission(Retransmission::OnReconnect);
    let mut pair: Pair = Pair::new(options);
    refused(&mut pair, NEW);
    pair.open(false);
    pair.publish("a", Q1);
    pair.sent();
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.client.state(), State::Connected);
}
