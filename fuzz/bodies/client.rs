//! Input: three bytes of settings, and then what happens, one step after the other: a byte for the step, and bytes for
//! what it needs. The steps are the commands of the application, the transport that takes output, time, a store that
//! writes the changes of the Session, crashes, and a Server that answers as it should, sends packets as it likes, or
//! sends any bytes.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt_client::{
    AckMode, AckToken, Client, Event, Fallback, Message, Options, Outcome, Oversize, PubSub, QoS,
    RequestError, RequestToken, Retransmission, Session, SessionLoss, State, Time, Timed, TopicFilter,
    TopicName,
};
use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, Packet, PacketId, ProtocolVersion, Publish, Suback, SubackCode,
    SubackCodes, TopicNameRef,
};

use super::disk::{self, Disk};
use super::ledger::{self, Ledger};
use super::{input::Input, peer, wire};

const MAX_QUEUE: usize = 8;
const TOPICS: [&str; 3] = ["a", "a/b", "$x/ä"];
const FILTERS: [&str; 4] = ["a", "a/#", "+/b", "#"];

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    while !input.is_empty() {
        world.step(&mut input);
        world.check();
    }
    world.end();
}

struct World {
    client: Client<PubSub>,
    options: Options,
    /// That of the connection.
    version: ProtocolVersion,
    window: usize,
    now: Time,
    /// Whether messages that are too large are skipped.
    skips: bool,
    /// With a journal.
    disk: Option<Disk>,
    /// Taken from the client, not decoded yet.
    wire: Vec<u8>,
    /// How many packets the client sent on this connection, and whether one was DISCONNECT.
    sent: usize,
    said_goodbye: bool,
    /// What a good Server would answer.
    answers: VecDeque<BytesMut>,
    /// Sent by the Server, not used by the client yet.
    inbox: Vec<u8>,
    publishes: Ledger,
    has_expiries: bool,
    requests: HashSet<RequestToken>,
    /// A stored Session has requests whose tokens nobody knows.
    has_unknown_requests: bool,
    /// With the number of the connection on which the message came.
    acks: Vec<(AckToken, u32)>,
    connection: u32,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let (first, second, third) = (input.byte(), input.byte(), input.byte());
        let bit = |bit: u8| first >> bit & 1 == 1;
        let more = |bit: u8| third >> bit & 1 == 1;
        let version = if bit(0) { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };
        let window = usize::from(second & 3) + 1;
        let mut options = Options::new("c")
            .version(version)
            .clean_session(bit(1))
            .ack_mode(if bit(2) { AckMode::Manual } else { AckMode::Automatic })
            .pipeline(bit(3))
            .queue_qos0(bit(4))
            .session_loss(match first >> 5 & 3 {
                0 => SessionLoss::RepublishQos1,
                1 => SessionLoss::RepublishAll,
                _ => SessionLoss::Fail,
            })
            .keep_alive(Duration::from_secs(u64::from(second >> 2)))
            .max_in_flight(window as u32)
            .max_in_flight_qos2(if bit(7) { 1 } else { 65_535 })
            .max_queue_len(MAX_QUEUE)
            .max_packet_size(600)
            .ack_timeout(more(1).then_some(Duration::from_secs(20)))
            .oversize(if more(2) { Oversize::Skip } else { Oversize::Close })
            .fallback(
                [Fallback::Never, Fallback::Refused, Fallback::RefusedOrClosed]
                    [usize::from(third >> 3 & 3).min(2)],
            )
            .journal(more(5));
        if more(0) {
            let timed =
                Timed::default().initial(Duration::from_secs(2)).cap(Duration::from_secs(9)).jitter(10);
            options = options.retransmission(Retransmission::Timed(timed));
        }
        Self {
            client: Client::new(options.clone()).expect("these options are right"),
            options,
            version,
            window,
            now: Time::ZERO,
            skips: more(2),
            disk: more(5).then(Disk::default),
            wire: Vec::new(),
            sent: 0,
            said_goodbye: false,
            answers: VecDeque::new(),
            inbox: Vec::new(),
            publishes: Ledger::default(),
            has_expiries: false,
            requests: HashSet::new(),
            has_unknown_requests: false,
            acks: Vec::new(),
            connection: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 29 {
            0 | 1 => self.connect(),
            2 | 3 => self.publish(input),
            4 => self.subscribe(input),
            5 => self.unsubscribe(input),
            6 => self.client.disconnect(),
            7 => drop(self.client.ping(self.now)),
            8 => self.acknowledge(input),
            9 => self.take_output(usize::from(input.byte())),
            10 => {
                self.save();
                self.take_output(usize::MAX);
            }
            11 => self.take_output(usize::MAX),
            12 | 13 => self.answer(),
            14 => self.send_packet(input),
            15 => {
                self.inbox.extend_from_slice(input.bytes());
                self.feed();
            }
            16 => {
                self.now = self.now + Duration::from_secs(u64::from(input.byte()));
                let result = self.client.handle_timeout(self.now);
                assert!(result.is_ok() || self.client.state() == State::Disconnected);
            }
            17 => self.client.handle_close(),
            18 => match input.byte() % 4 {
                0 => self.client.pause_input(self.now),
                1 => self.client.resume_input(self.now),
                2 => self.client.set_ack_mode(AckMode::Automatic),
                _ => self.client.set_ack_mode(AckMode::Manual),
            },
            20 | 21 => self.hold(input),
            22 => self.client.pause_queue(input.flag()),
            23 => self.copy_session(),
            24 => self.cancel(input),
            25 => self.expire(input),
            26 => self.write(usize::from(input.byte())),
            27 => self.crash(),
            _ => match input.byte() % 3 {
                0 => self.client.discard_session(),
                1 => self.store_session(),
                _ => {
                    let copy = self.client.clone();
                    assert_eq!(copy, self.client);
                    self.client = copy;
                }
            },
        }
    }

