//! Sending again after a time, on the same connection.

use mqtt_client::{Options, OptionsError, Outcome, ProtocolVersion, Retransmission, Timed};

use crate::common::{Pair, Q0, Q1, Q2, kept, message, secs};

/// Without PINGREQs in between.
fn quiet() -> Options {
    kept().keep_alive(secs(0))
}

/// MQTT 3.1.1 with waits of 4 s for control packets and 5, 6, 8, 12 s for a PUBLISH with a payload of one byte, which
/// has eight bytes.
fn timed() -> Options {
    quiet().retransmission(Retransmission::Timed(Timed::default().bandwidth(8)))
}

fn old(options: Options) -> Options {
    options.version(ProtocolVersion::V3_1)
}

/// What goes out within `seconds`, and when.
#[track_caller]
fn expect_sent<const N: usize>(pair: &mut Pair, seconds: u64, expected: [(f64, &str); N]) {
    let sent = pair.idle(secs(seconds)).unwrap();
    let sent: Vec<_> = sent.iter().map(|(at, packet)| (*at, packet.as_str())).collect();
    assert_eq!(sent, expected);
}

/// With 3.1 it is the default, and the copies carry DUP. Each wait is twice as long as the one before.
#[test]
fn unsub_retransmit() {
    let mut pair: Pair = Pair::new(old(quiet()));
    pair.open(false);
    pair.unsubscribe("u");
    pair.expect(["UNSUBSCRIBE 1 u"]);
    let copy = "UNSUBSCRIBE 1 dup u";
    expect_sent(&mut pair, 60, [(4.0, copy), (12.0, copy), (28.0, copy), (60.0, copy)]);
    pair.peer("UNSUBACK 1");
    pair.expect_events(["u unsubscribed"]);
    // The Server answers each copy.
    pair.peer("UNSUBACK 1");
    expect_sent(&mut pair, 10_000, []);
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.client.stats().retransmitted, 4);
    // The next one begins anew.
    pair.subscribe("s", Q1);
    pair.expect(["SUBSCRIBE 2 s:1"]);
    expect_sent(&mut pair, 11, [(4.0, "SUBSCRIBE 2 dup s:1")]);
    pair.peer("SUBACK 2 1");
    expect_sent(&mut pair, 10_000, []);
}

#[test]
fn the_wait_for_a_publish_follows_its_size() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.publish("a", Q1);
    pair.expect(["PUBLISH 1 q1 a"]);
    let copy = "PUBLISH 1 q1 dup a";
    expect_sent(&mut pair, 31, [(5.0, copy), (11.0, copy), (19.0, copy), (31.0, copy)]);
    pair.peer("PUBACK 1");
    // 24 bytes: 4 s and 3 s.
    pair.publish("12345678901234567", Q1);
    pair.sent();
    expect_sent(
        &mut pair,
        17,
        [(7.0, "PUBLISH 2 q1 dup 12345678901234567"), (17.0, "PUBLISH 2 q1 dup 12345678901234567")],
    );
    pair.peer("PUBACK 2");
    pair.expect_events(["a delivered", "12345678901234567 delivered"]);
    expect_sent(&mut pair, 10_000, []);
    // QoS 0 has no answer to wait for.
    pair.publish("z", Q0);
    pair.expect(["PUBLISH - q0 z"]);
    expect_sent(&mut pair, 10_000, []);
}

#[test]
fn no_wait_is_longer_than_the_cap() {
    let rule = Timed::default().initial(secs(10)).factor(3).cap(secs(50)).bandwidth(1);
    let mut pair: Pair = Pair::new(quiet().retransmission(Retransmission::Timed(rule)));
    pair.open(false);
    pair.subscribe("s", Q0);
    pair.sent();
    let copy = "SUBSCRIBE 1 s:0";
    expect_sent(&mut pair, 190, [(10.0, copy), (40.0, copy), (90.0, copy), (140.0, copy), (190.0, copy)]);
    pair.peer("SUBACK 1 0");
    pair.publish("a", Q1);
    pair.sent();
    let copy = "PUBLISH 2 q1 dup a";
    // 10 s and 8 s, 24 s, 72 s.
    expect_sent(&mut pair, 152, [(18.0, copy), (52.0, copy), (102.0, copy), (152.0, copy)]);
}

