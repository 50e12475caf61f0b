//! What must hold, whatever happens: told of everything that crosses the border of the core, it keeps what the rules
//! need and nothing else, since all of it is part of the state of the search.

mod crash;
mod wire;

use std::collections::VecDeque;

use mqtt_codec::{ProtocolVersion, QoS};

use super::Config;
use super::server::{self, Answer, Sent};
use crate::event::{Cause, Outcome};
use crate::message::{AckToken, PublishToken, RequestToken};
use crate::policies::SessionLoss;
use crate::session::journal::Mark;

pub(super) use crash::Kept;

/// A rule was broken.
pub(super) type Check = Result<(), String>;

/// Checks a rule, or says which one was broken.
macro_rules! check {
    ($rule:expr, $($why:tt)+) => {
        if !$rule {
            return Err(format!($($why)+));
        }
    };
}
pub(super) use check;

/// When a transport took a byte of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Byte {
    Never,
    Earlier,
    /// On the present connection.
    Now,
}

/// Where a command stands, a publish or a request; with its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress<T> {
    /// The application has not asked for it yet.
    ToDo,
    Pending(T),
    Resolved,
}

impl<T: Copy> Progress<T> {
    pub(super) const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending(_))
    }
}

/// A message of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) qos: QoS,
    pub(super) progress: Progress<PublishToken>,
    /// How often the Server passed it on; more than two are as two.
    accepted: u8,
    /// Whether a transport ever took a byte of it.
    touched: bool,
    /// The same for its PUBLISH in the present Session, and for its PUBREL.
    publish: Byte,
    pubrel: Byte,
    /// Its identifier, from the first byte to the last acknowledgement.
    id: Option<u16>,
    /// Whether the present Session of the Server has passed it on.
    in_session: bool,
    /// Whether it may expire.
    pub(super) expires: bool,
    pub(super) safety: Safety,
}

/// Whether a command survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Safety {
    /// What was to be saved for that.
    pub(super) mark: Mark,
    pub(super) safe: bool,
}

/// A message of the Server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Incoming {
    handed_over: bool,
    /// The application has it for good: it was acknowledged, by the core or the application, or is held.
    secured: bool,
    /// Acknowledged by the application, if that is its business.
    acknowledged: bool,
    lost: bool,
    /// How often what the application made of it was saved.
    done: u8,
}

/// An acknowledgement that is due for a received message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    answer: Answer,
    number: u8,
    acknowledged: bool,
    /// What the application acknowledges it with.
    token: Option<AckToken>,
}

#[derive(Debug, Clone)]
pub(super) struct Monitor {
    pub(super) publishes: Vec<Publish>,
    pub(super) requests: Vec<Progress<RequestToken>>,
    pub(super) request_safety: Vec<Safety>,
    incoming: Vec<Incoming>,
    /// PUBRELs that are due, in the order of their PUBRECs; and those of them that this connection must still see.
    released: Vec<u8>,
    /// All whose PUBREC came, in that order: what a crash may bring back.
    pubrecs: Vec<u8>,
    to_resume: VecDeque<u8>,
    /// Messages in flight on this connection.
    flying: Vec<u8>,
    /// The last PUBLISH of this connection that was sent for the first time on it.
    last: Option<u8>,
    /// Acknowledgements that are not to be sent yet, in the order of receipt.
    due: VecDeque<Due>,
    /// Answers that must be in the output, in this order.
    leaving: VecDeque<Answer>,
    /// A token of an earlier connection.
    stale: Option<AckToken>,
    /// Whether the client may report that something was not delivered: the Session was lost or given up.
    pub(super) may_fail: bool,
    manual: bool,
    window: usize,
    window_qos2: usize,
    version: ProtocolVersion,
    loss: SessionLoss,
    /// Packets are sent again by time.
    timed: bool,
    journal: bool,
    transactions: bool,
    gap: bool,
}

