//! Input: a byte that says whether a proxy, a Server, or the settings of one follow. An address is the text that is left;
//! settings are pairs of a byte for the name and a value.

use std::time::Duration;

use mqtt_client::{
    AckMode, Backoff, Fallback, Options, Oversize, ProtocolVersion, QoS, SessionLoss, TopicName, Will,
};
use mqtt_tokio::{Builder, ConnectError, Scheme, Uri, UriError};

use super::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() {
        0 => check_uri(&String::from_utf8_lossy(input.0)),
        #[cfg(feature = "proxy")]
        1 => proxy::check(&String::from_utf8_lossy(input.0)),
        _ => check_uri(&with_settings(&mut input)),
    }
}

/// The address of a Server with settings that are spelled in the longest way, but for a few that are not escaped.
fn with_settings(input: &mut Input<'_>) -> String {
    let mut text = String::from("mqtt://h?");
    let names: Vec<_> = NAMES.split(' ').collect();
    while !input.is_empty() {
        let name = names[usize::from(input.byte()) % names.len()];
        let value = input.bytes();
        text = text + name + "=" + &spelled(value) + "&";
    }
    text
}

fn spelled(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}

/// What an address says, read by another way than the library reads it.
struct Address {
    scheme: Scheme,
    user: Option<String>,
    password: Option<Vec<u8>>,
    host: String,
    port: u16,
    path: String,
    options: Options,
}

fn check_uri(text: &str) {
    let parsed: Result<Uri, UriError> = text.parse();
    let Some(address) = read_uri(text) else {
        let error = parsed.expect_err(text);
        return assert!(!error.to_string().is_empty());
    };
    let uri = parsed.unwrap_or_else(|error| panic!("{text}: {error}"));
    let place = |uri: &Uri| (uri.scheme(), uri.host().to_owned(), uri.port());
    assert_eq!(place(&uri), (address.scheme, address.host.clone(), address.port), "{text}");
    assert_eq!((uri.username(), uri.path()), (address.user.as_deref(), &address.path[..]), "{text}");
    // What is shown is an address of the same Server, and nothing else.
    let shown = uri.to_string();
    let again: Uri = shown.parse().unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(place(&again), place(&uri), "{text}, shown as {shown}");
    assert_eq!((again.username(), again.to_string()), (None, shown.clone()));
    assert_eq!(format!("{uri:?}"), format!("Uri({shown})"));
    let expected_path = if uri.scheme() == Scheme::Unix { uri.path() } else { "" };
    assert_eq!(again.path(), expected_path, "{text}, shown as {shown}");
    assert_eq!(respelled(&address).parse::<Uri>().map(|uri| uri.to_string()), Ok(shown.clone()), "{text}");
    check_builder(text, &shown, &address);
}

/// The same address in other letters, without its settings.
fn respelled(address: &Address) -> String {
    let scheme = address.scheme.name().to_ascii_uppercase();
    let mut user_info = address.user.as_ref().map(|user| spelled(user.as_bytes())).unwrap_or_default();
    if let Some(password) = &address.password {
        user_info = user_info + ":" + &spelled(password);
    }
    let host = if address.host.contains(':') {
        format!("[{}]", address.host)
    } else {
        spelled(address.host.as_bytes())
    };
    match address.scheme {
        Scheme::Unix => format!("{scheme}://{user_info}@/{}", spelled(&address.path.as_bytes()[1..])),
        _ => format!("{scheme}://{user_info}@{host}:{}/", address.port),
    }
}

/// A client of the address has the settings of the address, and does not show what is secret.
fn check_builder(text: &str, shown: &str, address: &Address) {
    let builder = match Builder::new(text, Options::new("c")) {
        Ok(builder) => format!("{builder:?}"),
        Err(ConnectError::Uri(UriError::NeedsFeature { .. })) => {
            return assert!(address.scheme.is_secure() || address.scheme.is_websocket());
        }
        Err(error) => panic!("{text}: {error}"),
    };
    let by_code = |password: Option<Vec<u8>>| {
        let mut options = address.options.clone();
        if let Some(user) = &address.user {
            options = options.credentials(user.clone(), password);
        }
        format!("{:?}", Builder::new(shown, options).expect("an address"))
    };
    // Debug shows settings, but is the same with another password.
    let another = address.password.as_ref().map(|password| [&password[..], b"?"].concat());
    assert_eq!(builder, by_code(another), "{text}");
}