/// A PUBREC ends the wait for it; the PUBREL has one of its own, which starts from the beginning.
#[test]
fn the_pubrel_has_a_wait_of_its_own() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.publish("a", Q2);
    pair.sent();
    let copy = "PUBLISH 1 q2 dup a";
    expect_sent(&mut pair, 13, [(5.0, copy), (11.0, copy)]);
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    expect_sent(&mut pair, 13, [(4.0, "PUBREL 1"), (12.0, "PUBREL 1")]);
    // The answers to the copies of the PUBLISH ask for a PUBREL, but are no reason to begin anew.
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    expect_sent(&mut pair, 16, [(15.0, "PUBREL 1")]);
    pair.peer("PUBCOMP 1");
    pair.expect_events(["a delivered"]);
    expect_sent(&mut pair, 10_000, []);
}

/// 3.1 has DUP in all of them, 3.1.1 in PUBLISH alone.
#[test]
fn dup_follows_the_version() {
    for (options, dup) in
        [(old(quiet()), " dup"), (timed().retransmission(Retransmission::Timed(Timed::default())), "")]
    {
        let mut pair: Pair = Pair::new(options);
        pair.open(false);
        pair.publish("a", Q2);
        pair.publish("b", Q1);
        pair.subscribe("s", Q0);
        pair.unsubscribe("u");
        pair.sent();
        pair.peer("PUBREC 1");
        pair.expect(["PUBREL 1"]);
        let packets: Vec<_> = pair.idle(secs(5)).unwrap().into_iter().map(|(_, packet)| packet).collect();
        let expected = [
            format!("PUBREL 1{dup}"),
            format!("SUBSCRIBE 3{dup} s:0"),
            format!("UNSUBSCRIBE 4{dup} u"),
            "PUBLISH 2 q1 dup b".into(),
        ];
        assert_eq!(packets, expected);
    }
}

#[test]
fn only_where_it_is_asked_for() {
    let default = Retransmission::Timed(Timed::default());
    for (options, copies) in [
        (quiet(), 0),
        (quiet().retransmission(default), 1),
        (old(quiet()), 1),
        (old(quiet().retransmission(Retransmission::OnReconnect)), 0),
    ] {
        let mut pair: Pair = Pair::new(options);
        pair.open(false);
        pair.publish("a", Q1);
        pair.sent();
        assert_eq!(pair.idle(secs(5)).unwrap().len(), copies);
        assert_eq!(pair.client.stats().retransmitted, copies as u64);
        // On the next connection it is sent in any case, and the waits begin anew.
        pair.cut();
        assert_eq!(pair.client.poll_timeout(), None);
        pair.open(false);
        pair.sent();
        assert_eq!(pair.idle(secs(5)).unwrap().len(), copies);
    }
}

#[test]
fn options_of_timed_retransmission() {
    let default = Timed::default();
    for (rule, valid) in [
        (default, true),
        (default.initial(secs(0)), false),
        (default.cap(secs(4)), true),
        (default.cap(secs(3)), false),
        (default.factor(1), true),
        (default.factor(0), false),
        (default.bandwidth(0), false),
        (default.jitter(100), true),
        (default.jitter(101), false),
    ] {
        let result = quiet().retransmission(Retransmission::Timed(rule)).check();
        assert_eq!(result, if valid { Ok(()) } else { Err(OptionsError::Retransmission) }, "{rule:?}");
    }
}

/// Clients with other names do not send again in step.
#[test]
fn jitter_differs_from_client_to_client() {
    let rule = Timed::default().jitter(50);
    let moment = |name: &str| {
        let options = Options::new(name).keep_alive(secs(0)).retransmission(Retransmission::Timed(rule));
        let mut pair: Pair = Pair::new(options);
        pair.open(false);
        pair.subscribe("s", Q0);
        pair.sent();
        pair.due_in().unwrap().as_millis()
    };
    let moments = ["a", "b", "c", "d"].map(moment);
    assert!(moments.iter().all(|at| (4_000..=6_000).contains(at)), "{moments:?}");
    assert!(moments.windows(2).all(|pair| pair[0] != pair[1]), "{moments:?}");
    assert_eq!(moment("a"), moments[0]);
}

