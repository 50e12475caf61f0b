//! What must hold for the packets that go out, whatever happens.

use std::collections::{HashMap, HashSet};

use std::time::Duration;

use mqtt_client::Time;

use crate::server::ROGUE;
use crate::{BANDWIDTH, CAP, INITIAL};

/// What the wire shows of one publish.
#[derive(Debug)]
struct Record {
    id: u16,
    /// The connection on which a byte of it was first taken.
    first: u32,
    /// The last connection on which all of it was taken.
    seen: u32,
}

/// A packet that was sent on this connection and is to be answered.
#[derive(Debug)]
struct Wait {
    /// The end of the last copy was taken then.
    since: Time,
    /// How many copies there were, the first one not counted.
    copies: u32,
    /// Of a PUBLISH, its length.
    len: Option<usize>,
}

impl Wait {
    /// When it is to be sent again, as `Timed` says.
    fn due(&self) -> Time {
        let factor = 2_u32.saturating_pow(self.copies);
        let wait = match self.len {
            Some(len) => INITIAL + Duration::from_secs(len as u64) / BANDWIDTH * factor.min(1 << 20),
            None => INITIAL * factor.min(1 << 20),
        };
        self.since + wait.min(CAP)
    }
}

/// Where a packet stands on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    /// The offset of its first byte in the stream of the connection.
    pub(crate) start: u64,
    /// Its length, if all of it was taken.
    pub(crate) len: Option<usize>,
    pub(crate) now: Time,
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
    /// The newest PUBLISH with QoS 1 or 2 of this connection, and the last one, which may be a copy.
    newest: Option<usize>,
    last: Option<usize>,
    /// PUBLISHes with QoS 1 and 2 by the order of their last copies on this connection.
    copies: Vec<usize>,
    /// What this connection waits for, by identifier.
    waits: HashMap<u16, Wait>,
    /// PUBLISHes that were answered on this connection: copies of them were in the output already, up to that offset.
    answered: HashMap<usize, u64>,
    answered_requests: HashSet<u16>,
    /// Where PUBRELs stand that answer a repeated PUBREC.
    replies: HashSet<u64>,
    /// Publishes that were taken back.
    pub(crate) cancelled: HashSet<usize>,
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
        self.newest = None;
        self.last = None;
        self.copies.clear();
        self.waits.clear();
        self.answered.clear();
        self.answered_requests.clear();
        self.replies.clear();
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

    /// The client took a packet. Up to `end` its output was there before, and it has grown by `grown`. Whether that
    /// was an acknowledgement of something.
    pub(crate) fn acknowledged(&mut self, packet: &str, end: u64, grown: usize) -> bool {
        let words: Vec<&str> = packet.split(' ').collect();
        let Some(id) = words.get(1).and_then(|id| id.parse::<u16>().ok()) else { return false };
        if !["PUBACK", "PUBREC", "PUBCOMP", "SUBACK", "UNSUBACK"].contains(&words[0])
            || !self.owners.contains_key(&id)
        {
            return false;
        }
        if words[0] == "PUBREC" && self.released.contains(&id) {
            if grown > 0 {
                self.replies.insert(end);
            }
            return false;
        }
        self.waits.remove(&id);
        if let Some((number, _)) = self.records.iter().find(|(_, record)| record.id == id) {
            self.answered.entry(*number).or_insert(end);
        }
        match words[0] {
            "PUBREC" => {
                self.released.push(id);
                self.flying.remove(&id);
            }
            "SUBACK" | "UNSUBACK" => {
                self.owners.remove(&id);
                self.answered_requests.insert(id);
            }
            _ => {
                self.owners.remove(&id);
                self.flying.remove(&id);
                self.released.retain(|other| *other != id);
                self.to_resume.retain(|other| *other != id);
                self.records.retain(|_, record| record.id != id);
            }
        }
        true
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

    fn wait(&mut self, id: u16, sight: Sight, is_publish: bool) {
        let copies = self.waits.get(&id).map_or(0, |wait| wait.copies + 1);
        self.waits.insert(id, Wait { since: sight.now, copies, len: sight.len.filter(|_| is_publish) });
    }

    /// Whether this connection waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Whether something is to be sent again at `now`, if nothing else is in the way. Of PUBRELs and of PUBLISHes the
    /// first says when; of requests each.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        let first = self
            .records
            .iter()
            .filter(|(_, record)| !self.released.contains(&record.id))
            .min_by_key(|at| at.0);
        let firsts = [self.released.first().copied(), first.map(|(_, record)| record.id)];
        let requests =
            self.owners.iter().filter(|(_, owner)| !owner.starts_with("PUBLISH")).map(|(id, _)| *id);
        let mut all = firsts.into_iter().flatten().chain(requests);
        all.any(|id| self.waits.get(&id).is_some_and(|wait| wait.due() <= now))
    }

    /// The first byte of a packet was taken, and perhaps all of it.
    pub(crate) fn see(&mut self, packet: &str, sight: Sight) {
        assert!(!self.disconnected, "{packet} after DISCONNECT");
        let words: Vec<&str> = packet.split(' ').collect();
        let id: u16 = words.get(1).and_then(|id| id.parse().ok()).unwrap_or(0);
        let complete = sight.len.is_some();
        match words[0] {
            "PUBLISH" if words[2] != "q0" => {
                let number = number(words.last().unwrap());
                let dup = words.contains(&"dup");
                if let Some(end) = self.answered.get(&number) {
                    assert!(dup && sight.start < *end, "{packet} after its answer");
                    return;
                }
                let again = self.see_publish(id, number, dup);
                if complete {
                    self.see_whole_publish(number, again);
                    self.fly(id);
                    self.wait(id, sight, true);
                }
            }
            "PUBLISH" => {
                assert!(!self.cancelled.contains(&number(words.last().unwrap())), "{packet}: taken back");
            }
            "PUBREL" if id < ROGUE && complete && !self.replies.contains(&sight.start) => {
                if self.to_resume.contains(&id) {
                    assert_eq!(self.to_resume.remove(0), id, "PUBRELs in the order of their PUBRECs");
                }
                if self.released.contains(&id) {
                    self.fly(id);
                    self.wait(id, sight, false);
                }
            }
            "SUBSCRIBE" | "UNSUBSCRIBE" if complete && !self.answered_requests.contains(&id) => {
                let filters: Vec<_> = words[2..].iter().filter(|word| **word != "dup").collect();
                self.own(id, format!("{} {filters:?}", words[0]));
                self.wait(id, sight, false);
            }
            "DISCONNECT" if complete => self.disconnected = true,
            _ => {}
        }
    }

    /// Whether it is a copy of what was sent on the same connection.
    fn see_publish(&mut self, id: u16, number: usize, dup: bool) -> bool {
        assert!(!self.cancelled.contains(&number), "{number} was taken back");
        let connection = self.connection;
        let record = self.records.entry(number).or_insert(Record { id, first: connection, seen: 0 });
        assert_eq!(record.id, id, "the identifier stays the same [MQTT-2.3.1-3]");
        let again = record.seen == connection;
        assert_eq!(dup, record.first < connection || again, "DUP of {number}");
        self.touched.insert(number);
        self.own(id, format!("PUBLISH {number}"));
        again
    }

    /// PUBLISHes go out in the order of publishing. Copies begin with the first that is not answered.
    fn see_whole_publish(&mut self, number: usize, again: bool) {
        if again {
            let in_turn = self.last < Some(number);
            let first = self.copies.iter().filter(|number| !self.answered.contains_key(*number)).min();
            assert!(in_turn || first == Some(&number), "out of order: {number} after {:?}", self.last);
        } else {
            assert!(self.newest < Some(number), "out of order: {number} after {:?}", self.newest);
            assert_eq!(self.to_resume, [0; 0], "PUBRELs come first");
            self.newest = Some(number);
        }
        self.last = Some(number);
        self.copies.retain(|other| *other != number);
        self.copies.push(number);
        if let Some(record) = self.records.get_mut(&number) {
            record.seen = self.connection;
        }
    }

    /// Everything in the output was taken: the last copies are in the order of the first ones (section 4.6).
    pub(crate) fn nothing_left(&self) {
        let waiting = self.copies.iter().filter(|number| !self.answered.contains_key(*number));
        assert!(waiting.is_sorted(), "copies out of order: {:?}", self.copies);
    }
}
