//! Below the facade: what its threads share, and the run loop in a thread of its own.

use std::io::{Error, ErrorKind, Read, Result};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqtt_client::{Backoff, Client, PubSub, Time};

use crate::inner::Inner;

/// Others may publish while the thread waits for bytes, and so bring a deadline forward: it looks so often.
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Something in `inner` has changed that somebody may wait for.
    pub(crate) changed: Condvar,
    start: Instant,
}

impl Shared {
    pub(crate) fn new(client: Client<PubSub>) -> Self {
        Self { inner: Mutex::new(Inner::new(client)), changed: Condvar::new(), start: Instant::now() }
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
            let refused = ended.as_ref().err().and_then(|error| error.get_ref()?.downcast_ref());
            let Some(pause) = backoff.pause_after(refused, self.now(), random()) else {
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
            if inner.is_full() || !(inner.client.wants_input() || inner.closing) {
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
