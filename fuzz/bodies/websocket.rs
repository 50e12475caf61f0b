//! Input: a byte of settings, the size of what the stream holds, a byte for how many sizes of pieces follow, those, and
//! what the server sends: frames behind a right handshake, or all of it, with `$A` for the proof that it has read the key.

use std::io;
use std::sync::Mutex;

use mqtt_client::ProtocolVersion;
use mqtt_tokio::{Builder, ConnectionError, Connector, WebSocket, WebSocketError};
use sha1_smol::Sha1;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::adapter::{self, Outcome};
use super::input::Input;
use super::wire;

/// The connection is accepted.
const CONNACK: &[u8] = b"\x82\x04\x20\x02\x00\x00";

/// A small limit for frames.
const SMALL: u64 = 130;

/// What a frame is.
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Settings {
    version: ProtocolVersion,
    /// The handshake is as it should be.
    opens: bool,
    max_frame_size: u64,
    /// The server takes what the client sends.
    reads: bool,
    sizes: Vec<usize>,
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let bit = |bit: u8| flags >> bit & 1 == 1;
    let size = [4, 16, 60, 300, 64 * 1024][usize::from(input.byte() % 5)];
    let settings = Settings {
        version: if bit(0) { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 },
        opens: !bit(1),
        max_frame_size: if bit(2) { SMALL } else { u64::MAX },
        reads: !bit(3),
        sizes: adapter::sizes(&mut input),
    };
    let bytes = [if bit(4) { &[] } else { CONNACK }, input.0].concat();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(connection(
        &settings,
        if settings.opens { &bytes } else { input.0 },
        size,
    ));
}

async fn connection(settings: &Settings, bytes: &[u8], size: usize) {
    let (client, server) = duplex(size);
    let client = Mutex::new(Some(client));
    let websocket = WebSocket::new().max_frame_size(settings.max_frame_size);
    let builder = Builder::new("ws://h/mqtt", adapter::options(settings.version))
        .expect("an address")
        .websocket(websocket)
        .connector(Connector::new(move || {
            let stream = client.lock().map(|mut stream| stream.take()).ok().flatten();
            async { stream.ok_or(io::Error::from(io::ErrorKind::ConnectionRefused)) }
        }));
    let (outcome, (came, proof)) =
        tokio::join!(adapter::run(builder, settings.version), serve(server, settings, bytes));
    let sent = client_frames(&came);
    if settings.opens {
        check(&outcome, settings, bytes, &sent);
    } else if !came_with_proof(bytes, &proof) {
        assert!(outcome.packets.is_empty() && came.is_empty(), "MQTT without a WebSocket");
    }
}

/// Answers the request. What came behind it, and what proves that it was read.
async fn serve(mut stream: DuplexStream, settings: &Settings, bytes: &[u8]) -> (Vec<u8>, String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("a request"));
    }
    let request = String::from_utf8(request).expect("text");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let digest = Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest().bytes();
    let proof = base64(&digest);
    let name = if settings.version == ProtocolVersion::V3_1 { "mqttv3.1" } else { "mqtt" };
    let answer = if settings.opens {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: {name}\r\n\r\n"
        );
        [head.as_bytes(), bytes].concat()
    } else {
        filled_in(bytes, &proof)
    };
    (adapter::play(stream, &answer, &settings.sizes, settings.reads).await, proof)
}

/// With the proof in the place of each `$A`.
fn filled_in(bytes: &[u8], proof: &str) -> Vec<u8> {
    let mut filled = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"$A") {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(proof.as_bytes());
        rest = &rest[at + 2..];
    }
    [&filled, rest].concat()
}

fn came_with_proof(bytes: &[u8], proof: &str) -> bool {
    let filled = filled_in(bytes, proof);
    filled.windows(proof.len()).any(|part| part == proof.as_bytes())
}

/// Of the 20 bytes of a digest.
fn base64(bytes: &[u8; 20]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| {
        let value = (0..6).fold(0, |value, at| value * 2 + bits.get(at).unwrap_or(&0));
        char::from(match value {
            0..=25 => b'A' + value,
            26..=51 => b'a' + value - 26,
            52..=61 => b'0' + value - 52,
            62 => b'+',
            _ => b'/',
        })
    };
    bits.chunks(6).map(digit).chain(['=']).collect()
}

