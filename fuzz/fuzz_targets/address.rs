//! Any address is refused, or means what it says by another reading, is shown as an address of the same Server, and shows
//! no secret.
#![no_main]

#[path = "../bodies/address.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
