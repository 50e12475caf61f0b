//! A client as a configuration file describes it (feature `serde`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use mqtt_client::{Options, QoS, TopicFilter};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::builder::Builder;
use crate::error::{ConfigError, ConnectError};
use crate::uri::Uri;

/// Addresses, options and all else that a [`Builder`] can be told as text: for a part of the application's own
/// configuration file, in whatever format. `Debug` shows no secret.
///
/// | field | content |
/// |---|---|
/// | `servers` | one address, or a list: see [`Uri`] and [`Builder::server`] |
/// | `options` | [`Options`](crate::Options), by the names of their setters; only `client_id` is needed |
/// | `tls` | `ca_file`, `certificate_file`, `key_file`, `server_name`, `alpn`, `platform_roots`, all optional |
/// | `websocket` | `path`, and `headers` as a table |
/// | `proxy` | the address of a proxy |
/// | `publish_defaults` | a list of `filter`, `qos`, `retain`: see [`Builder::publish_default`] |
///
/// ```
/// use mqtt_tokio::{Builder, Config};
///
/// let config: Config = toml::from_str(
///     r#"
///     servers = ["mqtt://broker-a.local", "mqtt://broker-b.local"]
///
///     [options]
///     client_id = "plant-7"
///     clean_session = false
///     keep_alive = 30
///
///     [[publish_defaults]]
///     filter = "plant/+/alarm"
///     qos = 2
///     "#,
/// )?;
/// let builder = Builder::from_config(config)?;
/// # let _ = builder;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(deserialize_with = "one_or_more")]
    servers: Vec<Uri>,
    options: Options,
    #[serde(default)]
    tls: Option<TlsSettings>,
    #[serde(default)]
    websocket: Option<WebSocketSettings>,
    #[serde(default)]
    proxy: Option<Text>,
    #[serde(default)]
    publish_defaults: Vec<PublishDefault>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsSettings {
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    alpn: Vec<String>,
    platform_roots: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebSocketSettings {
    path: Option<Text>,
    headers: BTreeMap<String, Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishDefault {
    #[serde(deserialize_with = "filter")]
    filter: TopicFilter,
    #[serde(default, deserialize_with = "qos")]
    qos: QoS,
    #[serde(default)]
    retain: bool,
}

/// Text that can hold a secret, and is not shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
struct Text(String);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "[redacted]" })
    }
}

impl Builder {
    /// A client as a configuration file describes it.
    ///
    /// # Errors
    /// [`ConnectError::Uri`] for an address, [`ConnectError::Config`] for what lies between the client and its Servers.
    pub fn from_config(config: Config) -> Result<Self, ConnectError> {
        let Config { servers, options, tls, websocket, proxy, publish_defaults } = config;
        let mut builder = Self::with_servers(servers, options)?;
        if let Some(tls) = tls {
            builder = tls.apply(builder)?;
        }
        if let Some(websocket) = websocket {
            builder = websocket.apply(builder)?;
        }
        if let Some(proxy) = proxy {
            builder = through_proxy(builder, &proxy)?;
        }
        for PublishDefault { filter, qos, retain } in publish_defaults {
            builder = builder.publish_default_of(filter, qos, retain);
        }
        Ok(builder)
    }
}

