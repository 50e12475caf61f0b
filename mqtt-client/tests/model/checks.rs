//! What must hold for the packets that go out, whatever happens.

use std::collections::{HashMap, HashSet};

use crate::server::ROGUE;

/// What the wire shows of one publish.
#[derive(Debug)]
struct Record {
    id: u16,
    /// The connection on which a byte of it was first taken.
    first: u32,
}

/// The wire as it was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Counts connections.
    pub(crate) connection: u32,
    window: usize,
    /// PUBLISHes with QoS 1 and 2 of this Session, by their number.
    records: HashMap<usize, Record>,
    /// Publishes of which a byte was taken, ever.
    pub(crate) touched: HashSet<usize>,
    /// What stands behind each identifier that is in use.
    owners: HashMap<u16, String>,
    /// PUBRELs that are due, in the order of their PUBRECs.
    released: Vec<u16>,
    /// The same, when this connection began; and how many of them were seen.
    to_resume: Vec<u16>,
    /// In flight on this connection.
    flying: HashSet<u16>,
    /// The last PUBLISH with QoS 1 or 2 of this connection.
    last: Option<usize>,
    disconnected: bool,
}

/// The number of a publish, from its payload.
pub(crate) fn number(payload: &str) -> usize {
    payload.split('_').next().unwrap().parse().unwrap()
}

impl Checks {
    pub(crate) fn connect(&mut self, window: u32) {
        self.connection += 1;
        self.window = window as usize;
        self.flying.clear();
        self.last = None;
        self.disconnected = false;
        self.to_resume.clear();
    }

    /// The client knows whether the Server has the Session.
    pub(crate) fn connected(&mut self, session_present: bool) {
        if session_present {
            self.to_resume = self.released.clone();
            // With MQTT 3.1 the client subscribes again, and drops what it had begun of that.
            self.owners.retain(|_, owner| !owner.starts_with("SUBSCRIBE"));
            return;
        }
        let connection = self.connection;
        self.records.retain(|_, record| record.first == connection);
        let alive: HashSet<u16> = self.records.values().map(|record| record.id).collect();
        self.owners.retain(|id, _| alive.contains(id));
        self.released.clear();
    }

    pub(crate) fn discard(&mut self) {
        self.records.clear();
        self.owners.clear();
        self.released.clear();
    }

    /// An identifier that is in use for a PUBLISH.
    pub(crate) fn some_publish_id(&self) -> Option<u16> {
        let publishes = self.owners.iter().filter(|(_, owner)| owner.starts_with("PUBLISH"));
        publishes.map(|(id, _)| *id).min()
    }

    /// The client took an acknowledgement.
    pub(crate) fn acknowledged(&mut self, packet: &str) {
        let words: Vec<&str> = packet.split(' ').collect();
        let Some(id) = words.get(1).and_then(|id| id.parse::<u16>().ok()).filter(|id| *id < ROGUE) else {
            return;
        };
        match words[0] {
            "PUBACK" | "PUBCOMP" => {
                self.owners.remove(&id);
                self.flying.remove(&id);
                self.released.retain(|other| *other != id);
                self.to_resume.retain(|other| *other != id);
                self.records.retain(|_, record| record.id != id);
            }
            "PUBREC" if self.owners.contains_key(&id) && !self.released.contains(&id) => {
                self.released.push(id);
                self.flying.remove(&id);
            }
            "SUBACK" | "UNSUBACK" => {
                self.owners.remove(&id);
            }
            _ => {}
        }
    }

    fn own(&mut self, id: u16, owner: String) {
        if let Some(before) = self.owners.insert(id, owner.clone()) {
            assert_eq!(before, owner, "identifier {id} is in use");
        }
    }

    fn fly(&mut self, id: u16) {
        self.flying.insert(id);
        assert!(self.flying.len() <= self.window, "more in flight than {}", self.window);
    }

    /// The first byte of a packet was taken, and perhaps all of it.
    pub(crate) fn see(&mut self, packet: &str, complete: bool) {
        assert!(!self.disconnected, "{packet} after DISCONNECT");
        let words: Vec<&str> = packet.split(' ').collect();
        let id: u16 = words.get(1).and_then(|id| id.parse().ok()).unwrap_or(0);
        match words[0] {
            "PUBLISH" if words[2] != "q0" => {
                let number = number(words.last().unwrap());
                self.see_publish(id, number, words.contains(&"dup"));
                if complete {
                    assert!(self.last < Some(number), "out of order: {number} after {:?}", self.last);
                    assert_eq!(self.to_resume, [0; 0], "PUBRELs come first");
                    self.last = Some(number);
                    self.fly(id);
                }
            }
            "PUBREL" if id < ROGUE && complete => {
                if self.to_resume.contains(&id) {
                    assert_eq!(self.to_resume.remove(0), id, "PUBRELs in the order of their PUBRECs");
                }
                if self.released.contains(&id) {
                    self.fly(id);
                }
            }
            "SUBSCRIBE" | "UNSUBSCRIBE" if complete => {
                let filters: Vec<_> = words[2..].iter().filter(|word| **word != "dup").collect();
                self.own(id, format!("{} {filters:?}", words[0]));
            }
            "DISCONNECT" if complete => self.disconnected = true,
            _ => {}
        }
    }

    fn see_publish(&mut self, id: u16, number: usize, dup: bool) {
        let connection = self.connection;
        let record = self.records.entry(number).or_insert(Record { id, first: connection });
        assert_eq!(record.id, id, "the identifier stays the same [MQTT-2.3.1-3]");
        assert_eq!(dup, record.first < connection, "DUP of {number}");
        self.touched.insert(number);
        self.own(id, format!("PUBLISH {number}"));
    }
}
