//! One state of the search: the real core, a Server, the link between, and the monitor; and the steps from it.

mod actions;
mod crash;
mod disk;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::{Buf, Bytes};
use mqtt_codec::{
    Decoded, Decoder, Direction, Packet, PacketId, ProtocolVersion, QoS, TopicFilter, TopicName,
};

use super::monitor::{Check, Monitor, Progress, check};
use super::server::{Answer, Phase, Received, Server};
use super::{Config, Core, project};
use crate::error::{ConnectionError, ProtocolViolation};
use crate::event::Event;
use crate::message::Message;
use crate::session::Session;
use crate::state::State;
use crate::time::Time;
pub(super) use actions::Action;
use disk::Disk;

/// Rogue acknowledgements name this identifier when they are to be unknown.
const UNKNOWN: u16 = 99;

#[derive(Clone)]
pub(super) struct World {
    core: Core,
    now: Time,
    /// The output of the core, what of it waits for the journal, and the byte of it that was taken already.
    out: Vec<u8>,
    gated: Vec<u8>,
    partial: Option<u8>,
    /// The identifiers of the client in it.
    ids_in_output: Vec<u16>,
    server: Server,
    disk: Disk,
    monitor: Monitor,
    /// The publish that the present action must resolve.
    expected: Option<u8>,
    /// The answer that the present action has delivered.
    answered: Option<Answer>,
}

impl World {
    pub(super) fn new(config: &Config) -> Self {
        let core = Core::new(config.options(), Session::new()).unwrap();
        let (server, monitor) = (Server::new(config), Monitor::new(config));
        Self {
            core,
            now: Time::ZERO,
            out: Vec::new(),
            gated: Vec::new(),
            partial: None,
            ids_in_output: Vec::new(),
            server,
            disk: Disk::default(),
            monitor,
            expected: None,
            answered: None,
        }
    }

    /// What is the same in two worlds that will behave the same.
    pub(super) fn hash(&self, state: &mut impl Hasher) {
        project::hash(&self.core, self.now, state);
        (&self.out, &self.gated, self.partial, &self.server).hash(state);
        if self.core.journal().is_enabled() {
            self.disk.hash(&self.core, state);
        }
        self.monitor.hash(state);
    }

    /// The names of all fields within the core that `Debug` shows, but for those of the options.
    pub(super) fn fields(&self) -> String {
        let text = format!("{:#?}", self.core);
        let mut in_options = false;
        let mut names = BTreeSet::new();
        for line in text.lines() {
            in_options |= line == "    options: Options {";
            let name = line.split_once(": ").map(|(name, _)| name.trim());
            names.extend(name.filter(|name| {
                !in_options && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_2".contains(&byte))
            }));
            in_options &= line != "    },";
        }
        names.into_iter().collect::<Vec<_>>().join(" ")
    }

    /// Nothing is left to be done: nothing may be missing.
    pub(super) fn quiescent(&self, config: &Config) -> Check {
        self.monitor.quiescent()?;
        let session = self.core.session();
        check!(session.outgoing.is_empty() && session.requests.is_empty(), "something is left");
        // In the gap, those of a Session that the Server has lost stay until the Server uses them again.
        check!(config.faults.gap || session.received.is_empty(), "identifiers of received messages are left");
        let subscribed = !session.subscriptions.is_empty();
        check!(subscribed == self.server.subscribed, "subscribed: {subscribed}, which the Server denies");
        self.disk.quiescent(subscribed && self.core.journal().is_enabled())
    }

    /// Does it, and checks everything.
    pub(super) fn apply(&mut self, action: Action, config: &Config) -> Check {
        (self.expected, self.answered) = (None, None);
        self.monitor.may_fail = false;
        let paused = self.core.is_queue_paused();
        let in_flight = self.core.session().outgoing.in_flight();
        match action {
            Action::Byte | Action::Take | Action::TakeAndForget | Action::Lose => self.take(action)?,
            Action::Cut => self.cut(),
            Action::Timeout => self.timeout()?,
            Action::Fetch => self.fetch()?,
            Action::Write => self.write(config)?,
            Action::Crash => self.crash(config)?,
            Action::Connack | Action::Refuse => self.connack(action == Action::Connack)?,
            Action::Answer(at) => {
                let answer = self.server.answers.remove(at.into());
                self.answer(answer)?;
            }
            Action::Repeat(at) => self.answer(self.server.answers[usize::from(at)])?,
            Action::Send(at) | Action::SendAgain(at) => self.send(at)?,
            Action::Rogue(answer) => self.rogue(answer)?,
            _ => self.command(action, config)?,
        }
        self.settle(config)?;
        if paused && self.core.is_queue_paused() {
            let now = self.core.session().outgoing.in_flight();
            check!(now <= in_flight, "a message goes into flight though the queue is paused");
        }
        match self.pubrec(action) {
            Some(id) if !self.ids_in_output.contains(&id) => Err(format!("PUBREC {id} is not answered")),
            _ => Ok(()),
        }
    }

