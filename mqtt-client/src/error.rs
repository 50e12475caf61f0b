//! Errors by fault: the bytes of the peer, the behaviour of the peer or the network, the caller.

use mqtt_codec::{ClientIdError, ConnectReturnCode, DecodeError, PacketType, StringError};

use crate::message::Message;

/// Why a Network Connection ended, when the core ended it. The Session is kept; the caller closes the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The bytes of the Server broke a rule of the packet format [MQTT-4.8.0-1].
    #[error("malformed packet: {0}")]
    Decode(#[from] DecodeError),
    /// The packets of the Server were well-formed, but not allowed there and then [MQTT-4.8.0-1].
    #[error("protocol violation: {0}")]
    Protocol(#[from] ProtocolViolation),
    /// The Server refused the connection (section 3.2.2.3). Codes that the standard does not define are kept as they
    /// came.
    #[error("the Server refused the connection: {0}")]
    Refused(ConnectReturnCode),
    /// A packet is larger than [`Options::max_packet_size`](crate::Options::max_packet_size).
    #[error("{packet_type} of {len} bytes is larger than the limit of {max} bytes")]
    Oversize {
        /// The type of the packet.
        packet_type: PacketType,
        /// Its size in bytes, fixed header included.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// No CONNACK came within [`Options::connack_timeout`](crate::Options::connack_timeout), counted from
    /// [`connect`](crate::Client::connect), hence over the whole dial.
    #[error("no CONNACK in time")]
    ConnackTimeout,
    /// No PINGRESP came within [`Options::pingresp_timeout`](crate::Options::pingresp_timeout) (section 3.1.2.10).
    #[error("no PINGRESP in time")]
    PingrespTimeout,
    /// Nothing that waits for its acknowledgement was acknowledged within
    /// [`Options::ack_timeout`](crate::Options::ack_timeout).
    #[error("no acknowledgement in time")]
    AckTimeout,
}

impl ConnectionError {
    /// Whether trying again, unchanged, can help.
    ///
    /// False for the refusals that a person has to mend: bad user name or password (4), not authorized (5), identifier
    /// rejected (2), unacceptable protocol version (1). True for all else.
    pub const fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::Refused(
                ConnectReturnCode::UnacceptableProtocolVersion
                    | ConnectReturnCode::IdentifierRejected
                    | ConnectReturnCode::BadUserNameOrPassword
                    | ConnectReturnCode::NotAuthorized
            )
        )
    }
}

/// A well-formed packet that the protocol does not allow at this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// The first packet of the Server was not a CONNACK.
    #[error("{0} before CONNACK [MQTT-3.2.0-1]")]
    BeforeConnack(PacketType),
    /// The Server sent a second CONNACK.
    #[error("a second CONNACK [MQTT-3.2.0-1]")]
    SecondConnack,
    /// The Server claims to have a Session although a clean one was asked for.
    #[error("session present after a clean session [MQTT-3.2.2-1]")]
    SessionPresentAfterClean,
    /// An acknowledgement of the wrong kind for an identifier that is in use.
    #[error("{packet_type} for packet identifier {id}, which waits for another packet [MQTT-2.3.1-6]")]
    WrongAcknowledgement {
        /// What came.
        packet_type: PacketType,
        /// The Packet Identifier.
        id: u16,
    },
    /// A SUBACK with another number of return codes than the SUBSCRIBE had filters.
    #[error("SUBACK with {received} return codes for {requested} topic filters [MQTT-3.8.4-5]")]
    SubackCount {
        /// The number of filters asked for.
        requested: usize,
        /// The number of codes that came.
        received: usize,
    },
}

/// Why [`Client::connect`](crate::Client::connect) did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is a Network Connection already: a Client sends CONNECT once on each.
    #[error("CONNECT was sent already on this network connection [MQTT-3.1.0-2]")]
    AlreadyConnected,
}

/// Why a publish was refused. The message comes back, so that nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// [`Options::max_queue_len`](crate::Options::max_queue_len) or
    /// [`Options::max_queue_size`](crate::Options::max_queue_size) is reached, or more events than the queues can cause
    /// wait to be fetched. Try again when output was taken, an acknowledgement arrived or events were fetched.
    #[error("the queue is full")]
    QueueFull(Message),
    /// A QoS 0 message while Disconnected, and [`Options::queue_qos0`](crate::Options::queue_qos0) is off.
    #[error("no network connection for a message with QoS 0")]
    NotConnected(Message),
    /// The packet would be larger than the protocol or
    /// [`Options::max_queue_size`](crate::Options::max_queue_size) allows; it never can be sent.
    #[error("the packet of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// The message.
        message: Message,
        /// The size of its PUBLISH packet in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
}

