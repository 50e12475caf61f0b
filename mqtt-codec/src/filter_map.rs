//! A map from Topic Filters to values, for finding all that match a Topic Name.

mod arena;
mod walk;

use alloc::vec::Vec;
use core::{
    fmt,
    hash::{Hash, Hasher},
    iter::FusedIterator,
    mem,
};

use crate::{TopicFilter, TopicFilterRef, TopicNameRef};
use arena::{Arena, ROOT};
use walk::Walk;

/// A map from Topic Filters to values that finds all filters that match a Topic Name.
///
/// It is a trie of topic levels. To find the filters that match a topic costs as much as the topic has levels,
/// times the ways in which `+` lets filters match it; it does not depend on how many other filters there are.
/// Nothing is allocated for it, and nothing here recurses, however many levels a filter has.
///
/// ```
/// use mqtt_codec::{FilterMap, TopicError, TopicFilter, TopicName};
///
/// let mut readers = FilterMap::new();
/// readers.insert(TopicFilter::new("plant/+/temperature")?, "thermometer");
/// readers.insert(TopicFilter::new("plant/#")?, "archive");
/// readers.insert(TopicFilter::new("office/#")?, "other");
///
/// let topic = TopicName::new("plant/7/temperature")?;
/// let mut found: Vec<_> = readers.matches(&topic).copied().collect();
/// found.sort();
/// assert_eq!(found, ["archive", "thermometer"]);
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone)]
pub struct FilterMap<T> {
    arena: Arena<Entry<T>>,
    len: usize,
}

#[derive(Clone)]
struct Entry<T> {
    filter: TopicFilter,
    value: T,
}

impl<T> FilterMap<T> {
    /// Makes an empty map; it allocates when something is inserted.
    #[must_use]
    pub const fn new() -> Self {
        Self { arena: Arena::new(), len: 0 }
    }

    /// Maps `filter` to `value` and returns the value that it was mapped to before.
    pub fn insert(&mut self, filter: impl Into<TopicFilter>, value: T) -> Option<T> {
        let filter = filter.into();
        let mut node = ROOT;
        for level in levels(filter.as_bytes()) {
            node = self.arena.child_or_insert(node, level);
        }
        let slot = self.arena.entry_mut(node)?;
        match slot {
            Some(entry) => Some(mem::replace(&mut entry.value, value)),
            None => {
                *slot = Some(Entry { filter, value });
                self.len += 1;
                None
            }
        }
    }

    /// Removes `filter` and returns the value that it was mapped to.
    ///
    /// What only this filter needed is freed.
    pub fn remove<'f>(&mut self, filter: impl Into<TopicFilterRef<'f>>) -> Option<T> {
        let node = self.find(filter.into())?;
        let entry = self.arena.entry_mut(node)?.take()?;
        self.len -= 1;
        self.arena.prune(node);
        Some(entry.value)
    }

    /// Removes all filters.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns the value that a filter matching `topic` is mapped to, for all such filters, each once.
    ///
    /// A filter that begins with a wildcard does not match a topic that begins with `$` [MQTT-4.7.2-1].
    #[inline]
    #[must_use]
    pub fn matches<'t>(&self, topic: impl Into<TopicNameRef<'t>>) -> Matches<'_, 't, T> {
        Matches { arena: &self.arena, walk: Walk::new(topic.into()) }
    }

    /// Calls `found` with every filter that matches `topic` and its value, which it may change.
    pub fn for_each_match_mut<'t>(
        &mut self,
        topic: impl Into<TopicNameRef<'t>>,
        mut found: impl FnMut(&TopicFilter, &mut T),
    ) {
        let mut walk = Walk::new(topic.into());
        while let Some(node) = walk.next(&self.arena) {
            if let Some(Some(Entry { filter, value })) = self.arena.entry_mut(node) {
                found(filter, value);
            }
        }
    }

    /// Returns the value that this very filter is mapped to.
    #[must_use]
    pub fn get<'f>(&self, filter: impl Into<TopicFilterRef<'f>>) -> Option<&T> {
        let node = self.find(filter.into())?;
        self.arena.entry(node).map(|entry| &entry.value)
    }

    /// Returns the value that this very filter is mapped to, to be changed.
    #[must_use]
    pub fn get_mut<'f>(&mut self, filter: impl Into<TopicFilterRef<'f>>) -> Option<&mut T> {
        let node = self.find(filter.into())?;
        self.arena.entry_mut(node)?.as_mut().map(|entry| &mut entry.value)
    }

    /// Returns whether this very filter is in the map.
    #[must_use]
    pub fn contains<'f>(&self, filter: impl Into<TopicFilterRef<'f>>) -> bool {
        self.get(filter).is_some()
    }

    /// Returns the number of filters.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no filter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Yields all filters with their values, in no particular order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { entries: self.arena.entries(), left: self.len }
    }

    fn find(&self, filter: TopicFilterRef<'_>) -> Option<usize> {
        levels(filter.as_bytes()).try_fold(ROOT, |node, level| self.arena.child(node, level))
    }
}

/// Splits a topic into its levels.
fn levels(topic: &[u8]) -> impl Iterator<Item = &[u8]> {
    topic.split(|&byte| byte == b'/')
}

impl<T> Default for FilterMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for FilterMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Two maps are equal when they map the same filters to equal values, in whatever order they were inserted.
impl<T: PartialEq> PartialEq for FilterMap<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().all(|(filter, value)| other.get(filter) == Some(value))
    }
}

impl<T: Eq> Eq for FilterMap<T> {}

impl<T: Hash> Hash for FilterMap<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by_key(|(filter, _)| *filter);
        entries.hash(state);
    }
}

impl<T> Extend<(TopicFilter, T)> for FilterMap<T> {
    fn extend<I: IntoIterator<Item = (TopicFilter, T)>>(&mut self, entries: I) {
        for (filter, value) in entries {
            self.insert(filter, value);
        }
    }
}

impl<T> FromIterator<(TopicFilter, T)> for FilterMap<T> {
    fn from_iter<I: IntoIterator<Item = (TopicFilter, T)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<'m, T> IntoIterator for &'m FilterMap<T> {
    type Item = (&'m TopicFilter, &'m T);
    type IntoIter = Iter<'m, T>;

    fn into_iter(self) -> Iter<'m, T> {
        self.iter()
    }
}

/// Yields the values of the filters that match a Topic Name, in no particular order; see [`FilterMap::matches`].
pub struct Matches<'m, 't, T> {
    arena: &'m Arena<Entry<T>>,
    walk: Walk<'t>,
}

impl<'m, T> Iterator for Matches<'m, '_, T> {
    type Item = &'m T;

    #[inline]
    fn next(&mut self) -> Option<&'m T> {
        let node = self.walk.next(self.arena)?;
        self.arena.entry(node).map(|entry| &entry.value)
    }
}

impl<T> FusedIterator for Matches<'_, '_, T> {}

impl<T> Clone for Matches<'_, '_, T> {
    fn clone(&self) -> Self {
        Self { arena: self.arena, walk: self.walk.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Matches<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Yields the filters of a [`FilterMap`] with their values.
pub struct Iter<'m, T> {
    entries: arena::Entries<'m, Entry<T>>,
    left: usize,
}

impl<'m, T> Iterator for Iter<'m, T> {
    type Item = (&'m TopicFilter, &'m T);

    fn next(&mut self) -> Option<Self::Item> {
        let Entry { filter, value } = self.entries.next()?;
        self.left -= 1;
        Some((filter, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
impl<T> FusedIterator for Iter<'_, T> {}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), left: self.left }
    }
}

impl<T: fmt::Debug> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}
