//! Addresses of Servers.

use std::fmt;
use std::net::Ipv6Addr;

use mqtt_client::Options;

use crate::error::UriError;
use crate::settings::Settings;
use crate::transport::format_address;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `mqtt://` or `tcp://`: TCP, port 1883.
    Tcp,
    /// `mqtts://` or `ssl://`: TLS over TCP, port 8883. Needs one of the features `tls-ring` and `tls-aws-lc-rs`.
    Tls,
    /// `ws://`: WebSocket over TCP, port 80. Needs the feature `ws`.
    Ws,
    /// `wss://`: WebSocket over TLS, port 443. Needs the feature `ws` and one for TLS.
    Wss,
    /// `unix://`: a Unix domain socket.
    Unix,
}

impl Scheme {
    const ALL: [(&'static str, Self); 7] = [
        ("mqtt", Self::Tcp),
        ("tcp", Self::Tcp),
        ("mqtts", Self::Tls),
        ("ssl", Self::Tls),
        ("ws", Self::Ws),
        ("wss", Self::Wss),
        ("unix", Self::Unix),
    ];

    /// Its usual name, without `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// The port if none is given; 0 for a socket that has none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tcp => 1883,
            Self::Tls => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
            Self::Unix => 0,
        }
    }

    /// Whether the bytes are encrypted.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether the bytes travel in WebSocket frames.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether this build can use it.
    pub(crate) const fn check(self) -> Result<(), UriError> {
        if self.is_secure() && !cfg!(feature = "tls") {
            return Err(UriError::NeedsFeature { scheme: self.name(), feature: "tls-ring or tls-aws-lc-rs" });
        }
        if self.is_websocket() && !cfg!(feature = "ws") {
            return Err(UriError::NeedsFeature { scheme: self.name(), feature: "ws" });
        }
        if matches!(self, Self::Unix) && !cfg!(unix) {
            return Err(UriError::NotHere);
        }
        Ok(())
    }
}

/// The address of a Server.
///
/// | address | way | default port |
/// |---|---|---|
/// | `mqtt://[user[:password]@]host[:port][?options]`, the same with `tcp` | TCP | 1883 |
/// | `mqtts://...`, the same with `ssl` | TLS | 8883 |
/// | `ws://[user[:password]@]host[:port][/path[?query]][#options]` | WebSocket | 80 |
/// | `wss://...` | WebSocket over TLS | 443 |
/// | `unix://[user[:password]@]/path/of/socket[?options]` | Unix domain socket | |
///
/// User, password, host name, the path of a socket and the values of options are percent-decoded; an IPv6 address stands
/// in brackets. Path and query of a WebSocket address go to the Server as they are. `Debug` and `Display` show neither
/// user nor password, nor the path and query of a WebSocket address, which can hold a token.
///
/// The options are `name=value`, joined by `&`: `client_id`, `clean_session` (`true` or `false`), `keep_alive` and
/// `connack_timeout` in seconds, `version` (`3.1` or `3.1.1`), and the others of [the table](crate#settings-as-text).
/// They replace what the code has set. As the query of a WebSocket address belongs to the Server, its options stand
/// behind a `#`, which never leaves the machine.
///
/// An IPv6 address has no zone (`%eth0`) here, as that means something on one machine only: a
/// [`Connector`](crate::Connector) takes it.
///
/// ```
/// use mqtt_tokio::{Scheme, Uri};
///
/// let uri: Uri = "mqtts://operator:p%40ss@[::1]?client_id=plant-7&keep_alive=30".parse()?;
/// assert_eq!((uri.scheme(), uri.host(), uri.port()), (Scheme::Tls, "::1", 8883));
/// assert_eq!(uri.to_string(), "mqtts://[::1]:8883");
/// assert!(!format!("{uri:?}").contains("p@ss"));
/// # Ok::<(), mqtt_tokio::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
    options: String,
    user: Option<String>,
    password: Option<Vec<u8>>,
}

