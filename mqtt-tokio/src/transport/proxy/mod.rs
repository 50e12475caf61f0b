//! Proxies: HTTP CONNECT (RFC 9110, section 9.3.6) and SOCKS5 (RFC 1928, with the password of RFC 1929).

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http::{Head, HeadError, base64};
use super::proxy_error::ProxyError;
use super::{BoxTransport, format_address};
use crate::error::UriError;
use crate::uri::{decode_address, user_info};

/// So many preliminary answers (100, 103) are skipped.
const MAX_PRELIMINARY: usize = 8;

/// The registered port of SOCKS.
const SOCKS_PORT: u16 = 1080;

/// A proxy between the client and its servers.
///
/// | address | kind | names of servers are resolved |
/// |---|---|---|
/// | `http://[user:password@]host:port` | HTTP CONNECT, Basic authentication | by the proxy |
/// | `socks5://[user:password@]host[:port]` | SOCKS5, port 1080 unless given | here |
/// | `socks5h://...` | the same | by the proxy |
///
/// The two kinds of SOCKS5 differ as they do in curl. User, password and host are percent-decoded. The way to the proxy
/// itself is not encrypted: user and password can be read on it, and what goes through the tunnel if the scheme of the
/// server is a plain one.
///
/// `Debug` does not show the password.
///
/// ```
/// use mqtt_tokio::Proxy;
///
/// let proxy: Proxy = "http://plant:p%40ss@proxy.local:3128".parse()?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.local", 3128));
/// assert!(!format!("{proxy:?}").contains("p@ss"));
/// # Ok::<(), mqtt_tokio::ProxyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    credentials: Option<(String, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    /// Names are resolved here.
    Socks5,
    /// Names are resolved by the proxy.
    Socks5h,
}

impl Proxy {
    /// The same as `uri.parse()`.
    ///
    /// # Errors
    ///
    /// [`UnsupportedScheme`](ProxyError::UnsupportedScheme), [`InvalidCredentials`](ProxyError::InvalidCredentials), and
    /// [`Uri`](ProxyError::Uri) for anything else that is wrong with the address, such as a missing port for `http`.
    pub fn new(uri: &str) -> Result<Self, ProxyError> {
        uri.parse()
    }

    /// The name or address of the proxy, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks the proxy behind `stream` for a connection to a server. What is returned is the same stream, at the first
    /// byte that comes from the server.
    pub(crate) async fn tunnel(
        &self,
        mut stream: BoxTransport,
        host: &str,
        port: u16,
    ) -> Result<BoxTransport, ProxyError> {
        check_host(host)?;
        match self.kind {
            Kind::Http => self.connect(&mut stream, host, port).await?,
            Kind::Socks5 => {
                let address = match host.parse::<IpAddr>() {
                    Ok(address) => address,
                    Err(_) => resolve(host, port).await?,
                };
                self.socks5(&mut stream, &socks5_address(address), port).await?;
            }
            Kind::Socks5h => {
                let address = host.parse().map_or_else(|_| socks5_name(host), |ip| Ok(socks5_address(ip)))?;
                self.socks5(&mut stream, &address, port).await?;
            }
        }
        Ok(stream)
    }

