use crate::{DecodeError, Direction, PacketType, ProtocolVersion};

/// The greatest remaining length: what four bytes of seven bits can say (section 2.2.3).
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// The length of the greatest packet: five bytes of fixed header and [`MAX_REMAINING_LENGTH`].
pub const MAX_PACKET_SIZE: usize = MAX_REMAINING_LENGTH + 5;

pub(crate) const DUP: u8 = 0b1000;
pub(crate) const RETAIN: u8 = 0b0001;

/// A remaining length as read.
pub(crate) enum RemainingLength {
    /// Its last byte has not come yet.
    Incomplete,
    Complete {
        remaining: usize,
        /// How many bytes the fixed header has, the first byte included.
        header_len: usize,
    },
}

/// Reads the remaining length behind the first byte of `input`.
///
/// A value written in more bytes than it needs is accepted: the standard does not forbid it.
#[inline]
pub(crate) fn read_remaining_length(input: &[u8]) -> Result<RemainingLength, DecodeError> {
    let mut remaining = 0;
    for (index, &byte) in input.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(RemainingLength::Complete { remaining, header_len: index + 2 });
        }
    }
    if input.len() < 5 { Ok(RemainingLength::Incomplete) } else { Err(DecodeError::RemainingLengthTooLong) }
}

/// Returns whether the low half of a PUBLISH's first byte is legal: no QoS 3, no DUP with QoS 0.
#[inline]
pub(crate) const fn are_publish_flags(first: u8) -> bool {
    // One bit for each of the 16 values: QoS 0, 1 and 2, then QoS 1 and 2 with DUP; each with and without RETAIN.
    const LEGAL: u16 = 0b0011_1100_0011_1111;
    LEGAL >> (first & 0x0f) & 1 == 1
}

/// Checks everything that the first byte of a packet says.
#[inline]
pub(crate) fn check_first_byte(
    first: u8,
    version: ProtocolVersion,
    direction: Direction,
) -> Result<PacketType, DecodeError> {
    let packet_type =
        PacketType::from_first_byte(first).ok_or(DecodeError::ReservedPacketType(first >> 4))?;
    if !packet_type.travels(direction) {
        return Err(DecodeError::WrongDirection(packet_type));
    }
    let flags = first & 0x0f;
    match packet_type {
        PacketType::Publish => match flags & 0b1110 {
            0b0110 | 0b1110 => Err(DecodeError::PublishQos3),
            0b1000 => Err(DecodeError::DupWithQos0),
            _ => Ok(packet_type),
        },
        PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe
            if version.has_dup_on_requests() && flags & !DUP == packet_type.fixed_flags() =>
        {
            Ok(packet_type)
        }
        _ if flags == packet_type.fixed_flags() => Ok(packet_type),
        _ => Err(DecodeError::InvalidFlags(packet_type)),
    }
}
