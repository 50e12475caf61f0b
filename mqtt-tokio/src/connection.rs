//! One Network Connection: moves bytes between the transport and the core, and events from the core to their waiters.

mod closing;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_client::{AckMode, Event, IncomingMessage, State, Time};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::error::ConnectionError;
use crate::message::{Ack, Extent, Place, ReceivedMessage};
use crate::notices::Notices;
use crate::registry::Dispatched;
use crate::shared::{Inner, Shared};
use crate::store::Saver;
use crate::subscription::ask_for_orphans;
use crate::timer::Timer;
use crate::transport::BoxTransport;

/// One write takes at most so many bytes, more or less: enough to make the system call cheap.
const MAX_WRITE: usize = 256 * 1024;

/// So much is written at once, even if more is about to come.
const ENOUGH_TO_WRITE: usize = 64 * 1024;

/// What one system call is given at most.
const MAX_SLICES: usize = 16;

/// The read buffer while little comes, and while much comes.
const MIN_READ: usize = 4 * 1024;
const MAX_READ: usize = 256 * 1024;

/// So many events are handled before the lock is given to others for a moment.
const EVENTS_PER_LOCK: usize = 64;

/// After so many rounds other tasks of the runtime get their turn.
const ROUNDS: usize = 32;

/// A future that waits for the Server while a stream is stuck has so much patience for the reader of the stream, which
/// could be the same task.
const STALL: Duration = Duration::from_secs(1);

/// How a connection ended.
pub(crate) enum End {
    Lost(ConnectionError),
    /// As the application asked.
    Disconnected,
}

pub(crate) struct Connection {
    transport: BoxTransport,
    read: BytesMut,
    read_extent: Extent,
    read_size: usize,
    segments: Vec<Bytes>,
    written: usize,
    dispatched: Dispatched,
    /// Something was written that may still be in the transport.
    unflushed: bool,
    /// Writing failed: what can be read still is, and then the connection ends.
    write_error: Option<io::Error>,
    notices: Notices,
    /// The core was told that nobody reads.
    paused: bool,
    /// Since when a future waits for the Server while a stream is stuck.
    stuck_since: Option<Time>,
    /// How much had been taken of what is stuck then.
    taken: u64,
    /// DISCONNECT is on its way; it must be gone by then.
    finish_by: Option<Instant>,
    /// The transport was told that nothing follows.
    shut: bool,
    /// The Server has accepted this connection.
    pub(crate) connected: bool,
}

/// What is to be done outside the lock.
struct Step {
    /// Events are left that were not handled for the time being.
    more: bool,
    read: bool,
    /// There is output, which waits for the store.
    withheld: bool,
    deadline: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(transport: BoxTransport) -> Self {
        Self {
            transport,
            read: BytesMut::new(),
            read_extent: Extent::default(),
            read_size: MIN_READ,
            segments: Vec::new(),
            written: 0,
            unflushed: false,
            write_error: None,
            dispatched: Dispatched::default(),
            notices: Notices::default(),
            paused: false,
            stuck_since: None,
            taken: 0,
            finish_by: None,
            shut: false,
            connected: false,
        }
    }

    /// Works until nothing can be done without waiting.
    pub(crate) fn poll(
        &mut self,
        shared: &Arc<Shared>,
        timer: &mut Timer,
        saver: Option<&mut Saver>,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        let polled = self.poll_rounds(shared, timer, saver, cx);
        // However it ends: DUP, and what is reported as not sent, depend on what the transport took.
        if self.written > 0 {
            self.account(&mut shared.lock(), shared.now());
        }
        polled
    }

