//! Errors by what was asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::env::EnvError;
use crate::login::CredentialsError;
use crate::settings::SettingError;
use crate::store::StoreError;
use crate::transport::tls::TlsError;
use crate::transport::{DialError, ProxyError, WebSocketError};
use mqtt_client::{Cause, Message, OptionsError, RequestError, SubackCode, TopicError};

/// Why a Network Connection could not be made, or ended.
///
/// `Clone`, since several waiters may be told of the same end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The transport could not be opened: name not found, connection refused, no route.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection could not be secured, or TLS failed while in use. Nothing was sent in the clear.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy did not lead to the Server.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The WebSocket could not be opened, or ended.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    /// The [hook](crate::Builder::credentials_from) gave no credentials for this attempt.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The transport failed while in use: a reset, a broken pipe.
    #[error("the network connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The Server closed the Network Connection without a word.
    #[error("the server closed the network connection")]
    ClosedByServer,
    /// A refusal, a malformed or illegal packet, or a deadline: see [`mqtt_client::ConnectionError`].
    #[error(transparent)]
    Protocol(#[from] mqtt_client::ConnectionError),
    /// The store failed. The client has ended: it would confirm what is not safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectionError {
    /// What a transport in use reports, by the layer that it comes from.
    pub(crate) fn of_transport(error: io::Error) -> Self {
        if let Some(error) = TlsError::from_io(&error) {
            return Self::Tls(error);
        }
        WebSocketError::from_io(&error).map_or_else(|| Self::Io(Arc::new(error)), Self::WebSocket)
    }

    /// Why a WebSocket was not opened. It can be TLS below it that ended the stream.
    #[cfg(feature = "ws")]
    pub(crate) fn of_websocket(error: WebSocketError) -> Self {
        let tls = match &error {
            WebSocketError::Io(error) => TlsError::from_io(error),
            _ => None,
        };
        tls.map_or(Self::WebSocket(error), Self::Tls)
    }

    /// Whether trying again, unchanged, can help. False for refusals such as bad credentials.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Protocol(error) => error.is_retryable(),
            Self::Tls(error) => error.is_retryable(),
            Self::Proxy(error) => error.is_retryable(),
            Self::WebSocket(error) => error.is_retryable(),
            Self::Dial(_) | Self::Credentials(_) | Self::Io(_) | Self::ClosedByServer => true,
            Self::Store(_) => false,
        }
    }
}

/// Why a client did not start.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is no URI that this crate can use.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// A variable of the environment is missing or wrong: see [`Builder::from_env`](crate::Builder::from_env).
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A configuration describes no client.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The settings for TLS cannot be used: a file, a key, a missing provider.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An option breaks a rule.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first attempt to connect failed. Use [`start`](crate::Builder::start) for a client that goes on trying.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The driver was dropped, or its runtime shut down, before the first attempt ended.
    #[error("the client was closed")]
    Closed,
}

/// Why a configuration (`Config`, feature `serde`) that could be read describes no client.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The setting needs a feature of this crate that is not on.
    #[error("the setting {setting} needs mqtt-tokio to be built with the feature {feature}")]
    NeedsFeature {
        /// The setting.
        setting: &'static str,
        /// The feature, or features of which one is enough.
        feature: &'static str,
    },
    /// One of `tls.certificate_file` and `tls.key_file` without the other.
    #[error("tls.certificate_file and tls.key_file go together")]
    HalfAnIdentity,
    /// The address of the proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A path or header of the WebSocket.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

/// Why a string is no address of a Server. The string itself is not shown: it can hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// There is no `scheme://` at its start.
    #[error("no scheme: an address starts with mqtt://, mqtts://, ws://, wss:// or unix://")]
    NoScheme,
    /// A scheme that this crate does not know.
    #[error("unknown scheme: known are mqtt, mqtts, tcp, ssl, ws, wss and unix")]
    UnsupportedScheme,
    /// A scheme that this build cannot use, since the crate was built without a feature.
    #[error("{scheme}:// needs mqtt-tokio to be built with the feature {feature}")]
    NeedsFeature {
        /// The scheme.
        scheme: &'static str,
        /// The feature, or features of which one is enough.
        feature: &'static str,
    },
    /// The system has no Unix domain sockets, or none that tokio can use.
    #[error("there are no Unix domain sockets on this system")]
    NotHere,
    /// No host.
    #[error("no host")]
    NoHost,
    /// The host is neither a name that a URI can hold (RFC 3986, section 3.2.2) nor an IPv6 address in brackets.
    #[error("invalid host: neither a host name nor an IPv6 address in brackets")]
    InvalidHost,
    /// The host has more than 255 bytes.
    #[error("a host name has 255 bytes at the most")]
    HostTooLong,
    /// The port is no number from 1 to 65535.
    #[error("invalid port")]
    InvalidPort,
    /// A `%` that two hexadecimal digits do not follow, or that yields a user name or host that is not UTF-8.
    #[error("invalid percent-encoding")]
    InvalidEncoding,
    /// A path or fragment, which has no meaning for this scheme.
    #[error("a path or fragment has no meaning for this scheme")]
    UnexpectedPath,
    /// A byte that the path cannot hold: what is not visible ASCII must be percent-encoded.
    #[error("invalid path")]
    InvalidPath,
    /// An option that there is not: see [the table](crate#settings-as-text).
    #[error("unknown option")]
    UnknownOption,
    /// The value of the option is none that it can have.
    #[error("invalid value of the option {0}")]
    InvalidOption(&'static str),
}

