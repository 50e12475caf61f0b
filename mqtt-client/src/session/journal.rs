//! What changes in the Session, for whoever keeps it on a disk.
//!
//! A Session on a disk is a set of records. Each change of it writes one record or removes one, in an order such that
//! after every single change the records are a Session again, one from which nothing is lost or doubled:
//!
//! | record | holds | written | removed |
//! |---|---|---|---|
//! | message | topic, payload, QoS, RETAIN | when it is accepted | when the PUBREC or the outcome is there |
//! | state | Packet Identifier, what it waits for | when it goes into flight, and at the PUBREC | after the message |
//! | expiry | when a queued message expires | on `expire` | when it is in flight, or after the message |
//! | received | the identifier of a QoS 2 message | when the application has it | at its PUBREL |
//! | request | filters without their answer | when it is accepted | when it is answered, after what that changes |
//! | subscription | filter and QoS | at the SUBACK | at the UNSUBACK |
//! | connecting | that a CONNECT was sent | before it is | after what the CONNACK changes |
//!
//! A message without a state is queued; a state without a message is over, unless it is a PUBREL.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use mqtt_codec::{PacketId, QoS, TopicFilter};

use super::Session;
use super::outgoing::Stage;
use super::requests::Kind;
use super::store;
use crate::message::Message;
use crate::time::Time;

/// So many changes may wait to be saved; then the Server and the application must wait too.
const LIMIT: usize = 16 * 1024;

/// The name of one record of a stored Session: nine bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 9]);

impl Key {
    /// The length of every key in bytes.
    pub const LEN: usize = 9;

    /// No record has it: to remove it changes nothing.
    const BARRIER: Self = Self([0; Self::LEN]);

    pub(super) const fn new(kind: RecordKind, number: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        Self([kind as u8, a, b, c, d, e, f, g, h])
    }

    /// The bytes to store it under. In their order, messages stand as they were accepted.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The first byte of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum RecordKind {
    Connecting = b'C',
    Expiry = b'E',
    Subscription = b'F',
    Message = b'M',
    Request = b'Q',
    Received = b'R',
    State = b'S',
}

/// The content of one record of a stored Session. Holds messages by reference until [`to_bytes`](Self::to_bytes) is
/// called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record(pub(super) Value);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Connecting,
    Expiry(Time),
    Subscription(TopicFilter, QoS),
    Message { message: Message, attempted: bool },
    Request(Kind),
    Received(Option<u64>),
    State { stage: Stage, id: PacketId, order: u64 },
}

impl Record {
    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        store::encode_value(&mut out, &self.0);
        out
    }
}

/// One change of a stored Session, from [`Client::poll_changes`](crate::Client::poll_changes).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// Remove all records.
    Clear,
    /// Write this record, new or in place of the one with this key.
    Put(Key, Record),
    /// Remove the record with this key, if there is one.
    Remove(Key),
}

impl Change {
    /// The record that it concerns; `None` is all of them.
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Clear => None,
            Self::Put(key, _) | Self::Remove(key) => Some(key),
        }
    }
}

/// A point in the sequence of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark(u64);

/// Some changes, in order, and the point behind the last of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Changes {
    /// What to write. Write it as one transaction, or in this order: a crash may then cut it off after any change.
    pub changes: Vec<Change>,
    /// What to tell [`Client::changes_saved`](crate::Client::changes_saved) once they are safe.
    pub mark: Mark,
}

/// The changes that are not saved, and how far the output depends on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Journal {
    enabled: bool,
    /// Not fetched yet.
    changes: Vec<Change>,
    noted: u64,
    saved: u64,
    /// Fetched and not saved: each mark, and the offset that the output had when it was fetched.
    fetched: VecDeque<(u64, u64)>,
    /// The output up to this offset depends on saved changes only.
    open_until: u64,
    /// The numbers of messages that have an expiry record.
    expiring: BTreeSet<u64>,
}

impl Journal {
    pub(crate) const fn new(enabled: bool) -> Self {
        Self {
            enabled,
            changes: Vec::new(),
            noted: 0,
            saved: 0,
            fetched: VecDeque::new(),
            open_until: 0,
            expiring: BTreeSet::new(),
        }
    }

