//! Sessions on a disk: crashes at any moment, between any two changes, with a Server that keeps its half.
//!
//! A world of a client, a transport, a Server, a store and an application moves in random steps. The store writes the
//! changes of the journal one by one; a crash loses the client, the transport and what was not written. Whatever comes,
//! the Server gets each QoS 2 message at most once, and in the end everything that was safe.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mqtt_client::bytes::{Buf, BytesMut};
use mqtt_client::{
    AckMode, Change, Changes, Client, ConnectionError, Event, Key, Mark, Message, Options, PacketId,
    ProtocolVersion, PubSub, QoS, Session, SessionDecodeError, State, Time, TopicFilter, TopicName,
    TopicNameRef,
};
use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Decoder, Delivery, Direction, Packet, Publish, Suback, SubackCode,
    SubackCodes,
};

/// A small generator (SplitMix64): every run can be had again by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

fn write(store: &mut Store, change: &Change) {
    match change {
        Change::Clear => store.clear(),
        Change::Put(key, record) => {
            store.insert(key.as_bytes().to_vec(), record.to_bytes());
        }
        Change::Remove(key) => {
            store.remove(&key.as_bytes()[..]);
        }
    }
}

/// What the Server still owes for a message that it has sent.
#[derive(Clone, Copy, PartialEq)]
enum Owes {
    Publish,
    Pubrel,
}

/// A Server that keeps its Session and does all as it should.
#[derive(Default)]
struct Server {
    connected: bool,
    has_session: bool,
    subscribed: bool,
    /// QoS 2 messages whose PUBREL has not come, with their payloads.
    received: BTreeMap<u16, String>,
    delivered: Vec<String>,
    /// The identifiers in the order of their PUBRECs, and where in it the last PUBREL of this connection was.
    pubrecs: Vec<u16>,
    last_pubrel: usize,
    /// Its own messages by identifier.
    sending: BTreeMap<u16, (String, QoS, Owes)>,
    next_id: u16,
    sent: Vec<String>,
}

impl Server {
    fn publish(&self, id: u16, dup: bool, out: &mut BytesMut) {
        let (payload, qos, _) = &self.sending[&id];
        let id = PacketId::new(id).unwrap();
        let delivery = match qos {
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
            _ => Delivery::AtLeastOnce { id, dup },
        };
        let topic = TopicNameRef::new("in").unwrap();
        let publish = Publish { delivery, retain: false, topic, payload: payload.as_bytes() };
        Packet::Publish(publish).encode(ProtocolVersion::V3_1_1, out).unwrap();
    }

    fn send(&mut self, payload: String, qos: QoS, out: &mut BytesMut) {
        if !self.subscribed {
            return;
        }
        self.next_id += 1;
        self.sent.push(payload.clone());
        self.sending.insert(self.next_id, (payload, qos, Owes::Publish));
        if self.connected {
            self.publish(self.next_id, false, out);
        }
    }

