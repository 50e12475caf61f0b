//! From flags to a client that is connected.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::ArgMatches;
use mqtt_tokio::{Builder, Client, Options, Profile, Tcp, options_from_env};

use super::address::Address;
use super::debug::Debug;
use super::exit::{Failure, code};
use super::flags;
use super::interrupt::Interrupt;

/// Connects as the flags and the environment say. `tune` sets what is right for the tool; the environment and the
/// address can change it; `settings` are those of the tool's own flags.
pub(crate) async fn connect<P: Profile>(
    matches: &ArgMatches,
    interrupt: &mut Interrupt,
    tool: &str,
    settings: &[(&'static str, String)],
    tune: impl FnOnce(Options) -> Options,
) -> Result<Client<P>, Failure> {
    let builder = builder(matches, tool, settings, tune)?;
    tokio::select! {
        biased;
        failure = interrupt.wait() => Err(failure),
        connected = builder.connect() => Ok(connected?),
    }
}

fn builder(
    matches: &ArgMatches,
    tool: &str,
    settings: &[(&'static str, String)],
    tune: impl FnOnce(Options) -> Options,
) -> Result<Builder, Failure> {
    if let Some(why) = flags::absent(matches) {
        return Err(Failure::usage(why));
    }
    if matches.get_flag("disable-clean-session") && !has_id(matches) {
        return Err(Failure::usage("-c needs a client identifier that stays the same: -i ID"));
    }
    let address = Address::of(matches, settings)?;
    let options = credentials(matches, &address, tune(Options::new(random_id(tool))))?;
    let [first, rest @ ..] = address.uris.as_slice() else { return Err(Failure::usage("no address")) };
    let mut builder = Builder::new(first, options)?;
    for uri in rest {
        builder = builder.server(uri)?;
    }
    if let Some(address) = matches.get_one::<IpAddr>("bind") {
        builder = builder.tcp(Tcp::new().local_address(Some(*address)));
    }
    if matches.get_flag("debug") {
        let debug = Debug::default();
        builder = builder.inspect(move |direction, packet, _| debug.show(direction, packet));
    }
    builder = secure(builder, matches)?;
    through_proxy(builder, matches)
}

/// Whether the client identifier is one that another run has too.
fn has_id(matches: &ArgMatches) -> bool {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let url = matches.get_one::<String>("url").cloned().unwrap_or_else(|| variable("MQTT_URI"));
    ["id", "id-prefix"].iter().any(|id| matches.contains_id(id))
        || url.contains("client_id=")
        || !variable("MQTT_CLIENT_ID").is_empty()
}

/// Different for each process, and no secret. A process id would be 1 in every container.
fn random_id(tool: &str) -> String {
    let number = RandomState::new().build_hasher().finish();
    // MQTT 3.1 has room for 23 characters.
    format!("{tool}-{:012x}", number >> 16)
}

/// What the environment sets, and the credentials of the flags. Each may have a part: the name from here, the password
/// from there.
fn credentials(matches: &ArgMatches, address: &Address, options: Options) -> Result<Options, Failure> {
    let name = matches.get_one::<String>("username").or(address.username.as_ref());
    let options = match name {
        Some(name) => options.credentials(name, None::<Vec<u8>>),
        None => options,
    };
    let options = options_from_env(options).map_err(|error| Failure::new(environment_code(&error), error))?;
    let password = match (matches.get_one::<String>("pw"), matches.get_one::<PathBuf>("password-file")) {
        (Some(password), _) => Some(password.clone().into_bytes()),
        (None, Some(path)) => Some(password_in(path)?),
        (None, None) => options.password().map(|password| password.to_vec()),
    };
    match name.cloned().or_else(|| options.username().map(str::to_owned)) {
        Some(name) => Ok(options.credentials(name, password)),
        None if password.is_some() => Err(Failure::usage("a password needs a user name: -u NAME")),
        None => Ok(options),
    }
}

fn password_in(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let mut password = std::fs::read(path).map_err(|error| {
        Failure::new(code::NO_CREDENTIALS, format!("cannot read {}: {error}", path.display()))
    })?;
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    Ok(password)
}

fn environment_code(error: &mqtt_tokio::EnvError) -> u8 {
    match error {
        mqtt_tokio::EnvError::File { .. } | mqtt_tokio::EnvError::Missing(_) => code::NO_CREDENTIALS,
        _ => code::USAGE,
    }
}

/// The value of a flag, or of the variable that stands in for it.
fn flag_or_variable(matches: &ArgMatches, id: &str, variable: &str) -> Result<Option<String>, Failure> {
    match (matches.get_one::<String>(id), std::env::var(variable)) {
        (Some(value), _) => Ok(Some(value.clone())),
        (None, Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
        (None, Err(std::env::VarError::NotPresent)) => Ok(None),
        (None, Err(error)) => Err(Failure::usage(format!("{variable}: {error}"))),
    }
}

#[cfg(feature = "tls")]
fn secure(builder: Builder, matches: &ArgMatches) -> Result<Builder, Failure> {
    let mut tls = mqtt_tokio::Tls::new();
    if let Some(file) = flag_or_variable(matches, "cafile", "MQTT_CA_FILE")? {
        tls = tls.ca_file(file);
    }
    if matches.get_flag("tls-use-os-certs") {
        tls = tls.platform_roots();
    }
    let chain = flag_or_variable(matches, "cert", "MQTT_CERT_FILE")?;
    let key = flag_or_variable(matches, "key", "MQTT_KEY_FILE")?;
    match (chain, key) {
        (Some(chain), Some(key)) => tls = tls.client_certificate_files(chain, key),
        (None, None) => {}
        _ => return Err(Failure::usage("a client certificate needs both --cert and --key")),
    }
    if let Some(name) = flag_or_variable(matches, "server-name", "MQTT_SERVER_NAME")? {
        tls = tls.server_name(name);
    }
    if let Some(protocol) = matches.get_one::<String>("tls-alpn") {
        tls = tls.alpn([protocol.as_str()]);
    }
    Ok(builder.tls(tls))
}

/// Without TLS there is nothing to set: a scheme that wants it has been refused.
#[cfg(not(feature = "tls"))]
fn secure(builder: Builder, _matches: &ArgMatches) -> Result<Builder, Failure> {
    Ok(builder)
}

fn through_proxy(builder: Builder, matches: &ArgMatches) -> Result<Builder, Failure> {
    match flag_or_variable(matches, "proxy", "MQTT_PROXY")? {
        Some(proxy) => with_proxy(builder, &proxy),
        None => Ok(builder),
    }
}

#[cfg(feature = "proxy")]
fn with_proxy(builder: Builder, proxy: &str) -> Result<Builder, Failure> {
    let proxy = mqtt_tokio::Proxy::new(proxy).map_err(|error| Failure::usage(format!("--proxy: {error}")))?;
    Ok(builder.proxy(proxy))
}

/// Never past the proxy, if there should be one.
#[cfg(not(feature = "proxy"))]
fn with_proxy(_builder: Builder, _proxy: &str) -> Result<Builder, Failure> {
    Err(Failure::new(code::NO_FEATURE, "a proxy needs mqtt-tokio to be built with the feature proxy"))
}
