//! The clients that are measured: one module and one line in [`ALL`] for each.
//!
//! A client is a function that builds its own single-threaded runtime, does the whole [`Workload`] the way the
//! client's documentation recommends for throughput, and returns how many messages it saw through to the end:
//! acknowledged when publishing (see [`Workload::acknowledgements`]), handed to the application when receiving.

use crate::Failure;
use crate::workload::{PAYLOAD, TOPIC, Workload};

#[cfg(feature = "peer-ntex")]
mod ntex;
mod ours;
mod rumqttc;
#[cfg(feature = "peer-rumqttc-next")]
mod rumqttc_next;

/// A client under measurement.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// What the command line and the report call it.
    pub name: &'static str,
    /// The package in Cargo.lock, for its version in the report.
    pub package: &'static str,
    /// Does the whole workload; see the [module](self).
    pub run: fn(&Workload) -> Result<u64, Failure>,
}

/// Every client that is built in. The first is the one the others are compared with.
pub const ALL: &[Client] = &[
    Client { name: "mqtt-tokio", package: "mqtt-tokio", run: ours::run },
    Client { name: "rumqttc", package: "rumqttc", run: rumqttc::run },
    #[cfg(feature = "peer-rumqttc-next")]
    Client { name: "rumqttc-next", package: "rumqttc-v4-next", run: rumqttc_next::run },
    #[cfg(feature = "peer-ntex")]
    Client { name: "ntex", package: "ntex-mqtt", run: ntex::run },
];

/// Finds a client by its name.
///
/// # Errors
///
/// When no client of that name is built in.
pub fn by_name(name: &str) -> Result<Client, Failure> {
    let found = ALL.iter().copied().find(|client| client.name == name);
    found.ok_or_else(|| format!("no such client in this build: {name}").into())
}

/// Builds the runtime every client on tokio is run by.
///
/// # Errors
///
/// When the system has no resources left.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Looks at a received message as an application would, and returns 1 if it is the one that was sent.
pub fn inspect(topic: &[u8], payload: &[u8]) -> u64 {
    u64::from(topic.len() == TOPIC.len() && payload.len() == PAYLOAD.len() && payload[0] == PAYLOAD[0])
}