/// The last copies come in the order of the first ones (section 4.6): what was sent behind one that is due goes again
/// behind it, so that the Server ends up with the newest retained message.
#[test]
fn copies_keep_the_order() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.publish("a", Q1);
    pair.sent();
    expect_sent(&mut pair, 3, []);
    pair.publish("b", Q2);
    pair.publish("c", Q1);
    pair.sent();
    let (a, b, c) = ("PUBLISH 1 q1 dup a", "PUBLISH 2 q2 dup b", "PUBLISH 3 q1 dup c");
    expect_sent(&mut pair, 4, [(2.0, a), (2.0, b), (2.0, c)]);
    // The first says when: now 6 s, from when it was sent again.
    expect_sent(&mut pair, 6, [(4.0, a), (4.0, b), (4.0, c)]);
    pair.peer("PUBACK 1");
    pair.peer("PUBREC 2");
    pair.expect(["PUBREL 2"]);
    expect_sent(&mut pair, 6, [(4.0, "PUBREL 2"), (6.0, c)]);
    pair.peer("PUBACK 3");
    pair.peer("PUBCOMP 2");
    pair.expect_events(["a delivered", "c delivered", "b delivered"]);
    expect_sent(&mut pair, 10_000, []);
}

/// PUBRELs again in the order of their PUBRECs [MQTT-4.6.0-4].
#[test]
fn copies_of_pubrels_keep_the_order() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    for name in ["a", "b", "c"] {
        pair.publish(name, Q2);
    }
    pair.sent();
    for id in [3, 1, 2] {
        pair.peer(&format!("PUBREC {id}"));
    }
    pair.expect(["PUBREL 3", "PUBREL 1", "PUBREL 2"]);
    expect_sent(&mut pair, 4, [(4.0, "PUBREL 3"), (4.0, "PUBREL 1"), (4.0, "PUBREL 2")]);
    pair.peer("PUBCOMP 1");
    expect_sent(&mut pair, 8, [(8.0, "PUBREL 3"), (8.0, "PUBREL 2")]);
}

/// A SUBSCRIBE that is sent again must not undo the UNSUBSCRIBE that came after it.
#[test]
fn copies_of_requests_keep_the_order() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.subscribe("x", Q0);
    pair.sent();
    expect_sent(&mut pair, 1, []);
    pair.subscribe("f", Q1);
    pair.sent();
    expect_sent(&mut pair, 2, []);
    pair.unsubscribe("f");
    pair.sent();
    // x is answered; f is due a second later.
    pair.peer("SUBACK 1 0");
    expect_sent(&mut pair, 2, [(2.0, "SUBSCRIBE 2 f:1"), (2.0, "UNSUBSCRIBE 3 f")]);
    pair.peer("SUBACK 2 1");
    pair.peer("UNSUBACK 3");
    pair.expect_events(["x subscribed 0", "f subscribed 1", "f unsubscribed"]);
    expect_sent(&mut pair, 10_000, []);
}

/// The wait begins when the last byte was taken; and nothing is sent again behind output that waits.
#[test]
fn the_wait_begins_with_the_last_byte() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.publish("a", Q1);
    assert_eq!(pair.client.poll_timeout(), None);
    pair.advance(secs(100));
    assert_eq!(pair.take(7), 7);
    pair.advance(secs(100));
    assert_eq!((pair.client.poll_timeout(), pair.timeout()), (None, Ok(())));
    assert_eq!(pair.sent(), ["PUBLISH 1 q1 a"]);
    assert_eq!(pair.due_in(), Some(secs(5)));
    // A large message that the transport does not take.
    pair.publish("b", Q0);
    pair.take(3);
    pair.advance(secs(100));
    assert_eq!((pair.client.poll_timeout(), pair.timeout()), (None, Ok(())));
    pair.expect(["PUBLISH - q0 b"]);
    assert_eq!(pair.due_in(), Some(secs(0)));
    expect_sent(&mut pair, 1, [(0.0, "PUBLISH 1 q1 dup a")]);
}

