//! MQTT over WebSocket (MQTT 3.1.1, chapter 6; RFC 6455).
//!
//! The handshake is in this file. `frames` takes frames apart, `stream` makes a stream of bytes of them. Nothing is held
//! of a frame but what is on its way out: a length that the server declares costs nothing, and there is no end to how
//! many frames a message may have.

mod frames;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use mqtt_client::ProtocolVersion;
use sha1_smol::Sha1;
use tokio::io::AsyncWriteExt;

use self::stream::Stream;
use super::BoxTransport;
use super::http::{Head, HeadError, base64, is_token};
use super::websocket_error::WebSocketError;

/// Where most servers have MQTT.
const DEFAULT_PATH: &str = "/mqtt";

/// The size of the largest MQTT packet: a frame that holds one packet is never too large.
const DEFAULT_MAX_FRAME_SIZE: u64 = 5 + 268_435_455;

/// So many preliminary answers (100, 103) are skipped.
const MAX_PRELIMINARY: usize = 8;

/// Headers of the handshake itself, and those that would announce a body.
const RESERVED: [&str; 5] = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];

/// How to open a WebSocket: path, headers, limit.
///
/// The path that is asked for is that of the address (`ws://broker.local/mqtt`). For an address without one
/// (`ws://broker.local`) it is what [`path`](Self::path) says, `/mqtt` unless told otherwise: EMQX, HiveMQ, VerneMQ and
/// AWS IoT have it there, and mosquitto and aedes take any. RabbitMQ has it at `/ws`. `ws://broker.local/` asks for `/`.
///
/// The subprotocol that is offered is `mqtt`, for MQTT 3.1 `mqttv3.1` too [MQTT-6.0.0-3]. A server that does not agree to it
/// is refused, as a browser does: it speaks another protocol, or a gateway in between has dropped the header.
///
/// `Debug` shows the names of the headers, not their values.
///
/// ```
/// use mqtt_tokio::WebSocket;
///
/// let websocket = WebSocket::new().path("/ws")?.header("authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA")?;
/// assert!(!format!("{websocket:?}").contains("2Yotn"));
/// assert!(WebSocket::new().header("host", "elsewhere").is_err());
/// # Ok::<(), mqtt_tokio::WebSocketError>(())
/// ```
#[derive(Clone)]
pub struct WebSocket {
    path: String,
    headers: Vec<(String, String)>,
    max_frame_size: u64,
}

impl WebSocket {
    /// The path of the address, or `/mqtt`; no header besides those of the handshake.
    pub fn new() -> Self {
        Self { path: DEFAULT_PATH.to_owned(), headers: Vec::new(), max_frame_size: DEFAULT_MAX_FRAME_SIZE }
    }

    /// Path, and query if need be, for addresses that have none (default: `/mqtt`).
    ///
    /// # Errors
    ///
    /// [`InvalidPath`](WebSocketError::InvalidPath) unless it begins with `/` and is visible ASCII without `#`.
    pub fn path(mut self, path: impl Into<String>) -> Result<Self, WebSocketError> {
        self.path = path.into();
        check_path(&self.path)?;
        Ok(self)
    }

