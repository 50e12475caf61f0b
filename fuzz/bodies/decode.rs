//! Input: a byte of settings (version, direction, limit), and the bytes to decode.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{Decoded, Decoder, Direction, Packet, ProtocolVersion};

pub(crate) fn run(data: &[u8]) {
    let Some((&settings, mut input)) = data.split_first() else { return };
    let version = if settings & 1 == 0 { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
    let direction = if settings & 2 == 0 { Direction::ToClient } else { Direction::ToServer };
    let decoder = Decoder::new(version, direction);
    let decoder =
        if settings & 4 == 0 { decoder } else { decoder.max_packet_size(usize::from(settings >> 3)) };
    loop {
        match decoder.decode(input) {
            Ok(Decoded::Packet(packet, len)) => {
                check(packet, decoder, version, &input[..len]);
                input = &input[len..];
            }
            Ok(Decoded::Incomplete { needed }) => {
                assert!(needed > input.len());
                return;
            }
            Ok(Decoded::Oversize(oversize)) => {
                for end in 0..=input.len() {
                    let head = oversize.publish_head(&input[..end]);
                    assert!(
                        head.is_err()
                            || head.is_ok_and(|head| head.is_none_or(|it| it.payload_len < oversize.len))
                    );
                }
                return;
            }
            Err(error) => {
                assert!(error.to_string().ends_with(&format!("[{}]", error.requirement())), "{error}");
                return;
            }
        }
    }
}

fn check(packet: Packet<'_>, decoder: Decoder, version: ProtocolVersion, bytes: &[u8]) {
    // A CONNECT carries its own version.
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
    let mut encoded = BytesMut::new();
    packet.encode(version, &mut encoded).expect("it came in a packet, so it fits into one");
    assert!(encoded.len() <= bytes.len(), "never longer than what was decoded");
    assert_eq!(packet.encoded_len(version), Ok(encoded.len()));
    assert_eq!(decoder.decode(&encoded), Ok(Decoded::Packet(packet, encoded.len())));
    let frame = Bytes::copy_from_slice(bytes);
    let owned = mqtt_codec::OwnedPacket::from_slice_of(&frame, packet);
    assert_eq!(owned.as_packet(), Ok(packet));
    for end in 0..bytes.len().min(64) {
        assert!(
            matches!(decoder.decode(&bytes[..end]), Ok(Decoded::Incomplete { needed }) if needed > end),
            "a packet that is right is no error while it is incomplete"
        );
    }
}
