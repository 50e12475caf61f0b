//! What a client has counted.

use std::ops::Deref;
use std::time::Duration;

use mqtt_client::{Profile, Time};

use crate::client::Client;
use crate::shared::Inner;

/// What happened since the client was made, and how it stands: a snapshot.
///
/// The numbers of the protocol are fields of this too: `client.stats().delivered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What the protocol counts: messages by QoS and direction, connections and attempts, round trips, what waits.
    ///
    /// A connection of which the transport was never opened is an attempt as well, but not one for which there were no
    /// credentials ([`Builder::credentials_from`](crate::Builder::credentials_from)).
    pub protocol: mqtt_client::Stats,
    /// Messages that streams dropped, because their buffer was full or since they were too large; for each stream that
    /// did so. Those of streams that are gone are among them.
    pub stream_dropped: u64,
    /// Messages that were dropped since no stream wanted them: [`Client::unclaimed`].
    pub unclaimed: u64,
    /// How long the present connection has lasted since the Server accepted it; none while there is none.
    pub connected_for: Option<Duration>,
}

impl Deref for Stats {
    type Target = mqtt_client::Stats;

    fn deref(&self) -> &mqtt_client::Stats {
        &self.protocol
    }
}

impl Stats {
    fn new(inner: &Inner, now: Time) -> Self {
        let connected = inner.core.state() == mqtt_client::State::Connected;
        Self {
            protocol: inner.core.stats(),
            stream_dropped: inner.registry.dropped,
            unclaimed: inner.unclaimed.dropped,
            connected_for: inner.connected_at.filter(|_| connected).map(|since| now - since),
        }
    }
}

impl<P: Profile> Client<P> {
    /// What the client has counted so far, and how it stands now.
    pub fn stats(&self) -> Stats {
        let shared = self.handle.shared();
        let inner = shared.lock();
        Stats::new(&inner, shared.now())
    }
}
