//! One client with what it needs to be one of many: its connection, what came of its input, and when it is its turn.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{Backoff, Client, ConnectionError, Event, Options, PubSub, State, Time};

use crate::job::Job;
use crate::support::random;

/// One system call takes so many pieces of output, and so many bytes of them, at most.
const MAX_SLICES: usize = 16;
const MAX_WRITE: usize = 64 * 1024;

pub(crate) struct Peer {
    client: Client<PubSub>,
    pub(crate) job: Job,
    backoff: Backoff,
    link: Link,
    /// Bytes of the Server that are no whole packet yet.
    input: Vec<u8>,
    /// Output on its way into a system call; empty in between.
    segments: Vec<Bytes>,
}

enum Link {
    /// No connection; the next attempt is due then.
    Pause(Time),
    Open(TcpStream),
    /// DISCONNECT was sent, and nothing is left to be done.
    Done,
}

impl Peer {
    pub(crate) fn new(options: Options, now: Time) -> Result<Self, Box<dyn Error>> {
        let backoff = options.backoff_settings().clone();
        let mut client = Client::new(options)?;
        let job = Job::new(&mut client)?;
        Ok(Self { client, job, backoff, link: Link::Pause(now), input: Vec::new(), segments: Vec::new() })
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.link, Link::Done)
    }

    /// When it is to have its turn although its socket has nothing to say.
    pub(crate) fn due(&self) -> Option<Time> {
        match self.link {
            Link::Pause(until) => Some(until),
            Link::Open(_) => self.client.poll_timeout(),
            Link::Done => None,
        }
    }

    /// Does all that can be done without waiting. A turn too many does no harm.
    pub(crate) fn turn(
        &mut self,
        registry: &Registry,
        token: Token,
        server: SocketAddr,
        now: Time,
    ) -> Result<(), Box<dyn Error>> {
        if matches!(self.link, Link::Pause(until) if until <= now) {
            self.client.connect(now)?;
            self.input.clear();
            let mut stream = TcpStream::connect(server)?;
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.link = Link::Open(stream);
        }
        let Link::Open(_) = self.link else { return Ok(()) };
        let Err(error) = self.exchange(now) else { return Ok(()) };
        // The socket is closed by being dropped, and mio forgets it. The Session is still there.
        self.client.handle_close();
        self.backoff.lost(now);
        let refused = error.downcast_ref::<ConnectionError>();
        if refused.is_some_and(|error| !self.backoff.should_retry(error)) {
            return Err(error);
        }
        self.link = if self.job.is_done() {
            Link::Done
        } else {
            Link::Pause(now + self.backoff.next_delay(random()).ok_or(error)?)
        };
        Ok(())
    }

    /// Moves what can be moved, both ways, until the socket says that it would have to wait: mio does not tell twice.
    fn exchange(&mut self, now: Time) -> Result<(), Box<dyn Error>> {
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
