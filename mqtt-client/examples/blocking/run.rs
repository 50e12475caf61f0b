//! Below the facade: what its threads share, and the run loop in a thread of its own.

use std::collections::{HashMap, VecDeque};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqtt_client::bytes::Buf;
use mqtt_client::{
    Backoff, Client, ConnectionError, Event, Message, Outcome, PubSub, PublishToken, RequestToken,
    SubackCode, Time,
};

/// When so many messages wait to be received, the thread stops reading, so that the Server must wait.
const UNREAD: usize = 100;

/// Others may publish while the thread waits for bytes, and so bring a deadline forward: it looks so often.
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Something in `inner` has changed that somebody may wait for.
    pub(crate) changed: Condvar,
    start: Instant,
}

pub(crate) struct Inner {
    pub(crate) client: Client<PubSub>,
    /// Whoever changes the client writes its output, under the lock.
    pub(crate) stream: Option<TcpStream>,
    pub(crate) messages: VecDeque<Message>,
    /// The answers to those who wait; each takes its own out.
    pub(crate) published: HashMap<PublishToken, Outcome>,
    pub(crate) subscribed: HashMap<RequestToken, bool>,
    /// No other connection follows.
    pub(crate) closing: bool,
}

impl Shared {
    pub(crate) fn new(client: Client<PubSub>) -> Self {
        let (messages, published, subscribed) = (VecDeque::new(), HashMap::new(), HashMap::new());
        let inner = Inner { client, stream: None, messages, published, subscribed, closing: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_epoch(self.start.elapsed())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a>(&self, inner: MutexGuard<'a, Inner>, at_most: Duration) -> MutexGuard<'a, Inner> {
        self.changed.wait_timeout(inner, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// One connection after the other.
    pub(crate) fn run(&self, server: SocketAddr, random: fn() -> u32) -> Result<()> {
        let mut backoff = self.lock().client.options().backoff_settings().clone();
        loop {
            let ended = self.connection(server, &mut backoff);
            let mut inner = self.lock();
            // The Session is still there; only the connection is gone.
            inner.client.handle_close();
            inner.stream = None;
            if inner.closing {
                return Ok(());
            }
            backoff.lost(self.now());
            let refused = ended.as_ref().err().and_then(|error| error.get_ref()?.downcast_ref());
            let retry = refused.is_none_or(|error| backoff.should_retry(error));
            let Some(pause) = backoff.next_delay(random()).filter(|_| retry) else {
                // Those who wait learn that there is nothing to wait for.
                inner.closing = true;
                self.changed.notify_all();
                return ended;
            };
            drop(self.changed.wait_timeout_while(inner, pause, |inner| !inner.closing));
        }
    }

    /// One connection, from dialling to its end.
    fn connection(&self, server: SocketAddr, backoff: &mut Backoff) -> Result<()> {
        self.lock().client.connect(self.now()).map_err(Error::other)?;
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        // A Server that waits until we read takes nothing: whoever writes must not wait for it forever.
        stream.set_write_timeout(Some(TICK))?;
        self.lock().stream = Some(stream.try_clone()?);
        let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let mut inner = self.lock();
            inner.client.handle_timeout(self.now()).map_err(Error::other)?;
            inner.feed(&mut input, self.now(), backoff).map_err(Error::other)?;
            inner.write(self.now());
            self.changed.notify_all();
            if inner.messages.len() >= UNREAD || !(inner.client.wants_input() || inner.closing) {
                // Our own silence is not one of the Server.
                inner.client.pause_input(self.now());
                inner = self.wait(inner, TICK);
                inner.client.resume_input(self.now());
                continue;
            }
            drop(inner);
            match stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => input.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.lock().closing {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Inner {
    /// Hands bytes to the client, and its events to those who wait.
    fn feed(
        &mut self,
        bytes: &mut Vec<u8>,
        now: Time,
        backoff: &mut Backoff,
    ) -> std::result::Result<(), ConnectionError> {
        let mut input = &bytes[..];
        while self.messages.len() < UNREAD {
            match self.client.handle_input(&mut input, now)? {
                None => break,
                Some(Event::Connected { .. }) => backoff.connected(now),
                Some(Event::Message(message)) => self.messages.push_back(message.to_message()),
                Some(Event::Published { token, outcome }) => drop(self.published.insert(token, outcome)),
                Some(Event::Subscribed { token, codes }) => {
                    let granted = codes.iter().all(|code| matches!(code, SubackCode::Granted(_)));
                    self.subscribed.insert(token, granted);
                }
                Some(_) => {}
            }
        }
        let used = bytes.len() - input.len();
        bytes.drain(..used);
        Ok(())
    }

    /// Writes what the transport takes, and tells the client how much that was.
    pub(crate) fn write(&mut self, now: Time) {
        let Some(mut stream) = self.stream.as_ref() else { return };
        let mut output = self.client.poll_output(now);
        while output.has_remaining() {
            match stream.write(output.chunk()) {
                // It takes nothing for now, or never will again: the thread that reads finds out which.
                Ok(0) | Err(_) => return,
                Ok(count) => output.advance(count),
            }
        }
    }
}
