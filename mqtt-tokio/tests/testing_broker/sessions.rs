//! Sessions: what is kept between connections, and what is sent again on the next one.

use mqtt_codec::{OwnedConnect, OwnedPacket, QoS};
use mqtt_tokio::testing::{Broker, BrokerOptions};

use crate::support::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// [MQTT-3.2.2-1..3], and no flag in MQTT 3.1: rows of (clean, version, what CONNACK says), one after the other.
#[test]
fn session_present_tells_whether_there_was_one() {
    let rows = [
        (false, V3_1_1, "CONNACK 0"),
        (false, V3_1_1, "CONNACK 0 present"),
        (false, V3_1, "CONNACK 0"),
        (false, V3_1_1, "CONNACK 0 present"),
        (true, V3_1_1, "CONNACK 0"),
        (true, V3_1_1, "CONNACK 0"),
        (false, V3_1_1, "CONNACK 0"),
        (false, V3_1_1, "CONNACK 0 present"),
    ];
    for takes_over in [false, true] {
        let mut broker = Broker::new();
        for (row, (clean_session, version, connack)) in rows.into_iter().enumerate() {
            let client = Client::open(&mut broker, &OwnedConnect { clean_session, version, ..connect("a") });
            assert_eq!(client.recv(&mut broker), [connack], "row {row}, takes over: {takes_over}");
            assert_eq!(show(&broker.log().next_back().unwrap().packet), connack);
            if !takes_over {
                broker.transport_closed(client.id);
            }
        }
    }
}

#[test]
fn messages_wait_for_a_client_that_is_away() {
    let mut broker = Broker::new();
    let reader = Client::resume(&mut broker, "reader");
    reader.recv(&mut broker);
    reader.subscribe(&mut broker, "a/#", Q2);
    broker.transport_closed(reader.id);
    let writer = Client::new(&mut broker, "writer");
    writer.send(&mut broker, publish("a/0", "lost", Q0, 0));
    writer.send(&mut broker, publish("a/1", "one", Q1, 1));
    writer.send(&mut broker, publish("a/2", "two", Q2, 2));
    assert_eq!(broker.session("reader").unwrap().queued, 2);

    let reader = Client::resume(&mut broker, "reader");
    let expected = ["CONNACK 0 present", "PUBLISH a/1=one q1 #1", "PUBLISH a/2=two q2 #2"];
    assert_eq!(reader.recv(&mut broker), expected);
    assert_eq!(broker.session("reader").unwrap().subscriptions, [(filter("a/#"), Q2)]);
}

#[test]
fn qos0_waits_too_where_the_options_say_so() {
    let mut broker = Broker::with_options(BrokerOptions::new().queue_qos0(true).max_in_flight(1));
    let reader = Client::resume(&mut broker, "reader");
    reader.recv(&mut broker);
    reader.subscribe(&mut broker, "#", Q1);
    broker.transport_closed(reader.id);
    for (payload, qos) in [("0", Q0), ("1", Q1), ("2", Q0), ("3", Q1), ("4", Q0)] {
        broker.publish(name("a"), payload, qos, false);
    }
    let reader = Client::resume(&mut broker, "reader");
    let expected = ["CONNACK 0 present", "PUBLISH a=0", "PUBLISH a=1 q1 #1", "PUBLISH a=2"];
    assert_eq!(reader.recv(&mut broker), expected);
    let rest = ["PUBLISH a=3 q1 #2", "PUBLISH a=4"];
    assert_eq!(reader.ask(&mut broker, OwnedPacket::Puback(id(1))), rest);
}

/// [MQTT-4.4.0-1] [MQTT-4.6.0-1]: PUBRELs, then PUBLISHes with DUP, each in order and with the same identifiers.
#[test]
fn what_is_in_flight_is_sent_again_in_order() {
    for version in [V3_1, V3_1_1] {
        let mut broker = Broker::new();
        let resume = OwnedConnect { version, clean_session: false, ..connect("reader") };
        let reader = Client::open(&mut broker, &resume);
        reader.recv(&mut broker);
        reader.subscribe(&mut broker, "#", Q2);
        for (number, qos) in [(1, Q2), (2, Q1), (3, Q2), (4, Q1), (5, Q2)] {
            broker.publish(name("a"), number.to_string(), qos, false);
        }
        assert_eq!(reader.recv(&mut broker).len(), 5);
        assert_eq!(reader.ask(&mut broker, OwnedPacket::Pubrec(id(5))), ["PUBREL #5"]);
        assert_eq!(reader.ask(&mut broker, OwnedPacket::Pubrec(id(1))), ["PUBREL #1"]);
        assert!(reader.ask(&mut broker, OwnedPacket::Puback(id(2))).is_empty());
        assert_eq!(broker.session("reader").unwrap().in_flight, 4);
        for _ in 0..3 {
            broker.transport_closed(broker.connection_of("reader").unwrap());
            let reader = Client::open(&mut broker, &resume);
            // DUP on PUBREL, and Session Present, are not written alike.
            let (connack, dup) =
                if version == V3_1 { ("CONNACK 0", " dup") } else { ("CONNACK 0 present", "") };
            let expected = [
                connack.into(),
                format!("PUBREL #5{dup}"),
                format!("PUBREL #1{dup}"),
                "PUBLISH a=3 q2 #3 dup".into(),
                "PUBLISH a=4 q1 #4 dup".into(),
            ];
            assert_eq!(reader.recv(&mut broker), expected);
        }
        let reader = Client::open(&mut broker, &resume);
        reader.recv(&mut broker);
        for packet in [OwnedPacket::Pubcomp(id(5)), OwnedPacket::Pubcomp(id(1)), OwnedPacket::Puback(id(4))] {
            assert!(reader.ask(&mut broker, packet).is_empty());
        }
        assert_eq!(reader.ask(&mut broker, OwnedPacket::Pubrec(id(3))), ["PUBREL #3"]);
        assert!(reader.ask(&mut broker, OwnedPacket::Pubcomp(id(3))).is_empty());
        assert_eq!(broker.session("reader").unwrap().in_flight, 0);
    }
}

