//! A hundred clients in one thread over `mio`: each with a connection, timers and a pace of its own.
//!
//! ```text
//! cargo run --example mio_many                        against a broker in memory
//! cargo run --example mio_many -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Each sends messages to itself with each QoS while its wire is cut. Ends with 0 if none was lost or doubled.

#[path = "../support/job.rs"]
mod support;

use std::collections::HashSet;
use std::error::Error;
use std::io::ErrorKind::{NotConnected, WouldBlock};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use mqtt_client::{Backoff, Client, Event, PubSub, State, Time};

use support::{Job, Stage, random};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One client with what it needs to be one of many.
struct Peer {
    client: Client<PubSub>,
    job: Job,
    backoff: Backoff,
    stream: Option<TcpStream>,
    /// When to dial, while there is no connection. Without either it has said goodbye.
    dial_at: Option<Time>,
    /// Bytes of the Server that are no whole packet yet.
    buffer: Vec<u8>,
}

fn main() -> Result<ExitCode> {
    let stage = Stage::new()?;
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    let (mut poll, mut events, mut peers) = (Poll::new()?, Events::with_capacity(1024), Vec::new());
    for number in 0..100 {
        let mut client = Client::new(stage.options(&format!("mio-{number}")))?;
        let (job, backoff) = (Job::new(&mut client)?, client.options().backoff_settings().clone());
        peers.push(Peer { client, job, backoff, stream: None, dial_at: Some(now()), buffer: Vec::new() });
    }
    while peers.iter().any(|peer| peer.stream.is_some() || peer.dial_at.is_some()) {
        // A hundred are soon looked through; for many thousands, a heap would keep the order of the deadlines.
        let due = peers.iter().filter_map(Peer::due).min();
        poll.poll(&mut events, due.map(|due| due - now()))?;
        let ready: HashSet<_> = events.iter().map(|event| event.token().0).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            if ready.contains(&number) || peer.due().is_some_and(|due| due <= now()) {
                if let Err(error) = peer.turn(poll.registry(), Token(number), stage.address, now()) {
                    // The Session is still there; only the connection is gone. mio forgets a socket that is dropped.
                    peer.client.handle_close();
                    let pause = peer.backoff.pause_after(error.downcast_ref(), now(), random());
                    (peer.stream, peer.dial_at) = (None, Some(now() + pause.ok_or(error)?));
                }
            }
        }
    }
    Ok(stage.end(peers.iter().map(|peer| &peer.job.tally)))
}

impl Peer {
    /// When it is to have its turn although its socket has nothing to say.
    fn due(&self) -> Option<Time> {
        if self.stream.is_some() { self.client.poll_timeout() } else { self.dial_at }
    }

    /// Dials if it is time. Then moves what can be moved, until the socket says that it would have to wait: mio does not
    /// tell twice. A turn too many does no harm.
    fn turn(&mut self, registry: &Registry, token: Token, server: SocketAddr, now: Time) -> Result<()> {
        if self.dial_at.take_if(|at| *at <= now).is_some() {
            self.client.connect(now)?;
            self.buffer.clear();
            let mut stream = TcpStream::connect(server)?;
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut chunk = [0; 4096];
        self.client.handle_timeout(now)?;
        loop {
            let mut input = &self.buffer[..];
            while let Some(event) = self.client.handle_input(&mut input, now)? {
                if matches!(event, Event::Connected { .. }) {
                    self.backoff.connected(now);
                }
                self.job.handle(&event, &mut self.client);
            }
            self.buffer.drain(..self.buffer.len() - input.len());
            // If writing fails, what the Server said last is still read: it may say why, and then the stream ends.
            let _ = self.client.poll_output(now).write_with(|bytes| stream.write(bytes));
            let is_leaving = self.client.state() == State::Disconnected;
            if is_leaving && !self.client.has_output() {
                // DISCONNECT is out. To close with bytes unread would be a reset, which can destroy it.
                let _ = stream.shutdown(Shutdown::Write);
            }
            // While answers wait for the socket, so does the Server. When it takes them, it is our turn again.
            match if self.client.wants_input() { stream.read(&mut chunk) } else { return Ok(()) } {
                Ok(0) if is_leaving => {
                    self.stream = None;
                    return Ok(());
                }
                Ok(0) => return Err("the Server has closed the connection".into()),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), WouldBlock | NotConnected) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
