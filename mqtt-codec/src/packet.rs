//! The packets, each with its own decoding and encoding.

pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod publish;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;

use bytes::BytesMut;

use crate::{
    Connack, Connect, PacketId, PacketTooLarge, PacketType, ProtocolVersion, Publish, Suback, Subscribe,
    Unsubscribe, header::DUP, writer,
};

/// An MQTT Control Packet that borrows its texts and payloads.
///
/// Whatever can be built can be encoded: the types of the fields keep the rules of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packet<'a> {
    /// The client requests a connection to the Server (section 3.1).
    Connect(Connect<'a>),
    /// The Server answers a connection request (section 3.2).
    Connack(Connack),
    /// An Application Message (section 3.3).
    Publish(Publish<'a>),
    /// Acknowledges a PUBLISH of QoS 1 (section 3.4).
    Puback(PacketId),
    /// First answer to a PUBLISH of QoS 2 (section 3.5).
    Pubrec(PacketId),
    /// Answers PUBREC (section 3.6).
    Pubrel {
        /// The Packet Identifier of the PUBLISH.
        id: PacketId,
        /// Whether the packet was sent before: MQTT 3.1 only, not written in 3.1.1 [MQTT-3.6.1-1].
        dup: bool,
    },
    /// Answers PUBREL (section 3.7).
    Pubcomp(PacketId),
    /// The client subscribes to Topic Filters (section 3.8).
    Subscribe(Subscribe<'a>),
    /// Acknowledges a SUBSCRIBE (section 3.9).
    Suback(Suback<'a>),
    /// The client unsubscribes from Topic Filters (section 3.10).
    Unsubscribe(Unsubscribe<'a>),
    /// Acknowledges an UNSUBSCRIBE (section 3.11).
    Unsuback(PacketId),
    /// The client shows that it is alive (section 3.12).
    Pingreq,
    /// Answers a PINGREQ (section 3.13).
    Pingresp,
    /// The client disconnects (section 3.14).
    Disconnect,
}

impl Packet<'_> {
    /// Returns the type of the packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel { .. } => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect => PacketType::Disconnect,
        }
    }

    /// Returns the length of the whole packet in bytes, as [`encode`](Self::encode) writes it.
    ///
    /// The length is the same in both versions; a CONNECT has that of its own version.
    ///
    /// # Errors
    /// [`PacketTooLarge`] for a PUBLISH whose topic and payload are too long for one packet.
    pub fn encoded_len(&self, _version: ProtocolVersion) -> Result<usize, PacketTooLarge> {
        let remaining = match self {
            Self::Connect(connect) => return Ok(connect.encoded_len()),
            Self::Publish(publish) => return publish.encoded_len(),
            Self::Subscribe(subscribe) => subscribe.remaining(),
            Self::Suback(suback) => suback.remaining(),
            Self::Unsubscribe(unsubscribe) => unsubscribe.remaining(),
            _ => self.packet_type().fixed_remaining_length().unwrap_or_default(),
        };
        Ok(writer::header_len(remaining) + remaining)
    }

    /// Appends the packet to `out`, as `version` writes it.
    ///
    /// A CONNECT carries its own version and is written in that. DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE is
    /// written in 3.1 only, Session Present and the return code 0x80 of SUBACK in 3.1.1 only.
    ///
    /// # Errors
    /// [`PacketTooLarge`] for a PUBLISH whose topic and payload are too long for one packet; `out` is as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) -> Result<(), PacketTooLarge> {
        let packet_type = self.packet_type();
        match *self {
            Self::Publish(publish) => return publish.encode(out),
            Self::Connect(connect) => connect.encode(out),
            Self::Connack(connack) => connack.encode(version, out),
            Self::Puback(id) | Self::Pubrec(id) | Self::Pubcomp(id) | Self::Unsuback(id) => {
                writer::put_ack(out, packet_type, 0, id);
            }
            Self::Pubrel { id, dup } => {
                let flags = if dup && version.has_dup_on_requests() { DUP } else { 0 };
                writer::put_ack(out, packet_type, flags, id);
            }
            Self::Subscribe(subscribe) => {
                subscribe.encode(subscribe.dup && version.has_dup_on_requests(), out);
            }
            Self::Suback(suback) => suback.encode(version, out),
            Self::Unsubscribe(unsubscribe) => {
                unsubscribe.encode(unsubscribe.dup && version.has_dup_on_requests(), out);
            }
            Self::Pingreq | Self::Pingresp | Self::Disconnect => {
                out.extend_from_slice(&[packet_type.first_byte(), 0]);
            }
        }
        Ok(())
    }
}
