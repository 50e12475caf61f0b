//! Settings from the environment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mqtt_client::Options;

use crate::builder::Builder;
use crate::error::ConnectError;
use crate::settings::{self, SettingError, Settings};

/// Why the environment does not describe a client. Values are not shown: they can be secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The variable is not set, and nothing can stand in for it.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The variable is not UTF-8.
    #[error("the environment variable {0} is not UTF-8")]
    NotUnicode(String),
    /// The value is none that the setting can have.
    #[error("the environment variable {0} has an invalid value")]
    Invalid(String),
    /// The file that the variable names could not be read.
    #[error("cannot read the file that the environment variable {variable} names: {source}")]
    File {
        /// The variable.
        variable: &'static str,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The setting needs a feature of this crate that is not on.
    #[error("the environment variable {variable} needs mqtt-tokio to be built with the feature {feature}")]
    NeedsFeature {
        /// The variable.
        variable: &'static str,
        /// The feature, or features of which one is enough.
        feature: &'static str,
    },
}

/// The settings of a client from the environment: each variable that is set replaces what `options` has.
///
/// `MQTT_` and the name of the setting in capitals, for each name of [the table](crate#settings-as-text), such as
/// `MQTT_CLIENT_ID` and `MQTT_KEEP_ALIVE`; besides `MQTT_USERNAME`, `MQTT_PASSWORD`, and `MQTT_PASSWORD_FILE` for the
/// name of a file that holds the password and perhaps a line end. A variable that is empty counts as not set; one that
/// is not known is left to others: a cluster sets `MQTT_PORT` and the like by itself.
///
/// # Errors
/// [`EnvError`] names the variable.
///
/// ```
/// use mqtt_tokio::{Options, options_from_env};
///
/// let options = options_from_env(Options::new("plant-7"))?; // MQTT_CLIENT_ID wins, if it is set
/// # let _ = options;
/// # Ok::<(), mqtt_tokio::EnvError>(())
/// ```
pub fn options_from_env(options: Options) -> Result<Options, EnvError> {
    Environment::new(|name| std::env::var_os(name)).options(options)
}

impl Builder {
    /// A client whose address and settings come from the environment: `MQTT_URI` has the address, or several with spaces
    /// in between; the settings are those of [`options_from_env`], which replace those in the address.
    ///
    /// With the features for it: `MQTT_CA_FILE`, `MQTT_CERT_FILE`, `MQTT_KEY_FILE` (PEM), `MQTT_SERVER_NAME`, and
    /// `MQTT_PROXY` (an address such as `http://proxy.local:3128`).
    ///
    /// # Errors
    /// [`ConnectError::Env`] names the variable; [`ConnectError::Uri`] for an address.
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Options, PubSub};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client: Client<PubSub> = Builder::from_env(Options::new("plant-7"))?.start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env(options: Options) -> Result<Self, ConnectError> {
        Environment::new(|name| std::env::var_os(name)).builder(options)
    }
}

/// Variables, wherever they come from.
struct Environment<F> {
    variable: F,
}

impl<F: Fn(&OsStr) -> Option<OsString>> Environment<F> {
    fn new(variable: F) -> Self {
        Self { variable }
    }