impl Monitor {
    pub(super) fn new(config: &Config) -> Self {
        let publish = |&qos: &QoS| Publish {
            qos,
            progress: Progress::ToDo,
            accepted: 0,
            touched: false,
            publish: Byte::Never,
            pubrel: Byte::Never,
            id: None,
            in_session: false,
            expires: false,
            safety: Safety::default(),
        };
        Self {
            publishes: config.publishes.iter().map(publish).collect(),
            requests: vec![Progress::ToDo; config.requests],
            request_safety: vec![Safety::default(); config.requests],
            incoming: vec![Incoming::default(); config.incoming.len()],
            released: Vec::new(),
            pubrecs: Vec::new(),
            to_resume: VecDeque::new(),
            flying: Vec::new(),
            last: None,
            due: VecDeque::new(),
            leaving: VecDeque::new(),
            stale: None,
            may_fail: false,
            manual: config.manual,
            window: config.window as usize,
            window_qos2: config.window_qos2 as usize,
            version: config.version,
            loss: config.loss,
            timed: config.faults.timers,
            journal: config.journal,
            transactions: config.transactions,
            gap: config.faults.gap,
        }
    }

    /// The connection ended: what was sent was sent on an earlier one from now on.
    pub(super) fn connection_ended(&mut self) {
        for publish in &mut self.publishes {
            for byte in [&mut publish.publish, &mut publish.pubrel] {
                if *byte == Byte::Now {
                    *byte = Byte::Earlier;
                }
            }
        }
        self.disconnected();
        self.flying.clear();
        self.to_resume.clear();
        self.leaving.clear();
        self.last = None;
    }

    /// The application has disconnected: its acknowledgements come too late from now on.
    pub(super) fn disconnected(&mut self) {
        self.stale = self.due.iter().find_map(|due| due.token).or(self.stale);
        self.due.clear();
    }

    /// The program started again: no tokens of received messages are left.
    pub(super) fn restarted(&mut self) {
        self.stale = None;
    }

    /// The client has seen a CONNACK.
    pub(super) fn connected(&mut self, session_present: bool) {
        if session_present || self.version == ProtocolVersion::V3_1 {
            self.to_resume = self.released.iter().copied().collect();
            return;
        }
        self.released.clear();
        self.forget(|publish| publish.publish != Byte::Now);
        self.may_fail = true;
    }

    /// The application gives the Session up.
    pub(super) fn discarded(&mut self) {
        self.released.clear();
        self.forget(|_| true);
        self.may_fail = true;
        for incoming in &mut self.incoming {
            incoming.secured = false;
        }
    }

    /// Identifiers and DUP mean nothing in a new Session.
    fn forget(&mut self, which: impl Fn(&Publish) -> bool) {
        for publish in self.publishes.iter_mut().filter(|publish| which(publish)) {
            publish.id = None;
            publish.publish = Byte::Never;
            publish.pubrel = Byte::Never;
        }
    }

