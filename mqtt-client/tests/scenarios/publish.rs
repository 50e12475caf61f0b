use crate::common::{Pair, Q0, Q1, Q2, kept, message};
use mqtt_client::{Options, ProtocolVersion, PublishError, Session, State};

#[test]
fn dup_pubrec_pubrel() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.publish("m", Q2);
    pair.expect(["PUBLISH 1 q2 m"]);
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    for _ in 0..2 {
        pair.peer("PUBREC 1");
        pair.expect(["PUBREL 1"]);
    }
    pair.peer("PUBCOMP 1");
    pair.expect_events(["m delivered"]);
    // Even after the end: the Server would ask for ever.
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    pair.expect_events([]);
}

/// A PUBREC that is repeated before the PUBREL of this connection went out is answered once.
#[test]
fn dup_pubrec_pubrel_while_the_pubrel_is_still_to_be_sent() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(2));
    pair.open(false);
    for name in ["a", "b"] {
        pair.publish(name, Q2);
    }
    pair.sent();
    pair.peer("PUBREC 1");
    pair.peer("PUBREC 2");
    pair.sent();
    pair.cut();
    let mut pair = pair.restart(kept().max_in_flight(1), |session| session);
    pair.open(true);
    pair.expect(["PUBREL 1"]);
    pair.peer("PUBREC 2");
    pair.expect([]);
    pair.peer("PUBCOMP 1");
    pair.expect(["PUBREL 2"]);
}

fn early_publish(options: Options, present: bool) {
    for qos in [Q0, Q1, Q2] {
        let mut pair: Pair = Pair::new(options.clone());
        pair.client.connect(pair.now).unwrap();
        pair.publish("m", qos);
        let mut sent = pair.sent();
        if !sent.iter().any(|packet| packet.starts_with("PUBLISH")) {
            pair.accept(present);
            sent = pair.sent();
        } else {
            pair.accept(present);
            pair.expect([]);
        }
        let publish = ["PUBLISH - q0 m", "PUBLISH 1 q1 m", "PUBLISH 1 q2 m"][qos as usize];
        assert_eq!(sent.last().unwrap(), publish, "once, without DUP");
        match qos {
            Q0 => assert!(pair.events().iter().all(|event| event == "m delivered")),
            Q1 => {
                pair.peer("PUBACK 1");
                pair.expect_events(["m delivered"]);
            }
            Q2 => {
                pair.peer("PUBREC 1");
                pair.expect(["PUBREL 1"]);
                pair.peer("PUBCOMP 1");
                pair.expect_events(["m delivered"]);
            }
        }
        // It stops being sent once it is acknowledged, on later connections too.
        pair.cut();
        pair.open(present);
        pair.expect([]);
        pair.expect_events([]);
    }
}

#[test]
fn early_publish_clean() {
    early_publish(Options::new("c"), false);
    early_publish(Options::new("c").pipeline(true), false);
}

#[test]
fn early_publish_kept() {
    early_publish(kept(), true);
    early_publish(kept(), false);
    early_publish(kept().pipeline(true), true);
    early_publish(kept().pipeline(true), false);
}

#[test]
fn queue_refill_on_connack() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(2));
    for name in ["a", "b", "c"] {
        pair.publish(name, Q1);
    }
    pair.open(false);
    pair.expect(["PUBLISH 1 q1 a", "PUBLISH 2 q1 b"]);
    pair.peer("PUBACK 1");
    pair.expect(["PUBLISH 3 q1 c"]);
}

#[test]
fn qos0_behind_window() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(1));
    pair.open(false);
    for (name, qos) in [("a", Q1), ("b", Q1), ("c", Q0), ("d", Q2), ("e", Q0)] {
        pair.publish(name, qos);
    }
    pair.expect(["PUBLISH 1 q1 a", "PUBLISH - q0 c", "PUBLISH - q0 e"]);
}

#[test]
fn window_counts_pubrel() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(2));
    pair.open(false);
    for name in ["a", "b", "c"] {
        pair.publish(name, Q2);
    }
    pair.expect(["PUBLISH 1 q2 a", "PUBLISH 2 q2 b"]);
    pair.peer("PUBREC 1");
    pair.peer("PUBREC 2");
    pair.expect(["PUBREL 1", "PUBREL 2"]);
    pair.peer("PUBCOMP 2");
    pair.expect(["PUBLISH 3 q2 c"]);
}

