//! Input: two bytes of settings, and what the Server sends behind its CONNACK: any bytes.
//!
//! When they end the connection, the client connects again and gets what is left. Publishes with each QoS and requests
//! of each kind are in flight all the time.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Buf;
use mqtt_client::{
    AckMode, AckToken, Client, Event, Message, Options, Oversize, PubSub, PublishToken, QoS, RequestToken,
    Retransmission, SessionLoss, State, Time, Timed, TopicFilter, TopicName,
};
use mqtt_codec::ProtocolVersion;

use super::{disk::Disk, input::Input, wire};

const WINDOW: usize = 3;
const MAX_QUEUE: usize = 4;
/// The answers that may wait for the transport, and the last one.
const MAX_OUTPUT: usize = 64 * 1024 + 64;
/// The bytes of a flood: enough of some packets for more answers than that.
const FLOOD: usize = 112 * 1024;
/// What comes at once of it.
const BLOCK: usize = 4 * 1024;
/// A flood that ends the connection again and again shows nothing more.
const MAX_CONNECTIONS: usize = 20;
/// The changes that may wait to be written, and those of the last packet.
const MAX_CHANGES: usize = 16 * 1024 + 16;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let (first, second) = (input.byte(), input.byte());
    let mut world = World::new(first);
    // How much comes at once; whether the transport takes anything; whether it comes so often that it is a flood.
    let is_flood = second == 0xf0;
    let piece = if is_flood { usize::MAX } else { [1, 7, 100, usize::MAX][usize::from(second & 3)] };
    let takes = second & 4 != 0;
    let bytes = input.0.repeat(if is_flood { BLOCK / input.0.len().max(1) + 1 } else { 1 });
    let times = if is_flood { FLOOD / BLOCK } else { 1 };
    for _ in 0..times {
        let mut rest = if world.connections < MAX_CONNECTIONS { &bytes[..] } else { &[] };
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            world.feed(now);
            world.pass_time();
            if takes {
                world.take();
            }
            world.acknowledge_one();
            world.check();
            rest = if world.connections < MAX_CONNECTIONS { later } else { &[] };
        }
    }
    world.end();
}

struct World {
    client: Client<PubSub>,
    version: ProtocolVersion,
    now: Time,
    /// Whether time goes on.
    is_timed: bool,
    /// Whether messages that are too large are skipped.
    skips: bool,
    /// With a journal.
    disk: Option<Disk>,
    inbox: Vec<u8>,
    /// Taken from the client, and not yet a whole packet.
    wire: Vec<u8>,
    publishes: HashSet<PublishToken>,
    requests: HashSet<RequestToken>,
    acks: Vec<AckToken>,
    fed: usize,
    connections: usize,
    /// How long the stored Session was with nothing received.
    session_len: usize,
}

impl World {
    fn new(settings: u8) -> Self {
        let bit = |bit: u8| settings >> bit & 1 == 1;
        let version = if bit(0) { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };
        let mut options = Options::new("c")
            .version(version)
            .clean_session(bit(1))
            .ack_mode(if bit(2) { AckMode::Manual } else { AckMode::Automatic })
            .session_loss(if bit(3) { SessionLoss::RepublishAll } else { SessionLoss::Fail })
            .max_in_flight(WINDOW as u32)
            .max_queue_len(MAX_QUEUE)
            .max_requests(3)
            .max_packet_size(if bit(4) { 64 } else { 1 << 20 })
            .oversize(if bit(5) { Oversize::Skip } else { Oversize::Close })
            .journal(bit(7));
        if bit(6) {
            let timed = Timed::default().initial(Duration::from_secs(2)).cap(Duration::from_secs(4));
            options = options
                .retransmission(Retransmission::Timed(timed))
                .ack_timeout(Some(Duration::from_secs(9)));
        }
        let mut world = Self {
            client: Client::new(options).expect("these options are right"),
            version,
            now: Time::ZERO,
            is_timed: bit(6),
            skips: bit(5),
            disk: bit(7).then(Disk::default),
            inbox: Vec::new(),
            wire: Vec::new(),
            publishes: HashSet::new(),
            requests: HashSet::new(),
            acks: Vec::new(),
            fed: 0,
            connections: 0,
            session_len: 0,
        };
        world.connect();
        world
    }

    /// Connects, and asks for as much as the client takes.
    fn connect(&mut self) {
        self.client.connect(self.now).expect("it is disconnected");
        self.connections += 1;
        self.inbox.clear();
        self.wire.clear();
        self.acks.clear();
        let mut input = &b"\x20\x02\x00\x00"[..];
        self.events(&mut input);
        assert_eq!((self.client.state(), input), (State::Connected, &b""[..]));
        self.ask();
        self.take();
        self.session_len = self.client.session().to_bytes().len();
    }

