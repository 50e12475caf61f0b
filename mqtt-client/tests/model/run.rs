//! One case: a client and a Server, step by step.

mod commands;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use mqtt_client::bytes::Buf;
use mqtt_client::{
    AckToken, Cause, Client, ConnectionError, Event, Outcome, PubSub, PublishToken, QoS, RequestToken,
    SessionLoss, SkippedMessage, State, Time,
};
use mqtt_codec::{Decoded, Decoder, Direction, ProtocolVersion};

use crate::checks::{Checks, Sight, number};
use crate::common::{filter, text};
use crate::server::Server;
use crate::{ACK_TIMEOUT, INITIAL, MAX_PACKET_SIZE, Settings, Step};

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
    /// The QoS of each publish, by its number.
    qos: Vec<QoS>,
    /// When queued messages expire; and whether that is certain, which it is not over a restart.
    expiries: HashMap<PublishToken, (Time, bool)>,
    /// How much of this connection's stream the transport took.
    taken: u64,
    /// Whether the application does not read.
    paused: bool,
    /// Nothing is sent again before: the Server answers, or the application reads, only since a while.
    not_before: Time,
    /// When anything was last taken or fed.
    active: Time,
    /// When something that is waited for was last taken for the first time, or answered.
    progress: Time,
    pub(crate) steps: u64,
    pub(crate) copies: u64,
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
            qos: Vec::new(),
            expiries: HashMap::new(),
            taken: 0,
            paused: false,
            not_before: Time::ZERO,
            active: Time::ZERO,
            progress: Time::ZERO,
            steps: 0,
            copies: 0,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.steps += 1;
        match step {
            Step::Publish { qos, size } => self.publish(qos, size),
            Step::Cancel(n) => self.cancel(n),
            Step::Expire(n, seconds) => self.expire(n, seconds),
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
            Step::ServerPublishLarge(qos) => {
                if self.client.state() == State::Connected {
                    self.server_published += 1;
                    self.server.publish(qos as u8, large(self.server_published));
                }
            }
            Step::Rogue(n) => self.rogue(n),
            Step::Time(seconds) => self.time(seconds),
            Step::Pause(paused) => self.pause(paused),
        }
        self.drain_events();
    }

    fn connect(&mut self, kept: bool) {
        if self.client.state() != State::Disconnected {
            assert!(self.client.connect(self.now).is_err());
            return;
        }
        self.wire.clear();
        self.server.cut();
        self.server.keep_session = kept || self.settings.old;
        self.server.old = self.settings.old;
        self.client.connect(self.now).unwrap();
        self.taken = 0;
        self.paused = false;
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

    fn time(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        let before = self.client.stats();
        let listens = self.client.state() == State::Connected && !self.paused && self.client.wants_input();
        let may_repeat =
            self.settings.timed && listens && !self.client.has_output() && self.now >= self.not_before;
        let is_due = may_repeat && self.checks.is_due(self.now);
        let stalled = self.settings.ack_timeout
            && listens
            && self.checks.is_waiting()
            && self.now >= self.active + ACK_TIMEOUT;
        match self.client.handle_timeout(self.now) {
            Ok(()) => {
                assert!(!stalled, "the ack deadline");
                let after = self.client.stats();
                // A PINGREQ at the same time goes first; the rest follows when it is gone.
                if after.pingreqs == before.pingreqs {
                    assert_eq!(after.retransmitted > before.retransmitted, is_due, "sent again");
                }
                self.copies += after.retransmitted - before.retransmitted;
            }
            Err(error) => {
                if error == ConnectionError::AckTimeout {
                    assert!(
                        self.settings.ack_timeout && self.now >= self.progress + ACK_TIMEOUT,
                        "too early"
                    );
                }
                self.closed();
            }
        }
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now), "moves forward");
        self.drain_events();
        for (token, (at, certain)) in &self.expiries {
            if *certain && *at <= self.now && self.publishes.contains_key(token) {
                let waits = self.client.expire(*token, *at).is_ok();
                assert!(!waits, "it is still in the queue");
            }
        }
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
        self.taken += (max - left) as u64;
        if left < max {
            self.active = self.now;
        }
        // The offset of the first byte that is not decoded yet.
        let start = self.taken - self.wire.len() as u64;
        let empty = self.client.state() == State::Connected && !self.client.has_output();
        let mut at = 0;
        while let Some((packet, len)) = decode(&self.wire[at..], self.settings.version()) {
            self.checks.see(&packet, Sight { start: start + at as u64, len: Some(len), now: self.now });
            at += len;
            let (got, acknowledged) = (&self.got, &self.acknowledged);
            let manual = self.settings.manual;
            self.server.receive(&packet, |payload| {
                if manual { acknowledged.contains(payload) } else { got.contains_key(payload) }
            });
        }
        self.wire.drain(..at);
        if empty {
            self.checks.nothing_left();
        }
        if !self.wire.is_empty() {
            // A part of a packet: a copy of the client tells which.
            let mut copy = self.client.clone();
            let mut output = copy.poll_output(self.now);
            let mut bytes = self.wire.clone();
            bytes.extend_from_slice(&output.copy_to_bytes(output.remaining()));
            let (packet, _) = decode(&bytes, self.settings.version()).expect("the rest of the packet");
            self.checks.see(&packet, Sight { start: start + at as u64, len: None, now: self.now });
        }
    }

    /// The Server sends a packet. A copy of the client gets it in pieces and must end up the same.
    fn feed(&mut self, packet: &str) {
        let bytes = text::encode(packet, self.settings.version());
        let before = self.client.state();
        if before == State::Disconnected {
            return;
        }
        self.active = self.now;
        let output_len = self.client.output_len();
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
                let end = self.taken + output_len as u64;
                let grown = self.client.output_len() - output_len;
                if self.checks.acknowledged(packet, end, grown) {
                    self.progress = self.now;
                }
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
                self.not_before = self.now + INITIAL;
                self.progress = self.now;
            }
            Event::Skipped(message) => self.skipped(message),
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

    /// A message above the limit: the length tells which.
    fn skipped(&mut self, message: &SkippedMessage) {
        let payload = large(message.payload_len - MAX_PACKET_SIZE);
        assert!(
            message.qos != QoS::ExactlyOnce || !self.got.contains_key(&payload),
            "QoS 2 twice: {payload}"
        );
        *self.got.entry(payload.clone()).or_default() += 1;
        self.acknowledged.insert(payload);
    }

    fn outcome(&mut self, token: PublishToken, outcome: Outcome) {
        let (number, qos) = self.publishes.remove(&token).expect("resolved once");
        let expiry = self.expiries.remove(&token);
        if outcome == Outcome::NotSent(Cause::Expired) {
            assert!(expiry.is_some_and(|(at, _)| at <= self.now), "{number} expired too early");
        }
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
        self.pause(false);
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
        for (payload, count) in &self.server.accepted {
            let doubled = *count > 1 && self.qos[number(payload)] == QoS::ExactlyOnce;
            assert!(!doubled || self.settings.policy == SessionLoss::RepublishAll, "QoS 2 twice: {payload}");
        }
        assert!(self.server.has_delivered_all());
        assert_eq!(self.client.session().pending_publishes().count(), 0);
        assert_eq!(self.server.subscriptions, self.wanted);
        assert_eq!(self.client.session().is_empty(), self.wanted.is_empty());
    }
}

/// The payload of the Server's message `n`, above the limit; no two have the same length.
fn large(n: usize) -> String {
    format!("s{n}_{}", "x".repeat(MAX_PACKET_SIZE + n))[..MAX_PACKET_SIZE + n].to_owned()
}

/// The packet at the beginning of what the client sent, and its length.
fn decode(bytes: &[u8], version: ProtocolVersion) -> Option<(String, usize)> {
    match Decoder::new(version, Direction::ToServer).decode(bytes).unwrap() {
        Decoded::Packet(packet, len) => Some((text::packet(&packet), len)),
        _ => None,
    }
}
