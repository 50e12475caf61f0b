//! The broker without sockets, clocks and tasks.

mod connection;
mod handle;
mod outgoing;
mod router;
mod session;
mod wire;

pub use connection::{CloseReason, ConnectionId};
pub use session::SessionInfo;

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use mqtt_codec::{MqttString, OwnedPacket, QoS, TopicName};

use super::{BrokerOptions, Counters, Faults, LogEntry, OnReceive, OnSend, Overlapping};
use connection::{Connection, Phase};
use outgoing::{Message, Outgoing};
use router::Router;
use session::{Session, SessionKey};
use wire::{Ended, Wire};

/// An MQTT 3.1 and 3.1.1 broker in memory, without sockets, clocks and tasks. **For tests only.**
///
/// It does what the standard demands of a Server, for clients of both versions together, until
/// [faults](Faults) are set, and offers `$share/group/filter` as many do: the members of a group get the messages in turn,
/// whether they are there or away. The caller moves the bytes and tells the time:
///
/// - what comes in: [`connect_transport`](Self::connect_transport), [`handle_input`](Self::handle_input),
///   [`transport_closed`](Self::transport_closed), [`handle_time`](Self::handle_time);
/// - what goes out: [`take_output`](Self::take_output), [`is_closed`](Self::is_closed),
///   [`wants_input`](Self::wants_input), [`poll_ready`](Self::poll_ready),
///   [`poll_timeout`](Self::poll_timeout);
/// - what goes wrong: [`set_faults`](Self::set_faults), [`cut`](Self::cut),
///   [`forget_sessions`](Self::forget_sessions), [`send`](Self::send), [`send_raw`](Self::send_raw);
/// - what can be seen: [`log`](Self::log), [`counters`](Self::counters), [`sessions`](Self::sessions),
///   [`retained`](Self::retained), [`close_reason`](Self::close_reason).
///
/// All effects on all connections have happened when a call returns. No call panics, whatever the bytes.
///
/// ```
/// use mqtt_tokio::testing::Broker;
///
/// let mut broker = Broker::new();
/// let connection = broker.connect_transport();
/// broker.handle_input(connection, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a");
/// assert_eq!(broker.take_output(connection), &[0x20, 0x02, 0x00, 0x00][..]);
/// broker.handle_input(connection, &[0xc0, 0x00]);
/// assert_eq!(broker.take_output(connection), &[0xd0, 0x00][..]);
/// ```
#[derive(Debug)]
pub struct Broker {
    wire: Wire,
    router: Router,
    sessions: HashMap<SessionKey, Session>,
    /// The Session of each client identifier [MQTT-3.1.3-2].
    keys: HashMap<MqttString, SessionKey>,
    next_session: u64,
    next_client: u64,
    /// Kept between messages, so that finding their receivers allocates nothing.
    receivers: Vec<(SessionKey, QoS)>,
}

/// Connections, bytes and time.
impl Broker {
    /// Makes a broker with the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(BrokerOptions::new())
    }

    /// Makes a broker.
    #[must_use]
    pub fn with_options(options: BrokerOptions) -> Self {
        Self {
            wire: Wire::new(options),
            router: Router::default(),
            sessions: HashMap::new(),
            keys: HashMap::new(),
            next_session: 0,
            next_client: 0,
            receivers: Vec::new(),
        }
    }

    /// Lets a client open a Network Connection; nothing is sent or expected before its CONNECT.
    pub fn connect_transport(&mut self) -> ConnectionId {
        self.wire.open()
    }

    /// Takes bytes from a connection, in whatever pieces they come, and handles the packets that are complete.
    ///
    /// A connection that ended, or never was, takes no notice. Without [`wants_input`](Self::wants_input) the
    /// bytes are kept all the same.
    pub fn handle_input(&mut self, id: ConnectionId, bytes: &[u8]) {
        let cut = self.wire.receive(id, bytes);
        self.process(id);
        if cut {
            self.wire.close(id, CloseReason::Cut);
            self.settle();
        }
    }

    /// Tells that the transport is closed: the end without DISCONNECT, unless the connection ended before.
    ///
    /// The will is published [MQTT-3.1.2-8], and what was not sent yet is dropped.
    pub fn transport_closed(&mut self, id: ConnectionId) {
        self.wire.close(id, CloseReason::TransportClosed);
        self.wire.connections.remove(&id);
        self.settle();
    }

    /// Tells the time since an origin of the caller's choice; it never goes back.
    ///
    /// Connections that were silent for one and a half times their keep alive are closed [MQTT-3.1.2-24], and
    /// packets that a fault delays are sent when they are due.
    pub fn handle_time(&mut self, now: Duration) {
        self.wire.handle_time(now);
        self.settle();
    }

    /// Returns when [`handle_time`](Self::handle_time) has something to do, if nothing comes in before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.wire.connections.values().filter_map(Connection::deadline).min()
    }

    /// Returns what [`poll_timeout`](Self::poll_timeout) returns, as far as it concerns this connection.
    #[must_use]
    pub fn timeout(&self, id: ConnectionId) -> Option<Duration> {
        self.wire.connections.get(&id).and_then(Connection::deadline)
    }

    /// Takes the next connection that has output, or a new timeout, or has ended; each is named once.
    ///
    /// For callers that serve many connections; others need not call it.
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.wire.next_ready()
    }

    /// Takes all bytes that have to be written to a connection.
    pub fn take_output(&mut self, id: ConnectionId) -> Bytes {
        self.wire.take_output(id)
    }

    /// Lends the bytes that [`take_output`](Self::take_output) would take.
    #[must_use]
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        self.wire.connections.get(&id).map_or(&[], |it| &it.output)
    }

    /// Returns whether the transport has to be closed, once its output is written.
    #[must_use]
    pub fn is_closed(&self, id: ConnectionId) -> bool {
        self.wire.connections.get(&id).is_none_or(|it| !it.is_open())
    }

    /// Returns whether the connection should be read: not while its output piles up, nor while a fault says so.
    #[must_use]
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        self.wire.reads(id) && !self.wire.is_congested(id)
    }
}

