//! The messages of a Session on their way to its client: in flight and queued (section 4.3).

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use mqtt_codec::{Delivery, OwnedPacket, OwnedPublish, OwnedWill, PacketId, QoS, TopicName};

/// An Application Message with the QoS that its receiver gets.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: TopicName,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Message {
    pub(super) fn len(&self) -> usize {
        self.topic.len() + self.payload.len()
    }

    /// Makes the PUBLISH of a message of QoS 0.
    pub(super) fn at_most_once(self) -> OwnedPublish {
        self.with(Delivery::AtMostOnce)
    }

    /// Makes the PUBLISH of this message.
    fn with(self, delivery: Delivery) -> OwnedPublish {
        let Self { topic, payload, retain, .. } = self;
        OwnedPublish { delivery, retain, topic, payload }
    }

    fn sent_as(&self, id: PacketId, dup: bool) -> OwnedPublish {
        self.clone().with(match self.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        })
    }
}

impl From<OwnedPublish> for Message {
    /// A message that is passed on has RETAIN 0 [MQTT-3.3.1-9]; the flag here is what the publisher set.
    fn from(publish: OwnedPublish) -> Self {
        let OwnedPublish { delivery, retain, topic, payload } = publish;
        Self { topic, payload, qos: delivery.qos(), retain }
    }
}

impl From<&OwnedWill> for Message {
    fn from(will: &OwnedWill) -> Self {
        // Copies: slices would keep all of the CONNECT as long as the connection lasts.
        let payload = Bytes::copy_from_slice(will.payload.as_bytes());
        Self { topic: will.topic.as_ref().to_owned(), payload, qos: will.qos, retain: will.retain }
    }
}

/// What an acknowledgement meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// It was the expected one.
    Expected,
    /// Nothing with this identifier is in flight.
    Unknown,
    /// What is in flight with this identifier expects another packet.
    Wrong,
}

/// The acknowledgement that is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Puback,
    Pubrec,
    Pubcomp,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    /// By Packet Identifier: what is due, and where it stands in the order of sending.
    slots: HashMap<PacketId, (Due, u64)>,
    /// PUBLISH, in the order of sending [MQTT-4.6.0-1].
    publishes: BTreeMap<u64, (PacketId, Message)>,
    /// PUBREL, in the order of the PUBRECs [MQTT-4.6.0-4].
    releases: BTreeMap<u64, PacketId>,
    next_turn: u64,
    /// The smallest identifier that was never used, until all were.
    fresh: Option<PacketId>,
    /// Identifiers that were used and are free again, the oldest first.
    free: VecDeque<PacketId>,
    queue: VecDeque<Message>,
    queue_bytes: usize,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            publishes: BTreeMap::new(),
            releases: BTreeMap::new(),
            next_turn: 0,
            fresh: Some(PacketId::MIN),
            free: VecDeque::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
        }
    }

    /// Appends a message to the queue, unless it is beyond the limits.
    pub(super) fn enqueue(&mut self, message: Message, max_len: usize, max_bytes: usize) -> bool {
        let bytes = self.queue_bytes + message.len();
        let fits = self.queue.len() < max_len && bytes <= max_bytes;
        if fits {
            self.queue_bytes = bytes;
            self.queue.push_back(message);
        }
        fits
    }

    /// Puts `message`, of QoS 1 or 2, in flight, if nothing waits before it and there is a place.
    ///
    /// # Errors
    /// The message, when it has to wait.
    pub(super) fn start(&mut self, message: Message, max_in_flight: u16) -> Result<OwnedPublish, Message> {
        if !self.queue.is_empty() || self.slots.len() >= usize::from(max_in_flight) {
            return Err(message);
        }
        match self.take_id() {
            Some(id) => Ok(self.put_in_flight(id, message)),
            None => Err(message),
        }
    }

    /// Takes the next message from the queue that may be sent now.
    pub(super) fn next_queued(&mut self, max_in_flight: u16) -> Option<OwnedPublish> {
        let is_qos0 = self.queue.front()?.qos == QoS::AtMostOnce;
        if !is_qos0 && self.slots.len() >= usize::from(max_in_flight) {
            return None;
        }
        let id = if is_qos0 { None } else { Some(self.take_id()?) };
        let message = self.queue.pop_front()?;
        self.queue_bytes -= message.len();
        Some(match id {
            Some(id) => self.put_in_flight(id, message),
            None => message.at_most_once(),
        })
    }

    pub(super) fn puback(&mut self, id: PacketId) -> Ack {
        self.finish(id, Due::Puback)
    }

    pub(super) fn pubcomp(&mut self, id: PacketId) -> Ack {
        self.finish(id, Due::Pubcomp)
    }

    /// After [`Ack::Expected`] and [`Ack::Unknown`] PUBREL has to be sent.
    pub(super) fn pubrec(&mut self, id: PacketId) -> Ack {
        match self.slots.get(&id).copied() {
            None => Ack::Unknown,
            Some((Due::Puback, _)) => Ack::Wrong,
            Some((Due::Pubcomp, _)) => Ack::Expected,
            Some((Due::Pubrec, turn)) => {
                self.publishes.remove(&turn);
                let turn = self.take_turn();
                self.releases.insert(turn, id);
                self.slots.insert(id, (Due::Pubcomp, turn));
                Ack::Expected
            }
        }
    }

    /// What has to be sent again on a new connection: PUBRELs, then PUBLISHes [MQTT-4.4.0-1] [MQTT-4.6.0-1].
    pub(super) fn to_redeliver(&self) -> Vec<OwnedPacket> {
        let releases = self.releases.values().map(|&id| OwnedPacket::Pubrel { id, dup: true });
        let publishes =
            self.publishes.values().map(|(id, message)| OwnedPacket::Publish(message.sent_as(*id, true)));
        releases.chain(publishes).collect()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    fn finish(&mut self, id: PacketId, due: Due) -> Ack {
        match self.slots.get(&id).copied() {
            None => Ack::Unknown,
            Some((actual, turn)) if actual == due => {
                self.slots.remove(&id);
                self.publishes.remove(&turn);
                self.releases.remove(&turn);
                self.free.push_back(id);
                Ack::Expected
            }
            Some(_) => Ack::Wrong,
        }
    }

    fn put_in_flight(&mut self, id: PacketId, message: Message) -> OwnedPublish {
        let publish = message.sent_as(id, false);
        let due = if message.qos == QoS::ExactlyOnce { Due::Pubrec } else { Due::Puback };
        let turn = self.take_turn();
        self.slots.insert(id, (due, turn));
        self.publishes.insert(turn, (id, message));
        publish
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    /// An identifier that is not in use [MQTT-2.3.1-4], and was not for as long as can be.
    fn take_id(&mut self) -> Option<PacketId> {
        let Some(id) = self.fresh else {
            return self.free.pop_front();
        };
        self.fresh = if id == PacketId::MAX { None } else { Some(id.next()) };
        Some(id)
    }
}