    fn connect(&mut self) {
        let was = self.client.state();
        assert_eq!(self.client.connect(self.now).is_ok(), was == State::Disconnected);
        if was == State::Disconnected {
            assert_eq!(self.client.state(), State::Connecting);
            self.connection += 1;
            self.version = self.client.version();
            (self.sent, self.said_goodbye) = (0, false);
            self.wire.clear();
            self.inbox.clear();
            self.answers.clear();
        }
    }

    fn publish(&mut self, input: &mut Input<'_>) {
        let topic = TopicName::from_static(TOPICS[usize::from(input.byte()) % TOPICS.len()]).expect("a name");
        let qos = QoS::try_from(input.byte() % 3).expect("below 3");
        let retain = input.flag();
        let payload = self.publishes.payload(input.bytes());
        let message = Message::new(topic, payload).qos(qos).retain(retain);
        match self.client.publish(message.clone()) {
            Ok(Some(token)) => self.publishes.accept(token, qos, self.client.mark()),
            Ok(None) => assert_eq!(qos, QoS::AtMostOnce),
            Err(error) => assert_eq!(error.into_message(), message, "it comes back as it was"),
        }
    }

    fn cancel(&mut self, input: &mut Input<'_>) {
        let Some(token) = self.publishes.choose(input.byte()) else { return };
        if let Ok(message) = self.client.cancel(token) {
            let number = self.publishes.resolve(token, true, self.client.mark());
            assert!(number.is_none() || number == ledger::number(&message.payload));
            assert!(self.client.cancel(token).is_err(), "it is taken back twice");
        }
    }

    fn expire(&mut self, input: &mut Input<'_>) {
        let Some(token) = self.publishes.choose(input.byte()) else { return };
        let at = self.now + Duration::from_secs(u64::from(input.byte()));
        let result = self.client.expire(token, at);
        assert_eq!(self.client.expire(token, at), result, "it changes nothing that it is told twice");
        self.has_expiries |= result.is_ok();
    }

