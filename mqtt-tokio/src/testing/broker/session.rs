//! What outlives a connection: the Session (section 4.1).

use std::collections::{BTreeMap, HashSet};

use mqtt_codec::{MqttString, PacketId, QoS, TopicFilter};

use super::{ConnectionId, outgoing::Outgoing};

/// Names a Session within the broker, shorter than its client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey(pub(super) u64);

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: MqttString,
    /// Whether the Session ends with its connection.
    pub(super) clean: bool,
    pub(super) connection: Option<ConnectionId>,
    pub(super) subscriptions: BTreeMap<TopicFilter, QoS>,
    /// The identifiers of messages of QoS 2 that the client has not released yet [MQTT-4.3.3-2].
    pub(super) unreleased: HashSet<PacketId>,
    pub(super) outgoing: Outgoing,
}

impl Session {
    pub(super) fn new(client_id: MqttString) -> Self {
        Self {
            client_id,
            clean: true,
            connection: None,
            subscriptions: BTreeMap::new(),
            unreleased: HashSet::new(),
            outgoing: Outgoing::new(),
        }
    }

    pub(super) fn info(&self) -> SessionInfo {
        SessionInfo {
            client_id: self.client_id.clone(),
            clean: self.clean,
            connection: self.connection,
            subscriptions: self.subscriptions.iter().map(|(filter, qos)| (filter.clone(), *qos)).collect(),
            in_flight: self.outgoing.in_flight(),
            queued: self.outgoing.queued(),
            unreleased: self.unreleased.len(),
        }
    }
}

/// A Session as [`Broker::sessions`](super::Broker::sessions) shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The client identifier.
    pub client_id: MqttString,
    /// Whether the Session ends with its connection.
    pub clean: bool,
    /// The connection of the client, while it has one.
    pub connection: Option<ConnectionId>,
    /// The subscriptions with the QoS that was granted, ordered by filter.
    pub subscriptions: Vec<(TopicFilter, QoS)>,
    /// How many messages are on their way to the client: PUBLISH or PUBREL sent, not acknowledged.
    pub in_flight: usize,
    /// How many messages wait for the client or for a place in flight.
    pub queued: usize,
    /// How many messages of QoS 2 the client has published and not released.
    pub unreleased: usize,
}
