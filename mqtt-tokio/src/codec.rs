//! Packets over [`tokio_util::codec::Framed`], for brokers, proxies and tools.

use std::io;

use bytes::BytesMut;
use mqtt_codec::{Decoded, Decoder, Direction, OwnedPacket, ProtocolVersion};

use crate::CodecError;

/// Reads and writes whole MQTT packets: a [`tokio_util::codec::Decoder`] and
/// [`Encoder`](tokio_util::codec::Encoder) of [`OwnedPacket`]s.
///
/// ```
/// use mqtt_codec::{Direction, ProtocolVersion};
/// use mqtt_tokio::PacketCodec;
/// use tokio_util::codec::Framed;
///
/// let (stream, _) = tokio::io::duplex(64);
/// let packets = Framed::new(stream, PacketCodec::new(ProtocolVersion::V3_1_1, Direction::ToServer));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PacketCodec {
    version: ProtocolVersion,
    decoder: Decoder,
}

impl PacketCodec {
    /// A codec for packets that travel in `direction`, and for writing those that travel the other way. A CONNECT that
    /// is read sets the version.
    pub fn new(version: ProtocolVersion, direction: Direction) -> Self {
        Self { version, decoder: Decoder::new(version, direction).max_packet_size(16 * 1024 * 1024) }
    }

    /// The largest packet to read, in bytes with its fixed header; default 16 MiB.
    #[must_use]
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.decoder = self.decoder.max_packet_size(bytes);
        self
    }
}

impl tokio_util::codec::Decoder for PacketCodec {
    type Item = OwnedPacket;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<OwnedPacket>, CodecError> {
        let len = match self.decoder.decode(source)? {
            Decoded::Packet(_, len) => len,
            Decoded::Incomplete { needed } => {
                source.reserve(needed.saturating_sub(source.len()));
                return Ok(None);
            }
            Decoded::Oversize(oversize) => return Err(CodecError::Oversize { len: oversize.len }),
        };
        let frame = source.split_to(len).freeze();
        match self.decoder.decode(&frame)? {
            Decoded::Packet(packet, _) => Ok(Some(OwnedPacket::from_slice_of(&frame, packet))),
            Decoded::Incomplete { .. } | Decoded::Oversize(_) => Ok(None),
        }
    }
}

impl tokio_util::codec::Encoder<OwnedPacket> for PacketCodec {
    type Error = CodecError;

    fn encode(&mut self, packet: OwnedPacket, into: &mut BytesMut) -> Result<(), CodecError> {
        packet.as_packet()?.encode(self.version, into)?;
        Ok(())
    }
}

impl From<CodecError> for io::Error {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
