//! The driver: dials, runs one connection after the other, and pauses in between.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::connection::{Connection, End};
use crate::dialer::Dialer;
use crate::error::ConnectionError;
use crate::login::{CredentialsError, Login};
use crate::notices::Notices;
use crate::observe::Observer;
use crate::shared::{Phase, Shared};
use crate::status::Status;
use crate::store::{BoxStore, Saver, StoreError};
use crate::timer::Timer;

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
        dialer: Dialer,
        store: Option<BoxStore>,
        first: Option<First>,
        observer: Observer,
    ) -> Self {
        let closer = Closer(shared);
        let saver = store.map(Saver::new);
        let log = observer.log().clone();
        let run = Run { closer, dialer, timer: Timer::default(), saver, first, observer, fell_back: false };
        Self { run: log.around(run.run()) }
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
    dialer: Dialer,
    timer: Timer,
    saver: Option<Saver>,
    first: Option<First>,
    observer: Observer,
    /// The version of the protocol was changed since the Server last accepted a connection.
    fell_back: bool,
}

impl Run {
    async fn run(mut self) -> Result<(), ConnectionError> {
        let mut notices = Notices::default();
        loop {
            let version = self.closer.0.lock().core.version();
            let error = match self.attempt().await {
                End::Disconnected => return self.close().await,
                End::Lost(error) => error,
            };
            let shared = Arc::clone(&self.closer.0);
            let changed = {
                let mut inner = shared.lock();
                inner.core.handle_close();
                inner.core.version() != version
            };
            let delay = if changed && !self.fell_back {
                // That the Server does not know a version is no failure yet. Only once: it may know neither.
                self.fell_back = true;
                Some(Duration::ZERO)
            } else {
                // Whoever waits for the first attempt wants no other.
                self.dialer.lost(&error, shared.now(), self.first.is_some())
            };
            let Some(retry_in) = delay else {
                let error = self.dialer.reason(error);
                return self.give_up(error).await;
            };
            {
                let mut inner = shared.lock();
                inner.tell(Status::Lost { error, retry_in }, &mut notices);
                notices.collect(&mut inner, &shared);
            }
            notices.give();
            match self.pause(Instant::now() + retry_in).await {
                None => {}
                Some(End::Disconnected) => return self.close().await,
                Some(End::Lost(error)) => return self.give_up(error).await,
            }
        }
    }

    /// Ends as the application asked.
    async fn close(mut self) -> Result<(), ConnectionError> {
        match self.save_all().await {
            Ok(()) => {
                self.closer.close(Status::Disconnected);
                Ok(())
            }
            Err(error) => Err(self.closer.give_up(error.into())),
        }
    }

    async fn give_up(mut self, error: ConnectionError) -> Result<(), ConnectionError> {
        let saved = match &error {
            ConnectionError::Store(_) => Ok(()),
            _ => self.save_all().await,
        };
        // Whoever waits for the first attempt may open the store again.
        let error = self.closer.give_up(saved.map_or_else(ConnectionError::Store, |()| error));
        if let Some(first) = self.first.take() {
            let _ = first.send(Err(error.clone()));
        }
        Err(error)
    }

    /// Saves what has changed before the client is closed, and gives up the store, so that the next client may have it.
    async fn save_all(&mut self) -> Result<(), StoreError> {
        let Some(mut saver) = self.saver.take() else { return Ok(()) };
        let shared = &self.closer.0;
        let mut notices = Notices::default();
        {
            let mut inner = shared.lock();
            // Nothing is accepted from here on.
            inner.phase = Phase::Saving;
            inner.core.handle_close();
            notices.collect(&mut inner, shared);
            inner.wake_publishers(&mut notices.wakers);
        }
        notices.give();
        let saved = poll_fn(|cx| saver.poll_flush(shared, cx)).await;
        saver.end().await;
        saved
    }