/// The receiver's half of QoS 2 belongs to the Session too: a PUBLISH that is sent again is not passed on again.
#[test]
fn qos2_is_received_once_over_connections() {
    let mut broker = Broker::new();
    let watcher = Client::new(&mut broker, "watcher");
    watcher.subscribe(&mut broker, "#", Q0);
    let writer = Client::resume(&mut broker, "writer");
    writer.recv(&mut broker);
    assert_eq!(writer.ask(&mut broker, publish("a", "x", Q2, 7)), ["PUBREC #7"]);
    broker.transport_closed(writer.id);
    let writer = Client::resume(&mut broker, "writer");
    writer.recv(&mut broker);
    assert_eq!(writer.ask(&mut broker, publish("a", "x", Q2, 7)), ["PUBREC #7"]);
    assert_eq!(watcher.recv(&mut broker), ["PUBLISH a=x"]);
    assert_eq!(writer.ask(&mut broker, pubrel(7)), ["PUBCOMP #7"]);
    assert_eq!(writer.ask(&mut broker, publish("a", "y", Q2, 7)), ["PUBREC #7"]);
    assert_eq!(watcher.recv(&mut broker), ["PUBLISH a=y"]);
    // A Session that is lost loses the identifiers as well.
    broker.forget_sessions();
    broker.transport_closed(writer.id);
    let writer = Client::resume(&mut broker, "writer");
    assert_eq!(writer.recv(&mut broker), ["CONNACK 0"]);
    assert_eq!(writer.ask(&mut broker, publish("a", "z", Q2, 7)), ["PUBREC #7"]);
    assert_eq!(watcher.recv(&mut broker), ["PUBLISH a=z"]);
}

#[test]
fn a_clean_session_leaves_nothing_behind() {
    let mut broker = Broker::new();
    for clean_session in [true, false] {
        let client = Client::open(&mut broker, &OwnedConnect { clean_session, ..connect("a") });
        client.recv(&mut broker);
        client.subscribe(&mut broker, "a", Q1);
        broker.transport_closed(client.id);
        assert_eq!(broker.sessions().len(), usize::from(!clean_session));
    }
    // [MQTT-3.1.2-6]: and it takes away what was there.
    let client = Client::new(&mut broker, "a");
    broker.publish(name("a"), "x", Q1, false);
    assert!(client.recv(&mut broker).is_empty());
    assert!(broker.session("a").unwrap().subscriptions.is_empty());
    // Not even where no message would show it.
    client.subscribe(&mut broker, "wanted/once", Q0);
    broker.transport_closed(client.id);
    broker.clear_log();
    assert!(!format!("{broker:?}").contains("wanted"));
}

#[test]
fn sessions_can_be_forgotten() {
    let mut broker = Broker::new();
    let away = Client::resume(&mut broker, "away");
    broker.transport_closed(away.id);
    let here = Client::resume(&mut broker, "here");
    here.recv(&mut broker);
    here.subscribe(&mut broker, "a", Q0);
    broker.forget_sessions();
    assert!(broker.session("away").is_none());
    // The connection goes on, but its Session ends with it.
    broker.publish(name("a"), "x", Q0, false);
    assert_eq!(here.recv(&mut broker), ["PUBLISH a=x"]);
    broker.cut(here.id);
    assert!(broker.sessions().is_empty());
    let here = Client::resume(&mut broker, "here");
    assert_eq!(here.recv(&mut broker), ["CONNACK 0"]);
}

#[test]
fn the_queue_is_bounded_and_drops_are_counted() {
    let rows = [(BrokerOptions::new().max_queue(3, 1000), 3), (BrokerOptions::new().max_queue(1000, 11), 5)];
    for (options, kept) in rows {
        let mut broker = Broker::with_options(options);
        let reader = Client::resume(&mut broker, "reader");
        reader.recv(&mut broker);
        reader.subscribe(&mut broker, "#", Q1);
        broker.transport_closed(reader.id);
        for _ in 0..10 {
            broker.publish(name("a"), "x", Q1, false);
        }
        assert_eq!(broker.session("reader").unwrap().queued, kept);
        assert_eq!(broker.counters().queue_drops, 10 - kept as u64);
        // What was sent makes room again.
        let reader = Client::resume(&mut broker, "reader");
        assert_eq!(reader.recv(&mut broker).len(), 1 + kept);
        broker.transport_closed(reader.id);
        for _ in 0..kept {
            broker.publish(name("a"), "x", Q1, false);
        }
        assert_eq!(broker.session("reader").unwrap().queued, kept);
    }
}