    fn handle(&mut self, packet: &Packet<'_>, out: &mut BytesMut) {
        let version = ProtocolVersion::V3_1_1;
        let answer = match packet {
            Packet::Connect(connect) => {
                assert!(!connect.clean_session);
                self.connected = true;
                self.last_pubrel = 0;
                let present = std::mem::replace(&mut self.has_session, true);
                let connack = Connack { session_present: present, code: ConnectReturnCode::Accepted };
                Packet::Connack(connack).encode(version, out).unwrap();
                for id in self.sending.keys().copied().collect::<Vec<_>>() {
                    match self.sending[&id].2 {
                        Owes::Publish => self.publish(id, true, out),
                        Owes::Pubrel => {
                            let id = PacketId::new(id).unwrap();
                            Packet::Pubrel { id, dup: false }.encode(version, out).unwrap();
                        }
                    }
                }
                return;
            }
            Packet::Publish(publish) => {
                let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                assert!(publish.delivery.dup() || !self.delivered.contains(&payload), "again, without DUP");
                match publish.delivery {
                    Delivery::ExactlyOnce { id, .. } => {
                        self.pubrecs.push(id.get());
                        if let Some(before) = self.received.insert(id.get(), payload.clone()) {
                            assert_eq!(before, payload, "an identifier that is in use");
                        } else {
                            self.delivered.push(payload);
                        }
                        Packet::Pubrec(id)
                    }
                    Delivery::AtLeastOnce { id, .. } => {
                        self.delivered.push(payload);
                        Packet::Puback(id)
                    }
                    Delivery::AtMostOnce => return,
                }
            }
            Packet::Pubrel { id, .. } => {
                self.received.remove(&id.get());
                let at = self.pubrecs.iter().rposition(|other| *other == id.get()).unwrap() + 1;
                assert!(at > self.last_pubrel, "PUBRELs in the order of their PUBRECs");
                self.last_pubrel = at;
                Packet::Pubcomp(*id)
            }
            Packet::Puback(id) | Packet::Pubcomp(id) => {
                self.sending.remove(&id.get());
                return;
            }
            Packet::Pubrec(id) => {
                if let Some(message) = self.sending.get_mut(&id.get()) {
                    message.2 = Owes::Pubrel;
                }
                Packet::Pubrel { id: *id, dup: false }
            }
            Packet::Subscribe(subscribe) => {
                self.subscribed = true;
                let codes = [SubackCode::Granted(QoS::ExactlyOnce)];
                let codes = SubackCodes::new(&codes).unwrap();
                Packet::Suback(Suback { id: subscribe.id, codes }).encode(version, out).unwrap();
                return;
            }
            other => panic!("{other:?}"),
        };
        answer.encode(version, out).unwrap();
    }
}

struct World {
    random: Random,
    /// Whether a batch is written as a whole, together with what the application makes of the messages.
    transactions: bool,
    client: Client<PubSub>,
    now: Time,
    to_server: BytesMut,
    to_client: BytesMut,
    server: Server,
    store: Store,
    /// Batches that were fetched and not wholly written, how far the first is, and what the application adds to each.
    writing: VecDeque<(Changes, Vec<String>)>,
    written: usize,
    /// What the application has made of messages: not in a batch yet, and for good.
    effects: Vec<String>,
    done: Vec<String>,
    published: usize,
    sent: usize,
    unsafe_yet: Vec<(String, Mark)>,
    safe: BTreeSet<String>,
    crashes: usize,
}

fn options() -> Options {
    Options::new("c")
        .clean_session(false)
        .journal(true)
        .max_in_flight(3)
        .max_in_flight_qos2(2)
        .ack_mode(AckMode::Manual)
        .keep_alive(Duration::ZERO)
        .connack_timeout(Duration::from_secs(1_000_000))
}

fn subscribe(client: &mut Client<PubSub>) {
    client.subscribe([(TopicFilter::try_from("in").unwrap(), QoS::ExactlyOnce)]).unwrap();
}

impl World {
    fn new(seed: u64) -> Self {
        let mut client = Client::<PubSub>::new(options()).unwrap();
        subscribe(&mut client);
        Self {
            transactions: seed % 2 == 0,
            random: Random(seed),
            client,
            now: Time::ZERO,
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            server: Server::default(),
            store: Store::new(),
            writing: VecDeque::new(),
            written: 0,
            effects: Vec::new(),
            done: Vec::new(),
            published: 0,
            sent: 0,
            unsafe_yet: Vec::new(),
            safe: BTreeSet::new(),
            crashes: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0 | 1 => self.publish(),
            2 => {
                self.sent += 1;
                let qos = if self.random.below(2) == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
                self.server.send(format!("q{}-{}", qos as u8, self.sent), qos, &mut self.to_client);
            }
            3 | 4 => self.fetch(),
            5..=8 => self.write_some(),
            9..=11 => {
                let count = self.random.below(60);
                self.take(count);
            }
            12..=14 => {
                let count = self.random.below(60);
                self.feed(count);
            }
            15 | 16 => self.serve(),
            17 => {
                self.now = self.now + Duration::from_secs(1);
                self.client.handle_timeout(self.now).unwrap();
                self.reconnect();
            }
            18 if self.random.below(4) == 0 => self.cut(),
            19 if self.random.below(4) == 0 => self.crash(),
            _ => {}
        }
    }