    fn ask(&mut self) {
        let topic = TopicName::from_static("t").expect("a name");
        let filter = || TopicFilter::from_static("t/+").expect("a filter");
        for qos in [QoS::ExactlyOnce, QoS::AtLeastOnce].into_iter().cycle() {
            match self.client.publish(Message::new(topic.clone(), "payload").qos(qos)) {
                Ok(token) => assert!(self.publishes.insert(token.expect("a token"))),
                Err(_) => break,
            }
        }
        self.requests
            .extend(self.client.subscribe([(filter(), QoS::ExactlyOnce), (filter(), QoS::AtMostOnce)]));
        self.requests.extend(self.client.unsubscribe([filter()]));
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.fed += bytes.len();
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut input = &inbox[..];
        if self.events(&mut input) {
            self.inbox = input.to_vec();
            let waiting = self.client.output_len();
            assert!(waiting <= MAX_OUTPUT, "{waiting} bytes of output");
            if !self.client.wants_input() {
                // Only what a transport takes, or the application acknowledges, makes it want more.
                self.inbox.clear();
                self.take();
            }
        } else {
            self.connect();
        }
    }

    /// A second goes by.
    fn pass_time(&mut self) {
        if self.is_timed {
            self.now = self.now + Duration::from_secs(1);
            if self.client.handle_timeout(self.now).is_err() {
                assert_eq!(self.client.state(), State::Disconnected);
                self.connect();
            }
        }
    }

    /// Whether the connection is still there.
    fn events(&mut self, input: &mut &[u8]) -> bool {
        loop {
            match self.client.handle_input(input, self.now) {
                Ok(Some(Event::Published { token, .. })) => {
                    assert!(self.publishes.remove(&token), "{token:?} is resolved twice, or never was");
                }
                Ok(Some(
                    Event::Subscribed { token, .. }
                    | Event::Unsubscribed { token }
                    | Event::RequestFailed { token, .. },
                )) => assert!(self.requests.remove(&token), "{token:?} is resolved twice, or never was"),
                Ok(Some(Event::Message(message))) => self.acks.extend(message.ack),
                Ok(Some(Event::Skipped(_))) => assert!(self.skips, "it is to end the connection"),
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    assert_eq!(self.client.state(), State::Disconnected);
                    assert!(!self.client.has_output() && self.client.poll_timeout().is_none());
                    return false;
                }
            }
        }
    }

    fn take(&mut self) {
        loop {
            if let Some(disk) = &mut self.disk {
                disk.save(&mut self.client);
            }
            let mut output = self.client.poll_output(self.now);
            if !output.has_remaining() {
                break;
            }
            let count = output.chunk().len();
            self.wire.extend_from_slice(output.chunk());
            output.advance(count);
        }
        let used = wire::each_packet(&self.wire, self.version, |_| {});
        assert_eq!(used, self.wire.len(), "all of it was taken");
        self.wire.clear();
    }

    fn acknowledge_one(&mut self) {
        if let Some(token) = self.acks.pop() {
            assert!(self.client.acknowledge(token).is_ok());
        }
    }

    /// Whatever comes, this is all that the client keeps of it.
    fn check(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.fetch(&mut self.client);
            assert!(disk.unwritten() <= MAX_CHANGES, "{} changes wait", disk.unwritten());
        }
        let client = &self.client;
        assert!(client.in_flight_len() <= WINDOW);
        assert!(client.queue_len() <= MAX_QUEUE + WINDOW);
        assert!(self.publishes.len() <= MAX_QUEUE + WINDOW && self.requests.len() <= 3);
        // Two bytes for the identifier of each QoS 2 message, and those have at least seven. What is granted takes
        // the place of what was asked for.
        let received = (self.fed / 7 + 1).min(65_535) * 2;
        let len = client.session().to_bytes().len();
        assert!(len <= self.session_len + received + 64, "a Session of {len} bytes");
    }

    fn end(mut self) {
        if let Some(disk) = &mut self.disk {
            // A crash leaves no more than there was.
            disk.crash();
            let len = disk.session().to_bytes().len();
            assert!(len <= self.session_len + (self.fed / 7 + 1).min(65_535) * 2 + 64, "{len} bytes");
        }
        self.client.discard_session();
        self.events(&mut &[][..]);
        assert!(self.publishes.is_empty(), "never resolved: {:?}", self.publishes);
        assert!(self.requests.is_empty(), "never resolved: {:?}", self.requests);
        assert!(self.client.session().is_empty());
    }
}