/// While the application does not read, the answer may lie there unread; and when it reads on, it gets the time to.
#[test]
fn nothing_is_sent_again_while_the_application_does_not_read() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.publish("a", Q1);
    pair.subscribe("s", Q0);
    pair.sent();
    pair.client.pause_input(pair.now);
    expect_sent(&mut pair, 1000, []);
    assert_eq!(pair.client.poll_timeout(), None);
    pair.client.resume_input(pair.now);
    expect_sent(&mut pair, 4, [(4.0, "PUBLISH 1 q1 dup a"), (4.0, "SUBSCRIBE 2 s:0")]);
    // A second call of it is no reason to wait.
    pair.advance(secs(5));
    pair.client.resume_input(pair.now);
    assert_eq!(pair.due_in(), Some(secs(1)));
}

/// What was sent behind the CONNECT is answered behind the CONNACK.
#[test]
fn the_wait_does_not_begin_before_the_connack() {
    let mut pair: Pair = Pair::new(timed().pipeline(true));
    pair.client.connect(pair.now).unwrap();
    pair.publish("a", Q1);
    pair.expect(["CONNECT kept", "PUBLISH 1 q1 a"]);
    pair.advance(secs(9));
    pair.accept(false);
    expect_sent(&mut pair, 4, [(4.0, "PUBLISH 1 q1 dup a")]);
}

/// Copies fill the output no more than other messages do; what they push back, and new messages, follow in order.
#[test]
fn copies_do_not_fill_the_memory() {
    let mut pair: Pair =
        Pair::new(timed().retransmission(Retransmission::Timed(Timed::default().bandwidth(1_000_000))));
    pair.open(false);
    let payload = |n: usize| format!("{n}{}", "x".repeat(10_000));
    for n in 1..=50 {
        pair.publish(&payload(n), Q1);
        pair.sent();
    }
    pair.advance(secs(5));
    assert_eq!(pair.timeout(), Ok(()));
    assert!((60_000..90_000).contains(&pair.client.output_len()), "{}", pair.client.output_len());
    // The Server answers some of them after all: those are not sent again, unless they were on their way.
    for id in [2, 20, 50] {
        pair.peer(&format!("PUBACK {id}"));
    }
    pair.publish("new", Q1);
    let sent = pair.sent();
    let expected: Vec<_> =
        (1..50).filter(|n| *n != 20).map(|n| format!("PUBLISH {n} q1 dup {}", payload(n))).collect();
    assert_eq!(sent[..48], expected);
    assert_eq!(sent[48..], ["PUBLISH 51 q1 new"]);
    assert_eq!(pair.client.stats().retransmitted, 48);
}

/// A copy that is cut off, or never taken, does not take DUP away from what was sent before it.
#[test]
fn a_copy_that_is_lost_leaves_dup() {
    for taken in [0, 1] {
        let mut pair: Pair = Pair::new(timed());
        pair.open(false);
        pair.publish("a", Q1);
        let two = pair.publish("b", Q2).unwrap();
        pair.sent();
        pair.advance(secs(5));
        assert_eq!(pair.timeout(), Ok(()));
        assert!(pair.client.has_output());
        assert_eq!(pair.client.cancel(two), Err(mqtt_client::CancelError::Sent));
        pair.take(taken);
        pair.cut();
        pair.open(true);
        pair.expect(["PUBLISH 1 q1 dup a", "PUBLISH 2 q2 dup b"]);
        assert_eq!((pair.client.stats().resent, pair.client.stats().retransmitted), (2, 2));
    }
}

/// The answer to the first PUBLISH comes while its copy waits for the transport: the PUBREL goes behind the copy.
#[test]
fn an_answer_while_the_copy_waits() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    pair.publish("a", Q2);
    pair.sent();
    pair.advance(secs(5));
    assert_eq!(pair.timeout(), Ok(()));
    pair.peer("PUBREC 1");
    pair.expect(["PUBLISH 1 q2 dup a", "PUBREL 1"]);
    pair.peer("PUBREC 1");
    pair.peer("PUBCOMP 1");
    pair.expect(["PUBREL 1"]);
    pair.peer("PUBCOMP 1");
    pair.expect_events(["a delivered"]);
    assert_eq!(pair.client.stats().unknown_acknowledgements, 1);
    expect_sent(&mut pair, 10_000, []);
}

