//! `Pair`: a client against a scripted peer, with fake time and no I/O.
//!
//! Packets and events are compared as short texts (see [`text`]), so that a test reads as the trace of a connection:
//! `PUBLISH 1 q1 dup m1` is a PUBLISH with identifier 1, QoS 1, DUP and the payload `m1`.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod text;

use std::collections::HashMap;
use std::time::Duration;

use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{
    AckToken, CanPublish, CanSubscribe, Cause, Client, ConnectionError, Event, Message, Options, Outcome,
    Profile, ProtocolVersion, PubSub, PublishError, PublishToken, QoS, RequestError, RequestToken, Session,
    State, SubackCode, Time, TopicFilter, TopicName,
};
use mqtt_codec::{Decoded, Decoder, Direction};

pub(crate) const Q0: QoS = QoS::AtMostOnce;
pub(crate) const Q1: QoS = QoS::AtLeastOnce;
pub(crate) const Q2: QoS = QoS::ExactlyOnce;

/// A client, the transport between, and the Server's half of the wire.
pub(crate) struct Pair<P: Profile = PubSub> {
    pub(crate) client: Client<P>,
    pub(crate) now: Time,
    version: ProtocolVersion,
    /// What the transport took and the peer has not decoded yet.
    wire: Vec<u8>,
    /// What the peer sent and the client has not used yet.
    inbox: Vec<u8>,
    events: Vec<String>,
    /// The payload of each publish, by its token.
    publishes: HashMap<PublishToken, String>,
    /// The filters of each request, by its token.
    requests: HashMap<RequestToken, String>,
    /// For manual acknowledgement, in the order of receipt.
    pub(crate) acks: Vec<AckToken>,
}

/// Options that keep the session; most tests are about that.
pub(crate) fn kept() -> Options {
    Options::new("c").clean_session(false)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).unwrap()
}

pub(crate) fn filter(name: &str) -> TopicFilter {
    TopicFilter::try_from(name).unwrap()
}

pub(crate) fn message(payload: &str, qos: QoS) -> Message {
    Message::new(topic("t"), Bytes::copy_from_slice(payload.as_bytes())).qos(qos)
}

impl<P: Profile> Pair<P> {
    pub(crate) fn new(options: Options) -> Self {
        Self::with_session(options, Session::new(), ProtocolVersion::V3_1_1)
    }

    pub(crate) fn v3_1(options: Options) -> Self {
        let version = ProtocolVersion::V3_1;
        Self::with_session(options.version(version), Session::new(), version)
    }

    pub(crate) fn with_session(options: Options, session: Session, version: ProtocolVersion) -> Self {
        let name = |message: &Message| String::from_utf8_lossy(&message.payload).into_owned();
        let publishes = session
            .pending_publishes()
            .map(|(token, message)| (token, message.map_or("?".into(), name)))
            .collect();
        Self {
            client: Client::with_session(options, session).unwrap(),
            now: Time::from_epoch(secs(1000)),
            version,
            wire: Vec::new(),
            inbox: Vec::new(),
            events: Vec::new(),
            publishes,
            requests: HashMap::new(),
            acks: Vec::new(),
        }
    }

    /// A new client with the session of this one, as after a restart of the program.
    pub(crate) fn restart(self, options: Options, change: impl FnOnce(Session) -> Session) -> Self {
        let session = self.client.into_session();
        Self::with_session(options, change(session), self.version)
    }

    /// Connects, up to the CONNACK.
    pub(crate) fn open(&mut self, session_present: bool) {
        self.dial();
        self.accept(session_present);
    }

    /// Calls `connect` and lets the peer take all there is, the CONNECT first.
    pub(crate) fn dial(&mut self) -> Vec<String> {
        self.client.connect(self.now).unwrap();
        self.version = self.client.version();
        // Another transport.
        self.wire.clear();
        self.inbox.clear();
        let mut sent = self.sent();
        let connect = sent.remove(0);
        assert!(connect.starts_with("CONNECT "), "{connect}");
        sent
    }

    pub(crate) fn accept(&mut self, session_present: bool) {
        self.feed(&[]).unwrap();
        let earlier = self.events.len();
        self.peer(if session_present { "CONNACK present" } else { "CONNACK 0" });
        let connected = self.events.remove(earlier);
        let expected = if session_present { "connected, session present" } else { "connected, no session" };
        assert_eq!(connected, expected);
        assert_eq!(self.client.state(), State::Connected);
    }

