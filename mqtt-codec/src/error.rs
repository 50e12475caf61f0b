use crate::{ClientIdError, ConnectReturnCode, MAX_REMAINING_LENGTH, PacketType, StringError, TopicError};

/// The rule that received bytes break; one variant for each rule.
///
/// The connection cannot go on after one: the receiver closes it [MQTT-4.8.0-1]. [`DecodeError::requirement`]
/// names the rule, and so does the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet type is 0 or 15, which are reserved (section 2.2.1).
    #[error("packet type {0} is reserved [{rule}]", rule = self.requirement())]
    ReservedPacketType(u8),
    /// A packet of this type does not travel in this direction (section 2.2.1).
    #[error("{0} does not travel in this direction [{rule}]", rule = self.requirement())]
    WrongDirection(PacketType),
    /// The flags in the first byte are not those of the packet type [MQTT-2.2.2-2].
    #[error("{0} has invalid flags [{rule}]", rule = self.requirement())]
    InvalidFlags(PacketType),
    /// Both QoS bits of a PUBLISH are set [MQTT-3.3.1-4].
    #[error("PUBLISH has QoS 3 [{rule}]", rule = self.requirement())]
    PublishQos3,
    /// DUP is set on a PUBLISH of QoS 0 [MQTT-3.3.1-2].
    #[error("PUBLISH of QoS 0 has the DUP flag [{rule}]", rule = self.requirement())]
    DupWithQos0,
    /// The remaining length takes more than four bytes (section 2.2.3).
    #[error("remaining length takes more than four bytes [{rule}]", rule = self.requirement())]
    RemainingLengthTooLong,
    /// The remaining length is not the one that packets of this type have (section 2.2.3).
    #[error("{0} has a wrong remaining length [{rule}]", rule = self.requirement())]
    WrongRemainingLength(PacketType),
    /// A field reaches beyond the end of the packet, or is missing (section 2.2.3).
    #[error("{0} ends within a field [{rule}]", rule = self.requirement())]
    Truncated(PacketType),
    /// Bytes follow the last field (section 2.2.3).
    #[error("{0} has bytes after its last field [{rule}]", rule = self.requirement())]
    TrailingBytes(PacketType),
    /// The Packet Identifier is 0 [MQTT-2.3.1-1].
    #[error("{0} has packet identifier 0 [{rule}]", rule = self.requirement())]
    ZeroPacketId(PacketType),
    /// A string breaks a rule of section 1.5.3.
    #[error(transparent)]
    String(#[from] StringError),
    /// A Topic Name or Topic Filter breaks a rule of section 4.7 or 1.5.3.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The Protocol Name is neither `MQTT` nor `MQIsdp` [MQTT-3.1.2-1].
    #[error("protocol name is neither MQTT nor MQIsdp [{rule}]", rule = self.requirement())]
    ProtocolName,
    /// The Protocol Level does not go with the Protocol Name [MQTT-3.1.2-2].
    ///
    /// A Server answers with [`ConnectReturnCode::UnacceptableProtocolVersion`].
    #[error("protocol level {0} is not supported [{rule}]", rule = self.requirement())]
    ProtocolLevel(u8),
    /// The reserved bit of the Connect Flags is set [MQTT-3.1.2-3].
    #[error("the reserved connect flag is set [{rule}]", rule = self.requirement())]
    ReservedConnectFlag,
    /// Will QoS is not 0 although the Will Flag is 0 [MQTT-3.1.2-13].
    #[error("will QoS is set without a will [{rule}]", rule = self.requirement())]
    WillQosWithoutWill,
    /// Will QoS is 3 [MQTT-3.1.2-14].
    #[error("will QoS is 3 [{rule}]", rule = self.requirement())]
    WillQos3,
    /// Will Retain is 1 although the Will Flag is 0 [MQTT-3.1.2-15].
    #[error("will retain is set without a will [{rule}]", rule = self.requirement())]
    WillRetainWithoutWill,
    /// The Password Flag is 1 although the User Name Flag is 0 [MQTT-3.1.2-22].
    #[error("a password is given without a user name [{rule}]", rule = self.requirement())]
    PasswordWithoutUserName,
    /// The client identifier is none that the protocol version allows.
    ///
    /// A Server answers with [`ConnectReturnCode::IdentifierRejected`].
    #[error(transparent)]
    ClientId(#[from] ClientIdError),
    /// A reserved bit of the Connect Acknowledge Flags is set (section 3.2.2.1).
    #[error("a reserved CONNACK flag is set [{rule}]", rule = self.requirement())]
    ReservedConnackFlag,
    /// Session Present is 1 although the connection is refused [MQTT-3.2.2-4].
    #[error("session present is set on a refusal [{rule}]", rule = self.requirement())]
    SessionPresentOnRefusal,
    /// There is no Topic Filter [MQTT-3.8.3-3] [MQTT-3.10.3-2], or no return code [MQTT-3.8.4-5].
    #[error("{0} has an empty payload [{rule}]", rule = self.requirement())]
    EmptyPayload(PacketType),
    /// The byte of a requested QoS has a reserved bit, or is 3 [MQTT-3.8.3-4].
    #[error("requested QoS byte is 0x{0:02x} [{rule}]", rule = self.requirement())]
    RequestedQos(u8),
    /// A SUBACK return code is none that the protocol version has [MQTT-3.9.3-2].
    #[error("SUBACK return code 0x{0:02x} is reserved [{rule}]", rule = self.requirement())]
    ReservedSubackCode(u8),
}

impl DecodeError {
    /// Returns the normative statement that is broken, such as `MQTT-3.3.1-4`.
    ///
    /// Where the standard numbers no statement for a rule it is the section, such as `MQTT-2.2.3`; a rule that
    /// only MQTT 3.1 has begins with `MQTT-V3.1`.
    #[must_use]
    pub const fn requirement(&self) -> &'static str {
        match self {
            Self::ReservedPacketType(_) | Self::WrongDirection(_) => "MQTT-2.2.1",
            Self::InvalidFlags(PacketType::Pubrel) => "MQTT-3.6.1-1",
            Self::InvalidFlags(PacketType::Subscribe) => "MQTT-3.8.1-1",
            Self::InvalidFlags(PacketType::Unsubscribe) => "MQTT-3.10.1-1",
            Self::InvalidFlags(_) => "MQTT-2.2.2-2",
            Self::PublishQos3 => "MQTT-3.3.1-4",
            Self::DupWithQos0 => "MQTT-3.3.1-2",
            Self::RemainingLengthTooLong
            | Self::WrongRemainingLength(_)
            | Self::Truncated(_)
            | Self::TrailingBytes(_) => "MQTT-2.2.3",
            Self::ZeroPacketId(_) => "MQTT-2.3.1-1",
            Self::String(error) => error.requirement(),
            Self::Topic(error) => error.requirement(),
            Self::ProtocolName => "MQTT-3.1.2-1",
            Self::ProtocolLevel(_) => "MQTT-3.1.2-2",
            Self::ReservedConnectFlag => "MQTT-3.1.2-3",
            Self::WillQosWithoutWill => "MQTT-3.1.2-13",
            Self::WillQos3 => "MQTT-3.1.2-14",
            Self::WillRetainWithoutWill => "MQTT-3.1.2-15",
            Self::PasswordWithoutUserName => "MQTT-3.1.2-22",
            Self::ClientId(error) => error.requirement(),
            Self::ReservedConnackFlag => "MQTT-3.2.2",
            Self::SessionPresentOnRefusal => "MQTT-3.2.2-4",
            Self::EmptyPayload(PacketType::Subscribe) => "MQTT-3.8.3-3",
            Self::EmptyPayload(PacketType::Unsubscribe) => "MQTT-3.10.3-2",
            Self::EmptyPayload(_) => "MQTT-3.8.4-5",
            Self::RequestedQos(_) => "MQTT-3.8.3-4",
            Self::ReservedSubackCode(_) => "MQTT-3.9.3-2",
        }
    }

    /// Returns the code with which a Server answers the CONNECT that caused the error, before it closes the
    /// connection [MQTT-3.1.2-2] [MQTT-3.1.3-8]; `None` where it just closes it [MQTT-3.1.4-1].
    #[must_use]
    pub const fn connect_return_code(&self) -> Option<ConnectReturnCode> {
        match self {
            Self::ProtocolLevel(_) => Some(ConnectReturnCode::UnacceptableProtocolVersion),
            Self::ClientId(_) => Some(ConnectReturnCode::IdentifierRejected),
            _ => None,
        }
    }
}

/// A packet whose remaining length would be above [`MAX_REMAINING_LENGTH`] (section 2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("remaining length {len} is above {MAX_REMAINING_LENGTH} [MQTT-2.2.3]")]
pub struct PacketTooLarge {
    /// The remaining length that the packet would have, in bytes.
    pub len: usize,
}

/// A list of Topic Filters or return codes that no packet can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The list is empty [MQTT-3.8.3-3] [MQTT-3.10.3-2] [MQTT-3.8.4-5].
    #[error("the list is empty [MQTT-3.8.3-3]")]
    Empty,
    /// The list does not fit into one packet.
    #[error(transparent)]
    TooLarge(#[from] PacketTooLarge),
}
