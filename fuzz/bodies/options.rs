//! Input: the values of options, one after the other.

use std::time::Duration;

use bytes::Buf;
use mqtt_client::{
    Backoff, Client, Event, Fallback, Message, Options, OptionsError, Oversize, ProtocolVersion, PubSub, QoS,
    Retransmission, Time, Timed, TopicName, Will,
};
use mqtt_codec::{BinaryData, Decoded, Decoder, Direction, Packet};

use super::input::Input;

pub(crate) fn run(data: &[u8]) {
    check_options(&mut Input(data));
}

/// What goes into the CONNECT packet.
struct Identity {
    version: ProtocolVersion,
    clean_session: bool,
    client_id: String,
    keep_alive: Duration,
    will: Option<Will>,
    username: Option<String>,
    password: Option<Vec<u8>>,
}

fn check_options(input: &mut Input<'_>) {
    let flags = input.byte();
    let bit = |bit: u8| flags >> bit & 1 == 1;
    let topic = TopicName::try_from(text(input)).ok();
    let identity = Identity {
        version: if bit(0) { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 },
        clean_session: bit(1),
        client_id: text(input),
        keep_alive: duration(input),
        will: topic.filter(|_| bit(2)).map(|topic| {
            let qos = QoS::try_from(input.byte() % 3).expect("below 3");
            Will::new(topic, bytes(input)).qos(qos).retain(bit(3))
        }),
        username: bit(4).then(|| text(input)),
        password: bit(5).then(|| bytes(input)),
    };
    let limits: [u64; 7] = std::array::from_fn(|_| number(input));
    let [connack, pingresp] = [duration(input), duration(input)];
    let backoff = backoff(input);
    let more = More::read(input);
    let mut options = Options::new(identity.client_id.clone())
        .version(identity.version)
        .clean_session(identity.clean_session)
        .keep_alive(identity.keep_alive)
        .connack_timeout(connack)
        .pingresp_timeout(pingresp)
        .max_in_flight(limits[0] as u32)
        .max_in_flight_qos2(limits[1] as u32)
        .max_queue_len(limits[2] as usize)
        .max_queue_size(limits[3] as usize)
        .max_packet_size(limits[4] as usize)
        .max_requests(limits[5] as usize)
        .queue_qos0(bit(6))
        .pipeline(bit(7))
        .backoff(backoff)
        .ack_timeout(more.ack_timeout)
        .oversize(if more.flags & 1 == 1 { Oversize::Skip } else { Oversize::Close })
        .journal(more.flags & 2 == 2)
        .fallback(
            [Fallback::Never, Fallback::Refused, Fallback::RefusedOrClosed]
                [usize::from(more.flags >> 2 & 3).min(2)],
        );
    if let Some(retransmission) = more.retransmission() {
        options = options.retransmission(retransmission);
    }
    if let Some(will) = identity.will.clone() {
        options = options.will(will);
    }
    if let Some(username) = identity.username.clone() {
        options = options.credentials(username, identity.password.clone());
    }
    let timeouts = [connack, pingresp, more.ack_timeout.unwrap_or(Duration::MAX)];
    let checked = options.check();
    assert_eq!(Client::<PubSub>::new(options.clone()).err(), checked.err());
    let now = Time::from_epoch(Duration::from_secs(limits[6]));
    match checked {
        Ok(()) => {
            assert!(timeouts.iter().all(|timeout| !timeout.is_zero()) && !more.is_broken());
            assert!(limits[..2].iter().all(|max| (1..=65_535).contains(&(*max as u32))));
            assert!((2..=268_435_460).contains(&limits[4]));
            connects(options, &identity, now);
        }
        Err(OptionsError::Retransmission) => assert!(more.is_broken()),
        Err(error) => assert!(is_broken(error, &identity, &limits, timeouts), "{error}"),
    }
}

/// What is read behind all else: without it, as it is when nothing is set.
struct More {
    flags: u8,
    ack_timeout: Option<Duration>,
    /// The first wait, and the longest.
    waits: [Duration; 2],
    factor: u32,
    bandwidth: u32,
    jitter: u8,
}

impl More {
    fn read(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        Self {
            flags,
            ack_timeout: (flags & 16 == 16).then(|| duration(input)),
            waits: std::array::from_fn(|_| duration(input)),
            factor: number(input) as u32,
            bandwidth: number(input) as u32,
            jitter: input.byte(),
        }
    }

    fn retransmission(&self) -> Option<Retransmission> {
        let timed = Timed::default()
            .initial(self.waits[0])
            .cap(self.waits[1])
            .factor(self.factor)
            .bandwidth(self.bandwidth)
            .jitter(self.jitter);
        match self.flags >> 5 {
            0 => None,
            1 => Some(Retransmission::OnReconnect),
            _ => Some(Retransmission::Timed(timed)),
        }
    }

    /// Whether these waits are none.
    fn is_broken(&self) -> bool {
        let [first, longest] = self.waits;
        let is_empty = first.is_zero() || self.factor == 0 || self.bandwidth == 0;
        self.flags >= 64 && (is_empty || longest < first || self.jitter > 100)
    }
}

