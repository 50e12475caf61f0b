//! Whatever an application and a Server do, the client does not panic, resolves each token at most once, keeps its
//! limits, and sends nothing but legal packets.
#![no_main]

#[path = "../bodies/client.rs"]
mod body;
#[path = "../bodies/disk.rs"]
mod disk;
#[path = "../bodies/input.rs"]
mod input;
#[path = "../bodies/ledger.rs"]
mod ledger;
#[path = "../bodies/peer.rs"]
mod peer;
#[path = "../bodies/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
