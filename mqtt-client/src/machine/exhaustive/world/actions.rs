//! What can happen next in a state, and what will if all goes well.

use mqtt_codec::PacketId;

use super::super::Config;
use super::super::monitor::Progress;
use super::super::server::{Answer, Phase};
use super::{UNKNOWN, World};
use crate::message::PublishToken;
use crate::session::outgoing::Stage;
use crate::session::packet_ids::Owner;
use crate::session::requests::Kind;
use crate::state::State;

/// While so many bytes wait for the transport, nothing happens for a second time that only makes them more: the space
/// would have no end.
const MAX_OUTPUT: usize = 8;

/// The same for acknowledgements that wait for the application.
const MAX_DUE: usize = 3;

/// So many batches are being written at once.
const MAX_BATCHES: usize = 2;

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Action {
    /// The application publishes its next message.
    Publish,
    /// The application makes its next request: SUBSCRIBE, UNSUBSCRIBE, in turn.
    Request,
    Connect,
    Disconnect,
    Discard,
    /// The program ends and starts again with the stored Session.
    Restart,
    Ping,
    /// The application takes its last message back.
    Cancel,
    /// The application acknowledges one of the messages that wait for it.
    Acknowledge(u8),
    Hold(u8),
    /// The transport takes one byte of the next packet.
    Byte,
    /// The transport takes the (rest of the) next packet. If it is CONNECT, the Server finds the Session.
    Take,
    /// The same, but the Server has lost the Session.
    TakeAndForget,
    /// The same, but it does not arrive, nor anything behind it.
    Lose,
    /// The transport breaks.
    Cut,
    /// What has changed is fetched, to be written.
    Fetch,
    /// The store writes one change, or a whole batch.
    Write,
    /// The program crashes, and starts again with what is written.
    Crash,
    /// The application pauses the queue, or lets it go on.
    Pause,
    /// The last message of the application is to expire.
    Expire,
    /// What is due by the clock.
    Timeout,
    Connack,
    Refuse,
    /// One of the answers of the Server arrives.
    Answer(u8),
    /// The same, and once more later.
    Repeat(u8),
    /// The Server sends one of its messages, or its PUBREL.
    Send(u8),
    /// The same for the second time on this connection.
    SendAgain(u8),
    /// An acknowledgement of the wrong kind, or for nothing.
    Rogue(Answer),
}

