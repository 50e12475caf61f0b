//! A stream of bytes in binary frames, both ways.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::BoxTransport;
use super::super::websocket_error::WebSocketError;
use super::frames::{BINARY, CLOSE, Control, Frames, PONG, Unframed};

/// One write makes a frame with so many bytes of payload at most: what is under way is held here.
const MAX_WRITE: usize = 256 * 1024;

/// After so many reads without a byte of payload, other tasks get their turn.
const ROUNDS: usize = 32;

/// Why an endpoint closes (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const TOO_BIG: u16 = 1009;

/// The client's end of an open WebSocket.
pub(super) struct Stream {
    io: BoxTransport,
    frames: Frames,
    /// Frames that the transport has not taken yet: one with data, and an answer or two.
    out: BytesMut,
    /// The ping to answer when there is room.
    ping: Option<Control>,
    /// `out` or `ping` has something that the reader put there: reading sees to it that it leaves.
    answer: bool,
    /// Who waits for room, or for a flush.
    writer: Option<Waker>,
    close_sent: bool,
    /// It was us who closed first: that the server does so too is the end of the stream and no error.
    closed_by_us: bool,
    /// Nothing can be read any more.
    end: Option<WebSocketError>,
}

impl Stream {
    pub(super) fn new(io: BoxTransport, max_frame_size: u64) -> Self {
        Self {
            io,
            frames: Frames::new(max_frame_size),
            out: BytesMut::new(),
            ping: None,
            answer: false,
            writer: None,
            close_sent: false,
            closed_by_us: false,
            end: None,
        }
    }

    /// Writes what there is, and the answer to a ping.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.out.is_empty() {
                match ready!(Pin::new(&mut self.io).poll_write(cx, &self.out)) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Ok(count) => self.out.advance(count),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            // What is idle holds no buffer.
            self.out = BytesMut::new();
            match self.ping.take() {
                Some(ping) if !self.close_sent => push(&mut self.out, PONG, &[IoSlice::new(ping.payload())]),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_drain_and_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Something for the writer. If it has to wait, it is woken even if the reader goes on with the work.
    fn poll_as_writer<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let polled = poll(self, cx);
        self.writer = polled.is_pending().then(|| cx.waker().clone());
        polled
    }

    /// Sends what the reader has to say. If that fails, it is for the writer to tell: what came can still be read.
    fn poll_answer(&mut self, cx: &Context<'_>) {
        let waker = match &self.writer {
            // A transport wakes the last one that asked. The writer must not be forgotten over that, nor the reader, as
            // the writer may have given up since.
            Some(writer) if !writer.will_wake(cx.waker()) => {
                Waker::from(Arc::new(Both(writer.clone(), cx.waker().clone())))
            }
            _ => cx.waker().clone(),
        };
        self.answer = self.poll_drain_and_flush(&mut Context::from_waker(&waker)).is_pending();
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &self.end {
            Some(error) => return Poll::Ready(Err(error.clone().into())),
            None if self.close_sent => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            None => {}
        }
        // One frame at a time, so that what is held here has a bound.
        ready!(self.poll_as_writer(cx, Self::poll_drain))?;
        Poll::Ready(Ok(push_data(&mut self.out, data)))
    }

    fn close(&mut self, code: Option<u16>) {
        if !self.close_sent {
            self.close_sent = true;
            let code = code.map(u16::to_be_bytes);
            push(&mut self.out, CLOSE, &[IoSlice::new(code.as_ref().map_or(&[], |code| code))]);
        }
    }

    /// Nothing more is read; the server is told why.
    fn finish(&mut self, end: WebSocketError) {
        self.close(match &end {
            WebSocketError::Closed { code, .. } => *code,
            WebSocketError::TextFrame => Some(UNSUPPORTED_DATA),
            WebSocketError::FrameTooLarge { .. } => Some(TOO_BIG),
            _ => Some(PROTOCOL_ERROR),
        });
        self.answer = true;
        self.end = Some(end);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            if this.answer {
                this.poll_answer(cx);
            }
            match &this.end {
                Some(WebSocketError::Closed { .. }) if this.closed_by_us => return Poll::Ready(Ok(())),
                Some(error) => return Poll::Ready(Err(error.clone().into())),
                None if buf.remaining() == 0 => return Poll::Ready(Ok(())),
                None => {}
            }
            let start = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let came = &mut buf.filled_mut()[start..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let Unframed { len, ping, end } = this.frames.unframe(came);
            buf.set_filled(start + len);
            if ping.is_some() {
                (this.ping, this.answer) = (ping, true);
            }
            if let Some(end) = end {
                this.finish(end);
            }
            if len > 0 {
                if this.answer {
                    this.poll_answer(cx);
                }
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_as_writer(cx, Self::poll_drain_and_flush)
    }

    /// Sends a close frame. The server is the one that closes the connection below (RFC 6455, section 7.1.1), after it
    /// has answered.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed_by_us |= !self.close_sent;
        self.close(Some(NORMAL));
        ready!(self.as_mut().poll_flush(cx))?;
        if self.end.is_none() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Wakes two.
struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}

/// Puts a frame of data behind what is there. Returns how many bytes of it have a place.
fn push_data(out: &mut BytesMut, data: &[IoSlice<'_>]) -> usize {
    let mut room = MAX_WRITE;
    let mut parts = Vec::with_capacity(data.len());
    for part in data {
        let taken = &part[..part.len().min(room)];
        room -= taken.len();
        parts.push(IoSlice::new(taken));
    }
    if room < MAX_WRITE {
        push(out, BINARY, &parts);
    }
    MAX_WRITE - room
}

/// Puts a frame behind what is there, with a mask (RFC 6455, section 5.3).
fn push(out: &mut BytesMut, opcode: u8, payload: &[IoSlice<'_>]) {
    const LAST: u8 = 0x80;
    const MASKED: u8 = 0x80;
    const LONGEST_HEADER: usize = 14;
    let len: usize = payload.iter().map(|part| part.len()).sum();
    out.reserve(LONGEST_HEADER + len);
    out.extend_from_slice(&[LAST | opcode]);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.extend_from_slice(&[MASKED | len]),
        (_, Ok(len)) => {
            out.extend_from_slice(&[MASKED | 126]);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[MASKED | 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    // It keeps intermediaries from taking data for a request. That we choose data and mask alike, and so could forge
    // what they see, is no concern where no foreign script runs.
    let mask = fastrand::u32(..).to_ne_bytes();
    out.extend_from_slice(&mask);
    let start = out.len();
    for part in payload {
        out.extend_from_slice(part);
    }
    // Eight bytes at a time, which the compiler makes one operation.
    let [a, b, c, d] = mask;
    for chunk in out[start..].chunks_mut(8) {
        for (byte, key) in chunk.iter_mut().zip([a, b, c, d, a, b, c, d]) {
            *byte ^= key;
        }
    }
}
