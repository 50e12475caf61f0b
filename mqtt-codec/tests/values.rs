//! The small values: what can be built, what cannot, and what they show of themselves.

use bytes::BytesMut;
use mqtt_codec::{
    BinaryData, BinaryDataTooLong, ClientIdError, Connect, ConnectReturnCode, Credentials, Decoded, Decoder,
    Delivery, Direction, ListError, MAX_REMAINING_LENGTH, MqttStr, MqttString, OwnedConnect, OwnedPacket,
    OwnedPublish, Packet, PacketId, PacketTooLarge, PacketType, ProtocolVersion, Publish, QoS, StringError,
    SubackCodes, SubscribeFilters, TopicFilter, TopicNameRef, UnsubscribeFilters, Will,
};

fn publish(payload: &[u8]) -> Publish<'_> {
    let topic = TopicNameRef::new("a/b").unwrap();
    Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload }
}

fn connect() -> Connect<'static> {
    let secret = BinaryData::new(b"swordfish").unwrap();
    let topic = TopicNameRef::new("w").unwrap();
    Connect {
        version: ProtocolVersion::V3_1_1,
        clean_session: true,
        keep_alive: 60,
        client_id: MqttStr::new("plant-7").unwrap(),
        will: Some(Will { topic, payload: secret, qos: QoS::AtMostOnce, retain: false }),
        credentials: Some(Credentials { username: MqttStr::new("me").unwrap(), password: Some(secret) }),
    }
}

#[test]
fn packet_ids_are_never_zero_and_follow_each_other() {
    assert_eq!(PacketId::new(0), None);
    assert!(PacketId::try_from(0).is_err());
    assert_eq!((PacketId::MIN.get(), PacketId::MAX.get()), (1, 65_535));
    assert_eq!(PacketId::MIN.next().get(), 2);
    assert_eq!(PacketId::MAX.next(), PacketId::MIN);
    assert_eq!(PacketId::MAX.to_string(), "65535");
}