    fn publish(&mut self) {
        self.published += 1;
        let qos = if self.random.below(2) == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let payload = format!("q{}-{}", qos as u8, self.published);
        let message = Message::new(TopicName::try_from("out").unwrap(), payload.clone()).qos(qos);
        let Ok(Some(token)) = self.client.publish(message) else { return };
        match self.random.below(8) {
            // It does not matter any more: not safe, and not lost either.
            0 if self.client.cancel(token).is_ok() => {}
            1 if self.client.expire(token, self.now + Duration::from_secs(2)).is_ok() => {}
            _ => self.unsafe_yet.push((payload, self.client.mark())),
        }
    }

    fn fetch(&mut self) {
        if let Some(changes) = self.client.poll_changes() {
            self.writing.push_back((changes, std::mem::take(&mut self.effects)));
        }
    }

    /// Writes a bit, or a whole batch if it is a transaction.
    fn write_some(&mut self) {
        let Some((batch, effects)) = self.writing.front() else { return };
        let left = batch.changes.len() - self.written;
        let count = if self.transactions { left } else { 1 + self.random.below(left) };
        for change in &batch.changes[self.written..self.written + count] {
            write(&mut self.store, change);
        }
        self.written += count;
        if self.written == batch.changes.len() {
            self.done.extend_from_slice(effects);
            self.client.changes_saved(batch.mark);
            self.writing.pop_front();
            self.written = 0;
        }
        // Safe is what would survive a crash now.
        let client = &self.client;
        let (safe, rest) = self.unsafe_yet.drain(..).partition(|(_, mark)| client.is_saved(*mark));
        self.unsafe_yet = rest;
        self.safe.extend(Vec::into_iter(safe).map(|(payload, _)| payload));
    }

    fn take(&mut self, count: usize) {
        let mut left = count;
        let mut output = self.client.poll_output(self.now);
        while left > 0 && output.has_remaining() {
            let chunk = output.chunk();
            let chunk = &chunk[..chunk.len().min(left)];
            left -= chunk.len();
            let taken = chunk.len();
            self.to_server.extend_from_slice(chunk);
            output.advance(taken);
        }
    }

