//! Looks at what goes to a client, to tell a server that repeats what it must not from a client that doubles.
//!
//! Between two connections that end soon one after the other, mosquitto 2.0.11 can go back a state: its log shows PUBREC
//! received and PUBREL sent, and on the connection after the next the PUBLISH again. The client has answered the PUBREL
//! and forgotten the identifier, as it must [MQTT-4.3.3-2]: to it this is a new message.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{Delivery, Direction, OwnedPacket, PacketId, ProtocolVersion};
use mqtt_tokio::PacketCodec;
use tokio_util::codec::Decoder;

/// What went to one client, over all its connections.
#[derive(Default)]
pub(crate) struct Witness(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// By Packet Identifier, the last message with QoS 2, and whether it was released with a PUBREL.
    messages: HashMap<PacketId, (Bytes, bool)>,
    /// What was sent again although it was released.
    repeated: HashSet<Bytes>,
}

/// Takes the packets out of the bytes of one connection.
pub(crate) struct Tap<'w> {
    witness: &'w Witness,
    codec: PacketCodec,
    input: BytesMut,
}

impl Witness {
    /// Looks at a connection.
    pub(crate) fn tap(&self, version: ProtocolVersion) -> Tap<'_> {
        let codec = PacketCodec::new(version, Direction::ToClient);
        Tap { witness: self, codec, input: BytesMut::new() }
    }

    /// Whether the server has sent this payload again after the PUBREL.
    pub(crate) fn has_repeated(&self, payload: &[u8]) -> bool {
        self.0.lock().unwrap().repeated.contains(payload)
    }

    /// How many messages the server has sent again after the PUBREL.
    pub(crate) fn repeated(&self) -> usize {
        self.0.lock().unwrap().repeated.len()
    }

    fn see(&self, packet: OwnedPacket) {
        let mut seen = self.0.lock().unwrap();
        match packet {
            OwnedPacket::Pubrel { id, .. } => {
                if let Some((_, released)) = seen.messages.get_mut(&id) {
                    *released = true;
                }
            }
            OwnedPacket::Publish(publish) => {
                if let Delivery::ExactlyOnce { id, .. } = publish.delivery {
                    let before = seen.messages.insert(id, (publish.payload.clone(), false));
                    if before.is_some_and(|before| before == (publish.payload.clone(), true)) {
                        seen.repeated.insert(publish.payload);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Tap<'_> {
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(packet) = self.codec.decode(&mut self.input).expect("the server sends packets") {
            self.witness.see(packet);
        }
    }
}