#[test]
fn qos_is_its_level() {
    for (level, qos) in [(0, QoS::AtMostOnce), (1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        assert_eq!((QoS::try_from(level), qos as u8), (Ok(qos), level));
    }
    assert!(QoS::try_from(3).is_err());
    assert!(QoS::AtMostOnce < QoS::AtLeastOnce && QoS::AtLeastOnce < QoS::ExactlyOnce);
}

#[test]
fn packet_types_have_the_numbers_and_directions_of_table_2_1() {
    for (number, packet_type) in (1..).zip(PacketType::ALL) {
        assert_eq!(packet_type as u8, number);
    }
    let count = |direction| PacketType::ALL.iter().filter(|it| it.travels(direction)).count();
    assert_eq!((count(Direction::ToClient), count(Direction::ToServer)), (9, 10));
    assert_eq!(format!("{:>8}", PacketType::Puback), "  PUBACK");
}

#[test]
fn return_codes_go_both_ways() {
    for code in 0..=255 {
        assert_eq!(ConnectReturnCode::from_u8(code).as_u8(), code);
        assert_eq!(matches!(ConnectReturnCode::from_u8(code), ConnectReturnCode::Other(_)), code > 5);
    }
}

#[test]
fn strings_and_binary_data_are_checked() {
    assert_eq!(MqttStr::new("a\0"), Err(StringError::Nul));
    assert!(MqttStr::new(&"x".repeat(65_535)).is_ok());
    assert_eq!(MqttStr::new(&"x".repeat(65_536)), Err(StringError::TooLong));
    assert_eq!(MqttString::try_from("x".repeat(65_536)), Err(StringError::TooLong));
    assert_eq!(MqttString::try_from(bytes::Bytes::from_static(b"\xff")), Err(StringError::NotUtf8));
    assert_eq!(MqttString::from_static("ä").unwrap().as_str(), "ä");
    assert!(BinaryData::new(&[0; 65_535]).is_ok());
    assert_eq!(BinaryData::new(&[0; 65_536]), Err(BinaryDataTooLong { len: 65_536 }));
}

#[test]
fn client_ids_are_checked_by_version() {
    let check = |version, clean_session, client_id| {
        Connect { version, clean_session, client_id: MqttStr::new(client_id).unwrap(), ..connect() }.check()
    };
    let long = "x".repeat(24);
    assert_eq!(check(ProtocolVersion::V3_1_1, true, ""), Ok(()));
    assert_eq!(check(ProtocolVersion::V3_1_1, false, ""), Err(ClientIdError::EmptyWithoutCleanSession));
    assert_eq!(check(ProtocolVersion::V3_1_1, false, &long), Ok(()));
    assert_eq!(check(ProtocolVersion::V3_1, true, ""), Err(ClientIdError::Length));
    assert_eq!(check(ProtocolVersion::V3_1, true, &long), Err(ClientIdError::Length));
    assert_eq!(check(ProtocolVersion::V3_1, true, &"ä".repeat(23)), Ok(()));
}

#[test]
fn lists_are_neither_empty_nor_too_large() {
    assert_eq!(SubscribeFilters::new(&[]), Err(ListError::Empty));
    assert_eq!(UnsubscribeFilters::new(&[]), Err(ListError::Empty));
    assert_eq!(SubackCodes::new(&[]), Err(ListError::Empty));
    let empty = OwnedPacket::Suback { id: PacketId::MIN, codes: Vec::new() };
    assert_eq!(empty.as_packet(), Err(ListError::Empty));

    // 4096 filters of 65 535 bytes: each shares the text, the packet would not.
    let filter = TopicFilter::new("x".repeat(65_535)).unwrap();
    let filters = vec![filter.clone(); 4096];
    let too_large = |len| Some(ListError::TooLarge(PacketTooLarge { len }));
    assert_eq!(UnsubscribeFilters::new(&filters).err(), too_large(2 + 4096 * 65_537));
    assert!(UnsubscribeFilters::new(&filters[1..]).is_ok());
    let filters = vec![(filter, QoS::AtMostOnce); 4096];
    assert_eq!(SubscribeFilters::new(&filters).err(), too_large(2 + 4096 * 65_538));
}

#[test]
fn the_remaining_length_takes_as_few_bytes_as_it_can() {
    // The topic takes five bytes of the remaining length.
    let rows: &[(usize, &[u8])] = &[
        (127, b"\x30\x7f"),
        (128, b"\x30\x80\x01"),
        (16_383, b"\x30\xff\x7f"),
        (16_384, b"\x30\x80\x80\x01"),
        (2_097_151, b"\x30\xff\xff\x7f"),
        (2_097_152, b"\x30\x80\x80\x80\x01"),
        (MAX_REMAINING_LENGTH, b"\x30\xff\xff\xff\x7f"),
    ];
    let payload = vec![0; MAX_REMAINING_LENGTH];
    for &(remaining, header) in rows {
        let publish = publish(&payload[..remaining - 5]);
        let mut out = BytesMut::new();
        publish.encode_header(&mut out).unwrap();
        assert_eq!(out, [header, b"\0\x03a/b"].concat());
        assert_eq!(publish.encoded_len(), Ok(header.len() + remaining));
        let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
        assert_eq!(decoder.decode(&out), Ok(Decoded::Incomplete { needed: header.len() + remaining }));
    }
    let too_large = Err(PacketTooLarge { len: MAX_REMAINING_LENGTH + 1 });
    let mut out = BytesMut::new();
    let publish = publish(&payload[..MAX_REMAINING_LENGTH - 4]);
    assert_eq!(publish.encode(&mut out), too_large);
    assert_eq!(publish.encode_header(&mut out), too_large);
    assert_eq!(Packet::Publish(publish).encode(ProtocolVersion::V3_1_1, &mut out), too_large);
    assert!(out.is_empty());
}

/// The scenario password-in-debug.
#[test]
fn debug_shows_neither_passwords_nor_payloads() {
    let nothing = bytes::Bytes::new();
    let texts = [
        format!("{:?}", connect()),
        format!("{:#?}", Packet::Connect(connect())),
        format!("{:?}", OwnedConnect::from_slice_of(&nothing, connect())),
        format!("{:?}", publish(b"swordfish")),
        format!("{:?}", OwnedPublish::from_slice_of(&nothing, publish(b"swordfish"))),
    ];
    for text in texts {
        let bytes = format!("{:?}", b"swordfish");
        assert!(!text.contains("swordfish") && !text.contains(bytes.trim_matches(['[', ']'])), "{text}");
        assert!(!text.contains("115"), "{text}");
    }
}