/// `scheme://[user[:password]@]host[:port][/path][?query][#fragment]`.
fn read_uri(text: &str) -> Option<Address> {
    let at = text.find("://")?;
    let scheme = match &text[..at].to_ascii_lowercase()[..] {
        "mqtt" | "tcp" => Scheme::Tcp,
        "mqtts" | "ssl" => Scheme::Tls,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        "unix" => Scheme::Unix,
        _ => return None,
    };
    let rest = &text[at + 3..];
    let (rest, fragment) = rest.find('#').map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    let (front, query) = rest.find('?').map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    let (authority, path) = front.split_at(front.find('/').unwrap_or(front.len()));
    let tail = &rest[authority.len()..];
    let (user_info, place) = match authority.rfind('@') {
        Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
        None => (None, authority),
    };
    let (path, settings) = match scheme {
        Scheme::Ws | Scheme::Wss if tail.chars().all(|letter| letter.is_ascii_graphic()) => {
            (tail.to_owned(), fragment)
        }
        Scheme::Tcp | Scheme::Tls if fragment.is_none() && path.len() < 2 => (String::new(), query),
        Scheme::Unix if fragment.is_none() => (String::from_utf8(unescape(path)?).ok()?, query),
        _ => return None,
    };
    let is_unix = scheme == Scheme::Unix;
    if is_unix && (path.len() < 2 || path.contains('\0')) {
        return None;
    }
    let (host, port) = match is_unix {
        true => place.is_empty().then(|| (String::new(), 0))?,
        false => read_place(place, scheme.default_port())?,
    };
    let (user, password) = read_user_info(user_info)?;
    Some(Address {
        scheme,
        user,
        password,
        host,
        port,
        path,
        options: read_settings(settings.unwrap_or(""))?,
    })
}

/// User and password, if they are right and there.
fn read_user_info(text: Option<&str>) -> Option<(Option<String>, Option<Vec<u8>>)> {
    let Some(text) = text else { return Some((None, None)) };
    let at = text.find(':');
    let user = String::from_utf8(unescape(&text[..at.unwrap_or(text.len())])?).ok()?;
    let password = match at {
        Some(at) => Some(unescape(&text[at + 1..])?),
        None => None,
    };
    Some((Some(user), password))
}

fn read_place(place: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = if place.starts_with('[') {
        let end = place.find(']')?;
        (read_ipv6(&place[..=end])?, &place[end + 1..])
    } else {
        let (name, port) = place.split_at(place.find(':').unwrap_or(place.len()));
        (read_name(name)?, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some(digits) if digits.chars().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    (port != 0).then_some((host, port))
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

/// The settings of the table in the README, and one that is none.
const NAMES: &str = "client_id clean_session keep_alive version connack_timeout pingresp_timeout ack_timeout \
    max_in_flight max_in_flight_qos2 max_queue_len max_queue_size max_packet_size max_requests \
    queue_qos0 pipeline session_loss ack_mode oversize fallback will_topic will_payload will_qos \
    will_retain backoff_initial backoff_max backoff_max_attempts retry_refused password";

/// What settings do when code makes them.
fn read_settings(text: &str) -> Option<Options> {
    let mut options = Options::new("c");
    let mut backoff = Backoff::default();
    let (mut topic, mut will) = (None, None);
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let at = pair.find('=').unwrap_or(pair.len());
        let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or(""));
        let value = String::from_utf8(unescape(value)?).ok()?;
        let value = value.as_str();
        match name {
            "backoff_initial" => backoff = backoff.initial(seconds(value)?),
            "backoff_max" => backoff = backoff.max(seconds(value)?),
            "backoff_max_attempts" => backoff = backoff.max_attempts(or_none(value, |it| it.parse().ok())?),
            "retry_refused" => backoff = backoff.retry_refused(flag(value)?),
            "will_topic" => topic = Some(TopicName::new(value).ok()?),
            "will_payload" | "will_qos" | "will_retain" => {}
            _ => options = set(options, name, value)?,
        }
        // The topic of a Will is given last here.
        if let Some(part) = name.strip_prefix("will_") {
            let (payload, qos, retain) = will.get_or_insert((Vec::new(), QoS::AtMostOnce, false));
            match part {
                "payload" => *payload = value.as_bytes().to_vec(),
                "qos" => {
                    let digit: u8 = Some(value).filter(|value| value.len() == 1)?.parse().ok()?;
                    *qos = QoS::try_from(digit).ok()?;
                }
                "retain" => *retain = flag(value)?,
                _ => {}
            }
        }
    }
    let options = options.backoff(backoff);
    let Some((payload, qos, retain)) = will else { return Some(options) };
    Some(options.will(Will::new(topic?, payload).qos(qos).retain(retain)))
}

fn set(to: Options, name: &str, value: &str) -> Option<Options> {
    Some(match (name, value) {
        ("client_id", _) => to.with_client_id(value),
        ("clean_session", _) => to.clean_session(flag(value)?),
        ("keep_alive", _) => to.keep_alive(seconds(value)?),
        ("version", "3.1") => to.version(ProtocolVersion::V3_1),
        ("version", "3.1.1") => to.version(ProtocolVersion::V3_1_1),
        ("connack_timeout", _) => to.connack_timeout(seconds(value)?),
        ("pingresp_timeout", _) => to.pingresp_timeout(seconds(value)?),
        ("ack_timeout", _) => to.ack_timeout(or_none(value, seconds)?),
        ("max_in_flight", _) => to.max_in_flight(value.parse().ok()?),
        ("max_in_flight_qos2", _) => to.max_in_flight_qos2(value.parse().ok()?),
        ("max_queue_len", _) => to.max_queue_len(value.parse().ok()?),
        ("max_queue_size", _) => to.max_queue_size(value.parse().ok()?),
        ("max_packet_size", _) => to.max_packet_size(value.parse().ok()?),
        ("max_requests", _) => to.max_requests(value.parse().ok()?),
        ("queue_qos0", _) => to.queue_qos0(flag(value)?),
        ("pipeline", _) => to.pipeline(flag(value)?),
        ("session_loss", "fail") => to.session_loss(SessionLoss::Fail),
        ("session_loss", "republish_qos1") => to.session_loss(SessionLoss::RepublishQos1),
        ("session_loss", "republish_all") => to.session_loss(SessionLoss::RepublishAll),
        ("ack_mode", "automatic") => to.ack_mode(AckMode::Automatic),
        ("ack_mode", "manual") => to.ack_mode(AckMode::Manual),
        ("oversize", "close") => to.oversize(Oversize::Close),
        ("oversize", "skip") => to.oversize(Oversize::Skip),
        ("fallback", "never") => to.fallback(Fallback::Never),
        ("fallback", "refused") => to.fallback(Fallback::Refused),
        ("fallback", "refused_or_closed") => to.fallback(Fallback::RefusedOrClosed),
        _ => return None,
    })
}

fn or_none<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if value == "none" { Some(None) } else { read(value).map(Some) }
}