    fn serve(&mut self) {
        let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToServer);
        loop {
            let Decoded::Packet(packet, len) = decoder.decode(&self.to_server).unwrap() else { return };
            self.server.handle(&packet, &mut self.to_client);
            self.to_server.advance(len);
        }
    }

    fn feed(&mut self, count: usize) {
        let len = count.min(self.to_client.len());
        let bytes = self.to_client[..len].to_vec();
        let mut input = &bytes[..];
        let mut acks = Vec::new();
        while let Some(event) = self.client.handle_input(&mut input, self.now).unwrap() {
            if let Event::Message(message) = event {
                self.effects.push(String::from_utf8(message.payload.to_vec()).unwrap());
                acks.extend(message.ack);
            }
        }
        self.to_client.advance(len - input.len());
        for ack in acks {
            self.client.acknowledge(ack).unwrap();
        }
    }

    fn reconnect(&mut self) {
        if self.client.state() == State::Disconnected {
            self.client.connect(self.now).unwrap();
        }
    }

    fn cut(&mut self) {
        // Some of what the transport took still arrives.
        if self.random.below(2) == 0 {
            self.serve();
        }
        self.client.handle_close();
        self.server.connected = false;
        self.to_server.clear();
        self.to_client.clear();
    }

    fn crash(&mut self) {
        self.cut();
        self.crashes += 1;
        let records: Vec<_> = self.store.clone().into_iter().collect();
        // In whatever order the store has them.
        let at = self.random.below(records.len() + 1);
        let records = records[at..].iter().chain(&records[..at]);
        let session = Session::from_records(records.map(|(key, value)| (key, value))).unwrap();
        self.client = Client::with_session(options(), session).unwrap();
        if !self.store.keys().any(|key| matches!(key[0], b'F' | b'Q')) {
            subscribe(&mut self.client);
        }
        self.writing.clear();
        self.written = 0;
        self.effects.clear();
        self.unsafe_yet.clear();
    }

    /// Everything works from now on, until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.reconnect();
            self.fetch();
            while !self.writing.is_empty() {
                self.write_some();
            }
            self.take(usize::MAX);
            self.serve();
            self.feed(usize::MAX);
        }
    }

    fn check(&self, settled: bool) {
        let number = |payload: &String| payload[3..].parse::<usize>().unwrap();
        let mut seen = BTreeSet::new();
        let firsts = self.server.delivered.iter().filter(|one| seen.insert(*one));
        assert!(firsts.map(number).is_sorted(), "out of order");
        let twice = |all: &[String]| {
            let mut seen = BTreeSet::new();
            all.iter().find(|one| one.starts_with("q2") && !seen.insert(*one)).cloned()
        };
        assert_eq!(twice(&self.server.delivered), None, "delivered twice");
        if self.transactions {
            assert_eq!(twice(&self.done), None, "processed twice");
        }
        if settled {
            let delivered: BTreeSet<_> = self.server.delivered.iter().cloned().collect();
            let lost: Vec<_> = self.safe.difference(&delivered).collect();
            assert_eq!(lost, [""; 0], "safe and lost");
            assert!(self.server.sending.is_empty() && self.server.received.is_empty(), "all is done");
            assert!(self.server.subscribed);
            if self.transactions {
                // QoS 1 is acknowledged here before it is processed, and then at most once.
                let mut sent = self.server.sent.iter().filter(|payload| payload.starts_with("q2"));
                assert_eq!(sent.find(|payload| !self.done.contains(payload)), None, "never processed");
            }
            // What is left is what outlives everything.
            let left: Vec<_> = self.store.keys().map(|key| char::from(key[0])).collect();
            assert_eq!(left, ['F'], "only the subscription is left in the store");
        }
    }
}

#[test]
fn no_crash_loses_or_doubles_anything() {
    let rounds = std::env::var("MQTT_JOURNAL_ROUNDS").map_or(300, |rounds| rounds.parse().unwrap());
    let (mut crashes, mut messages) = (0, 0);
    for seed in 0..rounds {
        let mut world = World::new(seed);
        let steps = 100 + world.random.below(500);
        for _ in 0..steps {
            world.step();
            world.check(false);
        }
        world.settle();
        world.check(true);
        crashes += world.crashes;
        messages += world.safe.len() + world.done.len();
    }
    println!("{rounds} rounds, {crashes} crashes, {messages} messages");
    assert!(crashes > rounds as usize / 2 && messages > rounds as usize * 10, "something went on");
}

