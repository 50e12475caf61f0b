//! Every number of the statistics, also over connections.

mod common;

use common::{Pair, Q0, Q1, Q2, filter, kept, message, secs};
use mqtt_client::bytes::Buf;
use mqtt_client::{Count, Options, Retransmission, SessionLoss, Stats, Timed, Traffic};

/// The size of the PUBLISH that carries so many bytes to the topic `t`.
const fn size(payload: u64, id: bool) -> u64 {
    2 + 3 + payload + if id { 2 } else { 0 }
}

fn count(messages: u64, bytes: u64) -> Count {
    Count { messages, bytes }
}

fn opened(options: Options) -> Pair {
    let mut pair: Pair = Pair::new(options);
    pair.open(false);
    pair
}

/// What changed in between, of what only grows.
fn difference(pair: &Pair, before: &Stats, of: fn(&Stats) -> u64) -> u64 {
    of(&pair.client.stats()) - of(before)
}

#[test]
fn a_new_client_has_counted_nothing() {
    let pair: Pair = Pair::new(kept());
    assert_eq!(pair.client.stats(), Stats::default());
}

#[test]
fn messages_by_qos_and_direction() {
    let mut pair = opened(kept().max_in_flight(2));
    for (payload, qos) in [("a", Q0), ("bb", Q0), ("ccc", Q1), ("dddd", Q2), ("eeeee", Q1)] {
        pair.publish(payload, qos);
    }
    let sent = |one: Count| Traffic {
        at_most_once: count(2, size(1, false) + size(2, false)),
        at_least_once: one,
        exactly_once: count(1, size(4, true)),
    };
    // The last one waits in the queue: it is not sent before it has its place in flight.
    assert_eq!(pair.client.stats().sent, sent(count(1, size(3, true))));
    pair.sent();
    pair.peer("PUBACK 1");
    let all = sent(count(2, size(3, true) + size(5, true)));
    assert_eq!(pair.client.stats().sent, all);
    assert_eq!(pair.client.stats().received, Traffic::default());
    for packet in ["PUBLISH - q0 x", "PUBLISH 7 q1 yy", "PUBLISH 8 q2 zzz", "PUBLISH 8 q2 dup zzz"] {
        pair.peer(packet);
    }
    let stats = pair.client.stats();
    assert_eq!(stats.sent, all);
    assert_eq!((stats.delivered, stats.duplicates), (1, 1));
    let received = Traffic {
        at_most_once: count(1, size(1, false)),
        at_least_once: count(1, size(2, true)),
        exactly_once: count(2, 2 * size(3, true)),
    };
    assert_eq!(stats.received, received);
    for qos in [Q0, Q1, Q2] {
        assert_eq!(received.of(qos).messages, [1, 1, 2][qos as usize]);
    }
    assert_eq!(received.total(), count(4, size(1, false) + size(2, true) + 2 * size(3, true)));
}

/// However often they are sent again, and whether a byte of them was taken or not.
#[test]
fn copies_are_no_further_messages() {
    let timed = Retransmission::Timed(Timed::default().initial(secs(5)).jitter(0));
    let mut pair = opened(kept().keep_alive(secs(0)).retransmission(timed));
    pair.publish("a", Q1);
    pair.publish("b", Q2);
    pair.sent();
    pair.publish("c", Q1);
    let before = pair.client.stats();
    assert_eq!(before.sent.total().messages, 3);
    pair.cut();
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 dup a", "PUBLISH 2 q2 dup b", "PUBLISH 3 q1 c"]);
    pair.idle(secs(6)).unwrap();
    assert_eq!(pair.client.stats().sent, before.sent);
    assert_eq!(difference(&pair, &before, |stats| stats.resent), 2);
    assert_eq!(difference(&pair, &before, |stats| stats.retransmitted), 3);
}

#[test]
fn what_waits_now() {
    let mut pair = opened(kept().max_in_flight(2).queue_qos0(true));
    for payload in ["a", "b", "cc", "ddd"] {
        pair.publish(payload, Q1);
    }
    let gauges = |pair: &Pair| {
        let stats = pair.client.stats();
        (stats.in_flight, stats.queued, stats.queued_size as u64, stats.unsent_size as u64)
    };
    let queued = size(2, true) + size(3, true);
    assert_eq!(gauges(&pair), (2, 2, queued, 2 * size(1, true)));
    pair.take(3);
    assert_eq!(gauges(&pair), (2, 2, queued, 2 * size(1, true) - 3));
    pair.sent();
    pair.peer("PUBACK 1");
    assert_eq!(gauges(&pair), (2, 1, size(3, true), size(2, true)));
    pair.cut();
    pair.publish("q0", Q0);
    assert_eq!(gauges(&pair), (2, 2, size(3, true) + size(2, false), 0));
    pair.client.discard_session();
    assert_eq!(gauges(&pair), (0, 0, 0, 0));
}