    pub(crate) const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether so much waits that nothing should be accepted that leads to more.
    #[inline]
    pub(crate) const fn is_full(&self) -> bool {
        self.noted - self.saved >= LIMIT as u64
    }

    /// The offset of the output up to which it may go out, if not all of it may: nothing leaves that depends on a
    /// change that a crash could undo.
    #[inline]
    pub(crate) const fn limit(&self) -> Option<u64> {
        if self.noted == self.saved { None } else { Some(self.open_until) }
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Everything up to now.
    pub(crate) const fn mark(&self) -> Mark {
        Mark(self.noted)
    }

    pub(crate) const fn is_saved(&self, mark: Mark) -> bool {
        mark.0 <= self.saved
    }

    /// Hands the changes out; `offset` is how far the output goes now.
    pub(crate) fn take(&mut self, offset: u64) -> Option<Changes> {
        if self.changes.is_empty() {
            return None;
        }
        self.fetched.push_back((self.noted, offset));
        Some(Changes { changes: core::mem::take(&mut self.changes), mark: self.mark() })
    }

    /// All changes up to `mark` are safe. A mark that was not handed out counts as the one before it.
    pub(crate) fn save(&mut self, mark: Mark) {
        while let Some(&(noted, offset)) = self.fetched.front().filter(|(noted, _)| *noted <= mark.0) {
            self.fetched.pop_front();
            self.saved = noted;
            self.open_until = offset;
        }
    }

    /// What is not fetched; whether all is saved; how far from `taken` on the output opens with each batch that is
    /// fetched, and is open. For the search of all states.
    #[cfg(test)]
    pub(crate) fn view(&self, taken: u64) -> (&[Change], bool, Vec<u64>, u64) {
        let ahead = self.fetched.iter().map(|(_, offset)| offset.saturating_sub(taken)).collect();
        (&self.changes, self.noted == self.saved, ahead, self.open_until.saturating_sub(taken))
    }

    /// The output starts to count anew.
    pub(crate) fn connection_ended(&mut self) {
        self.open_until = 0;
        self.fetched.iter_mut().for_each(|(_, offset)| *offset = 0);
    }

    #[inline]
    fn put(&mut self, kind: RecordKind, number: u64, value: impl FnOnce() -> Value) {
        if self.enabled {
            self.note(Change::Put(Key::new(kind, number), Record(value())));
        }
    }

    #[inline]
    fn remove(&mut self, kind: RecordKind, number: u64) {
        if self.enabled {
            self.note(Change::Remove(Key::new(kind, number)));
        }
    }

    #[cold]
    fn note(&mut self, change: Change) {
        match self.changes.last_mut() {
            // What it replaces was never handed out.
            Some(last) if last.key() == change.key() => *last = change,
            _ => {
                self.noted += 1;
                self.changes.push(change);
            }
        }
    }

    /// A journal that begins with a Session: what a store lacks that holds another one, or none; or, if the store holds
    /// this one, what it holds in vain.
    pub(super) fn of(session: &Session, stored: Option<Vec<Key>>) -> Self {
        let mut journal = Self::new(true);
        let expiring = session.outgoing.iter().filter(|(place, _)| session.outgoing.expiry(*place).is_some());
        journal.expiring = expiring.map(|(_, entry)| entry.number).collect();
        match stored {
            Some(useless) => useless.into_iter().for_each(|key| journal.note(Change::Remove(key))),
            None => journal.note_all(session),
        }
        journal
    }

    fn note_all(&mut self, session: &Session) {
        self.note(Change::Clear);
        for (order, (place, entry)) in (1..).zip(session.outgoing.iter()) {
            let Some(message) = entry.message.as_ref().filter(|message| message.qos != QoS::AtMostOnce)
            else {
                if let (Stage::AwaitingPubcomp, Some(id)) = (entry.stage, entry.id) {
                    self.released(entry.number, id, order, true);
                }
                continue;
            };
            self.accepted(entry.number, message, entry.attempted);
            match (entry.stage, entry.id) {
                (Stage::AwaitingPubcomp, Some(id)) => self.released(entry.number, id, order, true),
                (stage, Some(id)) => self.launched(entry.number, stage, id),
                (_, None) => {
                    if let Some(time) = session.outgoing.expiry(place) {
                        self.expires(entry.number, time);
                    }
                }
            }
        }
        for id in session.received.iter() {
            self.received(id, session.received.digest(id));
        }
        for (_, request) in session.requests.iter() {
            self.requested(request.number, &request.kind);
        }
        for (number, filter, qos) in session.subscriptions.iter() {
            self.subscribed(number, filter, qos);
        }
        if session.unsettled {
            self.connecting(true);
        }
    }

    /// A change that changes nothing, for the output to wait for.
    pub(crate) fn barrier(&mut self) {
        if self.enabled {
            self.note(Change::Remove(Key::BARRIER));
        }
    }

    /// The Session is empty now.
    pub(crate) fn cleared(&mut self) {
        if self.enabled {
            self.expiring.clear();
            // What was to be written before is void.
            self.changes.clear();
            self.note(Change::Clear);
        }
    }

    /// A message was accepted, or its earlier attempt is to be remembered.
    #[inline]
    pub(super) fn accepted(&mut self, number: u64, message: &Message, attempted: bool) {
        self.put(RecordKind::Message, number, || Value::Message { message: message.clone(), attempted });
    }

    /// A message went into flight.
    #[inline]
    pub(super) fn launched(&mut self, number: u64, stage: Stage, id: PacketId) {
        self.put(RecordKind::State, number, || Value::State { stage, id, order: 0 });
        self.forget_expiry(number);
    }

    /// The PUBREC came, as the `order`th.
    #[inline]
    pub(super) fn released(&mut self, number: u64, id: PacketId, order: u64, keep: bool) {
        self.put(RecordKind::State, number, || Value::State { stage: Stage::AwaitingPubcomp, id, order });
        if !keep {
            self.remove(RecordKind::Message, number);
        }
    }

    /// A message waits in the queue again.
    pub(super) fn requeued(&mut self, number: u64) {
        self.remove(RecordKind::State, number);
    }

    /// The outcome of a message is there.
    #[inline]
    pub(super) fn resolved(&mut self, number: u64, has_message: bool, in_flight: bool) {
        if has_message {
            self.remove(RecordKind::Message, number);
        }
        if in_flight {
            self.remove(RecordKind::State, number);
        }
        self.forget_expiry(number);
    }

    pub(super) fn expires(&mut self, number: u64, at: Time) {
        if self.enabled {
            self.expiring.insert(number);
            self.put(RecordKind::Expiry, number, || Value::Expiry(at));
        }
    }

    #[inline]
    fn forget_expiry(&mut self, number: u64) {
        if !self.expiring.is_empty() && self.expiring.remove(&number) {
            self.remove(RecordKind::Expiry, number);
        }
    }

    /// The application has the QoS 2 message with `id`.
    pub(crate) fn received(&mut self, id: PacketId, digest: Option<u64>) {
        self.put(RecordKind::Received, u64::from(id.get()), || Value::Received(digest));
    }

    pub(crate) fn received_released(&mut self, id: PacketId) {
        self.remove(RecordKind::Received, u64::from(id.get()));
    }

    pub(super) fn requested(&mut self, number: u64, kind: &Kind) {
        self.put(RecordKind::Request, number, || Value::Request(kind.clone()));
    }

    pub(super) fn answered(&mut self, number: u64) {
        self.remove(RecordKind::Request, number);
    }

    pub(super) fn subscribed(&mut self, number: u64, filter: &TopicFilter, qos: QoS) {
        self.put(RecordKind::Subscription, number, || Value::Subscription(filter.clone(), qos));
    }

    pub(super) fn unsubscribed(&mut self, number: u64) {
        self.remove(RecordKind::Subscription, number);
    }

    /// A CONNECT is about to be sent, or its CONNACK came.
    pub(crate) fn connecting(&mut self, connecting: bool) {
        if connecting {
            self.put(RecordKind::Connecting, 0, || Value::Connecting);
        } else {
            self.remove(RecordKind::Connecting, 0);
        }
    }
}
