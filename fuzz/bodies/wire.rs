//! What the client sends.

use mqtt_codec::{Decoded, Decoder, Direction, Packet, ProtocolVersion};

/// All whole packets that the client sent, one after the other; how many bytes they are. They must be legal.
pub(crate) fn each_packet(wire: &[u8], version: ProtocolVersion, mut each: impl FnMut(Packet<'_>)) -> usize {
    let decoder = Decoder::new(version, Direction::ToServer);
    let mut used = 0;
    while let Decoded::Packet(packet, len) =
        decoder.decode(&wire[used..]).expect("the client sends legal packets")
    {
        used += len;
        each(packet);
    }
    used
}
