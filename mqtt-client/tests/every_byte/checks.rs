//! What must hold for the packets that go out.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_client::{PacketId, ProtocolVersion, TopicFilter, TopicFilterRef};
use mqtt_codec::Packet;

/// What stands behind an identifier that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// The number of a publish.
    Publish(usize),
    Subscribe(Vec<TopicFilter>),
    Unsubscribe(Vec<TopicFilter>),
}

/// A PUBREL that waits for its PUBCOMP, and the connection on which a byte of it was first taken.
#[derive(Debug, Clone)]
struct Released {
    id: PacketId,
    first: Option<u32>,
}

/// The wire as it was seen so far.
#[derive(Clone)]
pub(crate) struct Checks {
    version: ProtocolVersion,
    window: usize,
    /// Counts connections.
    connection: u32,
    /// The connection on which a byte of each PUBLISH of this Session was first taken, by the number of the publish.
    first: BTreeMap<usize, u32>,
    /// Publishes of which a byte was ever taken.
    pub(crate) touched: BTreeSet<usize>,
    owners: BTreeMap<PacketId, Owner>,
    /// In the order of the PUBRECs.
    released: Vec<Released>,
    /// Those that are to be sent again on this connection before any PUBLISH.
    to_resume: Vec<PacketId>,
    in_flight: BTreeSet<PacketId>,
    /// The number of the last PUBLISH with QoS 1 or 2 on this connection.
    last: Option<usize>,
    disconnected: bool,
}

/// The number of a publish: its payload begins with it.
pub(crate) fn number(payload: &[u8]) -> usize {
    let digits = payload.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

impl Checks {
    pub(crate) fn new(version: ProtocolVersion, window: usize) -> Self {
        Self {
            version,
            window,
            connection: 0,
            first: BTreeMap::new(),
            touched: BTreeSet::new(),
            owners: BTreeMap::new(),
            released: Vec::new(),
            to_resume: Vec::new(),
            in_flight: BTreeSet::new(),
            last: None,
            disconnected: false,
        }
    }

    /// Another transport.
    pub(crate) fn connect(&mut self) {
        self.connection += 1;
        self.to_resume.clear();
        self.in_flight.clear();
        self.last = None;
        self.disconnected = false;
    }

    /// The client used a CONNACK; what it sends from now on depends on whether it takes its Session for kept.
    pub(crate) fn connected(&mut self, kept: bool) {
        if !kept {
            self.first.clear();
            self.owners.clear();
            self.released.clear();
        } else if self.version == ProtocolVersion::V3_1 {
            // It subscribes again, and drops what it had begun of that.
            self.owners.retain(|_, owner| !matches!(owner, Owner::Subscribe(_)));
        }
        self.to_resume = self.released.iter().map(|released| released.id).collect();
    }

    /// The client used a packet of the Server.
    pub(crate) fn received(&mut self, packet: &Packet<'_>) {
        match *packet {
            Packet::Puback(id) | Packet::Pubcomp(id) => {
                self.owners.remove(&id);
                self.in_flight.remove(&id);
                self.released.retain(|released| released.id != id);
                self.to_resume.retain(|other| *other != id);
            }
            Packet::Pubrec(id) if !self.released.iter().any(|released| released.id == id) => {
                self.released.push(Released { id, first: None });
            }
            Packet::Unsuback(id) => {
                self.owners.remove(&id);
            }
            Packet::Suback(suback) => {
                self.owners.remove(&suback.id);
            }
            _ => {}
        }
    }

    fn own(&mut self, id: PacketId, owner: Owner) {
        match self.owners.get(&id) {
            Some(before) => assert_eq!(*before, owner, "identifier {id} is in use"),
            None => {
                let elsewhere = self.owners.values().any(|other| *other == owner);
                assert!(!elsewhere || owner.is_request(), "the identifier stays the same [MQTT-4.4.0-1]");
                self.owners.insert(id, owner);
            }
        }
    }

    /// The first byte of a packet was taken, and if `complete` all of it.
    pub(crate) fn sent(&mut self, packet: &Packet<'_>, complete: bool) {
        assert!(!self.disconnected, "{packet:?} after DISCONNECT");
        match packet {
            Packet::Publish(publish) => {
                let number = number(publish.payload);
                self.touched.insert(number);
                let Some(id) = publish.delivery.id() else { return };
                self.own(id, Owner::Publish(number));
                let first = *self.first.entry(number).or_insert(self.connection);
                assert_eq!(publish.delivery.dup(), first < self.connection, "DUP of {number}");
                assert!(self.to_resume.is_empty(), "PUBRELs come first");
                assert!(self.last < Some(number), "{number} after {:?}", self.last);
                if complete {
                    self.last = Some(number);
                    self.fly(id);
                }
            }
            Packet::Pubrel { id, dup } => self.sent_pubrel(*id, *dup, complete),
            Packet::Subscribe(subscribe) => {
                let filters = subscribe.filters.iter().map(|(filter, _)| filter.to_owned());
                self.own(subscribe.id, Owner::Subscribe(filters.collect()));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let filters = unsubscribe.filters.iter().map(TopicFilterRef::to_owned);
                self.own(unsubscribe.id, Owner::Unsubscribe(filters.collect()));
            }
            Packet::Disconnect => self.disconnected = complete,
            _ => {}
        }
    }

    fn sent_pubrel(&mut self, id: PacketId, dup: bool, complete: bool) {
        let connection = self.connection;
        let released = self.released.iter_mut().find(|released| released.id == id);
        let first = *released.expect("its PUBREC came").first.get_or_insert(connection);
        let old = self.version == ProtocolVersion::V3_1;
        assert_eq!(dup, old && first < connection, "DUP of PUBREL {id}");
        if complete {
            if self.to_resume.contains(&id) {
                assert_eq!(self.to_resume.remove(0), id, "in the order of their PUBRECs [MQTT-4.6.0-4]");
            }
            self.fly(id);
        }
    }

    fn fly(&mut self, id: PacketId) {
        self.in_flight.insert(id);
        assert!(self.in_flight.len() <= self.window, "more than {} in flight", self.window);
    }
}

impl Owner {
    const fn is_request(&self) -> bool {
        !matches!(self, Self::Publish(_))
    }
}