/// Hooks: what goes wrong, and what comes from the broker itself.
impl Broker {
    /// Changes options: `broker.set_options(|it| it.max_in_flight(1))`.
    ///
    /// A smaller limit takes nothing away that is there; it holds for what comes.
    pub fn set_options(&mut self, change: impl FnOnce(BrokerOptions) -> BrokerOptions) {
        self.wire.options = change(std::mem::take(&mut self.wire.options));
        let keys: Vec<_> = self.sessions.keys().copied().collect();
        for key in keys {
            self.pump(key);
        }
        self.settle();
    }

    /// Sets what goes wrong on all connections, from now on and instead of what was set before.
    pub fn set_faults(&mut self, faults: Faults) {
        self.wire.faults = faults;
        let ids: Vec<_> = self.wire.connections.keys().copied().collect();
        for id in ids {
            self.wire.mark_ready(id);
            self.process(id);
        }
    }

    /// Sets what goes wrong on one connection, from now on and instead of what was set for it before.
    pub fn set_connection_faults(&mut self, id: ConnectionId, faults: Faults) {
        if let Some(connection) = self.wire.connection(id) {
            connection.faults = faults;
            self.wire.mark_ready(id);
            self.process(id);
        }
    }

    /// Cuts a connection: it ends without DISCONNECT, and what was not taken of its output is lost.
    pub fn cut(&mut self, id: ConnectionId) {
        if let Some(connection) = self.wire.connection(id) {
            connection.output.clear();
            self.wire.close(id, CloseReason::Cut);
            self.settle();
        }
    }

    /// Cuts a connection as [`cut`](Self::cut) does; over TCP the client sees a reset instead of an end.
    pub fn reset(&mut self, id: ConnectionId) {
        if let Some(connection) = self.wire.connection(id) {
            connection.output.clear();
            self.wire.close(id, CloseReason::Reset);
            self.settle();
        }
    }

    /// Cuts all connections.
    pub fn cut_all(&mut self) {
        let ids: Vec<_> = self.wire.connections.keys().copied().collect();
        for id in ids {
            self.cut(id);
        }
    }

    /// Loses all Sessions, as a broker does that was restarted without its memory.
    ///
    /// The Session of a client that is connected is lost when that connection ends.
    pub fn forget_sessions(&mut self) {
        let keys: Vec<_> = self.sessions.keys().copied().collect();
        for key in keys {
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            session.clean = true;
            if session.connection.is_none() {
                self.remove_session(key);
            }
        }
    }

    /// Removes all retained messages.
    pub fn clear_retained(&mut self) {
        self.router.clear_retained();
    }

    /// Publishes a message as if a client had.
    pub fn publish(&mut self, topic: TopicName, payload: impl Into<Bytes>, qos: QoS, retain: bool) {
        self.route(Message { topic, payload: payload.into(), qos, retain });
        self.settle();
    }

    /// Sends a packet that no Session knows of; faults apply to it.
    ///
    /// A packet whose list is empty cannot be sent, and is not.
    pub fn send(&mut self, id: ConnectionId, packet: OwnedPacket) {
        self.wire.send(id, packet);
        self.settle();
    }

    /// Sends bytes, whatever they are.
    pub fn send_raw(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.wire.send_raw(id, bytes);
        self.settle();
    }
}

/// Inspection.
impl Broker {
    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &BrokerOptions {
        &self.wire.options
    }

