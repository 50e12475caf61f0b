//! Packets and their bytes, used both ways: each row is encoded, decoded whole, cut at every byte, and with
//! something behind it.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Decoder, Delivery, Direction, MqttString, OwnedBinaryData,
    OwnedConnect, OwnedCredentials, OwnedPacket, OwnedPublish, OwnedWill, PacketId, ProtocolVersion, QoS,
    SubackCode, TopicFilter, TopicName,
};

use Direction::{ToClient, ToServer};
use ProtocolVersion::{V3_1, V3_1_1};

struct Vector {
    versions: &'static [ProtocolVersion],
    directions: &'static [Direction],
    bytes: &'static [u8],
    packet: OwnedPacket,
}

const ANY: &[ProtocolVersion] = &[V3_1, V3_1_1];
const OLD: &[ProtocolVersion] = &[V3_1];
const NEW: &[ProtocolVersion] = &[V3_1_1];
const BOTH: &[Direction] = &[ToClient, ToServer];
const CLIENT: &[Direction] = &[ToClient];
const SERVER: &[Direction] = &[ToServer];

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn text(text: &'static str) -> MqttString {
    MqttString::from_static(text).unwrap()
}

fn data(data: &'static [u8]) -> OwnedBinaryData {
    data.try_into().unwrap()
}

fn filter(text: &str) -> TopicFilter {
    text.parse().unwrap()
}

fn publish(delivery: Delivery, retain: bool, topic: &str, payload: &'static [u8]) -> OwnedPacket {
    let topic = TopicName::new(topic).unwrap();
    OwnedPacket::Publish(OwnedPublish { delivery, retain, topic, payload: Bytes::from_static(payload) })
}

fn connack(session_present: bool, code: u8) -> OwnedPacket {
    OwnedPacket::Connack(Connack { session_present, code: ConnectReturnCode::from_u8(code) })
}

