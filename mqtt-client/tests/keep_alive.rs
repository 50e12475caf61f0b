//! Deadlines: CONNACK, PINGREQ, PINGRESP; on fake time.

mod common;

use std::time::Duration;

use common::{Pair, Q0, Q1, kept, message, secs};
use mqtt_client::{ConnectionError, State, Time};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn seconds(sent: &[(f64, String)]) -> Vec<f64> {
    assert!(sent.iter().all(|(_, packet)| packet == "PINGREQ"), "{sent:?}");
    sent.iter().map(|(at, _)| *at).collect()
}

#[test]
fn connack_deadline_covers_the_dial() {
    let mut pair: Pair = Pair::new(kept().connack_timeout(secs(7)));
    pair.client.connect(pair.now).unwrap();
    assert_eq!(pair.due_in(), Some(secs(7)));
    pair.advance(secs(6));
    pair.take(usize::MAX);
    assert_eq!(pair.timeout(), Ok(()));
    assert_eq!(pair.due_in(), Some(secs(1)));
    pair.advance(secs(1));
    assert_eq!(pair.timeout(), Err(ConnectionError::ConnackTimeout));
    assert_eq!(pair.client.state(), State::Disconnected);
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.timeout(), Ok(()));
}

#[test]
fn pingreq_when_nothing_is_sent_or_nothing_received() {
    // Nobody does anything: 59 s, the interval less its margin.
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    assert_eq!(seconds(&pair.idle(secs(60)).unwrap()), [59.0]);
    // The Server sends all the time, we do not.
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    for _ in 0..58 {
        pair.advance(secs(1));
        pair.peer("PUBLISH - q0 x");
        assert_eq!(pair.timeout(), Ok(()));
    }
    assert_eq!(seconds(&pair.idle(secs(2)).unwrap()), [1.0]);
    // We send all the time, the Server does not: a half-open link shows while QoS 0 flows out.
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    let mut at = 0;
    let error = loop {
        at += 1;
        assert!(at < 100, "never");
        pair.advance(secs(1));
        pair.publish("x", Q0);
        let sent = pair.sent();
        assert_eq!(sent.len(), 1);
        if let Err(error) = pair.timeout() {
            break error;
        }
        if pair.client.has_output() {
            assert_eq!((at, pair.sent()), (59, vec!["PINGREQ".to_owned()]));
        }
    };
    assert_eq!((at, error), (69, ConnectionError::PingrespTimeout));
}

/// Also when the PINGRESP deadline is longer than the Keep Alive: the PINGREQs in between do not put it off.
#[test]
fn a_dead_server_shows_whatever_the_keep_alive() {
    for keep_alive in [1, 2, 5, 10, 11, 60] {
        let mut pair: Pair = Pair::new(kept().keep_alive(secs(keep_alive)).pingresp_timeout(secs(10)));
        pair.open(false);
        let start = pair.now;
        assert_eq!(pair.idle(secs(200)), Err(ConnectionError::PingrespTimeout), "{keep_alive}");
        assert!(pair.now - start <= secs(keep_alive + 10), "{keep_alive}: {:?}", pair.now - start);
    }
}

/// We are never silent for longer than the Keep Alive [MQTT-3.1.2-23], answered or not.
#[test]
fn never_silent_for_longer_than_the_keep_alive() {
    for keep_alive in [1, 3, 10, 60, 65_535] {
        let options = kept().keep_alive(secs(keep_alive)).pingresp_timeout(secs(10_000_000));
        let mut pair: Pair = Pair::new(options.connack_timeout(secs(100_000)));
        pair.dial();
        // It counts from the CONNECT, not from the CONNACK.
        let mut last = pair.now;
        pair.advance(millis(keep_alive * 900));
        pair.accept(false);
        for _ in 0..10 {
            pair.now = pair.client.poll_timeout().unwrap().max(pair.now);
            assert_eq!(pair.timeout(), Ok(()));
            pair.expect(["PINGREQ"]);
            assert!(pair.now - last < secs(keep_alive), "{keep_alive}: {:?}", pair.now - last);
            last = pair.now;
        }
    }
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut pair: Pair = Pair::new(kept().pingresp_timeout(secs(10)));
    pair.open(false);
    pair.client.ping(pair.now).unwrap();
    pair.sent();
    // A long PUBLISH that trickles in, byte by byte.
    let bytes = common::text::encode("PUBLISH - q0 a_rather_long_payload", Default::default());
    for byte in &bytes[..10] {
        pair.advance(secs(9));
        assert_eq!(pair.timeout(), Ok(()));
        pair.feed(&[*byte]).unwrap();
    }
    // But the same bytes again are none: asking for events with half a packet there is not hearing from the Server.
    for _ in 0..9 {
        pair.advance(secs(1));
        pair.feed(&[]).unwrap();
        assert_eq!(pair.timeout(), Ok(()));
    }
    pair.advance(secs(1));
    pair.feed(&[]).unwrap();
    assert_eq!(pair.timeout(), Err(ConnectionError::PingrespTimeout));
}

