use core::fmt;

use bytes::{BufMut, BytesMut};

use crate::{
    DecodeError, ListError, PacketId, PacketType, QoS, TopicFilter, TopicFilterRef, header::DUP,
    reader::Reader, writer,
};

/// A SUBSCRIBE packet: the client subscribes to Topic Filters (section 3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subscribe<'a> {
    /// The Packet Identifier, which the SUBACK repeats.
    pub id: PacketId,
    /// Whether the packet was sent before: MQTT 3.1 only, not written in 3.1.1 [MQTT-3.8.1-1].
    pub dup: bool,
    /// The Topic Filters with the QoS that each asks for.
    pub filters: SubscribeFilters<'a>,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(dup: bool, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Subscribe, body);
        let id = reader.packet_id()?;
        Ok(Self { id, dup, filters: SubscribeFilters::decode(reader)? })
    }

    /// Returns the length of what follows the fixed header.
    pub(crate) fn remaining(&self) -> usize {
        2 + self.filters.wire_len
    }

    pub(crate) fn encode(&self, dup: bool, out: &mut BytesMut) {
        out.reserve(5 + self.remaining());
        let first = PacketType::Subscribe.first_byte() | if dup { DUP } else { 0 };
        writer::put_header(out, first, self.remaining());
        out.put_u16(self.id.get());
        match self.filters.items {
            Items::Wire(bytes) => out.put_slice(bytes),
            Items::List(list) => {
                for (filter, qos) in list {
                    writer::put_prefixed(out, filter.as_bytes());
                    out.put_u8(*qos as u8);
                }
            }
        }
    }
}

/// The payload of a SUBSCRIBE: at least one Topic Filter, each with a QoS [MQTT-3.8.3-3].
///
/// Two are equal when they yield the same, whether they come from a list or from a received packet.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a> {
    items: Items<'a>,
    len: usize,
    wire_len: usize,
}

#[derive(Clone, Copy)]
enum Items<'a> {
    List(&'a [(TopicFilter, QoS)]),
    /// The payload as received; all of it has been read once without an error.
    Wire(&'a [u8]),
}

impl<'a> SubscribeFilters<'a> {
    /// Lends a list of Topic Filters.
    ///
    /// # Errors
    /// [`ListError::Empty`] without a filter, [`ListError::TooLarge`] when the filters do not fit into one packet.
    pub fn new(list: &'a [(TopicFilter, QoS)]) -> Result<Self, ListError> {
        if list.is_empty() {
            return Err(ListError::Empty);
        }
        let wire_len = list.iter().fold(0_usize, |sum, (filter, _)| sum.saturating_add(3 + filter.len()));
        writer::check_remaining(wire_len.saturating_add(2))?;
        Ok(Self { items: Items::List(list), len: list.len(), wire_len })
    }

    fn decode(reader: Reader<'a>) -> Result<Self, DecodeError> {
        let wire = reader.rest();
        let mut len = 0;
        let mut rest = reader;
        while !rest.is_empty() {
            TopicFilterRef::from_bytes(rest.prefixed()?)?;
            let qos = rest.u8()?;
            QoS::from_u8(qos).ok_or(DecodeError::RequestedQos(qos))?;
            len += 1;
        }
        if len == 0 {
            return Err(DecodeError::EmptyPayload(PacketType::Subscribe));
        }
        Ok(Self { items: Items::Wire(wire), len, wire_len: wire.len() })
    }

    /// Yields each Topic Filter with its QoS, in the order of the packet.
    #[must_use]
    pub fn iter(&self) -> SubscribeFiltersIter<'a> {
        SubscribeFiltersIter { items: self.items, left: self.len }
    }

    /// Returns the number of Topic Filters: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a filter [MQTT-3.8.3-3]")]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }
}

impl<'a> IntoIterator for SubscribeFilters<'a> {
    type Item = (TopicFilterRef<'a>, QoS);
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> SubscribeFiltersIter<'a> {
        self.iter()
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscribeFilters<'_> {}

impl core::hash::Hash for SubscribeFilters<'_> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|item| item.hash(state));
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Yields the Topic Filters of a SUBSCRIBE with their QoS.
#[derive(Clone)]
pub struct SubscribeFiltersIter<'a> {
    items: Items<'a>,
    left: usize,
}

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = (TopicFilterRef<'a>, QoS);

    fn next(&mut self) -> Option<Self::Item> {
        let item = match &mut self.items {
            Items::List(list) => {
                let ((filter, qos), rest) = list.split_first()?;
                *list = rest;
                (filter.as_ref(), *qos)
            }
            Items::Wire(wire) => {
                let mut reader = Reader::new(PacketType::Subscribe, wire);
                let filter = TopicFilterRef::from_checked(reader.prefixed().ok()?);
                let qos = QoS::from_u8(reader.u8().ok()?)?;
                *wire = reader.rest();
                (filter, qos)
            }
        };
        self.left -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SubscribeFiltersIter<'_> {}
impl core::iter::FusedIterator for SubscribeFiltersIter<'_> {}

impl fmt::Debug for SubscribeFiltersIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