    /// The transport takes at most `max` bytes; how many it took.
    pub(crate) fn take(&mut self, max: usize) -> usize {
        let mut output = self.client.poll_output(self.now);
        let mut left = max;
        while left > 0 && output.has_remaining() {
            let chunk = output.chunk();
            let count = chunk.len().min(left);
            self.wire.extend_from_slice(&chunk[..count]);
            output.advance(count);
            left -= count;
        }
        max - left
    }

    /// The transport takes everything; what the peer decodes of it.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        self.take(usize::MAX);
        self.received()
    }

    /// What the peer can decode of what the transport took so far.
    pub(crate) fn received(&mut self) -> Vec<String> {
        let decoder = Decoder::new(self.version, Direction::ToServer);
        let mut packets = Vec::new();
        let mut at = 0;
        while let Decoded::Packet(packet, len) = decoder.decode(&self.wire[at..]).unwrap() {
            packets.push(text::packet(&packet));
            at += len;
        }
        self.wire.drain(..at);
        packets
    }

    /// Asserts that exactly these packets go out, in this order.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&mut self, packets: [&str; N]) {
        assert_eq!(self.sent(), packets);
    }

    /// The peer sends a packet; its events are kept for [`expect_events`](Self::expect_events).
    #[track_caller]
    pub(crate) fn peer(&mut self, packet: &str) {
        if let Err(error) = self.peer_result(packet) {
            panic!("{packet}: {error}");
        }
    }

    /// The peer sends a packet that ends the connection.
    #[track_caller]
    pub(crate) fn peer_error(&mut self, packet: &str) -> ConnectionError {
        let error = self.peer_result(packet).expect_err(packet);
        assert_eq!(self.client.state(), State::Disconnected);
        error
    }

    pub(crate) fn peer_result(&mut self, packet: &str) -> Result<(), ConnectionError> {
        let bytes = text::encode(packet, self.version);
        self.feed(&bytes)
    }

    /// The peer sends bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut input = &inbox[..];
        loop {
            let event = match self.client.handle_input(&mut input, self.now) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    self.wire.clear();
                    return Err(error);
                }
            };
            let text = self.event(&event);
            self.events.push(text);
            if let Event::Message(message) = event {
                self.acks.extend(message.ack);
            }
        }
        self.inbox = input.to_vec();
        Ok(())
    }

    /// How many bytes of the peer the client has not used yet.
    pub(crate) fn unused(&self) -> usize {
        self.inbox.len()
    }

    /// The events since the last call.
    pub(crate) fn events(&mut self) -> Vec<String> {
        self.feed(&[]).unwrap();
        std::mem::take(&mut self.events)
    }

    /// Asserts that exactly these events came, in this order.
    #[track_caller]
    pub(crate) fn expect_events<const N: usize>(&mut self, events: [&str; N]) {
        assert_eq!(self.events(), events);
    }

    /// The transport breaks.
    pub(crate) fn cut(&mut self) {
        self.client.handle_close();
        self.wire.clear();
        self.inbox.clear();
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(crate) fn timeout(&mut self) -> Result<(), ConnectionError> {
        self.client.handle_timeout(self.now)
    }

    pub(crate) fn due_in(&self) -> Option<Duration> {
        self.client.poll_timeout().map(|due| due - self.now)
    }

    /// Goes from deadline to deadline for `time`; what went out, as (seconds, packet). Asserts on the way that no deadline
    /// comes twice, that an early call does nothing, and a second one neither.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<Vec<(f64, String)>, ConnectionError> {
        const MARGIN: Duration = Duration::from_millis(1);
        let start = self.now;
        let mut sent = Vec::new();
        for _ in 0..1000 {
            let Some(due) = self.due_in().filter(|due| (self.now + *due) - start <= time) else {
                self.now = start + time;
                return Ok(sent);
            };
            if due > MARGIN * 2 {
                self.advance(due - MARGIN);
                let before = self.client.clone();
                assert_eq!(self.timeout(), Ok(()));
                assert!(self.client == before, "early");
                self.advance(MARGIN);
            } else {
                self.advance(due);
            }
            let ended = self.timeout();
            sent.extend(self.sent().into_iter().map(|packet| ((self.now - start).as_secs_f64(), packet)));
            ended?;
            assert!(self.due_in() != Some(Duration::ZERO), "a time-out moves forward");
            let before = self.client.clone();
            assert_eq!(self.timeout(), Ok(()));
            assert!(self.client == before, "a second call");
        }
        panic!("the time-outs spin");
    }

    fn publish_name(&self, token: PublishToken) -> &str {
        self.publishes.get(&token).map_or("?", |name| name)
    }

    fn event(&mut self, event: &Event<'_>) -> String {
        match event {
            Event::Connected { session_present: true } => "connected, session present".into(),
            Event::Connected { session_present: false } => "connected, no session".into(),
            Event::Message(message) => {
                let payload = String::from_utf8_lossy(message.payload);
                let dup = if message.dup { " dup" } else { "" };
                let retain = if message.retain { " retain" } else { "" };
                format!("message q{}{dup}{retain} {payload}", message.qos as u8)
            }
            Event::Published { token, outcome } => {
                let name = self.publish_name(*token).to_owned();
                assert!(self.publishes.remove(token).is_some(), "resolved twice, or unknown: {event:?}");
                match outcome {
                    Outcome::Delivered => format!("{name} delivered"),
                    Outcome::NotSent(cause) => format!("{name} not sent, {}", short(*cause)),
                    Outcome::Ambiguous(cause) => format!("{name} ambiguous, {}", short(*cause)),
                }
            }
            Event::Subscribed { token, codes } => {
                let codes: Vec<_> = codes
                    .iter()
                    .map(|code| match code {
                        SubackCode::Granted(qos) => (qos as u8).to_string(),
                        SubackCode::Failure => "failure".into(),
                    })
                    .collect();
                format!("{} subscribed {}", self.request_name(*token), codes.join(","))
            }
            Event::Unsubscribed { token } => format!("{} unsubscribed", self.request_name(*token)),
            Event::RequestFailed { token, cause } => {
                format!("{} failed, {}", self.request_name(*token), short(*cause))
            }
            Event::SubscriptionLost { filter } => format!("subscription lost {filter}"),
            Event::Skipped(message) => {
                let dup = if message.dup { " dup" } else { "" };
                let retain = if message.retain { " retain" } else { "" };
                let (qos, len) = (message.qos as u8, message.payload_len);
                format!("skipped q{qos}{dup}{retain} {}, {len} bytes", message.topic)
            }
            Event::Pong => "pong".into(),
            other => panic!("unknown event {other:?}"),
        }
    }

    fn request_name(&mut self, token: RequestToken) -> String {
        self.requests.remove(&token).unwrap_or_else(|| panic!("resolved twice, or unknown: {token:?}"))
    }
}