/// What comes out is what is in the frames, up to the rule that is broken first, or their end; what goes in is legal.
fn check(outcome: &Outcome, settings: &Settings, bytes: &[u8], sent: &Sent) {
    let frames = server_frames(bytes, settings.max_frame_size);
    if outcome.check(&frames.payload, settings.version, !settings.reads) {
        let said = match &outcome.error {
            ConnectionError::ClosedByServer => Some(End::Stream),
            ConnectionError::WebSocket(WebSocketError::TextFrame) => Some(End::Text),
            ConnectionError::WebSocket(WebSocketError::Protocol(_)) => Some(End::Broken),
            ConnectionError::WebSocket(WebSocketError::FrameTooLarge { len, .. }) => {
                Some(End::TooLarge(*len))
            }
            ConnectionError::WebSocket(WebSocketError::Closed { code, .. }) => Some(End::Close(*code)),
            _ => None,
        };
        let is_right = said.as_ref() == Some(&frames.end);
        assert!(is_right || !settings.reads, "{:?} is not {:?}", frames.end, outcome.error);
    }
    wire::each_packet(&sent.payload, settings.version, |_| {});
    // Not each ping has its answer, but each answer its ping.
    let mut pings = frames.pings.iter();
    for pong in &sent.pongs {
        assert!(pings.any(|ping| ping == pong), "{pong:?} is no answer");
    }
}

#[derive(Debug, PartialEq)]
enum End {
    /// Nothing follows.
    Stream,
    Text,
    Broken,
    TooLarge(u64),
    Close(Option<u16>),
}

/// What the server has sent.
struct Frames {
    payload: Vec<u8>,
    pings: Vec<Vec<u8>>,
    end: End,
}

/// Reads frames from bytes that are all there (RFC 6455, section 5.2).
fn server_frames(bytes: &[u8], max: u64) -> Frames {
    let mut frames = Frames { payload: Vec::new(), pings: Vec::new(), end: End::Stream };
    let mut rest = bytes;
    let mut in_message = false;
    while let Some(first) = rest.first() {
        let opcode = first & 0x0f;
        let is_last = first & 0x80 != 0;
        let is_control = opcode >= CLOSE;
        let is_known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let is_in_place = if is_control { is_last } else { in_message == (opcode == CONTINUATION) };
        if first & 0x70 != 0 || !is_known || !is_in_place {
            frames.end = End::Broken;
            break;
        }
        if opcode == TEXT {
            frames.end = End::Text;
            break;
        }
        let Some(second) = rest.get(1) else { break };
        if second & 0x80 != 0 || is_control && *second > 125 {
            frames.end = End::Broken;
            break;
        }
        let width = [0, 2, 8][usize::from(second.saturating_sub(125))];
        let Some(long) = rest.get(2..2 + width) else { break };
        let len = match width {
            0 => u64::from(*second),
            _ => long.iter().fold(0, |len, byte| len * 256 + u64::from(*byte)),
        };
        if width == 2 && len < 126 || width == 8 && len < 65_536 {
            frames.end = End::Broken;
            break;
        }
        if !is_control && len > max {
            frames.end = End::TooLarge(len);
            break;
        }
        rest = &rest[2 + width..];
        let (payload, later) = rest.split_at(usize::try_from(len).unwrap_or(usize::MAX).min(rest.len()));
        let is_whole = payload.len() as u64 == len;
        match opcode {
            PING if is_whole => frames.pings.push(payload.to_vec()),
            CLOSE if is_whole => {
                frames.end = close(payload);
                break;
            }
            CONTINUATION | BINARY => {
                frames.payload.extend_from_slice(payload);
                in_message = !is_last;
            }
            _ => {}
        }
        rest = later;
    }
    frames
}

/// What a close frame says (RFC 6455, section 7.4).
fn close(payload: &[u8]) -> End {
    let Some((code, reason)) = payload.split_at_checked(2) else {
        return if payload.is_empty() { End::Close(None) } else { End::Broken };
    };
    let code = u16::from_be_bytes([code[0], code[1]]);
    let is_defined = (1000..1015).contains(&code) && !(1004..1007).contains(&code);
    let is_legal = is_defined || (3000..5000).contains(&code);
    if is_legal && std::str::from_utf8(reason).is_ok() { End::Close(Some(code)) } else { End::Broken }
}

/// What the client has sent.
struct Sent {
    payload: Vec<u8>,
    pongs: Vec<Vec<u8>>,
}

/// Reads the client's frames, of which the last may be cut. They must be legal.
fn client_frames(bytes: &[u8]) -> Sent {
    let mut sent = Sent { payload: Vec::new(), pongs: Vec::new() };
    let mut rest = bytes;
    while let [first, second, later @ ..] = rest {
        assert!(*second >= 0x80, "a frame without a mask");
        let width = [0, 2, 8][usize::from((second & 0x7f).saturating_sub(125))];
        let Some((long, later)) = later.split_at_checked(width) else { return sent };
        let Some((mask, later)) = later.split_at_checked(4) else { return sent };
        let len = match width {
            0 => usize::from(second & 0x7f),
            _ => long.iter().fold(0, |len, byte| len * 256 + usize::from(*byte)),
        };
        let Some((masked, later)) = later.split_at_checked(len) else { return sent };
        let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        match first {
            0x82 => sent.payload.extend(payload),
            0x8a => sent.pongs.push(payload),
            0x88 => {
                assert!(later.is_empty(), "something behind the close");
                assert!(matches!(close(&payload), End::Close(_)));
            }
            _ => panic!("a frame that begins with {first:#x}"),
        }
        rest = later;
    }
    sent
}