#[test]
fn qos2_has_a_window_of_its_own() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(3).max_in_flight_qos2(1));
    pair.open(false);
    for (name, qos) in [("a", Q1), ("b", Q2), ("c", Q2), ("d", Q1)] {
        pair.publish(name, qos);
    }
    pair.expect(["PUBLISH 1 q1 a", "PUBLISH 2 q2 b"]);
    pair.peer("PUBACK 1");
    pair.expect([]);
    pair.peer("PUBREC 2");
    pair.expect(["PUBREL 2"]);
    pair.peer("PUBCOMP 2");
    pair.expect(["PUBLISH 3 q2 c", "PUBLISH 4 q1 d"]);
    // Sending again keeps to it as well, and to the order.
    let mut pair = pair.restart(kept(), |session| session);
    pair.open(true);
    pair.expect(["PUBLISH 3 q2 dup c", "PUBLISH 4 q1 dup d"]);
    pair.publish("e", Q2);
    pair.expect(["PUBLISH 5 q2 e"]);
    let mut pair = pair.restart(kept().max_in_flight_qos2(1), |session| session);
    pair.open(true);
    pair.expect(["PUBLISH 3 q2 dup c", "PUBLISH 4 q1 dup d"]);
    pair.peer("PUBREC 3");
    pair.expect(["PUBREL 3"]);
    pair.peer("PUBCOMP 3");
    pair.expect(["PUBLISH 5 q2 dup e"]);
}

#[test]
fn window_shrink() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(5));
    pair.open(false);
    for (name, qos) in [("a", Q2), ("b", Q1), ("c", Q2), ("d", Q1), ("e", Q1), ("f", Q1)] {
        pair.publish(name, qos);
    }
    pair.sent();
    pair.peer("PUBREC 3");
    pair.sent();
    let mut pair = pair.restart(kept().max_in_flight(2), |session| session);
    pair.open(true);
    pair.expect(["PUBREL 3", "PUBLISH 1 q2 dup a"]);
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    pair.peer("PUBCOMP 3");
    pair.expect(["PUBLISH 2 q1 dup b"]);
    pair.publish("g", Q1);
    pair.peer("PUBCOMP 1");
    pair.expect(["PUBLISH 4 q1 dup d"]);
    pair.peer("PUBACK 4");
    pair.peer("PUBACK 2");
    pair.expect(["PUBLISH 5 q1 dup e", "PUBLISH 6 q1 f"]);
    pair.peer("PUBACK 6");
    pair.peer("PUBACK 5");
    pair.expect(["PUBLISH 7 q1 g"]);
    pair.peer("PUBACK 7");
    assert_eq!(pair.events().len(), 7, "nothing is lost");
    assert!(pair.client.session().is_empty());
}

/// An acknowledgement of an entry that is not sent again yet moves on what is to be sent next.
#[test]
fn window_shrink_with_early_acknowledgements() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(6));
    pair.open(false);
    for (n, qos) in [Q1, Q2, Q1, Q1, Q1, Q2].into_iter().enumerate() {
        pair.publish(&n.to_string(), qos);
    }
    pair.sent();
    let mut pair = pair.restart(kept().max_in_flight(1), |session| session);
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 dup 0"]);
    pair.peer("PUBREC 2");
    pair.peer("PUBACK 4");
    pair.expect([]);
    pair.peer("PUBACK 3");
    pair.peer("PUBREC 6");
    pair.peer("PUBACK 1");
    pair.expect(["PUBREL 2"]);
    pair.peer("PUBCOMP 6");
    pair.expect([]);
    pair.peer("PUBCOMP 2");
    pair.expect(["PUBLISH 5 q1 dup 4"]);
    pair.peer("PUBACK 5");
    assert!(pair.client.session().is_empty());
}

#[test]
fn id_in_use() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.publish("pub", Q1);
    pair.publish("rel", Q2);
    pair.subscribe("s", Q0);
    pair.unsubscribe("u");
    pair.expect(["PUBLISH 1 q1 pub", "PUBLISH 2 q2 rel", "SUBSCRIBE 3 s:0", "UNSUBSCRIBE 4 u"]);
    pair.peer("PUBREC 2");
    pair.expect(["PUBREL 2"]);
    // Once around: everything but those four.
    for expected in (5..=65_535).chain(5..10) {
        pair.publish("x", Q1);
        pair.expect([format!("PUBLISH {expected} q1 x").as_str()]);
        pair.peer(&format!("PUBACK {expected}"));
    }
}

/// An identifier is free again exactly when its owner ends, whatever ends it.
#[test]
fn id_in_use_until_its_owner_ends() {
    let clean = Options::new("c");
    let mut pair: Pair = Pair::new(clean.session_loss(mqtt_client::SessionLoss::Fail));
    pair.open(false);
    let mut ended = 0;
    for round in 0..2 {
        pair.publish("a", Q1);
        pair.publish("b", Q2);
        pair.subscribe("s", Q0);
        pair.sent();
        let first = round * 5;
        pair.peer(&format!("PUBREC {}", first + 2));
        pair.sent();
        if round == 0 {
            pair.cut();
            pair.open(false);
            pair.expect(["SUBSCRIBE 3 s:0"]);
            pair.peer("SUBACK 3 0");
            pair.cut();
            pair.open(false);
            pair.expect(["SUBSCRIBE 4 s:0"]);
            // Given up for another one.
            pair.cut();
            pair.open(false);
            pair.expect(["SUBSCRIBE 5 s:0"]);
            pair.peer("SUBACK 5 0");
        } else {
            pair.client.discard_session();
            pair.open(false);
            pair.expect([]);
        }
        ended += pair.events().len();
    }
    assert_eq!(ended, 6);
    for id in (9..=65_535).chain(1..10) {
        pair.publish("x", Q1);
        pair.expect([format!("PUBLISH {id} q1 x").as_str()]);
        pair.peer(&format!("PUBACK {id}"));
    }
}

