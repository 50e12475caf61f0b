//! Connections and Sessions from beginning to end: pipelining, disconnecting, what is held, what is discarded.

mod common;

use common::{Pair, Q0, Q1, Q2, kept, message};
use mqtt_client::{Client, Event, PubSub, SessionLoss, State, Time};

#[test]
fn pipelined_publishes_go_out_once() {
    for (present, queued) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut pair: Pair = Pair::new(kept().pipeline(true).max_in_flight(2));
        if queued {
            pair.publish("a", Q1);
        }
        pair.client.connect(pair.now).unwrap();
        if !queued {
            pair.publish("a", Q1);
        }
        pair.publish("b", Q2);
        pair.publish("c", Q1);
        pair.publish("d", Q0);
        pair.subscribe("s", Q0);
        pair.expect(["CONNECT kept", "PUBLISH 1 q1 a", "PUBLISH 2 q2 b", "PUBLISH - q0 d"]);
        pair.accept(present);
        pair.expect(["SUBSCRIBE 3 s:0"]);
        pair.peer("PUBACK 1");
        pair.expect(["PUBLISH 4 q1 c"]);
        pair.peer("PUBREC 2");
        pair.expect(["PUBREL 2"]);
        pair.cut();
        // With something in flight nothing goes ahead of it.
        assert_eq!(pair.dial(), [""; 0]);
        pair.publish("e", Q1);
        pair.expect([]);
        pair.accept(true);
        pair.expect(["PUBREL 2", "PUBLISH 4 q1 dup c", "SUBSCRIBE 3 s:0"]);
    }
}

/// What was pipelined on a connection that the Server refused is DUP if a byte was taken, and is not lost.
#[test]
fn pipelined_publishes_survive_a_refusal() {
    for (taken, dup) in [(false, ""), (true, " dup")] {
        let mut pair: Pair = Pair::new(kept().pipeline(true));
        pair.client.connect(pair.now).unwrap();
        pair.publish("a", Q1);
        if taken {
            pair.sent();
        } else {
            pair.take(3);
        }
        pair.peer_error("CONNACK 3");
        pair.open(true);
        let expected = format!("PUBLISH 1 q1{dup} a");
        pair.expect([expected.as_str()]);
    }
}

#[test]
fn disconnect_is_the_last_packet_of_what_is_still_to_be_written() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.publish("a", Q1);
    pair.publish("b", Q1);
    pair.take(3);
    pair.client.disconnect();
    assert_eq!(pair.client.state(), State::Disconnected);
    // To close with bytes unread could destroy it: whoever leaves reads on.
    assert!(pair.client.wants_input());
    pair.publish("c", Q1);
    pair.subscribe("s", Q0);
    pair.client.disconnect();
    assert_eq!(pair.client.poll_timeout(), None);
    // The transport takes the first, and a byte of the second.
    let first = common::message("a", Q1).encoded_len().unwrap();
    pair.take(first - 3 + 1);
    assert_eq!(pair.received(), ["PUBLISH 1 q1 a"]);
    let mut complete = pair.client.clone();
    drop(pair.client.clone());
    pair.cut();
    assert!(!pair.client.has_output());
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 dup a", "PUBLISH 2 q1 dup b", "SUBSCRIBE 3 s:0", "PUBLISH 4 q1 c"]);
    // Nothing follows the DISCONNECT [MQTT-3.14.4-2].
    let mut rest = Vec::new();
    let mut output = complete.poll_output(pair.now);
    output.segments(usize::MAX, &mut rest);
    let rest = rest.concat();
    assert_eq!(rest[rest.len() - 2..], [0xE0, 0]);
    assert_eq!(rest.len(), first - 1 + 2);
}

#[test]
fn disconnect_while_connecting() {
    // No byte of the CONNECT was taken: nobody knows of this connection.
    let mut pair: Pair = Pair::new(kept().pipeline(true));
    pair.client.connect(pair.now).unwrap();
    pair.publish("a", Q1);
    pair.client.disconnect();
    assert_eq!(pair.client.state(), State::Disconnected);
    assert!(!pair.client.has_output());
    // A part of it was.
    pair.client.connect(pair.now).unwrap();
    pair.take(1);
    pair.client.disconnect();
    pair.expect(["CONNECT kept", "DISCONNECT"]);
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 a"]);
    // The new connection starts clean even if the DISCONNECT was not written.
    pair.client.disconnect();
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 dup a"]);
}

#[test]
fn qos0_held_for_a_connection_is_reported() {
    let mut pair: Pair = Pair::new(kept());
    pair.dial();
    pair.publish("a", Q0);
    pair.publish("b", Q1);
    pair.expect([]);
    pair.cut();
    pair.expect_events(["a not sent, connection lost"]);
    pair.dial();
    pair.publish("c", Q0);
    pair.peer_error("CONNACK 3");
    pair.expect_events(["c not sent, connection lost"]);
    pair.dial();
    pair.publish("d", Q0);
    pair.client.disconnect();
    pair.expect_events(["d not sent, connection lost"]);
    pair.dial();
    pair.publish("e", Q0);
    pair.accept(true);
    pair.expect(["PUBLISH - q0 e", "PUBLISH 1 q1 b"]);
    pair.expect_events(["e delivered"]);
    // With `queue_qos0` it is kept.
    let mut pair: Pair = Pair::new(kept().queue_qos0(true));
    pair.publish("a", Q0);
    pair.dial();
    pair.publish("b", Q0);
    pair.cut();
    pair.expect_events([]);
    pair.open(false);
    pair.publish("c", Q0);
    pair.expect(["PUBLISH - q0 a", "PUBLISH - q0 b", "PUBLISH - q0 c"]);
    pair.expect_events(["a delivered", "b delivered"]);
}

