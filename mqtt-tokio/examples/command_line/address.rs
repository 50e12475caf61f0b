//! From flags to the address of a Server: everything that flags say becomes part of it.

use std::fmt::Write as _;

use clap::ArgMatches;
use mqtt_tokio::{ProtocolVersion, QoS, TopicName, Uri};

use super::exit::Failure;

/// Where to connect to.
pub(crate) struct Address {
    /// Several only if they come from the environment.
    pub(crate) uris: Vec<String>,
    /// The user name in the first, which does not stand there any more if a flag changes the credentials.
    pub(crate) username: Option<String>,
}

impl Address {
    /// From `--url`, or from `--host` and its like, or from the environment.
    pub(crate) fn of(matches: &ArgMatches, more: &[(&'static str, String)]) -> Result<Self, Failure> {
        let secure = ["cafile", "tls-use-os-certs", "cert", "server-name", "tls-alpn"]
            .iter()
            .any(|id| matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine));
        let mut uris = match (matches.get_one::<String>("url"), std::env::var("MQTT_URI")) {
            (Some(url), _) => vec![split_topic(url).0],
            _ if ["host", "port", "unix", "ws"].iter().any(|id| matches.contains_id(id)) => {
                vec![from_parts(matches, secure)]
            }
            (None, Ok(uris)) => uris.split_ascii_whitespace().map(str::to_owned).collect(),
            (None, Err(std::env::VarError::NotUnicode(_))) => {
                return Err(Failure::usage("the environment variable MQTT_URI is not UTF-8"));
            }
            (None, Err(_)) => Vec::new(),
        };
        if uris.is_empty() {
            uris.push(from_parts(matches, secure));
        }
        let mut username = None;
        for (index, uri) in uris.iter().enumerate() {
            let parsed: Uri = uri.parse()?;
            if secure && !parsed.scheme().is_secure() {
                let scheme = parsed.scheme().name();
                return Err(Failure::usage(format!(
                    "flags for TLS, and an address without it: {scheme}:// should be mqtts:// or wss://"
                )));
            }
            if index == 0 {
                username = parsed.username().map(str::to_owned);
            }
        }
        let login = ["username", "pw", "password-file"].iter().any(|id| matches.contains_id(id));
        if login {
            uris.iter_mut().for_each(|uri| *uri = without_user_info(uri).0);
        }
        if let Some(first) = uris.first_mut() {
            // A name alone would take the password of the environment away.
            if let (bare, Some(Part::Name)) = without_user_info(first) {
                *first = bare;
            }
            add_settings(first, &settings(matches));
            add_settings(first, more);
        }
        Ok(Self { uris, username })
    }
}

/// The topic in the path of `--url`, as mosquitto's tools have it.
pub(crate) fn topic_of(matches: &ArgMatches) -> Option<String> {
    matches.get_one::<String>("url").and_then(|url| split_topic(url).1)
}

/// Takes the topic out of an address whose path means nothing to the Server. It is not decoded: `+` and `#` stand there
/// as they are.
fn split_topic(url: &str) -> (String, Option<String>) {
    let whole = || (url.to_owned(), None);
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    if !["mqtt", "mqtts", "tcp", "ssl"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return whole();
    }
    let Some((authority, path)) = rest.split_once('/') else { return whole() };
    if authority.contains('?') {
        return whole();
    }
    let (topic, query) = path.split_once('?').map_or((path, None), |(topic, query)| (topic, Some(query)));
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let topic = Some(topic.to_owned()).filter(|topic| !topic.is_empty());
    (format!("{scheme}://{authority}{query}"), topic)
}

fn from_parts(matches: &ArgMatches, secure: bool) -> String {
    if let Some(path) = matches.get_one::<String>("unix") {
        return format!("unix://{}", encoded(path, b"/"));
    }
    let host = matches.get_one::<String>("host").map_or("localhost", String::as_str);
    let host = if host.contains(':') { format!("[{host}]") } else { encoded(host, b"") };
    let (scheme, path) = match (matches.get_one::<String>("ws"), secure) {
        (Some(path), true) => ("wss", path.as_str()),
        (Some(path), false) => ("ws", path.as_str()),
        (None, true) => ("mqtts", ""),
        (None, false) => ("mqtt", ""),
    };
    let port = matches.get_one::<u16>("port").map(|port| format!(":{port}")).unwrap_or_default();
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{host}{port}{slash}{path}")
}

/// What an address says of the user.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Name,
    NameAndPassword,
}

/// The address without user name and password, and which of them it had.
fn without_user_info(uri: &str) -> (String, Option<Part>) {
    let Some((scheme, rest)) = uri.split_once("://") else { return (uri.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let Some((user_info, host)) = authority.rsplit_once('@') else { return (uri.to_owned(), None) };
    let part = if user_info.contains(':') { Part::NameAndPassword } else { Part::Name };
    (format!("{scheme}://{host}{rest}"), Some(part))
}

/// Puts settings behind those that are there already: the last one counts.
fn add_settings(uri: &mut String, settings: &[(&str, String)]) {
    let websocket = ["ws://", "wss://"]
        .iter()
        .any(|scheme| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    // The query of a WebSocket address belongs to the Server.
    let mark = if websocket { '#' } else { '?' };
    for (name, value) in settings {
        let joint = if uri.contains(mark) { '&' } else { mark };
        let _ = write!(uri, "{joint}{name}={}", encoded(value, b""));
    }
}

/// The settings that flags make.
fn settings(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    let mut set = |name, value: Option<String>| settings.extend(value.map(|value| (name, value)));
    let text = |id: &str| matches.get_one::<String>(id).cloned();
    let id = text("id-prefix").map(|prefix| format!("{prefix}{}", std::process::id()));
    set("client_id", text("id").or(id));
    set("clean_session", matches.get_flag("disable-clean-session").then(|| "false".to_owned()));
    set("clean_session", matches.get_flag("clean-session").then(|| "true".to_owned()));
    set("keep_alive", matches.get_one::<u16>("keepalive").map(u16::to_string));
    set(
        "version",
        matches
            .get_one::<ProtocolVersion>("protocol-version")
            .map(|version| if *version == ProtocolVersion::V3_1 { "3.1" } else { "3.1.1" }.to_owned()),
    );
    if let Some(topic) = matches.get_one::<TopicName>("will-topic") {
        set("will_topic", Some(topic.as_str().to_owned()));
        set("will_payload", text("will-payload"));
        set("will_qos", matches.get_one::<QoS>("will-qos").map(|qos| u8::from(*qos).to_string()));
        set("will_retain", matches.get_flag("will-retain").then(|| "true".to_owned()));
    }
    settings
}

/// Percent-encodes everything but what never needs it, and `plain`.
fn encoded(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
