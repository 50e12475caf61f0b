//! What the handles and the driver share: the core under one lock that is held for as long as a message takes, never
//! over a system call and never over an await.
//!
//! A publishing task encodes its packet right into the output of the core and goes on; the driver finds it there. The
//! other way, commands through a channel to a task that owns the core, costs several times as much (`benches/README.md`
//! has the figures): a hop, and a wake-up, for every message instead of one for each time the driver sleeps.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt_client::{
    AckMode, AckToken, CancelError, Cause, Mark, Message, Outcome, PubSub, PublishToken, QoS, Session, State,
    SubackCode, Time,
};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::client::Drain;
use crate::defaults::PublishDefaults;
use crate::error::PublishError;
use crate::notices::Notices;
use crate::registry::Registry;
use crate::status::{self, Status, StatusStream};
use crate::unclaimed::Unclaimed;
use crate::uri::Uri;
use crate::waiting::{Completions, Crowd};

/// All profiles share one core: the profile of the handle limits the methods.
pub(crate) type Core = mqtt_client::Client<PubSub>;

/// While connected, publishers wait when so many bytes are on their way to the transport: beyond that, more of them in
/// memory make nothing faster.
const ENOUGH_OUTPUT: usize = 128 * 1024;

/// The same for QoS 1 and 2: when so many messages wait for a place in flight.
const ENOUGH_QUEUED: usize = 512;

/// When the last handle is dropped, what was accepted gets so much time to be delivered.
const LINGER: Duration = Duration::from_millis(500);

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Subscribed(Vec<SubackCode>),
    Unsubscribed,
    Failed(Cause),
    /// It is in the Session that was kept.
    Kept,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    Resolved(Outcome),
    /// It is in the Session that was kept.
    Kept,
}

impl Ending {
    pub(crate) const fn into_result(self) -> Result<(), PublishError> {
        match self {
            Self::Resolved(Outcome::Delivered) => Ok(()),
            Self::Resolved(Outcome::NotSent(cause)) => Err(PublishError::NotSent(cause)),
            Self::Resolved(Outcome::Ambiguous(cause)) => Err(PublishError::Ambiguous(cause)),
            Self::Kept => Err(PublishError::Kept),
        }
    }
}

/// Whether the client lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Asked to disconnect once what `Drain` names is done, or at the moment given.
    Closing(Drain, Instant),
    /// The connection has ended; what changed is being saved.
    Saving,
    Closed,
}

pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Clients and subscriptions; when the last one goes, the client disconnects.
    handles: AtomicUsize,
    pub(crate) defaults: PublishDefaults,
    start: Instant,
    /// The start as a time since 1970: what expires in a Session does so by a clock that other clients have too.
    epoch: Duration,
}

pub(crate) struct Inner {
    pub(crate) core: Core,
    /// The driver's task.
    driver: Option<Waker>,
    /// Whether the driver found nothing to write and would not look again on its own.
    pub(crate) driver_sleeps: bool,
    /// Something is due before what the driver sleeps for.
    due_earlier: bool,
    pub(crate) publishes: Completions<Ending>,
    pub(crate) requests: Completions<Answer>,
    /// Publishers that wait for room in the output, with QoS 0, and in the queue, with QoS 1 and 2.
    room: [Crowd; 2],
    /// There is a store.
    pub(crate) has_store: bool,
    pub(crate) store_failed: bool,
    /// The store had everything when the client was closed.
    pub(crate) all_saved: bool,
    /// Nothing is being saved: there was nothing to save when the driver looked.
    pub(crate) saver_sleeps: bool,
    /// The end of what the store was given without an answer so far.
    pub(crate) in_doubt: Option<Mark>,
    /// Those who wait for the store.
    pub(crate) savers: Crowd,
    /// Those who wait for the end.
    pub(crate) closing: Crowd,
    pub(crate) registry: Registry,
    pub(crate) unclaimed: Unclaimed,
    pub(crate) phase: Phase,
    /// When the Server accepted the present connection, or the one before it.
    pub(crate) connected_at: Option<Time>,
    /// The Server of the present connection or attempt.
    pub(crate) server: Option<Arc<Uri>>,
    /// How many publishes were in flight and in the queue when the client was closed.
    pub(crate) undelivered: [usize; 2],
    /// How many bytes no transport had taken when the time to disconnect was up.
    pub(crate) unsent: usize,
    pub(crate) ack_mode: AckMode,
    /// Somebody wants the Session when the client is closed.
    pub(crate) keep_session: bool,
    /// The Session, from when the client is closed until it is taken.
    pub(crate) kept: Option<Session>,
    /// Gone once the client is closed.
    status: Option<broadcast::Sender<Status>>,
}

