use core::fmt;

/// A version of the protocol that this crate speaks.
///
/// It is a parameter of encoding and decoding because the two differ, in these places and nowhere else:
///
/// | | 3.1 | 3.1.1 |
/// |---|---|---|
/// | protocol name and level in CONNECT | `MQIsdp`, 3 | `MQTT`, 4 |
/// | client identifier | 1 to 23 characters | may be empty with Clean Session 1 |
/// | Will QoS, Will Retain while the Will Flag is 0 | disregarded | must be 0 |
/// | User Name or Password Flag 1, payload ends before the field | the field is absent | malformed |
/// | DUP in PUBREL, SUBSCRIBE, UNSUBSCRIBE | set when sent again | must be 0 |
/// | first byte of the CONNACK variable header | reserved, disregarded | Session Present |
/// | SUBACK return code 0x80 (failure) | does not exist | may be sent |
///
/// The methods in the second half of this file are that table as code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum ProtocolVersion {
    /// MQTT 3.1: the protocol named `MQIsdp`, level 3.
    V3_1,
    /// MQTT 3.1.1, the OASIS standard: the protocol named `MQTT`, level 4.
    #[default]
    V3_1_1,
}

impl ProtocolVersion {
    /// Returns the Protocol Level that CONNECT carries (section 3.1.2.2).
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V3_1 => 3,
            Self::V3_1_1 => 4,
        }
    }

    /// Returns the Protocol Name that CONNECT carries [MQTT-3.1.2-1].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_1 => "MQIsdp",
            Self::V3_1_1 => "MQTT",
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"MQTT" => Some(Self::V3_1_1),
            b"MQIsdp" => Some(Self::V3_1),
            _ => None,
        }
    }

    /// The most characters that a client identifier may have, where the version limits it.
    pub(crate) const fn max_client_id_chars(self) -> Option<usize> {
        match self {
            Self::V3_1 => Some(23),
            Self::V3_1_1 => None,
        }
    }

    /// Whether an empty client identifier can ask the Server to assign one [MQTT-3.1.3-6].
    pub(crate) const fn allows_empty_client_id(self) -> bool {
        matches!(self, Self::V3_1_1)
    }

    /// Whether Will QoS and Will Retain must be 0 while the Will Flag is 0 [MQTT-3.1.2-13] [MQTT-3.1.2-15].
    pub(crate) const fn checks_flags_of_absent_will(self) -> bool {
        matches!(self, Self::V3_1_1)
    }

    /// Whether the remaining length takes precedence over the User Name and Password Flags.
    pub(crate) const fn tolerates_missing_credentials(self) -> bool {
        matches!(self, Self::V3_1)
    }

    /// Whether PUBREL, SUBSCRIBE and UNSUBSCRIBE have a DUP flag.
    pub(crate) const fn has_dup_on_requests(self) -> bool {
        matches!(self, Self::V3_1)
    }

    /// Whether the first byte of CONNACK's variable header means anything.
    pub(crate) const fn has_session_present(self) -> bool {
        matches!(self, Self::V3_1_1)
    }

    /// Whether SUBACK can refuse a subscription.
    pub(crate) const fn has_suback_failure(self) -> bool {
        matches!(self, Self::V3_1_1)
    }
}

/// Writes `3.1` or `3.1.1`.
impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
        })
    }
}
