use crate::{
    Connack, Connect, DecodeError, Delivery, Direction, MAX_PACKET_SIZE, Packet, PacketId, PacketType,
    ProtocolVersion, Publish, Suback, Subscribe, TopicNameRef, Unsubscribe,
    header::{self, DUP, RemainingLength},
    reader::Reader,
};

const PUBLISH: u8 = PacketType::Publish.first_byte();
const PUBACK: u8 = PacketType::Puback.first_byte();
const PUBREC: u8 = PacketType::Pubrec.first_byte();
const PUBREL: u8 = PacketType::Pubrel.first_byte();
const PUBCOMP: u8 = PacketType::Pubcomp.first_byte();

/// The length of a packet that is nothing but a Packet Identifier.
const ACK_LEN: usize = 4;

/// What the quick look at a packet finds; much smaller than a [`Decoded`], which has room for a CONNECT.
enum Common<'a> {
    Publish(Publish<'a>, usize),
    Puback(PacketId),
    Pubrec(PacketId),
    Pubrel(PacketId),
    Pubcomp(PacketId),
    Other,
}

/// Decodes packets: how, not what; it keeps no state between calls.
///
/// The caller keeps the received bytes, hands in what it has, and drops the length of each packet that comes
/// out. Nothing is copied or allocated.
///
/// ```
/// use mqtt_codec::{Decoded, Decoder, Direction, Packet, PacketId, ProtocolVersion};
///
/// let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
/// let input = [0x40, 0x02, 0x00, 0x07, 0xd0, 0x00];
/// let Decoded::Packet(packet, len) = decoder.decode(&input)? else { panic!("it is all there") };
/// assert_eq!((Some(packet), len), (PacketId::new(7).map(Packet::Puback), 4));
/// assert_eq!(decoder.decode(&input[len..])?, Decoded::Packet(Packet::Pingresp, 2));
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decoder {
    version: ProtocolVersion,
    direction: Direction,
    max_packet_size: usize,
}

/// What [`Decoder::decode`] found at the beginning of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A packet, and its length in bytes: the next packet begins behind them.
    Packet(Packet<'a>, usize),
    /// The input ends within a packet, or is empty.
    Incomplete {
        /// Input shorter than this, counted from the same beginning, cannot tell more.
        needed: usize,
    },
    /// A packet that is longer than [`Decoder::max_packet_size`]; perhaps only its fixed header is there.
    Oversize(Oversize),
}

impl Decoder {
    /// Makes a decoder of packets of `version` that travel in `direction`.
    ///
    /// A CONNECT says its own version, so that `version` does not matter to it: a Server decodes the CONNECT and
    /// goes on with a decoder of [`Connect::version`].
    #[must_use]
    pub const fn new(version: ProtocolVersion, direction: Direction) -> Self {
        Self { version, direction, max_packet_size: MAX_PACKET_SIZE }
    }

    /// Sets the length in bytes, fixed header included, above which a packet is [`Decoded::Oversize`].
    ///
    /// Default: [`MAX_PACKET_SIZE`], so that there are no such packets.
    #[must_use]
    pub const fn max_packet_size(self, bytes: usize) -> Self {
        Self { max_packet_size: bytes, ..self }
    }

