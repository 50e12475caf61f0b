//! The store of a client with a journal: what was fetched, what of it is written, and what a crash leaves.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use mqtt_codec::{Delivery, Packet, PacketId};

use super::super::Core;
use super::super::monitor::{Check, check};
use crate::session::Session;
use crate::session::journal::{Change, Changes, Key};

/// The tags of stored stages and requests, as the format has them.
const AWAITING_PUBCOMP: u8 = 3;

/// Changes that were fetched together, and what the application has saved with them.
#[derive(Debug, Clone)]
struct Batch {
    changes: Changes,
    effects: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    records: BTreeMap<[u8; Key::LEN], Vec<u8>>,
    /// Not wholly written: how many changes of the first batch are.
    writing: VecDeque<Batch>,
    written: usize,
    /// What the application has made of messages since the last batch: their numbers, each once.
    effects: Vec<u8>,
    /// Which message of the application a number of the journal stands for.
    names: BTreeMap<u64, u8>,
}

/// What was written at once.
pub(super) struct Written {
    /// The batch that is complete now.
    pub(super) complete: Option<Changes>,
    pub(super) effects: Vec<u8>,
}

fn number(key: &[u8; Key::LEN]) -> u64 {
    key[1..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Disk {
    /// How many batches wait.
    pub(super) fn writing(&self) -> usize {
        self.writing.len()
    }

    /// The application makes something of a message, to be saved with the next batch.
    pub(super) fn process(&mut self, number: u8) {
        if !self.effects.contains(&number) {
            self.effects.push(number);
        }
    }

    pub(super) fn fetch(&mut self, changes: Changes) {
        let effects = std::mem::take(&mut self.effects);
        self.writing.push_back(Batch { changes, effects });
    }

    /// Writes the next change, or all of the first batch.
    pub(super) fn write(&mut self, whole: bool) -> Result<Written, String> {
        let batch = self.writing.front().ok_or("there is nothing to be written")?;
        let changes = &batch.changes.changes;
        let whole = whole || changes.contains(&Change::Clear);
        let end = if whole { changes.len() } else { self.written + 1 };
        for change in &changes[self.written..end] {
            match change {
                Change::Clear => self.records.clear(),
                Change::Put(key, record) => {
                    let bytes = record.to_bytes();
                    if key.as_bytes()[0] == b'M' {
                        self.names.insert(number(key.as_bytes()), bytes.last().copied().unwrap_or(0));
                    }
                    self.records.insert(*key.as_bytes(), bytes);
                }
                Change::Remove(key) => {
                    self.records.remove(key.as_bytes());
                }
            }
        }
        self.written = end;
        let is_used = |number: u64| {
            self.records.keys().any(|key| matches!(key[0], b'M' | b'S') && self::number(key) == number)
        };
        let unused: Vec<_> = self.names.keys().copied().filter(|number| !is_used(*number)).collect();
        unused.iter().for_each(|number| {
            self.names.remove(number);
        });
        let mut written = Written { complete: None, effects: Vec::new() };
        if end == changes.len() {
            self.written = 0;
            if let Some(batch) = self.writing.pop_front() {
                written = Written { complete: Some(batch.changes), effects: batch.effects };
            }
        }
        self.session()?;
        Ok(written)
    }

    /// The Session of the records, which after each single change they must be.
    pub(super) fn session(&self) -> Result<Session, String> {
        let session = Session::from_records(&self.records);
        session.map_err(|error| format!("the store has no Session: {error}: {:?}", self.records))
    }

    /// What was not written is gone.
    pub(super) fn crash(&mut self) {
        self.writing.clear();
        self.written = 0;
        self.effects.clear();
    }

    /// The message of the application that a number of the journal stands for.
    pub(super) fn name(&self, number: u64) -> Option<u8> {
        self.names.get(&number).copied()
    }

    /// Whether the identifier of a received message is noted.
    pub(super) fn has_received(&self, id: u16) -> bool {
        self.records.keys().any(|key| key[0] == b'R' && number(key) == u64::from(id))
    }

    /// A packet leaves: what it depends on must be here.
    pub(super) fn backs(&self, packet: &Packet<'_>, has_subscriptions: bool) -> Check {
        let has = |kind: u8| self.records.keys().any(|key| key[0] == kind);
        let state = |of: PacketId| {
            let mut states = self.records.iter().filter(|(key, _)| key[0] == b'S');
            states.find(|(_, state)| state[1..3] == of.get().to_be_bytes())
        };
        let backed = match packet {
            Packet::Connect(_) => !has_subscriptions || has(b'C'),
            Packet::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => true,
                Delivery::AtLeastOnce { id, .. } | Delivery::ExactlyOnce { id, .. } => {
                    let message = state(id).and_then(|(key, _)| {
                        let mut key = *key;
                        key[0] = b'M';
                        self.records.get(&key)
                    });
                    message.is_some_and(|message| message.ends_with(publish.payload))
                }
            },
            Packet::Pubrel { id, .. } => state(*id).is_some_and(|(_, state)| state[0] == AWAITING_PUBCOMP),
            Packet::Pubrec(id) => self.has_received(id.get()),
            Packet::Pubcomp(id) => !self.has_received(id.get()),
            Packet::Subscribe(_) | Packet::Unsubscribe(_) => has(b'Q'),
            _ => true,
        };
        check!(backed, "{packet:?} leaves before what it depends on is saved");
        Ok(())
    }

    /// Nothing is left to be done: only what outlives everything is here.
    pub(super) fn quiescent(&self, subscribed: bool) -> Check {
        let left: String = self.records.keys().map(|key| char::from(key[0])).collect();
        check!(left == if subscribed { "F" } else { "" }, "the store keeps {left}");
        Ok(())
    }

    /// The store and the journal. The numbers of requests grow for ever: they are told by their order.
    pub(super) fn hash(&self, core: &Core, state: &mut impl Hasher) {
        let (pending, all_saved, fetched, open) = core.journal().view(core.outbox().taken());
        let batches = self.writing.iter().map(|batch| &batch.changes.changes[..]);
        let session = core.session();
        let mut requests: Vec<u64> = session.requests.iter().map(|(_, request)| request.number).collect();
        requests.push(session.requests.next_number() - 1);
        let in_changes = batches.clone().chain([pending]).flatten().filter_map(Change::key);
        let keys = self.records.keys().chain(in_changes.map(Key::as_bytes));
        requests.extend(keys.filter(|key| key[0] == b'Q').map(number));
        requests.sort_unstable();
        requests.dedup();
        let rank = |of: u64| requests.partition_point(|other| *other < of);
        let name = |key: &[u8; Key::LEN]| {
            let number = number(key);
            (key[0], if key[0] == b'Q' { rank(number) as u64 } else { number })
        };
        for (key, record) in &self.records {
            (name(key), record).hash(state);
        }
        for (at, changes) in batches.chain([pending]).enumerate() {
            (at, changes.len()).hash(state);
            for change in changes {
                match change {
                    Change::Clear => 0_u8.hash(state),
                    Change::Put(key, record) => (1_u8, name(key.as_bytes()), record.to_bytes()).hash(state),
                    Change::Remove(key) => (2_u8, name(key.as_bytes())).hash(state),
                }
            }
        }
        for batch in &self.writing {
            batch.effects.hash(state);
        }
        (self.written, &self.effects, &self.names, all_saved, fetched, open).hash(state);
        for (_, request) in session.requests.iter() {
            rank(request.number).hash(state);
        }
        rank(session.requests.next_number() - 1).hash(state);
        for (_, entry) in session.outgoing.iter() {
            entry.number.hash(state);
        }
        session.outgoing.counters().hash(state);
    }
}
