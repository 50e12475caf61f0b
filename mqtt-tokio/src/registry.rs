//! Which stream gets which message.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use mqtt_client::{QoS, TopicFilter, TopicNameRef};

use crate::filters::Filters;
use crate::message::{Ack, ReceivedMessage};
use crate::routes::Routes;

/// What happens to a message for a stream whose buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The client stops reading, so that the Server must wait (TCP back-pressure). Nothing is dropped. The default.
    ///
    /// While a future of this client waits for an answer of the Server, it reads on all the same, or a task that both
    /// publishes and reads could wait for itself for ever: the buffer takes as much once more, and messages with QoS 1
    /// and 2 are not acknowledged until they are taken. If even that is full and nothing is taken for a second while
    /// the future still waits, it goes on: then the Server's own window bounds QoS 1 and 2, and further messages with
    /// QoS 0 are dropped and counted. Reading stops for good, until something is taken, at four times the
    /// [size](crate::Subscribe::buffer_size) of the buffer, though not below 16 MiB.
    #[default]
    Wait,
    /// The oldest message in the buffer is dropped and counted.
    DropOldest,
    /// The message that has just come is dropped and counted.
    DropNewest,
}

/// How full the buffer of a stream that must not lose anything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// There is room.
    None,
    /// Full: reading stops, unless somebody waits for the Server.
    Full,
    /// Twice as full: reading stops, unless somebody has waited for long.
    Stuck,
    /// So full that reading stops in any case: no Server is to fill the memory.
    Glutted,
}

/// Below this size no buffer is glutted: it takes what Servers have on their way to one client, or a future that waits
/// for them could wait for ever.
const NO_GLUT: usize = 16 * 1024 * 1024;

/// The buffer of one stream.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    /// How many messages the reader has taken, of those that it took over in batches: shows that it is at work.
    pub(crate) taken: AtomicU64,
}

pub(crate) struct QueueState {
    pub(crate) messages: VecDeque<ReceivedMessage>,
    size: usize,
    max_len: usize,
    max_size: usize,
    overflow: Overflow,
    pub(crate) waker: Option<Waker>,
    /// Dropped, or skipped by the client, since the last message that was kept.
    missed: u64,
    pub(crate) dropped: u64,
    /// As it is counted in the registry.
    pressure: Pressure,
    pub(crate) closed: bool,
}

