//! Every point at which the link can be lost during a delivery: what goes out again, with which DUP, in which order,
//! and what is reported, exactly once.

mod common;

use common::{Pair, Q1, Q2, kept};
use mqtt_client::{AckMode, Options, QoS, Session, SessionLoss};

/// How far a publish with QoS 1 or 2 gets before the link is lost. Each step but the last is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// Published, but no byte of it was taken.
    NothingTaken,
    /// One byte of the PUBLISH was taken.
    OneByteOfPublish,
    /// All of it but one byte.
    AllButOneByteOfPublish,
    /// All of it; the acknowledgement did not come.
    Publish,
    /// PUBREC came; no byte of the PUBREL was taken.
    Pubrec,
    /// One byte of the PUBREL was taken.
    OneByteOfPubrel,
    /// All of it; the PUBCOMP did not come.
    Pubrel,
    /// The last acknowledgement came.
    Done,
}

use Cut::{
    AllButOneByteOfPublish, Done, NothingTaken, OneByteOfPublish, OneByteOfPubrel, Publish, Pubrec, Pubrel,
};

const CUTS: [Cut; 8] =
    [NothingTaken, OneByteOfPublish, AllButOneByteOfPublish, Publish, Pubrec, OneByteOfPubrel, Pubrel, Done];

/// A connected client that has published `m` and lost its link at `cut`; with identifier 1.
fn lost_at(cut: Cut, qos: QoS, options: Options) -> Option<Pair> {
    let mut pair: Pair = Pair::new(options);
    pair.open(false);
    pair.publish("m", qos);
    match cut {
        NothingTaken => {}
        OneByteOfPublish => assert_eq!(pair.take(1), 1),
        AllButOneByteOfPublish => {
            let all = pair.client.output_len();
            assert_eq!(pair.take(all - 1), all - 1);
        }
        _ => assert_eq!(pair.sent().len(), 1),
    }
    if cut >= Pubrec {
        match (qos, cut) {
            (Q1, Done) => pair.peer("PUBACK 1"),
            (Q1, _) => return None,
            _ => pair.peer("PUBREC 1"),
        }
    }
    if qos == Q2 && cut >= Pubrec {
        match cut {
            OneByteOfPubrel => assert_eq!(pair.take(1), 1),
            Pubrel | Done => pair.expect(["PUBREL 1"]),
            _ => {}
        }
        if cut == Done {
            pair.peer("PUBCOMP 1");
        }
    }
    pair.cut();
    Some(pair)
}

/// Answers everything until nothing goes out any more.
fn answer_all(pair: &mut Pair) {
    loop {
        let sent = pair.sent();
        if sent.is_empty() {
            return;
        }
        for packet in sent {
            let words: Vec<_> = packet.split(' ').collect();
            match words[..] {
                ["PUBLISH", id, "q1", ..] => pair.peer(&format!("PUBACK {id}")),
                ["PUBLISH", id, "q2", ..] => pair.peer(&format!("PUBREC {id}")),
                ["PUBREL", id, ..] => pair.peer(&format!("PUBCOMP {id}")),
                _ => {}
            }
        }
    }
}

