use core::fmt;

use bytes::{BufMut, BytesMut};

use crate::{DecodeError, ListError, PacketId, PacketType, ProtocolVersion, QoS, reader::Reader, writer};

const FAILURE: u8 = 0x80;

/// A SUBACK packet: the Server's answer to SUBSCRIBE (section 3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suback<'a> {
    /// The Packet Identifier of the SUBSCRIBE [MQTT-3.8.4-2].
    pub id: PacketId,
    /// One return code for each Topic Filter of the SUBSCRIBE, in its order [MQTT-3.9.3-1].
    pub codes: SubackCodes<'a>,
}

impl<'a> Suback<'a> {
    pub(crate) fn decode(version: ProtocolVersion, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Suback, body);
        let id = reader.packet_id()?;
        Ok(Self { id, codes: SubackCodes::decode(version, reader.rest())? })
    }

    /// Returns the length of what follows the fixed header.
    pub(crate) fn remaining(&self) -> usize {
        2 + self.codes.len()
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        out.reserve(5 + self.remaining());
        writer::put_header(out, PacketType::Suback.first_byte(), self.remaining());
        out.put_u16(self.id.get());
        for code in self.codes {
            out.put_u8(code.to_wire(version));
        }
    }
}

/// The Server's answer to one Topic Filter of a SUBSCRIBE (section 3.9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubackCode {
    /// 0x00 to 0x02: subscribed, with this maximum QoS.
    Granted(QoS),
    /// 0x80: not subscribed.
    ///
    /// MQTT 3.1 has no such code; a Server that does not authorize a subscription has to acknowledge it
    /// nevertheless, so that this is written as a granted QoS 0 there.
    Failure,
}

impl SubackCode {
    fn from_wire(version: ProtocolVersion, code: u8) -> Option<Self> {
        match code {
            FAILURE => version.has_suback_failure().then_some(Self::Failure),
            _ => QoS::from_u8(code).map(Self::Granted),
        }
    }

    const fn to_wire(self, version: ProtocolVersion) -> u8 {
        match self {
            Self::Granted(qos) => qos as u8,
            Self::Failure if version.has_suback_failure() => FAILURE,
            Self::Failure => QoS::AtMostOnce as u8,
        }
    }
}

/// The payload of a SUBACK: at least one return code [MQTT-3.8.4-5].
///
/// Two are equal when they yield the same, whether they come from a list or from a received packet.
#[derive(Clone, Copy)]
pub struct SubackCodes<'a>(Items<'a>);

#[derive(Clone, Copy)]
enum Items<'a> {
    List(&'a [SubackCode]),
    /// The payload as received; all of it has been read once without an error.
    Wire(&'a [u8]),
}

impl<'a> SubackCodes<'a> {
    /// Lends a list of return codes.
    ///
    /// # Errors
    /// [`ListError::Empty`] without a code, [`ListError::TooLarge`] when the codes do not fit into one packet.
    pub fn new(list: &'a [SubackCode]) -> Result<Self, ListError> {
        if list.is_empty() {
            return Err(ListError::Empty);
        }
        writer::check_remaining(list.len().saturating_add(2))?;
        Ok(Self(Items::List(list)))
    }

    fn decode(version: ProtocolVersion, wire: &'a [u8]) -> Result<Self, DecodeError> {
        if wire.is_empty() {
            return Err(DecodeError::EmptyPayload(PacketType::Suback));
        }
        match wire.iter().find(|code| SubackCode::from_wire(version, **code).is_none()) {
            Some(code) => Err(DecodeError::ReservedSubackCode(*code)),
            None => Ok(Self(Items::Wire(wire))),
        }
    }

    /// Yields the return codes, in the order of the Topic Filters.
    #[must_use]
    pub const fn iter(&self) -> SubackCodesIter<'a> {
        SubackCodesIter(self.0)
    }

    /// Returns the number of return codes: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a code [MQTT-3.8.4-5]")]
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Items::List(list) => list.len(),
            Items::Wire(wire) => wire.len(),
        }
    }
}

impl<'a> IntoIterator for SubackCodes<'a> {
    type Item = SubackCode;
    type IntoIter = SubackCodesIter<'a>;

    fn into_iter(self) -> SubackCodesIter<'a> {
        self.iter()
    }
}

impl PartialEq for SubackCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubackCodes<'_> {}

impl core::hash::Hash for SubackCodes<'_> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|code| code.hash(state));
    }
}

impl fmt::Debug for SubackCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Yields the return codes of a SUBACK.
#[derive(Clone)]
pub struct SubackCodesIter<'a>(Items<'a>);

impl Iterator for SubackCodesIter<'_> {
    type Item = SubackCode;

    fn next(&mut self) -> Option<SubackCode> {
        match &mut self.0 {
            Items::List(list) => {
                let (code, rest) = list.split_first()?;
                *list = rest;
                Some(*code)
            }
            Items::Wire(wire) => {
                let (code, rest) = wire.split_first()?;
                *wire = rest;
                // Decoding has refused 0x80 where the version does not have it.
                SubackCode::from_wire(ProtocolVersion::V3_1_1, *code)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = SubackCodes(self.0).len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for SubackCodesIter<'_> {}
impl core::iter::FusedIterator for SubackCodesIter<'_> {}

impl fmt::Debug for SubackCodesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