impl Shared {
    pub(crate) fn new(
        core: Core,
        ack_mode: AckMode,
        has_store: bool,
        unclaimed: Unclaimed,
        defaults: PublishDefaults,
    ) -> Self {
        let start = Instant::now();
        Self {
            inner: Mutex::new(Inner {
                core,
                driver: None,
                driver_sleeps: false,
                due_earlier: false,
                publishes: Completions::new(),
                requests: Completions::new(),
                room: Default::default(),
                has_store,
                store_failed: false,
                all_saved: false,
                saver_sleeps: false,
                in_doubt: None,
                savers: Crowd::default(),
                closing: Crowd::default(),
                registry: Registry::default(),
                unclaimed,
                phase: Phase::Open,
                connected_at: None,
                server: None,
                undelivered: [0; 2],
                unsent: 0,
                ack_mode,
                keep_session: false,
                kept: None,
                status: Some(broadcast::channel(status::KEPT).0),
            }),
            handles: AtomicUsize::new(0),
            defaults,
            start,
            epoch: unix_time(start),
        }
    }

    /// A panic of another thread leaves nothing half done here: nothing runs under the lock that can panic, but an
    /// inspector, which must not.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_epoch(self.epoch + self.start.elapsed())
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        // A deadline beyond what an `Instant` can hold is as good as a far one.
        let since_start = time.since_epoch().saturating_sub(self.epoch);
        self.start.checked_add(since_start).unwrap_or_else(|| self.start + FAR)
    }

    /// Wakes the driver if it sleeps and there is something for it to write, to save, or to do earlier than it knows.
    #[inline]
    pub(crate) fn unlock_and_wake(mut inner: MutexGuard<'_, Inner>) {
        if inner.due_earlier
            || (inner.driver_sleeps && inner.core.has_output())
            || (inner.saver_sleeps && inner.core.has_changes())
        {
            inner.driver_sleeps = false;
            inner.saver_sleeps = false;
            inner.due_earlier = false;
            let waker = inner.driver.clone();
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// As [`unlock_and_wake`](Self::unlock_and_wake), for a task that is going to wait for the Server: the driver must
    /// know if it does not read.
    #[inline]
    pub(crate) fn unlock_and_wait(inner: MutexGuard<'_, Inner>) {
        if inner.registry.is_blocked() {
            Self::wake_driver(inner);
        } else {
            Self::unlock_and_wake(inner);
        }
    }

    /// Has the driver look again, whatever it waits for.
    pub(crate) fn wake_driver(inner: MutexGuard<'_, Inner>) {
        let waker = inner.driver.clone();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn acknowledge(&self, token: AckToken) {
        let mut inner = self.lock();
        // One of an earlier connection is stale: the Server sends the message again.
        let _ = inner.core.acknowledge(token);
        Self::unlock_and_wake(inner);
    }

    /// Acknowledges a message; the point with which that is saved. `None` if it is stale.
    pub(crate) fn acknowledge_marked(&self, token: AckToken) -> Option<Mark> {
        let mut inner = self.lock();
        // With QoS 1 nothing else changes.
        inner.core.barrier();
        let mark = inner.core.acknowledge(token).ok().map(|()| inner.core.mark());
        Self::unlock_and_wake(inner);
        mark
    }

    pub(crate) fn handles(&self) -> usize {
        self.handles.load(Ordering::Acquire)
    }
}

/// The time since 1970 at `instant`, which tokio's clock may have moved or not.
fn unix_time(instant: Instant) -> Duration {
    let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (instant, now) = (instant.into_std(), std::time::Instant::now());
    (system + instant.saturating_duration_since(now)).saturating_sub(now.saturating_duration_since(instant))
}

/// As good as never, and nothing overflows with it.
pub(crate) const FAR: Duration = Duration::from_secs(86_400 * 365);

impl Inner {
    pub(crate) fn set_driver(&mut self, waker: &Waker) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
    }

    /// Whether a publisher should wait although the core would take its message.
    #[inline]
    pub(crate) fn is_busy(&self, qos: QoS) -> bool {
        match qos {
            QoS::AtMostOnce => self.core.output_len() >= ENOUGH_OUTPUT,
            _ => self.core.queue_len() >= ENOUGH_QUEUED && self.core.state() == State::Connected,
        }
    }

    #[inline]
    pub(crate) fn publish(
        &mut self,
        message: Message,
    ) -> Result<Option<PublishToken>, mqtt_client::PublishError> {
        self.core.publish(message)
    }

    /// Gives a message in the queue an end. One that is in flight already has none. False if the store is so far behind
    /// that it must wait.
    pub(crate) fn expire(&mut self, token: PublishToken, at: Time) -> bool {
        let due = self.core.poll_timeout();
        let expired = self.core.expire(token, at);
        self.due_earlier |= expired.is_ok() && due.is_none_or(|due| at < due);
        expired != Err(CancelError::Busy)
    }

    /// What became of a publish that was accepted when the journal was at `mark`.
    pub(crate) fn fate(&self, ending: Ending, mark: Mark) -> Ending {
        match ending {
            Ending::Resolved(Outcome::NotSent(Cause::Discarded) | Outcome::Ambiguous(Cause::Discarded))
                if self.has_store =>
            {
                if self.core.is_saved(mark) {
                    return Ending::Kept;
                }
                // What is not saved was not sent; but a batch that has failed can be on the disk all the same.
                let in_doubt = self.in_doubt.is_some_and(|end| mark <= end);
                let outcome = if in_doubt { Outcome::Ambiguous } else { Outcome::NotSent };
                Ending::Resolved(outcome(Cause::Discarded))
            }
            ending => ending,
        }
    }

    /// Whether a future waits for something that the Server must send. The driver reads then even if a stream is full,
    /// or a task that publishes and reads could wait for itself.
    pub(crate) fn has_waiters(&self) -> bool {
        self.publishes.has_waiters()
            || self.requests.has_waiters()
            || self.room.iter().any(|room| !room.is_empty())
            || self.phase != Phase::Open
    }

    /// Tells whoever wants to know, once the lock is released.
    pub(crate) fn tell(&self, status: Status, notices: &mut Notices) {
        notices.statuses.extend(self.status.clone().map(|sender| (sender, status)));
    }

    /// Tells the last change.
    pub(crate) fn tell_last(&mut self, status: Status, notices: &mut Notices) {
        notices.statuses.extend(self.status.take().map(|sender| (sender, status)));
    }

    pub(crate) fn status(&self) -> StatusStream {
        let receiver = match &self.status {
            Some(sender) => sender.subscribe(),
            // Its sender is gone at once: a stream that has ended.
            None => broadcast::channel(1).1,
        };
        StatusStream { receiver }
    }

    /// Begins to disconnect when nobody is there any more.
    pub(crate) fn linger(&mut self, shared: &Shared, now: Time) {
        if self.phase == Phase::Open && shared.handles() == 0 {
            self.phase = Phase::Closing(Drain::Queue(LINGER), shared.instant(now + LINGER));
        }
    }

    /// How many publishes are in flight and in the queue.
    pub(crate) fn unresolved(&self) -> [usize; 2] {
        [self.core.in_flight_len(), self.core.queue_len()]
    }

    /// Those who wait for room for a message of this QoS.
    pub(crate) fn room(&mut self, qos: QoS) -> &mut Crowd {
        let [output, queue] = &mut self.room;
        if qos == QoS::AtMostOnce { output } else { queue }
    }

    /// Has publishers try again if there may be room. QoS 0 does not wait for the queue of QoS 1 and 2.
    #[inline]
    pub(crate) fn wake_publishers(&mut self, into: &mut Vec<Waker>) {
        let closing = self.phase != Phase::Open;
        let [output, queue] = &mut self.room;
        if !output.is_empty() && (closing || self.core.output_len() < ENOUGH_OUTPUT / 2) {
            output.take_all(into);
        }
        let enough = (self.core.options().queue_len_limit() / 2).min(ENOUGH_QUEUED / 2);
        if !queue.is_empty() && (closing || self.core.queue_len() <= enough) {
            queue.take_all(into);
        }
    }
}

/// A reference that keeps the client connected: in every `Client` and every `Subscription`.
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::AcqRel);
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for Handle {
    /// The last one tells the driver, which disconnects; nothing is spawned and nothing waits here.
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            Shared::wake_driver(self.shared.lock());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("handles", &self.handles).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