impl Queue {
    pub(crate) fn new(max_len: usize, max_size: usize, overflow: Overflow) -> Self {
        Self {
            state: Mutex::new(QueueState {
                messages: VecDeque::new(),
                size: 0,
                max_len: max_len.max(1),
                max_size,
                overflow,
                waker: None,
                missed: 0,
                dropped: 0,
                pressure: Pressure::None,
                closed: false,
            }),
            taken: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn is_full(&self) -> bool {
        self.messages.len() >= self.max_len || self.size >= self.max_size
    }

    fn push(&mut self, mut message: ReceivedMessage) {
        message.missed = std::mem::take(&mut self.missed);
        self.size += message.size();
        self.messages.push_back(message);
    }

    fn count_drop(&mut self, missed: u64) {
        self.missed += 1 + missed;
        self.dropped += 1;
    }

    /// All messages at once, in exchange for an empty buffer.
    pub(crate) fn take_all(&mut self, into: &mut VecDeque<ReceivedMessage>) {
        std::mem::swap(&mut self.messages, into);
        self.size = 0;
    }

    /// Notes that there is room again; how it was before.
    pub(crate) fn relieve(&mut self) -> Pressure {
        std::mem::replace(&mut self.pressure, Pressure::None)
    }

    /// Drops the oldest message; its acknowledgement comes back.
    fn drop_oldest(&mut self) -> Option<Ack> {
        let oldest = self.messages.pop_front()?;
        self.size -= oldest.size();
        match self.messages.front_mut() {
            Some(next) => {
                next.missed += 1 + oldest.missed;
                self.dropped += 1;
            }
            None => self.count_drop(oldest.missed),
        }
        oldest.ack
    }

    /// Whether it holds twice what it should.
    fn is_stuck(&self) -> bool {
        self.messages.len() / 2 >= self.max_len || self.size / 2 >= self.max_size
    }

    fn fullness(&self) -> Pressure {
        if self.size / 4 >= self.max_size && self.size >= NO_GLUT {
            Pressure::Glutted
        } else if self.is_stuck() {
            Pressure::Stuck
        } else if self.is_full() {
            Pressure::Full
        } else {
            Pressure::None
        }
    }

    /// Offers a message. The acknowledgements of what is dropped go to `due`; returns whom to wake, and the pressure
    /// before and after.
    fn offer(&mut self, mut message: ReceivedMessage, due: &mut Vec<Ack>) -> (Option<Waker>, [Pressure; 2]) {
        match self.overflow {
            Overflow::DropNewest if self.is_full() => {
                self.count_drop(0);
                due.extend(message.ack.take());
            }
            Overflow::DropOldest => {
                while self.is_full() && !self.messages.is_empty() {
                    due.extend(self.drop_oldest());
                }
                self.push(message);
            }
            Overflow::Wait if message.qos() == QoS::AtMostOnce && self.is_stuck() => self.count_drop(0),
            _ => self.push(message),
        }
        let before = self.pressure;
        if self.overflow == Overflow::Wait {
            self.pressure = before.max(self.fullness());
        }
        (self.waker.take(), [before, self.pressure])
    }

    /// Nobody takes the messages any more. The acknowledgements that would have been given on taking them are due, or
    /// those of later messages would wait for them for ever; manual ones stay with the application.
    pub(crate) fn abandon(&mut self, due: &mut Vec<Ack>) {
        for message in self.messages.drain(..) {
            due.extend(message.abandon());
        }
        self.size = 0;
    }
}

/// How many streams with [`Overflow::Wait`] are full at least, how many of these stuck at least, and so on.
#[derive(Default)]
struct Pressures {
    full: usize,
    stuck: usize,
    glutted: usize,
}

impl Pressures {
    fn count(&mut self, before: Pressure, after: Pressure) {
        for (count, level) in [
            (&mut self.full, Pressure::Full),
            (&mut self.stuck, Pressure::Stuck),
            (&mut self.glutted, Pressure::Glutted),
        ] {
            *count = (*count + usize::from(after >= level)).saturating_sub(usize::from(before >= level));
        }
    }
}

/// The streams of one Topic Filter.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) streams: Vec<Arc<Queue>>,
    /// The QoS that the Server granted a request for, if it has.
    asked: Option<QoS>,
    /// The highest QoS that a stream wanted: what is asked for, so that of two requests the later one takes nothing
    /// back [MQTT-3.8.4-3].
    wanted: QoS,
    /// The Server does not have the subscription, for all we know.
    unknown: bool,
}

/// The Topic Filters of all streams.
#[derive(Default)]
pub(crate) struct Registry {
    filters: Filters,
    routes: Routes,
    pressures: Pressures,
    /// How many messages streams have dropped, those that are gone included.
    pub(crate) dropped: u64,
    /// Filters that no stream wants any more and that are still to be unsubscribed.
    pub(crate) orphans: Vec<TopicFilter>,
}

/// What a dispatch leads to.
#[derive(Default)]
pub(crate) struct Dispatched {
    pub(crate) wakers: Vec<Waker>,
    /// Shares of acknowledgements to give at once: the message was dropped, or needs no waiting.
    pub(crate) due: Vec<Ack>,
}

impl Registry {
    /// Adds a stream; true if the filter must be subscribed for it, anew or with a higher QoS.
    pub(crate) fn add(&mut self, filter: &TopicFilter, qos: QoS, queue: &Arc<Queue>) -> bool {
        self.routes.clear();
        let orphans = self.orphans.len();
        self.orphans.retain(|orphan| orphan != filter);
        if self.filters.get(filter).is_none() {
            let unknown = orphans == self.orphans.len();
            self.filters.insert(filter.clone(), Entry { unknown, ..Entry::default() });
        }
        let Some(entry) = self.filters.get_mut(filter) else { return false };
        if !entry.streams.iter().any(|stream| Arc::ptr_eq(stream, queue)) {
            entry.streams.push(Arc::clone(queue));
        }
        entry.wanted = entry.wanted.max(qos);
        entry.asked.is_none_or(|asked| asked < qos)
    }

    /// The Server is being asked.
    pub(crate) fn asked(&mut self, filter: &TopicFilter) {
        if let Some(entry) = self.filters.get_mut(filter) {
            entry.unknown = false;
        }
    }

    /// The QoS to ask for.
    pub(crate) fn wanted(&self, filter: &TopicFilter) -> QoS {
        self.filters.get(filter).map(|entry| entry.wanted).unwrap_or_default()
    }

    /// The QoS that was asked for and granted.
    pub(crate) fn granted(&self, filter: &TopicFilter) -> Option<QoS> {
        self.filters.get(filter)?.asked
    }

