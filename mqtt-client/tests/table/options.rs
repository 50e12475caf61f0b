//! Cells that are different with other options.

use mqtt_client::{Fallback, Oversize, ProtocolVersion, Retransmission, Timed};

use super::cell;
use crate::common::{Pair, kept, secs};

/// What the options change in the table.
#[test]
fn cells_that_depend_on_options() {
    let mut pair: Pair = Pair::new(kept().queue_qos0(true));
    assert_eq!(cell(&mut pair, "publish q0").unwrap(), "token");
    let mut pair: Pair = Pair::new(kept().pipeline(true));
    pair.dial();
    assert_eq!(cell(&mut pair, "publish q0").unwrap(), "ok; out PUBLISH - q0 m");
    assert_eq!(cell(&mut pair, "publish q1").unwrap(), "token; out PUBLISH 1 q1 m");
    assert_eq!(cell(&mut pair, "subscribe").unwrap(), "token");
    let mut pair: Pair = Pair::new(kept().max_in_flight(1));
    pair.open(false);
    assert_eq!(cell(&mut pair, "publish q1").unwrap(), "token; out PUBLISH 1 q1 m");
    assert_eq!(cell(&mut pair, "publish q1").unwrap(), "token");
    // With Clean Session there is no Session to be present [MQTT-3.2.2-1].
    let mut pair: Pair = Pair::new(kept().clean_session(true));
    pair.dial();
    let expected = "Protocol(SessionPresentAfterClean); -> Disconnected";
    assert_eq!(cell(&mut pair, "CONNACK present").unwrap(), expected);
    // A DISCONNECT only if the Server can know of the connection.
    let mut pair: Pair = Pair::new(kept());
    pair.client.connect(pair.now).unwrap();
    assert_eq!(cell(&mut pair, "disconnect").unwrap(), "ok; -> Disconnected");
}

/// What the deadlines, the limit and the fallback change.
#[test]
fn cells_that_depend_on_deadlines_and_limits() {
    // The deadlines that are off by default.
    let mut pair: Pair = Pair::new(kept().ack_timeout(Some(secs(90))));
    pair.open(false);
    assert_eq!(cell(&mut pair, "publish q1").unwrap(), "token; out PUBLISH 1 q1 m");
    assert_eq!(cell(&mut pair, "handle_timeout").unwrap(), "AckTimeout; -> Disconnected");
    let timed = Retransmission::Timed(Timed::default());
    for (before, expected) in
        [("subscribe", "ok; out PUBLISH 1 q1 dup m; out SUBSCRIBE 2 f:0"), ("pause_input", "ok")]
    {
        let mut pair: Pair = Pair::new(kept().keep_alive(secs(0)).retransmission(timed));
        pair.open(false);
        cell(&mut pair, "publish q1").unwrap();
        cell(&mut pair, before).unwrap();
        assert_eq!(cell(&mut pair, "handle_timeout").unwrap(), expected);
    }
    // Messages above the limit.
    let large = format!("PUBLISH 7 q1 {}", "x".repeat(100));
    for (oversize, expected) in [
        (Oversize::Skip, "ok; out PUBACK 7; event skipped q1 t, 100 bytes"),
        (Oversize::Close, "Oversize { packet_type: Publish, len: 107, max: 100 }; -> Disconnected"),
    ] {
        let mut pair: Pair = Pair::new(kept().max_packet_size(100).oversize(oversize));
        pair.open(false);
        assert_eq!(cell(&mut pair, &large).unwrap(), expected);
    }
    // The version after an attempt that failed.
    let options = kept().fallback(Fallback::RefusedOrClosed);
    for (what, falls_back) in
        [("handle_close", true), ("CONNACK 1", true), ("CONNACK 2", false), ("disconnect", false)]
    {
        let mut pair: Pair = Pair::new(options.clone());
        pair.dial();
        cell(&mut pair, what).unwrap();
        assert_eq!(pair.client.version() == ProtocolVersion::V3_1, falls_back, "{what}");
    }
}
