use core::fmt;

/// The type of an MQTT Control Packet (table 2.1). `packet_type as u8` is its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// The client requests a connection to the Server (section 3.1).
    Connect = 1,
    /// The Server answers a connection request (section 3.2).
    Connack,
    /// An Application Message (section 3.3).
    Publish,
    /// Acknowledges a PUBLISH of QoS 1 (section 3.4).
    Puback,
    /// Publish received: first answer to a PUBLISH of QoS 2 (section 3.5).
    Pubrec,
    /// Publish release: answers PUBREC (section 3.6).
    Pubrel,
    /// Publish complete: answers PUBREL (section 3.7).
    Pubcomp,
    /// The client subscribes to Topic Filters (section 3.8).
    Subscribe,
    /// Acknowledges a SUBSCRIBE (section 3.9).
    Suback,
    /// The client unsubscribes from Topic Filters (section 3.10).
    Unsubscribe,
    /// Acknowledges an UNSUBSCRIBE (section 3.11).
    Unsuback,
    /// The client shows that it is alive (section 3.12).
    Pingreq,
    /// Answers a PINGREQ (section 3.13).
    Pingresp,
    /// The client disconnects (section 3.14).
    Disconnect,
}

impl PacketType {
    /// All packet types, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
    ];

    /// Returns whether a packet of this type may travel in `direction` (table 2.1).
    #[must_use]
    pub const fn travels(self, direction: Direction) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq | Self::Disconnect => {
                matches!(direction, Direction::ToServer)
            }
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp => {
                matches!(direction, Direction::ToClient)
            }
            Self::Publish | Self::Puback | Self::Pubrec | Self::Pubrel | Self::Pubcomp => true,
        }
    }

    /// The type in the high half of a packet's first byte, if it is not a reserved one.
    pub(crate) const fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// The low half of the first byte, without DUP, of every type but PUBLISH (table 2.2).
    pub(crate) const fn fixed_flags(self) -> u8 {
        match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// The first byte of a packet of this type whose flags are the fixed ones.
    #[inline]
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags()
    }

    /// The remaining length, of the types that have only one.
    pub(crate) const fn fixed_remaining_length(self) -> Option<usize> {
        match self {
            Self::Connack | Self::Puback | Self::Pubrec | Self::Pubrel | Self::Pubcomp | Self::Unsuback => {
                Some(2)
            }
            Self::Pingreq | Self::Pingresp | Self::Disconnect => Some(0),
            Self::Connect | Self::Publish | Self::Subscribe | Self::Suback | Self::Unsubscribe => None,
        }
    }
}

/// Writes the name as the standard does, such as `PUBACK`.
impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
        })
    }
}

/// Who receives a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The Server sent it and the client receives it.
    ToClient,
    /// The client sent it and the Server receives it.
    ToServer,
}
