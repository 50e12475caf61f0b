use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use mqtt_codec::{ConnectReturnCode, OwnedConnect, ProtocolVersion, QoS, TopicFilter};

type Authenticate = Arc<dyn Fn(&OwnedConnect) -> ConnectReturnCode + Send + Sync>;

/// How many copies of a message go to a Session with several matching subscriptions (section 3.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overlapping {
    /// One copy, with the greatest QoS of the matching subscriptions [MQTT-3.3.5-1].
    #[default]
    Once,
    /// One copy for each matching subscription, with the QoS of that subscription.
    Each,
}

/// How a [`Broker`](super::Broker) behaves while nothing goes wrong, and how much it keeps.
///
/// They can be changed at any time, with [`Broker::set_options`](super::Broker::set_options).
#[derive(Clone)]
pub struct BrokerOptions {
    pub(super) max_in_flight: u16,
    pub(super) max_queue_len: usize,
    pub(super) max_queue_bytes: usize,
    pub(super) max_output_len: usize,
    pub(super) max_packet_size: usize,
    pub(super) max_retained: usize,
    pub(super) max_log_len: usize,
    pub(super) max_qos: QoS,
    pub(super) overlapping: Overlapping,
    pub(super) queue_qos0: bool,
    pub(super) only_version: Option<ProtocolVersion>,
    pub(super) closes_other_versions: bool,
    pub(super) refused_filters: HashSet<TopicFilter>,
    users: BTreeMap<String, Vec<u8>>,
    authenticate: Option<Authenticate>,
}

impl BrokerOptions {
    /// Makes options with the default values.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_in_flight: 20,
            max_queue_len: 100_000,
            max_queue_bytes: 64 << 20,
            max_output_len: 16 << 20,
            max_packet_size: 16 << 20,
            max_retained: 100_000,
            max_log_len: 10_000,
            max_qos: QoS::ExactlyOnce,
            overlapping: Overlapping::default(),
            queue_qos0: false,
            only_version: None,
            closes_other_versions: false,
            refused_filters: HashSet::new(),
            users: BTreeMap::new(),
            authenticate: None,
        }
    }

    /// Sets how many messages of QoS 1 and 2 one Session may have in flight to its client; 0 counts as 1.
    ///
    /// Default: 20.
    #[must_use]
    pub fn max_in_flight(self, messages: u16) -> Self {
        Self { max_in_flight: messages.max(1), ..self }
    }

    /// Sets how many messages may wait in one Session, in number and in bytes of payload and topic.
    ///
    /// What does not fit is dropped and [counted](super::Counters::queue_drops). Default: 100 000 and 64 MiB.
    #[must_use]
    pub fn max_queue(self, messages: usize, bytes: usize) -> Self {
        Self { max_queue_len: messages, max_queue_bytes: bytes, ..self }
    }

    /// Sets how many bytes may wait for one connection to take them.
    ///
    /// Above it, messages of QoS 0 to that connection are dropped and [counted](super::Counters::qos0_drops), and
    /// nothing is read from it. Default: 16 MiB.
    #[must_use]
    pub fn max_output_len(self, bytes: usize) -> Self {
        Self { max_output_len: bytes, ..self }
    }

    /// Sets the length of the longest packet that is accepted; a longer one ends the connection. Default: 16 MiB.
    #[must_use]
    pub fn max_packet_size(self, bytes: usize) -> Self {
        Self { max_packet_size: bytes, ..self }
    }

    /// Sets how many retained messages are kept; further ones are not retained. Default: 100 000.
    #[must_use]
    pub fn max_retained(self, messages: usize) -> Self {
        Self { max_retained: messages, ..self }
    }

    /// Sets how many packets the [log](super::Broker::log) keeps; 0 switches it off. Default: 10 000.
    ///
    /// Besides, it keeps no more than 64 MiB of packets.
    #[must_use]
    pub fn max_log_len(self, packets: usize) -> Self {
        Self { max_log_len: packets, ..self }
    }

    /// Sets the greatest QoS that a subscription is granted [MQTT-3.8.4-6]. Default: 2.
    #[must_use]
    pub fn max_qos(self, qos: QoS) -> Self {
        Self { max_qos: qos, ..self }
    }

    /// Sets what overlapping subscriptions get (section 3.3.5). Default: [`Overlapping::Once`].
    #[must_use]
    pub fn overlapping(self, overlapping: Overlapping) -> Self {
        Self { overlapping, ..self }
    }

    /// Sets whether messages of QoS 0 are kept for a client that is away. Default: no.
    #[must_use]
    pub fn queue_qos0(self, queue: bool) -> Self {
        Self { queue_qos0: queue, ..self }
    }

    /// Accepts one version of the protocol alone; another is refused with return code 1 [MQTT-3.1.2-2].
    ///
    /// Default: both versions are accepted.
    #[must_use]
    pub fn only_version(self, version: ProtocolVersion) -> Self {
        Self { only_version: Some(version), ..self }
    }

    /// Sets whether the connection of a client whose version is not accepted is closed without an answer, as some
    /// old servers do. Default: no, it is refused.
    #[must_use]
    pub fn close_other_versions(self, close: bool) -> Self {
        Self { closes_other_versions: close, ..self }
    }

    /// Refuses subscriptions to this very filter, with 0x80 in SUBACK.
    ///
    /// MQTT 3.1 cannot refuse: there it is granted and never gets a message.
    #[must_use]
    pub fn refuse_filter(mut self, filter: TopicFilter) -> Self {
        self.refused_filters.insert(filter);
        self
    }

    /// Allows a user; from the first one on, nobody else is allowed.
    ///
    /// Without credentials a client is refused with return code 5, with wrong ones with 4.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        self.users.insert(name.into(), password.into());
        self
    }

    /// Asks `check` whether a client may connect, after the users were checked.
    #[must_use]
    pub fn authenticate(
        self,
        check: impl Fn(&OwnedConnect) -> ConnectReturnCode + Send + Sync + 'static,
    ) -> Self {
        Self { authenticate: Some(Arc::new(check)), ..self }
    }

    pub(super) fn check(&self, connect: &OwnedConnect) -> ConnectReturnCode {
        if self.only_version.is_some_and(|only| only != connect.version) {
            return ConnectReturnCode::UnacceptableProtocolVersion;
        }
        if !self.users.is_empty() {
            let Some(credentials) = &connect.credentials else {
                return ConnectReturnCode::NotAuthorized;
            };
            let password = credentials.password.as_ref().map_or(&[][..], |it| it.as_bytes());
            if self.users.get(credentials.username.as_str()).is_none_or(|right| right != password) {
                return ConnectReturnCode::BadUserNameOrPassword;
            }
        }
        self.authenticate.as_ref().map_or(ConnectReturnCode::Accepted, |check| check(connect))
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows the names of the users, not their passwords.
impl fmt::Debug for BrokerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerOptions")
            .field("max_in_flight", &self.max_in_flight)
            .field("max_queue_len", &self.max_queue_len)
            .field("max_queue_bytes", &self.max_queue_bytes)
            .field("max_output_len", &self.max_output_len)
            .field("max_packet_size", &self.max_packet_size)
            .field("max_retained", &self.max_retained)
            .field("max_log_len", &self.max_log_len)
            .field("max_qos", &self.max_qos)
            .field("overlapping", &self.overlapping)
            .field("queue_qos0", &self.queue_qos0)
            .field("only_version", &self.only_version)
            .field("closes_other_versions", &self.closes_other_versions)
            .field("refused_filters", &self.refused_filters)
            .field("users", &self.users.keys())
            .finish_non_exhaustive()
    }
}
