//! Filters match as chapter 4.7 says, one by one and in the map; what is valid and what is not is the same as there.
#![no_main]

#[path = "../bodies/topic.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
