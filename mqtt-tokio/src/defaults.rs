//! What QoS and RETAIN are for messages that do not say so.

use mqtt_client::{QoS, TopicFilter, TopicNameRef};
use mqtt_codec::FilterMap;

/// Rules by Topic Filter, in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct PublishDefaults {
    rules: FilterMap<Rule>,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    number: usize,
    qos: QoS,
    retain: bool,
}

impl PublishDefaults {
    /// Adds a rule behind those that there are. A filter that has one already gets the new one in its place.
    pub(crate) fn add(&mut self, filter: TopicFilter, qos: QoS, retain: bool) {
        let number = self.rules.get(&filter).map_or(self.count, |rule| rule.number);
        self.count += 1;
        self.rules.insert(filter, Rule { number, qos, retain });
    }

    /// QoS and RETAIN of a message on this topic, by the first rule whose filter matches.
    // Who sets none pays for none: two values, not a message to be changed, which could not stay in registers.
    #[inline]
    pub(crate) fn of(&self, topic: TopicNameRef<'_>) -> (QoS, bool) {
        if self.count == 0 { (QoS::AtMostOnce, false) } else { self.find(topic) }
    }

    #[cold]
    fn find(&self, topic: TopicNameRef<'_>) -> (QoS, bool) {
        let first = self.rules.matches(topic).min_by_key(|rule| rule.number);
        first.map_or((QoS::AtMostOnce, false), |rule| (rule.qos, rule.retain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let mut defaults = PublishDefaults::default();
        let of = |defaults: &PublishDefaults, topic: &str| {
            let (qos, retain) = defaults.of(TopicNameRef::new(topic).unwrap());
            (qos as u8, retain)
        };
        let filter = |text: &str| TopicFilter::new(text).unwrap();
        assert_eq!(of(&defaults, "a/b"), (0, false));
        defaults.add(filter("a/+/alarm"), QoS::ExactlyOnce, false);
        defaults.add(filter("a/#"), QoS::AtLeastOnce, true);
        defaults.add(filter("a/b/#"), QoS::AtMostOnce, false);
        assert_eq!(of(&defaults, "a/b/alarm"), (2, false));
        assert_eq!(of(&defaults, "a/b"), (1, true));
        assert_eq!(of(&defaults, "b"), (0, false));
        // In its place, not behind the others.
        defaults.add(filter("a/+/alarm"), QoS::AtLeastOnce, false);
        assert_eq!(of(&defaults, "a/b/alarm"), (1, false));
    }
}
