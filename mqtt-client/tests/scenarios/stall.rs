//! The ack deadline: a Server that answers PINGREQs and acknowledges nothing.

use mqtt_client::{AckMode, ConnectionError, Options, OptionsError, Retransmission, State, Timed};

use crate::common::{Pair, Q0, Q1, Q2, kept, secs};

/// Ten seconds without any progress, and nothing else that is ever due.
fn options() -> Options {
    kept().keep_alive(secs(0)).ack_timeout(Some(secs(10)))
}

#[track_caller]
fn ends_in(pair: &mut Pair, seconds: u64) {
    assert_eq!(pair.due_in(), Some(secs(seconds)));
    pair.advance(secs(seconds));
    assert_eq!(pair.timeout(), Err(ConnectionError::AckTimeout));
    assert_eq!(pair.client.state(), State::Disconnected);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn options_of_the_ack_deadline() {
    assert_eq!(options().ack_timeout(Some(secs(0))).check(), Err(OptionsError::ZeroTimeout));
    // There is none by default.
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(0)));
    pair.open(false);
    pair.publish("a", Q1);
    pair.sent();
    assert_eq!(pair.client.poll_timeout(), None);
}

/// Whatever waits for an answer; and a new connection resumes it.
#[test]
fn a_server_that_acknowledges_nothing() {
    let what: [fn(&mut Pair); 4] = [
        |pair| assert!(pair.publish("a", Q1).is_some()),
        |pair| assert!(pair.publish("a", Q2).is_some()),
        |pair| _ = pair.subscribe("s", Q0),
        |pair| _ = pair.unsubscribe("s"),
    ];
    for what in what {
        let mut pair: Pair = Pair::new(options());
        pair.open(false);
        assert_eq!(pair.client.poll_timeout(), None);
        what(&mut pair);
        assert_eq!(pair.client.poll_timeout(), None, "not before it was sent");
        let first = pair.sent();
        // Other packets are no progress.
        pair.advance(secs(9));
        pair.peer("PUBLISH - q0 x");
        pair.publish("y", Q0);
        pair.peer("PUBACK 77");
        pair.sent();
        assert_eq!(pair.timeout(), Ok(()));
        ends_in(&mut pair, 1);
        pair.open(true);
        assert_eq!(pair.sent().len(), first.len());
        ends_in(&mut pair, 10);
    }
}

/// Each answer, and each byte that the transport takes of what will be answered, starts the time anew.
#[test]
fn progress_starts_the_time_anew() {
    let mut pair: Pair = Pair::new(options());
    pair.open(false);
    pair.publish("a", Q2);
    pair.publish("b", Q1);
    pair.subscribe("s", Q0);
    for _ in 0..20 {
        pair.take(1);
        pair.advance(secs(9));
        assert_eq!(pair.timeout(), Ok(()));
    }
    pair.sent();
    for answer in ["PUBACK 2", "PUBREC 1", "PUBCOMP 1"] {
        pair.advance(secs(9));
        assert_eq!(pair.timeout(), Ok(()));
        pair.peer(answer);
        pair.sent();
        assert_eq!(pair.due_in(), Some(secs(10)));
    }
    pair.peer("SUBACK 3 0");
    assert_eq!(pair.client.poll_timeout(), None, "nothing waits any more");
}

/// What waits in the queue for a place in flight is no reason to wait longer.
#[test]
fn a_full_window_is_no_progress() {
    let mut pair: Pair = Pair::new(options().max_in_flight(1));
    pair.open(false);
    for name in ["a", "b"] {
        pair.publish(name, Q1);
        pair.sent();
        pair.advance(secs(3));
    }
    ends_in(&mut pair, 4);
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 dup a"]);
    pair.peer("PUBACK 1");
    assert_eq!(pair.client.poll_timeout(), None, "b is still to be taken");
    pair.expect(["PUBLISH 2 q1 b"]);
    ends_in(&mut pair, 10);
}

/// Sending again is no progress, or the deadline would never come.
#[test]
fn copies_are_no_progress() {
    let mut pair: Pair = Pair::new(options().retransmission(Retransmission::Timed(Timed::default())));
    pair.open(false);
    pair.subscribe("s", Q0);
    pair.sent();
    let start = pair.now;
    assert_eq!(pair.idle(secs(100)), Err(ConnectionError::AckTimeout));
    assert_eq!(pair.now - start, secs(10));
    assert_eq!(pair.client.stats().retransmitted, 1);
}

#[test]
fn the_time_does_not_run_while_the_application_does_not_read() {
    let mut pair: Pair = Pair::new(options());
    pair.open(false);
    pair.publish("a", Q1);
    pair.sent();
    pair.client.pause_input(pair.now);
    pair.advance(secs(1000));
    assert_eq!((pair.client.poll_timeout(), pair.timeout()), (None, Ok(())));
    pair.client.resume_input(pair.now);
    ends_in(&mut pair, 10);
}

/// The same when it does not acknowledge, so that nothing is read.
#[test]
fn the_time_does_not_run_while_the_input_waits_for_acknowledgements() {
    let mut pair: Pair = Pair::new(options().ack_mode(AckMode::Manual));
    pair.open(false);
    for id in 1..=65_535 {
        pair.peer(&format!("PUBLISH {id} q1 x"));
    }
    assert!(!pair.client.wants_input());
    pair.publish("a", Q1);
    pair.sent();
    for _ in 0..5 {
        assert_eq!(pair.due_in(), Some(secs(10)));
        pair.advance(secs(10));
        assert_eq!(pair.timeout(), Ok(()));
    }
    pair.client.acknowledge(pair.acks[0]).unwrap();
    ends_in(&mut pair, 10);
}

/// What was sent behind the CONNECT counts from the CONNACK.
#[test]
fn what_was_pipelined_counts_from_the_connack() {
    let mut pair: Pair = Pair::new(options().pipeline(true));
    pair.client.connect(pair.now).unwrap();
    pair.publish("a", Q1);
    pair.expect(["CONNECT kept", "PUBLISH 1 q1 a"]);
    pair.advance(secs(9));
    pair.accept(false);
    ends_in(&mut pair, 10);
}

/// A Server that acknowledges what it has not got yet: then nothing waits, and nothing is due.
#[test]
fn an_answer_that_is_early_leaves_nothing_due() {
    let mut pair: Pair = Pair::new(options());
    pair.open(false);
    pair.publish("a", Q1);
    pair.peer("PUBACK 1");
    pair.expect_events(["a delivered"]);
    pair.expect(["PUBLISH 1 q1 a"]);
    assert_eq!(pair.client.poll_timeout(), None);
}