fn connect(version: ProtocolVersion, client_id: &'static str) -> OwnedConnect {
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

fn credentials(username: &'static str, password: Option<&'static [u8]>) -> Option<OwnedCredentials> {
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

fn vectors() -> Vec<Vector> {
    [connects(), publishes(), requests(), answers(), acks()].into_iter().flatten().collect()
}

/// Calls `check` for each row with each decoder that is to accept it.
fn for_each(check: impl Fn(&Vector, ProtocolVersion, Decoder)) {
    for vector in vectors() {
        for &version in vector.versions {
            for &direction in vector.directions {
                check(&vector, version, Decoder::new(version, direction));
            }
        }
    }
}

#[test]
fn every_packet_type_has_a_row() {
    for packet_type in mqtt_codec::PacketType::ALL {
        let has = |it: &Vector| it.packet.as_packet().unwrap().packet_type() == packet_type;
        assert!(vectors().iter().any(has), "{packet_type}");
    }
}

#[test]
fn encode_writes_these_bytes_and_no_others() {
    for_each(|vector, version, _| {
        let packet = vector.packet.as_packet().unwrap();
        let mut out = BytesMut::from(&b"before"[..]);
        packet.encode(version, &mut out).unwrap();
        assert_eq!(out, [b"before", vector.bytes].concat(), "{packet:?}");
        assert_eq!(packet.encoded_len(version), Ok(vector.bytes.len()), "{packet:?}");
    });
}

#[test]
fn decode_reads_a_whole_packet() {
    for_each(|vector, _, decoder| {
        let packet = vector.packet.as_packet().unwrap();
        assert_eq!(decoder.decode(vector.bytes), Ok(Decoded::Packet(packet, vector.bytes.len())));
    });
}

#[test]
fn decode_waits_for_the_rest_of_a_cut_packet() {
    for_each(|vector, _, decoder| {
        let whole = vector.bytes.len();
        for cut in 0..whole {
            let Ok(Decoded::Incomplete { needed }) = decoder.decode(&vector.bytes[..cut]) else {
                panic!("{:?} cut at {cut}: {:?}", vector.packet, decoder.decode(&vector.bytes[..cut]));
            };
            // All rows have a fixed header of two bytes; once it is there the whole length is known.
            let expected = if cut < 2 { cut + 1 } else { whole };
            assert_eq!(needed, expected, "{:?} cut at {cut}", vector.packet);
        }
    });
}

#[test]
fn decode_leaves_what_follows() {
    for_each(|vector, _, decoder| {
        let packet = vector.packet.as_packet().unwrap();
        for trailing in [&b"\0"[..], b"\xff\xff\xff\xff\xff\xff", vector.bytes] {
            let input = [vector.bytes, trailing].concat();
            assert_eq!(decoder.decode(&input), Ok(Decoded::Packet(packet, vector.bytes.len())));
        }
    });
}

#[test]
fn an_owned_packet_is_the_packet_and_shares_the_frame() {
    for_each(|vector, _, decoder| {
        let frame = Bytes::from_static(vector.bytes);
        let Ok(Decoded::Packet(packet, _)) = decoder.decode(&frame) else { panic!("{:?}", vector.packet) };
        let owned = OwnedPacket::from_slice_of(&frame, packet);
        assert_eq!(owned, vector.packet);
        assert_eq!(owned.as_packet(), Ok(packet));
        if let OwnedPacket::Publish(publish) = &owned {
            let inside = frame.as_ptr_range();
            assert!(inside.contains(&publish.topic.as_bytes().as_ptr()));
            assert!(publish.payload.is_empty() || inside.contains(&publish.payload.as_ptr()));
        }
    });
}

/// What older peers write, or what may be written in more than one way.
#[test]
fn decode_accepts_what_is_never_written_here() {
    let long = |bytes: &'static [u8], version, direction, packet: OwnedPacket| {
        let decoded = Decoder::new(version, direction).decode(bytes);
        assert_eq!(decoded, Ok(Decoded::Packet(packet.as_packet().unwrap(), bytes.len())), "{bytes:x?}");
    };
    let on_old = |flags: u8, rest: &[u8]| -> &'static [u8] {
        let body = [b"\0\x06MQIsdp\x03", &[flags][..], b"\0\x3c\0\x01c", rest].concat();
        [&[0x10, body.len() as u8][..], &body].concat().leak()
    };
    // The remaining length may take more bytes than it needs, up to four.
    long(b"\xd0\x80\0", V3_1_1, ToClient, OwnedPacket::Pingresp);
    long(b"\x40\x82\x80\x80\0\0\x01", V3_1_1, ToClient, OwnedPacket::Puback(id(1)));
    // MQTT 3.1: the first byte of CONNACK is reserved.
    long(b"\x20\x02\xff\0", V3_1, ToClient, connack(false, 0));
    long(b"\x20\x02\x01\x05", V3_1, ToClient, connack(false, 5));
    // MQTT 3.1: Will QoS and Will Retain are disregarded without a will.
    long(on_old(0x3a, b""), V3_1, ToServer, OwnedPacket::Connect(connect(V3_1, "c")));
    // MQTT 3.1: the remaining length takes precedence over the flags of user name and password.
    long(on_old(0xc2, b""), V3_1, ToServer, OwnedPacket::Connect(connect(V3_1, "c")));
    let without_password = OwnedConnect { credentials: credentials("me", None), ..connect(V3_1, "c") };
    long(on_old(0xc2, b"\0\x02me"), V3_1, ToServer, OwnedPacket::Connect(without_password));
}

#[test]
fn encode_leaves_out_what_the_version_does_not_have() {
    let check = |version, packet: OwnedPacket, expected: &[u8]| {
        let mut out = BytesMut::new();
        packet.as_packet().unwrap().encode(version, &mut out).unwrap();
        assert_eq!(out, expected, "{packet:?}");
    };
    let filters = vec![(filter("a"), QoS::AtMostOnce)];
    check(V3_1_1, OwnedPacket::Pubrel { id: id(1), dup: true }, b"\x62\x02\0\x01");
    check(V3_1_1, OwnedPacket::Subscribe { id: id(1), dup: true, filters }, b"\x82\x06\0\x01\0\x01a\0");
    let filters = vec![filter("a")];
    check(V3_1_1, OwnedPacket::Unsubscribe { id: id(1), dup: true, filters }, b"\xa2\x05\0\x01\0\x01a");
    check(V3_1, connack(true, 0), b"\x20\x02\0\0");
    check(V3_1_1, connack(true, 5), b"\x20\x02\0\x05");
    let codes = vec![SubackCode::Failure, SubackCode::Granted(QoS::AtLeastOnce)];
    check(V3_1, OwnedPacket::Suback { id: id(1), codes }, b"\x90\x04\0\x01\0\x01");
}