    /// Decodes the packet at the beginning of `input`.
    ///
    /// Of a packet that is not complete only the fixed header is looked at, so that a trickled packet costs no
    /// more than one that comes at once. What the fixed header alone can show to be wrong is an error at once.
    ///
    /// # Errors
    /// [`DecodeError`] names the rule that the packet breaks; the connection has to be closed [MQTT-4.8.0-1].
    #[inline]
    pub fn decode<'a>(&self, input: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
        // The whole result is built here, in the caller, where only the part that is used has to be stored.
        match self.decode_common(input) {
            Common::Publish(publish, len) => Ok(Decoded::Packet(Packet::Publish(publish), len)),
            Common::Puback(id) => Ok(Decoded::Packet(Packet::Puback(id), ACK_LEN)),
            Common::Pubrec(id) => Ok(Decoded::Packet(Packet::Pubrec(id), ACK_LEN)),
            Common::Pubrel(id) => Ok(Decoded::Packet(Packet::Pubrel { id, dup: false }, ACK_LEN)),
            Common::Pubcomp(id) => Ok(Decoded::Packet(Packet::Pubcomp(id), ACK_LEN)),
            Common::Other => self.decode_any(input),
        }
    }

    /// Decodes the packets that nearly all traffic consists of.
    ///
    /// They travel in both directions and are the same in both versions. Whatever is wrong or unusual about them
    /// is [`Common::Other`], for the slower look that knows all rules.
    #[inline]
    fn decode_common<'a>(&self, input: &'a [u8]) -> Common<'a> {
        let Some((&[first, second], rest)) = input.split_first_chunk() else {
            return Common::Other;
        };
        if first & 0xf0 == PUBLISH {
            let (header_len, remaining) = match rest.first() {
                _ if second < 0x80 => (2, usize::from(second)),
                Some(&third) if third < 0x80 => (3, usize::from(second & 0x7f) | usize::from(third) << 7),
                _ => return Common::Other,
            };
            let len = header_len + remaining;
            return match input.get(header_len..len) {
                Some(body) if len <= self.max_packet_size && header::are_publish_flags(first) => {
                    Publish::decode(first, body)
                        .map_or(Common::Other, |publish| Common::Publish(publish, len))
                }
                _ => Common::Other,
            };
        }
        match (first, second, rest.first_chunk().and_then(|id| PacketId::new(u16::from_be_bytes(*id)))) {
            _ if self.max_packet_size < ACK_LEN => Common::Other,
            (PUBACK, 2, Some(id)) => Common::Puback(id),
            (PUBREC, 2, Some(id)) => Common::Pubrec(id),
            (PUBREL, 2, Some(id)) => Common::Pubrel(id),
            (PUBCOMP, 2, Some(id)) => Common::Pubcomp(id),
            _ => Common::Other,
        }
    }

    /// Decodes whatever there may be.
    #[inline(never)]
    fn decode_any<'a>(&self, input: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
        let Some(&first) = input.first() else {
            return Ok(Decoded::Incomplete { needed: 1 });
        };
        let packet_type = header::check_first_byte(first, self.version, self.direction)?;
        let (remaining, header_len) = match header::read_remaining_length(input)? {
            RemainingLength::Complete { remaining, header_len } => (remaining, header_len),
            RemainingLength::Incomplete => return Ok(Decoded::Incomplete { needed: input.len() + 1 }),
        };
        if packet_type.fixed_remaining_length().is_some_and(|fixed| fixed != remaining) {
            return Err(DecodeError::WrongRemainingLength(packet_type));
        }
        let len = header_len + remaining;
        if len > self.max_packet_size {
            return Ok(Decoded::Oversize(Oversize { packet_type, len, first, header_len }));
        }
        match input.get(header_len..len) {
            Some(body) => Ok(Decoded::Packet(self.decode_body(packet_type, first, body)?, len)),
            None => Ok(Decoded::Incomplete { needed: len }),
        }
    }

    fn decode_body<'a>(
        &self,
        packet_type: PacketType,
        first: u8,
        body: &'a [u8],
    ) -> Result<Packet<'a>, DecodeError> {
        let dup = first & DUP != 0;
        let only_id = || Reader::new(packet_type, body).packet_id();
        Ok(match packet_type {
            PacketType::Connect => Packet::Connect(Connect::decode(body)?),
            PacketType::Connack => Packet::Connack(Connack::decode(self.version, body)?),
            PacketType::Publish => Packet::Publish(Publish::decode(first, body)?),
            PacketType::Puback => Packet::Puback(only_id()?),
            PacketType::Pubrec => Packet::Pubrec(only_id()?),
            PacketType::Pubrel => Packet::Pubrel { id: only_id()?, dup },
            PacketType::Pubcomp => Packet::Pubcomp(only_id()?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(dup, body)?),
            PacketType::Suback => Packet::Suback(Suback::decode(self.version, body)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(dup, body)?),
            PacketType::Unsuback => Packet::Unsuback(only_id()?),
            PacketType::Pingreq => Packet::Pingreq,
            PacketType::Pingresp => Packet::Pingresp,
            PacketType::Disconnect => Packet::Disconnect,
        })
    }
}