impl Uri {
    /// The way that the bytes travel.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name or address of the host, without brackets; empty for a Unix domain socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 for a Unix domain socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path and query to ask a WebSocket server for, as they were written and perhaps empty; or the path of a Unix
    /// domain socket. Empty for the others.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The user name.
    pub fn username(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    pub(crate) fn has_options(&self) -> bool {
        pairs(&self.options).next().is_some()
    }

    /// What the options in the address change in `options`, its user name and password too.
    pub(crate) fn apply(&self, mut options: Options) -> Result<Options, UriError> {
        if let Some(user) = &self.user {
            options = options.credentials(user.clone(), self.password.clone());
        }
        let mut settings = Settings::new(options);
        for (name, value) in pairs(&self.options) {
            let value = decode(value)?;
            let value = std::str::from_utf8(&value).map_err(|_| UriError::InvalidEncoding)?;
            settings = settings.set(name, value)?;
        }
        Ok(settings.finish()?)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Unix => write!(f, "unix://{}", encode(&self.path)),
            scheme => write!(f, "{}://{}", scheme.name(), format_address(&encode(&self.host), self.port)),
        }
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

impl std::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let (name, rest) = uri.split_once("://").ok_or(UriError::NoScheme)?;
        let known = Scheme::ALL.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        let &(_, scheme) = known.ok_or(UriError::UnsupportedScheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, part)| (rest, Some(part)));
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let ((user, password), address) = user_info(authority)?;
        let (host, port) = match scheme {
            Scheme::Unix if address.is_empty() => (String::new(), 0),
            Scheme::Unix => return Err(UriError::InvalidHost),
            _ => decode_address(address, scheme.default_port())?,
        };
        let (path, options) = match scheme {
            Scheme::Ws | Scheme::Wss => {
                // What is sent in the first line of a request must not end it.
                if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(UriError::InvalidPath);
                }
                (rest.to_owned(), fragment)
            }
            _ if fragment.is_some() => return Err(UriError::UnexpectedPath),
            Scheme::Unix => (decode_path(path)?, query),
            _ if matches!(path, "" | "/") => (String::new(), query),
            _ => return Err(UriError::UnexpectedPath),
        };
        let uri =
            Self { scheme, host, port, path, options: options.unwrap_or("").to_owned(), user, password };
        // A mistake in an option is found here, by whoever reads the address.
        uri.apply(Options::new(""))?;
        Ok(uri)
    }
}

/// User and password, decoded.
pub(crate) type UserInfo = (Option<String>, Option<Vec<u8>>);

/// User and password in front of an address, and the address.
pub(crate) fn user_info(authority: &str) -> Result<(UserInfo, &str), UriError> {
    let Some((info, address)) = authority.rsplit_once('@') else { return Ok(((None, None), authority)) };
    let (user, password) = info.split_once(':').map_or((info, None), |(user, rest)| (user, Some(rest)));
    let user = String::from_utf8(decode(user)?).map_err(|_| UriError::InvalidEncoding)?;
    Ok(((Some(user), password.map(decode).transpose()?), address))
}

/// The options as they are written. What has no `=` has no value.
fn pairs(options: &str) -> impl Iterator<Item = (&str, &str)> {
    options.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The path of a socket.
fn decode_path(path: &str) -> Result<String, UriError> {
    let path = String::from_utf8(decode(path)?).map_err(|_| UriError::InvalidEncoding)?;
    match path.len() {
        0 | 1 => Err(UriError::NoHost),
        _ if path.contains('\0') => Err(UriError::InvalidPath),
        _ => Ok(path),
    }
}

/// Host and port, each decoded and checked.
pub(crate) fn decode_address(address: &str, default_port: u16) -> Result<(String, u16), UriError> {
    let (host, port) = split_port(address)?;
    let port = match port {
        None => default_port,
        // Digits only: `parse` would take a sign too.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0).ok_or(UriError::InvalidPort)?
        }
        Some(_) => return Err(UriError::InvalidPort),
    };
    Ok((decode_host(host)?, port))
}

/// The host as it is written, and the port.
fn split_port(address: &str) -> Result<(&str, Option<&str>), UriError> {
    if address.starts_with('[') {
        let end = address.find(']').ok_or(UriError::InvalidHost)?;
        let (host, rest) = address.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UriError::InvalidPort),
        };
    }
    Ok(address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))))
}

