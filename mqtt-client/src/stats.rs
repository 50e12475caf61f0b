//! Counters.

use core::time::Duration;

use mqtt_codec::QoS;

use crate::event::{Cause, Outcome};

/// What happened since the client was made, and how it stands: a snapshot.
///
/// What is not said to be of now only grows, over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Publishes with QoS 1 and 2 whose last acknowledgement came.
    pub delivered: u64,
    /// PINGREQ packets sent.
    pub pingreqs: u64,
    /// Acknowledgements that nothing waited for. They end nothing; a PUBREC among them was answered with PUBREL and a
    /// PUBREL with PUBCOMP.
    pub unknown_acknowledgements: u64,
    /// PINGRESP packets that nothing waited for.
    pub unsolicited_pingresps: u64,
    /// PUBLISH packets with QoS 2 that the application had already been given, and was not given again.
    pub duplicates: u64,
    /// PUBLISH and PUBREL packets sent again on a later connection.
    pub resent: u64,
    /// Packets sent again on the same connection, after a time ([`Timed`](crate::Timed)).
    pub retransmitted: u64,
    /// Messages discarded because of their size ([`Oversize::Skip`](crate::Oversize::Skip)).
    pub skipped: u64,
    /// PUBLISH packets that went into the output, without those that were sent again. A message that is published anew
    /// since the Server lost the Session ([`SessionLoss`](crate::SessionLoss)) counts anew.
    pub sent: Traffic,
    /// PUBLISH packets that came, `duplicates` included and `skipped` ones not.
    pub received: Traffic,
    /// Publishes that waited in the queue for too long ([`expire`](crate::Client::expire)).
    pub expired: u64,
    /// Publishes that were taken back ([`cancel`](crate::Client::cancel)).
    pub cancelled: u64,
    /// Publishes reported as [`NotSent`](Outcome::NotSent), without the `expired` ones.
    pub dropped: u64,
    /// Publishes reported as [`Ambiguous`](Outcome::Ambiguous).
    pub ambiguous: u64,
    /// Calls of [`connect`](crate::Client::connect) that began an attempt.
    pub attempts: u64,
    /// Connections that the Server accepted.
    pub connections: u64,
    /// Those of them that ended in another way than by [`disconnect`](crate::Client::disconnect) or
    /// [`discard_session`](crate::Client::discard_session).
    pub connections_lost: u64,
    /// How long the last PINGRESP took, from when its PINGREQ went into the output. None before the first.
    pub ping_round_trip: Option<Duration>,
    /// The same smoothed: seven eighths of what it was, and an eighth of each further one.
    pub smoothed_ping_round_trip: Option<Duration>,
    /// Now: publishes with QoS 1 and 2 that are in flight.
    pub in_flight: usize,
    /// Now: messages in the queue.
    pub queued: usize,
    /// Now: bytes of these, as PUBLISH packets.
    pub queued_size: usize,
    /// Now: bytes that wait for the transport.
    pub unsent_size: usize,
}

/// Messages of one direction, by their QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Traffic {
    /// With QoS 0.
    pub at_most_once: Count,
    /// With QoS 1.
    pub at_least_once: Count,
    /// With QoS 2.
    pub exactly_once: Count,
}

/// How many messages, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Count {
    /// The number of messages.
    pub messages: u64,
    /// The size in bytes of their PUBLISH packets.
    pub bytes: u64,
}

impl Stats {
    /// A publish ended without its acknowledgement.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => {}
            Outcome::NotSent(Cause::Expired) => self.expired += 1,
            Outcome::NotSent(_) => self.dropped += 1,
            Outcome::Ambiguous(_) => self.ambiguous += 1,
        }
    }

    /// A PINGRESP came, so long after its PINGREQ.
    pub(crate) fn ponged(&mut self, round_trip: Duration) {
        self.ping_round_trip = Some(round_trip);
        let smoothed =
            self.smoothed_ping_round_trip.map_or(round_trip, |before| before - before / 8 + round_trip / 8);
        self.smoothed_ping_round_trip = Some(smoothed);
    }
}

impl Traffic {
    /// The messages with one QoS.
    pub const fn of(&self, qos: QoS) -> Count {
        match qos {
            QoS::AtMostOnce => self.at_most_once,
            QoS::AtLeastOnce => self.at_least_once,
            QoS::ExactlyOnce => self.exactly_once,
        }
    }

    /// All messages.
    pub const fn total(&self) -> Count {
        let [zero, one, two] = [self.at_most_once, self.at_least_once, self.exactly_once];
        Count {
            messages: zero.messages + one.messages + two.messages,
            bytes: zero.bytes + one.bytes + two.bytes,
        }
    }

    /// One more, of so many bytes.
    #[inline]
    pub(crate) fn add(&mut self, qos: QoS, bytes: u64) {
        match qos {
            QoS::AtMostOnce => self.at_most_once.add(bytes),
            QoS::AtLeastOnce => self.at_least_once.add(bytes),
            QoS::ExactlyOnce => self.exactly_once.add(bytes),
        }
    }
}

impl Count {
    /// One more, of so many bytes.
    #[inline]
    pub(crate) const fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}
