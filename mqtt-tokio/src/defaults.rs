//! What QoS and RETAIN are for messages that do not say so.

use mqtt_client::{Message, QoS, TopicFilter};
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

    /// Gives the message the QoS and RETAIN of the first rule whose filter matches its topic.
    #[inline]
    pub(crate) fn apply(&self, message: &mut Message) {
        if self.count > 0 {
            let first = self.rules.matches(message.topic.as_ref()).min_by_key(|rule| rule.number);
            if let Some(rule) = first {
                (message.qos, message.retain) = (rule.qos, rule.retain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt_client::TopicName;

    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let mut defaults = PublishDefaults::default();
        let of = |defaults: &PublishDefaults, topic: &str| {
            let mut message = Message::new(TopicName::new(topic).unwrap(), "x");
            defaults.apply(&mut message);
            (message.qos as u8, message.retain)
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