    /// Yields the latest packets that were received and sent, the oldest first.
    ///
    /// A received packet is there even if a fault let it have no effect; a packet that a fault kept from being
    /// sent is not. How many are kept is an [option](BrokerOptions::max_log_len).
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.wire.log.iter()
    }

    /// Forgets the packets of the [log](Self::log).
    pub fn clear_log(&mut self) {
        self.wire.log.clear();
    }

    /// Returns what was counted since the broker was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.wire.counters
    }

    /// Yields the connections that have not ended, the oldest first.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.wire.connections.iter().filter(|(_, it)| it.is_open()).map(|(id, _)| *id)
    }

    /// Returns the connection of a client, while it has one.
    #[must_use]
    pub fn connection_of(&self, client_id: &str) -> Option<ConnectionId> {
        self.session(client_id)?.connection
    }

    /// Returns why a connection ended; the latest 10 000 are remembered.
    #[must_use]
    pub fn close_reason(&self, id: ConnectionId) -> Option<CloseReason> {
        self.wire.ends.iter().rev().find(|(ended, _)| *ended == id).map(|(_, reason)| *reason)
    }

    /// Returns all Sessions, ordered by their client identifiers.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions: Vec<_> = self.sessions.values().map(Session::info).collect();
        sessions.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        sessions
    }

    /// Returns the Session of a client.
    #[must_use]
    pub fn session(&self, client_id: &str) -> Option<SessionInfo> {
        let client_id = MqttString::try_from(client_id).ok()?;
        self.session_of(&client_id).map(Session::info)
    }

    /// Returns the retained messages, ordered by topic, with the QoS that each was published with.
    #[must_use]
    pub fn retained(&self) -> Vec<(TopicName, Bytes, QoS)> {
        self.router.retained().map(|it| (it.topic.clone(), it.payload.clone(), it.qos)).collect()
    }
}

impl Broker {
    fn session_of(&self, client_id: &MqttString) -> Option<&Session> {
        self.keys.get(client_id).and_then(|key| self.sessions.get(key))
    }

    fn outgoing<T>(&mut self, key: SessionKey, call: impl FnOnce(&mut Outgoing) -> T) -> Option<T> {
        self.sessions.get_mut(&key).map(|session| call(&mut session.outgoing))
    }

    /// Draws the consequences of connections that ended, until there are no further ones.
    fn settle(&mut self) {
        while let Some(Ended { id, phase, reason }) = self.wire.ended.pop_front() {
            let Phase::Connected { session: key, will } = phase else { continue };
            if let Some(session) = self.sessions.get_mut(&key).filter(|it| it.connection == Some(id)) {
                session.connection = None;
                if session.clean {
                    self.remove_session(key);
                }
            }
            if let Some(will) = will.filter(|_| reason != CloseReason::Disconnect) {
                self.route(will);
            }
        }
    }

    fn remove_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.remove(&key) else { return };
        self.keys.remove(&session.client_id);
        for filter in session.subscriptions.keys() {
            self.router.unsubscribe(filter, key);
        }
    }

    /// Retains the message, if it says so, and gives it to all that subscribed to it.
    fn route(&mut self, message: Message) {
        if message.retain {
            self.router.retain(&message, self.wire.options.max_retained);
        }
        let mut receivers = std::mem::take(&mut self.receivers);
        self.router.receivers(&message.topic, self.wire.options.overlapping, &mut receivers);
        for (key, granted) in receivers.drain(..) {
            // A message that goes to established subscriptions has RETAIN 0 [MQTT-3.3.1-9].
            let qos = message.qos.min(granted);
            self.deliver(key, Message { qos, retain: false, ..message.clone() });
        }
        self.receivers = receivers;
    }

    /// Sends the message to the client, or keeps it until it can be sent.
    fn deliver(&mut self, key: SessionKey, message: Message) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let id = session.connection.filter(|id| self.wire.connection(*id).is_some());
        let is_qos0 = message.qos == QoS::AtMostOnce;
        let waiting = match id {
            Some(id) if is_qos0 => {
                if self.wire.is_congested(id) {
                    self.wire.counters.qos0_drops += 1;
                } else {
                    self.wire.send(id, OwnedPacket::Publish(message.at_most_once()));
                }
                return;
            }
            None if is_qos0 && !self.wire.options.queue_qos0 => return,
            Some(id) => match session.outgoing.start(message, self.wire.options.max_in_flight) {
                Ok(publish) => return self.wire.send(id, OwnedPacket::Publish(publish)),
                Err(message) => message,
            },
            None => message,
        };
        let BrokerOptions { max_queue_len, max_queue_bytes, .. } = self.wire.options;
        if !session.outgoing.enqueue(waiting, max_queue_len, max_queue_bytes) {
            self.wire.counters.queue_drops += 1;
        }
    }

    /// Sends what waits, as far as there are places in flight.
    fn pump(&mut self, key: SessionKey) {
        while let Some(id) = self.sessions.get(&key).and_then(|it| it.connection) {
            if self.wire.connection(id).is_none() {
                return;
            }
            let max_in_flight = self.wire.options.max_in_flight;
            let Some(publish) = self.outgoing(key, |it| it.next_queued(max_in_flight)).flatten() else {
                return;
            };
            self.wire.send(id, OwnedPacket::Publish(publish));
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}
