//! What may not grow unnoticed: allocations, the size of hot types, the work on a trickled packet.

use std::mem::size_of;

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, DecodeError, Decoded, Decoder, Delivery, Direction, FilterMap, OwnedPublish, Packet, PacketId,
    PacketType, ProtocolVersion, Publish, Subscribe, TopicError, TopicFilter, TopicName, TopicNameRef,
};

const FRAMES: &[(Direction, &[u8])] = &[
    (Direction::ToServer, b"\x10\x1b\0\x04MQTT\x04\xce\0\x3c\0\x01c\0\x01w\0\x01x\0\x02me\0\x02pw"),
    (Direction::ToClient, b"\x20\x02\x01\0"),
    (Direction::ToClient, b"\x30\x07\0\x03a/bhi"),
    (Direction::ToClient, b"\x34\x0a\0\x04a/\xc3\xa4\0\x01hi"),
    (Direction::ToClient, b"\x40\x02\0\x01"),
    (Direction::ToServer, b"\x82\x0c\0\x0a\0\x03a/+\x02\0\x01#\0"),
    (Direction::ToClient, b"\x90\x05\0\x01\0\x01\x80"),
    (Direction::ToServer, b"\xa2\x0a\0\x0a\0\x03a/+\0\x01b"),
    (Direction::ToClient, b"\xd0\0"),
];

#[test]
fn decoding_allocates_nothing() {
    for &(direction, frame) in FRAMES {
        let decoder = Decoder::new(ProtocolVersion::V3_1_1, direction);
        let info = measure(|| {
            let Ok(Decoded::Packet(packet, _)) = decoder.decode(frame) else { panic!("{frame:x?}") };
            match packet {
                Packet::Subscribe(it) => assert_eq!(it.filters.iter().count(), 2),
                Packet::Suback(it) => assert_eq!(it.codes.iter().count(), 3),
                Packet::Unsubscribe(it) => assert_eq!(it.filters.iter().count(), 2),
                _ => {}
            }
        });
        assert_eq!(info.count_total, 0, "{frame:x?}");
    }
}

