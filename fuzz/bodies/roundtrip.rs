//! Input: a byte for the version, a byte for the packet type, and bytes for its fields.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Decoder, Delivery, Direction, MqttString, OwnedBinaryData,
    OwnedConnect, OwnedCredentials, OwnedPacket, OwnedPublish, OwnedWill, PacketId, PacketType,
    ProtocolVersion, QoS, SubackCode, TopicFilter, TopicName,
};

use super::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let version = if input.flag() { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };
    let owned = packet(&mut input, version);
    let Ok(packet) = owned.as_packet() else { panic!("{owned:?} cannot be lent") };
    let mut encoded = BytesMut::new();
    packet.encode(version, &mut encoded).expect("far below the limit");
    assert_eq!(packet.encoded_len(version), Ok(encoded.len()));

    let mut accepted = 0;
    for direction in [Direction::ToClient, Direction::ToServer] {
        let decoder = Decoder::new(version, direction);
        let decoded = decoder.decode(&encoded);
        if !packet.packet_type().travels(direction) {
            assert!(decoded.is_err(), "{packet:?} does not travel in this direction");
            continue;
        }
        accepted += 1;
        assert_eq!(decoded, Ok(Decoded::Packet(packet, encoded.len())));
        for end in 0..encoded.len() {
            assert!(matches!(decoder.decode(&encoded[..end]), Ok(Decoded::Incomplete { .. })));
        }
    }
    assert!(accepted > 0);
}

fn packet(input: &mut Input<'_>, version: ProtocolVersion) -> OwnedPacket {
    let old = version == ProtocolVersion::V3_1;
    let packet_type = PacketType::ALL[usize::from(input.byte()) % PacketType::ALL.len()];
    match packet_type {
        PacketType::Connect => OwnedPacket::Connect(connect(input, version)),
        PacketType::Connack => {
            let code = ConnectReturnCode::from_u8(input.byte());
            // 3.1 has no such flag, and a refusal none that is set.
            let session_present = input.flag() && !old && code.is_accepted();
            OwnedPacket::Connack(Connack { session_present, code })
        }
        PacketType::Publish => {
            let delivery = match qos(input) {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(input), dup: input.flag() },
                QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(input), dup: input.flag() },
            };
            let (retain, topic) = (input.flag(), name(input));
            OwnedPacket::Publish(OwnedPublish {
                delivery,
                retain,
                topic,
                payload: Bytes::copy_from_slice(input.0),
            })
        }
        PacketType::Puback => OwnedPacket::Puback(id(input)),
        PacketType::Pubrec => OwnedPacket::Pubrec(id(input)),
        PacketType::Pubrel => OwnedPacket::Pubrel { id: id(input), dup: input.flag() && old },
        PacketType::Pubcomp => OwnedPacket::Pubcomp(id(input)),
        PacketType::Subscribe => {
            let (id, dup) = (id(input), input.flag() && old);
            OwnedPacket::Subscribe { id, dup, filters: list(input, |input| (filter(input), qos(input))) }
        }
        PacketType::Suback => {
            let code = |input: &mut Input<'_>| match input.byte() % if old { 3 } else { 4 } {
                3 => SubackCode::Failure,
                qos => SubackCode::Granted(QoS::try_from(qos).expect("below 3")),
            };
            OwnedPacket::Suback { id: id(input), codes: list(input, code) }
        }
        PacketType::Unsubscribe => {
            let (id, dup) = (id(input), input.flag() && old);
            OwnedPacket::Unsubscribe { id, dup, filters: list(input, filter) }
        }
        PacketType::Unsuback => OwnedPacket::Unsuback(id(input)),
        PacketType::Pingreq => OwnedPacket::Pingreq,
        PacketType::Pingresp => OwnedPacket::Pingresp,
        PacketType::Disconnect => OwnedPacket::Disconnect,
    }
}

fn connect(input: &mut Input<'_>, version: ProtocolVersion) -> OwnedConnect {
    let client_id: String = text(input).chars().take(23).collect();
    let client_id = if client_id.is_empty() { "c".to_owned() } else { client_id };
    OwnedConnect {
        version,
        clean_session: input.flag(),
        keep_alive: input.short(),
        client_id: MqttString::try_from(client_id).expect("checked by text()"),
        will: input.flag().then(|| OwnedWill {
            topic: name(input),
            payload: data(input),
            qos: qos(input),
            retain: input.flag(),
        }),
        credentials: input.flag().then(|| OwnedCredentials {
            username: MqttString::try_from(text(input)).expect("checked by text()"),
            password: input.flag().then(|| data(input)),
        }),
    }
}

/// At least one, at most 255.
fn list<T>(input: &mut Input<'_>, mut item: impl FnMut(&mut Input<'_>) -> T) -> Vec<T> {
    (0..input.byte().max(1)).map(|_| item(input)).collect()
}

fn id(input: &mut Input<'_>) -> PacketId {
    PacketId::new(input.short()).unwrap_or(PacketId::MIN)
}

fn qos(input: &mut Input<'_>) -> QoS {
    QoS::try_from(input.byte() % 3).expect("below 3")
}

fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(input.bytes()).replace('\0', "0")
}

fn name(input: &mut Input<'_>) -> TopicName {
    TopicName::try_from(text(input).replace(['+', '#'], "-")).unwrap_or_else(|_| "t".parse().expect("a name"))
}

fn filter(input: &mut Input<'_>) -> TopicFilter {
    TopicFilter::try_from(text(input)).unwrap_or_else(|_| "t/#".parse().expect("a filter"))
}

fn data(input: &mut Input<'_>) -> OwnedBinaryData {
    input.bytes().try_into().expect("at most 255 bytes")
}
