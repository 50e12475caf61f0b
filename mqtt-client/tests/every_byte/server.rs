//! A small Server that does what the standard says: it keeps Sessions, grants what is asked for, retains, and sends
//! again what was not acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_client::bytes::{Bytes, BytesMut};
use mqtt_client::{PacketId, ProtocolVersion, QoS, SubackCode, TopicFilter, TopicName};
use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, Packet, Publish, Suback, SubackCodes, Subscribe, Unsubscribe,
};

/// What tells messages to the client apart: the payload, and the QoS with which it was sent.
pub(crate) type Routed = (Bytes, QoS);

/// A message on its way to the client.
#[derive(Clone)]
struct Outgoing {
    id: PacketId,
    qos: QoS,
    topic: TopicName,
    payload: Bytes,
    retain: bool,
    /// The PUBREC came: it is a PUBREL that waits for its answer.
    released: bool,
    /// It was sent before, on an earlier connection.
    dup: bool,
}

#[derive(Clone)]
pub(crate) struct Server {
    version: ProtocolVersion,
    /// The CONNACK is sent and the link not cut since.
    is_connected: bool,
    /// There is a Session to go on with.
    has_session: bool,
    /// Identifiers of QoS 2 messages without their PUBREL.
    received: BTreeSet<PacketId>,
    /// What it took over, in order.
    pub(crate) accepted: Vec<Bytes>,
    pub(crate) subscriptions: BTreeMap<TopicFilter, QoS>,
    retained: BTreeMap<TopicName, (Bytes, QoS)>,
    /// How often it sent each message to the client as a new one.
    pub(crate) routed: BTreeMap<Routed, usize>,
    outgoing: Vec<Outgoing>,
    /// QoS 1 messages whose PUBACK goes out later than the PUBRECs of messages that came behind them.
    late: Vec<PacketId>,
    /// Bytes for the client.
    pub(crate) output: BytesMut,
}

