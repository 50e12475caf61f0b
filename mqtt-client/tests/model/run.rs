//! One case: a client and a Server, step by step.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{
    AckToken, AcknowledgeError, Client, Event, Message, Outcome, PubSub, PublishToken, QoS, RequestToken,
    Session, SessionLoss, State, Time,
};
use mqtt_codec::{Decoded, Decoder, Direction, ProtocolVersion};

use crate::checks::{Checks, number};
use crate::common::{filter, text, topic};
use crate::server::Server;
use crate::{Settings, Step};

pub(crate) struct Run {
    settings: Settings,
    client: Client<PubSub>,
    now: Time,
    server: Server,
    checks: Checks,
    /// Taken by the transport, not decoded yet.
    wire: Vec<u8>,
    /// Publishes without an outcome: number and QoS.
    publishes: HashMap<PublishToken, (usize, QoS)>,
    requests: HashSet<RequestToken>,
    /// Requests whose tokens a restart has forgotten.
    anonymous_requests: usize,
    published: usize,
    /// What the application thinks that it is subscribed to.
    wanted: BTreeSet<String>,
    /// Messages from the Server: how often the application got each, and which ones it acknowledged.
    got: HashMap<String, usize>,
    acknowledged: HashSet<String>,
    tokens: Vec<(AckToken, String, u32)>,
    server_published: usize,
}

impl Run {
    pub(crate) fn new(settings: Settings) -> Self {
        let client = Client::new(settings.options()).unwrap();
        Self {
            settings,
            client,
            now: Time::from_epoch(Duration::from_secs(1000)),
            server: Server::default(),
            checks: Checks::default(),
            wire: Vec::new(),
            publishes: HashMap::new(),
            requests: HashSet::new(),
            anonymous_requests: 0,
            published: 0,
            wanted: BTreeSet::new(),
            got: HashMap::new(),
            acknowledged: HashSet::new(),
            tokens: Vec::new(),
            server_published: 0,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Publish { qos, size } => self.publish(qos, size),
            Step::Subscribe(n) => {
                let name = format!("f{n}");
                if let Ok(token) = self.client.subscribe([(filter(&name), QoS::AtLeastOnce)]) {
                    assert!(self.requests.insert(token));
                    self.wanted.insert(name);
                }
            }
            Step::Unsubscribe(n) => {
                let name = format!("f{n}");
                if let Ok(token) = self.client.unsubscribe([filter(&name)]) {
                    assert!(self.requests.insert(token));
                    self.wanted.remove(&name);
                }
            }
            Step::Ping => {
                assert_eq!(self.client.ping(self.now).is_ok(), self.client.state() == State::Connected);
            }
            Step::Acknowledge(n) => self.acknowledge(n),
            Step::Connect { kept } => self.connect(kept),
            Step::Disconnect => self.client.disconnect(),
            Step::Discard => self.discard(),
            Step::Restart { window } => self.restart(window),
            Step::Take(max) => self.take(max),
            Step::TakeAll => self.take(usize::MAX),
            Step::Cut => self.cut(),
            Step::Answer(n) => {
                if !self.server.answers.is_empty() && self.client.state() == State::Connected {
                    let answer = self.server.answers.remove(n % self.server.answers.len());
                    self.feed(&answer);
                }
            }
            Step::Next => {
                if let Some(packet) = self.server.ordered.pop_front() {
                    self.feed(&packet);
                }
            }
            Step::ServerPublish(qos) => {
                if self.client.state() == State::Connected {
                    self.server_published += 1;
                    self.server.publish(qos as u8, format!("s{}", self.server_published));
                }
            }
            Step::Rogue(n) => self.rogue(n),
            Step::Time(seconds) => self.time(seconds),
            Step::Pause(true) => self.client.pause_input(self.now),
            Step::Pause(false) => self.client.resume_input(self.now),
        }
        self.drain_events();
    }

    fn publish(&mut self, qos: QoS, size: usize) {
        let number = self.published;
        let payload = Bytes::from(format!("{number}_{}", "x".repeat(size)));
        match self.client.publish(Message::new(topic("t"), payload.clone()).qos(qos)) {
            Ok(token) => {
                self.published += 1;
                assert!(token.is_some() || qos == QoS::AtMostOnce);
                if let Some(token) = token {
                    assert_eq!(self.publishes.insert(token, (number, qos)), None, "a token twice");
                }
            }
            Err(error) => assert_eq!(error.into_message().payload, payload),
        }
    }

    fn acknowledge(&mut self, n: usize) {
        if self.tokens.is_empty() {
            return;
        }
        let (token, payload, connection) = self.tokens.remove(n % self.tokens.len());
        let valid = connection == self.checks.connection && self.client.state() == State::Connected;
        let expected = if valid { Ok(()) } else { Err(AcknowledgeError::Stale) };
        assert_eq!(self.client.acknowledge(token), expected);
        assert_eq!(self.client.acknowledge(token), Err(AcknowledgeError::Stale));
        if valid {
            self.acknowledged.insert(payload);
        }
    }