/// A packet that is longer than the caller wants, as far as its fixed header tells.
///
/// It can be skipped: drop [`len`](Self::len) bytes as they come in. A PUBLISH can be acknowledged nevertheless,
/// with what [`publish_head`](Self::publish_head) reads from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Oversize {
    /// The type of the packet.
    pub packet_type: PacketType,
    /// The length of the whole packet in bytes.
    pub len: usize,
    first: u8,
    header_len: usize,
}

/// A PUBLISH without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublishHead<'a> {
    /// QoS, Packet Identifier and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name.
    pub topic: TopicNameRef<'a>,
    /// The length of the payload in bytes.
    pub payload_len: usize,
}

impl Oversize {
    /// Decodes what precedes the payload of a PUBLISH; `input` begins with the packet, as it did before.
    ///
    /// Returns `None` while that is not there yet, and for every other packet type. It is at most 65 544 bytes.
    ///
    /// # Errors
    /// [`DecodeError`] as from [`Decoder::decode`].
    pub fn publish_head<'a>(&self, input: &'a [u8]) -> Result<Option<PublishHead<'a>>, DecodeError> {
        if self.packet_type != PacketType::Publish {
            return Ok(None);
        }
        let body_len = self.len - self.header_len;
        let body = input.get(self.header_len..).unwrap_or_default();
        let body = body.get(..body_len).unwrap_or(body);
        match Publish::decode(self.first, body) {
            Ok(Publish { delivery, retain, topic, payload }) => {
                let payload_len = body_len - (body.len() - payload.len());
                Ok(Some(PublishHead { delivery, retain, topic, payload_len }))
            }
            // Cut off by the input, not by the packet; unless the topic does not fit into the packet either.
            Err(DecodeError::Truncated(_)) if body.len() < body_len && self.topic_fits(body) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the packet is long enough for its topic and Packet Identifier, as far as `body` tells.
    fn topic_fits(&self, body: &[u8]) -> bool {
        let id_len = if self.first & 0b0110 == 0 { 0 } else { 2 };
        let topic_len = body.first_chunk().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
        self.header_len + 2 + topic_len + id_len <= self.len
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn publish() -> impl Strategy<Value = Vec<u8>> {
        let body = vec(prop_oneof![9 => b'a'..b'd', 1 => any::<u8>()], 1..20);
        (0x30..0x40_u8, any::<bool>(), 0..8_u8, body).prop_map(|(first, long, topic_len, body)| {
            let len = body.len() as u8 + 2;
            let len = if long { std::vec![len | 0x80, 0] } else { std::vec![len] };
            [&[first][..], &len, &[0, topic_len], &body].concat()
        })
    }

    fn ack() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![Just(0x40_u8), Just(0x50), Just(0x62), Just(0x6a), Just(0x70), 0x40..0x80_u8];
        (first, prop_oneof![4 => Just(2_u8), 1 => any::<u8>()], vec(0..2_u8, 0..4))
            .prop_map(|(first, len, id)| [&[first, len][..], &id].concat())
    }

    proptest! {
        /// The quick look changes nothing but the time.
        #[test]
        fn the_quick_look_agrees_with_the_slower_one(
            old in any::<bool>(),
            to_server in any::<bool>(),
            max in prop_oneof![Just(MAX_PACKET_SIZE), 0..20_usize],
            input in prop_oneof![publish(), ack(), vec(any::<u8>(), 0..40)],
        ) {
            let version = if old { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };
            let direction = if to_server { Direction::ToServer } else { Direction::ToClient };
            let decoder = Decoder::new(version, direction).max_packet_size(max);
            prop_assert_eq!(decoder.decode(&input), decoder.decode_any(&input));
        }
    }
}
