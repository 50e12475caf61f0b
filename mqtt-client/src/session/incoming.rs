//! Received messages: which QoS 2 identifiers are known, and which acknowledgements are due.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use mqtt_codec::{PacketId, Publish, QoS};

use crate::message::AckToken;

/// The identifiers of QoS 2 messages that were handed to the application and whose PUBREL has not come: a bitmap that
/// grows with the largest identifier, 8 KiB at the most.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReceivedIds {
    words: Vec<u64>,
    len: usize,
    /// With MQTT 3.1, what the messages were, as far as it is known.
    digests: BTreeMap<PacketId, u64>,
}

impl ReceivedIds {
    pub(crate) const fn new() -> Self {
        Self { words: Vec::new(), len: 0, digests: BTreeMap::new() }
    }

    const fn place(id: PacketId) -> (usize, u64) {
        let id = id.get();
        (id as usize / 64, 1 << (id % 64))
    }

    #[inline]
    pub(crate) fn contains(&self, id: PacketId) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds `id`; false if it was there.
    #[inline]
    pub(crate) fn insert(&mut self, id: PacketId) -> bool {
        let (at, bit) = Self::place(id);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let Some(word) = self.words.get_mut(at) else { return false };
        let fresh = *word & bit == 0;
        *word |= bit;
        self.len += usize::from(fresh);
        fresh
    }

    /// Notes what the message with `id` was.
    pub(crate) fn remember(&mut self, id: PacketId, digest: u64) {
        self.digests.insert(id, digest);
    }

    /// What the message with `id` was, if that is known.
    pub(crate) fn digest(&self, id: PacketId) -> Option<u64> {
        self.digests.get(&id).copied()
    }

    /// Whether the message with `id` is known to have been this one.
    pub(crate) fn was(&self, id: PacketId, publish: &Publish<'_>) -> bool {
        self.digests.get(&id).is_some_and(|known| *known == digest(publish))
    }

    /// Takes `id` out; false if it was not there.
    #[inline]
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        let (at, bit) = Self::place(id);
        let Some(word) = self.words.get_mut(at) else { return false };
        let present = *word & bit != 0;
        if !self.digests.is_empty() {
            self.digests.remove(&id);
        }
        *word &= !bit;
        self.len -= usize::from(present);
        present
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .filter_map(move |bit| u16::try_from(at * 64 + bit).ok().and_then(PacketId::new))
        })
    }
}

/// FNV-1a: enough to tell a message from the next one, and not made against somebody who wants a collision (who could as
/// well send the same message).
pub(crate) fn digest(publish: &Publish<'_>) -> u64 {
    let topic = publish.topic.as_bytes();
    topic
        .iter()
        .chain(&[0])
        .chain(publish.payload)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How many messages may wait for their manual acknowledgement before the input is not read on. No Server can have
/// more identifiers than that in use.
const MAX_PENDING: usize = 65_535;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pending {
    id: PacketId,
    qos: QoS,
    acknowledged: bool,
}

/// With manual acknowledgement, what was received on this connection and not acknowledged yet, in the order of
/// receipt: acknowledgements leave in this order, whatever the order of the application's calls [MQTT-4.6.0-2].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AckQueue {
    connection: u32,
    /// The sequence number of the first in `pending`.
    first: u64,
    pending: VecDeque<Pending>,
    /// The identifiers of the QoS 2 messages in `pending`.
    exactly_once: ReceivedIds,
}

impl AckQueue {
    pub(crate) const fn new(connection: u32) -> Self {
        Self { connection, first: 0, pending: VecDeque::new(), exactly_once: ReceivedIds::new() }
    }

    /// Whether nothing waits for its acknowledgement.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether so many wait that no more input should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Whether a QoS 2 message with `id` was handed over and is not acknowledged.
    pub(crate) fn holds_exactly_once(&self, id: PacketId) -> bool {
        self.exactly_once.contains(id)
    }

