//! Input: a byte of settings (version, direction, limit), a byte for how many sizes of pieces follow, those, and the
//! bytes to decode.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{DecodeError, Decoded, Decoder, Direction, OwnedPacket, Packet, ProtocolVersion};
use mqtt_tokio::{CodecError, PacketCodec};
use tokio_util::codec::Decoder as _;

use super::input::Input;

/// What came out of the bytes: packets, and how it ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    packets: Vec<OwnedPacket>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// All bytes are used, or the rest is the beginning of a packet: so many are left.
    Incomplete(usize),
    Oversize(usize),
    Malformed(DecodeError),
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    if input.is_empty() {
        return;
    }
    let settings = input.byte();
    let version = if settings & 1 == 0 { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
    let direction = if settings & 2 == 0 { Direction::ToClient } else { Direction::ToServer };
    let limit = if settings & 4 == 0 { 1 << 20 } else { usize::from(settings >> 3) };
    let sizes: Vec<_> = (0..input.byte() % 16).map(|_| usize::from(input.byte()) + 1).collect();
    let bytes = input.0;

    let decoder = |version| Decoder::new(version, direction).max_packet_size(limit);
    let whole = decode(&[bytes], version, decoder);
    assert_eq!(decode(&pieces(bytes, &sizes), version, decoder), whole);
    let codec = || PacketCodec::new(version, direction).max_packet_size(limit);
    assert_eq!(decode_framed(&[bytes], codec()), whole);
    assert_eq!(decode_framed(&pieces(bytes, &sizes), codec()), whole);
}

/// The bytes in pieces of these sizes, over and over again; without sizes, byte by byte.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = if sizes.is_empty() { &[1][..] } else { sizes }.iter().cycle();
    while !bytes.is_empty() {
        let size = sizes.next().map_or(1, |size| *size).min(bytes.len());
        let (piece, rest) = bytes.split_at(size);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn decode(
    pieces: &[&[u8]],
    mut version: ProtocolVersion,
    decoder: impl Fn(ProtocolVersion) -> Decoder,
) -> Outcome {
    let mut packets = Vec::new();
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let (packet, len) = match decoder(version).decode(&buffer) {
                Ok(Decoded::Packet(packet, len)) => (packet, len),
                Ok(Decoded::Incomplete { needed }) => {
                    assert!(needed > buffer.len());
                    break;
                }
                Ok(Decoded::Oversize(oversize)) => {
                    return Outcome { packets, end: End::Oversize(oversize.len) };
                }
                Err(error) => return Outcome { packets, end: End::Malformed(error) },
            };
            if let Packet::Connect(connect) = packet {
                version = connect.version;
            }
            let frame = Bytes::copy_from_slice(&buffer[..len]);
            packets.push(OwnedPacket::from_slice_of(&frame, packet));
            buffer.drain(..len);
        }
    }
    Outcome { packets, end: End::Incomplete(buffer.len()) }
}

fn decode_framed(pieces: &[&[u8]], mut codec: PacketCodec) -> Outcome {
    let mut packets = Vec::new();
    let mut buffer = BytesMut::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(CodecError::Oversize { len }) => return Outcome { packets, end: End::Oversize(len) },
                Err(CodecError::Decode(error)) => return Outcome { packets, end: End::Malformed(error) },
                Err(error) => panic!("{error} without a transport"),
            }
        }
    }
    Outcome { packets, end: End::Incomplete(buffer.len()) }
}
