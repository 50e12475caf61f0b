//! Addresses of Servers.

use crate::error::UriError;

/// The address of a Server: `mqtt://[user[:password]@]host[:port]`, or the same with `tcp://`.
///
/// User and password are percent-decoded; an IPv6 literal stands in brackets; the default port is 1883. `Debug` does
/// not show the password.
///
/// ```
/// let uri: mqtt_tokio::Uri = "mqtt://operator:p%40ss@[::1]:1884".parse()?;
/// assert_eq!((uri.host(), uri.port()), ("::1", 1884));
/// assert!(!format!("{uri:?}").contains("p@ss"));
/// # Ok::<(), mqtt_tokio::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    host: String,
    port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Uri {
    /// The name or address of the host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Debug for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uri")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

impl std::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let (scheme, rest) = uri.split_once("://").ok_or(UriError::NoScheme)?;
        if !["mqtt", "tcp"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UriError::UnsupportedScheme);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !matches!(path, "" | "/") {
            return Err(UriError::UnexpectedPath);
        }
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let (user, password) =
            match user_info.map(|info| info.split_once(':').map_or((info, None), |(u, p)| (u, Some(p)))) {
                Some((user, password)) => (Some(decode(user)?), password.map(decode).transpose()?),
                None => (None, None),
            };
        let user = user.map(String::from_utf8).transpose().map_err(|_| UriError::InvalidEncoding)?;
        let (host, port) = split_port(address)?;
        let port = match port {
            None => 1883,
            // Digits only: `parse` would take a sign too.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or(UriError::InvalidPort)?
            }
            Some(_) => return Err(UriError::InvalidPort),
        };
        if host.is_empty() {
            return Err(UriError::NoHost);
        }
        Ok(Self { host: host.to_owned(), port, user, password })
    }
}

fn split_port(address: &str) -> Result<(&str, Option<&str>), UriError> {
    if let Some(literal) = address.strip_prefix('[') {
        let (host, rest) = literal.split_once(']').ok_or(UriError::NoHost)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UriError::InvalidPort),
        };
    }
    Ok(address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))))
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
    fn refused() {
        for (text, error) in [
            ("localhost:1883", UriError::NoScheme),
            ("", UriError::NoScheme),
            ("mqtts://h", UriError::UnsupportedScheme),
            ("http://h", UriError::UnsupportedScheme),
            ("mqtt://", UriError::NoHost),
            ("mqtt://:1883", UriError::NoHost),
            ("mqtt://[::1", UriError::NoHost),
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
            ("mqtt://h?x=1", UriError::UnexpectedPath),
        ] {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
        }
    }
}
