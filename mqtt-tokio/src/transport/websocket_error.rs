//! Why a WebSocket could not be opened, or ended.

use std::io;
use std::sync::Arc;

/// Why a WebSocket could not be opened, or ended.
///
/// The type is there without the feature `ws` too; without it, there is no value of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The server answered with another status than 101: wrong path (404), credentials wanted (401, 403), elsewhere
    /// (301, 302), no WebSocket here (200, 400, 426), not now (429, 503).
    #[error("the server answered with the HTTP status {0} instead of opening a WebSocket")]
    Status(u16),
    /// The server did not agree to the subprotocol that was offered [MQTT-6.0.0-3].
    #[error("the server did not agree to the WebSocket subprotocol {offered} [MQTT-6.0.0-3]")]
    Subprotocol {
        /// What was offered: `mqtt`, or `mqttv3.1, mqtt` for MQTT 3.1.
        offered: &'static str,
        /// What the server chose instead, escaped; `None` if it chose nothing.
        chosen: Option<String>,
    },
    /// What answered is no WebSocket server.
    #[error("no WebSocket server: {0}")]
    NotWebSocket(&'static str),
    /// The server sent text; MQTT travels in binary frames [MQTT-6.0.0-1].
    #[error("the server sent a text frame [MQTT-6.0.0-1]")]
    TextFrame,
    /// A frame is larger than the limit (`WebSocket::max_frame_size`).
    #[error("a frame of {len} bytes is larger than the limit of {max} bytes")]
    FrameTooLarge {
        /// The size in bytes that its header states.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The server broke a rule of RFC 6455.
    #[error("the server broke the WebSocket protocol: {0}")]
    Protocol(&'static str),
    /// The server closed the WebSocket.
    #[error("the server closed the WebSocket{}", describe(*.code, .reason))]
    Closed {
        /// The status code (RFC 6455, section 7.4), such as 1000 for no special reason, 1001 for a server that shuts
        /// down, 1008 for a client that it does not want.
        code: Option<u16>,
        /// The reason, escaped; often empty.
        reason: String,
    },
    /// A name or value that a header cannot have. Nothing was sent.
    #[error("the header {0} has a name or value that HTTP does not allow")]
    InvalidHeader(String),
    /// A header that is not the application's: `Host`, `Upgrade`, `Connection`, `Sec-WebSocket-*` and those that
    /// announce a body. Nothing was sent.
    #[error("the header {0} is reserved")]
    ReservedHeader(String),
    /// A path must begin with `/`, and hold visible ASCII only, without `#`. Nothing was sent.
    #[error("invalid path: it begins with / and has what is not visible ASCII percent-encoded")]
    InvalidPath,
    /// The name of the host cannot be sent in a request: it has letters that are not ASCII. Nothing was sent.
    #[error(
        "invalid host for a WebSocket: letters of other scripts must be written in their ASCII form (xn--)"
    )]
    InvalidHost,
    /// The stream below failed, or ended, before the WebSocket was open.
    #[error("the connection failed before the WebSocket was open: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl WebSocketError {
    /// Whether trying again, unchanged, can help.
    ///
    /// False for what is surely about credentials (401, 403, 407) or about settings. True for anything else: a gateway
    /// answers 404, a redirect or a page of its own while the broker behind it restarts, and a client that goes on
    /// trying is there when it is back.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Status(status) => !matches!(status, 401 | 403 | 407),
            Self::InvalidHeader(_) | Self::ReservedHeader(_) | Self::InvalidPath | Self::InvalidHost => false,
            Self::Subprotocol { .. }
            | Self::NotWebSocket(_)
            | Self::TextFrame
            | Self::FrameTooLarge { .. }
            | Self::Protocol(_)
            | Self::Closed { .. }
            | Self::Io(_) => true,
        }
    }

    /// The error of a WebSocket in an error of the stream that it carried.
    pub fn from_io(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().cloned()
    }
}

impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> Self {
        let kind = match &error {
            WebSocketError::Closed { .. } => io::ErrorKind::ConnectionAborted,
            WebSocketError::Io(error) => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

fn describe(code: Option<u16>, reason: &str) -> String {
    match (code, reason) {
        (None, _) => String::new(),
        (Some(code), "") => format!(" with code {code}"),
        (Some(code), reason) => format!(" with code {code}: {reason}"),
    }
}
