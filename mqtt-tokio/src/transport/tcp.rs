//! TCP: names to addresses, several addresses at once, and the options of the socket.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until};

use super::error::DialError;
use crate::shared::FAR;

/// So long an attempt has before the next address is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// So many addresses of one name are tried at most.
const MAX_ADDRESSES: usize = 32;

/// The options of a TCP connection. Each has a default that is right for most.
///
/// | setting | default |
/// |---|---|
/// | nodelay | on |
/// | keep-alive | that of the system: off; MQTT has its own |
/// | stagger | 250 ms |
/// | local address | any |
///
/// All addresses of a name are tried, IPv6 and IPv4 by turns, each a little after the one before, and the first that
/// answers is taken (RFC 8305, "Happy Eyeballs"): a network in which IPv6 is broken costs 250 ms, not a minute.
///
/// ```
/// use mqtt_tokio::{Builder, Options, Tcp, TcpKeepAlive};
/// use std::time::Duration;
///
/// let keep_alive = TcpKeepAlive::after(Duration::from_secs(30)).every(Duration::from_secs(5));
/// let builder = Builder::new("mqtt://broker.local", Options::new("plant-7"))?
///     .tcp(Tcp::new().keep_alive(Some(keep_alive)));
/// # let _ = builder;
/// # Ok::<(), mqtt_tokio::ConnectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    nodelay: bool,
    keep_alive: Option<TcpKeepAlive>,
    stagger: Duration,
    local_address: Option<IpAddr>,
}

/// Probes that the system sends on a TCP connection on which nothing comes.
///
/// The Keep Alive of MQTT finds a dead connection as well. This one is for those who switch that off, or want the
/// system to notice earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepAlive {
    after: Duration,
    every: Option<Duration>,
    retries: Option<u32>,
}

impl TcpKeepAlive {
    /// The first probe follows when nothing came for so long, in whole seconds. From 1 s.
    pub const fn after(idle: Duration) -> Self {
        Self { after: idle, every: None, retries: None }
    }

    /// The time between probes, in whole seconds; else that of the system. Without effect on OpenBSD and the like, which
    /// cannot set it.
    #[must_use]
    pub const fn every(mut self, interval: Duration) -> Self {
        self.every = Some(interval);
        self
    }

    /// After so many probes without an answer the connection is dead; else the system decides.
    #[must_use]
    pub const fn retries(mut self, count: u32) -> Self {
        self.retries = Some(count);
        self
    }

    fn to_system(self) -> TcpKeepalive {
        let mut settings = TcpKeepalive::new().with_time(self.after);
        #[cfg(any(
            target_os = "linux",
            target_os = "android",
            target_vendor = "apple",
            windows,
            target_os = "freebsd"
        ))]
        {
            if let Some(every) = self.every {
                settings = settings.with_interval(every);
            }
            if let Some(retries) = self.retries {
                settings = settings.with_retries(retries);
            }
        }
        settings
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self { nodelay: true, keep_alive: None, stagger: STAGGER, local_address: None }
    }
}

impl Tcp {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// TCP_NODELAY: whether small packets leave at once. Default on. Messages are gathered before they are written, so
    /// that to switch it off saves nothing and costs up to 40 ms for each exchange.
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Probes of the system. Default `None`: as the system is configured.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Option<TcpKeepAlive>) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// How long an address has before the next one is tried beside it. Default 250 ms; an address that fails earlier
    /// makes room at once.
    #[must_use]
    pub fn stagger(mut self, pause: Duration) -> Self {
        self.stagger = pause;
        self
    }

    /// The address of this machine to connect from. Addresses of the other family are not tried then.
    #[must_use]
    pub fn local_address(mut self, address: Option<IpAddr>) -> Self {
        self.local_address = address;
        self
    }

    /// Connects to a host, which is a name or an address.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => match lookup_host((host, port)).await {
                Ok(addresses) => addresses.collect(),
                Err(source) => {
                    return Err(DialError::Resolve { host: host.to_owned(), source: source.into() });
                }
            },
        };
        let usable = |to: &SocketAddr| self.local_address.is_none_or(|from| from.is_ipv4() == to.is_ipv4());
        let addresses = by_turns(found.into_iter().filter(usable));
        if addresses.is_empty() {
            return Err(DialError::NoAddress { host: host.to_owned() });
        }
        let stream = staggered(&addresses, self.stagger, |address| self.connect(address)).await;
        // To the user it is the name that refuses.
        stream.map_err(|error| match error {
            DialError::Refused { .. } => DialError::Refused { address: format_address(host, port) },
            error => error,
        })
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = self.local_address {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        socket.set_nodelay(self.nodelay)?;
        if let Some(keep_alive) = self.keep_alive {
            SockRef::from(&socket).set_tcp_keepalive(&keep_alive.to_system())?;
        }
        socket.connect(address).await
    }
}

