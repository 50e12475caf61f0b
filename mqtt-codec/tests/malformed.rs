//! Bytes that break a rule, and the error that names it: at least one row for each rule.

use mqtt_codec::{
    ClientIdError, ConnectReturnCode, DecodeError, Decoded, Decoder, Direction, PacketType, ProtocolVersion,
    StringError, TopicError,
};

use DecodeError as E;
use Direction::{ToClient, ToServer};
use PacketType as T;
use ProtocolVersion::{V3_1, V3_1_1};

type Row = (ProtocolVersion, Direction, &'static [u8], DecodeError, &'static str);

/// What the first byte alone shows.
const FIRST_BYTE: &[Row] = &[
    (V3_1_1, ToClient, b"\x00", E::ReservedPacketType(0), "MQTT-2.2.1"),
    (V3_1_1, ToServer, b"\xf0", E::ReservedPacketType(15), "MQTT-2.2.1"),
    (V3_1_1, ToClient, b"\x10", E::WrongDirection(T::Connect), "MQTT-2.2.1"),
    (V3_1_1, ToServer, b"\x20", E::WrongDirection(T::Connack), "MQTT-2.2.1"),
    (V3_1_1, ToClient, b"\x82", E::WrongDirection(T::Subscribe), "MQTT-2.2.1"),
    (V3_1_1, ToServer, b"\x90", E::WrongDirection(T::Suback), "MQTT-2.2.1"),
    (V3_1_1, ToClient, b"\xa2", E::WrongDirection(T::Unsubscribe), "MQTT-2.2.1"),
    (V3_1_1, ToServer, b"\xb0", E::WrongDirection(T::Unsuback), "MQTT-2.2.1"),
    (V3_1_1, ToClient, b"\xc0", E::WrongDirection(T::Pingreq), "MQTT-2.2.1"),
    (V3_1_1, ToServer, b"\xd0", E::WrongDirection(T::Pingresp), "MQTT-2.2.1"),
    (V3_1_1, ToClient, b"\xe0", E::WrongDirection(T::Disconnect), "MQTT-2.2.1"),
    (V3_1_1, ToServer, b"\x11", E::InvalidFlags(T::Connect), "MQTT-2.2.2-2"),
    (V3_1_1, ToClient, b"\x22", E::InvalidFlags(T::Connack), "MQTT-2.2.2-2"),
    (V3_1_1, ToClient, b"\x42", E::InvalidFlags(T::Puback), "MQTT-2.2.2-2"),
    (V3_1_1, ToClient, b"\x58", E::InvalidFlags(T::Pubrec), "MQTT-2.2.2-2"),
    (V3_1_1, ToClient, b"\x60", E::InvalidFlags(T::Pubrel), "MQTT-3.6.1-1"),
    (V3_1_1, ToClient, b"\x6a", E::InvalidFlags(T::Pubrel), "MQTT-3.6.1-1"),
    (V3_1, ToClient, b"\x63", E::InvalidFlags(T::Pubrel), "MQTT-3.6.1-1"),
    (V3_1, ToClient, b"\x68", E::InvalidFlags(T::Pubrel), "MQTT-3.6.1-1"),
    (V3_1_1, ToClient, b"\x71", E::InvalidFlags(T::Pubcomp), "MQTT-2.2.2-2"),
    (V3_1_1, ToServer, b"\x80", E::InvalidFlags(T::Subscribe), "MQTT-3.8.1-1"),
    (V3_1_1, ToServer, b"\x8a", E::InvalidFlags(T::Subscribe), "MQTT-3.8.1-1"),
    (V3_1_1, ToClient, b"\x92", E::InvalidFlags(T::Suback), "MQTT-2.2.2-2"),
    (V3_1_1, ToServer, b"\xa6", E::InvalidFlags(T::Unsubscribe), "MQTT-3.10.1-1"),
    (V3_1_1, ToServer, b"\xaa", E::InvalidFlags(T::Unsubscribe), "MQTT-3.10.1-1"),
    (V3_1_1, ToClient, b"\xb2", E::InvalidFlags(T::Unsuback), "MQTT-2.2.2-2"),
    (V3_1_1, ToServer, b"\xc1", E::InvalidFlags(T::Pingreq), "MQTT-2.2.2-2"),
    (V3_1_1, ToClient, b"\xd1", E::InvalidFlags(T::Pingresp), "MQTT-2.2.2-2"),
    (V3_1_1, ToServer, b"\xe8", E::InvalidFlags(T::Disconnect), "MQTT-2.2.2-2"),
    (V3_1_1, ToClient, b"\x36", E::PublishQos3, "MQTT-3.3.1-4"),
    (V3_1, ToServer, b"\x3f", E::PublishQos3, "MQTT-3.3.1-4"),
    (V3_1_1, ToClient, b"\x38", E::DupWithQos0, "MQTT-3.3.1-2"),
    (V3_1, ToClient, b"\x39", E::DupWithQos0, "MQTT-3.3.1-2"),
];

