//! Packets and their bytes.

use bytes::Bytes;
use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, Direction, MqttString, OwnedBinaryData, OwnedConnect,
    OwnedCredentials, OwnedPacket, OwnedPublish, OwnedWill, PacketId, ProtocolVersion, QoS, SubackCode,
    TopicFilter, TopicName,
};

use Direction::{ToClient, ToServer};
use ProtocolVersion::{V3_1, V3_1_1};

pub(crate) struct Vector {
    pub(crate) versions: &'static [ProtocolVersion],
    pub(crate) directions: &'static [Direction],
    pub(crate) bytes: &'static [u8],
    pub(crate) packet: OwnedPacket,
}

const ANY: &[ProtocolVersion] = &[V3_1, V3_1_1];
const OLD: &[ProtocolVersion] = &[V3_1];
const NEW: &[ProtocolVersion] = &[V3_1_1];
const BOTH: &[Direction] = &[ToClient, ToServer];
const CLIENT: &[Direction] = &[ToClient];
const SERVER: &[Direction] = &[ToServer];

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn text(text: &'static str) -> MqttString {
    MqttString::from_static(text).unwrap()
}

fn data(data: &'static [u8]) -> OwnedBinaryData {
    data.try_into().unwrap()
}

pub(crate) fn filter(text: &str) -> TopicFilter {
    text.parse().unwrap()
}

fn publish(delivery: Delivery, retain: bool, topic: &str, payload: &'static [u8]) -> OwnedPacket {
    let topic = TopicName::new(topic).unwrap();
    OwnedPacket::Publish(OwnedPublish { delivery, retain, topic, payload: Bytes::from_static(payload) })
}

pub(crate) fn connack(session_present: bool, code: u8) -> OwnedPacket {
    OwnedPacket::Connack(Connack { session_present, code: ConnectReturnCode::from_u8(code) })
}

pub(crate) fn connect(version: ProtocolVersion, client_id: &'static str) -> OwnedConnect {
    OwnedConnect {
        version,
        clean_session: true,
        keep_alive: 60,
        client_id: text(client_id),
        will: None,
        credentials: None,
    }
}

fn will(qos: QoS, retain: bool, payload: &'static [u8]) -> Option<OwnedWill> {
    Some(OwnedWill { topic: TopicName::new("w/t").unwrap(), payload: data(payload), qos, retain })
}

pub(crate) fn credentials(
    username: &'static str,
    password: Option<&'static [u8]>,
) -> Option<OwnedCredentials> {
    Some(OwnedCredentials { username: text(username), password: password.map(data) })
}