    /// What the Server sends now; the acknowledgement that it wants is due. With QoS 2, one that is due serves copies too.
    /// `noted`: the client knows its QoS 2 identifier.
    pub(super) fn publish_received(&mut self, sent: Sent, noted: bool) {
        let answer = match sent.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => Answer::Puback(sent.id),
            QoS::ExactlyOnce => Answer::Pubrec(sent.id),
        };
        if sent.qos == QoS::ExactlyOnce && self.due.iter().any(|due| due.answer == answer) {
            return;
        }
        let incoming = &mut self.incoming[usize::from(sent.number)];
        let mut known = sent.qos == QoS::ExactlyOnce && incoming.secured;
        if self.gap && sent.qos == QoS::ExactlyOnce && noted && !known {
            // The price of the gap: of a Session that nobody told the client of, it looks like a copy of a message of the
            // one before.
            known = true;
            incoming.lost = true;
        }
        let acknowledged = !self.manual || known;
        self.due.push_back(Due { answer, number: sent.number, acknowledged, token: None });
        self.leave();
    }

    /// A PUBREL of the Server: its answer is due at once.
    pub(super) fn pubrel_received(&mut self, id: u16) {
        self.leaving.push_back(Answer::Pubcomp(id));
    }

    fn leave(&mut self) {
        while self.due.front().is_some_and(|due| due.acknowledged) {
            self.leaving.extend(self.due.pop_front().map(|due| due.answer));
        }
    }

    /// The application got a message.
    pub(super) fn message(&mut self, payload: &[u8], qos: QoS, token: Option<AckToken>) -> Check {
        let number = server::number(payload)?;
        let incoming = &mut self.incoming[usize::from(number)];
        check!(
            qos != QoS::ExactlyOnce || !incoming.secured,
            "message {number} with QoS 2 is handed over twice"
        );
        check!(qos != QoS::AtMostOnce || !incoming.handed_over, "message {number} with QoS 0 came twice");
        check!(token.is_some() == (self.manual && qos != QoS::AtMostOnce), "token of message {number}");
        incoming.handed_over = true;
        incoming.secured |= !self.manual;
        incoming.acknowledged |= !self.manual;
        if let Some(token) = token {
            let due = self.due.iter_mut().rev().find(|due| due.number == number);
            due.ok_or("a message that nobody sent")?.token = Some(token);
        }
        Ok(())
    }

    /// What the application may acknowledge, in the order of receipt.
    pub(super) fn tokens(&self) -> impl Iterator<Item = AckToken> {
        self.due.iter().filter(|due| !due.acknowledged).filter_map(|due| due.token)
    }

    /// How many acknowledgements wait for the application.
    pub(super) fn due_len(&self) -> usize {
        self.due.len()
    }

    /// A token that must not be accepted any more.
    pub(super) const fn stale(&self) -> Option<AckToken> {
        self.stale
    }

    /// The application acknowledges a message, or only holds it.
    pub(super) fn acknowledges(&mut self, token: AckToken, hold: bool) {
        let Some(due) = self.due.iter_mut().find(|due| due.token == Some(token)) else { return };
        due.acknowledged |= !hold;
        let incoming = &mut self.incoming[usize::from(due.number)];
        incoming.secured = true;
        incoming.acknowledged |= !hold;
        self.leave();
    }

    /// How many acknowledgements must be in the output.
    pub(super) fn leaving(&self) -> usize {
        self.leaving.len()
    }

    /// The Server passed a message on.
    pub(super) fn accepted(&mut self, number: u8) -> Check {
        let publish = &mut self.publishes[usize::from(number)];
        publish.accepted = (publish.accepted + 1).min(2);
        let again = std::mem::replace(&mut publish.in_session, true);
        let once = match publish.qos {
            QoS::AtMostOnce => true,
            QoS::AtLeastOnce => false,
            QoS::ExactlyOnce => self.loss != SessionLoss::RepublishAll,
        };
        // In the gap, QoS 2 is once for each Session of the Server.
        let twice = if self.gap { again } else { publish.accepted > 1 };
        check!(!once || !twice, "the Server passes message {number} on twice");
        Ok(())
    }

    /// The Server takes a message off its list, since the client has it.
    pub(super) fn taken_over(&self, number: u8) -> Check {
        let incoming = &self.incoming[usize::from(number)];
        check!(incoming.handed_over, "message {number} is acknowledged, but was not handed over");
        check!(
            incoming.acknowledged || incoming.secured,
            "message {number} is not the core's to acknowledge"
        );
        check!(
            !self.transactions || incoming.done > 0,
            "message {number} is acknowledged, but not processed"
        );
        Ok(())
    }

    /// The Server has lost messages with its Session.
    pub(super) fn lost(&mut self, numbers: &[u8]) {
        for &number in numbers {
            self.incoming[usize::from(number)].lost = true;
        }
    }

    /// The Server begins a new Session.
    pub(super) fn session_began(&mut self) {
        self.publishes.iter_mut().for_each(|publish| publish.in_session = false);
    }

    /// The client is given an acknowledgement; the message that is resolved by it.
    pub(super) fn acknowledged(&mut self, answer: Answer) -> Option<u8> {
        let number = self.owner(answer.id())?;
        match answer {
            Answer::Puback(_) | Answer::Pubcomp(_) => {
                self.flying.retain(|other| *other != number);
                self.released.retain(|other| *other != number);
                self.to_resume.retain(|other| *other != number);
                self.publishes[usize::from(number)].id = None;
                Some(number)
            }
            Answer::Pubrec(_) => {
                if !self.released.contains(&number) {
                    self.released.push(number);
                    if self.journal {
                        self.pubrecs.retain(|other| *other != number);
                        self.pubrecs.push(number);
                    }
                    self.flying.retain(|other| *other != number);
                }
                None
            }
            _ => None,
        }
    }

    /// A publish is resolved.
    pub(super) fn resolved(&mut self, token: PublishToken, outcome: Outcome) -> Result<u8, String> {
        let at = self.publishes.iter().position(|publish| publish.progress == Progress::Pending(token));
        let at = at.ok_or("a publish is resolved twice, or was never accepted")?;
        let publish = &mut self.publishes[at];
        publish.progress = Progress::Resolved;
        publish.id = None;
        match outcome {
            Outcome::Delivered => {
                check!(
                    publish.qos == QoS::AtMostOnce || publish.accepted > 0,
                    "message {at} is not delivered"
                );
            }
            Outcome::NotSent(Cause::Expired) => {
                check!(publish.expires && !publish.touched, "message {at} expires");
            }
            Outcome::NotSent(_) => {
                check!(!publish.touched, "message {at} is reported as not sent");
                check!(self.may_fail || publish.qos == QoS::AtMostOnce, "message {at} is given up");
            }
            Outcome::Ambiguous(_) => {
                check!(publish.touched, "message {at} was not sent at all");
                check!(self.may_fail, "message {at} is given up");
            }
        }
        u8::try_from(at).map_err(|_| "too many messages".into())
    }

    /// The application took a message back.
    pub(super) fn cancelled(&mut self, at: usize) -> Check {
        let publish = &mut self.publishes[at];
        check!(!publish.touched, "message {at} was taken back, but sent");
        publish.progress = Progress::Resolved;
        publish.id = None;
        Ok(())
    }

    /// A request is answered.
    pub(super) fn answered(&mut self, token: RequestToken) -> Check {
        let request = self.requests.iter_mut().find(|request| **request == Progress::Pending(token));
        *request.ok_or("a request is resolved twice, or was never accepted")? = Progress::Resolved;
        Ok(())
    }

    /// Nothing is left to be done: nothing may be missing.
    pub(super) fn quiescent(&self) -> Check {
        for (number, publish) in self.publishes.iter().enumerate() {
            check!(!publish.progress.is_pending(), "message {number} is never resolved");
        }
        for (number, request) in self.requests.iter().enumerate() {
            check!(!request.is_pending(), "request {number} is never answered");
        }
        for (number, incoming) in self.incoming.iter().enumerate() {
            check!(incoming.handed_over || incoming.lost, "message {number} of the Server never arrives");
            let done = !self.transactions || incoming.done > 0 || incoming.lost;
            check!(done, "message {number} of the Server is never processed");
        }
        Ok(())
    }

    /// What of it the rest of the search depends on, to the hasher. Tokens are names: which command they belong to is
    /// what the order in the lists tells.
    pub(super) fn hash(&self, state: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        for publish in &self.publishes {
            let progress = (publish.progress.is_pending(), publish.progress == Progress::ToDo);
            (progress, publish.accepted, publish.touched).hash(state);
            (publish.publish, publish.pubrel, publish.id).hash(state);
            (publish.in_session, publish.expires, publish.safety.safe).hash(state);
        }
        for request in &self.requests {
            (request.is_pending(), *request == Progress::ToDo).hash(state);
        }
        for safety in &self.request_safety {
            safety.safe.hash(state);
        }
        (&self.incoming, &self.released, &self.pubrecs, &self.to_resume, &self.flying, self.last).hash(state);
        self.due.len().hash(state);
        for due in &self.due {
            (due.answer, due.number, due.acknowledged, due.token.is_some()).hash(state);
        }
        (&self.leaving, self.stale.is_some()).hash(state);
    }
}