    /// A header of the request, such as `authorization` or `origin`. Replaces one with the same name.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`](WebSocketError::InvalidHeader) if the name is no token, or the value anything but visible ASCII,
    /// spaces and tabs; [`ReservedHeader`](WebSocketError::ReservedHeader) for `Host`, `Upgrade`, `Connection`,
    /// `Sec-WebSocket-*`, `Content-Length` and `Transfer-Encoding`.
    pub fn header(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, WebSocketError> {
        let (name, value) = (name.into(), value.into());
        check_header(&name, &value)?;
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.headers.push((name, value));
        Ok(self)
    }

    /// The largest frame that the server may send, in bytes (default: 268 435 460, the largest MQTT packet).
    ///
    /// It protects from nonsense, not from a lack of memory: a frame is never held as a whole, and however large it is,
    /// the packets in it have their own limit ([`max_packet_size`](mqtt_client::Options::max_packet_size)). A packet that
    /// comes in many frames may be larger than this.
    pub fn max_frame_size(mut self, bytes: u64) -> Self {
        self.max_frame_size = bytes;
        self
    }

    /// Opens a WebSocket on `stream`. `extra` are headers for this attempt alone, which replace ours.
    pub(crate) async fn handshake(
        &self,
        mut stream: BoxTransport,
        target: Target<'_>,
        version: ProtocolVersion,
        extra: &[(String, String)],
    ) -> Result<BoxTransport, WebSocketError> {
        let subprotocol = match version {
            // A server that knows `mqtt` only must see the CONNECT, or a client that fell back to 3.1 is never refused
            // that, and never tries 3.1.1 again.
            ProtocolVersion::V3_1 => "mqttv3.1, mqtt",
            _ => "mqtt",
        };
        let key = base64(&fastrand::u128(..).to_ne_bytes());
        let request = self.request(&target, subprotocol, &key, extra)?;
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        for _ in 0..MAX_PRELIMINARY {
            let head = Head::read(&mut stream).await.map_err(|error| match error {
                HeadError::Io(error) => failed(error),
                HeadError::Malformed(what) => WebSocketError::NotWebSocket(what),
                HeadError::TooLong => WebSocketError::NotWebSocket("an answer of more than 16 KiB"),
            })?;
            if head.status() < 200 && head.status() != 101 {
                continue;
            }
            check(&head, subprotocol, &key)?;
            return Ok(Box::new(Stream::new(stream, self.max_frame_size)));
        }
        Err(WebSocketError::NotWebSocket("preliminary answers without end"))
    }

    fn request(
        &self,
        target: &Target<'_>,
        subprotocol: &str,
        key: &str,
        extra: &[(String, String)],
    ) -> Result<String, WebSocketError> {
        let path = match target.path {
            "" => self.path.clone(),
            // A query without a path, as in `ws://host?token=x`.
            query if query.starts_with('?') => format!("{}{query}", self.path),
            path => path.to_owned(),
        };
        check_path(&path)?;
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n",
            target.authority()?
        );
        let replaced = |name: &str| extra.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        for (name, value) in self.headers.iter().filter(|(name, _)| !replaced(name)).chain(extra) {
            check_header(name, value)?;
            request += &format!("{name}: {value}\r\n");
        }
        Ok(request + "\r\n")
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        // The query can hold a token.
        let path = self.path.split('?').next().unwrap_or_default();
        f.debug_struct("WebSocket")
            .field("path", &path)
            .field("headers", &names)
            .field("max_frame_size", &self.max_frame_size)
            .finish()
    }
}

/// What is asked for, and from whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Name or address, an IPv6 address without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Path and query as the address has them: it may have none, or a query alone.
    pub(crate) path: &'a str,
    /// Whether there is TLS below, which has another default port.
    pub(crate) secure: bool,
}

impl Target<'_> {
    /// The value of `Host`.
    fn authority(&self) -> Result<String, WebSocketError> {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte))
        {
            return Err(WebSocketError::InvalidHost);
        }
        let default = if self.secure { 443 } else { 80 };
        Ok(if self.port == default { host } else { format!("{host}:{}", self.port) })
    }
}

fn failed(error: std::io::Error) -> WebSocketError {
    WebSocketError::Io(Arc::new(error))
}

fn check_path(path: &str) -> Result<(), WebSocketError> {
    let legal = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    legal.then_some(()).ok_or(WebSocketError::InvalidPath)
}

fn check_header(name: &str, value: &str) -> Result<(), WebSocketError> {
    let is_value_byte = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    let lower = name.to_ascii_lowercase();
    if !is_token(name) || !value.bytes().all(is_value_byte) {
        return Err(WebSocketError::InvalidHeader(name.escape_debug().to_string()));
    }
    if RESERVED.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") {
        return Err(WebSocketError::ReservedHeader(lower));
    }
    Ok(())
}

/// Whether the server has opened the WebSocket that was asked for (RFC 6455, section 4.1).
fn check(head: &Head, subprotocol: &'static str, key: &str) -> Result<(), WebSocketError> {
    if head.status() != 101 {
        return Err(WebSocketError::Status(head.status()));
    }
    let has = |name, expected: &str| {
        let mut words = head.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(expected.as_bytes()))
    };
    if !has("upgrade", "websocket") {
        return Err(WebSocketError::NotWebSocket("no Upgrade: websocket"));
    }
    if !has("connection", "upgrade") {
        return Err(WebSocketError::NotWebSocket("no Connection: Upgrade"));
    }
    if !head.values("sec-websocket-accept").eq([accept(key).as_bytes()]) {
        return Err(WebSocketError::NotWebSocket("a wrong Sec-WebSocket-Accept"));
    }
    if head.values("sec-websocket-extensions").any(|value| !value.is_empty()) {
        return Err(WebSocketError::NotWebSocket("an extension that was not offered"));
    }
    let mut chosen = head.values("sec-websocket-protocol").map(|value| value.escape_ascii().to_string());
    match (chosen.next(), chosen.next()) {
        (Some(chosen), None) if subprotocol.split(", ").any(|offered| offered == chosen) => Ok(()),
        (chosen, _) => Err(WebSocketError::Subprotocol { offered: subprotocol, chosen }),
    }
}

/// What proves that the server has read the key.
fn accept(key: &str) -> String {
    let digest = Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest();
    base64(&digest.bytes())
}