/// What the fixed header shows, before anything behind it has come.
const FIXED_HEADER: &[Row] = &[
    (V3_1_1, ToClient, b"\x30\x80\x80\x80\x80", E::RemainingLengthTooLong, "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x40\xff\xff\xff\xff", E::RemainingLengthTooLong, "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x20\x03", E::WrongRemainingLength(T::Connack), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x20\x01", E::WrongRemainingLength(T::Connack), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x40\x00", E::WrongRemainingLength(T::Puback), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x50\x03", E::WrongRemainingLength(T::Pubrec), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x62\x04", E::WrongRemainingLength(T::Pubrel), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x70\x82\x01", E::WrongRemainingLength(T::Pubcomp), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\xb0\x03", E::WrongRemainingLength(T::Unsuback), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\xc0\x01", E::WrongRemainingLength(T::Pingreq), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\xd0\x80\x01", E::WrongRemainingLength(T::Pingresp), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\xe0\x02", E::WrongRemainingLength(T::Disconnect), "MQTT-2.2.3"),
];

const CONNECT: &[Row] = &[
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQtt\x04\x02\0\0\0\0", E::ProtocolName, "MQTT-3.1.2-1"),
    (V3_1_1, ToServer, b"\x10\x08\0\0\x04\x02\0\0\0\0", E::ProtocolName, "MQTT-3.1.2-1"),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x05\x02\0\0\0\0", E::ProtocolLevel(5), "MQTT-3.1.2-2"),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x03\x02\0\0\0\0", E::ProtocolLevel(3), "MQTT-3.1.2-2"),
    (V3_1_1, ToServer, b"\x10\x0f\0\x06MQIsdp\x04\x02\0\0\0\x01a", E::ProtocolLevel(4), "MQTT-3.1.2-2"),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x04\x03\0\0\0\0", E::ReservedConnectFlag, "MQTT-3.1.2-3"),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x04\x0a\0\0\0\0", E::WillQosWithoutWill, "MQTT-3.1.2-13"),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x04\x22\0\0\0\0", E::WillRetainWithoutWill, "MQTT-3.1.2-15"),
    (V3_1_1, ToServer, b"\x10\x11\0\x04MQTT\x04\x1e\0\0\0\0\0\x01w\0\0", E::WillQos3, "MQTT-3.1.2-14"),
    (
        V3_1_1,
        ToServer,
        b"\x10\x0e\0\x04MQTT\x04\x42\0\0\0\0\0\0",
        E::PasswordWithoutUserName,
        "MQTT-3.1.2-22",
    ),
    (V3_1, ToServer, b"\x10\x0f\0\x06MQIsdp\x03\x42\0\0\0\x01a", E::PasswordWithoutUserName, "MQTT-3.1.2-22"),
    (
        V3_1_1,
        ToServer,
        b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0",
        E::ClientId(ClientIdError::EmptyWithoutCleanSession),
        "MQTT-3.1.3-7",
    ),
    (
        V3_1,
        ToServer,
        b"\x10\x0e\0\x06MQIsdp\x03\x02\0\0\0\0",
        E::ClientId(ClientIdError::Length),
        "MQTT-V3.1-3.1",
    ),
    (
        V3_1,
        ToServer,
        b"\x10\x26\0\x06MQIsdp\x03\x02\0\0\0\x18123456789012345678901234",
        E::ClientId(ClientIdError::Length),
        "MQTT-V3.1-3.1",
    ),
    (
        V3_1_1,
        ToServer,
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01\xff",
        E::String(StringError::NotUtf8),
        "MQTT-1.5.3-1",
    ),
    (
        V3_1_1,
        ToServer,
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01\0",
        E::String(StringError::Nul),
        "MQTT-1.5.3-2",
    ),
    (
        V3_1_1,
        ToServer,
        b"\x10\x10\0\x04MQTT\x04\x06\0\0\0\0\0\0\0\0",
        E::Topic(TopicError::Empty),
        "MQTT-4.7.3-1",
    ),
    (
        V3_1_1,
        ToServer,
        b"\x10\x11\0\x04MQTT\x04\x06\0\0\0\0\0\x01#\0\0",
        E::Topic(TopicError::WildcardInName),
        "MQTT-4.7.1-1",
    ),
    (
        V3_1_1,
        ToServer,
        b"\x10\x0f\0\x04MQTT\x04\x82\0\0\0\0\0\x01\0",
        E::String(StringError::Nul),
        "MQTT-1.5.3-2",
    ),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x04\x82\0\0\0\0", E::Truncated(T::Connect), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x10\x0e\0\x04MQTT\x04\xc2\0\0\0\0\0\0", E::Truncated(T::Connect), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\x01", E::Truncated(T::Connect), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x10\x00", E::Truncated(T::Connect), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\0!", E::TrailingBytes(T::Connect), "MQTT-2.2.3"),
];