/// The keys and what becomes of them, for one message of each kind.
#[test]
fn changes_in_their_order() {
    let text = |changes: Option<Changes>| {
        let changes = changes.map_or(Vec::new(), |changes| changes.changes);
        let name = |key: &Key| format!("{}{}", char::from(key.as_bytes()[0]), key.as_bytes()[8]);
        let texts = changes.iter().map(|change| match change {
            Change::Clear => "clear".to_owned(),
            Change::Put(key, record) => format!("put {} {}", name(key), record.to_bytes().len()),
            Change::Remove(key) => format!("remove {}", name(key)),
        });
        texts.collect::<Vec<_>>()
    };
    let mut client = Client::<PubSub>::new(options()).unwrap();
    assert_eq!(text(client.poll_changes()), ["clear"]);
    assert_eq!(client.poll_changes(), None);
    subscribe(&mut client);
    let message = |qos| Message::new(TopicName::try_from("t").unwrap(), "12345").qos(qos);
    let one = client.publish(message(QoS::AtLeastOnce)).unwrap().unwrap();
    client.expire(one, Time::ZERO + Duration::from_secs(1)).unwrap();
    client.publish(message(QoS::ExactlyOnce)).unwrap();
    assert_eq!(text(client.poll_changes()), ["put Q1 10", "put M1 13", "put E1 8", "put M2 13"]);
    client.connect(Time::ZERO).unwrap();
    assert_eq!(text(client.poll_changes()), [""; 0], "there is no subscription yet to be lost");
    // Nothing leaves before what it depends on is safe, neither in part nor with other calls.
    let now = Time::ZERO;
    assert!(!client.has_output() && client.poll_output(now).chunk().is_empty());
    client.poll_output(now).advance(100);
    client.changes_saved(client.mark());
    assert!(client.has_output() && !client.has_changes());
    let len = client.poll_output(now).remaining();
    client.poll_output(now).advance(len);
    let mut input = &b"\x20\x02\x00\x00\x90\x03\x00\x01\x02"[..];
    while client.handle_input(&mut input, now).unwrap().is_some() {}
    assert_eq!(text(client.poll_changes()), ["put S1 11", "remove E1", "put S2 11", "put F1 5", "remove Q1"]);
    let mut input = &b"\x40\x02\x00\x02\x50\x02\x00\x03\x34\x06\x00\x01t\x00\x09!"[..];
    let mut acks = Vec::new();
    while let Some(event) = client.handle_input(&mut input, now).unwrap() {
        if let Event::Message(message) = event {
            acks.extend(message.ack);
        }
    }
    assert_eq!(text(client.poll_changes()), ["remove M1", "remove S1", "put S2 11", "remove M2"]);
    client.acknowledge(acks[0]).unwrap();
    assert_eq!(text(client.poll_changes()), ["put R9 0"]);
    let mut input = &b"\x70\x02\x00\x03\x62\x02\x00\x09"[..];
    while client.handle_input(&mut input, now).unwrap().is_some() {}
    assert_eq!(text(client.poll_changes()), ["remove S2", "remove R9"]);
    client.handle_close();
    client.connect(now).unwrap();
    assert_eq!(text(client.poll_changes()), ["put C0 0"]);
    // It fails before a byte was sent: what is not known to have happened has not.
    client.handle_close();
    assert_eq!(text(client.poll_changes()), ["remove C0"]);
    client.discard_session();
    assert_eq!(text(client.poll_changes()), ["clear"]);
}

/// What a Session holds that no store has: all of it, as one transaction.
#[test]
fn a_session_that_no_store_has_is_written_as_a_whole() {
    let mut client = Client::<PubSub>::new(options().journal(false)).unwrap();
    subscribe(&mut client);
    for (qos, n) in [(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2), (QoS::AtLeastOnce, 3)] {
        let message = Message::new(TopicName::try_from("t").unwrap(), format!("{n}")).qos(qos);
        client.publish(message).unwrap();
    }
    let session = client.into_session();
    let mut client = Client::<PubSub>::with_session(options(), session.clone()).unwrap();
    let mut store = Store::from([(b"M12345678".to_vec(), b"of another".to_vec())]);
    let changes = client.poll_changes().unwrap();
    assert_eq!(changes.changes[0], Change::Clear);
    changes.changes.iter().for_each(|change| write(&mut store, change));
    let stored = Session::from_records(&store).unwrap();
    assert_eq!(stored.to_bytes(), session.to_bytes());
    // The client that goes on with the store has nothing to write.
    let mut client = Client::<PubSub>::with_session(options(), stored).unwrap();
    assert_eq!(client.poll_changes(), None);
}

