//! Hostile input: malformed packets end the connection, and nothing panics.

use mqtt_codec::{DecodeError, OwnedPacket, PacketType, QoS};
use mqtt_tokio::testing::{Broker, BrokerOptions, CloseReason};
use proptest::prelude::*;

use crate::support::*;

/// [MQTT-4.8.0-1]: the codec's own tests know every rule; here is one of each kind.
#[test]
fn malformed_packets_end_the_connection() {
    let rows: &[(&[u8], DecodeError)] = &[
        (&[0xf0], DecodeError::ReservedPacketType(15)),
        (&[0x20], DecodeError::WrongDirection(PacketType::Connack)),
        (&[0x36], DecodeError::PublishQos3),
        (&[0x61], DecodeError::InvalidFlags(PacketType::Pubrel)),
        (&[0x30, 0x80, 0x80, 0x80, 0x80], DecodeError::RemainingLengthTooLong),
        (&[0x40, 0x02, 0x00, 0x00], DecodeError::ZeroPacketId(PacketType::Puback)),
        (&[0x82, 0x02, 0x00, 0x01], DecodeError::EmptyPayload(PacketType::Subscribe)),
    ];
    for (bytes, error) in rows {
        let mut broker = Broker::new();
        let client = Client::new(&mut broker, "a");
        let before = encode(&OwnedPacket::Pingreq, V3_1_1);
        broker.handle_input(client.id, &[&before, *bytes].concat());
        assert_eq!(client.recv(&mut broker), ["PINGRESP"]);
        assert_eq!(broker.close_reason(client.id), Some(CloseReason::Malformed(*error)));
        broker.handle_input(client.id, &before);
        assert!(broker.take_output(client.id).is_empty());
    }
}

#[test]
fn oversize_packets_end_the_connection_by_their_header() {
    let mut broker = Broker::with_options(BrokerOptions::new().max_packet_size(1000));
    let client = Client::new(&mut broker, "a");
    broker.handle_input(client.id, &[0x30, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(broker.close_reason(client.id), Some(CloseReason::Oversize(PacketType::Publish)));
}

/// The same bytes have the same effect in whatever pieces they come.
#[test]
fn packets_may_be_cut_anywhere() {
    let bytes = [
        encode(&OwnedPacket::Connect(connect("a")), V3_1_1),
        encode(&subscribe(1, &[("t", QoS::ExactlyOnce), ("u/#", QoS::AtMostOnce)]), V3_1_1),
        encode(&publish("t", &"long".repeat(50), QoS::ExactlyOnce, 2), V3_1_1),
        encode(&publish("u/x", "", QoS::AtMostOnce, 0), V3_1_1),
        encode(&OwnedPacket::Pubrec(id(1)), V3_1_1),
        encode(&OwnedPacket::Pingreq, V3_1_1),
    ]
    .concat();
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut broker = Broker::new();
        let id = broker.connect_transport();
        pieces.for_each(|piece| broker.handle_input(id, piece));
        broker.take_output(id)
    };
    let whole = run(&mut std::iter::once(&bytes[..]));
    assert_eq!(decode(whole.clone(), V3_1_1).len(), 7);
    for len in 1..bytes.len() {
        assert_eq!(run(&mut bytes.chunks(len)), whole, "pieces of {len}");
    }
}

/// A packet of 4 MiB in pieces of 64 bytes: quadratic work would take minutes.
#[test]
fn a_trickled_packet_costs_no_more() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    let bytes = encode(&publish("t", &"x".repeat(4 << 20), QoS::AtLeastOnce, 1), V3_1_1);
    bytes.chunks(64).for_each(|it| broker.handle_input(client.id, it));
    assert_eq!(client.recv(&mut broker), ["PUBACK #1"]);
}

