//! The subscriptions that the Server has granted.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mqtt_codec::{QoS, TopicFilter};

use super::journal::Journal;
use super::requests::Kind;

/// One SUBSCRIBE that the core makes on its own holds at most this many bytes of filters.
const MAX_REQUEST_SIZE: usize = 16 * 1024;

/// What is subscribed, with the QoS that was asked for: what to ask for again when the Server has lost the Session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subscriptions {
    filters: BTreeMap<TopicFilter, (u64, QoS)>,
    /// The number of the last one.
    last_number: u64,
}

impl Subscriptions {
    pub(crate) const fn new() -> Self {
        Self { filters: BTreeMap::new(), last_number: 0 }
    }

    pub(crate) fn insert(&mut self, filter: TopicFilter, qos: QoS, journal: &mut Journal) {
        let known = self.filters.get(&filter).copied();
        let number = known.map_or(self.last_number + 1, |(number, _)| number);
        if known != Some((number, qos)) {
            journal.subscribed(number, &filter, qos);
            self.restore(number, filter, qos);
        }
    }

    /// Puts back one from a stored Session; false if its filter is there already.
    pub(super) fn restore(&mut self, number: u64, filter: TopicFilter, qos: QoS) -> bool {
        self.last_number = self.last_number.max(number);
        self.filters.insert(filter, (number, qos)).is_none()
    }

    /// The number for the next one that is put back.
    pub(super) const fn next_number(&self) -> u64 {
        self.last_number + 1
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter, journal: &mut Journal) -> bool {
        let removed = self.filters.remove(filter);
        if let Some((number, _)) = removed {
            journal.unsubscribed(number);
        }
        removed.is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.filters.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &TopicFilter, QoS)> {
        self.filters.iter().map(|(filter, (number, qos))| (*number, filter, *qos))
    }

    /// The requests that ask for all of them again, each of a moderate size.
    pub(crate) fn to_requests(&self) -> Vec<Kind> {
        let mut requests = Vec::new();
        let mut filters = Vec::new();
        let mut size = 0;
        for (filter, (_, qos)) in &self.filters {
            let more = filter.len() + 3;
            if size + more > MAX_REQUEST_SIZE && !filters.is_empty() {
                requests.push(Kind::Resubscribe(core::mem::take(&mut filters)));
                size = 0;
            }
            size += more;
            filters.push((filter.clone(), *qos));
        }
        if !filters.is_empty() {
            requests.push(Kind::Resubscribe(filters));
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn many_subscriptions_become_several_requests() {
        let mut subscriptions = Subscriptions::new();
        for n in 0..3000 {
            let filter = TopicFilter::try_from(format!("building/{n}/+")).unwrap();
            subscriptions.insert(filter, QoS::AtLeastOnce, &mut Journal::new(false));
        }
        let requests = subscriptions.to_requests();
        assert!(requests.len() > 3);
        let all: usize = requests
            .iter()
            .map(|kind| match kind {
                Kind::Resubscribe(filters) => {
                    assert!(
                        filters.iter().map(|(filter, _)| filter.len() + 3).sum::<usize>() <= MAX_REQUEST_SIZE
                    );
                    filters.len()
                }
                _ => 0,
            })
            .sum();
        assert_eq!(all, 3000);
        assert!(Subscriptions::new().to_requests().is_empty());
    }
}
