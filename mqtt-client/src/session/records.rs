//! A Session from the records of a store.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mqtt_codec::{PacketId, QoS, TopicFilter};

use super::Session;
use super::journal::{Key, RecordKind, Value};
use super::outgoing::{Restored, Stage};
use super::requests::Kind;
use super::store;
use crate::error::SessionDecodeError as Error;
use crate::message::Message;
use crate::time::Time;

/// The records by kind and number: in the order of their numbers, whatever the order of the store.
#[derive(Debug, Default)]
pub(super) struct Records {
    messages: BTreeMap<u64, (Message, bool)>,
    states: BTreeMap<u64, (Stage, PacketId, u64)>,
    expiries: BTreeMap<u64, Time>,
    received: BTreeMap<PacketId, Option<u64>>,
    requests: BTreeMap<u64, Kind>,
    subscriptions: BTreeMap<u64, (TopicFilter, QoS)>,
    connecting: bool,
}

impl Records {
    /// Adds one record as it is stored.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (&kind, number) = key.split_first().ok_or(Error::NotASession)?;
        let number = u64::from_be_bytes(number.try_into().map_err(|_| Error::NotASession)?);
        let kind = RecordKind::of(kind).ok_or(Error::NotASession)?;
        // The store has each key once; and numbers go on from the largest.
        let fresh = number < u64::MAX / 2
            && match store::decode_value(kind, value)? {
                // There is one; another would never be removed.
                Value::Connecting => number == 0 && !core::mem::replace(&mut self.connecting, true),
                Value::Expiry(time) => self.expiries.insert(number, time).is_none(),
                Value::Subscription(filter, qos) => {
                    self.subscriptions.insert(number, (filter, qos)).is_none()
                }
                Value::Message { message, attempted } => {
                    message.qos != QoS::AtMostOnce
                        && self.messages.insert(number, (message, attempted)).is_none()
                }
                Value::Request(kind) => self.requests.insert(number, kind).is_none(),
                Value::Received(digest) => match u16::try_from(number).ok().and_then(PacketId::new) {
                    Some(id) => self.received.insert(id, digest).is_none(),
                    None => false,
                },
                Value::State { stage, id, order } => {
                    // Only PUBRELs have an order of their own.
                    let is_ordered = stage == Stage::AwaitingPubcomp && order < u64::MAX / 2;
                    (is_ordered || order == 0)
                        && stage != Stage::Queued
                        && self.states.insert(number, (stage, id, order)).is_none()
                }
            };
        if fresh { Ok(()) } else { Err(Error::Corrupt) }
    }

    pub(super) fn into_session(mut self) -> Result<Session, Error> {
        let mut session = Session::new();
        let mut useless = Vec::new();
        self.restore_in_flight(&mut session, &mut useless)?;
        self.restore_queue(&mut session, &mut useless)?;
        for (id, digest) in self.received {
            session.received.insert(id);
            if let Some(digest) = digest {
                session.received.remember(id, digest);
            }
        }
        // Those that the core asks for on its own come before those of the application.
        let (again, others): (Vec<_>, Vec<_>) =
            self.requests.into_iter().partition(|(_, kind)| matches!(kind, Kind::Resubscribe(_)));
        for (number, kind) in again.into_iter().chain(others) {
            session.requests.restore(number, kind, None, false);
        }
        for (number, (filter, qos)) in self.subscriptions {
            if !session.subscriptions.restore(number, filter, qos) {
                return Err(Error::Corrupt);
            }
        }
        session.unsettled = self.connecting;
        session.stored = Some(useless);
        Ok(session)
    }

    /// What was in flight: PUBRELs in the order of their PUBRECs, PUBLISHes in that of their numbers.
    fn restore_in_flight(&mut self, session: &mut Session, useless: &mut Vec<Key>) -> Result<(), Error> {
        let mut states: Vec<_> = core::mem::take(&mut self.states).into_iter().collect();
        states.sort_by_key(|&(number, (stage, _, order))| (stage != Stage::AwaitingPubcomp, order, number));
        let (mut pubrecs, mut last_number, mut last_id) = (0, 0, None);
        for (number, (stage, id, order)) in states {
            let (message, attempted) = match self.messages.remove(&number) {
                Some((message, attempted)) => (Some(message), attempted),
                None => (None, false),
            };
            pubrecs = pubrecs.max(order);
            if message.is_none() && stage != Stage::AwaitingPubcomp {
                // It was being removed.
                useless.push(Key::new(RecordKind::State, number));
                continue;
            }
            if number >= last_number {
                (last_number, last_id) = (number, Some(id));
            }
            let restored =
                Restored { number, stage, id: Some(id), dup: true, attempted, expiry: None, message };
            store::restore(session, restored)?;
        }
        let (numbers, _) = session.outgoing.counters();
        session.outgoing.set_counters((numbers, pubrecs));
        if let Some(id) = last_id {
            session.ids.set_cursor(id.next());
        }
        Ok(())
    }

    /// What waits in the queue.
    fn restore_queue(&mut self, session: &mut Session, useless: &mut Vec<Key>) -> Result<(), Error> {
        for (number, (message, attempted)) in core::mem::take(&mut self.messages) {
            let expiry = self.expiries.remove(&number);
            let stage = Stage::Queued;
            let restored =
                Restored { number, stage, id: None, dup: false, attempted, expiry, message: Some(message) };
            store::restore(session, restored)?;
        }
        // Those of messages that no longer wait.
        useless.extend(self.expiries.keys().map(|number| Key::new(RecordKind::Expiry, *number)));
        Ok(())
    }
}

impl RecordKind {
    fn of(byte: u8) -> Option<Self> {
        use RecordKind::{Connecting, Expiry, Message, Received, Request, State, Subscription};
        [Connecting, Expiry, Message, Received, Request, State, Subscription]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}
