//! Each fault does what it says, where it says, and not elsewhere.

use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::{ConnectReturnCode, Direction, OwnedPacket, PacketType, QoS};
use mqtt_tokio::testing::{Broker, BrokerOptions, CloseReason, Faults, OnReceive, OnSend, When};

use crate::support::*;

const Q1: QoS = QoS::AtLeastOnce;

/// Publishes messages 1 to `count` with QoS 1, and returns what came back and which messages had their effect.
fn publish_to(faults: Faults, count: u16) -> (Vec<String>, Vec<u16>, Option<CloseReason>) {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    let watcher = Client::new(&mut broker, "watcher");
    watcher.subscribe(&mut broker, "#", QoS::AtMostOnce);
    broker.set_connection_faults(client.id, faults);
    for number in 1..=count {
        client.send(&mut broker, publish("t", &number.to_string(), Q1, number));
    }
    let seen = watcher.recv(&mut broker);
    let seen = seen.iter().map(|it| it.trim_start_matches("PUBLISH t=").parse().unwrap()).collect();
    (client.recv(&mut broker), seen, broker.close_reason(client.id))
}

#[test]
fn faults_of_what_is_sent() {
    const PUBACK: PacketType = PacketType::Puback;
    let raw = Bytes::from_static(b"\x40\x02\x00\x09");
    let cut = Some(CloseReason::Cut);
    type Row<'a> = (When, OnSend, &'a [u16], u16, Option<CloseReason>);
    let rows: &[Row<'_>] = &[
        (When::Nth(2), OnSend::Drop, &[1, 3, 4], 4, None),
        (When::First(2), OnSend::Drop, &[3, 4], 4, None),
        (When::After(2), OnSend::Drop, &[1, 2], 4, None),
        (When::Always, OnSend::Drop, &[], 4, None),
        (When::Nth(2), OnSend::Duplicate, &[1, 2, 2, 3, 4], 4, None),
        (When::Nth(2), OnSend::Swap, &[1, 3, 2, 4], 4, None),
        (When::First(2), OnSend::Swap, &[3, 1, 2, 4], 4, None),
        (When::Nth(4), OnSend::Swap, &[1, 2, 3], 4, None),
        (When::Nth(2), OnSend::Replace(raw), &[1, 9, 3, 4], 4, None),
        (When::Nth(3), OnSend::CutBefore, &[1, 2], 3, cut),
        (When::Nth(3), OnSend::CutAfter, &[1, 2, 3], 3, cut),
        (When::Nth(3), OnSend::Delay(Duration::from_secs(1)), &[1, 2, 4], 4, None),
        (When::Nth(9), OnSend::CutBefore, &[1, 2, 3, 4], 4, None),
    ];
    for (when, action, acks, effects, reason) in rows {
        let result = publish_to(Faults::none().on_send(PUBACK, *when, action.clone()), 4);
        let acks: Vec<_> = acks.iter().map(|it| format!("PUBACK #{it}")).collect();
        assert_eq!(result, (acks, (1..=*effects).collect(), *reason), "{when:?} {action:?}");
    }
}

#[test]
fn faults_of_what_is_received() {
    let raw = Bytes::from_static(b"\x40\x02\x00\x09");
    let cut = Some(CloseReason::Cut);
    type Row<'a> = (When, OnReceive, &'a [u16], &'a [u16], Option<CloseReason>);
    let rows: &[Row<'_>] = &[
        (When::Nth(2), OnReceive::Ignore, &[1, 3], &[1, 3], None),
        (When::Nth(2), OnReceive::Answer(raw), &[1, 9, 3], &[1, 3], None),
        (When::Nth(2), OnReceive::CutBefore, &[1], &[1], cut),
        (When::Nth(2), OnReceive::CutAfter, &[1], &[1, 2], cut),
    ];
    for (when, action, acks, effects, reason) in rows {
        let result = publish_to(Faults::none().on_receive(PacketType::Publish, *when, action.clone()), 3);
        let acks: Vec<_> = acks.iter().map(|it| format!("PUBACK #{it}")).collect();
        assert_eq!(result, (acks, effects.to_vec(), *reason), "{when:?} {action:?}");
    }
}