    async fn connect(&self, stream: &mut BoxTransport, host: &str, port: u16) -> Result<(), ProxyError> {
        let target = format_address(host, port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.credentials {
            let pair = [user.as_bytes(), b":", password].concat();
            request += &format!("Proxy-Authorization: Basic {}\r\n", base64(&pair));
        }
        request += "\r\n";
        send(stream, request.as_bytes()).await?;
        for _ in 0..MAX_PRELIMINARY {
            let head = Head::read(stream).await.map_err(|error| match error {
                HeadError::Io(error) => error.into(),
                HeadError::Malformed(what) => ProxyError::Malformed(what),
                HeadError::TooLong => ProxyError::TooLong,
            })?;
            return match head.status() {
                100..=199 => continue,
                200..=299 => Ok(()),
                407 if !takes_basic(&head) => Err(ProxyError::AuthenticationNotSupported),
                407 if self.credentials.is_none() => Err(ProxyError::AuthenticationWanted),
                407 => Err(ProxyError::AuthenticationRefused),
                status => Err(ProxyError::Status(status)),
            };
        }
        Err(ProxyError::Malformed("preliminary answers without end"))
    }

    async fn socks5(&self, stream: &mut BoxTransport, address: &[u8], port: u16) -> Result<(), ProxyError> {
        const VERSION: u8 = 5;
        const NO_AUTHENTICATION: u8 = 0;
        const PASSWORD: u8 = 2;
        const CONNECT: u8 = 1;
        const RESERVED: u8 = 0;
        let greeting: &[u8] = match &self.credentials {
            None => &[VERSION, 1, NO_AUTHENTICATION],
            Some(_) => &[VERSION, 2, NO_AUTHENTICATION, PASSWORD],
        };
        send(stream, greeting).await?;
        match (receive(stream).await?, &self.credentials) {
            ([VERSION, NO_AUTHENTICATION], _) => {}
            ([VERSION, PASSWORD], Some((user, password))) => {
                authenticate(stream, user.as_bytes(), password).await?;
            }
            ([VERSION, 0xff], None) => return Err(ProxyError::AuthenticationWanted),
            ([VERSION, 0xff], Some(_)) => return Err(ProxyError::AuthenticationRefused),
            ([VERSION, _], _) => {
                return Err(ProxyError::Malformed("a way to authenticate that was not offered"));
            }
            _ => return Err(ProxyError::Malformed("no SOCKS5")),
        }
        send(stream, &[&[VERSION, CONNECT, RESERVED], address, &port.to_be_bytes()].concat()).await?;
        let [version, reply, _, kind] = receive(stream).await?;
        if version != VERSION {
            return Err(ProxyError::Malformed("no SOCKS5"));
        }
        refusal(reply)?;
        // The address that the proxy uses is of no interest, but belongs to the answer.
        match kind {
            IPV4 => drop(receive::<{ 4 + 2 }>(stream).await?),
            IPV6 => drop(receive::<{ 16 + 2 }>(stream).await?),
            NAME => {
                let [len] = receive(stream).await?;
                stream.read_exact(&mut vec![0; usize::from(len) + 2]).await?;
            }
            _ => return Err(ProxyError::Malformed("an unknown kind of address")),
        }
        Ok(())
    }
}

/// Kinds of addresses in SOCKS5.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(uri: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = uri.split_once("://").ok_or(UriError::NoScheme)?;
        // There is no port for HTTP proxies that one could guess.
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 0),
            "socks5" => (Kind::Socks5, SOCKS_PORT),
            "socks5h" => (Kind::Socks5h, SOCKS_PORT),
            _ => return Err(ProxyError::UnsupportedScheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(UriError::UnexpectedPath.into());
        }
        let ((user, password), address) = user_info(authority)?;
        let (host, port) = decode_address(address, default_port)?;
        if port == 0 {
            return Err(UriError::InvalidPort.into());
        }
        let credentials = user.map(|user| (user, password.unwrap_or_default()));
        if let Some((user, password)) = &credentials {
            let fits = |len| (1..=255).contains(&len);
            let legal = match kind {
                Kind::Http => !user.contains(|letter: char| letter == ':' || letter.is_control()),
                Kind::Socks5 | Kind::Socks5h => fits(user.len()) && fits(password.len()),
            };
            if !legal {
                return Err(ProxyError::InvalidCredentials);
            }
        }
        Ok(Self { kind, host, port, credentials })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("password", &self.credentials.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// Whether an answer asks for Basic, among others perhaps, or does not say what it asks for.
fn takes_basic(head: &Head) -> bool {
    let mut offers = head.values("proxy-authenticate").peekable();
    let is_basic =
        |word: &[u8]| word.split(|byte| *byte == b' ').next().unwrap_or(&[]).eq_ignore_ascii_case(b"basic");
    offers.peek().is_none()
        || offers.flat_map(|offer| offer.split(|byte| *byte == b',')).any(|word| is_basic(word.trim_ascii()))
}

/// What is put into a request must not change its meaning.
fn check_host(host: &str) -> Result<(), ProxyError> {
    let is_name_byte = |byte: u8| byte.is_ascii_graphic() && !b"/?#@:[]\\%<>\"^`{|}".contains(&byte);
    let is_name = (1..=255).contains(&host.len()) && host.bytes().all(is_name_byte);
    (is_name || host.parse::<IpAddr>().is_ok()).then_some(()).ok_or(ProxyError::InvalidHost)
}

/// The address that the system likes best.
async fn resolve(host: &str, port: u16) -> Result<IpAddr, ProxyError> {
    let failed = |error| ProxyError::Resolve(Arc::new(error));
    let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(failed)?;
    let address = addresses.next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    Ok(address.ip())
}

fn socks5_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&[IPV4], &address.octets()[..]].concat(),
        IpAddr::V6(address) => [&[IPV6], &address.octets()[..]].concat(),
    }
}

fn socks5_name(name: &str) -> Result<Vec<u8>, ProxyError> {
    let len = u8::try_from(name.len()).map_err(|_| ProxyError::InvalidHost)?;
    Ok([&[NAME, len], name.as_bytes()].concat())
}

/// User name and password, whose lengths were checked (RFC 1929).
async fn authenticate(stream: &mut BoxTransport, user: &[u8], password: &[u8]) -> Result<(), ProxyError> {
    const VERSION: u8 = 1;
    let len = |bytes: &[u8]| u8::try_from(bytes.len()).map_err(|_| ProxyError::InvalidCredentials);
    let (user_len, password_len) = (len(user)?, len(password)?);
    send(stream, &[&[VERSION, user_len], user, &[password_len], password].concat()).await?;
    match receive(stream).await? {
        [VERSION, 0] => Ok(()),
        [VERSION, _] => Err(ProxyError::AuthenticationRefused),
        _ => Err(ProxyError::Malformed("no SOCKS5")),
    }
}

/// What a reply means (RFC 1928, section 6).
fn refusal(reply: u8) -> Result<(), ProxyError> {
    Err(match reply {
        0 => return Ok(()),
        2 => ProxyError::NotAllowed,
        3 | 4 => ProxyError::Unreachable,
        5 => ProxyError::Refused,
        6 => ProxyError::TimedOut,
        7 | 8 => ProxyError::NotSupported,
        other => ProxyError::Failed(other),
    })
}

async fn send(stream: &mut BoxTransport, bytes: &[u8]) -> Result<(), ProxyError> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    Ok(())
}

/// So many bytes, and none that follow.
async fn receive<const LEN: usize>(stream: &mut BoxTransport) -> Result<[u8; LEN], ProxyError> {
    let mut bytes = [0; LEN];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
