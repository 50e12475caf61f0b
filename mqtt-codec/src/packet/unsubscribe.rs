use core::fmt;

use bytes::{BufMut, BytesMut};

use crate::{
    DecodeError, ListError, PacketId, PacketType, TopicFilter, TopicFilterRef, header::DUP, reader::Reader,
    writer,
};

/// An UNSUBSCRIBE packet: the client unsubscribes from Topic Filters (section 3.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unsubscribe<'a> {
    /// The Packet Identifier, which the UNSUBACK repeats.
    pub id: PacketId,
    /// Whether the packet was sent before: MQTT 3.1 only, not written in 3.1.1 [MQTT-3.10.1-1].
    pub dup: bool,
    /// The Topic Filters, as they were subscribed to.
    pub filters: UnsubscribeFilters<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn decode(dup: bool, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Unsubscribe, body);
        let id = reader.packet_id()?;
        Ok(Self { id, dup, filters: UnsubscribeFilters::decode(reader)? })
    }

    /// Returns the length of what follows the fixed header.
    pub(crate) fn remaining(&self) -> usize {
        2 + self.filters.wire_len
    }

    pub(crate) fn encode(&self, dup: bool, out: &mut BytesMut) {
        out.reserve(5 + self.remaining());
        let first = PacketType::Unsubscribe.first_byte() | if dup { DUP } else { 0 };
        writer::put_header(out, first, self.remaining());
        out.put_u16(self.id.get());
        match self.filters.items {
            Items::Wire(bytes) => out.put_slice(bytes),
            Items::List(list) => {
                for filter in list {
                    writer::put_prefixed(out, filter.as_bytes());
                }
            }
        }
    }
}

/// The payload of an UNSUBSCRIBE: at least one Topic Filter [MQTT-3.10.3-2].
///
/// Two are equal when they yield the same, whether they come from a list or from a received packet.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a> {
    items: Items<'a>,
    len: usize,
    wire_len: usize,
}

#[derive(Clone, Copy)]
enum Items<'a> {
    List(&'a [TopicFilter]),
    /// The payload as received; all of it has been read once without an error.
    Wire(&'a [u8]),
}

impl<'a> UnsubscribeFilters<'a> {
    /// Lends a list of Topic Filters.
    ///
    /// # Errors
    /// [`ListError::Empty`] without a filter, [`ListError::TooLarge`] when the filters do not fit into one packet.
    pub fn new(list: &'a [TopicFilter]) -> Result<Self, ListError> {
        if list.is_empty() {
            return Err(ListError::Empty);
        }
        let wire_len = list.iter().fold(0_usize, |sum, filter| sum.saturating_add(2 + filter.len()));
        writer::check_remaining(wire_len.saturating_add(2))?;
        Ok(Self { items: Items::List(list), len: list.len(), wire_len })
    }

    fn decode(reader: Reader<'a>) -> Result<Self, DecodeError> {
        let wire = reader.rest();
        let mut len = 0;
        let mut rest = reader;
        while !rest.is_empty() {
            TopicFilterRef::from_bytes(rest.prefixed()?)?;
            len += 1;
        }
        if len == 0 {
            return Err(DecodeError::EmptyPayload(PacketType::Unsubscribe));
        }
        Ok(Self { items: Items::Wire(wire), len, wire_len: wire.len() })
    }

    /// Yields each Topic Filter, in the order of the packet.
    #[must_use]
    pub fn iter(&self) -> UnsubscribeFiltersIter<'a> {
        UnsubscribeFiltersIter { items: self.items, left: self.len }
    }

    /// Returns the number of Topic Filters: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a filter [MQTT-3.10.3-2]")]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }
}

impl<'a> IntoIterator for UnsubscribeFilters<'a> {
    type Item = TopicFilterRef<'a>;
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> UnsubscribeFiltersIter<'a> {
        self.iter()
    }
}

impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UnsubscribeFilters<'_> {}

impl core::hash::Hash for UnsubscribeFilters<'_> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|item| item.hash(state));
    }
}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Yields the Topic Filters of an UNSUBSCRIBE.
#[derive(Clone)]
pub struct UnsubscribeFiltersIter<'a> {
    items: Items<'a>,
    left: usize,
}

impl<'a> Iterator for UnsubscribeFiltersIter<'a> {
    type Item = TopicFilterRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match &mut self.items {
            Items::List(list) => {
                let (filter, rest) = list.split_first()?;
                *list = rest;
                filter.as_ref()
            }
            Items::Wire(wire) => {
                let mut reader = Reader::new(PacketType::Unsubscribe, wire);
                let filter = TopicFilterRef::from_checked(reader.prefixed().ok()?);
                *wire = reader.rest();
                filter
            }
        };
        self.left -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for UnsubscribeFiltersIter<'_> {}
impl core::iter::FusedIterator for UnsubscribeFiltersIter<'_> {}

impl fmt::Debug for UnsubscribeFiltersIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
