//! The client core without I/O: QoS 1 out with its PUBACK, QoS 1 in with its PUBACK, 100 messages at a time.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use mqtt_benches::core::{Core, pubacks, publishes};

const BATCH: u16 = 100;

fn core(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    group.throughput(Throughput::Elements(u64::from(BATCH)));

    // Identifiers come in turn from the whole range: the PUBACKs of all of it are prepared.
    let acks = pubacks(1, u16::MAX).expect("acknowledgements");
    let mut client = Core::connected(u32::from(BATCH)).expect("a client");
    let mut first = 0;
    group.bench_function("publish qos 1, window 100", |b| {
        b.iter(|| {
            let turn: Vec<u8>;
            let end = first + usize::from(BATCH);
            let these = if end <= usize::from(u16::MAX) {
                &acks[first * 4..end * 4]
            } else {
                turn = [&acks[first * 4..], &acks[..(end - usize::from(u16::MAX)) * 4]].concat();
                &turn
            };
            first = end % usize::from(u16::MAX);
            assert_eq!(client.publish(usize::from(BATCH), these).expect("published"), usize::from(BATCH));
        });
    });

    let input = publishes(BATCH).expect("packets");
    let mut client = Core::connected(u32::from(BATCH)).expect("a client");
    group.bench_function("receive qos 1", |b| {
        b.iter(|| assert_eq!(client.receive(black_box(&input)).expect("received"), usize::from(BATCH)));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    core(&mut criterion);
    criterion.final_summary();
}
