//! Any settings are refused with the rule that they break, or can be connected with and say the same.
#![no_main]

#[path = "../bodies/options.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
