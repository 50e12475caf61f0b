//! Frames from the server: takes their payload out of the bytes that came, wherever these are cut.

use super::super::websocket_error::WebSocketError;

/// The largest payload of a ping, a pong or a close.
pub(super) const MAX_CONTROL: usize = 125;

/// A header without a mask has so many bytes at the most.
const MAX_HEADER: usize = 10;

/// What a frame is (RFC 6455, section 5.2). From `CLOSE` on, it is a control frame.
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The payload of a control frame, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Control {
    bytes: [u8; MAX_CONTROL],
    len: usize,
}

impl Control {
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Where in a frame the next byte belongs.
#[derive(Debug)]
enum Part {
    Header {
        bytes: [u8; MAX_HEADER],
        len: usize,
    },
    Payload {
        left: u64,
    },
    Control {
        opcode: u8,
        left: usize,
        control: Control,
    },
    /// Nothing more is read.
    End,
}

const HEADER: Part = Part::Header { bytes: [0; MAX_HEADER], len: 0 };

/// What was in some bytes.
#[derive(Debug, Default)]
pub(super) struct Unframed {
    /// So many bytes of payload are at the front now.
    pub(super) len: usize,
    /// The last ping: to answer that is enough (RFC 6455, section 5.5.3).
    pub(super) ping: Option<Control>,
    /// Nothing follows, for this reason.
    pub(super) end: Option<WebSocketError>,
}

/// Reads frames. Holds no payload but that of control frames, so that the length which a frame declares costs nothing.
#[derive(Debug)]
pub(super) struct Frames {
    part: Part,
    /// A message was begun whose last frame has not come.
    in_message: bool,
    max_frame_size: u64,
}

impl Frames {
    pub(super) fn new(max_frame_size: u64) -> Self {
        Self { part: HEADER, in_message: false, max_frame_size }
    }

    /// Moves the payload to the front of `bytes`.
    pub(super) fn unframe(&mut self, bytes: &mut [u8]) -> Unframed {
        let mut unframed = Unframed::default();
        let mut at = 0;
        while at < bytes.len() {
            let here = bytes.len() - at;
            match &mut self.part {
                Part::Payload { left } => {
                    let count = usize::try_from(*left).map_or(here, |left| left.min(here));
                    bytes.copy_within(at..at + count, unframed.len);
                    unframed.len += count;
                    at += count;
                    *left -= count as u64;
                    if *left == 0 {
                        self.part = HEADER;
                    }
                }
                Part::Control { opcode, left, control } => {
                    let count = here.min(*left);
                    control.bytes[control.len..control.len + count].copy_from_slice(&bytes[at..at + count]);
                    control.len += count;
                    at += count;
                    *left -= count;
                    if *left == 0 {
                        let (opcode, control) = (*opcode, *control);
                        self.part = HEADER;
                        self.finish_control(opcode, control, &mut unframed);
                    }
                }
                Part::Header { bytes: header, len } => {
                    header[*len] = bytes[at];
                    *len += 1;
                    at += 1;
                    let (header, len) = (*header, *len);
                    if let Err(error) = self.header(&header[..len], &mut unframed) {
                        self.stop(error, &mut unframed);
                    }
                }
                Part::End => break,
            }
        }
        unframed
    }

    /// Looks at what there is of a header. Refuses as early as possible, and goes on when it is whole.
    fn header(&mut self, header: &[u8], unframed: &mut Unframed) -> Result<(), WebSocketError> {
        let (first, rest) = header.split_first().unwrap_or((&0, &[]));
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(WebSocketError::Protocol("a reserved bit is set"));
        }
        match opcode {
            CONTINUATION if !self.in_message => {
                return Err(WebSocketError::Protocol("a continuation of nothing"));
            }
            TEXT | BINARY if self.in_message => {
                return Err(WebSocketError::Protocol("a message within a message"));
            }
            TEXT => return Err(WebSocketError::TextFrame),
            CLOSE | PING | PONG if !last => {
                return Err(WebSocketError::Protocol("a control frame in fragments"));
            }
            CONTINUATION | BINARY | CLOSE | PING | PONG => {}
            _ => return Err(WebSocketError::Protocol("an unknown opcode")),
        }
        let Some((short, extended)) = rest.split_first() else { return Ok(()) };
        if short & 0x80 != 0 {
            return Err(WebSocketError::Protocol("a masked frame"));
        }
        if opcode >= CLOSE && usize::from(*short) > MAX_CONTROL {
            return Err(WebSocketError::Protocol("a control frame of more than 125 bytes"));
        }
        let (width, least) = match short {
            126 => (2, 126),
            127 => (8, 0x1_0000),
            _ => (0, 0),
        };
        if extended.len() < width {
            return Ok(());
        }
        let long = extended.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
        let len = if width == 0 { u64::from(*short) } else { long };
        if len < least {
            return Err(WebSocketError::Protocol("a length in more bytes than it needs"));
        }
        self.part = if opcode >= CLOSE {
            let control = Control { bytes: [0; MAX_CONTROL], len: 0 };
            if len == 0 {
                self.part = HEADER;
                self.finish_control(opcode, control, unframed);
                return Ok(());
            }
            Part::Control { opcode, left: usize::from(*short), control }
        } else if len > self.max_frame_size {
            return Err(WebSocketError::FrameTooLarge { len, max: self.max_frame_size });
        } else {
            self.in_message = !last;
            if len == 0 { HEADER } else { Part::Payload { left: len } }
        };
        Ok(())
    }

    fn finish_control(&mut self, opcode: u8, control: Control, unframed: &mut Unframed) {
        match opcode {
            PING => unframed.ping = Some(control),
            CLOSE => self.stop(closed(control.payload()), unframed),
            _ => {}
        }
    }

    fn stop(&mut self, error: WebSocketError, unframed: &mut Unframed) {
        self.part = Part::End;
        unframed.end = Some(error);
    }
}

/// What a close frame says (RFC 6455, section 5.5.1).
fn closed(payload: &[u8]) -> WebSocketError {
    let (code, reason) = match payload {
        [] => (None, &[][..]),
        [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
        [_] => return WebSocketError::Protocol("half of a status code"),
    };
    if code.is_some_and(|code| !may_be_sent(code)) {
        return WebSocketError::Protocol("an invalid status code");
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => WebSocketError::Closed { code, reason: reason.escape_debug().to_string() },
        Err(_) => WebSocketError::Protocol("a reason that is not UTF-8"),
    }
}

/// Whether a close frame may hold this status code (RFC 6455, section 7.4, and the registry of IANA).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
