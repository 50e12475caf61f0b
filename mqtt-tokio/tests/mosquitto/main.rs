//! The client against a real broker: mosquitto 2, with MQTT 3.1 and 3.1.1, on loopback ports.
//!
//! `cargo test -p mqtt-tokio --features mosquitto-tests --test mosquitto`. Without the binaries `mosquitto`,
//! `mosquitto_passwd`, `mosquitto_pub` and `mosquitto_sub` the tests fail. What is random comes from a seed that is
//! printed; `MQTT_TEST_SEED` sets it.

mod broker;
mod cuts;
mod interop;
mod proxy;
mod refusals;
mod restart;
mod retained;
mod round_trips;
mod sessions;
mod support;
mod wills;
