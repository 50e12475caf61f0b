//! Client, Server and the link between them: a copy of it goes on from the same byte on its own.

use std::collections::BTreeMap;
use std::mem;

use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{
    AckMode, AckToken, AcknowledgeError, Client, Event, IncomingMessage, Message, Outcome, ProtocolVersion,
    PubSub, PublishToken, QoS, RequestToken, SessionLoss, State, Time, TopicFilter, TopicName,
};
use mqtt_codec::{Decoded, Decoder, Direction, Packet};

use crate::checks::{Checks, number};
use crate::script::{SCRIPT, SUBSCRIBED, Step};
use crate::server::{Routed, Server};
use crate::{ServerSession, Settings};

/// Keep Alive is not what this is about.
const NOW: Time = Time::ZERO;
/// Small enough for messages to wait in the queue.
const WINDOW: usize = 4;

/// A publish of the client.
#[derive(Clone)]
struct Published {
    payload: Bytes,
    qos: QoS,
    token: Option<PublishToken>,
    outcome: Option<Outcome>,
}

/// What the application got of one message.
#[derive(Clone, Copy, Default)]
struct Got {
    events: usize,
    /// Those without DUP.
    new: usize,
    /// How often it said that it has the message: with `acknowledge` or `hold`.
    taken: usize,
}

/// Everything that came out of the client.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Trace {
    pub(crate) events: Vec<String>,
    pub(crate) output: Vec<u8>,
    /// How many bytes it was given.
    pub(crate) fed: usize,
}

