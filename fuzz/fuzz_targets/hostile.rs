//! Whatever a Server sends behind its CONNACK, it ends in an error or goes on, resolves each token once, and fills no memory.
#![no_main]

#[path = "../bodies/hostile.rs"]
mod body;
#[path = "../bodies/disk.rs"]
mod disk;
#[path = "../bodies/input.rs"]
mod input;
#[path = "../bodies/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
