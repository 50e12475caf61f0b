//! The parts of packets: lists that count and compare alike wherever they lie, lengths, conversions, `Debug`.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    BinaryData, Connect, Credentials, Decoded, Decoder, Delivery, Direction, FilterMap, MqttStr, MqttString,
    OwnedBinaryData, Packet, PacketId, ProtocolVersion, Publish, QoS, SubackCode, SubackCodes,
    SubscribeFilters, TopicFilter, TopicName, TopicNameRef, UnsubscribeFilters, Will,
};

const SUBSCRIBE: &[u8] = b"\x82\x0c\0\x0a\0\x03a/+\x02\0\x01#\0";
const UNSUBSCRIBE: &[u8] = b"\xa2\x0a\0\x0a\0\x03a/+\0\x01#";
const SUBACK: &[u8] = b"\x90\x05\0\x0a\0\x01\x80";

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn decoded(direction: Direction, frame: &[u8]) -> Packet<'_> {
    match Decoder::new(ProtocolVersion::V3_1_1, direction).decode(frame) {
        Ok(Decoded::Packet(packet, _)) => packet,
        other => panic!("{other:?}"),
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Each step says how much is left, and after the end nothing comes.
#[track_caller]
fn counts_down<I: ExactSizeIterator>(mut items: I, len: usize) {
    for left in (1..=len).rev() {
        assert_eq!((items.size_hint(), items.len()), ((left, Some(left)), left));
        assert!(items.next().is_some());
    }
    assert_eq!((items.size_hint(), items.next().is_none()), ((0, Some(0)), true));
}

/// `same` is equal to `list` and shows the same; `other` is not equal, nor is its hash.
#[track_caller]
fn compares<T: PartialEq + Hash + std::fmt::Debug>(list: &T, same: &T, other: &T, shown: &str) {
    assert!(list == same && list != other);
    assert!(hash(list) == hash(same) && hash(list) != hash(other));
    assert_eq!([format!("{list:?}"), format!("{same:?}")], [shown, shown]);
}

#[test]
fn filters_to_subscribe() {
    let list = [(filter("a/+"), QoS::ExactlyOnce), (filter("#"), QoS::AtMostOnce)];
    let other = [(filter("a/+"), QoS::ExactlyOnce), (filter("#"), QoS::AtLeastOnce)];
    let [list, other] = [&list, &other].map(|list| SubscribeFilters::new(list).unwrap());
    let Packet::Subscribe(packet) = decoded(Direction::ToServer, SUBSCRIBE) else { panic!() };
    let shown = r##"[(TopicFilterRef("a/+"), ExactlyOnce), (TopicFilterRef("#"), AtMostOnce)]"##;
    for filters in [list, packet.filters] {
        assert_eq!(filters.len(), 2);
        counts_down(filters.iter(), 2);
        counts_down(filters.into_iter(), 2);
        assert_eq!(format!("{:?}", filters.iter()), shown);
    }
    compares(&list, &packet.filters, &other, shown);
}

#[test]
fn filters_to_unsubscribe() {
    let (list, other) = ([filter("a/+"), filter("#")], [filter("a/+"), filter("b")]);
    let [list, other] = [&list, &other].map(|list| UnsubscribeFilters::new(list).unwrap());
    let Packet::Unsubscribe(packet) = decoded(Direction::ToServer, UNSUBSCRIBE) else { panic!() };
    let shown = r##"[TopicFilterRef("a/+"), TopicFilterRef("#")]"##;
    for filters in [list, packet.filters] {
        assert_eq!(filters.len(), 2);
        counts_down(filters.iter(), 2);
        counts_down(filters.into_iter(), 2);
        assert_eq!(format!("{:?}", filters.iter()), shown);
    }
    compares(&list, &packet.filters, &other, shown);
}

#[test]
fn codes_of_a_suback() {
    let granted = SubackCode::Granted;
    let list = [granted(QoS::AtMostOnce), granted(QoS::AtLeastOnce), SubackCode::Failure];
    let other = [granted(QoS::AtMostOnce), granted(QoS::ExactlyOnce), SubackCode::Failure];
    let shown = format!("{list:?}");
    let [list, other] = [&list, &other].map(|list| SubackCodes::new(list).unwrap());
    let Packet::Suback(packet) = decoded(Direction::ToClient, SUBACK) else { panic!() };
    for codes in [list, packet.codes] {
        assert_eq!(codes.len(), 3);
        counts_down(codes.iter(), 3);
        counts_down(codes.into_iter(), 3);
        assert_eq!(format!("{:?}", codes.iter()), shown);
    }
    compares(&list, &packet.codes, &other, &shown);
}

/// The length that CONNECT declares is the length that it has, whatever its strings are.
#[test]
fn the_length_of_connect() {
    let data = |len| BinaryData::new(&b"0123456789"[..len]).unwrap();
    let text = |len| MqttStr::new(&"abcdefghij"[..len]).unwrap();
    for (client_id, username, password) in [(1, 3, 5), (7, 1, 1), (0, 0, 0), (5, 10, 9)] {
        for will in [None, Some(0), Some(1), Some(9)] {
            let topic = TopicNameRef::new("will").unwrap();
            let connect = Connect {
                version: ProtocolVersion::V3_1_1,
                clean_session: true,
                keep_alive: 60,
                client_id: text(client_id),
                will: will.map(|len| Will { topic, payload: data(len), qos: QoS::AtLeastOnce, retain: true }),
                credentials: Some(Credentials { username: text(username), password: Some(data(password)) }),
            };
            let packet = Packet::Connect(connect);
            let mut out = BytesMut::new();
            packet.encode(ProtocolVersion::V3_1_1, &mut out).unwrap();
            assert_eq!(
                (packet.encoded_len(ProtocolVersion::V3_1_1), usize::from(out[1])),
                (Ok(out.len()), out.len() - 2)
            );
            assert_eq!(decoded(Direction::ToServer, &out), packet);
        }
    }
}

/// Whole packets on both sides of each length at which the fixed header grows. No byte of the payload would be wrong in a
/// topic, so that one which is read from the wrong place shows.
#[test]
fn whole_packets_with_each_length_of_the_fixed_header() {
    let payload = vec![b'x'; 2_097_153 - 3];
    let topic = TopicNameRef::new("t").unwrap();
    for (edge, header_len) in [(128, 3), (16_384, 4), (2_097_152, 5)] {
        for remaining in edge - 1..=edge + 1 {
            let payload = &payload[..remaining - 3];
            let packet =
                Packet::Publish(Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload });
            let mut out = BytesMut::new();
            packet.encode(ProtocolVersion::V3_1_1, &mut out).unwrap();
            assert_eq!(out.len(), remaining + header_len - usize::from(remaining < edge));
            assert!(decoded(Direction::ToClient, &out) == packet, "{remaining}");
        }
    }
}