#[derive(Clone)]
pub(crate) struct World {
    settings: Settings,
    client: Client<PubSub>,
    pub(crate) server: Server,
    checks: Checks,
    /// Taken by the transport, and not yet a whole packet.
    wire: Vec<u8>,
    /// Fed, and not used by the client yet.
    inbox: Vec<u8>,
    /// The place in the script.
    at: usize,
    published: Vec<Published>,
    server_published: usize,
    requests: Vec<RequestToken>,
    got: BTreeMap<Routed, Got>,
    /// Messages that wait for their acknowledgement, and whether that is what tells that the application has them.
    tokens: Vec<(AckToken, Routed, bool)>,
    /// The Server has lost the Session in the midst.
    was_lost: bool,
    trace: Option<Trace>,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let version = settings.version;
        Self {
            settings,
            client: Client::new(settings.options().max_in_flight(WINDOW as u32)).unwrap(),
            server: Server::new(version),
            checks: Checks::new(version, WINDOW),
            wire: Vec::new(),
            inbox: Vec::new(),
            at: 0,
            published: Vec::new(),
            server_published: 0,
            requests: Vec::new(),
            got: BTreeMap::new(),
            tokens: Vec::new(),
            // A clean one is lost each time, without a cut too.
            was_lost: settings.session == ServerSession::Clean,
            trace: None,
        }
    }

    pub(crate) fn traced(mut self) -> Self {
        self.trace = Some(Trace::default());
        self
    }

    pub(crate) fn trace(&self) -> Trace {
        self.trace.clone().unwrap_or_default()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.client.output_len()
    }

    /// Connected, and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.client.state() == State::Connected
            && !self.client.has_output()
            && self.server.has_answered()
            && self.tokens.is_empty()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == SCRIPT.len() && self.is_idle()
    }

    /// What the application does before bytes move again: it connects, goes on in the script, and acknowledges.
    pub(crate) fn prepare(&mut self) {
        if self.client.state() == State::Disconnected && !self.client.has_output() {
            assert!(self.wire.is_empty(), "a part of a packet at the end of the connection");
            self.tokens.clear();
            self.server.cut();
            self.checks.connect();
            self.client.connect(NOW).unwrap();
        }
        self.server.send_late();
        while let Some(step) = SCRIPT.get(self.at) {
            if matches!(step, Step::Wait) && !self.is_idle() {
                break;
            }
            self.at += 1;
            if matches!(step, Step::Turn) {
                break;
            }
            self.step(*step);
        }
        if !self.client.has_output() && self.server.has_answered() {
            // The last one first.
            while let Some((token, routed, takes)) = self.tokens.pop() {
                self.client.acknowledge(token).unwrap();
                assert_eq!(self.client.acknowledge(token), Err(AcknowledgeError::Stale));
                self.got.entry(routed).or_default().taken += usize::from(takes);
            }
        }
        self.feed(b"");
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Subscribe(filters) => {
                let filters = filters.iter().map(|(name, qos)| (filter(name), *qos));
                let token = self.client.subscribe(filters).unwrap();
                self.requests.push(token);
            }
            Step::Unsubscribe(name) => {
                let token = self.client.unsubscribe([filter(name)]).unwrap();
                self.requests.push(token);
            }
            Step::Publish(name, qos, len) => self.publish(name, qos, len, false),
            Step::PublishLarge(name, qos) => self.publish(name, qos, self.settings.large, false),
            Step::Retain(name, qos) => self.publish(name, qos, 4, true),
            Step::FromServer(name, qos, len) => {
                self.server_published += 1;
                let payload = payload(&format!("s{}", self.server_published), len);
                self.server.publish(&topic(name), &payload, qos);
            }
            Step::Ping => drop(self.client.ping(NOW)),
            Step::Disconnect => self.client.disconnect(),
            Step::Turn | Step::Wait => {}
        }
    }

    fn publish(&mut self, name: &'static str, qos: QoS, len: usize, retain: bool) {
        let payload = payload(&self.published.len().to_string(), len);
        let message = Message::new(topic(name), payload.clone()).qos(qos).retain(retain);
        let token = self.client.publish(message).unwrap();
        assert!(token.is_some() || qos == QoS::AtMostOnce);
        self.published.push(Published { payload, qos, token, outcome: None });
    }

    /// The transport takes `count` bytes; they arrive, or are lost on their way with the connection.
    pub(crate) fn take(&mut self, count: usize, arrives: bool) {
        let taken = self.client.poll_output(NOW).copy_to_bytes(count);
        self.wire.extend_from_slice(&taken);
        if let Some(trace) = &mut self.trace {
            trace.output.extend_from_slice(&taken);
        }
        let wire = mem::take(&mut self.wire);
        let used = each_packet(&wire, self.settings.version, Direction::ToServer, |packet| {
            self.checks.sent(&packet, true);
            if arrives {
                self.server.receive(packet);
            }
        });
        self.wire.extend_from_slice(&wire[used..]);
    }

    /// The client gets the next `count` bytes of the Server.
    pub(crate) fn give(&mut self, count: usize) {
        let bytes = self.server.output.split_to(count);
        if let Some(trace) = &mut self.trace {
            trace.fed += count;
        }
        self.feed(&bytes);
    }

    fn feed(&mut self, bytes: &[u8]) {
        // What still comes after a DISCONNECT is not used.
        let listens = self.client.state() != State::Disconnected;
        self.inbox.extend_from_slice(bytes);
        let inbox = mem::take(&mut self.inbox);
        let mut input = &inbox[..];
        while let Some(event) = self.client.handle_input(&mut input, NOW).expect("a good Server") {
            self.event(&event);
        }
        self.inbox.extend_from_slice(input);
        let used = if listens { inbox.len() - input.len() } else { 0 };
        let version = self.settings.version;
        each_packet(&inbox[..used], version, Direction::ToClient, |packet| match packet {
            Packet::Connack(connack) => self.connected(connack.session_present),
            packet => self.checks.received(&packet),
        });
    }

    fn connected(&mut self, session_present: bool) {
        let expected =
            self.settings.version == ProtocolVersion::V3_1_1 && self.settings.session != ServerSession::Clean;
        assert!(expected || !session_present);
        // MQTT 3.1 does not tell; the client then goes on as if the Session was kept.
        let unknown =
            self.settings.version == ProtocolVersion::V3_1 && self.settings.session != ServerSession::Clean;
        self.checks.connected(session_present || unknown);
    }

    fn event(&mut self, event: &Event<'_>) {
        if let Some(trace) = &mut self.trace {
            trace.events.push(match event {
                Event::Message(message) => format!("{event:?} {:?}", message.payload),
                event => format!("{event:?}"),
            });
        }
        match event {
            Event::Message(message) => self.message(message),
            Event::Published { token, outcome } => {
                let published = self.published.iter_mut().rfind(|published| published.token == Some(*token));
                let before = published.expect("a token of ours").outcome.replace(*outcome);
                assert_eq!(before, None, "resolved twice");
            }
            Event::Subscribed { token, .. } | Event::Unsubscribed { token } => {
                let at = self.requests.iter().position(|request| request == token);
                self.requests.remove(at.expect("resolved once"));
            }
            Event::Connected { .. } | Event::Pong => {}
            other => panic!("{other:?}"),
        }
    }

    fn message(&mut self, message: &IncomingMessage<'_>) {
        let key = (Bytes::copy_from_slice(message.payload), message.qos);
        let routed = self.server.routed.get(&key).copied().expect("the Server sent it");
        let got = self.got.entry(key.clone()).or_default();
        got.events += 1;
        got.new += usize::from(!message.dup);
        let is_manual = self.settings.ack_mode == AckMode::Manual;
        let once = if is_manual { got.taken < routed } else { got.events <= routed };
        match message.qos {
            QoS::ExactlyOnce => assert!(once, "QoS 2 twice: {key:?}"),
            QoS::AtLeastOnce => assert!(got.new <= routed, "twice without DUP: {key:?}"),
            QoS::AtMostOnce => assert!(got.events <= routed, "QoS 0 twice: {key:?}"),
        }
        assert_eq!(message.ack.is_some(), is_manual && message.qos != QoS::AtMostOnce);
        let Some(token) = message.ack else { return };
        // Of some, the application says at once that it has them, and acknowledges them later.
        let holds = message.qos == QoS::ExactlyOnce && number(&key.0[1..]) % 2 == 0;
        if holds {
            self.client.hold(token).unwrap();
            got.taken += 1;
        }
        self.tokens.push((token, key, !holds));
    }

    /// The link breaks. What was taken of a packet counts as sent.
    pub(crate) fn cut(&mut self) {
        if !self.wire.is_empty() {
            let mut copy = self.client.clone();
            let mut output = copy.poll_output(NOW);
            let rest = output.copy_to_bytes(output.remaining());
            let whole = [&self.wire[..], &rest].concat();
            let decoder = Decoder::new(self.settings.version, Direction::ToServer);
            let Ok(Decoded::Packet(packet, _)) = decoder.decode(&whole) else { panic!("{whole:?}") };
            self.checks.sent(&packet, false);
        }
        self.client.handle_close();
        assert!(self.client.state() == State::Disconnected && !self.client.has_output());
        self.wire.clear();
        self.inbox.clear();
        for (token, ..) in self.tokens.drain(..) {
            assert_eq!(self.client.acknowledge(token), Err(AcknowledgeError::Stale));
            assert_eq!(self.client.hold(token), Err(AcknowledgeError::Stale));
        }
        self.server.cut();
        if self.settings.session != ServerSession::Kept {
            self.was_lost = true;
            self.server.lose_session();
        }
        self.feed(b"");
    }

    /// Goes on to the end of the script, and checks what came of it.
    pub(crate) fn finish(mut self) {
        for _ in 0..200 {
            if self.is_done() {
                return self.check_end();
            }
            self.prepare();
            while self.output_len() > 0 {
                self.take(self.output_len(), true);
            }
            self.give(self.server.output.len());
        }
        panic!("it never ends");
    }

    fn check_end(&self) {
        assert!(self.requests.is_empty(), "not resolved: {:?}", self.requests);
        assert!(self.server.is_idle(), "the Server waits for something");
        assert_eq!(self.client.session().pending_publishes().count(), 0);
        assert_eq!(self.client.in_flight_len() + self.client.queue_len(), 0);
        let subscribed: Vec<_> = self.server.subscriptions.keys().map(TopicFilter::as_str).collect();
        assert_eq!(subscribed, [SUBSCRIBED]);
        for index in 0..self.published.len() {
            self.check_published(index);
        }
        let mut firsts = Vec::new();
        for payload in &self.server.accepted {
            let number = number(payload);
            assert_eq!(*payload, self.published[number].payload, "what arrives is what was published");
            if self.published[number].qos != QoS::AtMostOnce && !firsts.contains(&number) {
                firsts.push(number);
            }
        }
        assert!(firsts.is_sorted(), "new messages overtake each other: {firsts:?}");
        if !self.was_lost {
            self.check_received();
        }
    }

    fn check_published(&self, number: usize) {
        let Published { qos, token, outcome, payload } = &self.published[number];
        let accepted = self.server.accepted.iter().filter(|accepted| *accepted == payload).count();
        let touched = self.checks.touched.contains(&number);
        assert_eq!(token.is_some(), outcome.is_some(), "{number} is not resolved");
        let (old, policy) = (self.settings.version == ProtocolVersion::V3_1, self.settings.policy);
        // The Server lost the Session and could not tell, or the application wants it so.
        let unknown = old && self.settings.session == ServerSession::Lost;
        let may_double = self.was_lost && (unknown || policy == SessionLoss::RepublishAll);
        match qos {
            QoS::AtMostOnce => assert!(accepted <= 1, "QoS 0 twice: {number}"),
            QoS::ExactlyOnce if !may_double => assert!(accepted <= 1, "QoS 2 twice: {number}"),
            _ => {}
        }
        match outcome {
            // QoS 0: it went into the output, or it had to wait for that.
            Some(Outcome::Delivered) if *qos == QoS::AtMostOnce => {}
            None => {}
            Some(Outcome::Delivered) => assert!(accepted > 0, "{number} is not at the Server"),
            Some(Outcome::NotSent(_)) => assert!(!touched && accepted == 0, "{number} was sent"),
            Some(Outcome::Ambiguous(_)) => assert!(touched && self.was_lost, "{number} was not sent"),
        }
        let must_arrive = !self.was_lost || (*qos == QoS::AtLeastOnce && policy != SessionLoss::Fail);
        if *qos != QoS::AtMostOnce && must_arrive {
            assert_eq!(*outcome, Some(Outcome::Delivered), "{number}");
        }
    }

    /// With the Session kept, all that the Server had for the client arrived.
    fn check_received(&self) {
        let is_manual = self.settings.ack_mode == AckMode::Manual;
        for (key, routed) in &self.server.routed {
            let got = self.got.get(key).copied().unwrap_or_default();
            match (key.1, is_manual) {
                (QoS::AtMostOnce, _) => {}
                (QoS::AtLeastOnce, _) => assert!(got.events >= *routed, "{key:?} is lost"),
                (QoS::ExactlyOnce, true) => assert_eq!(got.taken, *routed, "{key:?}"),
                (QoS::ExactlyOnce, false) => assert_eq!(got.events, *routed, "{key:?}"),
            }
        }
    }
}

fn topic(name: &'static str) -> TopicName {
    TopicName::from_static(name).unwrap()
}

fn filter(name: &'static str) -> TopicFilter {
    TopicFilter::from_static(name).unwrap()
}

/// `len` bytes that begin with a name, or that and a little more.
fn payload(name: &str, len: usize) -> Bytes {
    let mut payload = format!("{name}:").into_bytes();
    payload.resize(len.max(payload.len()), b'x');
    payload.into()
}

/// All whole packets at the beginning of the bytes, one after the other; how many bytes they are.
fn each_packet(
    bytes: &[u8],
    version: ProtocolVersion,
    direction: Direction,
    mut each: impl FnMut(Packet<'_>),
) -> usize {
    let decoder = Decoder::new(version, direction);
    let mut used = 0;
    while let Decoded::Packet(packet, len) = decoder.decode(&bytes[used..]).expect("a legal packet") {
        each(packet);
        used += len;
    }
    used
}
