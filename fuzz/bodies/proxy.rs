//! Input: a byte of settings, a byte for how many sizes of pieces follow, those, and what the proxy sends, then the Server
//! behind it. It comes over loopback, as a client speaks to a proxy over nothing else.

use mqtt_client::ProtocolVersion;
use mqtt_tokio::{Builder, ConnectionError, Proxy, ProxyError};
use tokio::net::TcpListener;

use super::adapter;
use super::input::Input;
use super::wire;

/// An answer that has neither end nor mistake would need so many bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How often an answer may say that another one follows.
const MAX_PRELIMINARY: usize = 8;

/// How the client is to reach `10.1.2.3:1883`, and what it has to say for that at first.
const HTTP: &[u8] = b"CONNECT 10.1.2.3:1883 HTTP/1.1\r\nHost: 10.1.2.3:1883\r\n\r\n";
const HTTP_WITH_PASSWORD: &[u8] =
    b"CONNECT 10.1.2.3:1883 HTTP/1.1\r\nHost: 10.1.2.3:1883\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
const SOCKS5_REQUEST: &[u8] = b"\x05\x01\x00\x01\x0a\x01\x02\x03\x07\x5b";

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let bit = |bit: u8| flags >> bit & 1 == 1;
    let (is_http, has_password) = (bit(0), bit(1));
    let sizes = adapter::sizes(&mut input);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(connection(is_http, has_password, input.0, &sizes));
}

async fn connection(is_http: bool, has_password: bool, bytes: &[u8], sizes: &[usize]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let scheme = if is_http { "http" } else { "socks5" };
    let user_info = if has_password { "u:p@" } else { "" };
    let proxy = Proxy::new(&format!("{scheme}://{user_info}{address}")).expect("an address");
    let version = ProtocolVersion::V3_1_1;
    let builder =
        Builder::new("mqtt://10.1.2.3", adapter::options(version)).expect("an address").proxy(proxy);
    let serve = async {
        let (stream, _) = listener.accept().await.expect("a client");
        adapter::play(stream, bytes, sizes, true).await
    };
    let (outcome, came) = tokio::join!(adapter::run(builder, version), serve);
    let tunnel = if is_http { http(bytes, has_password) } else { socks5(bytes, has_password) };
    // Nothing but what the proxy has to know goes to it, until it says that the tunnel is there.
    let mqtt = came.strip_prefix(&tunnel.asked[..]).unwrap_or_else(|| {
        panic!(
            "{:?} instead of {:?}",
            came.escape_ascii().to_string(),
            tunnel.asked.escape_ascii().to_string()
        )
    });
    match tunnel.end {
        Ok(at) => {
            assert!(!matches!(outcome.error, ConnectionError::Proxy(_)), "{:?}", outcome.error);
            if outcome.check(&bytes[at..], version, false) {
                assert!(matches!(outcome.error, ConnectionError::ClosedByServer), "{:?}", outcome.error);
            }
            wire::each_packet(mqtt, version, |_| {});
        }
        Err(reason) => {
            assert!(outcome.packets.is_empty() && mqtt.is_empty(), "MQTT without a tunnel");
            let ConnectionError::Proxy(error) = outcome.error else { panic!("{:?}", outcome.error) };
            assert!(reason.is(&error), "{error:?} is not {reason:?}");
        }
    }
}

/// What the client says to a proxy, and where in the answers of the proxy those of the Server begin.
struct Tunnel {
    asked: Vec<u8>,
    end: Result<usize, Reason>,
}

/// Why there is no tunnel.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reason {
    Ended,
    Malformed,
    TooLong,
    /// The proxy does not take who we are.
    Authentication,
    Status(u16),
    Reply(u8),
}

impl Reason {
    fn is(self, error: &ProxyError) -> bool {
        self == match error {
            ProxyError::Io(_) => Self::Ended,
            ProxyError::Malformed(_) => Self::Malformed,
            ProxyError::TooLong => Self::TooLong,
            ProxyError::AuthenticationWanted
            | ProxyError::AuthenticationNotSupported
            | ProxyError::AuthenticationRefused => Self::Authentication,
            ProxyError::Status(status) => Self::Status(*status),
            ProxyError::NotAllowed => Self::Reply(2),
            // Two numbers each stand for them.
            ProxyError::Unreachable => return matches!(self, Self::Reply(3 | 4)),
            ProxyError::NotSupported => return matches!(self, Self::Reply(7 | 8)),
            ProxyError::Refused => Self::Reply(5),
            ProxyError::TimedOut => Self::Reply(6),
            ProxyError::Failed(reply) => Self::Reply(*reply),
            _ => return false,
        }
    }
}

