//! A naive Server: it keeps what the standard says that it keeps, and answers everything.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH was sent, or is to be.
    Published,
    /// PUBREC came.
    Released,
}

#[derive(Debug)]
struct Outgoing {
    id: u16,
    qos: u8,
    payload: String,
    stage: Stage,
}

/// From here on identifiers are made up by [`Step::Rogue`](crate::Step::Rogue).
pub(crate) const ROGUE: u16 = 60_000;

#[derive(Debug, Default)]
pub(crate) struct Server {
    /// Whether the client was told of the Session that it has now.
    pub(crate) has_session: bool,
    /// Whether it keeps it at the next CONNECT.
    pub(crate) keep_session: bool,
    /// Whether it speaks MQTT 3.1, and has the Session from the CONNECT on, since it tells nobody.
    pub(crate) old: bool,
    /// QoS 2 identifiers without their PUBREL, with their message.
    received: HashMap<u16, String>,
    /// How often each message came in and was passed on.
    pub(crate) accepted: BTreeMap<String, usize>,
    pub(crate) subscriptions: BTreeSet<String>,
    outgoing: Vec<Outgoing>,
    /// Answers that may go in any order.
    pub(crate) answers: Vec<String>,
    /// What goes in this order.
    pub(crate) ordered: VecDeque<String>,
}

impl Server {
    /// The transport is gone.
    pub(crate) fn cut(&mut self) {
        self.answers.clear();
        self.ordered.clear();
    }

    pub(crate) fn has_delivered_all(&self) -> bool {
        self.outgoing.is_empty()
    }

    fn lose_session(&mut self) {
        self.received.clear();
        self.subscriptions.clear();
        self.outgoing.clear();
        self.has_session = false;
    }

    pub(crate) fn publish(&mut self, qos: u8, payload: String) {
        if qos == 0 {
            self.ordered.push_back(format!("PUBLISH - q0 {payload}"));
            return;
        }
        // The lowest one that is free: identifiers are used again as soon as possible.
        let id = (1..).find(|id| self.outgoing.iter().all(|outgoing| outgoing.id != *id)).unwrap();
        self.ordered.push_back(format!("PUBLISH {id} q{qos} {payload}"));
        self.outgoing.push(Outgoing { id, qos, payload, stage: Stage::Published });
    }

    /// Takes a packet of the client. `taken_over` says whether the application has taken a message, so that it may be
    /// acknowledged.
    pub(crate) fn receive(&mut self, packet: &str, taken_over: impl Fn(&str) -> bool) {
        let mut words: Vec<&str> = packet.split(' ').collect();
        if words[0].ends_with("SUBSCRIBE") {
            words.retain(|word| *word != "dup");
        }
        let id: u16 = words.get(1).and_then(|id| id.parse().ok()).unwrap_or(0);
        match words[0] {
            "CONNECT" => {
                let present = self.has_session && self.keep_session && words[1] == "kept";
                if !present {
                    self.lose_session();
                }
                self.has_session |= self.old && words[1] == "kept";
                self.ordered.push_back(if present { "CONNACK present" } else { "CONNACK 0" }.into());
                for Outgoing { id, qos, payload, stage } in &self.outgoing {
                    self.ordered.push_back(match stage {
                        Stage::Published => format!("PUBLISH {id} q{qos} dup {payload}"),
                        Stage::Released => format!("PUBREL {id}"),
                    });
                }
            }
            "PUBLISH" => self.receive_publish(id, words[2], words.last().unwrap()),
            "PUBREL" => {
                self.received.remove(&id);
                self.answers.push(format!("PUBCOMP {id}"));
            }
            "SUBSCRIBE" => {
                let filters = words[2..].iter().map(|filter| filter.split(':').next().unwrap());
                self.subscriptions.extend(filters.map(String::from));
                self.ordered.push_back(format!("SUBACK {id}{}", " 1".repeat(words.len() - 2)));
            }
            "UNSUBSCRIBE" => {
                for filter in &words[2..] {
                    self.subscriptions.remove(*filter);
                }
                self.ordered.push_back(format!("UNSUBACK {id}"));
            }
            "PINGREQ" => self.ordered.push_back("PINGRESP".into()),
            "PUBACK" | "PUBREC" | "PUBCOMP" => self.receive_ack(words[0], id, taken_over),
            "DISCONNECT" => {}
            other => panic!("{other}"),
        }
    }

    fn receive_publish(&mut self, id: u16, qos: &str, payload: &str) {
        if qos == "q2" {
            if let Some(before) = self.received.insert(id, payload.into()) {
                assert_eq!(before, payload, "two messages with one identifier");
            } else {
                *self.accepted.entry(payload.into()).or_default() += 1;
            }
            self.answers.push(format!("PUBREC {id}"));
            return;
        }
        *self.accepted.entry(payload.into()).or_default() += 1;
        if qos == "q1" {
            self.answers.push(format!("PUBACK {id}"));
        }
    }

    fn receive_ack(&mut self, name: &str, id: u16, taken_over: impl Fn(&str) -> bool) {
        let Some(at) = self.outgoing.iter().position(|outgoing| outgoing.id == id) else {
            assert!(id >= ROGUE || name == "PUBCOMP", "{name} {id} acknowledges nothing");
            return;
        };
        let outgoing = &mut self.outgoing[at];
        match (name, outgoing.qos, outgoing.stage) {
            ("PUBACK", 1, _) => {
                assert!(taken_over(&outgoing.payload), "acknowledged, but not taken: {outgoing:?}");
                self.outgoing.remove(at);
            }
            ("PUBREC", 2, _) => {
                assert!(taken_over(&outgoing.payload), "acknowledged, but not taken: {outgoing:?}");
                outgoing.stage = Stage::Released;
                self.ordered.push_back(format!("PUBREL {id}"));
            }
            ("PUBCOMP", 2, Stage::Released) => {
                self.outgoing.remove(at);
            }
            // A second answer to a PUBREL, whose identifier serves another message by now.
            ("PUBCOMP", ..) => {}
            _ => panic!("{name} for {outgoing:?}"),
        }
    }
}