const PUBLISH: &[Row] = &[
    (V3_1_1, ToClient, b"\x30\x00", E::Truncated(T::Publish), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x30\x01\0", E::Truncated(T::Publish), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x30\x04\0\x03ab", E::Truncated(T::Publish), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x32\x04\0\x01a\0", E::Truncated(T::Publish), "MQTT-2.2.3"),
    (V3_1_1, ToClient, b"\x32\x05\0\x01a\0\0", E::ZeroPacketId(T::Publish), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\x34\x05\0\x01a\0\0", E::ZeroPacketId(T::Publish), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\x30\x03\0\0a", E::Topic(TopicError::Empty), "MQTT-4.7.3-1"),
    (V3_1_1, ToClient, b"\x30\x05\0\x03a/+", E::Topic(TopicError::WildcardInName), "MQTT-4.7.1-1"),
    (V3_1_1, ToClient, b"\x30\x05\0\x03a#b", E::Topic(TopicError::WildcardInName), "MQTT-4.7.1-1"),
    (V3_1_1, ToClient, b"\x30\x05\0\x03a\0b", E::Topic(TopicError::Nul), "MQTT-4.7.3-2"),
    (V3_1_1, ToClient, b"\x30\x05\0\x03a\xc3b", E::Topic(TopicError::NotUtf8), "MQTT-1.5.3-1"),
    // A surrogate, an overlong NUL as MQTT 3.1's Java ancestors wrote it, and more than Unicode has.
    (V3_1_1, ToClient, b"\x30\x05\0\x03\xed\xa0\x80", E::Topic(TopicError::NotUtf8), "MQTT-1.5.3-1"),
    (V3_1, ToClient, b"\x30\x04\0\x02\xc0\x80", E::Topic(TopicError::NotUtf8), "MQTT-1.5.3-1"),
    (V3_1_1, ToClient, b"\x30\x06\0\x04\xf4\x90\x80\x80", E::Topic(TopicError::NotUtf8), "MQTT-1.5.3-1"),
];

const OTHERS: &[Row] = &[
    (V3_1_1, ToClient, b"\x20\x02\x02\0", E::ReservedConnackFlag, "MQTT-3.2.2"),
    (V3_1_1, ToClient, b"\x20\x02\x80\0", E::ReservedConnackFlag, "MQTT-3.2.2"),
    (V3_1_1, ToClient, b"\x20\x02\x01\x01", E::SessionPresentOnRefusal, "MQTT-3.2.2-4"),
    (V3_1_1, ToClient, b"\x20\x02\x01\x06", E::SessionPresentOnRefusal, "MQTT-3.2.2-4"),
    (V3_1_1, ToClient, b"\x40\x02\0\0", E::ZeroPacketId(T::Puback), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\x50\x02\0\0", E::ZeroPacketId(T::Pubrec), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\x62\x02\0\0", E::ZeroPacketId(T::Pubrel), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\x70\x02\0\0", E::ZeroPacketId(T::Pubcomp), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\xb0\x02\0\0", E::ZeroPacketId(T::Unsuback), "MQTT-2.3.1-1"),
    (V3_1_1, ToServer, b"\x82\x06\0\0\0\x01a\0", E::ZeroPacketId(T::Subscribe), "MQTT-2.3.1-1"),
    (V3_1_1, ToServer, b"\x82\x02\0\x01", E::EmptyPayload(T::Subscribe), "MQTT-3.8.3-3"),
    (V3_1_1, ToServer, b"\x82\x01\0", E::Truncated(T::Subscribe), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x82\x05\0\x01\0\x01a", E::Truncated(T::Subscribe), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x82\x07\0\x01\0\x01a\0\0", E::Truncated(T::Subscribe), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\x82\x06\0\x01\0\x01a\x03", E::RequestedQos(3), "MQTT-3.8.3-4"),
    (V3_1, ToServer, b"\x82\x06\0\x01\0\x01a\x04", E::RequestedQos(4), "MQTT-3.8.3-4"),
    (V3_1_1, ToServer, b"\x82\x06\0\x01\0\x01a\x80", E::RequestedQos(128), "MQTT-3.8.3-4"),
    (V3_1_1, ToServer, b"\x82\x05\0\x01\0\0\0", E::Topic(TopicError::Empty), "MQTT-4.7.3-1"),
    (
        V3_1_1,
        ToServer,
        b"\x82\x07\0\x01\0\x02a#\0",
        E::Topic(TopicError::MisplacedMultiLevel),
        "MQTT-4.7.1-2",
    ),
    (
        V3_1_1,
        ToServer,
        b"\x82\x07\0\x01\0\x02a+\0",
        E::Topic(TopicError::MisplacedSingleLevel),
        "MQTT-4.7.1-3",
    ),
    (V3_1_1, ToServer, b"\xa2\x02\0\x01", E::EmptyPayload(T::Unsubscribe), "MQTT-3.10.3-2"),
    (V3_1_1, ToServer, b"\xa2\x05\0\0\0\x01a", E::ZeroPacketId(T::Unsubscribe), "MQTT-2.3.1-1"),
    (V3_1_1, ToServer, b"\xa2\x06\0\x01\0\x01a\0", E::Truncated(T::Unsubscribe), "MQTT-2.2.3"),
    (V3_1_1, ToServer, b"\xa2\x05\0\x01\0\x01\0", E::Topic(TopicError::Nul), "MQTT-4.7.3-2"),
    (V3_1_1, ToClient, b"\x90\x02\0\x01", E::EmptyPayload(T::Suback), "MQTT-3.8.4-5"),
    (V3_1_1, ToClient, b"\x90\x03\0\0\0", E::ZeroPacketId(T::Suback), "MQTT-2.3.1-1"),
    (V3_1_1, ToClient, b"\x90\x04\0\x01\0\x03", E::ReservedSubackCode(3), "MQTT-3.9.3-2"),
    (V3_1_1, ToClient, b"\x90\x03\0\x01\x81", E::ReservedSubackCode(0x81), "MQTT-3.9.3-2"),
    (V3_1, ToClient, b"\x90\x03\0\x01\x80", E::ReservedSubackCode(0x80), "MQTT-3.9.3-2"),
];

fn all() -> impl Iterator<Item = &'static Row> {
    [FIRST_BYTE, FIXED_HEADER, CONNECT, PUBLISH, OTHERS].into_iter().flatten()
}

#[test]
fn each_is_refused_with_its_rule() {
    for &(version, direction, bytes, error, rule) in all() {
        let decoded = Decoder::new(version, direction).decode(bytes);
        assert_eq!(decoded, Err(error), "{bytes:x?}");
        assert_eq!(error.requirement(), rule, "{error}");
        assert!(error.to_string().ends_with(&format!("[{rule}]")), "{error}");
    }
}

/// Neither what follows nor a cut before the fault makes another error of it.
#[test]
fn no_cut_and_no_neighbour_changes_the_error() {
    for &(version, direction, bytes, error, _) in all() {
        let decoder = Decoder::new(version, direction);
        assert_eq!(decoder.decode(&[bytes, &[0xff; 8]].concat()), Err(error), "{bytes:x?}");
        for cut in 0..bytes.len() {
            match decoder.decode(&bytes[..cut]) {
                Ok(Decoded::Incomplete { needed }) => assert!(needed > cut && needed <= bytes.len()),
                other => assert_eq!(other, Err(error), "{bytes:x?} cut at {cut}"),
            }
        }
    }
}

#[test]
fn an_empty_client_id_may_ask_the_server_for_one_in_3_1_1() {
    let decoder = Decoder::new(V3_1_1, ToServer);
    assert!(matches!(decoder.decode(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0"), Ok(Decoded::Packet(..))));
}

#[test]
fn a_server_knows_which_connects_to_answer() {
    let code = |bytes: &[u8]| Decoder::new(V3_1_1, ToServer).decode(bytes).unwrap_err().connect_return_code();
    let level_5 = code(b"\x10\x0c\0\x04MQTT\x05\x02\0\0\0\0");
    assert_eq!(level_5, Some(ConnectReturnCode::UnacceptableProtocolVersion));
    let empty_id = code(b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0");
    assert_eq!(empty_id, Some(ConnectReturnCode::IdentifierRejected));
    assert_eq!(code(b"\x10\x0c\0\x04MQtt\x04\x02\0\0\0\0"), None);
}
