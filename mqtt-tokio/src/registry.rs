//! Which stream gets which message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use mqtt_client::{QoS, TopicFilter, TopicNameRef};
use mqtt_codec::FilterMap;

use crate::message::{Ack, ReceivedMessage};

/// What happens to a message for a stream whose buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The client stops reading, so that the Server must wait (TCP back-pressure). Nothing is dropped. The default.
    ///
    /// While a future of this client waits for an answer of the Server, it reads on all the same, or a task that both
    /// publishes and reads could wait for itself for ever: messages with QoS 1 and 2 are then kept without being
    /// acknowledged, until they are taken, which the Server's own window bounds; of QoS 0, as many as the buffer holds
    /// once more are kept, and further ones are dropped and counted.
    #[default]
    Wait,
    /// The oldest message in the buffer is dropped and counted.
    DropOldest,
    /// The message that has just come is dropped and counted.
    DropNewest,
}

/// The buffer of one stream.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
}

pub(crate) struct QueueState {
    pub(crate) messages: VecDeque<ReceivedMessage>,
    size: usize,
    max_len: usize,
    max_size: usize,
    overflow: Overflow,
    pub(crate) waker: Option<Waker>,
    /// Dropped since the last message that was kept.
    missed: u64,
    pub(crate) dropped: u64,
    /// Counted among the blocked ones of the registry.
    pub(crate) blocked: bool,
    pub(crate) closed: bool,
    /// The last message that was offered: a stream with several filters gets it once.
    stamp: u64,
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
                blocked: false,
                closed: false,
                stamp: 0,
            }),
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

    /// Offers a message; the acknowledgement of what was dropped for it comes back, and whom to wake.
    fn offer(&mut self, mut message: ReceivedMessage) -> Offered {
        let mut dropped = None;
        let full = self.is_full();
        match self.overflow {
            Overflow::DropNewest if full => {
                self.count_drop(0);
                dropped = message.ack.take();
            }
            Overflow::DropOldest if full => {
                if let Some(mut oldest) = self.messages.pop_front() {
                    self.size -= oldest.size();
                    dropped = oldest.ack.take();
                    match self.messages.front_mut() {
                        Some(next) => {
                            next.missed += 1 + oldest.missed;
                            self.dropped += 1;
                        }
                        None => self.count_drop(oldest.missed),
                    }
                }
                self.push(message);
            }
            Overflow::Wait
                if full && message.qos() == QoS::AtMostOnce && self.messages.len() >= self.max_len * 2 =>
            {
                self.count_drop(0);
            }
            _ => self.push(message),
        }
        let newly_blocked = self.overflow == Overflow::Wait && !self.blocked && self.is_full();
        self.blocked |= newly_blocked;
        Offered { waker: self.waker.take(), dropped, newly_blocked }
    }
}

struct Offered {
    waker: Option<Waker>,
    dropped: Option<Ack>,
    newly_blocked: bool,
}

/// The streams of one Topic Filter.
#[derive(Default)]
struct Entry {
    streams: Vec<Arc<Queue>>,
    /// The QoS that the Server granted a request for, if it has.
    asked: Option<QoS>,
}

/// The Topic Filters of all streams.
#[derive(Default)]
pub(crate) struct Registry {
    filters: FilterMap<Entry>,
    stamp: u64,
    /// How many streams with [`Overflow::Wait`] are full.
    blocked: usize,
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
        self.orphans.retain(|orphan| orphan != filter);
        match self.filters.get_mut(filter) {
            Some(entry) => {
                if !entry.streams.iter().any(|stream| Arc::ptr_eq(stream, queue)) {
                    entry.streams.push(Arc::clone(queue));
                }
                entry.asked.is_none_or(|asked| asked < qos)
            }
            None => {
                self.filters.insert(filter.clone(), Entry { streams: vec![Arc::clone(queue)], asked: None });
                true
            }
        }
    }

    /// The Server has granted a subscription (or refused it) that was asked for with `qos`.
    pub(crate) fn answered(&mut self, filter: &TopicFilter, qos: QoS, granted: bool) {
        if let Some(entry) = self.filters.get_mut(filter) {
            entry.asked = if granted { entry.asked.max(Some(qos)) } else { None };
        }
    }

    /// Takes a stream out; the filters that no stream wants any more become orphans if the Server knows them.
    pub(crate) fn remove(&mut self, filters: &[TopicFilter], queue: &Arc<Queue>) {
        for filter in filters {
            let Some(entry) = self.filters.get_mut(filter) else { continue };
            entry.streams.retain(|stream| !Arc::ptr_eq(stream, queue));
            if entry.streams.is_empty() {
                self.filters.remove(filter);
                self.orphans.push(filter.clone());
            }
        }
        if std::mem::take(&mut queue.lock().blocked) {
            self.blocked -= 1;
        }
    }

    /// Whether a stream that must not lose anything has no room.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked > 0
    }

    pub(crate) fn unblock(&mut self) {
        self.blocked = self.blocked.saturating_sub(1);
    }

    /// How many streams want a message on this topic. A stream counts once, however many of its filters match.
    pub(crate) fn count(&mut self, topic: TopicNameRef<'_>) -> usize {
        self.stamp += 1;
        let mut count = 0;
        for stream in self.filters.matches(topic).flat_map(|entry| &entry.streams) {
            let mut state = stream.lock();
            count += usize::from(state.stamp != self.stamp);
            state.stamp = self.stamp;
        }
        count
    }

    /// Gives the message once to each stream with a filter that matches.
    #[inline]
    pub(crate) fn dispatch(
        &mut self,
        topic: TopicNameRef<'_>,
        message: ReceivedMessage,
        into: &mut Dispatched,
    ) {
        self.stamp += 1;
        let mut message = Some(message);
        let mut streams = self.filters.matches(topic).flat_map(|entry| &entry.streams).peekable();
        while let Some(stream) = streams.next() {
            let mut state = stream.lock();
            if state.stamp == self.stamp {
                continue;
            }
            state.stamp = self.stamp;
            let copy = if streams.peek().is_none() { message.take() } else { message.clone() };
            let Some(mut copy) = copy else { break };
            // A stream that has room takes the message now.
            if !state.blocked && copy.ack.as_ref().is_some_and(|ack| ack.on_taking) {
                into.due.extend(copy.ack.take());
            }
            let offered = state.offer(copy);
            drop(state);
            self.blocked += usize::from(offered.newly_blocked);
            into.wakers.extend(offered.waker);
            into.due.extend(offered.dropped);
        }
    }

    /// Ends all streams: each yields what it holds, and then nothing.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        for (_, entry) in &self.filters {
            for stream in &entry.streams {
                let mut state = stream.lock();
                state.closed = true;
                wakers.extend(state.waker.take());
            }
        }
        self.filters = FilterMap::new();
        self.orphans.clear();
        self.blocked = 0;
    }
}
