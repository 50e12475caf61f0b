//! Bytes between the socket of a client and its core, as far as they go without waiting.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use mqtt_client::bytes::Buf;
use mqtt_client::{Event, State, Time};

use crate::peer::{Link, Peer};

/// One system call takes so many pieces of output, and so many bytes of them, at most.
const MAX_SLICES: usize = 16;
const MAX_WRITE: usize = 64 * 1024;

impl Peer {
    /// Moves what can be moved, both ways, until the socket says that it would have to wait: mio does not tell twice.
    pub(crate) fn exchange(&mut self, now: Time) -> Result<(), Box<dyn Error>> {
        self.client.handle_timeout(now)?;
        loop {
            // What the Server said last is read even if it takes nothing any more: it may say why.
            let written = self.write(now);
            if !self.read(now)? {
                written?;
                return Ok(());
            }
        }
    }

    /// Reads once, and handles what came. False if there is nothing to be read now.
    fn read(&mut self, now: Time) -> Result<bool, Box<dyn Error>> {
        let Link::Open(stream) = &mut self.link else { return Ok(false) };
        let is_leaving = self.client.state() == State::Disconnected;
        // So many answers wait to be written that the Server must wait. When they are written, it is our turn again.
        if !self.client.wants_input() && !is_leaving {
            return Ok(false);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err("the Server has closed the connection".into()),
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            Err(error) if is_not_now(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut input = &self.input[..];
        while let Some(event) = self.client.handle_input(&mut input, now)? {
            if matches!(event, Event::Connected { .. }) {
                self.backoff.connected(now);
            }
            self.job.handle(&event, &mut self.client)?;
        }
        let used = self.input.len() - input.len();
        self.input.drain(..used);
        if self.job.is_done() {
            self.client.disconnect();
        }
        Ok(true)
    }

    /// Writes until nothing is left or the socket takes no more.
    fn write(&mut self, now: Time) -> io::Result<()> {
        let Link::Open(stream) = &mut self.link else { return Ok(()) };
        loop {
            self.segments.clear();
            self.client.poll_output(now).segments(MAX_WRITE, &mut self.segments);
            if self.segments.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let pieces = slices
                .iter_mut()
                .zip(&self.segments)
                .map(|(slice, piece)| *slice = IoSlice::new(piece))
                .count();
            match stream.write_vectored(&slices[..pieces]) {
                Ok(count) => self.client.poll_output(now).advance(count),
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.client.state() == State::Disconnected && !self.client.has_output() {
            // DISCONNECT is out. To close with bytes unread would be a reset, which can destroy it: the Server closes.
            stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

/// The socket is not ready, or not connected yet, which mio reports in the same way: by another turn.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}
