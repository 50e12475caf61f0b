//! Who gets a message: subscriptions and retained messages (sections 3.3.1.3 and 4.7).

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

use bytes::Bytes;
use mqtt_codec::{FilterMap, QoS, TopicFilter, TopicName};

use super::{Overlapping, outgoing::Message, session::SessionKey};

#[derive(Debug, Default)]
pub(super) struct Router {
    /// The Sessions that subscribed to each filter, with the QoS that each was granted.
    subscriptions: FilterMap<BTreeMap<SessionKey, QoS>>,
    /// The shared subscriptions to each filter, by what was subscribed to: `$share/group/filter`.
    shared: FilterMap<BTreeMap<TopicFilter, Group>>,
    /// Retained messages by topic.
    retained: BTreeMap<Bytes, Message>,
}

/// Who shares a subscription: each message goes to one, in turn.
#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<SessionKey, QoS>,
    latest: Option<SessionKey>,
}

impl Group {
    fn next(&mut self) -> Option<(SessionKey, QoS)> {
        let behind = self.latest.map_or(Unbounded, Excluded);
        let next = self.members.range((behind, Unbounded)).next().or_else(|| self.members.first_key_value());
        let (session, qos) = next?;
        self.latest = Some(*session);
        Some((*session, *qos))
    }
}

/// The filter that a shared subscription is for. Other prefixes mean nothing here.
fn shared(filter: &TopicFilter) -> Option<TopicFilter> {
    filter.as_bytes().starts_with(b"$share/").then(|| filter.without_prefix()).flatten()
}

impl Router {
    pub(super) fn subscribe(&mut self, filter: &TopicFilter, session: SessionKey, qos: QoS) {
        if let Some(behind) = shared(filter) {
            if !self.shared.contains(&behind) {
                self.shared.insert(behind.clone(), BTreeMap::new());
            }
            if let Some(groups) = self.shared.get_mut(&behind) {
                groups.entry(filter.clone()).or_default().members.insert(session, qos);
            }
            return;
        }
        match self.subscriptions.get_mut(filter) {
            Some(sessions) => {
                sessions.insert(session, qos);
            }
            None => {
                self.subscriptions.insert(filter, BTreeMap::from([(session, qos)]));
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, filter: &TopicFilter, session: SessionKey) {
        if let Some(behind) = shared(filter) {
            let Some(groups) = self.shared.get_mut(&behind) else { return };
            let left = groups.get_mut(filter).map(|group| {
                group.members.remove(&session);
                group.members.len()
            });
            if left == Some(0) {
                groups.remove(filter);
            }
            if groups.is_empty() {
                self.shared.remove(&behind);
            }
            return;
        }
        if let Some(sessions) = self.subscriptions.get_mut(filter) {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.subscriptions.remove(filter);
            }
        }
    }

    /// Fills `receivers` with the Sessions that get a message on `topic`, in the order of their keys.
    pub(super) fn receivers(
        &mut self,
        topic: &TopicName,
        overlapping: Overlapping,
        receivers: &mut Vec<(SessionKey, QoS)>,
    ) {
        for sessions in self.subscriptions.matches(topic) {
            receivers.extend(sessions.iter().map(|(session, qos)| (*session, *qos)));
        }
        self.shared.for_each_match_mut(topic, |_, groups| {
            receivers.extend(groups.values_mut().filter_map(Group::next));
        });
        // The greatest QoS of a Session comes first, and alone where one copy is wanted [MQTT-3.3.5-1].
        receivers.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        if overlapping == Overlapping::Once {
            receivers.dedup_by_key(|(session, _)| *session);
        }
    }

    /// Stores a message as the retained one of its topic; an empty one removes it [MQTT-3.3.1-5] [MQTT-3.3.1-11].
    pub(super) fn retain(&mut self, message: &Message, max_retained: usize) {
        if message.payload.is_empty() {
            self.retained.remove(message.topic.as_bytes());
        } else if self.retained.len() < max_retained || self.retained.contains_key(message.topic.as_bytes()) {
            // A copy: a slice would keep all that came with it.
            let topic = message.topic.as_ref().to_owned();
            let payload = Bytes::copy_from_slice(&message.payload);
            let key = topic.bytes().clone();
            self.retained.insert(key, Message { topic, payload, qos: message.qos, retain: true });
        }
    }

    pub(super) fn retained(&self) -> impl Iterator<Item = &Message> {
        self.retained.values()
    }

    pub(super) fn clear_retained(&mut self) {
        self.retained.clear();
    }

    /// The retained messages that `filter` matches, in the order of their topics.
    /// None match one with a prefix, and a shared subscription is to get none.
    pub(super) fn retained_for(&self, filter: &TopicFilter) -> Vec<Message> {
        let filter_bytes = filter.as_bytes();
        let Some(wildcard) = filter_bytes.iter().position(|byte| matches!(byte, b'+' | b'#')) else {
            return self.retained.get(filter_bytes).cloned().into_iter().collect();
        };
        // `a/#` matches `a` as well, so that the separator is not part of what all topics begin with.
        let prefix = &filter_bytes[..wildcard];
        let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
        let from = if prefix.is_empty() { Unbounded } else { Included(prefix) };
        self.retained
            .range::<[u8], _>((from, Unbounded::<&[u8]>))
            .take_while(|(topic, _)| topic.starts_with(prefix))
            .filter(|(_, message)| filter.matches(&message.topic))
            .map(|(_, message)| message.clone())
            .collect()
    }
}