impl World {
    /// All actions that are possible now, for each application, link and Server that the configuration allows.
    pub(in super::super) fn actions(&self, config: &Config) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut add = |possible: bool, action: Action| {
            if possible {
                actions.push(action);
            }
        };
        let faults = &config.faults;
        let state = self.core.state();
        let room = self.out.len() + self.gated.len() < MAX_OUTPUT && self.monitor.due_len() <= MAX_DUE;
        let closed = self.server.phase == Phase::Closed;
        add(self.monitor.publishes.iter().any(|publish| publish.progress == Progress::ToDo), Action::Publish);
        add(self.monitor.requests.contains(&Progress::ToDo), Action::Request);
        add(state == State::Disconnected, Action::Connect);
        add(faults.disconnect && state != State::Disconnected, Action::Disconnect);
        add(faults.discard, Action::Discard);
        add(faults.restart, Action::Restart);
        add(faults.cancel && self.last_token().is_some(), Action::Cancel);
        add(faults.timers && room && state == State::Connected, Action::Ping);
        for at in 0..self.monitor.tokens().count() as u8 {
            add(true, Action::Acknowledge(at));
            add(faults.hold, Action::Hold(at));
        }
        let has_output = !closed && !self.out.is_empty();
        let connects = has_output && self.out[0] == 0x10;
        let dup_matters = has_output && matches!(self.out[0] >> 4, 3 | 6 | 8 | 10) && self.out[0] & 6 != 0;
        add(faults.bytes && dup_matters && self.partial.is_none(), Action::Byte);
        add(has_output && (!connects || self.server.has_session() || self.server.deaf), Action::Take);
        add(
            connects && !self.server.deaf && (faults.forget || !self.server.has_session()),
            Action::TakeAndForget,
        );
        add(faults.lose && has_output && !self.server.deaf, Action::Lose);
        add(faults.cut && !closed, Action::Cut);
        add(self.core.journal().has_changes() && self.disk.writing() < MAX_BATCHES, Action::Fetch);
        add(self.disk.writing() > 0, Action::Write);
        add(faults.crash, Action::Crash);
        add(faults.pause, Action::Pause);
        add(faults.expire && self.may_expire(), Action::Expire);
        add((faults.timers || faults.expire) && room && self.core.poll_timeout().is_some(), Action::Timeout);
        if !closed && state != State::Disconnected {
            self.server_actions(config, room, &mut add);
        }
        actions
    }

    /// What the Server may send.
    fn server_actions(&self, config: &Config, room: bool, add: &mut impl FnMut(bool, Action)) {
        let faults = &config.faults;
        let greeted = matches!(self.server.phase, Phase::Greeted(_));
        add(greeted, Action::Connack);
        add(greeted && faults.refuse, Action::Refuse);
        if self.server.phase != Phase::Live {
            return;
        }
        for at in 0..self.server.answers.len() {
            if self.server.may_answer(at) {
                add(true, Action::Answer(at as u8));
                add(faults.repeat && room, Action::Repeat(at as u8));
            }
        }
        for at in self.server.sendable() {
            add(true, Action::Send(at as u8));
        }
        for at in self.server.repeatable() {
            add(faults.repeat && room, Action::SendAgain(at as u8));
        }
        if faults.rogue && room {
            for id in (1..=config.ids).chain([UNKNOWN]) {
                let all = [Answer::Puback, Answer::Pubrec, Answer::Pubcomp, Answer::Suback, Answer::Unsuback];
                for answer in all.map(|answer| answer(id)) {
                    add(self.is_rogue(answer) || id == UNKNOWN, Action::Rogue(answer));
                }
            }
            add(true, Action::Rogue(Answer::Pubrel(UNKNOWN)));
            add(true, Action::Rogue(Answer::Pingresp));
        }
    }

    /// What a good link and a Server that answers do next; `None` if nothing is left to be done.
    pub(in super::super) fn fair(&self) -> Option<Action> {
        let connects = self.out.first() == Some(&0x10);
        if self.core.is_queue_paused() {
            return Some(Action::Pause);
        }
        if self.disk.writing() > 0 {
            return Some(Action::Write);
        }
        if self.core.journal().has_changes() {
            return Some(Action::Fetch);
        }
        if self.core.state() == State::Disconnected {
            return Some(Action::Connect);
        }
        if self.server.deaf {
            return Some(Action::Cut);
        }
        if !self.out.is_empty() {
            let found = !connects || self.server.has_session();
            return Some(if found { Action::Take } else { Action::TakeAndForget });
        }
        match self.server.phase {
            Phase::Closed | Phase::Open => return Some(Action::Cut),
            Phase::Greeted(_) => return Some(Action::Connack),
            Phase::Live => {}
        }
        if !self.server.answers.is_empty() {
            return Some(Action::Answer(0));
        }
        if self.monitor.tokens().next().is_some() {
            return Some(Action::Acknowledge(0));
        }
        self.server.sendable().next().map(|at| Action::Send(at as u8))
    }

    /// The last publish that is not resolved.
    pub(super) fn last_token(&self) -> Option<(usize, PublishToken)> {
        self.monitor.publishes.iter().enumerate().rev().find_map(|(at, publish)| match publish.progress {
            Progress::Pending(token) => Some((at, token)),
            _ => None,
        })
    }

    /// Whether the last publish waits in the queue, and does not expire yet.
    fn may_expire(&self) -> bool {
        self.last_token().is_some_and(|(at, _)| !self.monitor.publishes[at].expires)
    }

    /// Whether an identifier is in use, and not for what this acknowledges.
    fn is_rogue(&self, answer: Answer) -> bool {
        let session = self.core.session();
        match PacketId::new(answer.id()).and_then(|id| session.ids.get(id)) {
            None => false,
            Some(Owner::Publish(place)) => match session.outgoing.get(place).map(|entry| entry.stage) {
                Some(Stage::AwaitingPuback) => !matches!(answer, Answer::Puback(_)),
                Some(Stage::AwaitingPubrec) => !matches!(answer, Answer::Pubrec(_)),
                // A PUBREC is right here too, if it comes again.
                _ => !matches!(answer, Answer::Pubcomp(_) | Answer::Pubrec(_)),
            },
            Some(Owner::Request(place)) => match session.requests.get(place).map(|request| &request.kind) {
                Some(Kind::Unsubscribe(_)) => !matches!(answer, Answer::Unsuback(_)),
                _ => !matches!(answer, Answer::Suback(_)),
            },
        }
    }
}
