//! Whatever a proxy answers, it is told what it has to know and nothing else, and there is a tunnel from the byte on where its
//! answers end, or the error that they say.
#![no_main]

#[path = "../bodies/adapter.rs"]
mod adapter;
#[path = "../bodies/proxy.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;
#[path = "../bodies/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
