//! The driver: dials, runs one connection after the other, and pauses in between.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt_client::Backoff;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::connection::{Connection, End};
use crate::error::ConnectionError;
use crate::notices::Notices;
use crate::shared::{Phase, Shared};
use crate::status::Status;
use crate::timer::Timer;
use crate::transport::Connector;

/// The future that owns the Network Connection. Nothing happens unless it runs: [`connect`](crate::Client::connect)
/// spawns it; with [`build`](crate::Builder::build) it is yours to spawn or to poll.
///
/// It ends with `Ok` after [`disconnect`](crate::Client::disconnect) or when the last handle is dropped, and with the
/// last error when it gives up. When it is dropped, the client is closed: everything pending is resolved, without a
/// DISCONNECT.
#[must_use = "the client does nothing unless its driver runs"]
pub struct Driver {
    run: Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        connector: Connector,
        backoff: Backoff,
        first: Option<First>,
    ) -> Self {
        let closer = Closer(shared);
        let run = Run { closer, connector, backoff, timer: Timer::default(), first, fell_back: false };
        Self { run: Box::pin(run.run()) }
    }
}

impl Future for Driver {
    type Output = Result<(), ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Who wants to know how the first attempt ends; with its failure the driver ends.
pub(crate) type First = oneshot::Sender<Result<(), ConnectionError>>;

struct Run {
    closer: Closer,
    connector: Connector,
    backoff: Backoff,
    timer: Timer,
    first: Option<First>,
    /// The version of the protocol was changed since the Server last accepted a connection.
    fell_back: bool,
}

impl Run {
    async fn run(mut self) -> Result<(), ConnectionError> {
        let mut notices = Notices::default();
        loop {
            let version = self.closer.0.lock().core.version();
            let error = match self.attempt().await {
                End::Disconnected => {
                    self.closer.close(Status::Disconnected);
                    return Ok(());
                }
                End::Lost(error) => error,
            };
            let shared = Arc::clone(&self.closer.0);
            let changed = {
                let mut inner = shared.lock();
                inner.core.handle_close();
                inner.core.version() != version
            };
            self.backoff.lost(shared.now());
            let delay = if changed && !self.fell_back {
                // That the Server does not know a version is no failure yet. Only once: it may know neither.
                self.fell_back = true;
                Some(Duration::ZERO)
            } else {
                self.pause_after(&error)
            };
            let Some(retry_in) = delay else { return self.give_up(error) };
            {
                let mut inner = shared.lock();
                inner.tell(Status::Lost { error, retry_in }, &mut notices);
                notices.collect(&mut inner, &shared);
            }
            notices.give();
            if self.pause(Instant::now() + retry_in).await {
                self.closer.close(Status::Disconnected);
                return Ok(());
            }
        }
    }

    /// The pause before the next attempt, or none if there is to be no other.
    fn pause_after(&mut self, error: &ConnectionError) -> Option<Duration> {
        let retry = match error {
            ConnectionError::Protocol(error) => self.backoff.should_retry(error),
            _ => true,
        };
        // Whoever waits for the first attempt wants no other.
        if retry && self.first.is_none() { self.backoff.next_delay(fastrand::u32(..)) } else { None }
    }

    fn give_up(&mut self, error: ConnectionError) -> Result<(), ConnectionError> {
        if let Some(first) = self.first.take() {
            let _ = first.send(Err(error.clone()));
        }
        self.closer.close(Status::GaveUp { error: error.clone() });
        Err(error)
    }

    /// One Network Connection from dialling to its end.
    async fn attempt(&mut self) -> End {
        let shared = Arc::clone(&self.closer.0);
        {
            let mut inner = shared.lock();
            let now = shared.now();
            // It is Disconnected here: the driver alone changes that.
            let _ = inner.core.connect(now);
        }
        let mut dial = self.connector.dial();
        let timer = &mut self.timer;
        let dialled = poll_fn(|cx| {
            if let Poll::Ready(transport) = dial.as_mut().poll(cx) {
                return Poll::Ready(
                    transport.map_err(|error| End::Lost(ConnectionError::Dial(Arc::new(error)))),
                );
            }
            poll_while_away(&shared, timer, None, cx).map(Err)
        })
        .await;
        drop(dial);
        let mut connection = match dialled {
            Ok(transport) => Connection::new(transport),
            Err(end) => return end,
        };
        let (backoff, first, fell_back) = (&mut self.backoff, &mut self.first, &mut self.fell_back);
        let mut announced = false;
        poll_fn(|cx| {
            let polled = connection.poll(&shared, timer, cx);
            if connection.connected && !announced {
                announced = true;
                *fell_back = false;
                backoff.connected(shared.now());
                if let Some(first) = first.take() {
                    // Whoever asked may have gone away.
                    let _ = first.send(Ok(()));
                }
            }
            polled
        })
        .await
    }

    /// Waits before the next attempt. True if the client is to be closed instead.
    async fn pause(&mut self, until: Instant) -> bool {
        let shared = Arc::clone(&self.closer.0);
        let timer = &mut self.timer;
        poll_fn(|cx| {
            if poll_while_away(&shared, timer, Some(until), cx).is_ready() {
                return Poll::Ready(true);
            }
            if Instant::now() >= until { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }
}

/// Without a connection: the CONNACK deadline, messages that expire, and the wish to close.
fn poll_while_away(
    shared: &Arc<Shared>,
    timer: &mut Timer,
    until: Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    let mut notices = Notices::default();
    loop {
        let now = shared.now();
        let mut inner = shared.lock();
        inner.set_driver(cx.waker());
        if let Err(error) = inner.core.handle_timeout(now) {
            return Poll::Ready(End::Lost(error.into()));
        }
        // Messages in the queue may have expired.
        notices.collect(&mut inner, shared);
        inner.linger(shared, now);
        let closing = match inner.phase {
            // Nothing is left to wait for, and there is nobody to say goodbye to.
            Phase::Closing(drain, by) if drain.left(inner.unresolved()) == 0 || shared.instant(now) >= by => {
                drop(inner);
                notices.give();
                return Poll::Ready(End::Disconnected);
            }
            Phase::Closing(_, by) => Some(by),
            Phase::Open | Phase::Closed => None,
        };
        let deadline = inner.core.poll_timeout().map(|due| shared.instant(due));
        inner.wake_publishers(&mut notices.wakers);
        drop(inner);
        notices.give();
        let deadline = [deadline, closing, until].into_iter().flatten().min();
        if !timer.poll_until(deadline, cx) {
            return Poll::Pending;
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Poll::Pending;
        }
    }
}

/// Closes the client when it is dropped, wherever the driver ends.
struct Closer(Arc<Shared>);

impl Closer {
    fn close(&self, status: Status) {
        let shared = &self.0;
        let mut notices = Notices::default();
        {
            let mut inner = shared.lock();
            if inner.phase == Phase::Closed {
                return;
            }
            inner.phase = Phase::Closed;
            inner.undelivered = inner.unresolved();
            // The Session is as it stays from here on, and what is resolved has its own outcome.
            inner.core.handle_close();
            notices.collect(&mut inner, shared);
            if inner.keep_session {
                inner.kept = Some(inner.core.session().clone());
            }
            inner.core.discard_session();
            notices.collect(&mut inner, shared);
            inner.registry.close(&mut notices.wakers);
            inner.wake_publishers(&mut notices.wakers);
            inner.closing.take_all(&mut notices.wakers);
            inner.tell_last(status, &mut notices);
        }
        notices.give();
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.close(Status::Disconnected);
    }
}
