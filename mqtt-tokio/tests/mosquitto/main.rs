//! The client against a real broker: mosquitto 2, with MQTT 3.1 and 3.1.1, on loopback ports.
//!
//! `cargo test -p mqtt-tokio --features mosquitto-tests --test mosquitto`. Without the binaries `mosquitto`,
//! `mosquitto_passwd`, `mosquitto_pub` and `mosquitto_sub` the tests fail. How long `chaos` lasts, and its seed, are set as
//! for the test with that name.

mod broker;
#[expect(dead_code, reason = "the tests of TLS use the rest")]
#[path = "../tls/certificates.rs"]
mod certificates;
mod chaos;
mod interop;
#[cfg(all(unix, feature = "store-redb"))]
mod kill;
#[path = "../chaos/pause.rs"]
mod pause;
#[path = "../chaos/plan.rs"]
mod plan;
#[path = "../chaos/proxy.rs"]
mod proxy;
mod refusals;
mod restart;
mod retained;
mod round_trips;
mod sessions;
mod shared;
mod support;
#[path = "../chaos/traffic.rs"]
mod traffic;
mod transports;
mod wills;
#[path = "../chaos/witness.rs"]
mod witness;