    fn poll_rounds(
        &mut self,
        shared: &Arc<Shared>,
        timer: &mut Timer,
        mut saver: Option<&mut Saver>,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        for _ in 0..ROUNDS {
            let step = self.step(shared, cx);
            // Even if the connection ends here: those that wait have their outcome.
            self.notices.give();
            self.dispatched.wakers.drain(..).for_each(Waker::wake);
            let step = match step {
                Ok(step) => step,
                Err(error) => return Poll::Ready(End::Lost(error)),
            };
            let mut progress = step.more;
            if let Some(saver) = &mut saver {
                match saver.poll(shared, cx) {
                    // What has waited for it may go out.
                    Ok(saved) => progress |= saved,
                    Err(error) => return Poll::Ready(End::Lost(error.into())),
                }
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(wrote)) => progress |= wrote,
                Poll::Ready(Err(_)) if self.finish_by.is_some() => return Poll::Ready(End::Disconnected),
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => progress |= self.written > 0,
            }
            if self.finish_by.is_some() {
                let written = self.segments.is_empty() && !self.unflushed && !progress && !step.withheld;
                if self.poll_finish(written, cx).is_ready() || timer.poll_until(self.finish_by, cx) {
                    return Poll::Ready(End::Disconnected);
                }
            } else if step.read && !step.more {
                match self.poll_read(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(self.lost(ConnectionError::ClosedByServer)),
                    Poll::Ready(Ok(_)) => progress = true,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(self.lost(ConnectionError::of_transport(error)));
                    }
                    Poll::Pending => {}
                }
            }
            if !progress {
                if self.write_error.is_some() {
                    break;
                }
                if !timer.poll_until(step.deadline, cx) {
                    return Poll::Pending;
                }
            }
        }
        if self.write_error.is_some() {
            return Poll::Ready(self.lost(ConnectionError::ClosedByServer));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The connection ended with `error`, unless it was writing that failed first. What TLS or WebSocket have to say about
    /// it says more than that the socket was closed.
    fn lost(&mut self, error: ConnectionError) -> End {
        let written = self.write_error.take().map(ConnectionError::of_transport);
        match (written, &error) {
            (Some(written), ConnectionError::Io(_) | ConnectionError::ClosedByServer) => End::Lost(written),
            (_, _) => End::Lost(error),
        }
    }

    /// Tells the core what the transport took.
    fn account(&mut self, inner: &mut Inner, now: Time) {
        if self.written > 0 {
            inner.core.poll_output(now).advance(self.written);
            self.written = 0;
        }
    }

    /// Everything that needs the core, in one go.
    fn step(&mut self, shared: &Arc<Shared>, cx: &Context<'_>) -> Result<Step, ConnectionError> {
        let now = shared.now();
        let mut inner = shared.lock();
        let inner = &mut *inner;
        inner.set_driver(cx.waker());
        self.account(inner, now);
        // Before and after: what somebody waits for in vain may have come to an end, and begin anew.
        self.pause(inner, now);
        if inner.core.poll_timeout().is_some_and(|due| now >= due) {
            inner.core.handle_timeout(now)?;
        }
        let more = self.feed(inner, shared, now)?;
        let unclaimed = inner.poll_unclaimed(now, &mut self.notices).map(|until| shared.instant(until));
        let stalled = self.pause(inner, now);
        ask_for_orphans(inner);
        let closing = self.close_if_asked(inner, shared, now);
        self.segments.clear();
        // What is still to be handled will add to the output: a write for all of it costs as much as one for a part.
        if !more || inner.core.output_len() >= ENOUGH_TO_WRITE {
            inner.core.poll_output(now).segments(MAX_WRITE, &mut self.segments);
        }
        inner.driver_sleeps = self.segments.is_empty() && !more;
        let withheld = self.segments.is_empty() && inner.core.output_len() > 0;
        if withheld && self.finish_by.is_some() {
            // The store gets the time that it needs.
            self.finish_by = Some(shared.instant(now) + closing::FLUSH);
        }
        inner.wake_publishers(&mut self.notices.wakers);
        let deadline = inner.core.poll_timeout().map(|due| shared.instant(due));
        let stalled = stalled.map(|since| shared.instant(since + STALL));
        let deadline = [deadline, closing, stalled, unclaimed, self.finish_by].into_iter().flatten().min();
        Ok(Step { more, read: inner.core.wants_input() && !self.paused, withheld, deadline })
    }

    /// Tells the core when reading stops because a stream is full, so that it does not take a silence of our own for
    /// one of the Server; and when it goes on. Returns since when a future waits in vain.
    fn pause(&mut self, inner: &mut Inner, now: Time) -> Option<Time> {
        if !(inner.registry.is_stuck() && inner.has_waiters()) {
            self.stuck_since = None;
        } else if self.stuck_since.is_none_or(|since| now - since >= STALL) {
            // A reader that is at work is waited for, however slow it is.
            let taken = inner.registry.taken_of_stuck();
            if self.stuck_since.is_none() || taken != self.taken {
                (self.stuck_since, self.taken) = (Some(now), taken);
            }
        }
        let paused = self.must_wait(inner, now);
        if paused != self.paused {
            self.paused = paused;
            if paused {
                inner.core.pause_input(now);
            } else {
                inner.core.resume_input(now);
            }
        }
        // Patience that is at an end is nothing to wait for.
        self.stuck_since.filter(|since| paused && now - *since < STALL)
    }

    /// Whether a stream has no room, and reading on all the same is not called for. Before the CONNACK it is: nothing
    /// for a stream comes ahead of it.
    fn must_wait(&self, inner: &Inner, now: Time) -> bool {
        let patient = || self.stuck_since.is_none_or(|since| now - since < STALL);
        inner.registry.is_blocked()
            && inner.core.state() == State::Connected
            && (!inner.has_waiters()
                || inner.registry.is_glutted()
                || (inner.registry.is_stuck() && patient()))
    }

    /// Hands input to the core and its events to their waiters. True if it stopped only to let others have the lock.
    fn feed(&mut self, inner: &mut Inner, shared: &Arc<Shared>, now: Time) -> Result<bool, ConnectionError> {
        let mut used = 0;
        let mut more = true;
        for _ in 0..EVENTS_PER_LOCK {
            let blocked = inner.registry.is_blocked();
            // What a full stream gets all the same is acknowledged when it is taken, and what no stream wants yet when
            // one does.
            let later = blocked || inner.unclaimed.is_open();
            inner.core.set_ack_mode(if later { AckMode::Manual } else { inner.ack_mode });
            let unread =
                if self.must_wait(inner, now) { &[] } else { self.read.get(used..).unwrap_or_default() };
            let mut input = unread;
            let event = inner.core.handle_input(&mut input, now)?;
            used += unread.len() - input.len();
            match event {
                None => {
                    more = false;
                    break;
                }
                Some(Event::Message(message)) => {
                    if let Some(place) = Place::of(&message, &self.read, &self.read_extent) {
                        let token = message.ack;
                        let end = self.read.len() - used;
                        let message = place.cut(&mut self.read);
                        debug_assert_eq!(end, self.read.len());
                        used = 0;
                        let name = message.topic_name();
                        if let Some(name) = &name {
                            self.dispatched.give(inner, shared, name.as_ref(), message, token);
                        }
                    } else {
                        let IncomingMessage { topic, ack, .. } = message;
                        self.dispatched.give(inner, shared, topic, ReceivedMessage::copy_of(&message), ack);
                    }
                }
                Some(event) => {
                    if let Event::Connected { session_present } = event {
                        inner.connected_at = Some(now);
                        inner.open_claims(session_present, now);
                    }
                    self.connected |= self.notices.report(inner, event);
                }
            }
        }
        self.read.advance(used);
        if self.read.is_empty() && self.read.capacity() > 0 {
            // What is left of the buffer can be used again from its start.
            self.read.clear();
        }
        Ok(more)
    }

    /// Writes what was lent, and flushes. True if something was written and there may be more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.write_error.is_some() {
            self.segments.clear();
            return Poll::Ready(Ok(false));
        }
        let mut transport = Pin::new(&mut self.transport);
        let mut wrote = false;
        let mut at = 0;
        while at < self.segments.len() {
            let polled = if self.segments.len() - at == 1 || !transport.is_write_vectored() {
                transport.as_mut().poll_write(cx, &self.segments[at])
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut count = 0;
                for (slice, segment) in slices.iter_mut().zip(&self.segments[at..]) {
                    *slice = IoSlice::new(segment);
                    count += 1;
                }
                transport.as_mut().poll_write_vectored(cx, &slices[..count])
            };
            let mut count = match polled {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            wrote = true;
            self.unflushed = true;
            self.written += count;
            while let Some(segment) = self.segments.get_mut(at) {
                if segment.len() > count {
                    segment.advance(count);
                    break;
                }
                count -= segment.len();
                at += 1;
            }
        }
        self.segments.clear();
        if self.unflushed {
            match transport.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // The transport wakes us for the rest.
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(wrote))
    }

    /// Reads once. The buffer grows with what comes, and an idle connection has none.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let have = self.read.len();
        self.read.reserve(self.read_size.max(have));
        self.read_extent.note(&self.read);
        let space = self.read.capacity() - have;
        let polled = poll_read_buf(
            Pin::new(&mut self.transport) as Pin<&mut (dyn AsyncRead + Unpin)>,
            cx,
            &mut self.read,
        );
        match polled {
            Poll::Ready(Ok(count)) if count >= space => self.read_size = (self.read_size * 2).min(MAX_READ),
            Poll::Ready(Ok(count)) if count < self.read_size / 4 => {
                self.read_size = (self.read_size / 2).max(MIN_READ);
            }
            Poll::Pending if have == 0 => self.read = BytesMut::new(),
            _ => {}
        }
        polled
    }
}