    fn save(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.save(&mut self.client);
            assert_eq!(disk::messages(&disk.session()), disk::messages(self.client.session()));
        }
    }

    /// The store gets to work, and writes some of what it has to.
    fn write(&mut self, count: usize) {
        if let Some(disk) = &mut self.disk {
            disk.fetch(&mut self.client);
            disk.write(&mut self.client, count);
        }
    }

    /// Of the client, only what the store has written is left.
    fn crash(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        disk.crash();
        let session = disk.session();
        self.publishes.crash(&self.client, &session);
        self.adopt(session);
    }

    /// Goes on with a Session in a new client, which knows nothing else.
    fn adopt(&mut self, session: Session) {
        self.publishes.adopt(&session);
        self.requests.clear();
        self.has_unknown_requests = true;
        self.acks.clear();
        self.inbox.clear();
        self.wire.clear();
        self.client = Client::with_session(self.options.clone(), session).expect("right before");
    }

    fn subscribe(&mut self, input: &mut Input<'_>) {
        let filters: Vec<_> = (0..input.byte() % 3)
            .map(|_| (filter(input), QoS::try_from(input.byte() % 3).expect("below 3")))
            .collect();
        let is_empty = filters.is_empty();
        match self.client.subscribe(filters) {
            Ok(token) => assert!(!is_empty && self.requests.insert(token)),
            Err(error) => assert!(is_empty || error != RequestError::NoFilter),
        }
    }

    fn unsubscribe(&mut self, input: &mut Input<'_>) {
        let filters: Vec<_> = (0..input.byte() % 3).map(|_| filter(input)).collect();
        if let Ok(token) = self.client.unsubscribe(filters) {
            assert!(self.requests.insert(token));
        }
    }

    fn acknowledge(&mut self, input: &mut Input<'_>) {
        let index = usize::from(input.byte());
        if let Some((token, connection)) = self.acks.get(index % self.acks.len().max(1)).copied() {
            let result = self.client.acknowledge(token);
            assert!(result.is_err() || connection == self.connection, "it is stale");
            assert!(self.client.acknowledge(token).is_err(), "it is acknowledged, or was stale before");
        }
    }

    /// The application has a message, and acknowledges it later or never.
    fn hold(&mut self, input: &mut Input<'_>) {
        let index = usize::from(input.byte());
        if let Some((token, connection)) = self.acks.get(index % self.acks.len().max(1)).copied() {
            let held = self.client.hold(token);
            assert!(held.is_err() || connection == self.connection, "it is stale");
            assert_eq!(self.client.hold(token), held, "it changes nothing that it is told twice");
        }
    }

    /// A copy of the Session as it is can be stored, in the midst of a connection too.
    fn copy_session(&self) {
        let session = self.client.session();
        let bytes = session.to_bytes();
        let copy = Session::from_bytes(&bytes).expect("just written");
        assert_eq!(copy.is_empty(), session.is_empty());
        assert_eq!(disk::messages(&copy), disk::messages(session));
        assert_eq!(copy.pending_publishes().count(), session.pending_publishes().count());
        assert!(Client::<PubSub>::with_session(self.options.clone(), copy).is_ok());
    }

    /// The transport takes up to `max` bytes; they must be legal packets.
    fn take_output(&mut self, max: usize) {
        let mut output = self.client.poll_output(self.now);
        let mut left = max.min(output.remaining());
        while left > 0 && output.has_remaining() {
            let chunk = output.chunk();
            let count = chunk.len().min(left);
            self.wire.extend_from_slice(&chunk[..count]);
            output.advance(count);
            left -= count;
        }
        let taken = std::mem::take(&mut self.wire);
        let version = self.version;
        let mut published = Vec::new();
        let used = wire::each_packet(&taken, version, |packet| {
            assert!(!self.said_goodbye, "{packet:?} behind DISCONNECT");
            assert_eq!(
                self.sent == 0,
                matches!(packet, Packet::Connect(_)),
                "CONNECT is first, and comes once"
            );
            self.sent += 1;
            self.said_goodbye = packet == Packet::Disconnect;
            if let Packet::Connect(connect) = packet {
                assert_eq!(connect.version, version);
            }
            if let Packet::Publish(publish) = packet {
                let number = ledger::number(publish.payload).expect("it has one");
                published.extend(publish.delivery.id().map(|id| (number, id, publish.delivery.dup())));
            }
            self.answers.extend(peer::answer(packet, version));
        });
        self.wire = taken[used..].to_vec();
        self.publishes.sent(&published, &self.client, self.disk.as_ref());
    }

    fn answer(&mut self) {
        if let Some(answer) = self.answers.pop_front() {
            self.inbox.extend_from_slice(&answer);
        }
        self.feed();
    }

    /// The Server sends a packet, whether it makes sense or not.
    fn send_packet(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let id = PacketId::new(u16::from(input.byte() % 6)).unwrap_or(PacketId::MIN);
        let dup = kind >= 128;
        let codes = [SubackCode::Granted(QoS::AtMostOnce), SubackCode::Failure];
        let publish = |delivery| {
            let topic = TopicNameRef::new("a").expect("a name");
            Packet::Publish(Publish { delivery, retain: false, topic, payload: b"p" })
        };
        let large = [b'p'; 700];
        let packet = match kind % 13 {
            0 => Packet::Connack(Connack { session_present: false, code: ConnectReturnCode::Accepted }),
            1 => Packet::Connack(Connack {
                session_present: false,
                code: ConnectReturnCode::from_u8(kind / 13),
            }),
            2 => publish(Delivery::AtMostOnce),
            3 => publish(Delivery::AtLeastOnce { id, dup }),
            4 => publish(Delivery::ExactlyOnce { id, dup }),
            5 => Packet::Puback(id),
            6 => Packet::Pubrec(id),
            7 => Packet::Pubrel { id, dup: false },
            8 => Packet::Pubcomp(id),
            9 => Packet::Suback(Suback {
                id,
                codes: SubackCodes::new(&codes[..1 + usize::from(dup)]).expect("not empty"),
            }),
            10 => Packet::Unsuback(id),
            11 => Packet::Pingresp,
            _ => {
                let delivery = match kind / 13 % 3 {
                    0 => Delivery::AtMostOnce,
                    1 => Delivery::AtLeastOnce { id, dup },
                    _ => Delivery::ExactlyOnce { id, dup },
                };
                let topic = TopicNameRef::new("large").expect("a name");
                Packet::Publish(Publish { delivery, retain: false, topic, payload: &large })
            }
        };
        self.inbox.extend_from_slice(&peer::encode(&packet, self.version));
        self.feed();
    }

    /// Feeds the inbox, and checks the events.
    fn feed(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut input = &inbox[..];
        loop {
            let before = input.len();
            match self.client.handle_input(&mut input, self.now) {
                Ok(Some(event)) => {
                    assert!(input.len() <= before);
                    if let Event::Message(message) = event {
                        self.acks.extend(message.ack.map(|token| (token, self.connection)));
                    } else {
                        self.handle(event);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    assert_eq!(self.client.state(), State::Disconnected);
                    input = &[];
                    break;
                }
            }
        }
        self.inbox = input.to_vec();
    }

    /// An event that holds nothing of the input.
    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Published { token, outcome } => {
                let not_sent = matches!(outcome, Outcome::NotSent(_));
                self.publishes.resolve(token, not_sent, self.client.mark());
            }
            Event::Subscribed { token, .. }
            | Event::Unsubscribed { token }
            | Event::RequestFailed { token, .. } => {
                assert!(self.requests.remove(&token) || self.has_unknown_requests);
            }
            Event::Connected { session_present: false } => {
                self.publishes.session_lost();
            }
            Event::Skipped(message) => assert!(self.skips && message.payload_len > 300),
            _ => {}
        }
    }

    /// Puts the Session away as bytes, and goes on with it in a new client.
    fn store_session(&mut self) {
        self.client.handle_close();
        self.inbox.clear();
        self.feed();
        let client =
            std::mem::replace(&mut self.client, Client::new(self.options.clone()).expect("right before"));
        let bytes = client.into_session().to_bytes();
        let session = Session::from_bytes(&bytes).expect("just written");
        assert_eq!(session.to_bytes(), bytes);
        let pending = self.publishes.unresolved();
        self.adopt(session);
        assert_eq!(self.publishes.unresolved(), pending, "none is lost, none is added");
        // Another store: it has nothing of this Session yet.
        self.disk = self.disk.take().map(|_| Disk::default());
        self.save();
    }

    fn check(&self) {
        let client = &self.client;
        assert!(client.in_flight_len() <= self.window);
        assert!(client.queue_len() <= MAX_QUEUE + self.window, "what was in flight may have to wait again");
        assert!(client.in_flight_len() + client.queue_len() <= self.publishes.unresolved());
        let is_open = client.is_saved(client.mark());
        assert!(!client.has_output() || client.output_len() > 0);
        assert!(client.has_output() || client.output_len() == 0 || !is_open);
        if client.state() == State::Disconnected {
            assert!(self.has_expiries || client.poll_timeout().is_none());
            assert!(client.wants_input());
        }
    }

    /// Each publish and request is resolved when the Session is given up, if it was not before.
    fn end(mut self) {
        self.client.discard_session();
        self.inbox.clear();
        self.feed();
        assert_eq!(self.publishes.unresolved(), 0, "never resolved");
        assert!(self.requests.is_empty(), "never resolved: {:?}", self.requests);
        assert!(self.client.session().is_empty());
    }
}

fn filter(input: &mut Input<'_>) -> TopicFilter {
    TopicFilter::from_static(FILTERS[usize::from(input.byte()) % FILTERS.len()]).expect("a filter")
}
