//! Where the messages on recent topics go.

use std::sync::Arc;

use mqtt_client::TopicNameRef;

use crate::filters::Filters;
use crate::registry::Queue;

/// How many topics are remembered.
const REMEMBERED: usize = 64;

/// Longer topics are not remembered.
const MAX_LEN: usize = 256;

/// The streams of the topics that messages came on: most come on few topics, and to find a topic here costs a tenth of
/// a walk through the filters. A small table in which a newer topic replaces an older one.
#[derive(Default)]
pub(crate) struct Routes {
    /// Empty, or [`REMEMBERED`] of them.
    slots: Vec<Route>,
    /// For a topic that is not remembered.
    other: Route,
}

#[derive(Clone, Default)]
struct Route {
    topic: Vec<u8>,
    streams: Vec<Arc<Queue>>,
}

impl Routes {
    /// The streams with a filter that matches, each once.
    #[inline]
    pub(crate) fn of(&mut self, topic: TopicNameRef<'_>, filters: &Filters) -> &[Arc<Queue>] {
        let bytes = topic.as_bytes();
        if bytes.len() > MAX_LEN {
            self.other.fill(topic, filters);
            return &self.other.streams;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(REMEMBERED, Route::default);
        }
        let route = &mut self.slots[hash(bytes) % REMEMBERED];
        if route.topic != bytes {
            route.fill(topic, filters);
            route.topic.clear();
            route.topic.extend_from_slice(bytes);
        }
        &route.streams
    }

    /// The filters have changed.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Route {
    #[cold]
    fn fill(&mut self, topic: TopicNameRef<'_>, filters: &Filters) {
        self.streams.clear();
        for stream in filters.of(topic).flat_map(|entry| &entry.streams) {
            if !self.streams.iter().any(|known| Arc::ptr_eq(known, stream)) {
                self.streams.push(Arc::clone(stream));
            }
        }
    }
}

/// Eight bytes at a time. It only spreads topics over slots: who makes them collide gains a walk through the filters.
#[inline]
fn hash(bytes: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut words = bytes.chunks_exact(8);
    let mut hash = bytes.len() as u64;
    for word in words.by_ref() {
        let mut array = [0; 8];
        array.copy_from_slice(word);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(array)).wrapping_mul(FACTOR);
    }
    for byte in words.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(FACTOR);
    }
    (hash >> 32) as usize
}
