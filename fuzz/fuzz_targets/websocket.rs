//! Whatever a WebSocket server sends, the client sends nothing but legal frames and packets, and gets the packets that are in
//! the frames up to the first broken rule, which is the error that it ends with.
#![no_main]

#[path = "../bodies/adapter.rs"]
mod adapter;
#[path = "../bodies/websocket.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;
#[path = "../bodies/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
