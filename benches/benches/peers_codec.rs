//! What the codecs of peers need to decode and encode the PUBLISH of the other benches: 32 bytes of topic, 64 of
//! payload. Decoding is of 1000 packets back to back, so divide by 1000.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use mqtt_benches::workload::{PAYLOAD, TOPIC};

const PACKETS: u64 = 1000;
const MAX_PACKET_SIZE: usize = 1024;

fn packets(encode: impl Fn(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    (0..PACKETS).for_each(|_| encode(&mut bytes));
    bytes
}

/// The two are one codec in two versions, with the same names.
macro_rules! bench_codec {
    ($criterion:expr, $name:literal, $read:path, $($codec:ident)::+) => {
        for qos in [$($codec)::+::QoS::AtMostOnce, $($codec)::+::QoS::AtLeastOnce] {
            let topic = TOPIC.to_owned();
            let payload = Bytes::from_static(PAYLOAD);
            let mut publish = $($codec)::+::v4::Publish::from_bytes(topic, qos, payload);
            publish.pkid = 7;
            let encoded = packets(|bytes| {
                publish.write(bytes).expect("the packet is legal");
            });
            let mut group = $criterion.benchmark_group(format!("publish {qos:?}"));
            group.throughput(Throughput::Elements(PACKETS));
            group.bench_function(concat!($name, " decode"), |bencher| {
                let decode_all = |mut bytes: BytesMut| {
                    for _ in 0..PACKETS {
                        let packet = $read(&mut bytes, MAX_PACKET_SIZE);
                        black_box(packet.expect("the packet is whole"));
                    }
                };
                bencher.iter_batched(|| encoded.clone(), decode_all, BatchSize::SmallInput);
            });
            group.bench_function(concat!($name, " encode"), |bencher| {
                let mut bytes = BytesMut::with_capacity(encoded.len());
                bencher.iter(|| {
                    bytes.clear();
                    for _ in 0..PACKETS {
                        publish.write(&mut bytes).expect("the packet is legal");
                    }
                    black_box(&bytes);
                });
            });
            group.finish();
        }
    };
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_codec!(&mut criterion, "rumqttc", rumqttc::mqttbytes::v4::Packet::read, rumqttc::mqttbytes);
    bench_codec!(&mut criterion, "mqttbytes", mqttbytes::v4::read, mqttbytes);
    criterion.final_summary();
}
