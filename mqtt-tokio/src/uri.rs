//! Addresses of Servers.

use std::net::Ipv6Addr;

use crate::error::UriError;

/// The address of a Server: `mqtt://[user[:password]@]host[:port]`, or the same with `tcp://`.
///
/// User, password and host name are percent-decoded; an IPv6 address stands in brackets; the default port is 1883.
/// `Debug` does not show the password.
///
/// An IPv6 address has no zone (`%eth0`) here, as that means something on one machine only: a
/// [`Connector`](crate::Connector) takes it.
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
        Ok(Self { host: decode_host(host)?, port, user, password })
    }
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
            ("mqtt://h?x=1", UriError::UnexpectedPath),
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
