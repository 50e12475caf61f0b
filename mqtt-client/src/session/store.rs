//! A Session as bytes and back. Numbers are big-endian, as in MQTT.
//!
//! ```text
//! session       = "MQS" format:u8 unsettled:u8 next_id:u16 publishes received requests subscriptions
//! publishes     = count:u32 { tag:u8 [id:u16] [expiry:u64] [topic payload] }   tag: stage, DUP (queued: expiry
//!                                                    present), message present, RETAIN, QoS, attempted before
//! received      = count:u32 { id:u16 }
//! requests      = count:u32 { tag:u8 [id:u16] count:u32 { filter qos:u8 } }   tag: kind, DUP, id present
//! subscriptions = count:u32 { filter qos:u8 }
//! topic, filter = length:u16 bytes        payload = length:u32 bytes
//! ```

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use mqtt_codec::{PacketId, QoS, TopicFilter, TopicName};

use super::Session;
use super::journal::{RecordKind, Value};
use super::outgoing::{Entry, Restored, Stage};
use super::packet_ids::Owner;
use super::requests::{Kind, Request};
use crate::error::SessionDecodeError as Error;
use crate::message::Message;
use crate::time::Time;

const MAGIC: &[u8] = b"MQS";
const FORMAT: u8 = 2;

const DUP: u8 = 1 << 2;
const PRESENT: u8 = 1 << 3;
const RETAIN: u8 = 1 << 4;
const ATTEMPTED: u8 = 1 << 7;

pub(super) fn encode(session: &Session) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.push(FORMAT);
    out.push(u8::from(session.unsettled));
    out.extend_from_slice(&session.ids.cursor().get().to_be_bytes());
    count(&mut out, session.outgoing.iter().count());
    for (place, entry) in session.outgoing.iter() {
        encode_entry(&mut out, entry, session.outgoing.expiry(place));
    }
    count(&mut out, session.received.len());
    for id in session.received.iter() {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
    count(&mut out, session.requests.len());
    for (_, request) in session.requests.iter() {
        encode_request(&mut out, request);
    }
    count(&mut out, session.subscriptions.len());
    for (_, filter, qos) in session.subscriptions.iter() {
        encode_filter(&mut out, filter, qos);
    }
    out
}

fn count(out: &mut Vec<u8>, count: usize) {
    // All counts have limits far below: see the options.
    out.extend_from_slice(&(count as u32).to_be_bytes());
}

fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn encode_filter(out: &mut Vec<u8>, filter: &TopicFilter, qos: QoS) {
    short(out, filter.as_bytes());
    out.push(qos as u8);
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry, expiry: Option<Time>) {
    let stage = stage_tag(entry.stage);
    // While a connection lasts, nobody knows what its transport will have taken: what is sent may be DUP.
    let mut tag = stage | if entry.dup || entry.is_sent() || expiry.is_some() { DUP } else { 0 };
    if entry.attempted {
        tag |= ATTEMPTED;
    }
    if let Some(message) = &entry.message {
        tag |= PRESENT | if message.retain { RETAIN } else { 0 } | (message.qos as u8) << 5;
    }
    out.push(tag);
    if let Some(id) = entry.id {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
    if let Some(time) = expiry {
        encode_time(out, time);
    }
    if let Some(message) = &entry.message {
        encode_message(out, message);
    }
}

/// In nanoseconds; beyond some 584 years it is as good as never.
fn encode_time(out: &mut Vec<u8>, time: Time) {
    let nanos = u64::try_from(time.since_epoch().as_nanos()).unwrap_or(u64::MAX);
    out.extend_from_slice(&nanos.to_be_bytes());
}

fn encode_message(out: &mut Vec<u8>, message: &Message) {
    short(out, message.topic.as_bytes());
    count(out, message.payload.len());
    out.extend_from_slice(&message.payload);
}

/// The content of a record, as [`journal`](super::journal) has it:
///
/// ```text
/// message = tag:u8 topic payload       tag: RETAIN, QoS, attempted before, as above
/// state   = stage:u8 id:u16 order:u64  expiry = time:u64  received = [digest:u64]  connecting =
/// request = kind:u8 count:u32 { filter qos:u8 }           subscription = filter qos:u8
/// ```
pub(super) fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Connecting | Value::Received(None) => {}
        Value::Received(Some(digest)) => out.extend_from_slice(&digest.to_be_bytes()),
        Value::Expiry(time) => encode_time(out, *time),
        Value::Subscription(filter, qos) => encode_filter(out, filter, *qos),
        Value::Message { message, attempted } => {
            let attempted = if *attempted { ATTEMPTED } else { 0 };
            out.push(attempted | if message.retain { RETAIN } else { 0 } | (message.qos as u8) << 5);
            encode_message(out, message);
        }
        Value::Request(kind) => {
            out.push(kind_tag(kind));
            encode_filters(out, kind);
        }
        Value::State { stage, id, order } => {
            out.push(stage_tag(*stage));
            out.extend_from_slice(&id.get().to_be_bytes());
            out.extend_from_slice(&order.to_be_bytes());
        }
    }
}