#[test]
fn publish_is_resumed_when_the_session_was_kept() {
    let rows: [(Cut, [&str; 1], [&str; 1]); 8] = [
        (NothingTaken, ["PUBLISH 1 q1 m"], ["PUBLISH 1 q2 m"]),
        (OneByteOfPublish, ["PUBLISH 1 q1 dup m"], ["PUBLISH 1 q2 dup m"]),
        (AllButOneByteOfPublish, ["PUBLISH 1 q1 dup m"], ["PUBLISH 1 q2 dup m"]),
        (Publish, ["PUBLISH 1 q1 dup m"], ["PUBLISH 1 q2 dup m"]),
        (Pubrec, [""], ["PUBREL 1"]),
        (OneByteOfPubrel, [""], ["PUBREL 1"]),
        (Pubrel, [""], ["PUBREL 1"]),
        (Done, [""], [""]),
    ];
    assert_eq!(rows.map(|row| row.0), CUTS);
    for policy in [SessionLoss::Fail, SessionLoss::RepublishQos1, SessionLoss::RepublishAll] {
        for (cut, q1, q2) in rows {
            for (qos, expected) in [(Q1, q1), (Q2, q2)] {
                for stored in [false, true] {
                    let options = kept().session_loss(policy);
                    let Some(mut pair) = lost_at(cut, qos, options.clone()) else { continue };
                    if stored {
                        pair.events();
                        pair = pair
                            .restart(options, |session| Session::from_bytes(&session.to_bytes()).unwrap());
                    }
                    pair.open(true);
                    let case = format!("{cut:?} {qos:?} {policy:?} stored: {stored}");
                    assert_eq!(pair.sent().join(";"), expected[0], "{case}");
                    if expected[0].starts_with("PUBLISH") && qos == Q1 {
                        pair.peer("PUBACK 1");
                    } else if expected[0].starts_with("PUBLISH") {
                        pair.peer("PUBREC 1");
                        pair.expect(["PUBREL 1"]);
                    }
                    if qos == Q2 && cut != Done {
                        pair.peer("PUBCOMP 1");
                    }
                    let events = pair.events();
                    if stored {
                        assert_eq!(events.len(), usize::from(cut != Done), "{case}");
                    } else {
                        assert_eq!(events, ["m delivered"], "{case}");
                    }
                    pair.expect([]);
                    assert!(pair.client.session().is_empty(), "{case}");
                }
            }
        }
    }
}

#[test]
fn publish_follows_the_policy_when_the_session_was_lost() {
    const AGAIN: &str = "again";
    const AMBIGUOUS: &str = "m ambiguous, session lost";
    for cut in CUTS {
        for qos in [Q1, Q2] {
            for policy in [SessionLoss::Fail, SessionLoss::RepublishQos1, SessionLoss::RepublishAll] {
                for clean in [false, true] {
                    let expected = match (cut, qos, policy) {
                        (Done, ..) => "",
                        // No byte of it was sent: it is as good as new.
                        (NothingTaken, ..)
                        | (_, _, SessionLoss::RepublishAll)
                        | (_, Q1, SessionLoss::RepublishQos1) => AGAIN,
                        _ => AMBIGUOUS,
                    };
                    let options = kept().clean_session(clean).session_loss(policy);
                    let Some(mut pair) = lost_at(cut, qos, options) else { continue };
                    let case = format!("{cut:?} {qos:?} {policy:?} clean: {clean}");
                    let mut events = pair.events();
                    pair.open(false);
                    let sent = pair.sent();
                    if expected == AGAIN {
                        // As new: another identifier, no DUP.
                        assert_eq!(sent, [format!("PUBLISH 2 q{} m", qos as u8)], "{case}");
                        pair.peer(if qos == Q1 { "PUBACK 2" } else { "PUBREC 2" });
                        answer_all(&mut pair);
                    } else {
                        assert_eq!(sent, [""; 0], "{case}");
                    }
                    events.extend(pair.events());
                    let outcome = if expected == AMBIGUOUS { AMBIGUOUS } else { "m delivered" };
                    assert_eq!(events, [outcome], "{case}");
                    assert!(pair.client.session().is_empty(), "{case}");
                    // And it stays so.
                    pair.cut();
                    pair.open(false);
                    pair.expect([]);
                    pair.expect_events([]);
                }
            }
        }
    }
}

/// DUP is set if and only if a byte of that PUBLISH was taken, whatever was taken of its neighbours: the link is cut at
/// every byte of the stream.
#[test]
fn dup_is_exact_at_every_byte() {
    let names = ["first", "second", "third", "fourth"];
    let qos = [Q1, Q2, Q1, Q2];
    let mut start = 0;
    let mut ends = Vec::new();
    for (name, qos) in names.iter().zip(qos) {
        start += common::message(name, qos).encoded_len().unwrap();
        ends.push(start);
    }
    for cut in 0..=start {
        let mut pair: Pair = Pair::new(kept());
        pair.open(false);
        for (name, qos) in names.iter().zip(qos) {
            pair.publish(name, qos);
        }
        assert_eq!(pair.take(cut), cut);
        pair.cut();
        pair.open(true);
        let expected: Vec<_> = (0..4)
            .map(|n| {
                let begins = if n == 0 { 0 } else { ends[n - 1] };
                let dup = if cut > begins { " dup" } else { "" };
                format!("PUBLISH {} q{}{dup} {}", n + 1, qos[n] as u8, names[n])
            })
            .collect();
        assert_eq!(pair.sent(), expected, "cut after {cut} bytes");
    }
}

