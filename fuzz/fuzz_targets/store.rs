//! Any bytes are a stored Session that can be used to its end, or an error.
#![no_main]

#[path = "../bodies/store.rs"]
mod body;
#[path = "../bodies/disk.rs"]
mod disk;
#[path = "../bodies/input.rs"]
mod input;
#[path = "../bodies/peer.rs"]
mod peer;
#[path = "../bodies/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