impl Server {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            is_connected: false,
            has_session: false,
            received: BTreeSet::new(),
            accepted: Vec::new(),
            subscriptions: BTreeMap::new(),
            retained: BTreeMap::new(),
            routed: BTreeMap::new(),
            outgoing: Vec::new(),
            late: Vec::new(),
            output: BytesMut::new(),
        }
    }

    /// The transport is gone.
    pub(crate) fn cut(&mut self) {
        self.is_connected = false;
        self.late.clear();
        self.output.clear();
    }

    pub(crate) fn lose_session(&mut self) {
        self.has_session = false;
        self.received.clear();
        self.subscriptions.clear();
        self.outgoing.clear();
    }

    /// Nothing is half done.
    pub(crate) fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.received.is_empty() && self.has_answered()
    }

    /// Nothing is on its way to the client, or will be by itself.
    pub(crate) fn has_answered(&self) -> bool {
        self.output.is_empty() && self.late.is_empty()
    }

    /// Sends the PUBACKs that are late.
    pub(crate) fn send_late(&mut self) {
        for id in std::mem::take(&mut self.late) {
            self.write(&Packet::Puback(id));
        }
    }

    /// A message for those who subscribed to `topic`.
    pub(crate) fn publish(&mut self, topic: &TopicName, payload: &Bytes, qos: QoS) {
        let granted = self.subscriptions.iter().filter(|(filter, _)| filter.matches(topic));
        if let Some(granted) = granted.map(|(_, qos)| *qos).max() {
            self.send(topic, payload, qos.min(granted), false);
        }
    }

    fn send(&mut self, topic: &TopicName, payload: &Bytes, qos: QoS, retain: bool) {
        *self.routed.entry((payload.clone(), qos)).or_default() += 1;
        // The lowest one that is free: identifiers are used again as soon as possible.
        let is_free = |id: &PacketId| self.outgoing.iter().all(|outgoing| outgoing.id != *id);
        let id = (1..).filter_map(PacketId::new).find(is_free).unwrap();
        let (topic, payload) = (topic.clone(), payload.clone());
        let mut outgoing = Outgoing { id, qos, topic, payload, retain, released: false, dup: false };
        self.write_outgoing(&mut outgoing);
        if qos != QoS::AtMostOnce {
            self.outgoing.push(outgoing);
        }
    }

    /// Sends a PUBLISH or PUBREL if it can; otherwise the next connection will.
    fn write_outgoing(&mut self, outgoing: &mut Outgoing) {
        if !self.is_connected {
            return;
        }
        let (id, dup) = (outgoing.id, std::mem::replace(&mut outgoing.dup, true));
        if outgoing.released {
            return self.write(&Packet::Pubrel { id, dup: dup && self.version == ProtocolVersion::V3_1 });
        }
        let delivery = match outgoing.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        };
        self.write(&Packet::Publish(Publish {
            delivery,
            retain: outgoing.retain,
            topic: outgoing.topic.as_ref(),
            payload: &outgoing.payload,
        }));
    }

    fn write(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.output).unwrap();
    }

    /// Takes a packet of the client.
    pub(crate) fn receive(&mut self, packet: Packet<'_>) {
        match packet {
            Packet::Connect(connect) => self.connect(connect.clean_session),
            Packet::Publish(publish) => self.receive_publish(publish),
            Packet::Puback(id) => {
                self.acknowledged(id, QoS::AtLeastOnce);
            }
            Packet::Pubrec(id) => {
                let mut outgoing = self.acknowledged(id, QoS::ExactlyOnce);
                (outgoing.released, outgoing.dup) = (true, false);
                self.write_outgoing(&mut outgoing);
                self.outgoing.push(outgoing);
            }
            Packet::Pubcomp(id) => self.outgoing.retain(|outgoing| outgoing.id != id || !outgoing.released),
            Packet::Pubrel { id, .. } => {
                self.received.remove(&id);
                self.write(&Packet::Pubcomp(id));
            }
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(Unsubscribe { id, filters, .. }) => {
                for filter in filters.iter() {
                    self.subscriptions.remove(&filter.to_owned());
                }
                self.write(&Packet::Unsuback(id));
            }
            Packet::Pingreq => self.write(&Packet::Pingresp),
            Packet::Disconnect => {}
            other => panic!("{other:?} from a client"),
        }
    }

    fn connect(&mut self, clean_session: bool) {
        if clean_session {
            self.lose_session();
        }
        let session_present = self.has_session && self.version == ProtocolVersion::V3_1_1;
        self.has_session = true;
        self.write(&Packet::Connack(Connack { session_present, code: ConnectReturnCode::Accepted }));
        self.is_connected = true;
        let mut all = std::mem::take(&mut self.outgoing);
        for outgoing in &mut all {
            self.write_outgoing(outgoing);
        }
        self.outgoing = all;
    }

    fn receive_publish(&mut self, publish: Publish<'_>) {
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => self.late.push(id),
            Delivery::ExactlyOnce { id, .. } => {
                self.write(&Packet::Pubrec(id));
                if !self.received.insert(id) {
                    return;
                }
            }
        }
        let (topic, payload) = (publish.topic.to_owned(), Bytes::copy_from_slice(publish.payload));
        self.accepted.push(payload.clone());
        if publish.retain {
            self.retained.insert(topic.clone(), (payload.clone(), publish.delivery.qos()));
        }
        self.publish(&topic, &payload, publish.delivery.qos());
    }

    /// The first message with this QoS that is not acknowledged: it is its turn [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    fn acknowledged(&mut self, id: PacketId, qos: QoS) -> Outgoing {
        let waits = |outgoing: &Outgoing| outgoing.qos == qos && !outgoing.released;
        let at = self.outgoing.iter().position(waits).expect("something to acknowledge");
        let outgoing = self.outgoing.remove(at);
        assert_eq!(outgoing.id, id, "acknowledged in the order of receipt");
        outgoing
    }

    fn subscribe(&mut self, Subscribe { id, filters, .. }: Subscribe<'_>) {
        let filters: Vec<_> = filters.iter().map(|(filter, qos)| (filter.to_owned(), qos)).collect();
        let codes: Vec<_> = filters.iter().map(|(_, qos)| SubackCode::Granted(*qos)).collect();
        self.write(&Packet::Suback(Suback { id, codes: SubackCodes::new(&codes).unwrap() }));
        for (filter, granted) in filters {
            for (topic, (payload, qos)) in self.retained.clone() {
                if filter.matches(&topic) {
                    self.send(&topic, &payload, qos.min(granted), true);
                }
            }
            self.subscriptions.insert(filter, granted);
        }
    }
}
