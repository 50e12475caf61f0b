//! The bodies of the fuzz targets as ordinary tests: over their seeds, the seeds cut and changed, and random bytes.
//! Those that need mqtt-tokio are in `mqtt-tokio/tests/fuzz_bodies.rs`.

#[path = "../../fuzz/bodies/client.rs"]
mod client;
#[path = "../../fuzz/bodies/decode.rs"]
mod decode;
#[path = "../../fuzz/bodies/disk.rs"]
mod disk;
#[path = "../../fuzz/bodies/hostile.rs"]
mod hostile;
#[path = "../../fuzz/bodies/input.rs"]
mod input;
#[path = "../../fuzz/bodies/ledger.rs"]
mod ledger;
#[path = "../../fuzz/bodies/peer.rs"]
mod peer;
#[path = "../../fuzz/bodies/roundtrip.rs"]
mod roundtrip;
#[path = "../../fuzz/bodies/seeds.rs"]
mod seeds;
#[path = "../../fuzz/bodies/store.rs"]
mod store;
#[path = "../../fuzz/bodies/topic.rs"]
mod topic;
#[path = "../../fuzz/bodies/wire.rs"]
mod wire;

use proptest::{collection::vec, prelude::*};

#[test]
fn decode_seeds() {
    seeds::run("decode", decode::run);
}

#[test]
fn roundtrip_seeds() {
    seeds::run("roundtrip", roundtrip::run);
}

#[test]
fn client_seeds() {
    seeds::run("client", client::run);
}

#[test]
fn topic_seeds() {
    seeds::run("topic", topic::run);
}

#[test]
fn hostile_seeds() {
    seeds::run("hostile", hostile::run);
}

#[test]
fn store_seeds() {
    seeds::run("store", store::run);
}

/// A seed that is refused shows little.
#[test]
fn store_seeds_are_sessions() {
    for seed in seeds::read("store") {
        let is_session =
            seed[1..].starts_with(b"MQR") || mqtt_client::Session::from_bytes(&seed[1..]).is_ok();
        assert!(is_session || seed[1..].starts_with(b"MQX"), "{seed:?}");
    }
}

proptest! {
    #[test]
    fn decode_random_bytes(data in vec(any::<u8>(), 0..200)) {
        decode::run(&data);
    }

    #[test]
    fn roundtrip_random_bytes(data in vec(any::<u8>(), 0..400)) {
        roundtrip::run(&data);
    }

    #[test]
    fn client_random_bytes(data in vec(prop_oneof![4 => 0..29_u8, 1 => any::<u8>()], 0..600)) {
        client::run(&data);
    }

    #[test]
    fn topic_random_bytes(data in vec(prop_oneof![3 => 0..8_u8, 1 => any::<u8>()], 0..300)) {
        topic::run(&data);
    }

    #[test]
    fn hostile_random_bytes(data in vec(prop_oneof![3 => 0..8_u8, 2 => (3..14_u8).prop_map(|kind| kind << 4), 1 => any::<u8>()], 0..300)) {
        hostile::run(&data);
    }

    #[test]
    fn store_random_bytes(settings: u8, data in vec(prop_oneof![4 => 0..4_u8, 1 => any::<u8>()], 0..200)) {
        store::run(&[&[settings], &b"MQS\x02\x00\x00\x01\x00\x00\x00"[..], &data].concat());
    }

    #[test]
    fn store_random_records(settings: u8, records in vec((0..7_usize, 0..4_u8, vec(0..4_u8, 0..16)), 0..12)) {
        let records = records.into_iter().flat_map(|(kind, number, value)| {
            [&[b"CEFMQRS"[kind], number, value.len() as u8][..], &value].concat()
        });
        store::run(&[settings].into_iter().chain(*b"MQR").chain(records).collect::<Vec<_>>());
    }

    #[test]
    fn store_changed_records(settings: u8, data in vec(prop_oneof![3 => 0..16_u8, 1 => any::<u8>()], 0..24)) {
        store::run(&[&[settings], &b"MQX"[..], &data].concat());
    }
}
