//! Publishes from their admission to their outcome.

use alloc::vec::Vec;

use mqtt_codec::{PacketId, QoS};

pub(super) use super::entry::Restored;
use super::entry::UNSENT;
pub(crate) use super::entry::{Entry, Stage};
use super::expiries::Expiries;
use super::journal::Journal;
use super::slab::{Links, List, NIL, Slab};
use crate::message::{Message, PublishToken};
use crate::time::Time;

/// All publishes that are not resolved, each in one of four orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Outgoing {
    slab: Slab<Entry>,
    /// QoS 1 and 2 that wait for a place in flight.
    pub(crate) queue: List,
    /// QoS 0 that wait for a connection.
    pub(crate) queue_qos0: List,
    /// PUBLISHes in flight, in the order in which they were first sent.
    pub(crate) sent: List,
    /// PUBRELs in flight, in the order in which their PUBRECs came [MQTT-4.6.0-4].
    pub(crate) released: List,
    /// The bytes of the messages in both queues, as PUBLISH packets.
    queued_size: usize,
    /// When messages in the queues expire.
    expiries: Expiries,
    /// The number of the last publish.
    last_number: u64,
    /// How many PUBRECs have come.
    pubrecs: u64,
}

impl Outgoing {
    pub(crate) const fn new() -> Self {
        Self {
            slab: Slab::new(),
            queue: List::new(),
            queue_qos0: List::new(),
            sent: List::new(),
            released: List::new(),
            queued_size: 0,
            expiries: Expiries::new(),
            last_number: 0,
            pubrecs: 0,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.queued_len() == 0 && self.in_flight() == 0
    }

    /// How many wait in the queues.
    pub(crate) const fn queued_len(&self) -> usize {
        self.queue.len() + self.queue_qos0.len()
    }

    pub(crate) const fn queued_size(&self) -> usize {
        self.queued_size
    }

    /// How many are in flight, sent on the present connection or not.
    pub(crate) const fn in_flight(&self) -> usize {
        self.sent.len() + self.released.len()
    }

    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Entry> {
        self.slab.get(place)
    }

    #[inline]
    pub(crate) fn next(&self, place: u32) -> u32 {
        List::next(&self.slab, place)
    }

    #[inline]
    fn token(&self, place: u32) -> PublishToken {
        self.slab.get(place).map_or(PublishToken { index: place, generation: 0 }, |entry| entry.token(place))
    }

    #[inline]
    fn insert(&mut self, message: Message, stage: Stage, id: Option<PacketId>, sent_at: u64) -> u32 {
        self.last_number += 1;
        self.slab.insert(Entry {
            links: Links::NONE,
            number: self.last_number,
            stage,
            id,
            dup: false,
            attempted: false,
            sent_at,
            message: Some(message),
        })
    }

    /// Puts a message of `size` bytes at the end of its queue.
    pub(crate) fn enqueue(&mut self, message: Message, size: usize, journal: &mut Journal) -> PublishToken {
        let qos = message.qos;
        if qos != QoS::AtMostOnce {
            journal.accepted(self.last_number + 1, &message, false);
        }
        let place = self.insert(message, Stage::Queued, None, UNSENT);
        self.queued_size += size;
        match qos {
            QoS::AtMostOnce => self.queue_qos0.push_back(&mut self.slab, place),
            _ => self.queue.push_back(&mut self.slab, place),
        }
        self.token(place)
    }

    /// The place that the next entry gets.
    #[inline]
    pub(crate) fn next_place(&self) -> u32 {
        self.slab.next_place()
    }

    /// Puts a message into flight at once, under `id`; it starts at `offset` of the stream.
    #[inline]
    pub(crate) fn insert_in_flight(
        &mut self,
        message: Message,
        id: PacketId,
        offset: u64,
        journal: &mut Journal,
    ) -> PublishToken {
        let stage =
            if message.qos == QoS::ExactlyOnce { Stage::AwaitingPubrec } else { Stage::AwaitingPuback };
        let number = self.last_number + 1;
        journal.accepted(number, &message, false);
        journal.launched(number, stage, id);
        let place = self.insert(message, stage, Some(id), offset);
        self.sent.push_back(&mut self.slab, place);
        PublishToken { index: place, generation: number as u32 }
    }

    /// The place of a publish that is not resolved. `None` also for one whose outcome waits to be reported.
    pub(crate) fn find(&self, token: PublishToken) -> Option<(u32, &Entry)> {
        let entry = self.slab.get(token.index).filter(|entry| entry.token(token.index) == token)?;
        let pending = entry.message.is_some() || entry.stage == Stage::AwaitingPubcomp;
        pending.then_some((token.index, entry))
    }

    /// The message at `place`, which is in a queue, expires at `time`.
    pub(crate) fn set_expiry(&mut self, place: u32, time: Time, journal: &mut Journal) {
        self.expiries.set(place, time);
        if let Some(entry) = self.slab.get(place).filter(|entry| entry.qos() != QoS::AtMostOnce) {
            journal.expires(entry.number, time);
        }
    }

    /// The first message that expires.
    #[inline]
    pub(crate) fn first_expiry(&self) -> Option<(Time, u32)> {
        self.expiries.first()
    }

    /// When the message at `place` expires.
    pub(crate) fn expiry(&self, place: u32) -> Option<Time> {
        self.expiries.get(place)
    }

    /// Takes an entry of a queue out of it.
    pub(crate) fn dequeue(&mut self, place: u32) {
        let Some(entry) = self.slab.get(place) else { return };
        let (qos, size) = entry
            .message
            .as_ref()
            .map_or((QoS::AtMostOnce, 0), |message| (message.qos, message.encoded_len().unwrap_or(0)));
        self.queued_size = self.queued_size.saturating_sub(size);
        self.expiries.remove(place);
        match qos {
            QoS::AtMostOnce => self.queue_qos0.unlink(&mut self.slab, place),
            _ => self.queue.unlink(&mut self.slab, place),
        }
    }

    /// Puts an entry that is in no list into flight under `id`; it starts at `offset` of the stream.
    #[inline]
    pub(crate) fn launch(&mut self, place: u32, id: PacketId, offset: u64, journal: &mut Journal) {
        if let Some(entry) = self.slab.get_mut(place) {
            entry.id = Some(id);
            entry.sent_at = offset;
            entry.stage = match &entry.message {
                Some(Message { qos: QoS::ExactlyOnce, .. }) => Stage::AwaitingPubrec,
                _ => Stage::AwaitingPuback,
            };
            journal.launched(entry.number, entry.stage, id);
        }
        self.sent.push_back(&mut self.slab, place);
    }

    /// Notes that an entry in flight was encoded again, at `offset`.
    pub(crate) fn sent_again(&mut self, place: u32, offset: u64) {
        if let Some(entry) = self.slab.get_mut(place) {
            entry.sent_at = offset;
        }
    }

    /// PUBREC came: from now on it is the PUBREL that is in flight. The message is kept only if `keep`.
    pub(crate) fn release(&mut self, place: u32, keep: bool, journal: &mut Journal) {
        self.sent.unlink(&mut self.slab, place);
        if let Some(entry) = self.slab.get_mut(place) {
            entry.stage = Stage::AwaitingPubcomp;
            entry.dup = false;
            entry.sent_at = UNSENT;
            if !keep {
                entry.message = None;
            }
            self.pubrecs += 1;
            if let Some(id) = entry.id {
                journal.released(entry.number, id, self.pubrecs, keep);
            }
        }
        self.released.push_back(&mut self.slab, place);
    }

    /// Takes an entry out whose outcome is to be reported later: until [`reported`](Self::reported), its token stays
    /// its own.
    pub(crate) fn retire(
        &mut self,
        place: u32,
        journal: &mut Journal,
    ) -> Option<(PublishToken, Option<Message>)> {
        let entry = self.slab.get(place)?;
        let token = entry.token(place);
        entry.note_resolved(journal);
        self.unlink(place, entry.stage);
        let entry = self.slab.get_mut(place)?;
        // Neither pending nor sent any more: see `find`.
        entry.stage = Stage::Queued;
        Some((token, entry.message.take()))
    }

    /// The outcome of a retired entry was reported.
    pub(crate) fn reported(&mut self, token: PublishToken) {
        if self.slab.get(token.index).is_some_and(|entry| entry.token(token.index) == token) {
            self.slab.discard(token.index);
        }
    }

    /// Takes an entry out whose outcome is reported right now.
    #[inline]
    pub(crate) fn finish(&mut self, place: u32, journal: &mut Journal) -> Option<PublishToken> {
        let entry = self.slab.get(place)?;
        let token = entry.token(place);
        entry.note_resolved(journal);
        self.unlink(place, entry.stage);
        self.slab.discard(place);
        Some(token)
    }

    #[inline]
    fn unlink(&mut self, place: u32, stage: Stage) {
        match stage {
            Stage::Queued => self.dequeue(place),
            Stage::AwaitingPuback | Stage::AwaitingPubrec => self.sent.unlink(&mut self.slab, place),
            Stage::AwaitingPubcomp => self.released.unlink(&mut self.slab, place),
        }
    }

    /// The connection ended after `taken` bytes of its stream: what was sent at all carries DUP from now on
    /// [MQTT-3.3.1-1], and nothing counts as sent on the next connection.
    pub(crate) fn connection_ended(&mut self, taken: u64) {
        for list in [&self.sent, &self.released] {
            let mut place = list.first();
            while let Some(entry) = self.slab.get_mut(place) {
                entry.dup |= entry.sent_at < taken;
                entry.sent_at = UNSENT;
                place = entry.links.next();
            }
        }
    }

    /// The Server lost the Session. Of each entry in flight that was not sent on the present connection, `again`
    /// decides whether it is queued anew, in its order and before the queue, or handed to `give_up`. `free` is told
    /// the identifiers that are no longer in use.
    pub(crate) fn session_lost(
        &mut self,
        again: impl Fn(&Entry) -> bool,
        mut free: impl FnMut(PacketId),
        mut give_up: impl FnMut(PublishToken, bool),
        journal: &mut Journal,
    ) {
        let mut again_places = Vec::new();
        for released in [true, false] {
            let mut place = if released { self.released.first() } else { self.sent.first() };
            while place != NIL {
                let next = self.next(place);
                if self.forget(place, &again, &mut free, &mut give_up, journal) {
                    again_places.push(place);
                }
                place = next;
            }
        }
        // PUBRECs need not come in the order of the PUBLISHes, but publishes are numbered in it.
        again_places.sort_by_key(|&place| self.slab.get(place).map(|entry| entry.number));
        // The last one first: what a crash leaves in flight goes before what it leaves in the queue.
        for entry in again_places.iter().rev().filter_map(|&place| self.slab.get(place)) {
            journal.requeued(entry.number);
        }
        let mut kept = List::new();
        for place in again_places {
            kept.push_back(&mut self.slab, place);
        }
        self.queue.prepend(&mut self.slab, kept);
    }

    /// Takes an entry out of flight; whether it is to be queued anew. It is in no list then.
    fn forget(
        &mut self,
        place: u32,
        again: &impl Fn(&Entry) -> bool,
        free: &mut impl FnMut(PacketId),
        give_up: &mut impl FnMut(PublishToken, bool),
        journal: &mut Journal,
    ) -> bool {
        let Some(entry) = self.slab.get(place).filter(|entry| !entry.is_sent()) else { return false };
        if let Some(id) = entry.id {
            free(id);
        }
        let size = entry.message.as_ref().map_or(0, |message| message.encoded_len().unwrap_or(0));
        if !again(entry) {
            let seen = entry.may_have_arrived();
            if let Some((token, _)) = self.retire(place, journal) {
                give_up(token, seen);
            }
            return false;
        }
        match entry.stage {
            Stage::AwaitingPubcomp => self.released.unlink(&mut self.slab, place),
            _ => self.sent.unlink(&mut self.slab, place),
        }
        if let Some(entry) = self.slab.get_mut(place) {
            let attempted = entry.may_have_arrived();
            if let Some(message) = entry.message.as_ref().filter(|_| attempted && !entry.attempted) {
                journal.accepted(entry.number, message, true);
            }
            entry.attempted = attempted;
            entry.stage = Stage::Queued;
            entry.id = None;
            entry.dup = false;
        }
        self.queued_size += size;
        true
    }

    /// Every entry: in flight in the order of sending again, then the queues.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.released
            .iter(&self.slab)
            .chain(self.sent.iter(&self.slab))
            .chain(self.queue.iter(&self.slab))
            .chain(self.queue_qos0.iter(&self.slab))
    }

