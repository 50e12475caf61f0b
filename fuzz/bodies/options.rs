//! Input: a byte that says whether a URI or options follow. A URI is the text that is left; options are values, one
//! after the other.

use std::time::Duration;

use bytes::Buf;
use mqtt_client::{
    Backoff, Client, Event, Fallback, Message, Options, OptionsError, Oversize, ProtocolVersion, PubSub, QoS,
    Retransmission, Time, Timed, TopicName, Will,
};
use mqtt_codec::{BinaryData, Decoded, Decoder, Direction, Packet};
use mqtt_tokio::{Uri, UriError};

use super::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    if input.flag() { check_options(&mut input) } else { check_uri(&String::from_utf8_lossy(input.0)) }
}

/// What an address says, read by another way than the library reads it.
struct Address {
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    host: String,
    port: u16,
}

fn check_uri(text: &str) {
    let parsed: Result<Uri, UriError> = text.parse();
    let Some(address) = read_uri(text) else {
        let error = parsed.expect_err(text);
        return assert!(!error.to_string().is_empty());
    };
    let uri = parsed.unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((uri.host(), uri.port()), (&address.host[..], address.port), "{text}");
    // Spelled in another way, it is the same address.
    let spelled = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let mut again = String::from("TCP://");
    if let Some(user) = &address.user {
        again += &spelled(user);
        if let Some(password) = &address.password {
            again = again + ":" + &spelled(password);
        }
        again.push('@');
    }
    if uri.host().contains(':') {
        again += &format!("[{}]:{}/", uri.host(), uri.port());
    } else {
        again += &format!("{}:{}/", spelled(&uri.host().as_bytes().to_vec()), uri.port());
    }
    assert_eq!(again.parse(), Ok(uri.clone()), "{text} and {again}");
    let password = address.password.unwrap_or_default();
    let shown = format!("{uri:?}");
    assert!(password.is_empty() || shown.contains("[redacted]"));
}

/// `scheme://[user[:password]@]host[:port][/]`, from the back to the front.
fn read_uri(text: &str) -> Option<Address> {
    let at = text.find("://")?;
    let scheme = text[..at].to_ascii_lowercase();
    if scheme != "mqtt" && scheme != "tcp" {
        return None;
    }
    let rest = &text[at + 3..];
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return None;
    }
    let (user_info, place) = match authority.rfind('@') {
        Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
        None => (None, authority),
    };
    let (host, port) = if place.starts_with('[') {
        let end = place.find(']')?;
        (read_ipv6(&place[..=end])?, &place[end + 1..])
    } else {
        let (name, port) = place.split_at(place.find(':').unwrap_or(place.len()));
        (read_name(name)?, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 1883,
        Some(digits) if digits.chars().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    let mut parts = user_info.map(|info| info.splitn(2, ':'));
    let mut part = || parts.as_mut().and_then(Iterator::next).map(unescape);
    let (user, password) = (part(), part());
    let address = Address {
        user: user.map_or(Some(None), |user| user.map(Some))?,
        password: password.map_or(Some(None), |password| password.map(Some))?,
        host,
        port,
    };
    let is_text = address.user.as_ref().is_none_or(|user| std::str::from_utf8(user).is_ok());
    (is_text && port != 0).then_some(address)
}

/// An address in brackets, without a zone: what std takes in front of a port.
fn read_ipv6(host: &str) -> Option<String> {
    let with_port: Result<std::net::SocketAddrV6, _> = format!("{host}:1").parse();
    (with_port.is_ok() && !host.contains('%')).then(|| host[1..host.len() - 1].to_owned())
}

/// A registered name. No character of it has a meaning in URIs, before it is decoded and afterwards.
fn read_name(text: &str) -> Option<String> {
    let is_free = |letter: char| {
        !letter.is_ascii() && !letter.is_control()
            || letter.is_ascii_graphic() && !"\"#%/:<>?@[\\]^`{|}".contains(letter)
    };
    let name = String::from_utf8(unescape(text)?).ok()?;
    let is_name = text.is_ascii() && text.replace('%', "").chars().chain(name.chars()).all(is_free);
    (is_name && (1..=255).contains(&name.len())).then_some(name)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
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