    /// The identifier of a PUBREC that must be answered now.
    fn pubrec(&self, action: Action) -> Option<u16> {
        match (action, self.answered) {
            (Action::Rogue(Answer::Pubrec(UNKNOWN)), _) => Some(UNKNOWN),
            (Action::Answer(_) | Action::Repeat(_), Some(Answer::Pubrec(id))) => Some(id),
            _ => None,
        }
    }

    fn command(&mut self, action: Action, config: &Config) -> Check {
        match action {
            Action::Publish => self.publish()?,
            Action::Request => self.request()?,
            Action::Connect => {
                self.monitor.connection_ended();
                self.server.close();
                self.partial = None;
                self.core.connect(self.now).map_err(|error| error.to_string())?;
                self.server.phase = Phase::Open;
            }
            Action::Disconnect => {
                self.core.disconnect();
                self.monitor.disconnected();
            }
            Action::Discard => {
                self.cut();
                self.monitor.discarded();
                self.core.discard_session();
            }
            Action::Restart => self.restart(config)?,
            Action::Ping => self.core.ping(self.now).map_err(|error| error.to_string())?,
            Action::Cancel => self.cancel()?,
            Action::Acknowledge(at) | Action::Hold(at) => {
                let token = self.monitor.tokens().nth(at.into()).ok_or("no such token")?;
                let hold = matches!(action, Action::Hold(_));
                if config.transactions {
                    let number = self.monitor.received_as(token).ok_or("no such message")?;
                    self.disk.process(number);
                    self.core.barrier();
                }
                self.monitor.acknowledges(token, hold);
                let done = if hold { self.core.hold(token) } else { self.core.acknowledge(token) };
                done.map_err(|error| error.to_string())?;
            }
            Action::Pause => self.core.pause_queue(!self.core.is_queue_paused()),
            Action::Expire => self.expire()?,
            other => return Err(format!("{other:?} is no command")),
        }
        Ok(())
    }

    fn publish(&mut self) -> Check {
        let at = self.monitor.publishes.iter().position(|publish| publish.progress == Progress::ToDo);
        let at = at.ok_or("no message is left")?;
        let publish = &mut self.monitor.publishes[at];
        let topic = TopicName::from_static("t").map_err(|error| error.to_string())?;
        let message = Message::new(topic, Bytes::copy_from_slice(&[at as u8])).qos(publish.qos);
        publish.progress = match self.core.publish(message) {
            Ok(Some(token)) => Progress::Pending(token),
            // QoS 0 that is in the output, or is refused without a connection.
            Ok(None) | Err(_) if publish.qos == QoS::AtMostOnce => Progress::Resolved,
            other => return Err(format!("publish: {other:?}")),
        };
        publish.safety.mark = self.core.journal().mark();
        Ok(())
    }

    fn request(&mut self) -> Check {
        let at = self.monitor.requests.iter().position(|request| *request == Progress::ToDo);
        let at = at.ok_or("no request is left")?;
        let filter = TopicFilter::from_static("f").map_err(|error| error.to_string())?;
        let token = match at % 2 {
            0 => self.core.subscribe(vec![(filter, QoS::AtLeastOnce)]),
            _ => self.core.unsubscribe(vec![filter]),
        };
        self.monitor.requests[at] = Progress::Pending(token.map_err(|error| error.to_string())?);
        self.monitor.request_safety[at].mark = self.core.journal().mark();
        Ok(())
    }

    fn expire(&mut self) -> Check {
        let (at, token) = self.last_token().ok_or("no publish is left")?;
        if self.core.expire(token, self.now + Duration::from_secs(1)).is_ok() {
            self.monitor.publishes[at].expires = true;
        }
        Ok(())
    }

    fn cancel(&mut self) -> Check {
        let (at, token) = self.last_token().ok_or("no publish is left")?;
        if self.core.cancel(token).is_ok() {
            self.monitor.cancelled(at)?;
        }
        Ok(())
    }

