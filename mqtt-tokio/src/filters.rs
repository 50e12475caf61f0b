//! The Topic Filters of all streams, and which of them a message is for.

use mqtt_client::{TopicFilter, TopicNameRef};
use mqtt_codec::FilterMap;

use crate::registry::Entry;

/// What there is for each Topic Filter.
#[derive(Default)]
pub(crate) struct Filters {
    entries: FilterMap<Entry>,
    /// The filters with a prefix, such as `$share/group/`, by what is behind it: by that their messages arrive.
    behind_prefix: FilterMap<Vec<TopicFilter>>,
}

impl Filters {
    pub(crate) fn insert(&mut self, filter: TopicFilter, entry: Entry) {
        if let Some(behind) = filter.without_prefix() {
            match self.behind_prefix.get_mut(&behind) {
                Some(whole) => whole.push(filter.clone()),
                None => drop(self.behind_prefix.insert(behind, vec![filter.clone()])),
            }
        }
        self.entries.insert(filter, entry);
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter) {
        if let Some(behind) = filter.without_prefix() {
            let whole = self.behind_prefix.get_mut(&behind);
            if whole.is_some_and(|whole| {
                whole.retain(|it| it != filter);
                whole.is_empty()
            }) {
                self.behind_prefix.remove(&behind);
            }
        }
        self.entries.remove(filter);
    }

    pub(crate) fn get(&self, filter: &TopicFilter) -> Option<&Entry> {
        self.entries.get(filter)
    }

    pub(crate) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut Entry> {
        self.entries.get_mut(filter)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The entries that a message on this topic can be for. A Server without shared subscriptions takes the prefix for a
    /// part of the topic, so that is looked for too.
    pub(crate) fn of<'a>(&'a self, topic: TopicNameRef<'a>) -> impl Iterator<Item = &'a Entry> {
        let whole = self.behind_prefix.matches(topic).flatten();
        self.entries.matches(topic).chain(whole.filter_map(|filter| self.entries.get(filter)))
    }
}

/// Whether messages on this topic are for who subscribed to the filter.
pub(crate) fn wants(filter: &TopicFilter, topic: TopicNameRef<'_>) -> bool {
    filter.matches(topic) || filter.without_prefix().is_some_and(|behind| behind.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_what_was_removed() {
        let mut filters = Filters::default();
        let names = ["$share/g/a", "$share/h/a", "$queue/a", "a"].map(|it| TopicFilter::new(it).unwrap());
        for filter in &names {
            filters.insert(filter.clone(), Entry::default());
        }
        let topic = TopicNameRef::new("a").unwrap();
        for left in (0..names.len()).rev() {
            filters.remove(&names[left]);
            assert_eq!(filters.of(topic).count(), left);
        }
        assert!(filters.entries.is_empty() && filters.behind_prefix.is_empty());
    }
}
