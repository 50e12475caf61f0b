//! Looking at every packet as it passes: the one place where the core calls something that is not its own.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};

use mqtt_codec::{BinaryData, Decoded, Decoder, Direction, Packet, ProtocolVersion, Publish};

/// A function that is shown every packet, for logs and for debugging: see [`Client::inspect`](crate::Client::inspect).
///
/// It gets the direction, the packet and the size of the packet in bytes, with its fixed header:
/// - [`ToClient`](Direction::ToClient): a packet of the Server, when it was decoded and before the client acts on it. So
///   packets that are malformed or [skipped](crate::Oversize::Skip) are not shown; one that breaks the protocol is.
/// - [`ToServer`](Direction::ToServer): a packet that goes into the output, copies included, with DUP as it is on the wire.
///   The output may still wait for the transport, and end with its connection before a byte of it was taken.
///
/// Topics and payloads are shown as they are; `Debug` of a packet shows the length of a payload only. A password is not
/// there: that of a CONNECT has no bytes.
///
/// It is called in the middle of things: it should be quick, must not wait, and cannot call the client. What it
/// borrows ends with the call. A panic goes through to the caller of the client, which is of no use after it.
///
/// ```
/// use mqtt_client::{Client, Direction, Inspector, Options, PubSub, Time};
///
/// let mut client: Client<PubSub> = Client::new(Options::new("plant-7"))?;
/// client.inspect(Some(Inspector::new(|direction, packet, len| {
///     let arrow = if direction == Direction::ToServer { "->" } else { "<-" };
///     println!("{arrow} {len:>5} bytes {packet:?}");
/// })));
/// client.connect(Time::ZERO)?; // -> 21 bytes Connect(Connect { version: V3_1_1, ..
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Inspector(Arc<Inspect>);

type Inspect = dyn Fn(Direction, &Packet<'_>, usize) + Send + Sync;

impl Inspector {
    /// Makes a function an inspector. Clones share it.
    pub fn new(inspect: impl Fn(Direction, &Packet<'_>, usize) + Send + Sync + 'static) -> Self {
        Self(Arc::new(inspect))
    }

    /// Shows a packet of `len` bytes to the function.
    pub fn show(&self, direction: Direction, packet: &Packet<'_>, len: usize) {
        (self.0)(direction, packet, len);
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

/// The inspector of a client, if it has one. No part of what the client is: two that differ only in it are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hook(pub(crate) Option<Inspector>);

// What is shown is decoded once more, from the bytes: then it is what is on the wire, and whoever acts on a packet or
// encodes it can keep it in registers, which it could not if it were shown.
impl Hook {
    #[inline]
    pub(crate) const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Shows the packet at the beginning of the input, if there is one.
    #[cold]
    #[inline(never)]
    pub(crate) fn received(&self, input: &[u8], decoder: &Decoder) {
        let Some(inspector) = &self.0 else { return };
        if let Ok(Decoded::Packet(packet, len)) = decoder.decode(input) {
            inspector.show(Direction::ToClient, &packet, len);
        }
    }

    /// Shows a packet that was encoded, but for the password.
    #[cold]
    #[inline(never)]
    pub(crate) fn sent(&self, bytes: &[u8], version: ProtocolVersion) {
        let Some(inspector) = &self.0 else { return };
        let decoder = Decoder::new(version, Direction::ToServer);
        let Ok(Decoded::Packet(mut packet, len)) = decoder.decode(bytes) else { return };
        if let Packet::Connect(connect) = &mut packet {
            if let Some(password) = connect.credentials.as_mut().and_then(|it| it.password.as_mut()) {
                *password = BinaryData::default();
            }
        }
        inspector.show(Direction::ToServer, &packet, len);
    }

    /// Shows a PUBLISH whose bytes are not in one piece.
    #[cold]
    #[inline(never)]
    pub(crate) fn sent_publish(&self, publish: Publish<'_>, len: usize) {
        let Some(inspector) = &self.0 else { return };
        inspector.show(Direction::ToServer, &Packet::Publish(publish), len);
    }
}

impl PartialEq for Hook {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Hook {}

impl Hash for Hook {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}
