use core::fmt;

use bytes::BytesMut;

use crate::{
    DecodeError, MAX_REMAINING_LENGTH, PacketId, PacketTooLarge, PacketType, QoS, TopicNameRef,
    header::{DUP, RETAIN},
    reader::Reader,
    writer,
};

/// How a message is delivered: its QoS with what only that QoS has.
///
/// A message of QoS 0 has neither a Packet Identifier [MQTT-2.3.1-5] nor DUP [MQTT-3.3.1-2]; one of QoS 1 or 2
/// has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1: answered with PUBACK.
    AtLeastOnce {
        /// The Packet Identifier, which the PUBACK repeats.
        id: PacketId,
        /// Whether the packet was sent before [MQTT-3.3.1-1].
        dup: bool,
    },
    /// QoS 2: answered with PUBREC.
    ExactlyOnce {
        /// The Packet Identifier, which PUBREC, PUBREL and PUBCOMP repeat.
        id: PacketId,
        /// Whether the packet was sent before [MQTT-3.3.1-1].
        dup: bool,
    },
}

impl Delivery {
    /// Returns the Quality of Service level.
    #[inline]
    #[must_use]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// Returns the Packet Identifier, which QoS 1 and 2 have.
    #[inline]
    #[must_use]
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// Returns the DUP flag; it is never set with QoS 0.
    #[inline]
    #[must_use]
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}

/// A PUBLISH packet: an Application Message (section 3.3).
///
/// `Debug` shows the length of the payload, not the payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Publish<'a> {
    /// QoS, Packet Identifier and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag (section 3.3.1.3).
    pub retain: bool,
    /// The Topic Name [MQTT-3.3.2-1] [MQTT-3.3.2-2].
    pub topic: TopicNameRef<'a>,
    /// The Application Message; it may be empty.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Reads the body of a packet; `first`, its first byte, has been checked.
    #[inline]
    pub(crate) fn decode(first: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Publish, body);
        let topic = TopicNameRef::from_bytes(reader.prefixed()?)?;
        let dup = first & DUP != 0;
        let delivery = match first & 0b0110 {
            0 => Delivery::AtMostOnce,
            0b0010 => Delivery::AtLeastOnce { id: reader.packet_id()?, dup },
            _ => Delivery::ExactlyOnce { id: reader.packet_id()?, dup },
        };
        Ok(Self { delivery, retain: first & RETAIN != 0, topic, payload: reader.rest() })
    }

    /// Returns the length of the whole packet in bytes.
    ///
    /// # Errors
    /// [`PacketTooLarge`] when topic and payload are too long for one packet.
    #[inline]
    pub fn encoded_len(&self) -> Result<usize, PacketTooLarge> {
        let remaining = self.remaining()?;
        Ok(writer::header_len(remaining) + remaining)
    }

    /// Appends the packet to `out`.
    ///
    /// # Errors
    /// [`PacketTooLarge`] when topic and payload are too long for one packet; `out` is as before.
    #[inline]
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), PacketTooLarge> {
        let remaining = self.remaining()?;
        out.reserve(5 + remaining);
        self.put_header(remaining, out);
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Appends the packet without its payload to `out`; the payload's length is counted in the remaining length.
    ///
    /// For writing a large payload from where it lies: the bytes of the payload have to follow on the
    /// connection.
    ///
    /// # Errors
    /// [`PacketTooLarge`] when topic and payload are too long for one packet; `out` is as before.
    #[inline]
    pub fn encode_header(&self, out: &mut BytesMut) -> Result<(), PacketTooLarge> {
        let remaining = self.remaining()?;
        out.reserve(5 + remaining - self.payload.len());
        self.put_header(remaining, out);
        Ok(())
    }

    #[inline]
    fn remaining(&self) -> Result<usize, PacketTooLarge> {
        let id_len = if self.delivery == Delivery::AtMostOnce { 0 } else { 2 };
        let remaining = 2 + self.topic.len() + id_len + self.payload.len();
        if remaining > MAX_REMAINING_LENGTH { Err(PacketTooLarge { len: remaining }) } else { Ok(remaining) }
    }

    #[inline]
    fn put_header(&self, remaining: usize, out: &mut BytesMut) {
        let mut first = PacketType::Publish.first_byte() | (self.delivery.qos() as u8) << 1;
        if self.retain {
            first |= RETAIN;
        }
        if self.delivery.dup() {
            first |= DUP;
        }
        let [high, low] = writer::u16_len(self.topic.as_bytes()).to_be_bytes();
        // Each write has a size that the compiler knows, so that it is a store or two.
        match writer::seven_bit_groups(remaining) {
            [a, 0, 0, 0] => out.extend_from_slice(&[first, a, high, low]),
            [a, b, 0, 0] => out.extend_from_slice(&[first, a | 0x80, b, high, low]),
            _ => {
                writer::put_header(out, first, remaining);
                out.extend_from_slice(&[high, low]);
            }
        }
        out.extend_from_slice(self.topic.as_bytes());
        if let Some(id) = self.delivery.id() {
            out.extend_from_slice(&id.get().to_be_bytes());
        }
    }
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}