fn connects() -> Vec<Vector> {
    let row = |bytes, packet| Vector {
        // A CONNECT carries its own version, whatever the decoder was made for.
        versions: ANY,
        directions: SERVER,
        bytes,
        packet: OwnedPacket::Connect(packet),
    };
    vec![
        row(b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02c1", connect(V3_1_1, "c1")),
        row(b"\x10\x10\0\x06MQIsdp\x03\x02\0\x3c\0\x02c1", connect(V3_1, "c1")),
        row(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0", connect(V3_1_1, "")),
        row(
            b"\x10\x26\0\x06MQIsdp\x03\0\xff\xff\0\x18\xc3\xa42345678901234567890123",
            OwnedConnect {
                clean_session: false,
                keep_alive: 65_535,
                ..connect(V3_1, "ä2345678901234567890123")
            },
        ),
        row(
            b"\x10\x18\0\x04MQTT\x04\x34\0\x3c\0\x01c\0\x03w/t\0\x04\0\xff+#",
            OwnedConnect {
                clean_session: false,
                will: will(QoS::ExactlyOnce, true, b"\0\xff+#"),
                ..connect(V3_1_1, "c")
            },
        ),
        row(
            b"\x10\x14\0\x04MQTT\x04\x0e\0\x3c\0\x01c\0\x03w/t\0\0",
            OwnedConnect { will: will(QoS::AtLeastOnce, false, b""), ..connect(V3_1_1, "c") },
        ),
        row(
            b"\x10\x11\0\x04MQTT\x04\x82\0\0\0\x01c\0\x02me",
            OwnedConnect { keep_alive: 0, credentials: credentials("me", None), ..connect(V3_1_1, "c") },
        ),
        row(
            b"\x10\x1f\0\x06MQIsdp\x03\xe6\0\x3c\0\x01c\0\x03w/t\0\x01x\0\x02me\0\x02\0\xff",
            OwnedConnect {
                will: will(QoS::AtMostOnce, true, b"x"),
                credentials: credentials("me", Some(b"\0\xff")),
                ..connect(V3_1, "c")
            },
        ),
    ]
}

fn publishes() -> Vec<Vector> {
    let row = |bytes, packet| Vector { versions: ANY, directions: BOTH, bytes, packet };
    let first = |dup| Delivery::AtLeastOnce { id: id(0x0102), dup };
    let second = |dup| Delivery::ExactlyOnce { id: id(0xffff), dup };
    vec![
        row(b"\x30\x07\0\x03a/bhi", publish(Delivery::AtMostOnce, false, "a/b", b"hi")),
        row(b"\x31\x03\0\x01/", publish(Delivery::AtMostOnce, true, "/", b"")),
        row(b"\x32\x07\0\x01a\x01\x02hi", publish(first(false), false, "a", b"hi")),
        row(b"\x3b\x05\0\x01a\x01\x02", publish(first(true), true, "a", b"")),
        row(b"\x34\x06\0\x01a\xff\xff\0", publish(second(false), false, "a", b"\0")),
        row(b"\x3c\x06\0\x01a\xff\xff\xff", publish(second(true), false, "a", b"\xff")),
        row(
            b"\x30\x12\0\x10\xef\xbb\xbf$SYS/\xc3\xa4/\xf0\x9f\x8d\x94x",
            publish(Delivery::AtMostOnce, false, "\u{feff}$SYS/ä/🍔x", b""),
        ),
    ]
}

fn requests() -> Vec<Vector> {
    let row = |versions, bytes, packet| Vector { versions, directions: SERVER, bytes, packet };
    let filters = || vec![(filter("a/+"), QoS::ExactlyOnce), (filter("#"), QoS::AtMostOnce)];
    let subscribe = |dup| OwnedPacket::Subscribe { id: id(10), dup, filters: filters() };
    let unsubscribe =
        |dup| OwnedPacket::Unsubscribe { id: id(10), dup, filters: vec![filter("a/+"), filter("b")] };
    vec![
        row(ANY, b"\x82\x0c\0\x0a\0\x03a/+\x02\0\x01#\0", subscribe(false)),
        row(OLD, b"\x8a\x0c\0\x0a\0\x03a/+\x02\0\x01#\0", subscribe(true)),
        row(ANY, b"\xa2\x0a\0\x0a\0\x03a/+\0\x01b", unsubscribe(false)),
        row(OLD, b"\xaa\x0a\0\x0a\0\x03a/+\0\x01b", unsubscribe(true)),
        row(ANY, b"\xc0\0", OwnedPacket::Pingreq),
        row(ANY, b"\xe0\0", OwnedPacket::Disconnect),
    ]
}

fn answers() -> Vec<Vector> {
    let row = |versions, bytes, packet| Vector { versions, directions: CLIENT, bytes, packet };
    let granted = |qos| SubackCode::Granted(qos);
    let all = vec![granted(QoS::AtMostOnce), granted(QoS::AtLeastOnce), granted(QoS::ExactlyOnce)];
    vec![
        row(ANY, b"\x20\x02\0\0", connack(false, 0)),
        row(NEW, b"\x20\x02\x01\0", connack(true, 0)),
        row(ANY, b"\x20\x02\0\x05", connack(false, 5)),
        row(ANY, b"\x20\x02\0\x06", connack(false, 6)),
        row(ANY, b"\x20\x02\0\xff", connack(false, 255)),
        row(ANY, b"\x90\x05\0\x01\0\x01\x02", OwnedPacket::Suback { id: id(1), codes: all }),
        row(NEW, b"\x90\x03\0\x01\x80", OwnedPacket::Suback { id: id(1), codes: vec![SubackCode::Failure] }),
        row(ANY, b"\xb0\x02\x12\x34", OwnedPacket::Unsuback(id(0x1234))),
        row(ANY, b"\xd0\0", OwnedPacket::Pingresp),
    ]
}

fn acks() -> Vec<Vector> {
    let row = |versions, bytes, packet| Vector { versions, directions: BOTH, bytes, packet };
    vec![
        row(ANY, b"\x40\x02\0\x01", OwnedPacket::Puback(id(1))),
        row(ANY, b"\x50\x02\xff\xff", OwnedPacket::Pubrec(id(65_535))),
        row(ANY, b"\x62\x02\x12\x34", OwnedPacket::Pubrel { id: id(0x1234), dup: false }),
        row(OLD, b"\x6a\x02\x12\x34", OwnedPacket::Pubrel { id: id(0x1234), dup: true }),
        row(ANY, b"\x70\x02\x01\0", OwnedPacket::Pubcomp(id(0x100))),
    ]
}

pub(crate) fn vectors() -> Vec<Vector> {
    [connects(), publishes(), requests(), answers(), acks()].into_iter().flatten().collect()
}
