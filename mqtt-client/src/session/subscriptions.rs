//! The subscriptions that the Server has granted.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mqtt_codec::{QoS, TopicFilter};

use super::requests::Kind;

/// One SUBSCRIBE that the core makes on its own holds at most this many bytes of filters.
const MAX_REQUEST_SIZE: usize = 16 * 1024;

/// What is subscribed, with the QoS that was asked for: what to ask for again when the Server has lost the Session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subscriptions {
    filters: BTreeMap<TopicFilter, QoS>,
}

impl Subscriptions {
    pub(crate) const fn new() -> Self {
        Self { filters: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, filter: TopicFilter, qos: QoS) {
        self.filters.insert(filter, qos);
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> bool {
        self.filters.remove(filter).is_some()
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, QoS)> {
        self.filters.iter().map(|(filter, qos)| (filter, *qos))
    }

    /// The requests that ask for all of them again, each of a moderate size.
    pub(crate) fn to_requests(&self) -> Vec<Kind> {
        let mut requests = Vec::new();
        let mut filters = Vec::new();
        let mut size = 0;
        for (filter, qos) in &self.filters {
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
            subscriptions.insert(filter, QoS::AtLeastOnce);
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
