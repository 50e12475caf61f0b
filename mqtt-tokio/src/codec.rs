//! Packets over [`tokio_util::codec::Framed`], for brokers, proxies and tools.

use std::io;

use bytes::BytesMut;
use mqtt_codec::{Decoded, Decoder, Direction, OwnedPacket, Packet, ProtocolVersion};

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
    direction: Direction,
    max_packet_size: usize,
}

/// The default of [`PacketCodec::max_packet_size`].
const MAX_PACKET_SIZE: usize = 16 * 1024 * 1024;

impl PacketCodec {
    /// A codec for packets that travel in `direction`, and for writing those that travel the other way. A CONNECT that
    /// is read sets the version.
    pub fn new(version: ProtocolVersion, direction: Direction) -> Self {
        Self { version, direction, max_packet_size: MAX_PACKET_SIZE }
    }

    /// The version that is spoken: the one given, or that of the CONNECT that was read last.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The largest packet to read, in bytes with its fixed header; default 16 MiB.
    #[must_use]
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.max_packet_size = bytes;
        self
    }
}

impl tokio_util::codec::Decoder for PacketCodec {
    type Item = OwnedPacket;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<OwnedPacket>, CodecError> {
        let decoder = Decoder::new(self.version, self.direction).max_packet_size(self.max_packet_size);
        let len = match decoder.decode(source)? {
            Decoded::Packet(_, len) => len,
            Decoded::Incomplete { needed } => {
                source.reserve(needed.saturating_sub(source.len()));
                return Ok(None);
            }
            Decoded::Oversize(oversize) => return Err(CodecError::Oversize { len: oversize.len }),
        };
        let frame = source.split_to(len).freeze();
        match decoder.decode(&frame)? {
            Decoded::Packet(packet, _) => {
                if let Packet::Connect(connect) = &packet {
                    self.version = connect.version;
                }
                Ok(Some(OwnedPacket::from_slice_of(&frame, packet)))
            }
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

#[cfg(test)]
mod tests {
    use tokio_util::codec::{Decoder as _, Encoder as _};

    use super::*;

    #[test]
    fn a_connect_sets_the_version() {
        let mut server = PacketCodec::new(ProtocolVersion::V3_1_1, Direction::ToServer);
        let connect = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a";
        let mut input = BytesMut::from(&connect[..10]);
        assert!(server.decode(&mut input).unwrap().is_none());
        input.extend_from_slice(&connect[10..]);
        assert!(matches!(server.decode(&mut input), Ok(Some(OwnedPacket::Connect(_)))));
        assert_eq!(server.version(), ProtocolVersion::V3_1);
        assert!(input.is_empty());
        let mut output = BytesMut::new();
        server.encode(OwnedPacket::Pingresp, &mut output).unwrap();
        assert_eq!(&output[..], b"\xd0\x00");
    }

    #[test]
    fn oversize_and_malformed_packets_are_refused() {
        let mut client = PacketCodec::new(ProtocolVersion::V3_1_1, Direction::ToClient).max_packet_size(100);
        let error = client.decode(&mut BytesMut::from(&b"\x30\x80\x01"[..])).unwrap_err();
        assert!(matches!(error, CodecError::Oversize { len: 131 }), "{error}");
        let error = client.decode(&mut BytesMut::from(&b"\x36"[..])).unwrap_err();
        assert!(matches!(error, CodecError::Decode(_)));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
    }
}