    /// One Network Connection from dialling to its end.
    async fn attempt(&mut self) -> End {
        let shared = Arc::clone(&self.closer.0);
        shared.lock().server = self.dialer.server();
        self.observer.attempt(&shared);
        let headers = match self.log_in().await {
            Ok(headers) => headers,
            Err(end) => return end,
        };
        let version = {
            let mut inner = shared.lock();
            let now = shared.now();
            // It is Disconnected here: the driver alone changes that.
            let _ = inner.core.connect(now);
            inner.core.version()
        };
        let dial = self.dialer.dial(version, headers);
        let mut connection = match self.while_away(dial).await {
            Ok(Ok(transport)) => Connection::new(transport),
            Ok(Err(error)) => return End::Lost(error),
            Err(end) => return end,
        };
        let Self { timer, saver, dialer, first, fell_back, .. } = self;
        let mut announced = false;
        poll_fn(|cx| {
            let polled = connection.poll(&shared, timer, saver.as_mut(), cx);
            if connection.connected && !announced {
                announced = true;
                *fell_back = false;
                dialer.connected(shared.now());
                if let Some(first) = first.take() {
                    // Whoever asked may have gone away.
                    let _ = first.send(Ok(()));
                }
            }
            polled
        })
        .await
    }

    /// Gives the core the credentials of this attempt, and returns the headers that go with them.
    async fn log_in(&mut self) -> Result<Vec<(String, String)>, End> {
        let login = match &self.dialer.hook {
            Some(hook) => {
                let asked = hook.ask();
                let login = self.while_away(asked).await?;
                Some(login.map_err(|error| End::Lost(error.into()))?)
            }
            None => self.dialer.login(),
        };
        let Some(Login { username, password, headers }) = login else { return Ok(Vec::new()) };
        match self.closer.0.lock().core.set_credentials(username, password) {
            Ok(()) => Ok(headers),
            Err(error) => Err(End::Lost(CredentialsError::from(error).into())),
        }
    }

    /// Waits for `future`, while what must go on without a connection goes on; that can end the waiting.
    async fn while_away<T>(&mut self, mut future: Pin<Box<dyn Future<Output = T> + Send>>) -> Result<T, End> {
        let shared = Arc::clone(&self.closer.0);
        let (timer, saver) = (&mut self.timer, &mut self.saver);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            poll_while_away(&shared, timer, saver.as_mut(), None, cx).map(Err)
        })
        .await
    }

    /// Waits before the next attempt, unless the client ends instead.
    async fn pause(&mut self, until: Instant) -> Option<End> {
        let shared = Arc::clone(&self.closer.0);
        let (timer, saver) = (&mut self.timer, &mut self.saver);
        poll_fn(|cx| {
            if let Poll::Ready(end) = poll_while_away(&shared, timer, saver.as_mut(), Some(until), cx) {
                return Poll::Ready(Some(end));
            }
            if Instant::now() >= until { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

/// Without a connection: the CONNACK deadline, messages that expire, what is to be saved, and the wish to close.
fn poll_while_away(
    shared: &Arc<Shared>,
    timer: &mut Timer,
    mut saver: Option<&mut Saver>,
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
            Phase::Open | Phase::Saving | Phase::Closed => None,
        };
        let deadline = inner.core.poll_timeout().map(|due| shared.instant(due));
        inner.wake_publishers(&mut notices.wakers);
        drop(inner);
        notices.give();
        match saver.as_mut().map(|saver| saver.poll(shared, cx)) {
            None | Some(Ok(false)) => {}
            // Publishers may have waited for that.
            Some(Ok(true)) => continue,
            Some(Err(error)) => return Poll::Ready(End::Lost(error.into())),
        }
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
    /// Closes the client because of an error.
    fn give_up(&self, error: ConnectionError) -> ConnectionError {
        self.0.lock().store_failed = matches!(error, ConnectionError::Store(_));
        self.close(Status::GaveUp { error: error.clone() });
        error
    }

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
            // With a store it is the next client's: that there is none any more is not saved.
            inner.all_saved = inner.has_store && inner.core.is_saved(inner.core.mark());
            inner.core.discard_session();
            notices.collect(&mut inner, shared);
            inner.registry.close(&mut notices.wakers);
            inner.close_unclaimed(&mut notices);
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
