use bytes::{BufMut, BytesMut};

use crate::{MAX_REMAINING_LENGTH, PacketId, PacketTooLarge, PacketType};

/// How many bytes the fixed header has in front of `remaining` bytes.
#[inline]
pub(crate) const fn header_len(remaining: usize) -> usize {
    match remaining {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        _ => 5,
    }
}

#[inline]
pub(crate) fn check_remaining(remaining: usize) -> Result<usize, PacketTooLarge> {
    if remaining > MAX_REMAINING_LENGTH { Err(PacketTooLarge { len: remaining }) } else { Ok(remaining) }
}

/// Writes a fixed header. `remaining` has been checked.
pub(crate) fn put_header(out: &mut BytesMut, first: u8, remaining: usize) {
    let [a, b, c, d, ..] = seven_bit_groups(remaining);
    match header_len(remaining) {
        2 => out.extend_from_slice(&[first, a]),
        3 => out.extend_from_slice(&[first, a | 0x80, b]),
        4 => out.extend_from_slice(&[first, a | 0x80, b | 0x80, c]),
        _ => out.extend_from_slice(&[first, a | 0x80, b | 0x80, c | 0x80, d]),
    }
}

/// The four groups of seven bits of a remaining length, the lowest first, without continuation bits.
#[inline]
pub(crate) const fn seven_bit_groups(remaining: usize) -> [u8; 4] {
    [
        (remaining & 0x7f) as u8,
        (remaining >> 7 & 0x7f) as u8,
        (remaining >> 14 & 0x7f) as u8,
        (remaining >> 21 & 0x7f) as u8,
    ]
}

/// Writes a packet that is nothing but a Packet Identifier; `flags` are added to the fixed ones.
#[inline]
pub(crate) fn put_ack(out: &mut BytesMut, packet_type: PacketType, flags: u8, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.extend_from_slice(&[packet_type.first_byte() | flags, 2, high, low]);
}

/// Writes a string or binary field behind its two-byte length. The fields' types keep it within 65 535 bytes.
pub(crate) fn put_prefixed(out: &mut BytesMut, field: &[u8]) {
    out.put_u16(u16_len(field));
    out.extend_from_slice(field);
}

/// The length of a field whose type keeps it within 65 535 bytes.
#[inline]
pub(crate) fn u16_len(field: &[u8]) -> u16 {
    debug_assert!(field.len() <= usize::from(u16::MAX), "the field's type bounds it");
    field.len() as u16
}
