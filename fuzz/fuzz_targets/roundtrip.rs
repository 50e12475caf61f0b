//! Every packet that can be built is encoded to bytes that decode to it, whole, and wait for more when cut.
#![no_main]

#[path = "../bodies/roundtrip.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
