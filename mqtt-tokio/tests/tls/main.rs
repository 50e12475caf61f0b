//! TLS: what is agreed and what is refused, each with its own error, over streams in memory.
#![cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]

mod certificates;
mod client;
mod client_certificates;
mod handshake;
mod refusals;
mod server;
mod settings;
mod taken;
mod wire;
