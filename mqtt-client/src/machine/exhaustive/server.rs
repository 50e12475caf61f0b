//! The Server of the search: what a conforming one keeps, and everything that it may do next.

use std::fmt;

use mqtt_codec::{Delivery, Packet, ProtocolVersion, QoS};

use super::Config;

/// A packet of the Server that is nothing but a type and an identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Answer {
    Puback(u16),
    Pubrec(u16),
    Pubrel(u16),
    Pubcomp(u16),
    Suback(u16),
    Unsuback(u16),
    Pingresp,
}

impl Answer {
    pub(super) const fn id(self) -> u16 {
        match self {
            Self::Puback(id)
            | Self::Pubrec(id)
            | Self::Pubrel(id)
            | Self::Pubcomp(id)
            | Self::Suback(id)
            | Self::Unsuback(id) => id,
            Self::Pingresp => 0,
        }
    }

    /// Its bytes.
    pub(super) fn encode(self) -> Vec<u8> {
        let [high, low] = self.id().to_be_bytes();
        match self {
            Self::Puback(_) => vec![0x40, 2, high, low],
            Self::Pubrec(_) => vec![0x50, 2, high, low],
            Self::Pubrel(_) => vec![0x62, 2, high, low],
            Self::Pubcomp(_) => vec![0x70, 2, high, low],
            Self::Suback(_) => vec![0x90, 3, high, low, 1],
            Self::Unsuback(_) => vec![0xb0, 2, high, low],
            Self::Pingresp => vec![0xd0, 0],
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Puback(_) => "PUBACK",
            Self::Pubrec(_) => "PUBREC",
            Self::Pubrel(_) => "PUBREL",
            Self::Pubcomp(_) => "PUBCOMP",
            Self::Suback(_) => "SUBACK",
            Self::Unsuback(_) => "UNSUBACK",
            Self::Pingresp => "PINGRESP",
        };
        write!(f, "{name} {}", self.id())
    }
}

/// How far a connection has got, as the Server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// There is no transport.
    Closed,
    /// No CONNECT came yet.
    Open,
    /// The CONNACK is due; whether it says Session Present.
    Greeted(bool),
    Live,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Not sent yet, in this Session.
    Queued,
    /// PUBLISH waits for its acknowledgement; `due`: it was sent on an earlier connection and not on this one.
    Sent { due: bool },
    /// PUBREC came: PUBREL waits for its PUBCOMP; `due`: it was not sent on this connection.
    Released { due: bool },
}

/// A message for the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Outgoing {
    /// Its number among the messages of the Server.
    pub(super) number: u8,
    pub(super) qos: QoS,
    id: u16,
    pub(super) stage: Stage,
}

/// A PUBLISH of the Server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) number: u8,
    pub(super) qos: QoS,
    pub(super) id: u16,
    pub(super) dup: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) phase: Phase,
    /// The transport takes bytes, and none of them arrives any more.
    pub(super) deaf: bool,
    /// It has a Session that the next CONNECT can find. Unless `gap`, one that the client was never told of is taken as
    /// new by both: else a Server that forgets, and whose CONNACK is then lost, claims the next time that it remembers.
    told: bool,
    gap: bool,
    /// The QoS 2 identifiers without their PUBREL, with the number of the message.
    held: Vec<(u16, u8)>,
    /// Answers that may go now or later, in any order; sorted.
    pub(super) answers: Vec<Answer>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) subscribed: bool,
    /// Each message has its own identifier. Otherwise the lowest that is free is used again at once, which must not be
    /// while copies of a packet are answered twice.
    own_ids: bool,
}

/// What the Server did with a packet.
pub(super) enum Received {
    Nothing,
    /// It took a message of the client over.
    Accepted(u8),
    /// The client acknowledged the message with this number, for good.
    Acknowledged(u8),
    /// A new Session began: these messages went with the last one.
    Lost(Vec<u8>),
}

