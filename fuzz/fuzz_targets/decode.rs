//! Whatever the bytes, decoding does not panic, and what decodes is encoded to bytes that decode to the same packet.
#![no_main]

#[path = "../bodies/decode.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
