//! One publish, on its way from its admission to its outcome.

use mqtt_codec::{Delivery, PacketId, QoS};

use super::journal::Journal;
use super::slab::{Linked, Links};
use crate::message::{Message, PublishToken};
use crate::time::Time;

/// `sent_at` of what was not sent on the present connection.
pub(super) const UNSENT: u64 = u64::MAX;

/// What is due next for a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// A place in flight, or for QoS 0 a connection.
    Queued,
    /// The PUBACK of a QoS 1 message.
    AwaitingPuback,
    /// The PUBREC of a QoS 2 message.
    AwaitingPubrec,
    /// The PUBCOMP of a QoS 2 message: PUBREL is what is sent again.
    AwaitingPubcomp,
}

/// One publish.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(super) links: Links,
    /// Counts the publishes of the Session.
    pub(crate) number: u64,
    pub(crate) stage: Stage,
    /// In flight, its Packet Identifier.
    pub(crate) id: Option<PacketId>,
    /// Whether a transport took a byte of what is due to be sent (PUBLISH or PUBREL) on an earlier connection.
    pub(crate) dup: bool,
    /// Whether an earlier attempt to publish it, in a Session that the Server has lost, may have reached the Server.
    pub(crate) attempted: bool,
    /// The offset in the present connection's stream at which it starts, or [`UNSENT`].
    pub(super) sent_at: u64,
    /// Dropped once the Server has taken the message over, unless the policy wants it for publishing it again.
    pub(crate) message: Option<Message>,
}

impl Entry {
    /// Whether it was encoded on the present connection.
    #[inline]
    pub(crate) const fn is_sent(&self) -> bool {
        self.sent_at != UNSENT
    }

    /// Where in the stream of the present connection it starts, for the search of all states.
    #[cfg(test)]
    pub(crate) const fn sent_at(&self) -> u64 {
        self.sent_at
    }

    /// Whether the Server may have it; exact between connections.
    pub(crate) fn may_have_arrived(&self) -> bool {
        self.dup || self.attempted || self.stage == Stage::AwaitingPubcomp
    }

    #[inline]
    pub(super) const fn token(&self, place: u32) -> PublishToken {
        // Enough of the number to tell it from those that had this place before.
        PublishToken { index: place, generation: self.number as u32 }
    }

    /// Notes that nothing of it has to survive any longer.
    #[inline]
    pub(super) fn note_resolved(&self, journal: &mut Journal) {
        if self.qos() != QoS::AtMostOnce {
            journal.resolved(self.number, self.message.is_some(), self.stage != Stage::Queued);
        }
    }

    /// The place behind it in its list.
    #[inline]
    pub(crate) const fn next(&self) -> u32 {
        self.links.next()
    }

    /// Its QoS; a PUBREL belongs to QoS 2 though its message may be gone.
    #[inline]
    pub(crate) fn qos(&self) -> QoS {
        match (self.stage, &self.message) {
            (Stage::AwaitingPuback, _) => QoS::AtLeastOnce,
            (Stage::AwaitingPubrec | Stage::AwaitingPubcomp, _) => QoS::ExactlyOnce,
            (Stage::Queued, message) => message.as_ref().map_or(QoS::AtMostOnce, |message| message.qos),
        }
    }

    /// How it is to be delivered: with DUP if an earlier connection had it, or this one (`again`).
    pub(crate) fn delivery(&self, again: bool) -> Delivery {
        let dup = self.dup || again;
        match (self.stage, self.id) {
            (Stage::AwaitingPuback, Some(id)) => Delivery::AtLeastOnce { id, dup },
            (Stage::AwaitingPubrec, Some(id)) => Delivery::ExactlyOnce { id, dup },
            _ => Delivery::AtMostOnce,
        }
    }
}

/// A publish as a stored Session has it.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) number: u64,
    pub(super) stage: Stage,
    pub(super) id: Option<PacketId>,
    pub(super) dup: bool,
    pub(super) attempted: bool,
    pub(super) expiry: Option<Time>,
    pub(super) message: Option<Message>,
}

impl Linked for Entry {
    #[inline]
    fn links(&self) -> &Links {
        &self.links
    }

    #[inline]
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}