fn short(cause: Cause) -> &'static str {
    match cause {
        Cause::SessionLost => "session lost",
        Cause::Discarded => "discarded",
        Cause::ConnectionLost => "connection lost",
        Cause::Expired => "expired",
        other => panic!("unknown cause {other:?}"),
    }
}

impl<P: CanPublish> Pair<P> {
    /// Publishes `payload` to the topic `t`.
    pub(crate) fn try_publish(
        &mut self,
        payload: &str,
        qos: QoS,
    ) -> Result<Option<PublishToken>, PublishError> {
        let token = self.client.publish(message(payload, qos))?;
        if let Some(token) = token {
            let before = self.publishes.insert(token, payload.into());
            assert_eq!(before, None, "a token twice");
        }
        Ok(token)
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, payload: &str, qos: QoS) -> Option<PublishToken> {
        self.try_publish(payload, qos).unwrap()
    }
}

impl<P: CanSubscribe> Pair<P> {
    pub(crate) fn try_subscribe(&mut self, name: &str, qos: QoS) -> Result<RequestToken, RequestError> {
        let token = self.client.subscribe([(filter(name), qos)])?;
        assert_eq!(self.requests.insert(token, name.into()), None, "a token twice");
        Ok(token)
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, name: &str, qos: QoS) -> RequestToken {
        self.try_subscribe(name, qos).unwrap()
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, name: &str) -> RequestToken {
        let token = self.client.unsubscribe([filter(name)]).unwrap();
        assert_eq!(self.requests.insert(token, name.into()), None, "a token twice");
        token
    }
}
