//! Packets and their bytes, used both ways: each row of the table is encoded, decoded whole, cut at every byte, and
//! with something behind it.

mod table;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{Decoded, Decoder, Direction, OwnedConnect, OwnedPacket, ProtocolVersion, QoS, SubackCode};

use Direction::{ToClient, ToServer};
use ProtocolVersion::{V3_1, V3_1_1};
use table::{Vector, connack, connect, credentials, filter, id, vectors};

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
