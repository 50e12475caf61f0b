//! A client of a few lines, and packets as short texts so that a test reads like a protocol.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Decoded, Decoder, Delivery, Direction, MqttString, OwnedBinaryData, OwnedConnect, OwnedCredentials,
    OwnedPacket, OwnedPublish, OwnedWill, PacketId, ProtocolVersion, QoS, SubackCode, TopicFilter, TopicName,
};
use mqtt_tokio::testing::{Broker, ConnectionId};

pub(crate) use ProtocolVersion::{V3_1, V3_1_1};

/// One client's end of a connection.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    version: ProtocolVersion,
}

impl Client {
    /// Connects with a clean session, and takes the CONNACK.
    pub(crate) fn new(broker: &mut Broker, client_id: &str) -> Self {
        let client = Self::open(broker, &connect(client_id));
        assert_eq!(client.recv(broker), ["CONNACK 0"]);
        client
    }

    /// Connects without a clean session; what comes is left to the test.
    pub(crate) fn resume(broker: &mut Broker, client_id: &str) -> Self {
        Self::open(broker, &OwnedConnect { clean_session: false, ..connect(client_id) })
    }

    pub(crate) fn open(broker: &mut Broker, connect: &OwnedConnect) -> Self {
        let client = Self { id: broker.connect_transport(), version: connect.version };
        client.send(broker, OwnedPacket::Connect(connect.clone()));
        client
    }

    pub(crate) fn send(&self, broker: &mut Broker, packet: OwnedPacket) {
        broker.handle_input(self.id, &encode(&packet, self.version));
    }

    /// Takes all that the broker sent.
    pub(crate) fn recv(&self, broker: &mut Broker) -> Vec<String> {
        decode(broker.take_output(self.id), self.version).iter().map(show).collect()
    }

    /// Sends and takes the answers.
    pub(crate) fn ask(&self, broker: &mut Broker, packet: OwnedPacket) -> Vec<String> {
        self.send(broker, packet);
        self.recv(broker)
    }

    /// Subscribes with packet identifier 1; checks that it is granted, and returns what follows.
    pub(crate) fn subscribe(&self, broker: &mut Broker, filter: &str, qos: QoS) -> Vec<String> {
        let mut answers = self.ask(broker, subscribe(1, &[(filter, qos)]));
        assert_eq!(answers.remove(0), format!("SUBACK #1 {qos}"));
        answers
    }
}

pub(crate) fn encode(packet: &OwnedPacket, version: ProtocolVersion) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.as_packet().unwrap().encode(version, &mut bytes).unwrap();
    bytes
}

pub(crate) fn decode(mut bytes: Bytes, version: ProtocolVersion) -> Vec<OwnedPacket> {
    let decoder = Decoder::new(version, Direction::ToClient);
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let Ok(Decoded::Packet(packet, len)) = decoder.decode(&bytes) else { panic!("no packet: {bytes:?}") };
        packets.push(OwnedPacket::from_slice_of(&bytes, packet));
        bytes = bytes.slice(len..);
    }
    packets
}

/// Writes a packet as `PUBLISH topic=payload q1 #7 dup retain` and the like.
pub(crate) fn show(packet: &OwnedPacket) -> String {
    let list = |codes: &[SubackCode]| {
        let code = |it: &SubackCode| match it {
            SubackCode::Granted(qos) => qos.to_string(),
            SubackCode::Failure => "failure".into(),
        };
        codes.iter().map(code).collect::<Vec<_>>().join(" ")
    };
    match packet {
        OwnedPacket::Connack(it) if it.session_present => format!("CONNACK {} present", it.code.as_u8()),
        OwnedPacket::Connack(it) => format!("CONNACK {}", it.code.as_u8()),
        OwnedPacket::Publish(OwnedPublish { delivery, retain, topic, payload }) => {
            let mut text = format!("PUBLISH {topic}={}", String::from_utf8_lossy(payload));
            if let Some(id) = delivery.id() {
                text += &format!(" q{} #{id}", delivery.qos());
            }
            let flags = [(delivery.dup(), " dup"), (*retain, " retain")];
            text.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag));
            text
        }
        OwnedPacket::Puback(id) => format!("PUBACK #{id}"),
        OwnedPacket::Pubrec(id) => format!("PUBREC #{id}"),
        OwnedPacket::Pubrel { id, dup: false } => format!("PUBREL #{id}"),
        OwnedPacket::Pubrel { id, dup: true } => format!("PUBREL #{id} dup"),
        OwnedPacket::Pubcomp(id) => format!("PUBCOMP #{id}"),
        OwnedPacket::Suback { id, codes } => format!("SUBACK #{id} {}", list(codes)),
        OwnedPacket::Unsuback(id) => format!("UNSUBACK #{id}"),
        OwnedPacket::Pingresp => "PINGRESP".into(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn connect(client_id: &str) -> OwnedConnect {
    OwnedConnect {
        version: V3_1_1,
        clean_session: true,
        keep_alive: 0,
        client_id: MqttString::try_from(client_id).unwrap(),
        will: None,
        credentials: None,
    }
}

pub(crate) fn will(topic: &str, payload: &str, qos: QoS, retain: bool) -> Option<OwnedWill> {
    let payload = OwnedBinaryData::try_from(payload.as_bytes()).unwrap();
    Some(OwnedWill { topic: TopicName::new(topic).unwrap(), payload, qos, retain })
}

pub(crate) fn credentials(username: &str, password: Option<&str>) -> Option<OwnedCredentials> {
    let password = password.map(|it| OwnedBinaryData::try_from(it.as_bytes()).unwrap());
    Some(OwnedCredentials { username: MqttString::try_from(username).unwrap(), password })
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// A PUBLISH; `number` is its packet identifier, which QoS 0 does not have.
pub(crate) fn publish(topic: &str, payload: &str, qos: QoS, number: u16) -> OwnedPacket {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(number), dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(number), dup: false },
    };
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    OwnedPacket::Publish(OwnedPublish { delivery, retain: false, topic: name(topic), payload })
}

/// The same packet with RETAIN.
pub(crate) fn retained(packet: OwnedPacket) -> OwnedPacket {
    match packet {
        OwnedPacket::Publish(publish) => OwnedPacket::Publish(OwnedPublish { retain: true, ..publish }),
        other => panic!("no PUBLISH: {other:?}"),
    }
}

pub(crate) fn subscribe(number: u16, filters: &[(&str, QoS)]) -> OwnedPacket {
    let filters = filters.iter().map(|(it, qos)| (filter(it), *qos)).collect();
    OwnedPacket::Subscribe { id: id(number), dup: false, filters }
}

pub(crate) fn unsubscribe(number: u16, filters: &[&str]) -> OwnedPacket {
    let filters = filters.iter().map(|it| filter(it)).collect();
    OwnedPacket::Unsubscribe { id: id(number), dup: false, filters }
}

pub(crate) fn pubrel(number: u16) -> OwnedPacket {
    OwnedPacket::Pubrel { id: id(number), dup: false }
}

pub(crate) fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}