#[test]
fn records_that_cannot_be_are_refused() {
    let refused = |records: &[(&[u8], &[u8])]| Session::from_records(records.iter().copied()).unwrap_err();
    let message = (&b"M\0\0\0\0\0\0\0\x01"[..], &b"\x20\0\x01t\0\0\0\0"[..]);
    assert_eq!(Session::from_records([message]).unwrap().pending_publishes().count(), 1);
    use SessionDecodeError::{Corrupt, NotASession, TrailingBytes, Truncated};
    for (key, value, error) in [
        (&b""[..], &b""[..], NotASession),
        (b"M\0\0\0\0\0\0\0", message.1, NotASession),
        (b"X\0\0\0\0\0\0\0\x01", b"", NotASession),
        (message.0, b"", Truncated),
        (message.0, b"\x20\0\x01t\0\0\0\0!", TrailingBytes),
        (message.0, b"\x20\0\x01#\0\0\0\0", Corrupt),
        (message.0, b"\x00\0\x01t\0\0\0\0", Corrupt),
        (message.0, b"\x60\0\x01t\0\0\0\0", Corrupt),
        (message.0, b"\x21\0\x01t\0\0\0\0", Corrupt),
        (b"M\xff\xff\xff\xff\xff\xff\xff\xff", message.1, Corrupt),
        (b"S\0\0\0\0\0\0\0\x01", b"\0\0\x01\0\0\0\0\0\0\0\0", Corrupt),
        (b"S\0\0\0\0\0\0\0\x01", b"\x03\0\0\0\0\0\0\0\0\0\0", Corrupt),
        (b"S\0\0\0\0\0\0\0\x01", b"\x03\0\x01\xff\0\0\0\0\0\0\0", Corrupt),
        (b"S\0\0\0\0\0\0\0\x01", b"\x01\0\x01\0\0\0\0\0\0\0\x01", Corrupt),
        (b"R\0\0\0\0\0\x01\0\0", b"", Corrupt),
        (b"R\0\0\0\0\0\0\0\0", b"", Corrupt),
        (b"Q\0\0\0\0\0\0\0\x01", b"\0\0\0\0\0", Corrupt),
        (b"C\0\0\0\0\0\0\0\x01", b"", Corrupt),
    ] {
        assert_eq!(refused(&[(key, value)]), error, "{key:?} {value:?}");
    }
    assert_eq!(refused(&[message, message]), Corrupt, "a key twice");
    let state = |key: &'static [u8]| (key, &b"\x03\0\x01\0\0\0\0\0\0\0\0"[..]);
    let twice = [state(b"S\0\0\0\0\0\0\0\x01"), state(b"S\0\0\0\0\0\0\0\x02")];
    assert_eq!(refused(&twice), Corrupt, "an identifier twice");
    let mixed = [message, (b"S\0\0\0\0\0\0\0\x01", b"\x02\0\x01\0\0\0\0\0\0\0\0")];
    assert_eq!(refused(&mixed), Corrupt, "a QoS 1 message that awaits PUBREC");
}

/// The client that goes on with a store.
fn restart(store: &Store) -> Client<PubSub> {
    Client::with_session(options().max_in_flight_qos2(3), Session::from_records(store).unwrap()).unwrap()
}

/// Connects with the Session present, feeds `input` and saves; the first bytes of the packets that go out.
fn resume(client: &mut Client<PubSub>, input: &[u8], store: &mut Store) -> Vec<[u8; 4]> {
    let now = Time::ZERO;
    client.connect(now).unwrap();
    let mut bytes = Vec::new();
    for input in [&b"\x20\x02\x01\x00"[..], input] {
        let mut input = input;
        while client.handle_input(&mut input, now).unwrap().is_some() {}
        if let Some(changes) = client.poll_changes() {
            changes.changes.iter().for_each(|change| write(store, change));
            client.changes_saved(changes.mark);
        }
        let mut output = client.poll_output(now);
        while output.has_remaining() {
            let len = output.chunk().len();
            bytes.extend_from_slice(output.chunk());
            output.advance(len);
        }
    }
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToServer);
    let mut heads = Vec::new();
    let mut rest = &bytes[..];
    while let Decoded::Packet(_, len) = decoder.decode(rest).unwrap() {
        heads.push(rest[..4].try_into().unwrap());
        rest = &rest[len..];
    }
    heads
}