#[test]
fn order_after_id_wrap() {
    // A stored session says which identifier comes next: the quick way to the end of the range.
    let mut bytes = Session::new().to_bytes();
    bytes[5..7].copy_from_slice(&65_534_u16.to_be_bytes());
    let session = Session::from_bytes(&bytes).unwrap();
    let mut pair: Pair = Pair::with_session(kept(), session, ProtocolVersion::V3_1_1);
    pair.open(false);
    for name in ["a", "b", "c", "d"] {
        pair.publish(name, Q1);
    }
    pair.expect(["PUBLISH 65534 q1 a", "PUBLISH 65535 q1 b", "PUBLISH 1 q1 c", "PUBLISH 2 q1 d"]);
    pair.peer("PUBACK 65535");
    pair.peer("PUBACK 1");
    pair.publish("e", Q1);
    pair.expect(["PUBLISH 3 q1 e"]);
    pair.cut();
    pair.open(true);
    pair.expect(["PUBLISH 65534 q1 dup a", "PUBLISH 2 q1 dup d", "PUBLISH 3 q1 dup e"]);
}

#[test]
fn publish_not_ok_without_ack() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.publish("one", Q1);
    pair.publish("two", Q2);
    pair.sent();
    pair.expect_events([]);
    pair.peer("PUBREC 2");
    pair.sent();
    pair.expect_events([]);
    pair.cut();
    pair.expect_events([]);
    pair.open(true);
    pair.sent();
    pair.peer("PUBACK 9");
    pair.peer("PUBCOMP 9");
    pair.expect_events([]);
    pair.peer("PUBACK 1");
    pair.peer("PUBCOMP 2");
    pair.expect_events(["one delivered", "two delivered"]);
}

#[test]
fn accepted_before_loss() {
    for options in [Options::new("c"), kept()] {
        let mut pair: Pair = Pair::new(options.max_in_flight(1));
        pair.open(false);
        for name in ["a", "b", "c"] {
            pair.publish(name, Q1);
        }
        pair.sent();
        pair.cut();
        pair.publish("d", Q2);
        pair.open(false);
        pair.expect(["PUBLISH 2 q1 a"]);
        for (ack, next) in [("PUBACK 2", "3 q1 b"), ("PUBACK 3", "4 q1 c"), ("PUBACK 4", "5 q2 d")] {
            pair.peer(ack);
            pair.expect([format!("PUBLISH {next}").as_str()]);
        }
        pair.expect_events(["a delivered", "b delivered", "c delivered"]);
    }
}

#[test]
fn wildcard_publish_topic() {
    for topic in ["a/+", "#", "a/#", ""] {
        assert!(mqtt_client::TopicName::try_from(topic).is_err(), "{topic}");
    }
    // And from the Server:
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    let error = pair.feed(&[0x30, 3, 0, 1, b'#']).unwrap_err();
    assert!(error.to_string().ends_with("[MQTT-4.7.1-1]"), "{error}");
    pair.open(true);
}

/// A QoS 1 message gets its turn although QoS 0 messages come faster than the transport takes them.
#[test]
fn qos1_is_not_starved_by_qos0() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    let payload = "x".repeat(1000);
    for _ in 0..200 {
        pair.publish(&payload, Q0);
    }
    pair.publish("urgent", Q1);
    for _ in 0..300 {
        pair.take(1000);
        pair.publish(&payload, Q0);
        if pair.received().contains(&"PUBLISH 1 q1 urgent".to_owned()) {
            return;
        }
    }
    panic!("starved");
}

/// Whoever writes until nothing remains has written what the window allows: taking output makes room in it.
#[test]
fn output_refills_while_it_is_taken() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    let payload = "x".repeat(10_000);
    for _ in 0..50 {
        pair.publish(&payload, Q1);
    }
    assert!(pair.client.output_len() < 100_000, "the output is bounded");
    assert_eq!(pair.sent().len(), 50);
    assert!(!pair.client.has_output());
}

#[test]
fn queue_full_gives_the_message_back() {
    let mut pair: Pair = Pair::new(kept().max_queue_len(1));
    pair.publish("a", Q1);
    let Err(PublishError::QueueFull(back)) = pair.try_publish("b", Q1) else { panic!("accepted") };
    assert_eq!(back, message("b", Q1));
    assert_eq!(pair.client.state(), State::Disconnected);
}
