//! A Session as bytes and back. Numbers are big-endian, as in MQTT.
//!
//! ```text
//! session       = "MQS" format:u8 next_id:u16 publishes received requests subscriptions
//! publishes     = count:u32 { tag:u8 [id:u16] [topic payload] }      tag: stage, DUP, message present,
//!                                                                    RETAIN, QoS, attempted before
//! received      = count:u32 { id:u16 }
//! requests      = count:u32 { tag:u8 [id:u16] count:u32 { filter qos:u8 } }   tag: kind, DUP, id present
//! subscriptions = count:u32 { filter qos:u8 }
//! topic, filter = length:u16 bytes        payload = length:u32 bytes
//! ```

use alloc::vec::Vec;

use bytes::Bytes;
use mqtt_codec::{PacketId, QoS, TopicFilter, TopicName};

use super::Session;
use super::outgoing::{Entry, Stage};
use super::packet_ids::Owner;
use super::requests::{Kind, Request};
use crate::error::SessionDecodeError as Error;
use crate::message::Message;

const MAGIC: &[u8] = b"MQS";
const FORMAT: u8 = 1;

const DUP: u8 = 1 << 2;
const PRESENT: u8 = 1 << 3;
const RETAIN: u8 = 1 << 4;
const ATTEMPTED: u8 = 1 << 7;

pub(super) fn encode(session: &Session) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.push(FORMAT);
    out.extend_from_slice(&session.ids.cursor().get().to_be_bytes());
    count(&mut out, session.outgoing.iter().count());
    for (_, entry) in session.outgoing.iter() {
        encode_entry(&mut out, entry);
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
    for (filter, qos) in session.subscriptions.iter() {
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

fn encode_entry(out: &mut Vec<u8>, entry: &Entry) {
    let stage = match entry.stage {
        Stage::Queued => 0,
        Stage::AwaitingPuback => 1,
        Stage::AwaitingPubrec => 2,
        Stage::AwaitingPubcomp => 3,
    };
    // While a connection lasts, nobody knows what its transport will have taken: what is sent may be DUP.
    let mut tag = stage | if entry.dup || entry.is_sent() { DUP } else { 0 };
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
    if let Some(message) = &entry.message {
        short(out, message.topic.as_bytes());
        count(out, message.payload.len());
        out.extend_from_slice(&message.payload);
    }
}

fn encode_request(out: &mut Vec<u8>, request: &Request) {
    let dup = if request.dup || request.is_sent() { DUP } else { 0 };
    let present = if request.id.is_some() { PRESENT } else { 0 };
    let kind = match request.kind {
        Kind::Subscribe(_) => 0,
        Kind::Unsubscribe(_) => 1,
        Kind::Resubscribe(_) => 2,
    };
    out.push(kind | dup | present);
    if let Some(id) = request.id {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
    match &request.kind {
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
        session.subscriptions.insert(filter, qos);
    }
    if !input.0.is_empty() {
        return Err(Error::TrailingBytes);
    }
    session.ids.set_cursor(cursor);
    Ok(session)
}

fn decode_entry(input: &mut Input<'_>, session: &mut Session) -> Result<(), Error> {
    let tag = input.u8()?;
    let stage = match tag & 3 {
        0 => Stage::Queued,
        1 => Stage::AwaitingPuback,
        2 => Stage::AwaitingPubrec,
        _ => Stage::AwaitingPubcomp,
    };
    let id = if stage == Stage::Queued { None } else { Some(input.id()?) };
    let message = if tag & PRESENT == 0 {
        if tag & !(3 | DUP | ATTEMPTED) != 0 {
            return Err(Error::Corrupt);
        }
        None
    } else {
        let topic =
            TopicName::try_from(Bytes::copy_from_slice(input.short()?)).map_err(|_| Error::Corrupt)?;
        let len = input.u32()? as usize;
        let payload = Bytes::copy_from_slice(input.take(len)?);
        let qos = QoS::try_from(tag >> 5 & 3).map_err(|_| Error::Corrupt)?;
        Some(Message { topic, payload, qos, retain: tag & RETAIN != 0 })
    };
    let possible = match (stage, message.as_ref().map(|message| message.qos)) {
        (Stage::Queued, Some(_)) => tag & DUP == 0,
        (Stage::AwaitingPubcomp, None) => true,
        (Stage::AwaitingPuback, Some(qos)) => qos == QoS::AtLeastOnce,
        (Stage::AwaitingPubrec | Stage::AwaitingPubcomp, Some(qos)) => qos == QoS::ExactlyOnce,
        _ => false,
    };
    if !possible || message.as_ref().is_some_and(|message| message.encoded_len().is_err()) {
        return Err(Error::Corrupt);
    }
    let place = session.outgoing.restore(stage, id, (tag & DUP != 0, tag & ATTEMPTED != 0), message);
    match id {
        Some(id) if !session.ids.insert(id, Owner::Publish(place)) => Err(Error::Corrupt),
        _ => Ok(()),
    }
}

fn decode_request(input: &mut Input<'_>, session: &mut Session) -> Result<(), Error> {
    let tag = input.u8()?;
    if tag & !(3 | DUP | PRESENT) != 0 {
        return Err(Error::Corrupt);
    }
    let id = if tag & PRESENT == 0 { None } else { Some(input.id()?) };
    let mut filters = Vec::new();
    for _ in 0..input.u32()? {
        filters.push(input.filter()?);
    }
    if filters.is_empty() {
        return Err(Error::Corrupt);
    }
    let kind = match tag & 3 {
        0 => Kind::Subscribe(filters),
        1 => Kind::Unsubscribe(filters.into_iter().map(|(filter, _)| filter).collect()),
        2 => Kind::Resubscribe(filters),
        _ => return Err(Error::Corrupt),
    };
    let (place, _) = session.requests.restore(kind, id, tag & DUP != 0);
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
