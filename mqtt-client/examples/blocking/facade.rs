//! The facade: methods that wait for what they ask for, and the thread that runs the loop.

use std::io::{Error, ErrorKind, Result};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mqtt_client::{Client, Message, Options, Outcome, QoS, TopicFilter};

use crate::inner::Inner;
use crate::run::Shared;

/// A client that several threads can share.
pub(crate) struct Blocking {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

impl Blocking {
    /// Starts the thread that connects, reads, and connects again.
    pub(crate) fn start(options: Options, server: SocketAddr, random: fn() -> u32) -> Result<Self> {
        // A message with QoS 0 waits for a connection too.
        let client = Client::new(options.queue_qos0(true)).map_err(Error::other)?;
        let shared = Arc::new(Shared::new(client));
        let runs = Arc::clone(&shared);
        Ok(Self { shared, thread: thread::spawn(move || runs.run(server, random)) })
    }

    /// Publishes, and waits until it is delivered, over as many connections as that takes.
    pub(crate) fn publish(&self, message: Message) -> Result<Outcome> {
        let mut inner = self.shared.lock();
        let token = inner.client.publish(message).map_err(Error::other)?;
        inner.write(self.shared.now());
        // QoS 0 has no answer.
        let Some(token) = token else { return Ok(Outcome::Delivered) };
        self.wait(inner, None, |inner| inner.published.remove(&token))
    }

    /// Subscribes, and waits for the answer: whether the Server grants it.
    pub(crate) fn subscribe(&self, filter: TopicFilter, qos: QoS) -> Result<bool> {
        let mut inner = self.shared.lock();
        let token = inner.client.subscribe([(filter, qos)]).map_err(Error::other)?;
        inner.write(self.shared.now());
        self.wait(inner, None, |inner| inner.subscribed.remove(&token))
    }

    /// The next message; an error of the kind `TimedOut` if none comes in time.
    pub(crate) fn receive(&self, within: Duration) -> Result<Message> {
        let message = self.wait(self.shared.lock(), Some(within), |inner| inner.messages.pop_front());
        // The thread may have waited for room.
        self.shared.changed.notify_all();
        message
    }

    /// Says goodbye. What is not delivered yet stays in the Session.
    pub(crate) fn disconnect(self) -> Result<()> {
        let mut inner = self.shared.lock();
        inner.closing = true;
        inner.client.disconnect();
        inner.write(self.shared.now());
        if let Some(stream) = &inner.stream {
            // The Server closes when it has read DISCONNECT, and the thread reads that. To close here, with bytes
            // unread, would be a reset, which can destroy the DISCONNECT.
            stream.shutdown(Shutdown::Write)?;
        }
        drop(inner);
        self.shared.changed.notify_all();
        self.thread.join().unwrap_or_else(|_| Err(Error::other("the thread has panicked")))
    }

    /// Waits until `take` finds what it looks for.
    fn wait<T>(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        within: Option<Duration>,
        take: impl Fn(&mut Inner) -> Option<T>,
    ) -> Result<T> {
        let end = within.map(|within| Instant::now() + within);
        loop {
            if let Some(found) = take(&mut inner) {
                return Ok(found);
            }
            if inner.closing {
                return Err(ErrorKind::NotConnected.into());
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            inner = self.shared.wait(inner, left);
        }
    }
}