/// A message that is cut off before its acknowledgement is sent was nevertheless received: that is the point.
#[test]
fn the_session_remembers_what_the_cut_hid() {
    let mut broker = Broker::new();
    let client = Client::resume(&mut broker, "a");
    client.recv(&mut broker);
    let faults = Faults::none().on_receive(PacketType::Publish, When::Nth(1), OnReceive::CutAfter);
    broker.set_faults(faults);
    client.send(&mut broker, publish("t", "x", QoS::ExactlyOnce, 7));
    assert!(client.recv(&mut broker).is_empty());
    assert_eq!(broker.session("a").unwrap().unreleased, 1);
    let client = Client::resume(&mut broker, "a");
    assert_eq!(client.recv(&mut broker), ["CONNACK 0 present"]);
    assert_eq!(client.ask(&mut broker, publish("t", "x", QoS::ExactlyOnce, 7)), ["PUBREC #7"]);
}

#[test]
fn delayed_packets_come_when_they_are_due() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    let late = |seconds| OnSend::Delay(Duration::from_secs(seconds));
    broker.set_faults(
        Faults::none()
            .on_send(PacketType::Puback, When::Nth(1), late(5))
            .on_send(PacketType::Puback, When::Nth(2), late(3))
            .on_send(PacketType::Puback, When::Nth(3), late(5)),
    );
    for number in 1..=4 {
        client.send(&mut broker, publish("t", "x", Q1, number));
    }
    assert_eq!(client.recv(&mut broker), ["PUBACK #4"]);
    assert_eq!(broker.poll_timeout(), Some(Duration::from_secs(3)));
    broker.handle_time(Duration::from_secs(3));
    assert_eq!(client.recv(&mut broker), ["PUBACK #2"]);
    assert_eq!(broker.timeout(client.id), Some(Duration::from_secs(5)));
    broker.handle_time(Duration::from_secs(5));
    assert_eq!(client.recv(&mut broker), ["PUBACK #1", "PUBACK #3"]);
    assert_eq!(broker.poll_timeout(), None);
    // Time may jump; the order stays that of the time at which they are due.
    let faults = Faults::none().on_send(PacketType::Puback, When::Nth(1), late(9));
    broker.set_faults(faults.on_send(PacketType::Puback, When::Nth(2), late(8)));
    for number in 1..=2 {
        client.send(&mut broker, publish("t", "x", Q1, number));
    }
    broker.handle_time(Duration::from_secs(100));
    assert_eq!(client.recv(&mut broker), ["PUBACK #2", "PUBACK #1"]);
}

#[test]
fn connects_are_refused_so_often_with_any_code() {
    for code in [1, 2, 3, 4, 5, 6, 255] {
        let mut broker = Broker::new();
        broker.set_faults(Faults::none().refuse_connects(2, ConnectReturnCode::from_u8(code)));
        for _ in 0..2 {
            let client = Client::open(&mut broker, &connect("a"));
            assert_eq!(client.recv(&mut broker), [format!("CONNACK {code}")]);
            assert!(broker.is_closed(client.id));
        }
        Client::new(&mut broker, "a");
    }
}

#[test]
fn connack_and_pingresp_can_be_withheld() {
    let mut broker = Broker::new();
    broker.set_faults(Faults::none().no_connack().no_pingresp());
    let client = Client::open(&mut broker, &connect("a"));
    client.send(&mut broker, OwnedPacket::Pingreq);
    assert!(client.recv(&mut broker).is_empty());
    assert!(!broker.is_closed(client.id));
    broker.set_faults(Faults::none().close_before_connack(1));
    let client = Client::open(&mut broker, &connect("b"));
    assert!(client.recv(&mut broker).is_empty());
    assert_eq!(broker.close_reason(client.id), Some(CloseReason::Cut));
    Client::new(&mut broker, "b");
}

/// One exchange, cut behind each of its bytes in each direction: exactly so many bytes pass, once.
#[test]
fn connections_are_cut_after_any_byte() {
    let sent = [
        encode(&OwnedPacket::Connect(connect("a")), V3_1_1),
        encode(&subscribe(1, &[("t", Q1)]), V3_1_1),
        encode(&publish("t", "x", Q1, 2), V3_1_1),
    ]
    .concat();
    let mut whole = Broker::new();
    let id = whole.connect_transport();
    whole.handle_input(id, &sent);
    let received = whole.take_output(id);
    for direction in [Direction::ToClient, Direction::ToServer] {
        let len = if direction == Direction::ToClient { received.len() } else { sent.len() };
        for cut in 0..=len as u64 {
            for pieces in [1, 3, sent.len()] {
                let mut broker = Broker::new();
                broker.set_faults(match direction {
                    Direction::ToClient => Faults::none().cut_after_sent_bytes(cut),
                    Direction::ToServer => Faults::none().cut_after_received_bytes(cut),
                });
                let id = broker.connect_transport();
                sent.chunks(sent.len().div_ceil(pieces)).for_each(|it| broker.handle_input(id, it));
                assert_eq!(broker.close_reason(id), Some(CloseReason::Cut), "{direction:?} {cut}");
                match direction {
                    Direction::ToClient => assert_eq!(broker.take_output(id), received[..cut as usize]),
                    Direction::ToServer => assert_eq!(broker.counters().bytes_received, cut),
                }
                // The next connection is not cut.
                Client::new(&mut broker, "a");
            }
        }
    }
}

