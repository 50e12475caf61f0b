//! Input: a byte of settings, and what may be a stored Session; or, behind `MQR`, what may be its records; or, behind
//! `MQX`, what is to be changed in the records of a Session that has all there can be.

use std::collections::HashSet;

use bytes::Buf;
use mqtt_client::{
    AckMode, Client, Event, Message, Options, PubSub, QoS, Session, SessionLoss, State, Time, TopicFilter,
    TopicName,
};
use mqtt_codec::ProtocolVersion;

use super::disk::{self, Disk, Records};
use super::{input::Input, peer, wire};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let settings = input.byte();
    let (session, disk) = if let Some(rest) = input.0.strip_prefix(b"MQR") {
        let records = read_records(&mut Input(rest));
        (Session::from_records(&records), Disk::from(records))
    } else if let Some(rest) = input.0.strip_prefix(b"MQX") {
        let records = changed(valid_records(), &mut Input(rest));
        (Session::from_records(&records), Disk::from(records))
    } else {
        (Session::from_bytes(input.0), Disk::default())
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let bytes = session.to_bytes();
    let again = Session::from_bytes(&bytes).expect("just written");
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.is_empty(), session.is_empty());
    if disk.records.is_empty() {
        assert!(bytes.len() <= input.0.len() || input.0.starts_with(b"MQR"), "nothing that was not there");
    } else {
        let there: usize = disk.records.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes.len() <= there + 32, "nothing is there that was not in the records");
        assert_eq!(moved(&session).to_bytes(), bytes);
    }
    round_trip(&session);
    discard(session.clone());
    goes_on(session, disk, settings);
}

/// Keys of one letter and a number, and values of up to 255 bytes.
fn read_records(input: &mut Input<'_>) -> Records {
    let mut records = Records::new();
    while !input.is_empty() {
        let kind = input.byte();
        let number = number(input);
        records.insert([&[kind][..], &number.to_be_bytes()].concat(), input.bytes().to_vec());
    }
    records
}

/// Small numbers, and those at the edges.
fn number(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        255 => u64::MAX,
        254 => u64::MAX / 2,
        253 => u64::MAX / 2 - 1,
        252 => 1 << 32,
        251 => 65_536,
        250 => 65_535,
        number => number.into(),
    }
}

/// The records of a Session with messages in flight, released, queued and expiring, received ones, requests and
/// subscriptions.
fn valid_records() -> Records {
    let options = Options::new("c").clean_session(false).journal(true).ack_mode(AckMode::Manual);
    let mut client = Client::<PubSub>::new(options.max_in_flight(5)).expect("these options are right");
    let topic = TopicName::from_static("t").expect("a name");
    let filter = |text| TopicFilter::from_static(text).expect("a filter");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().cycle().take(6) {
        client.publish(Message::new(topic.clone(), "payload").qos(qos)).expect("there is room");
    }
    let last = client.publish(Message::new(topic, "").qos(QoS::AtLeastOnce)).expect("there is room");
    client
        .expire(last.expect("a token"), Time::from_epoch(std::time::Duration::from_secs(1)))
        .expect("queued");
    client.subscribe([(filter("a/+"), QoS::ExactlyOnce)]).expect("there is room");
    let mut disk = Disk::default();
    client.connect(Time::ZERO).expect("it is disconnected");
    // Session Present; SUBACK; PUBREC for 5 and 3; a message with QoS 2.
    let answers =
        b"\x20\x02\x01\x00\x90\x03\x00\x01\x02\x50\x02\x00\x05\x50\x02\x00\x03\x34\x05\x00\x01t\x00\x09";
    let mut input = &answers[..];
    while !input.is_empty() {
        disk.save(&mut client);
        let mut output = client.poll_output(Time::ZERO);
        output.advance(output.remaining());
        if let Some(Event::Message(message)) = client.handle_input(&mut input, Time::ZERO).expect("no fault")
        {
            client.acknowledge(message.ack.expect("QoS 2")).expect("it is new");
        }
    }
    client.handle_close();
    client.connect(Time::ZERO).expect("it is disconnected");
    client.subscribe([(filter("b"), QoS::AtMostOnce)]).expect("there is room");
    client.unsubscribe([filter("c"), filter("#")]).expect("there is room");
    disk.save(&mut client);
    disk.records
}