fn flag(value: &str) -> Option<bool> {
    let is_set = matches!(value, "true" | "1" | "on");
    (is_set || matches!(value, "false" | "0" | "off")).then_some(is_set)
}

/// Digits, with a point among them or next to them.
fn seconds(value: &str) -> Option<Duration> {
    let digits = value.replacen('.', "", 1);
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    let value: f64 = is_number.then(|| value.parse().ok()).flatten()?;
    Duration::try_from_secs_f64(value).ok()
}

#[cfg(feature = "proxy")]
mod proxy {
    //! Addresses of proxies.

    use mqtt_tokio::{Proxy, ProxyError};

    use super::{read_place, read_user_info};

    pub(super) fn check(text: &str) {
        let parsed: Result<Proxy, ProxyError> = text.parse();
        let Some((shown, host, port)) = read(text) else {
            let error = parsed.expect_err(text);
            return assert!(!error.to_string().is_empty() && !error.is_retryable());
        };
        let proxy = parsed.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((proxy.host(), proxy.port(), format!("{proxy:?}")), (&host[..], port, shown), "{text}");
    }

    /// `scheme://[user:password@]host[:port][/]`: what it is shown as, host and port.
    fn read(text: &str) -> Option<(String, String, u16)> {
        let at = text.find("://")?;
        let (kind, default_port) = match &text[..at].to_ascii_lowercase()[..] {
            "http" => ("Http", 0),
            "socks5" => ("Socks5", 1080),
            "socks5h" => ("Socks5h", 1080),
            _ => return None,
        };
        let rest = &text[at + 3..];
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user_info, place) = match authority.rfind('@') {
            Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
            None => (None, authority),
        };
        let (host, port) = read_place(place, default_port)?;
        let (user, password) = read_user_info(user_info)?;
        if authority.contains(['/', '?', '#']) {
            return None;
        }
        if let Some(user) = &user {
            let lens = [user.len(), password.as_deref().unwrap_or_default().len()];
            let is_legal = match kind {
                "Http" => user.chars().all(|letter| letter != ':' && !letter.is_control()),
                _ => lens.iter().all(|len| (1..256).contains(len)),
            };
            if !is_legal {
                return None;
            }
        }
        let hidden = user.as_ref().map(|_| "[redacted]");
        let shown = format!(
            "Proxy {{ kind: {kind}, host: {host:?}, port: {port}, user: {user:?}, password: {hidden:?} }}"
        );
        Some((shown, host, port))
    }
}
