//! Messages that no stream wants yet: the Server of a kept Session sends its queue right behind the CONNACK, before the
//! application of a process that has just started can have subscribed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mqtt_client::{AckMode, AckToken, Profile, ProtocolVersion, QoS, State, Time, TopicFilter};

use crate::builder::Builder;
use crate::client::Client;
use crate::filters::wants;
use crate::message::{Ack, ReceivedMessage};
use crate::notices::Notices;
use crate::registry::{Dispatched, Queue};
use crate::shared::{Inner, Phase, Shared};
use crate::status::Status;
use crate::subscription::{BUFFER_LEN, BUFFER_SIZE};

/// The default of [`Builder::claim_within`].
pub(crate) const CLAIM_WITHIN: Duration = Duration::from_secs(5);

impl Builder {
    /// How long messages that match no stream wait for one after the first CONNACK; default 5 s, and zero switches it
    /// off. See [After a restart](crate#after-a-restart).
    ///
    /// It concerns connections on which the Server can know subscriptions that this client did not make: those that
    /// continue a Session.
    #[must_use]
    pub fn claim_within(mut self, time: Duration) -> Self {
        self.claim_within = time;
        self
    }
}

impl<P: Profile> Client<P> {
    /// How many messages were dropped since the client was made, because no stream wanted them: all those that found
    /// none when they came, and were not [claimed](Builder::claim_within) in time if they could have been.
    pub fn unclaimed(&self) -> u64 {
        self.handle.shared().lock().unclaimed.dropped
    }
}

struct Held {
    message: ReceivedMessage,
    /// The acknowledgement that is due. Without one the message is ours alone: it has QoS 0, or is acknowledged.
    token: Option<AckToken>,
}

/// The messages that no stream wants yet, in the order of receipt.
///
/// They are not acknowledged, nor held in the sense of [`hold`](mqtt_client::Client::hold): if the connection is lost
/// the Server sends them again, and those of the old connection are forgotten.
pub(crate) struct Unclaimed {
    held: VecDeque<Held>,
    size: usize,
    /// What no stream wants is kept for the time being.
    open: bool,
    within: Duration,
    /// When the time is over; known from the first CONNACK on.
    until: Option<Time>,
    /// The client was given a Session: if the Server has none, the core makes its subscriptions again.
    continued: bool,
    /// How many connections the Server has accepted.
    connections: u64,
    pub(crate) dropped: u64,
    /// Those dropped of what was kept, since the application was last told.
    untold: u64,
}

impl Unclaimed {
    pub(crate) const fn new(within: Duration, continued: bool) -> Self {
        Self {
            held: VecDeque::new(),
            size: 0,
            open: false,
            within,
            until: None,
            continued,
            connections: 0,
            dropped: 0,
            untold: 0,
        }
    }

    /// Whether what no stream wants is kept.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// No stream wanted a message, and none is waited for.
    #[cold]
    pub(crate) const fn count(&mut self) {
        self.dropped += 1;
    }

    fn is_full(&self) -> bool {
        self.held.len() >= BUFFER_LEN || self.size >= BUFFER_SIZE
    }

    fn push(&mut self, held: Held) {
        self.size += held.message.size();
        self.held.push_back(held);
    }

    fn take_all(&mut self) -> VecDeque<Held> {
        self.size = 0;
        std::mem::take(&mut self.held)
    }

    /// The Server sends again what it has no acknowledgement for.
    fn forget_unacknowledged(&mut self) {
        for held in self.take_all() {
            if held.token.is_none() {
                self.push(held);
            }
        }
    }
}

impl Inner {
    /// The Server has accepted a connection.
    pub(crate) fn open_claims(&mut self, session_present: bool, now: Time) {
        // MQTT 3.1 does not tell.
        let silent = self.core.version() == ProtocolVersion::V3_1 && !self.core.options().is_clean_session();
        let unclaimed = &mut self.unclaimed;
        unclaimed.forget_unacknowledged();
        unclaimed.connections += 1;
        let until = *unclaimed.until.get_or_insert(now + unclaimed.within);
        unclaimed.open = (session_present || silent || unclaimed.continued) && now < until;
    }

