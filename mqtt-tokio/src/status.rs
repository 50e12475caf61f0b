//! What happens to the Network Connection, for whoever wants to know.

use std::time::Duration;

use mqtt_client::{ProtocolVersion, SkippedMessage, TopicFilter};
use tokio::sync::broadcast;

use crate::error::ConnectionError;

/// A change of the Network Connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// The Server accepted the connection.
    Connected {
        /// Whether it still had the Session [MQTT-3.2.2-2].
        session_present: bool,
        /// The version of the protocol: another one than that of the options after a
        /// [fallback](mqtt_client::Options::fallback).
        version: ProtocolVersion,
    },
    /// The connection was lost, or could not be made; the next attempt follows.
    Lost {
        /// Why.
        error: ConnectionError,
        /// The pause before the next attempt: zero if it follows at once, with the other version of the protocol.
        retry_in: Duration,
    },
    /// The connection was lost, or could not be made, and there will be no other attempt.
    GaveUp {
        /// Why.
        error: ConnectionError,
    },
    /// The Server lost the Session, and refuses a subscription that it had granted before: its streams stay silent.
    SubscriptionLost {
        /// The filter.
        filter: TopicFilter,
    },
    /// A message above [`max_packet_size`](mqtt_client::Options::max_packet_size) was discarded unread, and acknowledged
    /// ([`Oversize::Skip`](mqtt_client::Oversize::Skip)). The streams that would have got it count it as
    /// [`missed`](crate::ReceivedMessage::missed) and [`dropped`](crate::Subscription::dropped).
    Skipped(SkippedMessage),
    /// Messages of a kept Session were dropped, since no stream wanted them [in time](crate::Builder::claim_within), or
    /// because too many of them waited for one: see [After a restart](crate#after-a-restart). Told once the time is over.
    Unclaimed {
        /// How many.
        count: u64,
    },
    /// The application disconnected.
    Disconnected,
}

/// How many changes are kept for a reader that is slow.
pub(crate) const KEPT: usize = 64;

/// The changes of the Network Connection, from when this was made. If it is not read, the oldest are forgotten.
#[derive(Debug)]
pub struct StatusStream {
    pub(crate) receiver: broadcast::Receiver<Status>,
}

impl StatusStream {
    /// The next change; `None` after the last one. Cancel-safe: a change is not lost when this is dropped.
    pub async fn next(&mut self) -> Option<Status> {
        loop {
            match self.receiver.recv().await {
                Ok(status) => return Some(status),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