/// A peer that only declares a length gets no memory for it.
#[test]
fn a_declared_length_allocates_nothing() {
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
    let info = measure(|| {
        let decoded = decoder.decode(b"\x30\xff\xff\xff\x7f\xff\xff");
        assert_eq!(decoded, Ok(Decoded::Incomplete { needed: 268_435_460 }));
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn encoding_into_spare_room_allocates_nothing() {
    let topic = TopicNameRef::new("a/b").unwrap();
    let delivery = Delivery::AtLeastOnce { id: PacketId::MIN, dup: false };
    let publish = Publish { delivery, retain: false, topic, payload: &[7; 1000] };
    let mut out = BytesMut::with_capacity(2048);
    let info = measure(|| {
        publish.encode(&mut out).unwrap();
        Packet::Puback(PacketId::MAX).encode(ProtocolVersion::V3_1_1, &mut out).unwrap();
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn an_owned_publish_shares_the_frame() {
    let frame = Bytes::from(b"\x30\x07\0\x03a/bhi".to_vec());
    // The first clone of a `Bytes` made from a `Vec` allocates its counter.
    let frame = (frame.clone(), frame).0;
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
    let info = measure(|| {
        let Ok(Decoded::Packet(Packet::Publish(publish), _)) = decoder.decode(&frame) else { panic!() };
        drop(OwnedPublish::from_slice_of(&frame, publish));
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn matching_allocates_nothing() {
    let mut map = FilterMap::new();
    for text in ["#", "a/+", "a/b", "+/b/#", "c"] {
        map.insert(text.parse::<TopicFilter>().unwrap(), ());
    }
    let topic: TopicName = "a/b".parse().unwrap();
    let info = measure(|| assert_eq!(map.matches(&topic).count(), 4));
    assert_eq!(info.count_total, 0);
}

/// Memory follows the number of filters down as well as up.
#[test]
fn a_filter_map_gives_memory_back() {
    let filter = |number: u32| format!("plant/{number}/temperature").parse::<TopicFilter>().unwrap();
    let mut map = FilterMap::new();
    let grown = measure(|| (0..10_000).for_each(|number| assert_eq!(map.insert(filter(number), ()), None)));
    let shrunk = measure(|| (1..10_000).for_each(|number| assert!(map.remove(&filter(number)).is_some())));
    assert_eq!(map.len(), 1);
    let kept = grown.bytes_current + shrunk.bytes_current;
    assert!(kept < 8_192, "{kept} bytes of {}", grown.bytes_current);
}

/// Filters that come and go in a map of steady size take the places of those before: all that is allocated is the
/// text of their levels.
#[test]
fn a_filter_map_uses_its_places_again() {
    let steady = (0..100_u8).map(|number| TopicFilter::new(number.to_string()).unwrap());
    let mut map: FilterMap<()> = steady.map(|filter| (filter, ())).collect();
    let coming = TopicFilter::from_static("x/y/z").unwrap();
    let mut come_and_go = || {
        map.insert(&coming, ());
        map.remove(&coming);
    };
    come_and_go();
    let info = measure(|| (0..1_000).for_each(|_| come_and_go()));
    assert_eq!(info.count_total, 3 * 1_000);
}

#[test]
fn hot_types_stay_small() {
    assert_eq!(size_of::<Option<PacketId>>(), 2);
    assert_eq!(size_of::<DecodeError>(), 2);
    assert_eq!(size_of::<Result<(), TopicError>>(), 1);
    assert_eq!(size_of::<Delivery>(), 4);
    assert_eq!(size_of::<Connack>(), 3);
    assert!(size_of::<Publish<'_>>() <= 40);
    assert!(size_of::<Subscribe<'_>>() <= 48);
    assert!(size_of::<Packet<'_>>() <= 104);
    assert!(size_of::<Result<Decoded<'_>, DecodeError>>() <= 112);
    assert!(size_of::<OwnedPublish>() <= 72);
}

/// A reader that waits for what `needed` says calls once for each byte of the fixed header and once more.
#[test]
fn a_reader_that_follows_needed_calls_a_few_times() {
    for payload_len in [0, 100, 200, 20_000, 3_000_000] {
        let payload = vec![7; payload_len];
        let topic = TopicNameRef::new("a/b").unwrap();
        let mut frame = BytesMut::new();
        Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload: &payload }
            .encode(&mut frame)
            .unwrap();
        let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
        let (mut have, mut calls) = (0, 0);
        while let Ok(Decoded::Incomplete { needed }) = decoder.decode(&frame[..have]) {
            (have, calls) = (needed, calls + 1);
            assert!(calls <= 6, "{calls} calls for {payload_len} bytes");
        }
        assert_eq!(have, frame.len());
    }
}

/// A body is looked at when all of it is there and not before: a trickled packet is not scanned again and again.
#[test]
fn an_incomplete_body_is_not_looked_at() {
    let frame = [&b"\x30\x80\x08\x00\x02+#"[..], &[0xff; 1020]].concat();
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
    for cut in 3..frame.len() {
        assert_eq!(decoder.decode(&frame[..cut]), Ok(Decoded::Incomplete { needed: frame.len() }), "{cut}");
    }
    assert_eq!(decoder.decode(&frame), Err(DecodeError::Topic(TopicError::WildcardInName)));
}

#[test]
fn oversize_is_known_from_the_fixed_header_and_still_acknowledged() {
    let frame = [&b"\x34\x80\x08\x00\x03a/b\x12\x34"[..], &[7; 1017]].concat();
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient).max_packet_size(1026);
    assert_eq!(decoder.decode(&frame[..2]), Ok(Decoded::Incomplete { needed: 3 }));
    let Ok(Decoded::Oversize(oversize)) = decoder.decode(&frame[..3]) else { panic!("1027 bytes") };
    assert_eq!((oversize.packet_type, oversize.len), (PacketType::Publish, 1027));
    assert_eq!(decoder.decode(&frame), Ok(Decoded::Oversize(oversize)));
    for cut in 0..10 {
        assert_eq!(oversize.publish_head(&frame[..cut]), Ok(None), "{cut}");
    }
    for cut in 10..frame.len() {
        let head = oversize.publish_head(&frame[..cut]).unwrap().unwrap();
        assert_eq!(head.delivery, Delivery::ExactlyOnce { id: PacketId::new(0x1234).unwrap(), dup: false });
        assert_eq!((head.topic.as_str(), head.retain, head.payload_len), ("a/b", false, 1017));
    }
    let at_limit = decoder.max_packet_size(1027).decode(&frame);
    assert!(matches!(at_limit, Ok(Decoded::Packet(Packet::Publish(_), 1027))));

    // A topic that is longer than its packet is an error at once, not at the end of the packet.
    let Ok(Decoded::Oversize(oversize)) = decoder.decode(b"\x30\x80\x08") else { panic!("1027 bytes") };
    let error = Err(DecodeError::Truncated(PacketType::Publish));
    assert_eq!(oversize.publish_head(b"\x30\x80\x08\x03\xff"), error);
    assert_eq!(oversize.publish_head(b"\x30\x80\x08\x03\xfe"), Ok(None));

    for ack in [b"\x40\x02\0\x01", b"\x50\x02\0\x01", b"\x62\x02\0\x01", b"\x70\x02\0\x01"] {
        assert!(matches!(decoder.max_packet_size(3).decode(ack), Ok(Decoded::Oversize(_))));
        assert!(matches!(decoder.max_packet_size(4).decode(ack), Ok(Decoded::Packet(_, 4))));
    }
    let small = decoder.max_packet_size(1).decode(b"\xd0\0");
    let Ok(Decoded::Oversize(oversize)) = small else { panic!("{small:?}") };
    assert_eq!((oversize.packet_type, oversize.len), (PacketType::Pingresp, 2));
    assert_eq!(oversize.publish_head(b"\xd0\0"), Ok(None));
}
