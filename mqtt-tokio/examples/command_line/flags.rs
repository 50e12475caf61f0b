//! The flags that both tools have, with the letters of mosquitto's tools.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};
use mqtt_tokio::{ProtocolVersion, QoS, TopicName};

use super::exit;

const ENVIRONMENT: &str = "\
Environment (a flag wins, then what stands in the address, then these):
  MQTT_URI            Address, or several with spaces in between, tried in turn
  MQTT_USERNAME       User name
  MQTT_PASSWORD       Password
  MQTT_PASSWORD_FILE  File with the password
  MQTT_CLIENT_ID      Client identifier
  MQTT_CA_FILE, MQTT_CERT_FILE, MQTT_KEY_FILE, MQTT_SERVER_NAME, MQTT_PROXY
                      As --cafile, --cert, --key, --server-name, --proxy
  MQTT_KEEP_ALIVE, MQTT_VERSION, MQTT_MAX_IN_FLIGHT, MQTT_BACKOFF_MAX, ...
                      The settings of the library, as its README lists them";

/// What mosquitto's tools have and these have not: short and long form, and why.
const ABSENT: [(Option<char>, &str, &str); 14] = [
    (
        None,
        "insecure",
        "there is no --insecure: without a check of its name anybody can be the server.\n\
         If the certificate is for another name, say which one with --server-name;\n\
         if its issuer is your own, trust it with --cafile",
    ),
    (Some('D'), "property", "-D sets properties of MQTT 5; this is MQTT 3.1 and 3.1.1"),
    (Some('x'), "session-expiry-interval", "-x is a property of MQTT 5; -c keeps the session in MQTT 3.1.1"),
    (None, "retain-as-published", "--retain-as-published is an option of MQTT 5"),
    (None, "capath", "--capath is not there: put the certificates into one file, for --cafile"),
    (None, "psk", "there are no pre-shared keys (--psk): TLS goes by certificates"),
    (None, "psk-identity", "there are no pre-shared keys (--psk-identity): TLS goes by certificates"),
    (None, "ciphers", "--ciphers is not there: all that can be chosen are strong ones"),
    (None, "tls-version", "--tls-version is not there: it is TLS 1.3, or 1.2 if the server has no better"),
    (None, "tls-engine", "there are no TLS engines (--tls-engine): the key is a PEM file"),
    (None, "tls-engine-kpass-sha1", "there are no TLS engines: the key is a PEM file without a passphrase"),
    (None, "keyform", "there are no TLS engines (--keyform): the key is a PEM file"),
    (None, "random-filter", "--random-filter is not there: `awk 'rand() < 0.1'` does it"),
    (None, "remove-retained", "--remove-retained is not there: mqtt_pub -r -n -t TOPIC removes one"),
];

/// What a tool says of itself.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) usage: &'static str,
    pub(crate) examples: &'static str,
}

/// A command with the flags of a tool, by heading, and behind them those that both tools have.
pub(crate) fn command(tool: &Tool, own: impl IntoIterator<Item = (&'static str, Vec<Arg>)>) -> Command {
    let shared = [
        ("Connection", connection()),
        ("Session", session()),
        ("Credentials", credentials()),
        ("Will (what the server publishes if the tool dies)", will()),
        ("TLS (with any of these, or an address with mqtts:// or wss://)", tls()),
        ("Other", other()),
    ];
    let flags = own
        .into_iter()
        .chain(shared)
        .flat_map(|(heading, flags)| flags.into_iter().map(move |flag| flag.help_heading(heading)));
    let absent = ABSENT.map(|(short, long, _)| {
        let arg = Arg::new(long).long(long).hide(true).num_args(0..).action(ArgAction::Append);
        short.map_or(arg.clone(), |short| arg.short(short))
    });
    Command::new(tool.name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(tool.about)
        .override_usage(tool.usage)
        .after_help(format!("{}\n\n{ENVIRONMENT}\n\n{}", tool.examples, exit::HELP))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(flags.enumerate().map(|(order, flag)| flag.display_order(order)))
        .args(absent)
}

/// The message for a flag that is absent, if one was given.
pub(crate) fn absent(matches: &clap::ArgMatches) -> Option<&'static str> {
    let given = |name: &str| matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
    ABSENT.iter().find(|(_, long, _)| given(long)).map(|(_, _, why)| *why)
}

/// A flag without a value.
pub(crate) fn flag(id: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).help(help).action(ArgAction::SetTrue)
}

/// A flag with a value.
pub(crate) fn value(id: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).value_name(name).help(help)
}

