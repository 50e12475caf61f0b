use core::fmt;

/// A Quality of Service level (section 4.3).
///
/// `qos as u8` is the level on the wire. The order is that of the levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: the message arrives once or not at all.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: the message arrives, perhaps more than once.
    AtLeastOnce = 1,
    /// QoS 2: the message arrives exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    #[inline]
    pub(crate) const fn from_u8(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl TryFrom<u8> for QoS {
    type Error = InvalidQoS;

    fn try_from(level: u8) -> Result<Self, InvalidQoS> {
        Self::from_u8(level).ok_or(InvalidQoS(level))
    }
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> Self {
        qos as Self
    }
}

/// Writes the level as a digit.
impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&(*self as u8), f)
    }
}

/// A number that is no Quality of Service level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("quality of service must be 0, 1 or 2, not {0} [MQTT-3.3.1-4]")]
pub struct InvalidQoS(
    /// The number.
    pub u8,
);