/// PUBRELs go out in the order of their PUBRECs, whatever the order of the messages and over any number of crashes
/// [MQTT-4.6.0-4].
#[test]
fn the_order_of_pubrecs_survives() {
    let mut store = Store::new();
    let mut client = Client::<PubSub>::new(options().max_in_flight_qos2(3)).unwrap();
    for _ in 0..3 {
        let message = Message::new(TopicName::try_from("t").unwrap(), "").qos(QoS::ExactlyOnce);
        client.publish(message).unwrap();
    }
    for id in [3, 2, 1] {
        resume(&mut client, &[0x50, 2, 0, id], &mut store);
        client = restart(&store);
    }
    let pubrels = [3, 2, 1].map(|id| [0x62, 2, 0, id]);
    assert_eq!(resume(&mut client, b"", &mut store)[1..], pubrels);
}

/// What is saved of one connection opens nothing on the next.
#[test]
fn the_output_of_a_connection_depends_on_its_own_changes() {
    let mut client = Client::<PubSub>::new(options()).unwrap();
    client.connect(Time::ZERO).unwrap();
    let publish = |client: &mut Client<PubSub>| {
        let message =
            Message::new(TopicName::try_from("t").unwrap(), [0; 100].to_vec()).qos(QoS::AtLeastOnce);
        client.publish(message).unwrap();
    };
    publish(&mut client);
    let before = client.poll_changes().unwrap().mark;
    client.handle_close();
    client.connect(Time::ZERO).unwrap();
    publish(&mut client);
    client.changes_saved(before);
    assert!(!client.has_output() && client.is_saved(before) && !client.is_saved(client.mark()));
    let now = client.poll_changes().unwrap().mark;
    client.changes_saved(now);
    assert!(client.has_output());
    // A mark of the future is none.
    publish(&mut client);
    client.changes_saved(client.mark());
    assert!(!client.is_saved(client.mark()));
}

/// An acknowledgement behind a barrier waits for it, though nothing in the Session changes.
#[test]
fn output_waits_for_a_barrier() {
    let mut store = Store::new();
    let mut client = Client::<PubSub>::new(options()).unwrap();
    resume(&mut client, b"", &mut store);
    let mut input = &b"\x32\x06\x00\x01t\x00\x09!"[..];
    let event = client.handle_input(&mut input, Time::ZERO).unwrap();
    let Some(Event::Message(message)) = event else { panic!("{event:?}") };
    let ack = message.ack.unwrap();
    let mark = client.barrier();
    client.acknowledge(ack).unwrap();
    assert!(!client.has_output() && !client.is_saved(mark));
    let changes = client.poll_changes().unwrap();
    assert_eq!((changes.changes.len(), changes.mark), (1, mark));
    let before = store.clone();
    changes.changes.iter().for_each(|change| write(&mut store, change));
    assert_eq!(store, before);
    client.changes_saved(mark);
    assert_eq!(client.poll_output(Time::ZERO).chunk(), [0x40, 2, 0, 9]);
    // Without a journal there is nothing to wait for.
    let mut client = Client::<PubSub>::new(options().journal(false)).unwrap();
    let mark = client.barrier();
    assert!(client.is_saved(mark) && !client.has_changes());
}

/// A disk that stalls is no dead Server: what the store holds back is not waited for.
#[test]
fn a_stalled_store_ends_no_connection() {
    let secs = |secs| Time::from_epoch(Duration::from_secs(secs));
    let keep_alive = options().keep_alive(Duration::from_secs(20)).connack_timeout(Duration::from_secs(10));
    let mut client = Client::<PubSub>::new(keep_alive).unwrap();
    resume(&mut client, b"", &mut Store::new());
    let message = Message::new(TopicName::try_from("t").unwrap(), "").qos(QoS::AtLeastOnce);
    client.publish(message).unwrap();
    for now in 1..100 {
        client.handle_timeout(secs(now)).unwrap();
        assert!(!client.has_output());
    }
    let changes = client.poll_changes().unwrap();
    client.changes_saved(changes.mark);
    let len = client.poll_output(secs(100)).remaining();
    client.poll_output(secs(100)).advance(len);
    assert_eq!(client.handle_timeout(secs(109)), Ok(()));
    assert_eq!(client.handle_timeout(secs(111)), Err(ConnectionError::PingrespTimeout));
}