    /// The Server has granted a subscription, or refused it, that was asked for with `qos`. A higher QoS that is
    /// refused leaves a subscription as it was.
    pub(crate) fn answered(&mut self, filter: &TopicFilter, qos: QoS, granted: bool) {
        if let Some(entry) = self.filters.get_mut(filter) {
            if granted {
                entry.asked = entry.asked.max(Some(qos));
            }
            entry.unknown = entry.asked.is_none();
        }
    }

    /// The Server does not have the subscription any more.
    pub(crate) fn forget(&mut self, filter: &TopicFilter) {
        if let Some(entry) = self.filters.get_mut(filter) {
            entry.asked = None;
            entry.unknown = true;
        }
    }

    /// Takes a stream out; returns the filters that no stream wants any more and that the Server may know.
    pub(crate) fn remove(&mut self, filters: Vec<TopicFilter>, queue: &Arc<Queue>) -> Vec<TopicFilter> {
        self.routes.clear();
        let mut orphans = filters;
        orphans.retain(|filter| {
            let Some(entry) = self.filters.get_mut(filter) else { return false };
            entry.streams.retain(|stream| !Arc::ptr_eq(stream, queue));
            let (unused, unknown) = (entry.streams.is_empty(), entry.unknown);
            if unused {
                self.filters.remove(filter);
            }
            unused && !unknown
        });
        let pressure = queue.lock().relieve();
        self.relieve(pressure);
        orphans
    }

    /// Whether a stream that must not lose anything has no room.
    pub(crate) fn is_blocked(&self) -> bool {
        self.pressures.full > 0
    }

    /// Whether one is so full that reading on would lose messages.
    pub(crate) fn is_stuck(&self) -> bool {
        self.pressures.stuck > 0
    }

    /// Whether one is so full that reading on is out of the question.
    pub(crate) fn is_glutted(&self) -> bool {
        self.pressures.glutted > 0
    }

    /// How many messages were taken of the streams that are stuck.
    pub(crate) fn taken_of_stuck(&self) -> u64 {
        let streams = self.filters.iter().flat_map(|entry| &entry.streams);
        let stuck = streams.filter(|stream| stream.lock().pressure >= Pressure::Stuck);
        stuck.map(|stream| stream.taken.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    /// A stream that was under `pressure` is not any more.
    pub(crate) fn relieve(&mut self, pressure: Pressure) {
        self.pressures.count(pressure, Pressure::None);
    }

    /// How many streams want a message on this topic. A stream counts once, however many of its filters match.
    pub(crate) fn count(&mut self, topic: TopicNameRef<'_>) -> usize {
        self.routes.of(topic, &self.filters).len()
    }

    /// Gives the message once to each stream with a filter that matches. False if there is none.
    #[inline]
    pub(crate) fn dispatch(
        &mut self,
        topic: TopicNameRef<'_>,
        message: ReceivedMessage,
        into: &mut Dispatched,
    ) -> bool {
        let Some((last, others)) = self.routes.of(topic, &self.filters).split_last() else { return false };
        for stream in others {
            self.dropped += deliver(stream, message.share(), &mut self.pressures, into);
        }
        self.dropped += deliver(last, message, &mut self.pressures, into);
        true
    }

    /// Gives the message to this stream alone.
    pub(crate) fn deliver(&mut self, stream: &Queue, message: ReceivedMessage, into: &mut Dispatched) {
        self.dropped += deliver(stream, message, &mut self.pressures, into);
    }

    /// A message on this topic was too large and is not coming: each stream that would have got it counts it.
    pub(crate) fn skipped(&mut self, topic: TopicNameRef<'_>) {
        for stream in self.routes.of(topic, &self.filters) {
            stream.lock().count_drop(0);
            self.dropped += 1;
        }
    }

    /// Ends all streams: each yields what it holds, and then nothing.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        for entry in self.filters.iter() {
            for stream in &entry.streams {
                let mut state = stream.lock();
                state.closed = true;
                state.relieve();
                wakers.extend(state.waker.take());
            }
        }
        self.filters = Filters::default();
        self.routes.clear();
        self.orphans.clear();
        self.pressures = Pressures::default();
    }
}

/// How many messages the stream dropped for it.
#[inline]
fn deliver(
    stream: &Queue,
    mut message: ReceivedMessage,
    pressures: &mut Pressures,
    into: &mut Dispatched,
) -> u64 {
    let mut state = stream.lock();
    let dropped = state.dropped;
    // A stream that has room takes the message now.
    if state.pressure == Pressure::None {
        into.due.extend(message.ack.take_if(|ack| ack.on_taking));
    }
    let (waker, [before, after]) = state.offer(message, &mut into.due);
    let dropped = state.dropped - dropped;
    drop(state);
    if before != after {
        pressures.count(before, after);
    }
    into.wakers.extend(waker);
    dropped
}
