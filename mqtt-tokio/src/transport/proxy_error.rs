//! Why a proxy did not lead to the server.

use std::io;
use std::sync::Arc;

use crate::error::UriError;

/// Why a proxy did not lead to the server.
///
/// The type is there without the feature `proxy` too; without it, there is no value of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The address of the proxy is none.
    #[error("invalid address of a proxy: {0}")]
    Uri(#[from] UriError),
    /// The address of the proxy has another scheme than `http`, `socks5` and `socks5h`.
    #[error("unknown scheme of a proxy: known are http, socks5 and socks5h")]
    UnsupportedScheme,
    /// User name or password are such that they cannot be sent: for HTTP, a user name with a colon or control characters;
    /// for SOCKS5, either of them without a byte, or with more than 255.
    #[error("user name or password cannot be sent to a proxy of this kind")]
    InvalidCredentials,
    /// The name of the server cannot be sent: it is empty, has more than 255 bytes, or others than a name in ASCII can
    /// have. Nothing was sent.
    #[error("invalid name of a server behind a proxy")]
    InvalidHost,
    /// The name of the server could not be resolved (`socks5` does that here; `socks5h` leaves it to the proxy).
    #[error("cannot resolve the name of the server behind the proxy: {0}")]
    Resolve(#[source] Arc<io::Error>),
    /// The proxy wants user name and password, and there are none.
    #[error("the proxy wants user name and password")]
    AuthenticationWanted,
    /// The HTTP proxy wants another proof than Basic, such as NTLM or Negotiate.
    #[error("the proxy wants another way to authenticate than user name and password by Basic")]
    AuthenticationNotSupported,
    /// The proxy does not accept user name and password.
    #[error("the proxy refused user name and password")]
    AuthenticationRefused,
    /// The HTTP proxy answered with this status: 403 for a server that it is not to be used for, 502, 503 or 504 for one
    /// that it does not reach.
    #[error("the proxy answered with the HTTP status {0}")]
    Status(u16),
    /// The rules of the SOCKS5 proxy do not allow the connection.
    #[error("the proxy does not allow connections to this server")]
    NotAllowed,
    /// The SOCKS5 proxy does not reach the network or the host.
    #[error("the proxy cannot reach the server")]
    Unreachable,
    /// The server refused the connection of the SOCKS5 proxy.
    #[error("the server refused the connection of the proxy")]
    Refused,
    /// The SOCKS5 proxy gave up waiting for the server.
    #[error("the proxy had no answer from the server")]
    TimedOut,
    /// The SOCKS5 proxy knows no such command or kind of address, as an IPv6 one.
    #[error("the proxy does not support connections to such an address")]
    NotSupported,
    /// Another reply of the SOCKS5 proxy.
    #[error("the proxy failed with the SOCKS5 reply {0}")]
    Failed(u8),
    /// What answered is no proxy of this kind.
    #[error("no such proxy: {0}")]
    Malformed(&'static str),
    /// The answer of the proxy is longer than 16 KiB.
    #[error("the answer of the proxy is longer than 16 KiB")]
    TooLong,
    /// The connection to the proxy failed, or ended, before there was an answer.
    #[error("the connection to the proxy failed: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl ProxyError {
    /// Whether trying again, unchanged, can help.
    ///
    /// False for what is surely about credentials or permission (403, 407 and their like in SOCKS5) or about settings. True
    /// for anything else: a load balancer answers all kinds of things while the proxy behind it restarts.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Status(status) => !matches!(status, 401 | 403),
            Self::Resolve(_)
            | Self::Unreachable
            | Self::Refused
            | Self::TimedOut
            | Self::NotSupported
            | Self::Failed(_)
            | Self::Malformed(_)
            | Self::TooLong
            | Self::Io(_) => true,
            Self::Uri(_)
            | Self::UnsupportedScheme
            | Self::InvalidCredentials
            | Self::InvalidHost
            | Self::AuthenticationWanted
            | Self::AuthenticationNotSupported
            | Self::AuthenticationRefused
            | Self::NotAllowed => false,
        }
    }
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