    fn connect(&mut self, kept: bool) {
        if self.client.state() != State::Disconnected {
            assert!(self.client.connect(self.now).is_err());
            return;
        }
        self.wire.clear();
        self.server.cut();
        self.server.keep_session = kept || self.settings.old;
        self.client.connect(self.now).unwrap();
        self.checks.connect(self.settings.window);
    }

    fn cut(&mut self) {
        self.client.handle_close();
        self.closed();
    }

    /// The client has ended the connection without a DISCONNECT.
    fn closed(&mut self) {
        assert_eq!(self.client.state(), State::Disconnected);
        assert!(!self.client.has_output());
        self.wire.clear();
        self.server.cut();
    }

    fn discard(&mut self) {
        self.client.discard_session();
        self.closed();
        self.checks.discard();
        self.server.has_session = false;
        self.wanted.clear();
        self.drain_events();
        assert!(self.publishes.is_empty() && self.requests.is_empty(), "resolved with the Session");
        assert_eq!(self.anonymous_requests, 0);
        assert!(self.client.session().is_empty());
    }

    fn restart(&mut self, window: u32) {
        if self.settings.policy == SessionLoss::RepublishAll {
            // A stored Session has PUBRELs before PUBLISHes; the order of publishing is not in it.
            return;
        }
        self.cut();
        self.drain_events();
        self.settings.window = window;
        let old: Vec<_> = self.client.session().pending_publishes().map(|(token, _)| token).collect();
        let bytes = self.client.clone().into_session().to_bytes();
        let session = Session::from_bytes(&bytes).unwrap();
        assert_eq!(session.to_bytes(), bytes);
        let new: Vec<_> = session.pending_publishes().map(|(token, _)| token).collect();
        assert_eq!((old.len(), old.len()), (new.len(), self.publishes.len()));
        self.publishes = old.iter().zip(new).map(|(old, new)| (new, self.publishes[old])).collect();
        self.anonymous_requests += self.requests.drain().count();
        self.tokens.clear();
        self.client = Client::with_session(self.settings.options(), session).unwrap();
    }