/// A PUBLISH with a large payload lies in two pieces in the output; DUP follows its header all the same.
#[test]
fn dup_is_exact_with_a_large_payload() {
    let payload = "x".repeat(40_000);
    let header = common::message(&payload, Q1).encoded_len().unwrap() - payload.len();
    for (taken, dup) in [(0, ""), (1, " dup"), (header, " dup"), (header + 1, " dup")] {
        let mut pair: Pair = Pair::new(kept());
        pair.open(false);
        pair.publish(&payload, Q1);
        pair.publish("next", Q1);
        assert_eq!(pair.take(taken), taken);
        pair.cut();
        pair.open(true);
        let expected = format!("PUBLISH 1 q1{dup} {payload}");
        pair.expect([&expected, "PUBLISH 2 q1 next"]);
    }
}

/// It stays set, and the order stays, however often the link is lost.
#[test]
fn order_and_dup_over_many_losses() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    for (name, qos) in [("a", Q2), ("b", Q2), ("c", Q1), ("d", Q2), ("e", Q1)] {
        pair.publish(name, qos);
    }
    pair.sent();
    // PUBRELs go in the order of their PUBRECs, before the PUBLISHes.
    pair.peer("PUBREC 4");
    pair.peer("PUBREC 1");
    for taken in [0, 1, 7, 4] {
        pair.take(taken);
        pair.cut();
        pair.open(true);
    }
    pair.publish("f", Q1);
    pair.expect([
        "PUBREL 4",
        "PUBREL 1",
        "PUBLISH 2 q2 dup b",
        "PUBLISH 3 q1 dup c",
        "PUBLISH 5 q1 dup e",
        "PUBLISH 6 q1 f",
    ]);
    pair.peer("PUBREC 2");
    pair.cut();
    pair.open(true);
    pair.expect([
        "PUBREL 4",
        "PUBREL 1",
        "PUBREL 2",
        "PUBLISH 3 q1 dup c",
        "PUBLISH 5 q1 dup e",
        "PUBLISH 6 q1 dup f",
    ]);
}

/// MQTT 3.1: DUP on a PUBREL that is sent again, too.
#[test]
fn pubrel_has_dup_in_3_1() {
    for (taken, expected) in [(0, "PUBREL 1"), (1, "PUBREL 1 dup"), (4, "PUBREL 1 dup")] {
        let mut pair: Pair = Pair::v3_1(kept());
        pair.open(false);
        pair.publish("m", Q2);
        pair.sent();
        pair.peer("PUBREC 1");
        assert_eq!(pair.take(taken), taken);
        pair.cut();
        pair.open(false);
        pair.expect([expected]);
    }
}

/// A PUBREL is sent for the first time even if its PUBLISH was not.
#[test]
fn pubrel_has_a_dup_of_its_own_in_3_1() {
    let mut pair: Pair = Pair::v3_1(kept());
    pair.open(false);
    pair.publish("m", Q2);
    pair.sent();
    pair.cut();
    pair.open(false);
    pair.expect(["PUBLISH 1 q2 dup m"]);
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1 dup"]);
    assert_eq!(pair.client.stats().resent, 1);
}

/// After a loss of the Session, what is published again keeps the order of publishing, before the queue.
#[test]
fn republishing_keeps_the_order() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(4).session_loss(SessionLoss::RepublishAll));
    pair.open(false);
    for (name, qos) in [("a", Q2), ("b", Q1), ("c", Q2), ("d", Q2), ("e", Q1), ("f", Q1)] {
        pair.publish(name, qos);
    }
    pair.sent();
    pair.peer("PUBREC 4");
    pair.peer("PUBREC 3");
    pair.cut();
    pair.open(false);
    pair.expect(["PUBLISH 5 q2 a", "PUBLISH 6 q1 b", "PUBLISH 7 q2 c", "PUBLISH 8 q2 d"]);
    pair.peer("PUBREC 7");
    pair.cut();
    pair.open(false);
    pair.expect(["PUBLISH 9 q2 a", "PUBLISH 10 q1 b", "PUBLISH 11 q2 c", "PUBLISH 12 q2 d"]);
    pair.peer("PUBACK 10");
    pair.expect(["PUBLISH 13 q1 e"]);
    answer_all(&mut pair);
}

