//! Decoding and encoding: 32 bytes of topic, 64 bytes of payload.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use mqtt_benches::workload::{PAYLOAD, TOPIC};
use mqtt_codec::{
    Decoded, Decoder, Delivery, Direction, Packet, PacketId, ProtocolVersion, Publish, TopicNameRef,
};

const BATCH: usize = 100;

fn publish() -> Publish<'static> {
    let topic = TopicNameRef::new(TOPIC).expect("a valid topic");
    Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload: PAYLOAD }
}

/// So many packets one behind the other, as they stand in a read buffer.
fn batch(packet: Packet<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for _ in 0..BATCH {
        packet.encode(ProtocolVersion::V3_1_1, &mut bytes).expect("a small packet");
    }
    bytes.to_vec()
}

fn decode_all(decoder: Decoder, mut input: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Decoded::Packet(packet, len)) = decoder.decode(black_box(input)) {
        black_box(&packet);
        count += 1;
        input = &input[len..];
    }
    count
}

fn decode(c: &mut Criterion) {
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, packet) in
        [("publish qos 0", Packet::Publish(publish())), ("puback", Packet::Puback(PacketId::MAX))]
    {
        let bytes = batch(packet);
        assert_eq!(decode_all(decoder, &bytes), BATCH);
        group.bench_function(name, |b| b.iter(|| decode_all(decoder, black_box(&bytes))));
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut out = BytesMut::with_capacity(64 * 1024);
    let publish = publish();
    group.bench_function("publish qos 0", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..BATCH {
                black_box(publish).encode(&mut out).expect("a small packet");
            }
            out.len()
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode(&mut criterion);
    encode(&mut criterion);
    criterion.final_summary();
}
