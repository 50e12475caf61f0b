//! The scenarios in which MQTT clients are known to go wrong, each as one test by its name.

#[path = "../common/mod.rs"]
mod common;

mod connection;
mod expiry;
mod fallback;
mod oversize;
mod publish;
mod receive;
mod requests;
mod stall;
mod timed;