    /// The entries of one of the orders.
    pub(crate) fn iter_list(&self, list: &List) -> impl Iterator<Item = &Entry> {
        list.iter(&self.slab).map(|(_, entry)| entry)
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = (PublishToken, Option<&Message>)> {
        self.iter().map(|(place, entry)| (entry.token(place), entry.message.as_ref()))
    }

    /// The numbers of the last publish and PUBREC.
    pub(crate) fn counters(&self) -> (u64, u64) {
        (self.last_number, self.pubrecs)
    }

    pub(super) fn set_counters(&mut self, (last_number, pubrecs): (u64, u64)) {
        (self.last_number, self.pubrecs) = (last_number, pubrecs);
    }

    /// Puts back an entry from a stored Session, at the end of its list.
    pub(super) fn restore(&mut self, restored: Restored) -> u32 {
        let Restored { number, stage, id, dup, attempted, expiry, message } = restored;
        self.last_number = self.last_number.max(number);
        let qos = message.as_ref().map(|message| message.qos);
        let size = message.as_ref().map_or(0, |message| message.encoded_len().unwrap_or(0));
        let entry = Entry { links: Links::NONE, number, stage, id, dup, attempted, sent_at: UNSENT, message };
        let place = self.slab.insert(entry);
        let list = match stage {
            Stage::Queued => {
                self.queued_size += size;
                if qos == Some(QoS::AtMostOnce) { &mut self.queue_qos0 } else { &mut self.queue }
            }
            Stage::AwaitingPuback | Stage::AwaitingPubrec => &mut self.sent,
            Stage::AwaitingPubcomp => &mut self.released,
        };
        list.push_back(&mut self.slab, place);
        if let Some(time) = expiry {
            self.expiries.set(place, time);
        }
        place
    }
}