#[test]
fn publishes_that_end_without_acknowledgement() {
    let ends = |pair: &Pair| {
        let stats = pair.client.stats();
        [stats.expired, stats.cancelled, stats.dropped, stats.ambiguous]
    };
    let mut pair: Pair = Pair::new(kept().max_in_flight(1).session_loss(SessionLoss::Fail));
    let publish =
        |pair: &mut Pair, text: &str, qos| pair.client.publish(message(text, qos)).unwrap().unwrap();
    let expiring = publish(&mut pair, "a", Q1);
    pair.client.expire(expiring, pair.now + secs(1)).unwrap();
    let cancelled = publish(&mut pair, "b", Q2);
    pair.client.cancel(cancelled).unwrap();
    assert_eq!(ends(&pair), [0, 1, 0, 0]);
    pair.client.cancel(cancelled).unwrap_err();
    pair.now = pair.now + secs(1);
    pair.client.handle_timeout(pair.now).unwrap();
    assert_eq!(ends(&pair), [1, 1, 0, 0]);
    // Held for a connection that does not come about.
    pair.client.connect(pair.now).unwrap();
    publish(&mut pair, "c", Q0);
    pair.client.handle_close();
    assert_eq!(ends(&pair), [1, 1, 1, 0]);
    while pair.client.handle_input(&mut &[][..], pair.now).unwrap().is_some() {}
    // In flight when the Server loses the Session.
    pair.open(false);
    publish(&mut pair, "d", Q1);
    pair.sent();
    pair.client.handle_close();
    pair.client.connect(pair.now).unwrap();
    pair.sent();
    pair.client.handle_input(&mut &b"\x20\x02\0\0"[..], pair.now).unwrap();
    assert_eq!(ends(&pair), [1, 1, 1, 1]);
    // Discarded: one in flight, two in the queue.
    for text in ["e", "f", "g"] {
        publish(&mut pair, text, Q1);
    }
    pair.sent();
    pair.client.discard_session();
    assert_eq!(ends(&pair), [1, 1, 3, 2]);
    assert_eq!(pair.client.stats().delivered, 0);
}

/// Published anew since the Server lost the Session: another packet, with an identifier of its own.
#[test]
fn a_message_that_is_published_anew_counts_anew() {
    let mut pair = opened(kept());
    pair.publish("a", Q1);
    pair.sent();
    pair.cut();
    pair.open(false);
    let stats = pair.client.stats();
    assert_eq!((stats.sent.at_least_once.messages, stats.resent, stats.ambiguous), (2, 0, 0));
}

#[test]
fn connections() {
    let mut pair: Pair = Pair::new(kept());
    let connections = |pair: &Pair| {
        let stats = pair.client.stats();
        [stats.attempts, stats.connections, stats.connections_lost]
    };
    // Never accepted.
    pair.dial();
    pair.client.connect(pair.now).unwrap_err();
    pair.cut();
    pair.dial();
    pair.peer_error("CONNACK 3");
    pair.dial();
    assert_eq!(connections(&pair), [3, 0, 0]);
    pair.accept(false);
    assert_eq!(connections(&pair), [3, 1, 0]);
    // Closed by the Server, and once more for certain.
    pair.cut();
    pair.cut();
    assert_eq!(connections(&pair), [3, 1, 1]);
    // A protocol violation.
    pair.open(true);
    pair.peer_error("CONNACK 0");
    assert_eq!(connections(&pair), [4, 2, 2]);
    // A deadline.
    pair.open(true);
    pair.client.ping(pair.now).unwrap();
    pair.sent();
    pair.idle(secs(100)).unwrap_err();
    assert_eq!(connections(&pair), [5, 3, 3]);
    // As the application wants it.
    pair.open(true);
    pair.client.disconnect();
    pair.cut();
    pair.open(true);
    pair.client.discard_session();
    assert_eq!(connections(&pair), [7, 5, 3]);
}

#[test]
fn round_trip_of_a_ping() {
    let mut pair = opened(kept().keep_alive(secs(0)));
    let round_trip = |pair: &Pair| {
        let stats = pair.client.stats();
        (stats.ping_round_trip, stats.smoothed_ping_round_trip)
    };
    // It answers nothing.
    pair.peer("PINGRESP");
    assert_eq!(round_trip(&pair), (None, None));
    let mut ping = |seconds: u64| {
        pair.client.ping(pair.now).unwrap();
        pair.sent();
        // Another packet moves the deadline, and the second call sends nothing.
        pair.now = pair.now + secs(seconds - 1);
        pair.peer("PUBLISH - q0 x");
        pair.client.ping(pair.now).unwrap();
        pair.now = pair.now + secs(1);
        pair.peer("PINGRESP");
        round_trip(&pair)
    };
    assert_eq!(ping(8), (Some(secs(8)), Some(secs(8))));
    assert_eq!(ping(16), (Some(secs(16)), Some(secs(9))));
    pair.cut();
    pair.open(true);
    assert_eq!(round_trip(&pair), (Some(secs(16)), Some(secs(9))));
    // That of the connection that was lost is never answered.
    pair.client.ping(pair.now).unwrap();
    pair.cut();
    pair.open(true);
    pair.peer("PINGRESP");
    assert_eq!(round_trip(&pair), (Some(secs(16)), Some(secs(9))));
}

/// What went into the output as QoS 0 from the queue, and by reference.
#[test]
fn queued_and_large_messages() {
    let mut pair: Pair = Pair::new(kept().queue_qos0(true));
    pair.publish("a", Q0);
    let large = "x".repeat(20_000);
    pair.publish(&large, Q1);
    assert_eq!(pair.client.stats().sent, Traffic::default());
    pair.subscribe("s", Q0);
    pair.open(false);
    let wire = pair.client.poll_output(pair.now).remaining() as u64;
    let stats = pair.client.stats();
    assert_eq!(stats.sent.at_most_once, count(1, size(1, false)));
    // Two more bytes of Remaining Length.
    assert_eq!(stats.sent.at_least_once, count(1, size(20_000, true) + 2));
    let subscribe = 2 + 2 + 2 + filter("s").as_str().len() as u64 + 1;
    assert_eq!(wire, stats.sent.total().bytes + subscribe);
}