/// How far the delivery of a received QoS 2 message gets, what the Server sends again, and what the client makes of it.
#[test]
fn received_qos2_is_delivered_once_wherever_the_link_is_lost() {
    for mode in [AckMode::Automatic, AckMode::Manual] {
        for steps in 0..5 {
            for present in [true, false] {
                let mut pair: Pair = Pair::new(kept().ack_mode(mode));
                pair.open(false);
                let mut acknowledged = mode == AckMode::Automatic;
                pair.peer("PUBLISH 9 q2 m");
                if steps >= 1 && mode == AckMode::Manual {
                    pair.client.acknowledge(pair.acks[0]).unwrap();
                    acknowledged = true;
                }
                if steps >= 2 {
                    pair.expect(["PUBREC 9"]);
                }
                if steps >= 3 {
                    pair.peer("PUBREL 9");
                }
                if steps >= 4 {
                    pair.expect(["PUBCOMP 9"]);
                }
                pair.expect_events(["message q2 m"]);
                pair.cut();
                pair.open(present);
                let case = format!("{mode:?} {steps} {present}");
                if !present {
                    // Another message that happens to have the same identifier.
                    pair.peer("PUBLISH 9 q2 new");
                    assert_eq!(pair.events(), ["message q2 new"], "{case}");
                    continue;
                }
                if steps >= 3 {
                    pair.peer("PUBREL 9");
                    pair.expect(["PUBCOMP 9"]);
                    assert_eq!(pair.events(), [""; 0], "{case}");
                    continue;
                }
                pair.peer("PUBLISH 9 q2 dup m");
                if acknowledged {
                    assert_eq!(pair.events(), [""; 0], "{case}");
                } else {
                    assert_eq!(pair.events(), ["message q2 dup m"], "{case}");
                    pair.client.acknowledge(*pair.acks.last().unwrap()).unwrap();
                }
                pair.expect(["PUBREC 9"]);
                pair.peer("PUBREL 9");
                pair.expect(["PUBCOMP 9"]);
                pair.peer("PUBLISH 9 q2 next");
                assert_eq!(pair.events(), ["message q2 next"], "{case}");
            }
        }
    }
}

/// A copy of the Session from the middle of a connection: the transport may have taken anything since.
#[test]
fn a_session_copied_while_connected_is_sent_with_dup() {
    for stored in [false, true] {
        let mut pair: Pair = Pair::new(kept());
        pair.open(false);
        pair.publish("a", Q1);
        let session = pair.client.session().clone();
        let session = if stored { Session::from_bytes(&session.to_bytes()).unwrap() } else { session };
        let mut copy: Pair = Pair::with_session(kept(), session, Default::default());
        copy.open(true);
        copy.expect(["PUBLISH 1 q1 dup a"]);
        // The exact way out knows better.
        let mut pair = pair.restart(kept(), |session| session);
        pair.open(true);
        pair.expect(["PUBLISH 1 q1 a"]);
    }
}

/// `NotSent` means that no byte was ever taken, in this Session or in one that the Server has lost.
#[test]
fn not_sent_is_never_said_of_what_was_sent_once() {
    for restart in [false, true] {
        let options = kept().max_in_flight(1);
        let mut pair: Pair = Pair::new(options.clone());
        pair.open(false);
        pair.publish("a", Q1);
        pair.publish("b", Q1);
        pair.sent();
        pair.cut();
        pair.dial();
        pair.accept(false);
        // `a` is to be published again, as new; no byte of that is taken.
        pair.cut();
        pair.open(false);
        pair.cut();
        if restart {
            pair = pair.restart(options, |session| Session::from_bytes(&session.to_bytes()).unwrap());
        }
        pair.client.discard_session();
        pair.expect_events(["a ambiguous, discarded", "b not sent, discarded"]);
    }
}