/// An IPv6 address in brackets, which it loses, or a name.
fn decode_host(host: &str) -> Result<String, UriError> {
    if host.is_empty() {
        return Err(UriError::NoHost);
    }
    if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let _: Ipv6Addr = literal.parse().map_err(|_| UriError::InvalidHost)?;
        return Ok(literal.to_owned());
    }
    if !host.bytes().all(|byte| is_name_byte(byte) || byte == b'%') {
        return Err(UriError::InvalidHost);
    }
    let name = String::from_utf8(decode(host)?).map_err(|_| UriError::InvalidEncoding)?;
    // Decoding must not bring in what may not be there; but letters of all languages, which only so can be written.
    let is_name = |letter: char| match u8::try_from(letter) {
        Ok(byte) if byte.is_ascii() => is_name_byte(byte),
        _ => !letter.is_control(),
    };
    match name.len() {
        256.. => Err(UriError::HostTooLong),
        _ if name.chars().all(is_name) => Ok(name),
        _ => Err(UriError::InvalidHost),
    }
}

/// Whether a registered name may hold it (RFC 3986, section 3.2.2).
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// What a URI can hold as it is, and the rest percent-encoded: what is shown is an address again.
fn encode(text: &str) -> String {
    let is_free = |byte: u8| is_name_byte(byte) || matches!(byte, b'/' | b':');
    let encoded = |byte| if is_free(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect()
}

fn decode(text: &str) -> Result<Vec<u8>, UriError> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = digit().zip(digit()).ok_or(UriError::InvalidEncoding)?;
        decoded.push((high * 16 + low) as u8);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("mqtt://localhost", "localhost", 1883),
            ("tcp://10.0.0.1:1884/", "10.0.0.1", 1884),
            ("MQTT://[fe80::1]", "fe80::1", 1883),
            ("mqtt://[::1]:2000", "::1", 2000),
            ("mqtt://u:p@host:1", "host", 1),
            ("mqtt://[::ffff:10.0.0.1]", "::ffff:10.0.0.1", 1883),
            ("mqtt://m%71tt_1.example.", "mqtt_1.example.", 1883),
            ("mqtt://a!$&'()*+,;=-~", "a!$&'()*+,;=-~", 1883),
            ("mqtt://b%C3%BCro", "büro", 1883),
            ("mqtt://h:00080", "h", 80),
            ("mqtt://h?", "h", 1883),
            ("mqtts://h", "h", 8883),
            ("ssl://h:1", "h", 1),
            ("ws://h", "h", 80),
            ("wss://h/", "h", 443),
            ("wss://[::1]:9001/mqtt", "::1", 9001),
        ] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!((uri.host(), uri.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn user_info_is_decoded() {
        let uri: Uri = "mqtt://a%3Ab:%00%ff%40:x@h".parse().unwrap();
        assert_eq!(uri.user.as_deref(), Some("a:b"));
        assert_eq!(uri.password.as_deref(), Some(&b"\x00\xff@:x"[..]));
        let uri: Uri = "mqtt://only@h".parse().unwrap();
        assert_eq!((uri.user.as_deref(), uri.password), (Some("only"), None));
    }

    #[test]
    fn paths() {
        for (text, scheme, path) in [
            ("mqtt://h/", Scheme::Tcp, ""),
            ("ws://h", Scheme::Ws, ""),
            ("ws://h/", Scheme::Ws, "/"),
            ("wss://h/mqtt?token=a%20b&x#client_id=c", Scheme::Wss, "/mqtt?token=a%20b&x"),
            ("ws://h?token=a@b", Scheme::Ws, "?token=a@b"),
            ("unix:///run/a%20b.sock?client_id=c", Scheme::Unix, "/run/a b.sock"),
            ("unix://u:p@/run/mqtt", Scheme::Unix, "/run/mqtt"),
        ] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!((uri.scheme(), uri.path()), (scheme, path), "{text}");
        }
    }

    #[test]
    fn options_are_applied() {
        let text = "mqtt://u:p@h?client_id=a%26b&keep_alive=30&clean_session=false&version=3.1&&";
        let options = text.parse::<Uri>().unwrap().apply(Options::new("x").pipeline(true)).unwrap();
        let expected = Options::new("a&b")
            .credentials("u", Some("p"))
            .keep_alive(std::time::Duration::from_secs(30))
            .clean_session(false)
            .version(mqtt_client::ProtocolVersion::V3_1)
            .pipeline(true);
        assert_eq!(options, expected);
    }

    #[test]
    fn what_is_shown_is_an_address() {
        for text in ["mqtt://b%C3%BCro:1883", "mqtts://[fe80::1]:1", "unix:///a%3Fb%23%25%20/c:d"] {
            assert_eq!(text.parse::<Uri>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_can_be_secret_is_not_shown() {
        for text in ["wss://name:pass@host:1/path?pass=1#client_id=pass", "unix://name:pass@/host"] {
            let uri: Uri = text.parse().unwrap();
            let shown = format!("{uri} {uri:?}");
            assert!(shown.contains("host") && !shown.contains("pass") && !shown.contains("name"), "{shown}");
        }
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("localhost:1883", UriError::NoScheme),
            ("", UriError::NoScheme),
            ("http://h", UriError::UnsupportedScheme),
            ("mqtt://", UriError::NoHost),
            ("mqtt://:1883", UriError::NoHost),
            ("mqtt://u@", UriError::NoHost),
            ("mqtt:///", UriError::NoHost),
            ("mqtt://[]", UriError::InvalidHost),
            ("mqtt://[::1", UriError::InvalidHost),
            ("mqtt://[zz]", UriError::InvalidHost),
            ("mqtt://[localhost]", UriError::InvalidHost),
            ("mqtt://[10.0.0.1]", UriError::InvalidHost),
            ("mqtt://[::1 ]", UriError::InvalidHost),
            ("mqtt://[1:2:3:4:5:6:7:8:9]", UriError::InvalidHost),
            ("mqtt://[fe80::1%25eth0]", UriError::InvalidHost),
            ("mqtt://[v1.a]", UriError::InvalidHost),
            ("mqtt://a]", UriError::InvalidHost),
            ("mqtt:// h", UriError::InvalidHost),
            ("mqtt://h h", UriError::InvalidHost),
            ("mqtt://h\n", UriError::InvalidHost),
            ("mqtt://h\0", UriError::InvalidHost),
            ("mqtt://h\\a", UriError::InvalidHost),
            ("mqtt://büro", UriError::InvalidHost),
            ("mqtt://h%20h", UriError::InvalidHost),
            ("mqtt://h%00", UriError::InvalidHost),
            ("mqtt://h%2Fa", UriError::InvalidHost),
            ("mqtt://h%3A1", UriError::InvalidHost),
            ("mqtt://h%25", UriError::InvalidHost),
            ("mqtt://h%c2%85", UriError::InvalidHost),
            ("mqtt://%5B::1%5D", UriError::InvalidPort),
            ("mqtt://h%", UriError::InvalidEncoding),
            ("mqtt://h%4", UriError::InvalidEncoding),
            ("mqtt://h%+1", UriError::InvalidEncoding),
            ("mqtt://h%ff", UriError::InvalidEncoding),
            ("mqtt://[::1]x", UriError::InvalidPort),
            ("mqtt://h:0", UriError::InvalidPort),
            ("mqtt://h:65536", UriError::InvalidPort),
            ("mqtt://h:", UriError::InvalidPort),
            ("mqtt://h:+80", UriError::InvalidPort),
            ("mqtt://::1", UriError::InvalidPort),
            ("mqtt://%4@h", UriError::InvalidEncoding),
            ("mqtt://%zz@h", UriError::InvalidEncoding),
            ("mqtt://%ff@h", UriError::InvalidEncoding),
            ("mqtt://h/topic", UriError::UnexpectedPath),
            ("mqtt://h?x=1", UriError::UnknownOption),
            ("mqtt://h?keep_alive=x", UriError::InvalidOption("keep_alive")),
            ("mqtt://h?keep_alive", UriError::InvalidOption("keep_alive")),
            ("mqtt://h?client_id=%f", UriError::InvalidEncoding),
            ("mqtt://h?client_id=%ff", UriError::InvalidEncoding),
            ("mqtt://h#client_id=x", UriError::UnexpectedPath),
            ("ws://h/a b", UriError::InvalidPath),
            ("ws://h/a\r\nx", UriError::InvalidPath),
            ("wss://h/\u{fc}", UriError::InvalidPath),
            ("ws://h/#nothing=1", UriError::UnknownOption),
            ("unix://", UriError::NoHost),
            ("unix:///", UriError::NoHost),
            ("unix://run/mqtt.sock", UriError::InvalidHost),
            ("unix:///a%00", UriError::InvalidPath),
            ("unix:///a%ff", UriError::InvalidEncoding),
        ] {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
        }
    }

    #[test]
    fn long_hosts() {
        let address = |len: usize| format!("mqtt://{}", "h%68".repeat(len / 2) + &"h".repeat(len % 2));
        assert_eq!(address(255).parse::<Uri>().unwrap().host().len(), 255);
        assert_eq!(address(256).parse::<Uri>(), Err(UriError::HostTooLong));
    }
}
