//! The bodies of the fuzz targets as ordinary tests: over their seeds, the seeds cut and changed, and random bytes.

#[path = "../../fuzz/bodies/client.rs"]
mod client;
#[path = "../../fuzz/bodies/decode.rs"]
mod decode;
#[path = "../../fuzz/bodies/input.rs"]
mod input;
#[path = "../../fuzz/bodies/roundtrip.rs"]
mod roundtrip;

use std::path::Path;

use proptest::{collection::vec, prelude::*};

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() >= 10, "{} has {} seeds", folder.display(), seeds.len());
    seeds
}

/// Each seed whole, cut at every byte, and with every byte changed.
fn run_seeds(target: &str, body: fn(&[u8])) {
    for seed in seeds(target) {
        body(&seed);
        for at in 0..seed.len() {
            body(&seed[..at]);
            let mut changed = seed.clone();
            for bits in [0x01, 0x80, 0xff] {
                changed[at] = seed[at] ^ bits;
                body(&changed);
            }
        }
    }
}

#[test]
fn decode_seeds() {
    run_seeds("decode", decode::run);
}

#[test]
fn roundtrip_seeds() {
    run_seeds("roundtrip", roundtrip::run);
}

#[test]
fn client_seeds() {
    run_seeds("client", client::run);
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
    fn client_random_bytes(data in vec(prop_oneof![4 => 0..20_u8, 1 => any::<u8>()], 0..600)) {
        client::run(&data);
    }
}