fn http(bytes: &[u8], has_password: bool) -> Tunnel {
    let asked = if has_password { HTTP_WITH_PASSWORD } else { HTTP }.to_vec();
    let mut at = 0;
    for _ in 0..MAX_PRELIMINARY {
        let (status, len) = match head(&bytes[at..]) {
            Ok(head) => head,
            Err(reason) => return Tunnel { asked, end: Err(reason) },
        };
        at += len;
        let end = match status {
            100..=199 => continue,
            200..=299 => Ok(at),
            407 => Err(Reason::Authentication),
            _ => Err(Reason::Status(status)),
        };
        return Tunnel { asked, end };
    }
    Tunnel { asked, end: Err(Reason::Malformed) }
}

/// The status of an answer, and how long its head is (RFC 9112, sections 2 to 5).
fn head(bytes: &[u8]) -> Result<(u16, usize), Reason> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let head = &bytes[..end.map_or(bytes.len(), |end| end + 4)];
    let begins_right = head.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected);
    let lines_end_right = (0..head.len()).all(|at| head[at] != b'\n' || at > 0 && head[at - 1] == b'\r');
    if !begins_right || !lines_end_right {
        return Err(Reason::Malformed);
    }
    if head.len() > MAX_HEAD {
        return Err(Reason::TooLong);
    }
    let end = end.ok_or(Reason::Ended)?;
    // Each byte as the letter with its number: all of them have one.
    let text: String = head[..end].iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(status).ok_or(Reason::Malformed)?;
    let is_field = |line: &str| {
        line.split_once(':').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(is_token_letter))
    };
    let is_control = |letter: char| letter.is_ascii_control() && letter != '\t';
    let has_control = text.replace("\r\n", "").contains(is_control);
    if has_control || !lines.all(is_field) { Err(Reason::Malformed) } else { Ok((status, end + 4)) }
}

/// `HTTP/1.x nnn reason`.
fn status(line: &str) -> Option<u16> {
    let mut words = line.splitn(3, ' ');
    let minor = words.next()?.strip_prefix("HTTP/1.")?;
    let code = words.next()?;
    let is_number = |text: &str, len| text.len() == len && text.chars().all(|digit| digit.is_ascii_digit());
    let status = code.parse().ok().filter(|status| *status >= 100)?;
    (is_number(minor, 1) && is_number(code, 3)).then_some(status)
}

fn is_token_letter(letter: char) -> bool {
    letter.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(letter)
}

fn socks5(bytes: &[u8], has_password: bool) -> Tunnel {
    let mut asked = if has_password { b"\x05\x02\x00\x02".to_vec() } else { b"\x05\x01\x00".to_vec() };
    let end = negotiate(bytes, has_password, &mut asked);
    Tunnel { asked, end }
}

/// RFC 1928, sections 3 to 6, and RFC 1929.
fn negotiate(bytes: &[u8], has_password: bool, asked: &mut Vec<u8>) -> Result<usize, Reason> {
    let mut at = 0;
    let mut next = |count: usize| {
        at += count;
        bytes.get(at - count..at).ok_or(Reason::Ended)
    };
    match next(2)? {
        [5, 0] => {}
        [5, 2] if has_password => {
            asked.extend_from_slice(b"\x01\x01u\x01p");
            match next(2)? {
                [1, 0] => {}
                [1, _] => return Err(Reason::Authentication),
                _ => return Err(Reason::Malformed),
            }
        }
        [5, 0xff] => return Err(Reason::Authentication),
        _ => return Err(Reason::Malformed),
    }
    asked.extend_from_slice(SOCKS5_REQUEST);
    let kind = match next(4)? {
        [5, 0, _, kind] => *kind,
        [5, reply, ..] => return Err(Reason::Reply(*reply)),
        _ => return Err(Reason::Malformed),
    };
    let len = match kind {
        1 => 4,
        3 => usize::from(next(1)?[0]),
        4 => 16,
        _ => return Err(Reason::Malformed),
    };
    next(len + 2)?;
    Ok(at)
}