const fn stage_tag(stage: Stage) -> u8 {
    match stage {
        Stage::Queued => 0,
        Stage::AwaitingPuback => 1,
        Stage::AwaitingPubrec => 2,
        Stage::AwaitingPubcomp => 3,
    }
}

const fn kind_tag(kind: &Kind) -> u8 {
    match kind {
        Kind::Subscribe(_) => 0,
        Kind::Unsubscribe(_) => 1,
        Kind::Resubscribe(_) => 2,
    }
}

fn encode_request(out: &mut Vec<u8>, request: &Request) {
    let dup = if request.dup || request.is_sent() { DUP } else { 0 };
    let present = if request.id.is_some() { PRESENT } else { 0 };
    out.push(kind_tag(&request.kind) | dup | present);
    if let Some(id) = request.id {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
    encode_filters(out, &request.kind);
}

fn encode_filters(out: &mut Vec<u8>, kind: &Kind) {
    match kind {
        Kind::Subscribe(filters) | Kind::Resubscribe(filters) => {
            count(out, filters.len());
            for (filter, qos) in filters {
                encode_filter(out, filter, *qos);
            }
        }
        Kind::Unsubscribe(filters) => {
            count(out, filters.len());
            for filter in filters {
                encode_filter(out, filter, QoS::AtMostOnce);
            }
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Session, Error> {
    let mut input = Input(bytes.strip_prefix(MAGIC).ok_or(Error::NotASession)?);
    let format = input.u8()?;
    if format != FORMAT {
        return Err(Error::UnknownFormat(format));
    }
    let mut session = Session::new();
    session.unsettled = match input.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Error::Corrupt),
    };
    let cursor = input.id()?;
    for _ in 0..input.u32()? {
        decode_entry(&mut input, &mut session)?;
    }
    for _ in 0..input.u32()? {
        if !session.received.insert(input.id()?) {
            return Err(Error::Corrupt);
        }
    }
    for _ in 0..input.u32()? {
        decode_request(&mut input, &mut session)?;
    }
    for _ in 0..input.u32()? {
        let (filter, qos) = input.filter()?;
        session.subscriptions.restore(session.subscriptions.next_number(), filter, qos);
    }
    input.end()?;
    session.ids.set_cursor(cursor);
    Ok(session)
}

fn decode_entry(input: &mut Input<'_>, session: &mut Session) -> Result<(), Error> {
    let tag = input.u8()?;
    let stage = stage_of(tag & 3)?;
    let queued = stage == Stage::Queued;
    let id = if queued { None } else { Some(input.id()?) };
    let expiry = if queued && tag & DUP != 0 { Some(input.time()?) } else { None };
    let message = if tag & PRESENT == 0 {
        if tag & !(3 | DUP | ATTEMPTED) != 0 {
            return Err(Error::Corrupt);
        }
        None
    } else {
        Some(input.message(tag)?)
    };
    restore(
        session,
        Restored {
            number: session.outgoing.counters().0 + 1,
            stage,
            id,
            dup: tag & DUP != 0 && !queued,
            attempted: tag & ATTEMPTED != 0,
            expiry,
            message,
        },
    )
}

/// Puts an entry back, if it is possible.
pub(super) fn restore(session: &mut Session, restored: Restored) -> Result<(), Error> {
    let possible = match (restored.stage, restored.message.as_ref().map(|message| message.qos)) {
        (Stage::Queued, Some(_)) | (Stage::AwaitingPubcomp, None) => true,
        (Stage::AwaitingPuback, Some(qos)) => qos == QoS::AtLeastOnce,
        (Stage::AwaitingPubrec | Stage::AwaitingPubcomp, Some(qos)) => qos == QoS::ExactlyOnce,
        _ => false,
    };
    if !possible {
        return Err(Error::Corrupt);
    }
    let id = restored.id;
    let place = session.outgoing.restore(restored);
    match id {
        Some(id) if !session.ids.insert(id, Owner::Publish(place)) => Err(Error::Corrupt),
        _ => Ok(()),
    }
}

fn stage_of(tag: u8) -> Result<Stage, Error> {
    Ok(match tag {
        0 => Stage::Queued,
        1 => Stage::AwaitingPuback,
        2 => Stage::AwaitingPubrec,
        3 => Stage::AwaitingPubcomp,
        _ => return Err(Error::Corrupt),
    })
}

/// What [`encode_value`] made.
pub(super) fn decode_value(kind: RecordKind, bytes: &[u8]) -> Result<Value, Error> {
    let mut input = Input(bytes);
    let value = match kind {
        RecordKind::Connecting => Value::Connecting,
        RecordKind::Expiry => Value::Expiry(input.time()?),
        RecordKind::Subscription => {
            let (filter, qos) = input.filter()?;
            Value::Subscription(filter, qos)
        }
        RecordKind::Message => {
            let tag = input.u8()?;
            if tag & !(RETAIN | 3 << 5 | ATTEMPTED) != 0 {
                return Err(Error::Corrupt);
            }
            Value::Message { message: input.message(tag)?, attempted: tag & ATTEMPTED != 0 }
        }
        RecordKind::Request => {
            let tag = input.u8()?;
            Value::Request(input.kind(tag)?)
        }
        RecordKind::Received if bytes.is_empty() => Value::Received(None),
        RecordKind::Received => Value::Received(Some(input.u64()?)),
        RecordKind::State => {
            Value::State { stage: stage_of(input.u8()?)?, id: input.id()?, order: input.u64()? }
        }
    };
    input.end()?;
    Ok(value)
}

fn decode_request(input: &mut Input<'_>, session: &mut Session) -> Result<(), Error> {
    let tag = input.u8()?;
    if tag & !(3 | DUP | PRESENT) != 0 {
        return Err(Error::Corrupt);
    }
    let id = if tag & PRESENT == 0 { None } else { Some(input.id()?) };
    let kind = input.kind(tag & 3)?;
    let place = session.requests.restore(session.requests.next_number(), kind, id, tag & DUP != 0);
    match id {
        Some(id) if !session.ids.insert(id, Owner::Request(place)) => Err(Error::Corrupt),
        _ => Ok(()),
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Result<Time, Error> {
        Ok(Time::from_epoch(Duration::from_nanos(self.u64()?)))
    }

    /// The message whose flags are in `tag`.
    fn message(&mut self, tag: u8) -> Result<Message, Error> {
        let topic = TopicName::try_from(Bytes::copy_from_slice(self.short()?)).map_err(|_| Error::Corrupt)?;
        let len = self.u32()? as usize;
        let payload = Bytes::copy_from_slice(self.take(len)?);
        let qos = QoS::try_from(tag >> 5 & 3).map_err(|_| Error::Corrupt)?;
        let message = Message { topic, payload, qos, retain: tag & RETAIN != 0 };
        if message.encoded_len().is_err() {
            return Err(Error::Corrupt);
        }
        Ok(message)
    }

    fn kind(&mut self, tag: u8) -> Result<Kind, Error> {
        let mut filters = Vec::new();
        for _ in 0..self.u32()? {
            filters.push(self.filter()?);
        }
        if filters.is_empty() {
            return Err(Error::Corrupt);
        }
        match tag {
            0 => Ok(Kind::Subscribe(filters)),
            1 => Ok(Kind::Unsubscribe(filters.into_iter().map(|(filter, _)| filter).collect())),
            2 => Ok(Kind::Resubscribe(filters)),
            _ => Err(Error::Corrupt),
        }
    }

    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::TrailingBytes) }
    }

    fn id(&mut self) -> Result<PacketId, Error> {
        PacketId::new(u16::from_be_bytes(self.array()?)).ok_or(Error::Corrupt)
    }

    fn short(&mut self) -> Result<&'a [u8], Error> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn filter(&mut self) -> Result<(TopicFilter, QoS), Error> {
        let filter =
            TopicFilter::try_from(Bytes::copy_from_slice(self.short()?)).map_err(|_| Error::Corrupt)?;
        let qos = QoS::try_from(self.u8()?).map_err(|_| Error::Corrupt)?;
        Ok((filter, qos))
    }
}
