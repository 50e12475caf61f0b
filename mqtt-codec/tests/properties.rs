//! Properties of arbitrary packets and arbitrary bytes.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Decoder, Delivery, Direction, MqttString, OwnedBinaryData,
    OwnedConnect, OwnedCredentials, OwnedPacket, OwnedPublish, OwnedWill, PacketId, ProtocolVersion, QoS,
    SubackCode, TopicFilter, TopicFilterRef, TopicName, TopicNameRef,
};
use proptest::{collection::vec, option, prelude::*};

fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop_oneof![Just(ProtocolVersion::V3_1), Just(ProtocolVersion::V3_1_1)]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::ToClient), Just(Direction::ToServer)]
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|qos| QoS::try_from(qos).unwrap())
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn name() -> impl Strategy<Value = TopicName> {
    "[^\0+#]{1,40}".prop_map(|text| text.parse().unwrap())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![2 => "[^\0+#/]{0,8}", 1 => Just(String::from("+"))];
    (vec(level, 0..6), prop_oneof![Just("a"), Just("#"), Just("+")])
        .prop_map(|(levels, last)| [&levels.join("/"), "/", last].concat().parse().unwrap())
}

fn string() -> impl Strategy<Value = MqttString> {
    "[^\0]{0,30}".prop_map(|text| text.try_into().unwrap())
}

fn data() -> impl Strategy<Value = OwnedBinaryData> {
    vec(any::<u8>(), 0..40).prop_map(|data| data.try_into().unwrap())
}

fn publish() -> impl Strategy<Value = OwnedPacket> {
    let delivery = prop_oneof![
        Just(Delivery::AtMostOnce),
        (id(), any::<bool>()).prop_map(|(id, dup)| Delivery::AtLeastOnce { id, dup }),
        (id(), any::<bool>()).prop_map(|(id, dup)| Delivery::ExactlyOnce { id, dup }),
    ];
    // Lengths on both sides of the steps at which the remaining length takes another byte.
    let payload = prop_oneof![0..200_usize, 16_000..17_000_usize, Just(2_097_152_usize)];
    (delivery, any::<bool>(), name(), payload, any::<u8>()).prop_map(
        |(delivery, retain, topic, len, fill)| {
            OwnedPacket::Publish(OwnedPublish { delivery, retain, topic, payload: vec![fill; len].into() })
        },
    )
}

fn connect() -> impl Strategy<Value = OwnedPacket> {
    let will = (name(), data(), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| OwnedWill {
        topic,
        payload,
        qos,
        retain,
    });
    let credentials = (string(), option::of(data()))
        .prop_map(|(username, password)| OwnedCredentials { username, password });
    let client_id = "[^\0]{1,23}".prop_map(|text| text.try_into().unwrap());
    (version(), any::<bool>(), any::<u16>(), client_id, option::of(will), option::of(credentials)).prop_map(
        |(version, clean_session, keep_alive, client_id, will, credentials)| {
            OwnedPacket::Connect(OwnedConnect {
                version,
                clean_session,
                keep_alive,
                client_id,
                will,
                credentials,
            })
        },
    )
}

/// Packets as `version` has them.
fn packet(version: ProtocolVersion) -> impl Strategy<Value = OwnedPacket> {
    let old = version == ProtocolVersion::V3_1;
    let code = (0..if old { 3_u8 } else { 4 })
        .prop_map(|code| QoS::try_from(code).map_or(SubackCode::Failure, SubackCode::Granted));
    let connack = (any::<bool>(), any::<u8>()).prop_map(move |(session_present, code)| {
        let code = ConnectReturnCode::from_u8(code);
        let session_present = session_present && !old && code.is_accepted();
        OwnedPacket::Connack(Connack { session_present, code })
    });
    prop_oneof![
        connect(),
        connack,
        publish(),
        id().prop_map(OwnedPacket::Puback),
        id().prop_map(OwnedPacket::Pubrec),
        (id(), any::<bool>()).prop_map(move |(id, dup)| OwnedPacket::Pubrel { id, dup: dup && old }),
        id().prop_map(OwnedPacket::Pubcomp),
        (id(), any::<bool>(), vec((filter(), qos()), 1..5))
            .prop_map(move |(id, dup, filters)| { OwnedPacket::Subscribe { id, dup: dup && old, filters } }),
        (id(), vec(code, 1..200)).prop_map(|(id, codes)| OwnedPacket::Suback { id, codes }),
        (id(), any::<bool>(), vec(filter(), 1..5)).prop_map(move |(id, dup, filters)| {
            OwnedPacket::Unsubscribe { id, dup: dup && old, filters }
        }),
        id().prop_map(OwnedPacket::Unsuback),
        Just(OwnedPacket::Pingreq),
        Just(OwnedPacket::Pingresp),
        Just(OwnedPacket::Disconnect),
    ]
}

fn versioned_packet() -> impl Strategy<Value = (ProtocolVersion, OwnedPacket)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