impl From<SettingError> for UriError {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::Unknown => Self::UnknownOption,
            SettingError::Invalid(name) => Self::InvalidOption(name),
        }
    }
}

/// Why a publish did not end as delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is no Topic Name. Nothing was sent.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The packet would be larger than the protocol or the queue allows. Nothing was sent; the message comes back.
    #[error("the packet of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// The message.
        message: Message,
        /// The size of its PUBLISH packet in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The queue is full ([`try_publish`](crate::Client::try_publish) only: the others wait). The message comes back.
    #[error("the queue is full")]
    QueueFull(Message),
    /// A message with QoS 0 while there is no connection, and
    /// [`queue_qos0`](mqtt_client::Options::queue_qos0) is off. The message comes back.
    #[error("no network connection for a message with QoS 0")]
    NotConnected(Message),
    /// It was accepted, and it is certain that the Server has not seen it.
    #[error("not sent: {0}")]
    NotSent(Cause),
    /// It was accepted, and the Server may or may not have got it.
    #[error("sent, but it is unknown whether it arrived: {0}")]
    Ambiguous(Cause),
    /// It was accepted, and is in the [store](crate::Builder::store), or in the Session that was taken out with
    /// [`disconnect_keeping_session`](crate::Client::disconnect_keeping_session): the client that continues the Session
    /// delivers it.
    #[error("not delivered yet, and kept in the session")]
    Kept,
    /// The client has disconnected for good. Nothing was sent.
    #[error("the client is closed")]
    Closed,
}

/// Why a subscribe or unsubscribe did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A filter is no Topic Filter. Nothing was sent.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The request was not accepted. Nothing was sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The Server refused at least one filter: its answers, in the order of the filters.
    #[error("the server refused a subscription [MQTT-3.9.3-2]")]
    Refused(Vec<SubackCode>),
    /// The request ended without an answer.
    #[error("no answer: {0}")]
    Failed(Cause),
    /// The request is in the [store](crate::Builder::store), or in the Session that was taken out with
    /// [`disconnect_keeping_session`](crate::Client::disconnect_keeping_session): the client that continues the Session
    /// makes it.
    #[error("not answered yet, and kept in the session")]
    Kept,
    /// The client has disconnected for good.
    #[error("the client is closed")]
    Closed,
}

/// Why a disconnect was not complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The time was up, or the client gave up on its connection, before everything was delivered. The client is closed
    /// all the same; what was left is resolved as `NotSent` or `Ambiguous`.
    #[error("{unresolved} messages were not delivered within {within:?}")]
    Undelivered {
        /// How many publishes with QoS 1 and 2 had no acknowledgement.
        unresolved: usize,
        /// The time that was given.
        within: Duration,
    },
    /// The time was up before the transport had taken all that was to be sent. Every message with QoS 1 and 2 was
    /// acknowledged; some with QoS 0 were not sent. The client is closed all the same.
    #[error("{size} bytes were not sent within {within:?}")]
    Unsent {
        /// How many bytes were left.
        size: usize,
        /// The time that was given.
        within: Duration,
    },
    /// The store failed before everything was saved: see [`Status::GaveUp`](crate::Status::GaveUp) and
    /// [`PublishError`]. The client is closed all the same.
    #[error("the store failed")]
    Store,
    /// The client was closed before.
    #[error("the client is closed")]
    Closed,
}

/// Why a message was not acknowledged together with something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// There is nothing to acknowledge: it has QoS 0, or is acknowledged already, or came on an earlier connection; then
    /// it comes again.
    #[error("there is nothing to acknowledge")]
    NotDue,
    /// Another stream got the message too, and the acknowledgement depends on both.
    #[error("another stream got the message too")]
    Shared,
}

/// Why a packet could not be read or written by a [`PacketCodec`](crate::PacketCodec).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes break a rule of the packet format.
    #[error(transparent)]
    Decode(#[from] mqtt_codec::DecodeError),
    /// A packet to be read is larger than the limit.
    #[error("a packet of {len} bytes is larger than the limit")]
    Oversize {
        /// Its size in bytes.
        len: usize,
    },
    /// A packet to be written is larger than the protocol allows.
    #[error(transparent)]
    TooLarge(#[from] mqtt_codec::PacketTooLarge),
    /// A packet to be written has a list without an entry.
    #[error(transparent)]
    List(#[from] mqtt_codec::ListError),
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
