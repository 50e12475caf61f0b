//! Pages that teach: one topic each, with code that is compiled and run.
//!
//! | page | answers |
//! |---|---|
//! | [`qos`] | which QoS for what; what it costs; what is guaranteed from end to end |
//! | [`sessions`] | what is kept where; what happens at a reconnect, a restart, a crash |
//! | [`backpressure`] | what waits where; which numbers to choose; how much memory that is |
//! | [`transports`] | TCP, WebSocket, proxies, Unix sockets, several Servers, tokens that run out, errors by layer |
//! | [`tls`] | certificates, keys, names, and what each error means |
//! | [`timeouts`] | every deadline: name, default, who enforces it, how they work together |
//! | [`testing`] | how to test a handler without a network, in no time |
//! | [`shared_subscriptions`] | how to grow past one machine |
//! | [`rumqttc`], [`paho`] | what is where for those who come from there |
//!
//! They exist in the documentation only.

#[doc = include_str!("../guide/qos.md")]
pub mod qos {}

#[doc = include_str!("../guide/sessions.md")]
pub mod sessions {}

#[doc = include_str!("../guide/backpressure.md")]
pub mod backpressure {}

#[doc = include_str!("../guide/transports.md")]
pub mod transports {}

#[doc = include_str!("../guide/tls.md")]
pub mod tls {}

#[doc = include_str!("../guide/timeouts.md")]
pub mod timeouts {}

#[doc = include_str!("../guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../guide/shared_subscriptions.md")]
pub mod shared_subscriptions {}

#[doc = include_str!("../guide/rumqttc.md")]
pub mod rumqttc {}

#[doc = include_str!("../guide/paho.md")]
pub mod paho {}
