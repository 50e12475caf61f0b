//! QoS 0, 1 and 2 in both directions, packet identifiers and the window (section 4.3).

use mqtt_codec::{OwnedPacket, PacketType, QoS};
use mqtt_tokio::testing::{Broker, BrokerOptions, CloseReason};

use crate::support::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// [MQTT-3.8.4-6]: the smaller of what was published, granted, and what the options allow.
#[test]
fn the_smallest_qos_counts() {
    for published in [Q0, Q1, Q2] {
        for asked in [Q0, Q1, Q2] {
            for allowed in [Q0, Q1, Q2] {
                let mut broker = Broker::with_options(BrokerOptions::new().max_qos(allowed));
                let client = Client::new(&mut broker, "a");
                let granted = asked.min(allowed);
                let answers = client.ask(&mut broker, subscribe(9, &[("t", asked)]));
                assert_eq!(answers, [format!("SUBACK #9 {granted}")]);
                let ack = match published {
                    Q0 => vec![],
                    Q1 => vec!["PUBACK #4".to_owned()],
                    Q2 => vec!["PUBREC #4".to_owned()],
                };
                let copy = match published.min(granted) {
                    Q0 => "PUBLISH t=x".to_owned(),
                    qos => format!("PUBLISH t=x q{qos} #1"),
                };
                let answers = client.ask(&mut broker, publish("t", "x", published, 4));
                assert_eq!(answers, [vec![copy], ack].concat());
            }
        }
    }
}

#[test]
fn qos2_goes_through_all_its_packets() {
    let mut broker = Broker::new();
    let reader = Client::new(&mut broker, "reader");
    reader.subscribe(&mut broker, "t", Q2);
    let writer = Client::new(&mut broker, "writer");
    assert_eq!(writer.ask(&mut broker, publish("t", "x", Q2, 11)), ["PUBREC #11"]);
    assert_eq!(broker.session("writer").unwrap().unreleased, 1);
    assert_eq!(writer.ask(&mut broker, pubrel(11)), ["PUBCOMP #11"]);
    assert_eq!(broker.session("writer").unwrap().unreleased, 0);
    assert_eq!(reader.recv(&mut broker), ["PUBLISH t=x q2 #1"]);
    assert_eq!(reader.ask(&mut broker, OwnedPacket::Pubrec(id(1))), ["PUBREL #1"]);
    assert_eq!(reader.ask(&mut broker, OwnedPacket::Pubrec(id(1))), ["PUBREL #1"], "dup-pubrec-pubrel");
    assert!(reader.ask(&mut broker, OwnedPacket::Pubcomp(id(1))).is_empty());
    assert_eq!(broker.session("reader").unwrap().in_flight, 0);
}

/// Acknowledgements of nothing are answered where they have an answer, counted, and end nothing.
#[test]
fn unknown_acknowledgements_end_nothing() {
    let rows: &[(OwnedPacket, &[&str], u64)] = &[
        (OwnedPacket::Puback(id(9)), &[], 1),
        (OwnedPacket::Pubrec(id(9)), &["PUBREL #9"], 1),
        (pubrel(9), &["PUBCOMP #9"], 0),
        (OwnedPacket::Pubcomp(id(9)), &[], 1),
    ];
    for (packet, answers, counted) in rows {
        let mut broker = Broker::new();
        let client = Client::new(&mut broker, "a");
        assert_eq!(client.ask(&mut broker, packet.clone()), *answers);
        assert!(!broker.is_closed(client.id));
        assert_eq!(broker.counters().unknown_acks, *counted);
    }
}

/// [MQTT-4.8.0-1]: what is in flight with one QoS is not acknowledged with the packets of another.
#[test]
fn wrong_acknowledgements_end_the_connection() {
    let rows = [
        (Q1, OwnedPacket::Pubrec(id(1)), PacketType::Pubrec),
        (Q1, OwnedPacket::Pubcomp(id(1)), PacketType::Pubcomp),
        (Q2, OwnedPacket::Puback(id(1)), PacketType::Puback),
        (Q2, OwnedPacket::Pubcomp(id(1)), PacketType::Pubcomp),
    ];
    for (qos, packet, packet_type) in rows {
        let mut broker = Broker::new();
        let client = Client::new(&mut broker, "a");
        client.subscribe(&mut broker, "t", Q2);
        broker.publish(name("t"), "x", qos, false);
        client.send(&mut broker, packet);
        assert_eq!(broker.close_reason(client.id), Some(CloseReason::Violation(packet_type)));
    }
}