#[test]
fn a_broker_that_does_not_read_goes_on_later() {
    let mut broker = Broker::new();
    let client = Client::open(&mut broker, &mqtt_codec::OwnedConnect { keep_alive: 1, ..connect("a") });
    client.recv(&mut broker);
    let other = Client::new(&mut broker, "b");
    broker.set_connection_faults(client.id, Faults::none().stop_reading());
    assert!(!broker.wants_input(client.id) && broker.wants_input(other.id));
    let bytes = [encode(&OwnedPacket::Pingreq, V3_1_1), encode(&publish("t", "x", Q1, 1), V3_1_1)].concat();
    bytes.iter().for_each(|byte| broker.handle_input(client.id, &[*byte]));
    assert!(client.recv(&mut broker).is_empty());
    // A broker that does not listen cannot blame a client for its silence.
    broker.handle_time(Duration::from_secs(2));
    assert!(!broker.is_closed(client.id));
    assert_eq!(other.ask(&mut broker, OwnedPacket::Pingreq), ["PINGRESP"]);
    broker.set_connection_faults(client.id, Faults::none());
    assert_eq!(client.recv(&mut broker), ["PINGRESP", "PUBACK #1"]);
}

#[test]
fn faults_of_the_connection_precede_those_of_the_broker() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    let twice = Faults::none().on_send(PacketType::Pingresp, When::Always, OnSend::Duplicate);
    broker.set_faults(twice);
    broker.set_connection_faults(client.id, Faults::none().no_pingresp());
    assert!(client.ask(&mut broker, OwnedPacket::Pingreq).is_empty());
    let other = Client::new(&mut broker, "b");
    assert_eq!(other.ask(&mut broker, OwnedPacket::Pingreq), ["PINGRESP", "PINGRESP"]);
    assert_eq!(broker.counters().faults, 2);
    let raw = |text| OnReceive::Answer(Bytes::from_static(text));
    broker.set_faults(Faults::none().on_receive(PacketType::Pingreq, When::Always, raw(b"all")));
    let own = Faults::none().on_receive(PacketType::Pingreq, When::Nth(2), raw(b"own"));
    broker.set_connection_faults(client.id, own);
    for answer in ["all", "own", "all"] {
        client.send(&mut broker, OwnedPacket::Pingreq);
        assert_eq!(broker.take_output(client.id), answer);
    }
}

/// What no Session knows of, and what is no packet at all.
#[test]
fn anything_can_be_sent() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    broker.send(client.id, pubrel(99));
    broker.send(client.id, OwnedPacket::Suback { id: id(1), codes: vec![] });
    broker.send_raw(client.id, b"\x00nonsense");
    assert_eq!(broker.take_output(client.id), &b"\x62\x02\x00\x63\x00nonsense"[..]);
}

#[test]
fn the_log_tells_what_passed() {
    let mut broker = Broker::with_options(BrokerOptions::new().max_log_len(4));
    let client = Client::new(&mut broker, "a");
    broker.handle_time(Duration::from_secs(1));
    client.ask(&mut broker, OwnedPacket::Pingreq);
    broker.set_faults(Faults::none().on_send(PacketType::Puback, When::Nth(1), OnSend::Drop));
    client.ask(&mut broker, publish("t", "x", Q1, 1));
    let log: Vec<_> = broker
        .log()
        .map(|it| {
            assert_eq!(it.connection, client.id);
            (it.at.as_secs(), it.direction, it.packet.as_packet().unwrap().packet_type())
        })
        .collect();
    let expected = [
        (0, Direction::ToClient, PacketType::Connack),
        (1, Direction::ToServer, PacketType::Pingreq),
        (1, Direction::ToClient, PacketType::Pingresp),
        (1, Direction::ToServer, PacketType::Publish),
    ];
    assert_eq!(log, expected);
    let counters = broker.counters();
    assert_eq!((counters.received(PacketType::Publish), counters.sent(PacketType::Puback)), (1, 0));
    assert_eq!((counters.connections, counters.faults), (1, 1));
    broker.clear_log();
    assert_eq!(broker.log().count(), 0);
    broker.set_options(|it| it.max_log_len(0));
    client.ask(&mut broker, OwnedPacket::Pingreq);
    assert_eq!(broker.log().count(), 0);
}