/// A PINGREQ behind a large message on a slow link: as long as the transport takes bytes, the link is not dead.
#[test]
fn a_slow_link_is_not_a_dead_one() {
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(10)).pingresp_timeout(secs(10)));
    pair.open(false);
    pair.client.publish(message(&"x".repeat(100_000), Q1)).unwrap();
    for _ in 0..95 {
        pair.advance(secs(1));
        assert_eq!(pair.timeout(), Ok(()));
        assert_eq!(pair.take(1000), 1000);
    }
    let sent = pair.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1], "PINGREQ", "one is enough while the transport takes nothing");
    // From when it went out, the deadline runs.
    pair.advance(secs(10));
    assert_eq!(pair.timeout(), Err(ConnectionError::PingrespTimeout));
}

/// A transport that takes nothing at all.
#[test]
fn a_blocked_transport_is_dead_in_time_and_the_output_stays_small() {
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(10)).pingresp_timeout(secs(35)));
    pair.open(false);
    pair.publish("x", Q0);
    let len = pair.client.output_len();
    let start = pair.now;
    let error = loop {
        pair.now = pair.client.poll_timeout().unwrap();
        assert!(pair.now - start < secs(1000), "never");
        if let Err(error) = pair.timeout() {
            break error;
        }
        assert_eq!(pair.client.output_len(), len + 2, "one PINGREQ");
    };
    assert_eq!(error, ConnectionError::PingrespTimeout);
    assert_eq!(pair.now - start, secs(9 + 35));
}

#[test]
fn pong_ends_the_waiting() {
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(20)));
    pair.open(false);
    for _ in 0..5 {
        assert_eq!(seconds(&pair.idle(secs(19)).unwrap()), [19.0]);
        pair.peer("PINGRESP");
        pair.expect_events(["pong"]);
    }
    assert_eq!(pair.client.stats().pingreqs, 5);
    // A pause without an outstanding PINGREQ changes nothing for ours.
    pair.client.pause_input(pair.now);
    assert_eq!(seconds(&pair.idle(secs(60)).unwrap()), [19.0, 38.0, 57.0]);
    pair.client.resume_input(pair.now);
    assert_eq!(pair.timeout(), Ok(()));
}

/// The application that does not acknowledge makes the input wait, not the Server.
#[test]
fn unacknowledged_messages_are_not_a_dead_server() {
    let mut pair: Pair = Pair::new(kept().ack_mode(mqtt_client::AckMode::Manual));
    pair.open(false);
    for id in 1..=65_535 {
        pair.peer(&format!("PUBLISH {id} q1 x"));
    }
    assert!(!pair.client.wants_input());
    pair.client.ping(pair.now).unwrap();
    pair.sent();
    for _ in 0..20 {
        pair.now = pair.client.poll_timeout().unwrap().max(pair.now + millis(1));
        assert_eq!(pair.timeout(), Ok(()));
        pair.sent();
    }
    pair.feed(&common::text::encode("PINGRESP", Default::default())).unwrap();
    let token = pair.acks[0];
    pair.client.acknowledge(token).unwrap();
    assert!(pair.client.wants_input());
    assert_eq!(pair.events().last().unwrap(), "pong");
}

/// A clock that runs backwards makes deadlines late; nothing panics or spins.
#[test]
fn clock_backwards() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.client.ping(pair.now).unwrap();
    pair.sent();
    pair.now = Time::ZERO;
    pair.client.pause_input(pair.now);
    pair.client.resume_input(pair.now);
    assert_eq!(pair.timeout(), Ok(()));
    pair.peer("PINGRESP");
    pair.publish("x", Q0);
    pair.sent();
    assert_eq!(seconds(&pair.idle(secs(60)).unwrap()), [59.0]);
    // At the end of time.
    pair.now = Time::from_epoch(Duration::MAX);
    let _ = pair.timeout();
    pair.client.handle_close();
    pair.client.connect(pair.now).unwrap();
    let _ = pair.timeout();
}