/// Section 4.7 as one would write it down, recursion and all.
fn naive_matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        ([level, filter @ ..], [topic_level, topic @ ..]) => {
            (*level == "+" || level == topic_level) && naive_matches(filter, topic)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded((version, packet) in versioned_packet()) {
        let lent = packet.as_packet().unwrap();
        let mut frame = BytesMut::new();
        lent.encode(version, &mut frame).unwrap();
        prop_assert_eq!(Ok(frame.len()), lent.encoded_len(version));
        let frame = frame.freeze();
        let mut accepted = 0;
        for direction in [Direction::ToClient, Direction::ToServer] {
            if !lent.packet_type().travels(direction) {
                continue;
            }
            accepted += 1;
            let decoded = Decoder::new(version, direction).decode(&frame);
            prop_assert_eq!(decoded, Ok(Decoded::Packet(lent, frame.len())));
            let Ok(Decoded::Packet(decoded, _)) = decoded else { unreachable!() };
            prop_assert_eq!(&OwnedPacket::from_slice_of(&frame, decoded), &packet);
            let followed = frame.repeat(3);
            let decoded = Decoder::new(version, direction).decode(&followed);
            prop_assert_eq!(decoded, Ok(Decoded::Packet(lent, frame.len())));
        }
        prop_assert!(accepted > 0);
    }

    #[test]
    fn a_publish_without_its_payload_is_the_beginning_of_the_whole(packet in publish()) {
        let OwnedPacket::Publish(publish) = &packet else { unreachable!() };
        let (mut whole, mut head) = (BytesMut::new(), BytesMut::new());
        publish.as_ref().encode(&mut whole).unwrap();
        publish.as_ref().encode_header(&mut head).unwrap();
        head.extend_from_slice(&publish.payload);
        prop_assert_eq!(head, whole);
    }

    /// Whatever decodes is a packet that encodes, and decodes to itself again.
    #[test]
    fn no_bytes_panic(
        version in version(),
        direction in direction(),
        first in any::<u8>(),
        rest in vec(prop_oneof![any::<u8>(), 0..8_u8, Just(b'/')], 0..40),
        max in prop_oneof![Just(usize::MAX), 0..20_usize],
    ) {
        let input = [&[first, rest.len() as u8][..], &rest].concat();
        for input in [&input, &rest] {
            let decoder = Decoder::new(version, direction).max_packet_size(max);
            match decoder.decode(input) {
                Ok(Decoded::Packet(packet, len)) => {
                    prop_assert!(len <= input.len() && len <= max);
                    let version = if let mqtt_codec::Packet::Connect(it) = packet { it.version } else { version };
                    let mut out = BytesMut::new();
                    packet.encode(version, &mut out).unwrap();
                    prop_assert_eq!(decoder.decode(&out), Ok(Decoded::Packet(packet, out.len())));
                    let frame = Bytes::copy_from_slice(input);
                    let owned = OwnedPacket::from_slice_of(&frame, packet);
                    prop_assert_eq!(owned.as_packet(), Ok(packet));
                }
                Ok(Decoded::Incomplete { needed }) => prop_assert!(needed > input.len()),
                Ok(Decoded::Oversize(oversize)) => {
                    prop_assert!(oversize.len > max);
                    let _ = oversize.publish_head(input);
                }
                Err(error) => {
                    let rule = format!("[{}]", error.requirement());
                    prop_assert!(error.to_string().ends_with(&rule));
                }
            }
        }
    }

    #[test]
    fn the_matcher_is_the_naive_one(
        filter in vec(prop_oneof![Just("a"), Just("b"), Just(""), Just("$x"), Just("+")], 1..5),
        hash in any::<bool>(),
        topic in vec(prop_oneof![Just("a"), Just("b"), Just(""), Just("$x")], 1..5),
    ) {
        let mut filter = filter;
        if hash {
            filter.push("#");
        }
        let (pattern, text) = (filter.join("/"), topic.join("/"));
        prop_assume!(!pattern.is_empty() && !text.is_empty());
        let leading_wildcard = pattern.starts_with(['+', '#']);
        let expected = naive_matches(&filter, &topic) && !(leading_wildcard && text.starts_with('$'));
        let matches = TopicFilterRef::new(&pattern).unwrap().matches(TopicNameRef::new(&text).unwrap());
        prop_assert_eq!(matches, expected, "{} against {}", pattern, text);
    }

    /// The word-at-a-time check agrees with the plain reading of sections 1.5.3 and 4.7.
    #[test]
    fn the_check_of_names_is_the_naive_one(
        bytes in vec(prop_oneof![8 => 1..0x80_u8, 1 => any::<u8>(), 1 => Just(0xc3), 1 => Just(0xa4)], 0..40),
    ) {
        let expected = core::str::from_utf8(&bytes)
            .is_ok_and(|text| !text.is_empty() && !text.contains(['\0', '+', '#']));
        prop_assert_eq!(TopicNameRef::from_bytes(&bytes).is_ok(), expected);
    }
}