/// Parses a QoS.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    match text {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        _ => Err("a QoS is 0, 1 or 2".to_owned()),
    }
}

/// Parses a time in seconds, with a fraction if need be.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    // A year is for ever here.
    if !(0.0..=31_536_000.0).contains(&seconds) {
        return Err("not between 0 seconds and a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "mqttv31" | "31" | "3.1" => Ok(ProtocolVersion::V3_1),
        "mqttv311" | "311" | "3.1.1" => Ok(ProtocolVersion::V3_1_1),
        "mqttv5" | "5" | "5.0" => {
            Err("this is a client for MQTT 3.1 and 3.1.1; it does not speak MQTT 5".into())
        }
        _ => Err("known are mqttv31 and mqttv311, or 31 and 311 for short".into()),
    }
}

fn topic(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

fn connection() -> Vec<Arg> {
    vec![
        value("host", "HOST", "Host of the server [default: localhost]").short('h'),
        value("port", "PORT", "Port [default: 1883, with TLS 8883, --ws 80, both 443]")
            .short('p')
            .value_parser(value_parser!(u16).range(1..)),
        value("url", "URL", "Address, as in mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]")
            .short('L')
            .conflicts_with_all(["host", "port", "unix", "ws"]),
        value("unix", "PATH", "Unix domain socket of the server").conflicts_with_all(["host", "port", "ws"]),
        value("ws", "PATH", "Over WebSocket, at this path [default: /mqtt]")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(""),
        value("proxy", "URL", "Proxy: socks5h://[USER[:PASSWORD]@]HOST[:PORT], or http"),
        value("bind", "ADDRESS", "Address of this machine to connect from")
            .short('A')
            .value_parser(value_parser!(std::net::IpAddr)),
        flag("nodelay", "No delay for small packets: that is so in any case").hide(true),
        value("keepalive", "SECONDS", "Keep alive, 0 for none [default: 60]")
            .short('k')
            .value_parser(value_parser!(u16)),
        value("protocol-version", "VERSION", "mqttv311 or mqttv31 [default: mqttv311]")
            .short('V')
            .value_parser(version),
    ]
}

fn session() -> Vec<Arg> {
    vec![
        value("id", "ID", "Client identifier [default: a random one]").short('i').conflicts_with("id-prefix"),
        value("id-prefix", "PREFIX", "Client identifier of this and the number of the process").short('I'),
        flag("disable-clean-session", "Keep the session, so that nothing is missed or lost. Needs -i")
            .short('c')
            .conflicts_with("clean-session"),
        flag("clean-session", "Have the server forget the session, whatever the environment says"),
    ]
}

fn credentials() -> Vec<Arg> {
    vec![
        value("username", "NAME", "User name").short('u'),
        value("pw", "PASSWORD", "Password. Other users of this machine can see it: better use a file")
            .short('P')
            .conflicts_with("password-file"),
        value("password-file", "FILE", "File with the password, and perhaps a line end")
            .value_parser(value_parser!(PathBuf)),
    ]
}

fn will() -> Vec<Arg> {
    vec![
        value("will-topic", "TOPIC", "Topic of the will").value_parser(topic),
        value("will-payload", "TEXT", "Payload of the will [default: empty]").requires("will-topic"),
        value("will-qos", "QOS", "QoS of the will [default: 0]").value_parser(qos).requires("will-topic"),
        flag("will-retain", "Have the will retained").requires("will-topic"),
    ]
}

fn tls() -> Vec<Arg> {
    vec![
        value("cafile", "FILE", "Authorities to trust (PEM), in place of those of the system"),
        flag("tls-use-os-certs", "Trust the authorities of the system (and those of --cafile)"),
        value("cert", "FILE", "Certificate of the client (PEM)").requires("key"),
        value("key", "FILE", "Private key for it (PEM, without a passphrase)").requires("cert"),
        value("server-name", "NAME", "Name that the certificate of the server must have [default: HOST]"),
        value("tls-alpn", "PROTOCOL", "Application protocol to offer, such as mqtt or x-amzn-mqtt-ca")
            .alias("alpn"),
    ]
}

fn other() -> Vec<Arg> {
    vec![
        flag("debug", "Show every packet on standard error: neither payloads nor passwords").short('d'),
        flag("quiet", "Show no errors; the exit code tells"),
        Arg::new("help").long("help").help("Show this").action(ArgAction::Help),
        Arg::new("version").long("version").help("Show the version of mqtt-tokio").action(ArgAction::Version),
    ]
}
