//! Ten thousand messages each way over wires that are cut again and again.

use std::time::Instant;

use mqtt_tokio::{Client, ProtocolVersion, Publisher, QoS, Subscriber};

use crate::broker::Mosquitto;
use crate::proxy::Proxy;
use crate::support::{DRAIN, in_both_versions, next, options, seed, silent};

const COUNT: u32 = 10_000;

/// So many cuts there are at least, or the test shows nothing.
const MIN_CUTS: u64 = 10;

in_both_versions!(qos_1_loses_nothing, qos_2_loses_and_doubles_nothing);

async fn qos_1_loses_nothing(version: ProtocolVersion) {
    let doubled = through_cuts(version, QoS::AtLeastOnce).await;
    println!("{doubled} came again, as QoS 1 may");
}

async fn qos_2_loses_and_doubles_nothing(version: ProtocolVersion) {
    assert_eq!(through_cuts(version, QoS::ExactlyOnce).await, 0);
}

/// How many messages came again; all of them come, and in their order.
async fn through_cuts(version: ProtocolVersion, qos: QoS) -> u32 {
    let (seed, start) = (seed(), Instant::now());
    let broker = Mosquitto::start().await;
    let there = Proxy::start(broker.port(), seed).await;
    let back = Proxy::start(broker.port(), seed ^ 1).await;
    let reader = options("reader", version).clean_session(false);
    let reader = Client::<Subscriber>::connect(&back.uri(), reader).await.unwrap();
    let mut stream = reader.subscribe("cut/#", qos).await.unwrap();
    let writer = options("writer", version).clean_session(false);
    let writer = Client::<Publisher>::connect(&there.uri(), writer).await.unwrap();

    let publish = async {
        let mut receipts = Vec::new();
        for number in 0..COUNT {
            let publish = writer.publish("cut/wire", number.to_be_bytes().to_vec()).qos(qos);
            receipts.push(publish.receipt().await.unwrap());
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
    };
    let receive = async {
        let (mut expected, mut doubled) = (0, 0);
        while expected < COUNT {
            let message = next(&mut stream).await;
            let number = u32::from_be_bytes(message.payload().try_into().unwrap());
            assert!(number <= expected, "{expected} is lost or overtaken: {number} comes");
            assert_eq!(message.qos(), qos);
            if number == expected {
                expected += 1;
            } else {
                doubled += 1;
            }
        }
        doubled
    };
    let ((), doubled) = tokio::join!(publish, receive);
    if qos == QoS::ExactlyOnce {
        silent(&mut stream).await;
    }
    let (cuts, millis) = (there.cuts() + back.cuts(), start.elapsed().as_millis());
    println!("{version:?} {qos:?}: {COUNT} messages, {cuts} cuts, {millis} ms");
    assert!(there.cuts() >= MIN_CUTS && back.cuts() >= MIN_CUTS);
    let stats = writer.stats();
    assert_eq!(stats.delivered, u64::from(COUNT));
    assert!(stats.resent > 0, "something was in flight at a cut");
    writer.disconnect(DRAIN).await.unwrap();
    doubled
}
