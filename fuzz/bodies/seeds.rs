//! Runs a body as an ordinary test.

use std::path::Path;

/// The seeds of a target.
pub(crate) fn read(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() >= 10, "{} has {} seeds", folder.display(), seeds.len());
    seeds
}

/// Each seed of a target whole, cut at every byte, and with every byte changed.
pub(crate) fn run(target: &str, body: fn(&[u8])) {
    for seed in read(target) {
        body(&seed);
        for at in 0..seed.len() {
            body(&seed[..at]);
            let mut changed = seed.clone();
            for bits in [0x01, 0x02, 0x20, 0x80, 0xff] {
                changed[at] = seed[at] ^ bits;
                body(&changed);
            }
        }
    }
}
