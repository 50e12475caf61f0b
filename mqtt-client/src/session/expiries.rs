//! When messages in the queue expire.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// The ends of those queued messages that have one. Costs nothing while there is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Expiries {
    of: BTreeMap<u32, Time>,
    order: BTreeSet<(Time, u32)>,
}

impl Expiries {
    pub(crate) const fn new() -> Self {
        Self { of: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// The message at `place` expires at `time`, instead of when it did before.
    pub(crate) fn set(&mut self, place: u32, time: Time) {
        self.remove(place);
        self.of.insert(place, time);
        self.order.insert((time, place));
    }

    /// The message at `place` does not expire, or is gone.
    #[inline]
    pub(crate) fn remove(&mut self, place: u32) {
        if self.of.is_empty() {
            return;
        }
        if let Some(time) = self.of.remove(&place) {
            self.order.remove(&(time, place));
        }
    }

    /// When the message at `place` expires.
    pub(crate) fn get(&self, place: u32) -> Option<Time> {
        self.of.get(&place).copied()
    }

    /// The first that expires.
    #[inline]
    pub(crate) fn first(&self) -> Option<(Time, u32)> {
        // Nearly always there is none, and then this costs one look.
        if self.order.is_empty() { None } else { self.order.first().copied() }
    }
}