    fn raw(&self, name: &str) -> Option<OsString> {
        (self.variable)(OsStr::new(name)).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Result<Option<String>, EnvError> {
        let text = self.raw(name).map(OsString::into_string).transpose();
        text.map_err(|_| EnvError::NotUnicode(name.to_owned()))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }

    fn options(&self, options: Options) -> Result<Options, EnvError> {
        let variable_of = |name: &str| format!("MQTT_{}", name.to_ascii_uppercase());
        let invalid = |error| match error {
            SettingError::Invalid(name) => EnvError::Invalid(variable_of(name)),
            SettingError::Unknown => EnvError::Invalid("MQTT_".to_owned()),
        };
        let mut settings = Settings::new(options);
        for name in settings::NAMES {
            if let Some(value) = self.text(&variable_of(name))? {
                settings = settings.set(name, &value).map_err(invalid)?;
            }
        }
        let options = settings.finish().map_err(invalid)?;
        let username = self.text("MQTT_USERNAME")?;
        let password = self.password()?;
        if username.is_none() && password.is_none() {
            return Ok(options);
        }
        let Some(username) = username.or_else(|| options.username().map(str::to_owned)) else {
            return Err(EnvError::Missing("MQTT_USERNAME"));
        };
        let password = password.or_else(|| options.password().map(|password| password.to_vec()));
        Ok(options.credentials(username, password))
    }

    fn password(&self) -> Result<Option<Vec<u8>>, EnvError> {
        if let Some(password) = self.text("MQTT_PASSWORD")? {
            return Ok(Some(password.into_bytes()));
        }
        let variable = "MQTT_PASSWORD_FILE";
        let Some(path) = self.path(variable) else { return Ok(None) };
        let mut password =
            std::fs::read(path).map_err(|source| EnvError::File { variable, source: source.into() })?;
        if password.ends_with(b"\n") {
            password.pop();
            if password.ends_with(b"\r") {
                password.pop();
            }
        }
        Ok(Some(password))
    }

    fn builder(&self, options: Options) -> Result<Builder, ConnectError> {
        let uris = self.text("MQTT_URI")?.ok_or(EnvError::Missing("MQTT_URI"))?;
        let mut uris = uris.split_ascii_whitespace();
        let first = uris.next().ok_or(EnvError::Missing("MQTT_URI"))?;
        let mut builder = Builder::new(first, options)?.map_options(|options| self.options(options))?;
        for uri in uris {
            builder = builder.server(uri)?;
        }
        self.network(builder)
    }

    /// What lies between the client and its Servers.
    fn network(&self, builder: Builder) -> Result<Builder, ConnectError> {
        let builder = self.tls(builder)?;
        let Some(_proxy) = self.text("MQTT_PROXY")? else { return Ok(builder) };
        #[cfg(feature = "proxy")]
        return match crate::Proxy::new(&_proxy) {
            Ok(proxy) => Ok(builder.proxy(proxy)),
            Err(_) => Err(EnvError::Invalid("MQTT_PROXY".to_owned()).into()),
        };
        #[cfg(not(feature = "proxy"))]
        Err(EnvError::NeedsFeature { variable: "MQTT_PROXY", feature: "proxy" }.into())
    }

    #[cfg(feature = "tls")]
    fn tls(&self, builder: Builder) -> Result<Builder, ConnectError> {
        let mut tls = crate::Tls::new();
        if let Some(path) = self.path("MQTT_CA_FILE") {
            tls = tls.ca_file(path);
        }
        tls = match [self.path("MQTT_CERT_FILE"), self.path("MQTT_KEY_FILE")] {
            [None, None] => tls,
            [Some(chain), Some(key)] => tls.client_certificate_files(chain, key),
            [None, Some(_)] => return Err(EnvError::Missing("MQTT_CERT_FILE").into()),
            [Some(_), None] => return Err(EnvError::Missing("MQTT_KEY_FILE").into()),
        };
        if let Some(name) = self.text("MQTT_SERVER_NAME")? {
            tls = tls.server_name(name);
        }
        Ok(builder.tls(tls))
    }

    #[cfg(not(feature = "tls"))]
    fn tls(&self, builder: Builder) -> Result<Builder, ConnectError> {
        for variable in ["MQTT_CA_FILE", "MQTT_CERT_FILE", "MQTT_KEY_FILE", "MQTT_SERVER_NAME"] {
            if self.raw(variable).is_some() {
                let feature = "tls-ring or tls-aws-lc-rs";
                return Err(EnvError::NeedsFeature { variable, feature }.into());
            }
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mqtt_client::PubSub;

    use super::*;
    use crate::testing::{Broker, BrokerOptions, TestBroker};

    fn environment(
        variables: &'static [(&'static str, &'static str)],
    ) -> Environment<impl Fn(&OsStr) -> Option<OsString>> {
        Environment::new(move |name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn variables_replace_options() {
        let options = Options::new("c").credentials("code", Some("code")).pipeline(true);
        let set = environment(&[
            ("MQTT_CLIENT_ID", "d"),
            ("MQTT_KEEP_ALIVE", "30"),
            ("MQTT_PASSWORD", "s"),
            ("MQTT_MAX_QUEUE_LEN", ""),
            ("MQTT_PORT", "tcp://10.0.0.1:1883"),
        ]);
        let expected = Options::new("d").keep_alive(Duration::from_secs(30)).pipeline(true);
        assert_eq!(set.options(options.clone()).unwrap(), expected.credentials("code", Some("s")));
        assert_eq!(environment(&[]).options(options.clone()).unwrap(), options);
        let user = environment(&[("MQTT_USERNAME", "u")]).options(options).unwrap();
        assert_eq!((user.username(), user.password().map(|it| &it[..])), (Some("u"), Some(&b"code"[..])));
    }

    #[test]
    fn a_password_from_a_file() {
        let path = std::env::temp_dir().join(format!("mqtt-password-{}", std::process::id()));
        for (content, expected) in [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s \n\n", "s \n"), ("", "")] {
            std::fs::write(&path, content).unwrap();
            let variables = Environment::new(|name| match name.to_str() {
                Some("MQTT_PASSWORD_FILE") => Some(path.clone().into_os_string()),
                Some("MQTT_USERNAME") => Some("u".into()),
                _ => None,
            });
            let options = variables.options(Options::new("c")).unwrap();
            assert_eq!(options.password().unwrap(), expected.as_bytes());
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn refused() {
        for (variables, error) in [
            (
                environment(&[("MQTT_KEEP_ALIVE", "s3cret")]).options(Options::new("c")).unwrap_err(),
                "MQTT_KEEP_ALIVE",
            ),
            (
                environment(&[("MQTT_WILL_QOS", "1")]).options(Options::new("c")).unwrap_err(),
                "MQTT_WILL_TOPIC",
            ),
            (
                environment(&[("MQTT_PASSWORD", "s3cret")]).options(Options::new("c")).unwrap_err(),
                "MQTT_USERNAME",
            ),
            (
                environment(&[("MQTT_PASSWORD_FILE", "/no/such/file")])
                    .options(Options::new("c"))
                    .unwrap_err(),
                "MQTT_PASSWORD_FILE",
            ),
        ] {
            let text = variables.to_string();
            assert!(text.contains(error) && !text.contains("s3cret"), "{text}");
        }
        let built = |environment: &'static [(&str, &str)]| {
            self::environment(environment).builder(Options::new("c")).map(|_| ()).unwrap_err()
        };
        assert!(matches!(built(&[]), ConnectError::Env(EnvError::Missing("MQTT_URI"))));
        assert!(matches!(built(&[("MQTT_URI", " ")]), ConnectError::Env(EnvError::Missing("MQTT_URI"))));
        assert!(matches!(built(&[("MQTT_URI", "localhost")]), ConnectError::Uri(_)));
        assert!(matches!(built(&[("MQTT_URI", "mqtt://a b")]), ConnectError::Uri(_)));
        // Without TLS it is the feature that is missing, with it the other file.
        match built(&[("MQTT_URI", "mqtt://a"), ("MQTT_CERT_FILE", "x")]) {
            ConnectError::Env(EnvError::NeedsFeature { .. }) if !cfg!(feature = "tls") => {}
            ConnectError::Env(EnvError::Missing("MQTT_KEY_FILE")) if cfg!(feature = "tls") => {}
            other => panic!("{other:?}"),
        }
        match built(&[("MQTT_URI", "mqtt://a"), ("MQTT_PROXY", "nonsense")]) {
            ConnectError::Env(EnvError::NeedsFeature { .. }) if !cfg!(feature = "proxy") => {}
            ConnectError::Env(EnvError::Invalid(_)) if cfg!(feature = "proxy") => {}
            other => panic!("{other:?}"),
        }
    }

    /// Also where there is a second address, and so credentials for each.
    #[tokio::test]
    async fn a_password_for_the_user_of_the_first_address() {
        let broker = Broker::with_options(BrokerOptions::new().user("u", "s3cret"));
        let broker = std::sync::Arc::new(TestBroker::in_memory(broker));
        for uris in ["mqtt://u@a", "mqtt://u@a mqtt://b", "mqtt://u:old@a mqtt://b"] {
            let variables = Environment::new(|name| match name.to_str() {
                Some("MQTT_URI") => Some(uris.into()),
                Some("MQTT_PASSWORD") => Some("s3cret".into()),
                _ => None,
            });
            let broker = broker.clone();
            let connector = crate::Connector::new(move || std::future::ready(Ok(broker.duplex(1000))));
            let builder = variables.builder(Options::new("c")).unwrap().connector(connector);
            let client = builder.connect::<PubSub>().await.unwrap();
            assert_eq!(client.server().unwrap().host(), "a", "{uris}");
        }
    }

    #[test]
    fn several_addresses() {
        let variables: &[_] =
            &[("MQTT_URI", "mqtt://u@a?keep_alive=10\n mqtt://b:1884"), ("MQTT_KEEP_ALIVE", "20")];
        let builder = environment(variables).builder(Options::new("c")).unwrap();
        let shown = format!("{builder:?}");
        assert!(shown.contains("Uri(mqtt://a:1883)") && shown.contains("Uri(mqtt://b:1884)"), "{shown}");
        assert!(shown.contains("keep_alive: 20s"), "{shown}");
        let (client, _driver) = builder.build::<PubSub>().unwrap();
        assert!(client.server().is_none(), "not before the first attempt");
    }
}
