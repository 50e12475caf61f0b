//! Why a tool ends, as a code for scripts and a line for people.

use std::fmt::Display;

use mqtt_tokio::mqtt_client::ConnectionError as Protocol;
use mqtt_tokio::{ConnectError, ConnectionError, DialError, SubscribeError, UriError};

/// The codes, as `--help` shows them. Those up to 27 are the numbers that mosquitto's tools and library use.
pub(crate) const HELP: &str = "\
Exit codes:
    0  All done: for mqtt_pub, every message was confirmed
    1  The server refuses the version of the protocol
    2  The command line is wrong, or the server refuses the client identifier
    3  The server is unavailable, it says
    4  The server refuses the user name or password
    5  The server does not authorize the client
    7  The connection was lost before the work was done
    8  TLS: a certificate, a key, or the handshake
    9  A message is too large
   10  This build lacks a feature; the message names it
   11  No credentials: their file or variable is missing
   12  The server refuses a subscription
   13  Anything else
   14  Nothing answers at the address
   15  The name of the server is unknown
   16  The proxy or the WebSocket handshake failed
   19  The server stopped answering
   21  What the server sends is not MQTT
   27  The time of -W is up
   74  A file, standard input or standard output failed
   75  Not all messages were delivered
  130  Ctrl-C (143: SIGTERM)";

/// The codes that both tools can end with, by name.
pub(crate) mod code {
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const LOST: u8 = 7;
    pub(crate) const TLS: u8 = 8;
    pub(crate) const NO_FEATURE: u8 = 10;
    pub(crate) const NO_CREDENTIALS: u8 = 11;
    pub(crate) const NOT_SUBSCRIBED: u8 = 12;
    pub(crate) const OTHER: u8 = 13;
    pub(crate) const NO_ANSWER: u8 = 14;
    pub(crate) const NO_SUCH_NAME: u8 = 15;
    pub(crate) const DETOUR: u8 = 16;
    pub(crate) const SILENT: u8 = 19;
    pub(crate) const NOT_MQTT: u8 = 21;
    pub(crate) const TIMED_OUT: u8 = 27;
    pub(crate) const FILE: u8 = 74;
}

/// Why a tool did not do all that it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// A wrong command line that only shows when all of it is seen together.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(code::USAGE, message)
    }

    /// An end that needs no words: the user knows.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    pub(crate) fn file(what: impl Display, error: &std::io::Error) -> Self {
        Self::new(code::FILE, format!("{what}: {error}"))
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connection(error) => error.into(),
            ConnectError::Uri(error) => error.into(),
            ConnectError::Options(error) => Self::usage(error),
            ConnectError::Tls(error) => Self::new(code::TLS, error),
            ConnectError::Env(error) => Self::usage(error),
            error => Self::new(code::OTHER, error),
        }
    }
}

impl From<UriError> for Failure {
    fn from(error: UriError) -> Self {
        match error {
            UriError::NeedsFeature { .. } => Self::new(code::NO_FEATURE, error),
            error => Self::usage(format!("bad address: {error}")),
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        let code = match &error {
            ConnectionError::Dial(DialError::Resolve { .. } | DialError::NoAddress { .. }) => {
                code::NO_SUCH_NAME
            }
            ConnectionError::Dial(_) | ConnectionError::Protocol(Protocol::ConnackTimeout) => code::NO_ANSWER,
            ConnectionError::Tls(_) => code::TLS,
            ConnectionError::Proxy(_) | ConnectionError::WebSocket(_) => code::DETOUR,
            ConnectionError::Credentials(_) => code::NO_CREDENTIALS,
            ConnectionError::Io(_) | ConnectionError::ClosedByServer => code::LOST,
            ConnectionError::Protocol(Protocol::Refused(refusal)) => match refusal.as_u8() {
                refusal @ 1..=5 => refusal,
                _ => code::OTHER,
            },
            ConnectionError::Protocol(Protocol::PingrespTimeout | Protocol::AckTimeout) => code::SILENT,
            ConnectionError::Protocol(_) => code::NOT_MQTT,
            _ => code::OTHER,
        };
        Self::new(code, error)
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Refused(_) => Self::new(code::NOT_SUBSCRIBED, error),
            SubscribeError::Topic(error) => Self::usage(error),
            error => Self::new(code::LOST, error),
        }
    }
}