/// A window that became smaller: PUBRELs that find no place in it wait, copies do not, and the window is kept.
#[test]
fn copies_within_a_smaller_window() {
    let mut pair: Pair = Pair::new(timed().max_in_flight(3));
    pair.open(false);
    for name in ["a", "b", "c"] {
        pair.publish(name, Q2);
    }
    pair.sent();
    let mut pair = pair.restart(timed().max_in_flight(1), |session| session);
    pair.open(true);
    pair.expect(["PUBLISH 1 q2 dup a"]);
    // Late answers of the connection before; there is no place for the PUBREL.
    pair.peer("PUBREC 2");
    pair.expect([]);
    expect_sent(&mut pair, 11, [(5.0, "PUBLISH 1 q2 dup a"), (11.0, "PUBLISH 1 q2 dup a")]);
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 2"]);
    expect_sent(&mut pair, 4, [(4.0, "PUBREL 2")]);
    pair.peer("PUBCOMP 2");
    pair.expect(["PUBREL 1"]);
    pair.peer("PUBCOMP 1");
    pair.expect(["PUBLISH 3 q2 dup c"]);
    pair.peer("PUBREC 3");
    pair.expect(["PUBREL 3"]);
    pair.peer("PUBCOMP 3");
    assert_eq!(pair.events().len(), 3);
    expect_sent(&mut pair, 10_000, []);
}

/// An identifier that is used again gets the wait of its new owner.
#[test]
fn the_next_owner_of_an_identifier_waits_anew() {
    let mut bytes = mqtt_client::Session::new().to_bytes();
    bytes[5..7].copy_from_slice(&65_535_u16.to_be_bytes());
    let session = mqtt_client::Session::from_bytes(&bytes).unwrap();
    let mut pair: Pair = Pair::with_session(timed(), session, ProtocolVersion::V3_1_1);
    pair.open(false);
    pair.publish("a", Q1);
    pair.expect(["PUBLISH 65535 q1 a"]);
    expect_sent(&mut pair, 11, [(5.0, "PUBLISH 65535 q1 dup a"), (11.0, "PUBLISH 65535 q1 dup a")]);
    pair.peer("PUBACK 65535");
    for id in 1..65_535 {
        pair.client.publish(message("x", Q1)).unwrap();
        pair.take(usize::MAX);
        pair.received();
        let mut input = &crate::common::text::encode(&format!("PUBACK {id}"), ProtocolVersion::V3_1_1)[..];
        while let Some(event) = pair.client.handle_input(&mut input, pair.now).unwrap() {
            assert!(matches!(event, mqtt_client::Event::Published { outcome: Outcome::Delivered, .. }));
        }
    }
    pair.publish("b", Q1);
    pair.expect(["PUBLISH 65535 q1 b"]);
    expect_sent(&mut pair, 5, [(5.0, "PUBLISH 65535 q1 dup b")]);
}

/// 100 rounds of everything that can be done wrong with waits: none is left over.
#[test]
fn no_wait_is_left_over() {
    let mut pair: Pair = Pair::new(timed());
    pair.open(false);
    for _ in 0..100 {
        let first = pair.publish("a", Q1);
        pair.publish("b", Q2);
        pair.subscribe("s", Q0);
        let ids: Vec<_> =
            pair.sent().iter().map(|packet| packet.split(' ').nth(1).unwrap().to_owned()).collect();
        assert!(first.is_some());
        pair.peer(&format!("PUBREC {}", ids[1]));
        pair.advance(secs(5));
        pair.timeout().unwrap();
        // The answers come while the copies wait.
        pair.peer(&format!("PUBACK {}", ids[0]));
        pair.peer(&format!("PUBCOMP {}", ids[1]));
        pair.peer(&format!("SUBACK {} 0", ids[2]));
        pair.sent();
        assert_eq!(pair.client.poll_timeout(), None);
    }
    let shown = format!("{:?}", pair.client);
    assert!(shown.contains("timers: {}, sending: [], requests_due: None"), "{shown}");
}