    /// Keeps a message that no stream wants. If there is no room, the oldest one goes; but a message with QoS 0, which
    /// the Server would hardly have kept, takes the place of none with QoS 1 or 2.
    #[cold]
    pub(crate) fn keep_unclaimed(&mut self, message: ReceivedMessage, token: Option<AckToken>) {
        while self.unclaimed.is_full() {
            let held = &mut self.unclaimed.held;
            let oldest = held.iter().position(|held| held.message.qos() == QoS::AtMostOnce);
            if oldest.is_none() && message.qos() == QoS::AtMostOnce {
                self.drop_unclaimed(token);
                return;
            }
            let Some(held) = held.remove(oldest.unwrap_or(0)) else { break };
            self.unclaimed.size -= held.message.size();
            self.drop_unclaimed(held.token);
        }
        self.unclaimed.push(Held { message, token });
    }

    /// Nobody gets a message: it is acknowledged all the same [MQTT-4.5.0-2].
    fn drop_unclaimed(&mut self, token: Option<AckToken>) {
        self.unclaimed.dropped += 1;
        self.unclaimed.untold += 1;
        if let Some(token) = token {
            let _ = self.core.acknowledge(token);
        }
    }

    /// Gives a new stream those messages that it would have got. If there are any, returns the number of the connection,
    /// for [`put_back`](Self::put_back).
    pub(crate) fn claim(
        &mut self,
        shared: &Arc<Shared>,
        filters: &[TopicFilter],
        queue: &Arc<Queue>,
    ) -> Option<u64> {
        if self.core.state() != State::Connected {
            self.unclaimed.forget_unacknowledged();
        }
        let on_taking = self.ack_mode == AckMode::Automatic;
        let mut dispatched = Dispatched::default();
        let mut claimed = None;
        for Held { mut message, token } in self.unclaimed.take_all() {
            let topic = message.topic_name();
            if !topic.is_some_and(|topic| filters.iter().any(|filter| wants(filter, topic.as_ref()))) {
                self.unclaimed.push(Held { message, token });
                continue;
            }
            if let Some(token) = token {
                if on_taking {
                    let _ = self.core.hold(token);
                }
                message.ack = Some(Ack::new(Arc::clone(shared), token, 1, on_taking));
            }
            self.registry.deliver(queue, message, &mut dispatched);
            claimed = Some(self.unclaimed.connections);
        }
        dispatched.acknowledge(self);
        claimed
    }

    /// A stream that claimed messages on this connection was given up before the application got it: another one may
    /// want them. It is out of the registry.
    pub(crate) fn put_back(&mut self, connection: u64, queue: &Queue) {
        let mut messages = VecDeque::new();
        queue.lock().take_all(&mut messages);
        for mut message in messages {
            let token = match message.ack.take() {
                None => None,
                Some(ack) => {
                    let on_taking = ack.on_taking;
                    // If another stream has a share, it has the message.
                    let Some(token) = ack.give_locked() else { continue };
                    if on_taking {
                        // The client has it for good since it was claimed.
                        let _ = self.core.acknowledge(token);
                        None
                    } else if connection == self.unclaimed.connections {
                        Some(token)
                    } else {
                        // It comes again.
                        continue;
                    }
                }
            };
            if message.topic_name().is_some_and(|topic| self.registry.count(topic.as_ref()) == 0) {
                self.keep_unclaimed(message, token);
            }
        }
    }

    /// Drops what was not claimed when the time is over, and tells. Returns when to look again.
    pub(crate) fn poll_unclaimed(&mut self, now: Time, notices: &mut Notices) -> Option<Time> {
        let waits = self.unclaimed.open || !self.unclaimed.held.is_empty() || self.unclaimed.untold > 0;
        // A client that is being closed leaves them to the next one.
        if !waits || self.phase != Phase::Open || self.core.state() != State::Connected {
            return None;
        }
        let until = self.unclaimed.until.filter(|until| now < *until);
        if until.is_none() {
            self.unclaimed.open = false;
            for held in self.unclaimed.take_all() {
                self.drop_unclaimed(held.token);
            }
            self.tell_unclaimed(notices);
        }
        until
    }

    /// The client is closed: what the Server still has is the next client's.
    pub(crate) fn close_unclaimed(&mut self, notices: &mut Notices) {
        self.unclaimed.forget_unacknowledged();
        for held in self.unclaimed.take_all() {
            self.drop_unclaimed(held.token);
        }
        self.tell_unclaimed(notices);
    }

    fn tell_unclaimed(&mut self, notices: &mut Notices) {
        match std::mem::take(&mut self.unclaimed.untold) {
            0 => {}
            count => self.tell(Status::Unclaimed { count }, notices),
        }
    }
}
