//! The three states, each with what dies when it is left.

use alloc::boxed::Box;

use mqtt_codec::{PacketId, QoS};

use crate::keep_alive::KeepAlive;
use crate::machine::skip::Skipping;
use crate::retransmission::{Sent, Timers};
use crate::session::incoming::AckQueue;
use crate::session::slab::NIL;
use crate::time::Time;

/// Where a [`Client`](crate::Client) stands with its Network Connection.
///
/// ```text
///                    connect                     CONNACK 0
///  +--------------+ ---------> +------------+ -----------> +-----------+
///  | Disconnected |            | Connecting |              | Connected |
///  +--------------+ <--------- +------------+ <-.          +-----------+
///         ^          refusal, deadline, other    `               |
///         |          packet, close, disconnect                   | violation, PINGRESP deadline,
///         `------------------------------------------------------'  close, disconnect
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No Network Connection. The Session is kept; publishes with QoS 1 and 2 and requests are queued.
    Disconnected,
    /// [`connect`](crate::Client::connect) was called; the CONNACK has not come.
    Connecting,
    /// The Server has accepted the connection.
    Connected,
}

/// The state with its data. What dies with a Network Connection lives in here; what outlives it is the
/// [`Session`](crate::Session) beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    Disconnected,
    Connecting(Connecting),
    Connected(Connected),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Connecting {
    /// When the CONNACK must have come.
    pub(crate) deadline: Time,
    /// When the transport last took a byte.
    pub(crate) last_sent: Time,
    /// Whether publishes may be sent before it.
    pub(crate) pipeline: bool,
    /// Whether the Session was [unsettled](crate::Session::unsettled) before.
    pub(crate) was_unsettled: bool,
    /// The size of its CONNECT packet.
    pub(crate) connect_len: usize,
    pub(crate) flow: Flow,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Connected {
    pub(crate) keep_alive: KeepAlive,
    pub(crate) acks: AckQueue,
    /// How many bytes at the start of the input were there before: only further ones are a sign of life.
    pub(crate) seen: usize,
    /// The message that is being discarded.
    pub(crate) skipping: Option<Box<Skipping>>,
    /// Since when nothing of what is in flight has moved on; none while nothing waits.
    pub(crate) stalled_since: Option<Time>,
    pub(crate) flow: Flow,
}

/// How far the work of the Session has got on this connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    /// PUBLISHes and PUBRELs sent on this connection and not acknowledged.
    pub(crate) in_flight: usize,
    /// Those of them with QoS 2.
    pub(crate) in_flight_qos2: usize,
    /// The first PUBREL that is still to be sent (again) on this connection; those behind it may be sent already.
    pub(crate) released: u32,
    /// The first PUBLISH in flight that is still to be sent again on this connection.
    pub(crate) sent: u32,
    /// The first request that is still to be sent on this connection.
    pub(crate) requests: u32,
    /// The offset in the stream of the connection behind the last packet that will be acknowledged, without copies.
    pub(crate) sent_until: u64,
    /// When to send again on this connection.
    pub(crate) timers: Option<Box<Timers>>,
}

impl Flow {
    /// Nothing is in flight, nothing to be sent again.
    pub(crate) const IDLE: Self = Self {
        in_flight: 0,
        in_flight_qos2: 0,
        released: NIL,
        sent: NIL,
        requests: NIL,
        sent_until: 0,
        timers: None,
    };

    /// One more is in flight.
    #[inline]
    pub(crate) fn count(&mut self, qos: QoS) {
        self.in_flight += 1;
        self.in_flight_qos2 += usize::from(qos == QoS::ExactlyOnce);
    }

    /// A packet that will be acknowledged was encoded, from the offset `start` to `end` of the stream.
    #[inline]
    pub(crate) fn note_sent(&mut self, id: PacketId, is_publish: bool, start: u64, end: u64) {
        let sent = if is_publish { Sent::Publish(end - start) } else { Sent::Control };
        let again = self.timers.as_mut().is_some_and(|timers| timers.sent(id, sent, end));
        // A copy is no progress.
        if !again {
            self.sent_until = end;
        }
    }

    /// Whether the packet with `id`, which was sent on this connection, is to be sent again.
    #[inline]
    pub(crate) fn is_again(&self, id: PacketId) -> bool {
        self.timers.as_ref().is_some_and(|timers| timers.is_again(id))
    }

    /// The packet with `id` was acknowledged.
    #[inline]
    pub(crate) fn note_acknowledged(&mut self, id: PacketId) {
        if let Some(timers) = &mut self.timers {
            timers.forget(id);
        }
    }

    /// Whether everything from earlier connections was sent again, so that new messages may follow.
    #[inline]
    pub(crate) const fn has_resumed(&self) -> bool {
        self.released == NIL && self.sent == NIL
    }
}