/// PUBLISH and PUBREL in flight together fill the window; QoS 0 passes it; the queue keeps the order.
#[test]
fn the_window_holds_back_what_is_above_it() {
    let mut broker = Broker::with_options(BrokerOptions::new().max_in_flight(2));
    let client = Client::new(&mut broker, "a");
    client.subscribe(&mut broker, "t", Q2);
    for (payload, qos) in [("1", Q1), ("2", Q2), ("3", Q1), ("4", Q0), ("5", Q2)] {
        broker.publish(name("t"), payload, qos, false);
    }
    let expected = ["PUBLISH t=1 q1 #1", "PUBLISH t=2 q2 #2", "PUBLISH t=4"];
    assert_eq!(client.recv(&mut broker), expected);
    assert_eq!(client.ask(&mut broker, OwnedPacket::Pubrec(id(2))), ["PUBREL #2"]);
    assert_eq!(client.ask(&mut broker, OwnedPacket::Puback(id(1))), ["PUBLISH t=3 q1 #3"]);
    assert_eq!(client.ask(&mut broker, OwnedPacket::Pubcomp(id(2))), ["PUBLISH t=5 q2 #4"]);
    let info = broker.session("a").unwrap();
    assert_eq!((info.in_flight, info.queued), (2, 0));
    // A wider window lets the queue flow at once.
    broker.publish(name("t"), "6", Q1, false);
    assert!(client.recv(&mut broker).is_empty());
    broker.set_options(|it| it.max_in_flight(3));
    assert_eq!(client.recv(&mut broker), ["PUBLISH t=6 q1 #5"]);
}

/// [MQTT-2.3.1-4]: no identifier is given out while it is in use, over the whole range and beyond it.
#[test]
fn packet_identifiers_are_unique_over_the_whole_range() {
    let mut broker = Broker::with_options(BrokerOptions::new().max_in_flight(u16::MAX));
    let client = Client::new(&mut broker, "a");
    client.subscribe(&mut broker, "t", Q1);
    let numbers = |broker: &mut Broker| -> Vec<u16> {
        let packets = decode(broker.take_output(client.id), V3_1_1);
        let number = |packet: &OwnedPacket| match packet {
            OwnedPacket::Publish(publish) => publish.delivery.id().unwrap().get(),
            other => panic!("{other:?}"),
        };
        packets.iter().map(number).collect()
    };
    for _ in 0..70_000 {
        broker.publish(name("t"), "x", Q1, false);
    }
    assert_eq!(numbers(&mut broker), (1..=u16::MAX).collect::<Vec<_>>());
    assert_eq!(broker.session("a").unwrap().queued, 70_000 - usize::from(u16::MAX));
    // What is acknowledged makes room for the queue.
    for number in 1..=u16::MAX {
        client.send(&mut broker, OwnedPacket::Puback(id(number)));
    }
    assert_eq!(numbers(&mut broker), (1..=4465).collect::<Vec<_>>());
    // The identifier that has been free for the longest time is taken next.
    for payload in ["x", "y"] {
        broker.publish(name("t"), payload, Q1, false);
    }
    assert_eq!(numbers(&mut broker), [4466, 4467]);
}

#[test]
fn a_hundred_thousand_messages_pass() {
    for qos in [Q0, Q1, Q2] {
        let mut broker = Broker::with_options(BrokerOptions::new().max_in_flight(100));
        let reader = Client::new(&mut broker, "reader");
        reader.subscribe(&mut broker, "t", Q2);
        let writer = Client::new(&mut broker, "writer");
        let bytes = encode(&publish("t", "0123456789", qos, 1), V3_1_1).repeat(100);
        let release = encode(&pubrel(1), V3_1_1);
        let mut received = 0;
        for _ in 0..1000 {
            if qos == Q2 {
                for _ in 0..100 {
                    broker.handle_input(writer.id, &bytes[..bytes.len() / 100]);
                    broker.handle_input(writer.id, &release);
                }
            } else {
                broker.handle_input(writer.id, &bytes);
            }
            broker.take_output(writer.id);
            loop {
                let packets = decode(broker.take_output(reader.id), V3_1_1);
                if packets.is_empty() {
                    break;
                }
                for packet in packets {
                    match packet {
                        OwnedPacket::Publish(publish) => {
                            received += 1;
                            let Some(id) = publish.delivery.id() else { continue };
                            let ack =
                                if qos == Q1 { OwnedPacket::Puback(id) } else { OwnedPacket::Pubrec(id) };
                            reader.send(&mut broker, ack);
                        }
                        OwnedPacket::Pubrel { id, .. } => reader.send(&mut broker, OwnedPacket::Pubcomp(id)),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        assert_eq!(received, 100_000);
        assert_eq!(broker.log().count(), 10_000);
    }
}

/// A receiver that takes nothing does not fill the memory; a sender that takes nothing is not read.
#[test]
fn output_is_bounded() {
    let mut broker = Broker::with_options(BrokerOptions::new().max_output_len(1000));
    let reader = Client::new(&mut broker, "reader");
    reader.subscribe(&mut broker, "t", Q0);
    for _ in 0..1000 {
        broker.publish(name("t"), "0123456789", Q0, false);
    }
    assert!(broker.output(reader.id).len() < 1100);
    let drops = broker.counters().qos0_drops;
    assert!(!broker.wants_input(reader.id));
    assert_eq!(reader.recv(&mut broker).len() as u64 + drops, 1000);
    assert!(broker.wants_input(reader.id));
}