    /// Notes what the QoS 2 message with `id` is, which is about to be pushed.
    pub(crate) fn remember(&mut self, id: PacketId, digest: u64) {
        self.exactly_once.remember(id, digest);
    }

    /// What the QoS 2 message with `id` is, if that is known.
    pub(crate) fn digest(&self, id: PacketId) -> Option<u64> {
        self.exactly_once.digest(id)
    }

    pub(crate) fn push(&mut self, id: PacketId, qos: QoS) -> AckToken {
        let sequence = self.first + self.pending.len() as u64;
        if qos == QoS::ExactlyOnce {
            self.exactly_once.insert(id);
        }
        self.pending.push_back(Pending { id, qos, acknowledged: false });
        AckToken { connection: self.connection, sequence }
    }

    /// All that wait, and whether they are acknowledged, for the search of all states.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, QoS, bool)> {
        self.pending.iter().map(|pending| (pending.id, pending.qos, pending.acknowledged))
    }

    /// What the token stands for, unless it is stale or acknowledged.
    pub(crate) fn get(&self, token: AckToken) -> Option<(PacketId, QoS)> {
        let at = usize::try_from(token.sequence.checked_sub(self.first)?).ok()?;
        let pending = self.pending.get(at).filter(|pending| !pending.acknowledged)?;
        (token.connection == self.connection).then_some((pending.id, pending.qos))
    }

    /// Notes the acknowledgement; what it was for, or `None` if it is stale or a second one.
    pub(crate) fn acknowledge(&mut self, token: AckToken) -> Option<(PacketId, QoS)> {
        if token.connection != self.connection {
            return None;
        }
        let at = usize::try_from(token.sequence.checked_sub(self.first)?).ok()?;
        let pending = self.pending.get_mut(at).filter(|pending| !pending.acknowledged)?;
        pending.acknowledged = true;
        Some((pending.id, pending.qos))
    }

    /// The next acknowledgement to send, if it is its turn.
    pub(crate) fn pop(&mut self) -> Option<(PacketId, QoS)> {
        let Pending { id, qos, .. } = *self.pending.front().filter(|pending| pending.acknowledged)?;
        self.pending.pop_front();
        if qos == QoS::ExactlyOnce {
            self.exactly_once.remove(id);
        }
        self.first += 1;
        Some((id, qos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    #[test]
    fn received_ids_are_a_set() {
        let mut ids = ReceivedIds::new();
        for n in [1, 63, 64, 65_535] {
            assert!(ids.insert(id(n)));
            assert!(!ids.insert(id(n)));
            assert!(ids.contains(id(n)));
        }
        assert_eq!(ids.iter().map(PacketId::get).collect::<Vec<_>>(), [1, 63, 64, 65_535]);
        assert!(ids.remove(id(64)) && !ids.remove(id(64)) && !ids.remove(id(1000)));
        assert!(!ids.contains(id(64)));
        assert_eq!(ids.len(), 3);
        assert!(ids.words.len() * 8 <= 8192);
    }

    #[test]
    fn acknowledgements_leave_in_the_order_of_receipt() {
        let mut acks = AckQueue::new(3);
        let tokens: Vec<_> = (1..=3).map(|n| acks.push(id(n), QoS::AtLeastOnce)).collect();
        assert_eq!(acks.acknowledge(tokens[2]), Some((id(3), QoS::AtLeastOnce)));
        assert_eq!(acks.pop(), None, "1 and 2 come first");
        acks.acknowledge(tokens[0]);
        assert_eq!(acks.pop(), Some((id(1), QoS::AtLeastOnce)));
        assert_eq!(acks.pop(), None);
        assert_eq!(acks.acknowledge(tokens[0]), None, "a second time");
        acks.acknowledge(tokens[1]);
        assert_eq!(acks.pop(), Some((id(2), QoS::AtLeastOnce)));
        assert_eq!(acks.pop(), Some((id(3), QoS::AtLeastOnce)));
        assert_eq!(AckQueue::new(4).acknowledge(tokens[1]), None, "of an earlier connection");
    }
}