impl TlsSettings {
    #[cfg(feature = "tls")]
    fn apply(self, builder: Builder) -> Result<Builder, ConfigError> {
        let mut tls = crate::Tls::new().alpn(self.alpn);
        if let Some(path) = self.ca_file {
            tls = tls.ca_file(path);
        }
        if self.platform_roots {
            tls = tls.platform_roots();
        }
        if let Some(name) = self.server_name {
            tls = tls.server_name(name);
        }
        match (self.certificate_file, self.key_file) {
            (None, None) => Ok(builder.tls(tls)),
            (Some(chain), Some(key)) => Ok(builder.tls(tls.client_certificate_files(chain, key))),
            _ => Err(ConfigError::HalfAnIdentity),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn apply(self, _: Builder) -> Result<Builder, ConfigError> {
        Err(ConfigError::NeedsFeature { setting: "tls", feature: "tls-ring or tls-aws-lc-rs" })
    }
}

impl WebSocketSettings {
    #[cfg(feature = "ws")]
    fn apply(self, builder: Builder) -> Result<Builder, ConfigError> {
        let mut websocket = crate::WebSocket::new();
        if let Some(Text(path)) = self.path {
            websocket = websocket.path(path)?;
        }
        for (name, Text(value)) in self.headers {
            websocket = websocket.header(name, value)?;
        }
        Ok(builder.websocket(websocket))
    }

    #[cfg(not(feature = "ws"))]
    fn apply(self, _: Builder) -> Result<Builder, ConfigError> {
        Err(ConfigError::NeedsFeature { setting: "websocket", feature: "ws" })
    }
}

#[cfg(feature = "proxy")]
fn through_proxy(builder: Builder, proxy: &Text) -> Result<Builder, ConfigError> {
    Ok(builder.proxy(crate::Proxy::new(&proxy.0)?))
}

#[cfg(not(feature = "proxy"))]
fn through_proxy(_: Builder, _: &Text) -> Result<Builder, ConfigError> {
    Err(ConfigError::NeedsFeature { setting: "proxy", feature: "proxy" })
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Uri>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an address, or a list of addresses")]
    enum Servers {
        One(String),
        Several(Vec<String>),
    }
    let servers = match Servers::deserialize(deserializer)? {
        Servers::One(server) => vec![server],
        Servers::Several(servers) => servers,
    };
    if servers.is_empty() {
        return Err(D::Error::custom("servers: an empty list"));
    }
    // The errors do not show the address, which can hold a password.
    let parse = |(number, server): (usize, String)| {
        server.parse().map_err(|error| D::Error::custom(format_args!("server {}: {error}", number + 1)))
    };
    servers.into_iter().enumerate().map(parse).collect()
}

fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicFilter, D::Error> {
    TopicFilter::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn qos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QoS, D::Error> {
    QoS::try_from(u8::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        servers = ["mqtts://plant:s3cret@a.local?keep_alive=10", "wss://b.local/mqtt?token=s3cret"]
        proxy = "http://plant:s3cret@proxy.local:3128"

        [options]
        client_id = "plant-7"
        keep_alive = 20
        password = "s3cret"
        username = "other"

        [tls]
        ca_file = "ca.pem"
        certificate_file = "client.pem"
        key_file = "client.key"
        server_name = "broker"
        alpn = ["mqtt"]
        platform_roots = true

        [websocket]
        path = "/ws?token=s3cret"
        headers = { authorization = "Bearer s3cret" }

        [[publish_defaults]]
        filter = "plant/+/alarm"
        qos = 2
        retain = true
    "#;

    fn read(text: &str) -> Result<Builder, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        Builder::from_config(config).map_err(|error| error.to_string())
    }

    #[test]
    fn all_of_it() {
        let config: Config = toml::from_str(WHOLE).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
        let built = Builder::from_config(config);
        if cfg!(all(feature = "tls", feature = "ws", feature = "proxy")) {
            let shown = format!("{:?}", built.unwrap());
            assert!(!shown.contains("s3cret"), "{shown}");
            for part in
                ["a.local:8883", "b.local:443", "keep_alive: 10s", "ca.pem", "client.pem", "proxy.local"]
            {
                assert!(shown.contains(part), "{part}: {shown}");
            }
        } else {
            assert!(matches!(built, Err(ConnectError::Uri(_))), "{built:?}");
        }
    }

    #[test]
    fn one_server_is_enough() {
        let builder = read(
            "servers = 'mqtt://h'
options.client_id = 'c'",
        )
        .unwrap();
        assert!(format!("{builder:?}").contains("Uri(mqtt://h:1883)"));
    }

    #[test]
    fn refused() {
        let minimal = "servers = 'mqtt://h'
options.client_id = 'c'
";
        for (text, error) in [
            ("options.client_id = 'c'", "servers"),
            (
                "servers = []
options.client_id = 'c'",
                "empty",
            ),
            (
                "servers = 7
options.client_id = 'c'",
                "an address, or a list of addresses",
            ),
            (
                "servers = ['mqtt://h', 'http://s3cret']
options.client_id = 'c'",
                "server 2: unknown scheme",
            ),
            (
                "servers = ['mqtt://h', 'mqtt://h?keep_alive=1']
options.client_id = 'c'",
                "unknown option",
            ),
            ("servers = 'mqtt://h'", "options"),
            (&format!("{minimal}options.keep_alive = -1"), "negative"),
            (&format!("{minimal}nonsense = 1"), "nonsense"),
            (&format!("{minimal}tls.nonsense = 1"), "nonsense"),
            (
                &format!(
                    "{minimal}[[publish_defaults]]
filter = 'a/#/b'"
                ),
                "MQTT-4.7.1-2",
            ),
            (
                &format!(
                    "{minimal}[[publish_defaults]]
filter = 'a'
qos = 3"
                ),
                "0, 1 or 2",
            ),
            (
                &format!("{minimal}tls.key_file = 'k'"),
                if cfg!(feature = "tls") { "go together" } else { "tls-ring" },
            ),
            (
                &format!("{minimal}websocket.headers.host = 'h'"),
                if cfg!(feature = "ws") { "reserved" } else { "ws" },
            ),
            (&format!("{minimal}proxy = 's3cret'"), "proxy"),
        ] {
            let found = read(text).map(|_| ()).unwrap_err();
            assert!(found.contains(error) && !found.contains("s3cret"), "{text}: {found}");
        }
    }
}