impl Server {
    pub(super) fn new(config: &Config) -> Self {
        let outgoing = (0_u8..)
            .zip(config.incoming)
            .map(|(number, &qos)| Outgoing { number, qos, id: 0, stage: Stage::Queued })
            .collect();
        Self {
            phase: Phase::Closed,
            deaf: false,
            told: false,
            gap: config.faults.gap,
            held: Vec::new(),
            answers: Vec::new(),
            outgoing,
            subscribed: false,
            own_ids: config.faults.repeat,
        }
    }

    /// The transport is gone.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.deaf = false;
        self.answers.clear();
    }

    /// The Session goes on: all that is under way is to be sent again. Or it is lost, and with it what is under way.
    fn resume(&mut self, keep: bool) -> Vec<u8> {
        let mut lost = Vec::new();
        if !keep {
            self.held.clear();
            self.subscribed = false;
            self.outgoing.retain(|outgoing| {
                let keep = outgoing.stage == Stage::Queued;
                if !keep {
                    lost.push(outgoing.number);
                }
                keep
            });
        }
        for outgoing in &mut self.outgoing {
            if let Stage::Sent { due } | Stage::Released { due } = &mut outgoing.stage {
                *due = true;
            }
        }
        lost
    }

    fn answer(&mut self, answer: Answer) {
        // Of many copies two are enough: the others may as well never arrive.
        if self.answers.iter().filter(|other| **other == answer).count() < 2 {
            let at = self.answers.partition_point(|other| *other < answer);
            self.answers.insert(at, answer);
        }
    }

    /// Whether an answer may be the next one. Of two that are the same one is enough.
    pub(super) fn may_answer(&self, at: usize) -> bool {
        !self.answers[..at].contains(&self.answers[at])
    }

    /// The identifier under which it has sent one of its messages.
    pub(super) fn id_of(&self, number: u8) -> Option<u16> {
        let sent = |out: &&Outgoing| out.number == number && out.stage != Stage::Queued;
        self.outgoing.iter().find(sent).map(|out| out.id)
    }

    /// Whether a CONNECT now can find the Session.
    pub(super) const fn has_session(&self) -> bool {
        self.told
    }

    /// The client has seen the CONNACK.
    pub(super) fn greeted(&mut self) {
        self.phase = Phase::Live;
        self.told = true;
    }

    /// A packet of the client arrives. `keep`: a CONNECT finds the Session.
    pub(super) fn receive(&mut self, packet: &Packet<'_>, keep: bool) -> Result<Received, String> {
        match packet {
            Packet::Connect(connect) => {
                let present = keep && self.told && !connect.clean_session;
                self.told = (self.told && present) || self.gap;
                let tells = connect.version == ProtocolVersion::V3_1_1;
                self.phase = Phase::Greeted(present && tells);
                let lost = self.resume(present);
                return Ok(if present { Received::Nothing } else { Received::Lost(lost) });
            }
            Packet::Publish(publish) => {
                let number = number(publish.payload)?;
                match publish.delivery {
                    Delivery::AtMostOnce => {}
                    Delivery::AtLeastOnce { id, .. } => self.answer(Answer::Puback(id.get())),
                    Delivery::ExactlyOnce { id, .. } => {
                        let id = id.get();
                        self.answer(Answer::Pubrec(id));
                        match self.held.iter().find(|(held, _)| *held == id) {
                            None => self.held.push((id, number)),
                            Some((_, other)) if *other == number => return Ok(Received::Nothing),
                            Some(_) => {
                                return Err(format!("identifier {id} still stands for another message"));
                            }
                        }
                    }
                }
                return Ok(Received::Accepted(number));
            }
            Packet::Pubrel { id, .. } => {
                self.held.retain(|(held, _)| *held != id.get());
                self.answer(Answer::Pubcomp(id.get()));
            }
            Packet::Subscribe(subscribe) => {
                self.subscribed = true;
                self.answer(Answer::Suback(subscribe.id.get()));
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.subscribed = false;
                self.answer(Answer::Unsuback(unsubscribe.id.get()));
            }
            Packet::Puback(id) => return self.acknowledged(Answer::Puback(id.get())),
            Packet::Pubrec(id) => return self.acknowledged(Answer::Pubrec(id.get())),
            Packet::Pubcomp(id) => return self.acknowledged(Answer::Pubcomp(id.get())),
            Packet::Pingreq => self.answer(Answer::Pingresp),
            Packet::Disconnect => self.close(),
            other => return Err(format!("a client sends {other:?}")),
        }
        Ok(Received::Nothing)
    }

    fn acknowledged(&mut self, answer: Answer) -> Result<Received, String> {
        let Some(at) =
            self.outgoing.iter().position(|out| out.stage != Stage::Queued && out.id == answer.id())
        else {
            // A second answer to a copy.
            return Ok(Received::Nothing);
        };
        let outgoing = &mut self.outgoing[at];
        let number = outgoing.number;
        match (answer, outgoing.qos, outgoing.stage) {
            (Answer::Puback(_), QoS::AtLeastOnce, _) => {
                self.outgoing.remove(at);
                Ok(Received::Acknowledged(number))
            }
            (Answer::Pubrec(_), QoS::ExactlyOnce, Stage::Sent { .. }) => {
                outgoing.stage = Stage::Released { due: true };
                Ok(Received::Acknowledged(number))
            }
            (Answer::Pubcomp(_), QoS::ExactlyOnce, Stage::Released { .. }) => {
                self.outgoing.remove(at);
                Ok(Received::Nothing)
            }
            // Copies.
            (Answer::Pubrec(_), QoS::ExactlyOnce, _) => Ok(Received::Nothing),
            _ => Err(format!("{answer:?} for {outgoing:?}")),
        }
    }

    /// Which of its messages the Server may send, or send the PUBREL of, for the first time on this connection:
    /// PUBLISHes in their order, PUBRELs whenever it likes.
    pub(super) fn sendable(&self) -> impl Iterator<Item = usize> {
        let next = |out: &Outgoing| matches!(out.stage, Stage::Queued | Stage::Sent { due: true });
        let first = self.outgoing.iter().position(next);
        self.outgoing.iter().enumerate().filter_map(move |(at, out)| {
            (Some(at) == first || out.stage == Stage::Released { due: true }).then_some(at)
        })
    }

    /// Which of them it may send a second time on this connection.
    pub(super) fn repeatable(&self) -> impl Iterator<Item = usize> {
        let again = |out: &Outgoing| {
            out.qos != QoS::AtMostOnce
                && matches!(out.stage, Stage::Sent { due: false } | Stage::Released { due: false })
        };
        self.outgoing.iter().enumerate().filter(move |(_, out)| again(out)).map(|(at, _)| at)
    }

    /// Sends what is next for one message: a PUBLISH, or else a PUBREL.
    pub(super) fn send(&mut self, at: usize) -> Result<Sent, Answer> {
        let own = u16::from(self.outgoing[at].number) + 1;
        let used = |id: &u16| self.outgoing.iter().any(|out| out.stage != Stage::Queued && out.id == *id);
        let free = if self.own_ids { own } else { (1..).find(|id| !used(id)).unwrap_or(0) };
        let outgoing = &mut self.outgoing[at];
        let dup = match &mut outgoing.stage {
            Stage::Released { due } => {
                *due = false;
                return Err(Answer::Pubrel(outgoing.id));
            }
            Stage::Sent { due } => {
                *due = false;
                true
            }
            stage @ Stage::Queued => {
                *stage = Stage::Sent { due: false };
                outgoing.id = free;
                false
            }
        };
        let sent = Sent { number: outgoing.number, qos: outgoing.qos, id: outgoing.id, dup };
        if sent.qos == QoS::AtMostOnce {
            self.outgoing.remove(at);
        }
        Ok(sent)
    }
}

impl Sent {
    /// Its bytes: the topic is `t`, the payload the number.
    pub(super) fn encode(self) -> Vec<u8> {
        let flags = 0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1;
        let [high, low] = self.id.to_be_bytes();
        match self.qos {
            QoS::AtMostOnce => vec![flags, 4, 0, 1, b't', self.number],
            _ => vec![flags, 6, 0, 1, b't', high, low, self.number],
        }
    }
}

/// The number of a message, which is its payload.
pub(super) fn number(payload: &[u8]) -> Result<u8, String> {
    match payload {
        [number] => Ok(*number),
        other => Err(format!("a payload that nobody sent: {other:?}")),
    }
}
