//! A Server that answers as it should.

use bytes::BytesMut;
use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, Packet, ProtocolVersion, Suback, SubackCode, SubackCodes,
};

pub(crate) fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.encode(version, &mut bytes).expect("small");
    bytes
}

/// What it answers to a packet of the client, if anything. It says that it has the Session whenever that is possible.
pub(crate) fn answer(packet: Packet<'_>, version: ProtocolVersion) -> Option<BytesMut> {
    let codes: Vec<_>;
    let answer = match packet {
        Packet::Connect(connect) => {
            let session_present = !connect.clean_session && version == ProtocolVersion::V3_1_1;
            Packet::Connack(Connack { session_present, code: ConnectReturnCode::Accepted })
        }
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => return None,
            Delivery::AtLeastOnce { id, .. } => Packet::Puback(id),
            Delivery::ExactlyOnce { id, .. } => Packet::Pubrec(id),
        },
        Packet::Pubrec(id) => Packet::Pubrel { id, dup: false },
        Packet::Pubrel { id, .. } => Packet::Pubcomp(id),
        Packet::Subscribe(subscribe) => {
            codes = subscribe.filters.iter().map(|(_, qos)| SubackCode::Granted(qos)).collect();
            Packet::Suback(Suback { id: subscribe.id, codes: SubackCodes::new(&codes).expect("not empty") })
        }
        Packet::Unsubscribe(unsubscribe) => Packet::Unsuback(unsubscribe.id),
        Packet::Pingreq => Packet::Pingresp,
        _ => return None,
    };
    Some(encode(&answer, version))
}
