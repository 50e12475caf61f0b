use core::{fmt, num::NonZeroU16};

/// A Packet Identifier: never 0 [MQTT-2.3.1-1].
///
/// `Option<PacketId>` is two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The greatest identifier, 65 535.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// Makes an identifier of `id`, unless that is 0.
    #[inline]
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// Returns the identifier as a number.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Returns the identifier that follows; 1 follows 65 535.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(id) => Self(id),
            None => Self::MIN,
        }
    }
}

impl From<NonZeroU16> for PacketId {
    fn from(id: NonZeroU16) -> Self {
        Self(id)
    }
}

impl From<PacketId> for NonZeroU16 {
    fn from(id: PacketId) -> Self {
        id.0
    }
}

impl From<PacketId> for u16 {
    fn from(id: PacketId) -> Self {
        id.get()
    }
}

impl TryFrom<u16> for PacketId {
    type Error = InvalidPacketId;

    fn try_from(id: u16) -> Result<Self, InvalidPacketId> {
        Self::new(id).ok_or(InvalidPacketId)
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number 0, which is no Packet Identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a packet identifier must not be 0 [MQTT-2.3.1-1]")]
pub struct InvalidPacketId;