/// Some of them removed, cut, prolonged, changed in a byte, or under another key.
fn changed(mut records: Records, input: &mut Input<'_>) -> Records {
    while !input.is_empty() && !records.is_empty() {
        let what = input.byte();
        let at = usize::from(input.byte()) % records.len();
        let key = records.keys().nth(at).expect("below the count").clone();
        let value = records.get_mut(&key).expect("just found");
        let place = usize::from(input.byte()) % (value.len() + 1);
        match what % 5 {
            0 => drop(records.remove(&key)),
            1 => value.truncate(place),
            2 => value.insert(place, input.byte()),
            3 => value.iter_mut().skip(place).take(1).for_each(|byte| *byte = input.byte()),
            _ => {
                let kind = if what >= 128 { input.byte() } else { key[0] };
                let value = value.clone();
                records.insert([&[kind][..], &number(input).to_be_bytes()].concat(), value);
            }
        }
    }
    records
}

/// The same Session, for a store that has none of it.
fn moved(session: &Session) -> Session {
    let client =
        Client::<PubSub>::with_session(options(0), session.clone()).expect("these options are right");
    client.into_session()
}

/// A store that is given all of it gives it back.
fn round_trip(session: &Session) {
    let through = |session: &Session| {
        let options = options(0).journal(true);
        let mut client = Client::with_session(options, moved(session)).expect("these options are right");
        let mut disk = Disk::default();
        disk.save(&mut client);
        disk.session()
    };
    let stored = through(session);
    assert_eq!(disk::messages(&stored), disk::messages(session));
    assert_eq!(moved(&through(&stored)), moved(&stored));
    assert_eq!(stored.to_bytes(), moved(&stored).to_bytes());
}

fn options(settings: u8) -> Options {
    let bit = |bit: u8| settings >> bit & 1 == 1;
    Options::new("c")
        .version(if bit(0) { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 })
        .clean_session(bit(1))
        .session_loss(match settings >> 2 & 3 {
            0 => SessionLoss::RepublishQos1,
            1 => SessionLoss::RepublishAll,
            _ => SessionLoss::Fail,
        })
        .max_in_flight(u32::from(settings >> 5) + 1)
        .max_in_flight_qos2(if bit(4) { 1 } else { 65_535 })
}

/// With a Server that answers as it should, everything in it comes to its end.
fn goes_on(session: Session, mut disk: Disk, settings: u8) {
    let options = options(settings).journal(true);
    let ends_soon = ends_soon(&disk.records);
    let version = if settings & 1 == 0 { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
    let mut publishes: HashSet<_> = session.pending_publishes().map(|(token, _)| token).collect();
    assert_eq!(publishes.len(), session.pending_publishes().count(), "each token is its own");
    let mut client = Client::<PubSub>::with_session(options, session).expect("these options are right");
    client.connect(Time::ZERO).expect("it is disconnected");
    loop {
        disk.save(&mut client);
        if !client.has_output() {
            break;
        }
        let mut output = client.poll_output(Time::ZERO);
        let taken = output.copy_to_bytes(output.remaining());
        let mut answers = Vec::new();
        let used = wire::each_packet(&taken, version, |packet| {
            answers.extend(peer::answer(packet, version));
        });
        assert_eq!(used, taken.len(), "nothing but whole packets");
        let answers = answers.concat();
        let mut input = &answers[..];
        while let Some(event) = client.handle_input(&mut input, Time::ZERO).expect("a good Server") {
            if let Event::Published { token, .. } = event {
                assert!(publishes.remove(&token), "{token:?} is resolved twice, or never was");
            }
        }
        assert_eq!(input, b"");
    }
    assert_eq!(client.state(), State::Connected);
    assert!(publishes.is_empty(), "never resolved: {publishes:?}");
    assert_eq!((client.in_flight_len(), client.queue_len()), (0, 0));
    // Subscriptions, and messages whose PUBREL did not come.
    assert!(disk.records.keys().all(|key| matches!(key[0], b'F' | b'R')), "left: {:?}", disk.records);
    if !ends_soon {
        assert!(disk::messages(&disk.session()).is_empty());
    }
}

/// Whether what is written next may have a number that no record has. Numbers go on from the largest, which is near
/// the end in records only that no client has written.
fn ends_soon(records: &Records) -> bool {
    let is_near =
        |bytes: &[u8]| bytes.last_chunk().is_some_and(|last| u64::from_be_bytes(*last) >= u64::MAX / 4);
    records.iter().any(|(key, value)| is_near(key) || key[0] == b'S' && is_near(value))
}

fn discard(session: Session) {
    let mut publishes = session.pending_publishes().count();
    let mut client = Client::<PubSub>::with_session(options(0), session).expect("these options are right");
    client.discard_session();
    while let Some(event) = client.handle_input(&mut &[][..], Time::ZERO).expect("no bytes") {
        publishes -= usize::from(matches!(event, Event::Published { .. }));
    }
    assert_eq!(publishes, 0);
    assert!(client.session().is_empty());
}