/// Host and port as in a URI.
pub(crate) fn format_address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The addresses in an order in which the families take turns, beginning with that which the system likes best.
fn by_turns(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.peekable();
    let Some(first) = addresses.peek().copied() else { return Vec::new() };
    let (same, other): (Vec<_>, Vec<_>) = addresses.partition(|next| next.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut ordered: Vec<SocketAddr> = Vec::new();
    loop {
        let (one, two) = (same.next(), other.next());
        if one.is_none() && two.is_none() {
            return ordered;
        }
        for address in [one, two].into_iter().flatten() {
            if ordered.len() < MAX_ADDRESSES && !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
}

/// Tries the addresses in their order, each one `stagger` after the one before, or once that one has failed. The first
/// that succeeds wins; the other attempts are dropped.
async fn staggered<'a, T, F>(
    addresses: &'a [SocketAddr],
    stagger: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, DialError>
where
    F: Future<Output = io::Result<T>> + Send + 'a,
{
    let mut waiting = addresses.iter().copied();
    let mut running: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut failure: Option<DialError> = None;
    let mut next_at = Box::pin(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut won = None;
            running.retain_mut(|(address, attempt)| match attempt.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(stream)) => {
                    won = won.take().or(Some(stream));
                    false
                }
                Poll::Ready(Err(error)) => {
                    let error = DialError::at(*address, error);
                    // A refusal is told only if there is nothing else to tell.
                    if !matches!((&failure, &error), (Some(_), DialError::Refused { .. }))
                        && !matches!(failure, Some(DialError::Unreachable { .. }))
                    {
                        failure = Some(error);
                    }
                    failed = true;
                    false
                }
            });
            if let Some(stream) = won {
                return Poll::Ready(Ok(stream));
            }
            if !failed && !running.is_empty() && next_at.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(address) => {
                    running.push((address, Box::pin(connect(address))));
                    next_at.as_mut().reset(Instant::now() + stagger.min(FAR));
                }
                None if running.is_empty() => {
                    let nothing = || DialError::NoAddress { host: String::new() };
                    return Poll::Ready(Err(failure.take().unwrap_or_else(nothing)));
                }
                // The running attempts have their wakers.
                None => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let order = |addresses: &[&str]| {
            let ordered = by_turns(addresses.iter().map(|text| address(text)));
            ordered.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let [a, b, x, y, z] = ["[::1]:1", "[::2]:1", "1.0.0.1:1", "2.0.0.1:1", "3.0.0.1:1"];
        assert_eq!(order(&[a, b, x, y, z]), [a, x, b, y, z]);
        assert_eq!(order(&[x, y, a]), [x, a, y]);
        assert_eq!(order(&[x, x, y, x]), [x, y], "the system gives one for each kind of socket");
        assert!(order(&[]).is_empty());
        let many = (0..1000).map(|n: u32| SocketAddr::new(IpAddr::V4(n.into()), 1));
        assert_eq!(by_turns(many).len(), MAX_ADDRESSES);
    }

    /// What an address does: after how many milliseconds it answers, and how.
    type Script = (&'static str, u64, Result<(), io::ErrorKind>);

    /// Dials the addresses, and says when each attempt began, which won, and how long it all took.
    async fn dial(script: &[Script]) -> (Vec<u64>, Result<SocketAddr, DialError>, u64) {
        let begin = Instant::now();
        let elapsed = || u64::try_from(begin.elapsed().as_millis()).unwrap();
        let began = Mutex::new(Vec::new());
        let addresses: Vec<_> = script.iter().map(|(text, ..)| address(text)).collect();
        let connect = |to: SocketAddr| {
            began.lock().unwrap().push(elapsed());
            let &(_, after, result) = script.iter().find(|(text, ..)| address(text) == to).unwrap();
            async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                result.map(|()| to).map_err(io::Error::from)
            }
        };
        let won = staggered(&addresses, STAGGER, connect).await;
        (began.into_inner().unwrap(), won, elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_wins() {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, TimedOut};
        let [a, b, c] = ["[::1]:1", "1.0.0.1:1", "[::2]:1"];

        let (began, won, took) = dial(&[(a, 100, Ok(())), (b, 0, Ok(()))]).await;
        assert_eq!((began, won.unwrap(), took), (vec![0], address(a), 100));
        // The first is slow, the second overtakes it.
        let (began, won, took) = dial(&[(a, 60_000, Ok(())), (b, 20, Ok(())), (c, 0, Ok(()))]).await;
        assert_eq!((began, won.unwrap()), (vec![0, 250], address(b)));
        assert!((270..=272).contains(&took), "{took}");
        // The second is slower: the first wins all the same.
        let (_, won, _) = dial(&[(a, 300, Ok(())), (b, 100, Ok(()))]).await;
        assert_eq!(won.unwrap(), address(a));
        // One that fails makes room at once.
        let (began, won, _) =
            dial(&[(a, 10, Err(ConnectionRefused)), (b, 10, Err(HostUnreachable)), (c, 10, Ok(()))]).await;
        assert_eq!(won.unwrap(), address(c));
        assert!(began[1] <= 12 && began[2] <= 24, "{began:?}");
        // Also beside one that is still trying.
        let (began, won, _) =
            dial(&[(a, 60_000, Ok(())), (b, 10, Err(ConnectionRefused)), (c, 10, Ok(()))]).await;
        assert_eq!(won.unwrap(), address(c));
        assert!(began[2] <= 264, "{began:?}");

        // What is told when all fail: the first that is not a refusal.
        let refused = dial(&[(a, 10, Err(ConnectionRefused)), (b, 10, Err(ConnectionRefused))]).await.1;
        assert!(matches!(refused, Err(DialError::Refused { address }) if address == a));
        for order in [[a, b, c], [b, a, c], [b, c, a]] {
            let script = order.map(|host| match host {
                "[::1]:1" => (host, 10, Err(ConnectionRefused)),
                "1.0.0.1:1" => (host, 10, Err(HostUnreachable)),
                _ => (host, 20, Err(TimedOut)),
            });
            let Err(DialError::Unreachable { address, source }) = dial(&script).await.1 else { panic!() };
            let first = order.into_iter().find(|host| *host != a).unwrap();
            assert_eq!((&*address, source.kind() == TimedOut), (first, first == c));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stagger_without_end_tries_one_after_the_other() {
        let begin = Instant::now();
        let addresses = ["[::1]:1", "1.0.0.1:1"].map(address);
        let connect = |to: SocketAddr| async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            if to.is_ipv6() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(to) }
        };
        let won = staggered(&addresses, Duration::MAX, connect).await;
        assert_eq!((won.unwrap(), begin.elapsed().as_secs()), (addresses[1], 7200));
    }

    #[tokio::test]
    async fn options_reach_the_socket() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let keep_alive =
            TcpKeepAlive::after(Duration::from_secs(30)).every(Duration::from_secs(5)).retries(3);
        let local = IpAddr::from([127, 0, 0, 1]);
        let tcp = Tcp::new().nodelay(false).keep_alive(Some(keep_alive)).local_address(Some(local));
        let stream = tcp.dial("127.0.0.1", port).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (Duration::from_secs(30), Duration::from_secs(5))
        );
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(stream.local_addr().unwrap().ip(), local);
        let stream = Tcp::new().dial("127.0.0.1", port).await.unwrap();
        assert!(SockRef::from(&stream).tcp_nodelay().unwrap());
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        // No address of the family that is left.
        let other = Tcp::new().local_address(Some(local)).dial("::1", port).await;
        assert!(matches!(other, Err(DialError::NoAddress { host }) if host == "::1"));
    }
}
