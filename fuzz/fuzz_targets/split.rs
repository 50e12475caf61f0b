//! Any bytes, in whatever pieces they come, are the same packets and the same error, over `PacketCodec` too.
#![no_main]

#[path = "../bodies/split.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
