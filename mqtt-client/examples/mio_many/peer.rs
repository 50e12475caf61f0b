//! One client with what it needs to be one of many: its connection, what came of its input, and when it is its turn.

use std::error::Error;
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use mqtt_client::bytes::Bytes;
use mqtt_client::{Backoff, Client, Options, PubSub, Time};

use crate::job::Job;
use crate::support::random;

pub(crate) struct Peer {
    pub(crate) client: Client<PubSub>,
    pub(crate) job: Job,
    pub(crate) backoff: Backoff,
    pub(crate) link: Link,
    /// Bytes of the Server that are no whole packet yet.
    pub(crate) input: Vec<u8>,
    /// Output on its way into a system call; empty in between.
    pub(crate) segments: Vec<Bytes>,
}

pub(crate) enum Link {
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
        let pause = self.backoff.pause_after(error.downcast_ref(), now, random());
        self.link = match pause {
            _ if self.job.is_done() => Link::Done,
            Some(pause) => Link::Pause(now + pause),
            None => return Err(error),
        };
        Ok(())
    }
}