    /// What becomes of a Session that is stored and loaded.
    fn restart(&mut self, config: &Config) -> Check {
        self.cut();
        self.settle(config)?;
        let core = std::mem::replace(&mut self.core, Self::new(config).core);
        let before = core.into_session();
        let after = Session::from_bytes(&before.to_bytes()).map_err(|error| error.to_string())?;
        check!(before.to_bytes() == after.to_bytes(), "the stored Session is another one");
        let renamed: Vec<_> = before
            .pending_publishes()
            .zip(after.pending_publishes())
            .map(|((before, _), (after, _))| (before, after))
            .collect();
        for publish in &mut self.monitor.publishes {
            if let Progress::Pending(token) = &mut publish.progress {
                let name = renamed.iter().find(|(before, _)| before == token);
                *token = name.ok_or("the stored Session lacks a publish")?.1;
            }
        }
        self.core = Core::new(config.options(), after).map_err(|error| error.to_string())?;
        self.monitor.restarted();
        Ok(())
    }

    fn cut(&mut self) {
        self.core.handle_close();
        self.ended();
    }

    /// The connection is gone, on both sides.
    fn ended(&mut self) {
        self.server.close();
        self.monitor.connection_ended();
        self.partial = None;
    }

    fn timeout(&mut self) -> Check {
        self.now = self.core.poll_timeout().unwrap_or(self.now);
        if self.core.handle_timeout(self.now).is_err() {
            self.ended();
        }
        let expiry = self.core.session().outgoing.first_expiry();
        check!(expiry.is_none_or(|(time, _)| time > self.now), "what has expired waits on");
        Ok(())
    }

    /// The transport takes a byte, or the next packet.
    fn take(&mut self, action: Action) -> Check {
        let stream: Vec<u8> = self.partial.iter().chain(&self.out).copied().collect();
        let decoder = Decoder::new(self.core.version(), Direction::ToServer);
        let (packet, len) = match decoder.decode(&stream) {
            Ok(Decoded::Packet(packet, len)) => (packet, len),
            other => return Err(format!("the output is no packet: {other:?}")),
        };
        if self.partial.is_none() {
            self.monitor.first_byte(&packet)?;
            if self.core.journal().is_enabled() {
                self.disk.backs(&packet, !self.core.session().subscriptions.is_empty())?;
            }
        }
        if action == Action::Byte {
            self.partial = stream.first().copied();
            self.core.poll_output(self.now).advance(1);
            return Ok(());
        }
        self.core.poll_output(self.now).advance(len - usize::from(self.partial.take().is_some()));
        self.monitor.complete(&packet)?;
        self.server.deaf |= action == Action::Lose;
        if self.server.deaf {
            return Ok(());
        }
        match self.server.receive(&packet, action == Action::Take)? {
            Received::Nothing => {}
            Received::Accepted(number) => self.monitor.accepted(number)?,
            Received::Acknowledged(number) => self.monitor.taken_over(number)?,
            Received::Lost(numbers) => {
                self.monitor.lost(&numbers);
                self.monitor.session_began();
            }
        }
        if matches!(packet, Packet::Disconnect) {
            self.ended();
        }
        Ok(())
    }

    fn connack(&mut self, accept: bool) -> Check {
        let Phase::Greeted(present) = self.server.phase else { return Err("no CONNECT came".into()) };
        if !accept {
            let error = self.feed(&[0x20, 2, 0, 3]);
            check!(matches!(error, Ok(Some(ConnectionError::Refused(_)))), "a refusal is {error:?}");
            return Ok(());
        }
        self.server.greeted();
        self.monitor.connected(present);
        self.deliver(&[0x20, 2, u8::from(present), 0])
    }

    fn answer(&mut self, answer: Answer) -> Check {
        self.answered = Some(answer);
        self.expected = self.monitor.acknowledged(answer);
        self.deliver(&answer.encode())
    }

    fn send(&mut self, at: u8) -> Check {
        match self.server.send(at.into()) {
            Ok(sent) => {
                let noted = PacketId::new(sent.id).is_some_and(|id| {
                    self.core.version() == ProtocolVersion::V3_1_1
                        && self.core.session().received.contains(id)
                });
                self.monitor.publish_received(sent, noted);
                self.deliver(&sent.encode())
            }
            Err(pubrel) => {
                self.monitor.pubrel_received(pubrel.id());
                self.deliver(&pubrel.encode())
            }
        }
    }

    fn rogue(&mut self, answer: Answer) -> Check {
        if answer.id() != UNKNOWN && answer != Answer::Pingresp {
            let error = self.feed(&answer.encode())?;
            return match error {
                Some(ConnectionError::Protocol(ProtocolViolation::WrongAcknowledgement { id, .. }))
                    if id == answer.id() =>
                {
                    Ok(())
                }
                other => Err(format!("{answer:?} leads to {other:?}")),
            };
        }
        if answer == Answer::Pubrel(UNKNOWN) {
            self.monitor.pubrel_received(UNKNOWN);
        }
        self.deliver(&answer.encode())
    }