/// Whether the rule that the error names is broken.
fn is_broken(error: OptionsError, identity: &Identity, limits: &[u64; 7], timeouts: [Duration; 3]) -> bool {
    let is_bad = |text: &str| text.contains('\0') || text.len() > 65_535;
    let count = identity.client_id.chars().count();
    match error {
        OptionsError::ClientId(_) => is_bad(&identity.client_id),
        OptionsError::ClientIdRule(_) if identity.version == ProtocolVersion::V3_1 => {
            count == 0 || count > 23
        }
        OptionsError::ClientIdRule(_) => count == 0 && !identity.clean_session,
        OptionsError::Username(_) => identity.username.as_ref().is_some_and(|name| is_bad(name)),
        OptionsError::PasswordTooLong => identity.password.as_ref().is_some_and(|it| it.len() > 65_535),
        OptionsError::WillTooLong => identity.will.as_ref().is_some_and(|will| will.payload.len() > 65_535),
        OptionsError::KeepAlive => {
            identity.keep_alive.subsec_nanos() != 0 || identity.keep_alive.as_secs() > 65_535
        }
        OptionsError::ZeroTimeout => timeouts.contains(&Duration::ZERO),
        OptionsError::MaxInFlight => limits[..2].iter().any(|max| !(1..=65_535).contains(&(*max as u32))),
        OptionsError::MaxPacketSize => !(2..=268_435_460).contains(&limits[4]),
        _ => false,
    }
}

/// The CONNECT says what the options say, and the connection that follows stands any time.
fn connects(options: Options, identity: &Identity, now: Time) {
    let mut client = Client::<PubSub>::new(options).expect("checked before");
    client.connect(now).expect("it is disconnected");
    save(&mut client);
    let mut output = client.poll_output(now);
    let wire = output.copy_to_bytes(output.remaining());
    let decoded = Decoder::new(identity.version, Direction::ToServer).decode(&wire);
    let Ok(Decoded::Packet(Packet::Connect(connect), len)) = decoded else { panic!("{decoded:?}") };
    assert_eq!(len, wire.len());
    assert_eq!((connect.version, connect.clean_session), (identity.version, identity.clean_session));
    assert_eq!(connect.client_id.as_str(), identity.client_id);
    assert_eq!(Duration::from_secs(connect.keep_alive.into()), identity.keep_alive);
    let will = connect.will.map(|will| {
        Will::new(will.topic.to_owned(), will.payload.as_bytes().to_vec()).qos(will.qos).retain(will.retain)
    });
    assert_eq!(will, identity.will);
    let username = connect.credentials.map(|credentials| credentials.username.as_str().to_owned());
    assert_eq!(username, identity.username);
    let password = connect.credentials.and_then(|credentials| credentials.password);
    let expected = identity.username.as_ref().and(identity.password.as_deref());
    assert_eq!(password.map(BinaryData::as_bytes), expected);

    let event = client.handle_input(&mut &b"\x20\x02\x00\x00"[..], now);
    match event {
        Ok(Some(Event::Connected { session_present: false })) => {}
        Ok(other) => panic!("{other:?}"),
        // The limit of packets may be below four bytes.
        Err(error) => assert!(matches!(error, mqtt_client::ConnectionError::Oversize { .. }), "{error}"),
    }
    // There may be no place for it.
    let topic = TopicName::from_static("t").expect("a name");
    let _ = client.publish(Message::new(topic, "message").qos(QoS::AtLeastOnce));
    let mut last = now;
    for _ in 0..8 {
        save(&mut client);
        let mut output = client.poll_output(last);
        output.advance(output.remaining());
        let Some(due) = client.poll_timeout() else { break };
        assert!(due >= last, "{due:?} is before {last:?}");
        let _ = client.handle_timeout(due);
        last = due;
    }
}

/// Every change is safe.
fn save(client: &mut Client<PubSub>) {
    if let Some(changes) = client.poll_changes() {
        client.changes_saved(changes.mark);
    }
    assert!(!client.has_changes() && client.is_saved(client.mark()));
}

/// Pauses stay within their ceiling, whatever that is.
fn backoff(input: &mut Input<'_>) -> Backoff {
    let (initial, max) = (duration(input), duration(input));
    let attempts = input.flag().then(|| u32::from(input.byte()));
    let backoff = Backoff::default().initial(initial).max(max).max_attempts(attempts);
    let mut tried = backoff.clone();
    for attempt in 0..40 {
        match tried.next_delay(number(input) as u32) {
            Some(delay) => assert!(delay <= max),
            None => {
                assert_eq!(Some(attempt), attempts);
                break;
            }
        }
    }
    backoff
}

fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(&bytes(input)).into_owned()
}

/// Up to 255 bytes, or so often as many that it is too much.
fn bytes(input: &mut Input<'_>) -> Vec<u8> {
    let times = if input.byte() == 255 { 300 } else { 1 };
    input.bytes().repeat(times)
}

/// Numbers at the edges, and others.
fn number(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 65_535,
        4 => 65_536,
        5 => 268_435_460,
        6 => 268_435_461,
        _ => u64::from(input.short()),
    }
}

fn duration(input: &mut Input<'_>) -> Duration {
    let seconds = number(input);
    let nanos = if input.byte() < 16 { number(input) as u32 % 1_000_000_000 } else { 0 };
    Duration::new(seconds, nanos)
}
