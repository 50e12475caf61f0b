//! The bodies of the fuzz targets that concern this crate, as ordinary tests: over their seeds, the seeds cut and
//! changed, and random bytes. The others are in `mqtt-client/tests/fuzz_bodies.rs`.

#[path = "../../fuzz/bodies/input.rs"]
mod input;
#[path = "../../fuzz/bodies/options.rs"]
mod options;
#[path = "../../fuzz/bodies/seeds.rs"]
mod seeds;
#[path = "../../fuzz/bodies/split.rs"]
mod split;

use proptest::{collection::vec, prelude::*};

#[test]
fn split_seeds() {
    seeds::run("split", split::run);
}

#[test]
fn options_seeds() {
    seeds::run("options", options::run);
}

proptest! {
    #[test]
    fn split_random_bytes(data in vec(any::<u8>(), 0..200)) {
        split::run(&data);
    }

    #[test]
    fn options_random_bytes(data in vec(any::<u8>(), 0..300)) {
        options::run(&data);
    }

    #[test]
    fn random_addresses(text in "\0(mqtt|TCP|x)://([a%4:0@]{0,6}@)?\\[?[2a-c:.%]{0,6}\\]?(:[0-9]{0,6})?[/?#]?") {
        options::run(text.as_bytes());
    }
}