    fn time(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        if self.client.handle_timeout(self.now).is_err() {
            self.closed();
        }
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now), "moves forward");
    }

    fn take(&mut self, max: usize) {
        let mut output = self.client.poll_output(self.now);
        let mut left = max;
        while left > 0 && output.has_remaining() {
            let count = output.chunk().len().min(left);
            self.wire.extend_from_slice(&output.chunk()[..count]);
            output.advance(count);
            left -= count;
        }
        let mut at = 0;
        while let Some((packet, len)) = decode(&self.wire[at..], self.settings.version()) {
            at += len;
            self.checks.see(&packet, true);
            let (got, acknowledged) = (&self.got, &self.acknowledged);
            let manual = self.settings.manual;
            self.server.receive(&packet, |payload| {
                if manual { acknowledged.contains(payload) } else { got.contains_key(payload) }
            });
        }
        self.wire.drain(..at);
        if !self.wire.is_empty() {
            // A part of a packet: a copy of the client tells which.
            let mut copy = self.client.clone();
            let mut output = copy.poll_output(self.now);
            let mut bytes = self.wire.clone();
            bytes.extend_from_slice(&output.copy_to_bytes(output.remaining()));
            let (packet, _) = decode(&bytes, self.settings.version()).expect("the rest of the packet");
            self.checks.see(&packet, false);
        }
    }

    /// The Server sends a packet. A copy of the client gets it in pieces and must end up the same.
    fn feed(&mut self, packet: &str) {
        let bytes = text::encode(packet, self.settings.version());
        let before = self.client.state();
        if before == State::Disconnected {
            return;
        }
        let mut copy = self.client.clone();
        let mut copied = Vec::new();
        let mut inbox = Vec::new();
        let mut copied_error = None;
        for chunk in bytes.chunks(self.settings.chunk) {
            inbox.extend_from_slice(chunk);
            let mut input = &inbox[..];
            while copied_error.is_none() {
                match copy.handle_input(&mut input, self.now) {
                    Ok(Some(event)) => copied.push(format!("{event:?}")),
                    Ok(None) => break,
                    Err(error) => copied_error = Some(error),
                }
            }
            inbox = input.to_vec();
        }
        let mut input = &bytes[..];
        let mut events = Vec::new();
        let result = loop {
            match self.client.handle_input(&mut input, self.now) {
                Ok(Some(event)) => {
                    events.push(format!("{event:?}"));
                    self.event(&event);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!((&events, result.err()), (&copied, copied_error), "cut into pieces");
        assert!(self.client == copy, "cut into pieces");
        match result {
            Ok(()) => {
                assert_eq!(input, b"");
                self.checks.acknowledged(packet);
            }
            Err(error) => panic!("{packet}: {error}"),
        }
        assert_eq!(before == State::Connecting, packet.starts_with("CONNACK"));
    }

    fn rogue(&mut self, n: usize) {
        const HARMLESS: [&str; 7] = [
            "PUBACK 60001",
            "PUBREC 60001",
            "PUBREL 60002",
            "PUBCOMP 60003",
            "SUBACK 60004 0",
            "UNSUBACK 60005",
            "PINGRESP",
        ];
        const FATAL: [&[u8]; 5] =
            [&[0x36, 5, 0, 1, 116, 0, 1], &[0x20, 2, 0, 0], &[0xF0, 0], &[0x40, 2, 0, 0], &[0xC0, 0]];
        let wrong = self.checks.some_publish_id().map(|id| format!("SUBACK {id} 0"));
        if self.client.state() != State::Connected {
            return;
        }
        let bytes = match (n % 13, wrong) {
            (n @ 0..=6, _) => return self.feed(HARMLESS[n]),
            (n @ 7..=11, _) => FATAL[n - 7].to_vec(),
            (_, Some(wrong)) => text::encode(&wrong, self.settings.version()),
            (_, None) => return,
        };
        let mut input = &bytes[..];
        assert!(self.client.handle_input(&mut input, self.now).is_err());
        self.closed();
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.client.handle_input(&mut &[][..], self.now).unwrap() {
            self.event(&event);
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Connected { session_present } => {
                assert!(!(*session_present && self.settings.old));
                let unknown = self.settings.old && !self.settings.clean;
                self.checks.connected(*session_present || unknown);
                self.server.has_session = !self.settings.clean;
            }
            Event::Message(message) => {
                let payload = String::from_utf8(message.payload.to_vec()).unwrap();
                if message.qos == QoS::ExactlyOnce {
                    let again = if self.settings.manual {
                        self.acknowledged.contains(&payload)
                    } else {
                        self.got.contains_key(&payload)
                    };
                    assert!(!again, "QoS 2 twice: {payload}");
                }
                *self.got.entry(payload.clone()).or_default() += 1;
                assert_eq!(message.ack.is_some(), self.settings.manual && message.qos != QoS::AtMostOnce);
                self.tokens.extend(message.ack.map(|token| (token, payload, self.checks.connection)));
            }
            Event::Published { token, outcome } => self.outcome(*token, *outcome),
            Event::Subscribed { token, .. }
            | Event::Unsubscribed { token }
            | Event::RequestFailed { token, .. } => {
                if !self.requests.remove(token) {
                    self.anonymous_requests = self.anonymous_requests.checked_sub(1).expect("resolved twice");
                }
            }
            Event::Pong => {}
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&mut self, token: PublishToken, outcome: Outcome) {
        let (number, qos) = self.publishes.remove(&token).expect("resolved once");
        if qos == QoS::AtMostOnce {
            return;
        }
        let touched = self.checks.touched.contains(&number);
        let accepted = self.accepted(number);
        match outcome {
            Outcome::Delivered => assert!(accepted > 0, "{number} is not at the Server"),
            Outcome::NotSent(_) => assert!(!touched && accepted == 0, "{number} was sent"),
            Outcome::Ambiguous(_) => assert!(touched, "{number} was not sent"),
        }
    }

    fn accepted(&self, of: usize) -> usize {
        self.server.accepted.iter().filter(|(payload, _)| number(payload) == of).map(|(_, count)| count).sum()
    }

    /// Leaves client and Server alone on a good link until nothing moves any more; then everything is resolved.
    pub(crate) fn finish(&mut self) {
        self.client.resume_input(self.now);
        for _ in 0..5000 {
            if self.client.state() == State::Disconnected {
                self.connect(true);
            }
            self.take(usize::MAX);
            let idle =
                self.server.answers.is_empty() && self.server.ordered.is_empty() && self.tokens.is_empty();
            if idle && self.client.state() == State::Connected {
                return self.check_end();
            }
            self.step(Step::Next);
            self.step(Step::Answer(0));
            if self.client.state() == State::Connected {
                self.step(Step::Acknowledge(0));
            }
        }
        panic!("it never ends");
    }

    fn check_end(&self) {
        assert!(self.publishes.is_empty(), "not resolved: {:?}", self.publishes);
        assert!(
            self.requests.is_empty() && self.anonymous_requests == 0,
            "not resolved: {:?}",
            self.requests
        );
        assert!(self.server.has_delivered_all());
        assert_eq!(self.client.session().pending_publishes().count(), 0);
        assert_eq!(self.server.subscriptions, self.wanted);
        assert_eq!(self.client.session().is_empty(), self.wanted.is_empty());
    }
}

/// The packet at the beginning of what the client sent, and its length.
fn decode(bytes: &[u8], version: ProtocolVersion) -> Option<(String, usize)> {
    match Decoder::new(version, Direction::ToServer).decode(bytes).unwrap() {
        Decoded::Packet(packet, len) => Some((text::packet(&packet), len)),
        _ => None,
    }
}