#[test]
fn discard_session_resolves_everything_once() {
    for connected in [false, true] {
        let mut pair: Pair = Pair::new(kept().max_in_flight(3).queue_qos0(true));
        pair.open(false);
        for (name, qos) in [("rel", Q2), ("sent", Q1), ("unsent", Q1), ("queued", Q2)] {
            pair.publish(name, qos);
        }
        pair.take(common::message("rel", Q2).encoded_len().unwrap() + 1);
        pair.peer("PUBREC 1");
        pair.subscribe("s", Q0);
        if !connected {
            pair.cut();
            pair.publish("zero", Q0);
        }
        pair.client.discard_session();
        assert_eq!(pair.client.state(), State::Disconnected);
        let mut expected = vec![
            "rel ambiguous, discarded",
            "sent ambiguous, discarded",
            "unsent not sent, discarded",
            "queued not sent, discarded",
        ];
        if !connected {
            expected.push("zero not sent, discarded");
        }
        expected.push("s failed, discarded");
        assert_eq!(pair.events(), expected);
        assert!(pair.client.session().is_empty());
        pair.client.discard_session();
        pair.expect_events([]);
        // Tokens stay unique (the harness checks it), and a late answer resolves nothing.
        pair.publish("new", Q1);
        pair.open(false);
        pair.peer("PUBACK 1");
        pair.peer("PUBCOMP 2");
        pair.expect_events([]);
    }
}

#[test]
fn events_are_kept_over_an_error() {
    let mut pair: Pair = Pair::new(kept().session_loss(SessionLoss::Fail));
    pair.open(false);
    pair.publish("a", Q1);
    pair.sent();
    pair.cut();
    pair.dial();
    pair.publish("z", Q0);
    pair.peer_error("PINGRESP");
    assert_eq!(pair.client.state(), State::Disconnected);
    pair.expect_events(["z not sent, connection lost"]);
    // An event behind an error comes with the next call, and input of the dead connection is dropped.
    assert_eq!(pair.feed(&[0x40, 2, 0, 1]), Ok(()));
    pair.expect_events([]);
}

#[test]
fn nothing_depends_on_how_input_is_cut() {
    let trace = ["PUBLISH 1 q1 a", "PUBLISH 2 q2 b", "PUBREL 2", "PUBLISH - q0 c", "PINGRESP", "PUBREC 7"];
    let bytes: Vec<u8> =
        trace.iter().flat_map(|packet| common::text::encode(packet, Default::default())).collect();
    let expected_events = ["message q1 a", "message q2 b", "message q0 c"];
    let expected = ["PUBACK 1", "PUBREC 2", "PUBCOMP 2", "PUBREL 7"];
    for size in 1..=bytes.len() {
        let mut pair: Pair = Pair::new(kept());
        pair.open(false);
        for chunk in bytes.chunks(size) {
            pair.feed(chunk).unwrap();
        }
        pair.expect(expected);
        pair.expect_events(expected_events);
    }
}

/// An outcome that the application has not fetched yet keeps its token: a new publish gets another index.
#[test]
fn an_index_is_used_again_only_after_its_outcome_was_fetched() {
    let mut client = Client::<PubSub>::new(kept().queue_qos0(true)).unwrap();
    let now = Time::ZERO;
    let old: Vec<_> = (0..100).map(|_| client.publish(message("x", Q0)).unwrap().unwrap()).collect();
    client.discard_session();
    let new: Vec<_> = (0..100).map(|_| client.publish(message("y", Q1)).unwrap().unwrap()).collect();
    for token in &new {
        assert!(old.iter().all(|old| old.index() != token.index()));
    }
    let mut fetched = 0;
    while let Some(event) = client.handle_input(&mut &[][..], now).unwrap() {
        assert!(matches!(event, Event::Published { token, .. } if old.contains(&token)));
        fetched += 1;
    }
    assert_eq!(fetched, old.len());
    let next = client.publish(message("z", Q1)).unwrap().unwrap();
    assert!(next.index() < old.len(), "and then it is");
    assert_eq!(client.session().pending_publishes().count(), new.len() + 1);
}

/// A Server that refuses a higher QoS leaves the subscription that there is; it is made again after a loss.
#[test]
fn a_refused_upgrade_leaves_the_subscription() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.subscribe("s", Q0);
    pair.expect(["SUBSCRIBE 1 s:0"]);
    pair.peer("SUBACK 1 0");
    pair.subscribe("s", Q2);
    pair.expect(["SUBSCRIBE 2 s:2"]);
    pair.peer("SUBACK 2 128");
    pair.events();
    pair.cut();
    pair.open(false);
    pair.expect(["SUBSCRIBE 3 s:0"]);
}

#[test]
fn a_paused_queue_lets_what_is_in_flight_end() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(1));
    pair.open(false);
    pair.publish("a", Q1);
    pair.publish("b", Q1);
    pair.client.pause_queue(true);
    pair.expect(["PUBLISH 1 q1 a"]);
    pair.peer("PUBACK 1");
    pair.publish("c", Q2);
    pair.publish("d", Q0);
    pair.expect(["PUBLISH - q0 d"]);
    assert_eq!((pair.client.in_flight_len(), pair.client.queue_len()), (0, 2));
    pair.client.pause_queue(false);
    pair.expect(["PUBLISH 2 q1 b"]);
}