#[test]
fn calls_with_ids_that_are_gone_do_nothing() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    for _ in 0..2 {
        broker.transport_closed(client.id);
    }
    broker.handle_input(client.id, &[0xff]);
    broker.send(client.id, OwnedPacket::Pingresp);
    broker.send_raw(client.id, &[0]);
    broker.cut(client.id);
    broker.reset(client.id);
    assert!(broker.is_closed(client.id) && !broker.wants_input(client.id));
    assert!(broker.output(client.id).is_empty() && broker.take_output(client.id).is_empty());
    assert_eq!(broker.timeout(client.id), None);
    assert_eq!(broker.close_reason(client.id), Some(CloseReason::TransportClosed));
}

/// Whoever has something new is named once, until it is named.
#[test]
fn ready_connections_are_named_once() {
    let mut broker = Broker::new();
    let ready = |broker: &mut Broker| std::iter::from_fn(|| broker.poll_ready()).collect::<Vec<_>>();
    let reader = Client::new(&mut broker, "reader");
    reader.subscribe(&mut broker, "t", QoS::AtMostOnce);
    let writer = Client::new(&mut broker, "writer");
    assert_eq!(ready(&mut broker), [reader.id, writer.id]);
    for _ in 0..3 {
        writer.send(&mut broker, publish("t", "x", QoS::AtLeastOnce, 1));
    }
    assert_eq!(ready(&mut broker), [reader.id, writer.id]);
    assert!(ready(&mut broker).is_empty());
    broker.cut(reader.id);
    assert_eq!(ready(&mut broker), [reader.id]);
}

fn packets() -> impl Strategy<Value = Vec<u8>> {
    let topic = || prop::sample::select(vec!["a", "a/b", "b"]);
    let qos = || prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
    let filters = || prop::sample::select(vec!["a", "a/#", "+", "#"]);
    let packet = prop_oneof![
        Just(OwnedPacket::Connect(connect("a"))),
        Just(OwnedPacket::Connect(mqtt_codec::OwnedConnect { clean_session: false, ..connect("a") })),
        (topic(), qos(), 1..4u16).prop_map(|(topic, qos, id)| publish(topic, "x", qos, id)),
        (topic(), qos(), 1..4u16).prop_map(|(topic, qos, id)| retained(publish(topic, "x", qos, id))),
        (filters(), qos()).prop_map(|(filter, qos)| subscribe(1, &[(filter, qos)])),
        filters().prop_map(|filter| unsubscribe(2, &[filter])),
        (1..4u16).prop_map(|it| OwnedPacket::Puback(id(it))),
        (1..4u16).prop_map(|it| OwnedPacket::Pubrec(id(it))),
        (1..4u16).prop_map(pubrel),
        (1..4u16).prop_map(|it| OwnedPacket::Pubcomp(id(it))),
        Just(OwnedPacket::Pingreq),
        Just(OwnedPacket::Disconnect),
    ];
    prop_oneof![
        20 => packet.prop_map(|it| encode(&it, V3_1_1).to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    /// Whatever clients send, what the broker sends is well-formed, and nothing is in flight beyond the window.
    #[test]
    fn any_packets_are_survived(inputs in prop::collection::vec((0..3_usize, packets()), 0..200)) {
        let mut broker = Broker::with_options(BrokerOptions::new().max_in_flight(2).max_queue(5, 1000));
        let mut ids = [broker.connect_transport(), broker.connect_transport(), broker.connect_transport()];
        for id in ids {
            broker.handle_input(id, &encode(&OwnedPacket::Connect(connect("c")), V3_1_1));
        }
        for (client, input) in inputs {
            broker.handle_input(ids[client], &input);
            decode(broker.take_output(ids[client]), V3_1_1);
            if broker.is_closed(ids[client]) {
                broker.transport_closed(ids[client]);
                ids[client] = broker.connect_transport();
            }
            for session in broker.sessions() {
                prop_assert!(session.in_flight <= 2 && session.queued <= 5);
                prop_assert!(session.connection.is_none_or(|it| broker.connections().any(|id| id == it)));
                prop_assert!(session.connection.is_some() || !session.clean);
            }
        }
    }
}