impl PublishError {
    /// The message that was refused.
    pub fn into_message(self) -> Message {
        match self {
            Self::QueueFull(message) | Self::NotConnected(message) | Self::TooLarge { message, .. } => {
                message
            }
        }
    }
}

/// Why a subscribe or unsubscribe was refused; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No Topic Filter was given.
    #[error("a request needs at least one topic filter [MQTT-3.8.3-3][MQTT-3.10.3-2]")]
    NoFilter,
    /// The packet would be larger than the protocol allows.
    #[error("the packet would be larger than the protocol allows")]
    TooLarge,
    /// [`Options::max_requests`](crate::Options::max_requests) are waiting for their answer, or too many events wait to be
    /// fetched.
    #[error("too many requests are waiting for their answer")]
    TooManyRequests,
}

/// Why an acknowledgement was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// The message came on an earlier Network Connection (the Server sends it again), or is acknowledged already.
    #[error("the message is not waiting for an acknowledgement on this network connection")]
    Stale,
}

/// Why a publish cannot be taken back or given an end any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// It is in flight, or was in a Session that the Server lost: the Server may have it.
    #[error("the message was sent already")]
    Sent,
    /// Its outcome was reported already, or is about to be.
    #[error("the publish is resolved already")]
    Resolved,
    /// Too many changes of the Session wait to be saved (only with a [journal](crate::Options::journal)).
    #[error("too many changes wait to be saved")]
    Busy,
}

/// Why [`Client::ping`](crate::Client::ping) did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// There is no connection that the Server has accepted.
    #[error("not connected")]
    NotConnected,
}

/// An option, or a combination of options, that the protocol or the core does not allow. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The client identifier is no valid string.
    #[error("client identifier: {0}")]
    ClientId(StringError),
    /// The client identifier does not fit the protocol version or Clean Session.
    #[error(transparent)]
    ClientIdRule(#[from] ClientIdError),
    /// The user name is no valid string.
    #[error("user name: {0}")]
    Username(StringError),
    /// The password is longer than 65 535 bytes.
    #[error("the password is longer than 65535 bytes [MQTT-3.1.3-11]")]
    PasswordTooLong,
    /// A password without a user name.
    #[error("a password needs a user name [MQTT-3.1.2-22]")]
    PasswordWithoutUsername,
    /// The payload of the Will is longer than 65 535 bytes.
    #[error("the will payload is longer than 65535 bytes [MQTT-3.1.3-10]")]
    WillTooLong,
    /// The keep alive is not a whole number of seconds from 0 to 65 535.
    #[error("keep alive must be whole seconds from 0 to 65535 (section 3.1.2.10)")]
    KeepAlive,
    /// A time-out of zero.
    #[error("a time-out must be longer than zero")]
    ZeroTimeout,
    /// `max_in_flight` or `max_in_flight_qos2` is not within 1 to 65 535.
    #[error("max_in_flight and max_in_flight_qos2 must be from 1 to 65535")]
    MaxInFlight,
    /// A [`Timed`](crate::Timed) retransmission with an `initial` of zero, a `cap` below it, a `factor` or `bandwidth` of
    /// zero, or a `jitter` above 100.
    #[error("timed retransmission: initial > 0, cap >= initial, factor >= 1, bandwidth >= 1, jitter <= 100")]
    Retransmission,
    /// `max_packet_size` is below 2 bytes or above the protocol's 268 435 460.
    #[error("max_packet_size must be from 2 to 268435460 bytes (section 2.2.3)")]
    MaxPacketSize,
}

/// Why bytes are not a stored Session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SessionDecodeError {
    /// They do not start as a stored Session does.
    #[error("not a stored session")]
    NotASession,
    /// They were written by another version of this crate.
    #[error("stored by another version: format {0}")]
    UnknownFormat(u8),
    /// They end too early.
    #[error("the stored session is cut off")]
    Truncated,
    /// Bytes follow the end.
    #[error("bytes follow the stored session")]
    TrailingBytes,
    /// A value in them is not possible: an illegal topic, an identifier twice, an unknown tag.
    #[error("the stored session is corrupt")]
    Corrupt,
}