#[test]
fn conversions() {
    assert_eq!(u16::from(PacketId::new(258).unwrap()), 258);
    assert_eq!([QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].map(u8::from), [0, 1, 2]);
    let string = MqttString::from_static("ab").unwrap();
    assert_eq!(MqttStr::from(&string).as_str(), "ab");
    let data = OwnedBinaryData::try_from(Bytes::from_static(b"ab")).unwrap();
    assert_eq!((BinaryData::from(&data).as_bytes(), data.len(), data.is_empty()), (&b"ab"[..], 2, false));
    assert!(OwnedBinaryData::try_from(Vec::new()).unwrap().is_empty());
    assert!(MqttStr::new("").unwrap().is_empty() && !MqttStr::new("a").unwrap().is_empty());
    assert!(BinaryData::new(b"").unwrap().is_empty() && !BinaryData::new(b"a").unwrap().is_empty());
}

#[test]
fn a_filter_map_shows_its_filters() {
    let map: FilterMap<u8> = [(filter("a/#"), 7)].into_iter().collect();
    assert_eq!(format!("{map:?} {:?}", map.iter()), r##"{TopicFilter("a/#"): 7} {TopicFilter("a/#"): 7}"##);
    let topic = TopicName::new("a/b").unwrap();
    assert_eq!(format!("{:?}", map.matches(&topic)), "[7]");
    assert_eq!(map.iter().len(), 1);
}