impl Dispatched {
    /// Gives a message to the streams that want it, and sees to its acknowledgement.
    fn give(
        &mut self,
        inner: &mut Inner,
        shared: &Arc<Shared>,
        topic: mqtt_client::TopicNameRef<'_>,
        mut message: ReceivedMessage,
        token: Option<mqtt_client::AckToken>,
    ) {
        if inner.unclaimed.is_open() && inner.registry.count(topic) == 0 {
            inner.keep_unclaimed(message, token);
            return;
        }
        if let Some(token) = token {
            match inner.registry.count(topic) {
                // Nobody wants it: it is acknowledged all the same [MQTT-4.5.0-2].
                0 => {
                    let _ = inner.core.acknowledge(token);
                }
                // It could have waited for a stream, and each that it has found has room.
                _ if inner.ack_mode == AckMode::Automatic && !inner.registry.is_blocked() => {
                    let _ = inner.core.acknowledge(token);
                }
                streams => {
                    let on_taking = inner.ack_mode == AckMode::Automatic;
                    if on_taking {
                        // It is ours from here on: if the Server sends it again, it is not for the streams.
                        let _ = inner.core.hold(token);
                    }
                    message.ack = Some(Ack::new(Arc::clone(shared), token, streams, on_taking));
                }
            }
        }
        if !inner.registry.dispatch(topic, message, self) {
            inner.unclaimed.count();
        }
        self.acknowledge(inner);
    }

    /// Gives the acknowledgements that are due.
    pub(crate) fn acknowledge(&mut self, inner: &mut Inner) {
        for ack in self.due.drain(..) {
            if let Some(token) = ack.give_locked() {
                let _ = inner.core.acknowledge(token);
            }
        }
    }
}