    /// A packet arrives that gives no reason to end the connection.
    fn deliver(&mut self, bytes: &[u8]) -> Check {
        match self.feed(bytes)? {
            None => Ok(()),
            Some(error) => Err(format!("a conforming Server is told off: {error}")),
        }
    }

    /// Bytes arrive; the error that ends the connection.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<ConnectionError>, String> {
        let mut input = bytes;
        loop {
            match self.core.handle_input(&mut input, self.now) {
                Ok(None) => break,
                Ok(Some(event)) => self.event(event)?,
                Err(error) => {
                    check!(self.core.state() == State::Disconnected, "an error, but the connection goes on");
                    self.ended();
                    return Ok(Some(error));
                }
            }
        }
        check!(input.is_empty(), "input is left");
        Ok(None)
    }

    fn event(&mut self, event: Event<'_>) -> Check {
        match event {
            Event::Message(message) => self.monitor.message(message.payload, message.qos, message.ack),
            Event::Published { token, outcome } => {
                let number = self.monitor.resolved(token, outcome)?;
                let other = self.expected.take().filter(|expected| *expected != number);
                check!(other.is_none(), "message {number} is resolved instead of {other:?}");
                Ok(())
            }
            Event::Subscribed { token, .. } | Event::Unsubscribed { token } => self.monitor.answered(token),
            Event::RequestFailed { token, .. } => {
                check!(self.monitor.may_fail, "a request is given up");
                self.monitor.answered(token)
            }
            Event::Connected { .. } | Event::Pong => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// The application fetches all events, and looks at the output.
    fn settle(&mut self, config: &Config) -> Check {
        let error = self.feed(&[])?;
        check!(error.is_none(), "{error:?} out of nothing");
        check!(self.expected.is_none(), "message {:?} is acknowledged, but not resolved", self.expected);
        if let Some(stale) = self.monitor.stale() {
            check!(self.core.acknowledge(stale).is_err(), "a stale token is good");
        }
        self.look_at_output()?;
        if self.core.state() == State::Disconnected && self.core.output_len() == 0 {
            self.ended();
        }
        self.bound_ids(config);
        project::consistent(&self.core)
    }

    fn look_at_output(&mut self) -> Check {
        let mut segments = Vec::new();
        self.core.poll_output(self.now).segments(usize::MAX, &mut segments);
        self.out = segments.concat();
        self.gated = self.core.outbox().all().split_off(self.out.len());
        let stream: Vec<u8> = self.partial.iter().chain(&self.out).chain(&self.gated).copied().collect();
        let decoder = Decoder::new(self.core.version(), Direction::ToServer);
        let mut rest = &stream[..];
        let mut acknowledgements = 0;
        self.ids_in_output.clear();
        while !rest.is_empty() {
            let Ok(Decoded::Packet(packet, len)) = decoder.decode(rest) else {
                return Err(format!("the output is no packet: {rest:?}"));
            };
            match packet {
                Packet::Puback(_) | Packet::Pubrec(_) | Packet::Pubcomp(_) => acknowledgements += 1,
                Packet::Pubrel { id, .. } => self.ids_in_output.push(id.get()),
                Packet::Publish(publish) => {
                    self.ids_in_output.extend(publish.delivery.id().map(PacketId::get));
                }
                _ => {}
            }
            rest = &rest[len..];
        }
        let due = self.monitor.leaving();
        check!(acknowledgements == due, "{acknowledgements} acknowledgements in the output, {due} are due");
        Ok(())
    }

    /// Identifiers are used again soon: as if messages that came and went had taken all others in between. With copies
    /// under way an identifier rests, as it does among 65 535 others, until those and their answers have arrived or are
    /// lost.
    fn bound_ids(&mut self, config: &Config) {
        let copies = config.faults.repeat || config.faults.timers;
        let under_way =
            self.server.answers.iter().map(|answer| answer.id()).chain(self.ids_in_output.iter().copied());
        let resting = under_way.filter(|id| *id != UNKNOWN).max().filter(|_| copies).unwrap_or(0);
        let ids = &mut self.core.session.ids;
        let next = if resting == 0 && ids.cursor().get() > config.ids { 1 } else { ids.cursor().get() };
        if let Some(next) = PacketId::new(next.max(resting + 1)) {
            ids.set_cursor(next);
        }
    }
}
