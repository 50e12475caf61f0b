//! A wire that goes bad again and again: a TCP proxy whose connections are slow, stall and end as planned.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mqtt_codec::{Direction, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::plan::{Close, End, Pace, Plan, Plans};
use crate::witness::{Tap, Witness};

/// How long a connection stays open that nobody reads, and how long an end is waited for that should come: longer than
/// the deadlines of the clients.
const HELD: Duration = Duration::from_secs(5);

/// The proxy; it and its connections end when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    /// The port of the server.
    server: u16,
    version: ProtocolVersion,
    record: Record,
    witness: Witness,
}

/// What has gone wrong until now.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) connections: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) half_opens: AtomicU64,
    pub(crate) one_ways: AtomicU64,
    pub(crate) stalls: AtomicU64,
}

impl Proxy {
    /// Listens on a free port and passes everything on to the port `server`.
    pub(crate) async fn start(server: u16, version: ProtocolVersion, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (record, witness) = (Record::default(), Witness::default());
        let shared = Arc::new(Shared { server, version, record, witness });
        let task = tokio::spawn(accept(listener, Plans::new(seed), Arc::clone(&shared)));
        Self { port, shared, task }
    }

    pub(crate) fn uri(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub(crate) fn record(&self) -> &Record {
        &self.shared.record
    }

    pub(crate) fn witness(&self) -> &Witness {
        &self.shared.witness
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Record {
    fn count(&self, end: End) {
        let counter = match end {
            End::Cut { .. } => &self.cuts,
            End::HalfOpen { .. } => &self.half_opens,
            End::OneWay(_) => &self.one_ways,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [connections, cuts, half_opens, one_ways, stalls] =
            [&self.connections, &self.cuts, &self.half_opens, &self.one_ways, &self.stalls]
                .map(|counter| counter.load(Ordering::Relaxed));
        write!(
            f,
            "{connections} connections, {cuts} cut, {half_opens} half open, {one_ways} one way, {stalls} stalls"
        )
    }
}

async fn accept(listener: TcpListener, mut plans: Plans, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("the proxy accepts");
        let (plan, shared) = (plans.next(), Arc::clone(&shared));
        shared.record.connections.fetch_add(1, Ordering::Relaxed);
        // How a connection ends otherwise, an end or a failure of either side, is the end of both.
        connections.spawn(async move { pass(client, plan, &shared).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, plan: Plan, shared: &Shared) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let left = AtomicUsize::new(plan.bytes);
    let record = &shared.record;
    let wire = Wire { left: &left, end: plan.end, record };
    let tap = shared.witness.tap(shared.version);
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // An error is an end like another.
        let _ = tokio::select! {
            ended = wire.carry(from_client, to_server, plan.to_server, Direction::ToServer, None) => ended,
            ended = wire.carry(from_server, to_client, plan.to_client, Direction::ToClient, Some(tap)) => ended,
        };
    }
    if left.into_inner() > 0 {
        return Ok(());
    }
    record.count(plan.end);
    match plan.end {
        End::Cut { client: how, server: and_how } => {
            tokio::join!(close(client, how), close(server, and_how));
        }
        End::HalfOpen { is_read } => {
            drop(server);
            if is_read {
                copy(&mut client, &mut sink()).await?;
            } else {
                sleep(HELD).await;
            }
        }
        End::OneWay(_) => {}
    }
    Ok(())
}

/// What both directions of a connection share.
struct Wire<'p> {
    /// How many bytes it still lasts.
    left: &'p AtomicUsize,
    end: End,
    record: &'p Record,
}

impl Wire<'_> {
    /// Carries bytes in one direction until the connection is used up, or the sender closes.
    async fn carry(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut pace: Pace,
        direction: Direction,
        mut tap: Option<Tap<'_>>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; pace.max_piece];
        let mut pieces = 0;
        loop {
            let max = pace.random.usize(1..=pace.max_piece);
            let read = from.read(&mut buffer[..max]).await?;
            // Both directions are polled by one task: nothing comes in between.
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.saturating_sub(read), Ordering::Relaxed);
            let goes_on = self.end == End::OneWay(direction);
            let passed = &buffer[..if goes_on { read } else { read.min(left) }];
            if let Some(tap) = &mut tap {
                tap.see(passed);
            }
            to.write_all(passed).await?;
            if read == 0 || (read >= left && !matches!(self.end, End::OneWay(_))) {
                return Ok(());
            }
            pieces += 1;
            if pieces % pace.pieces_per_pause == 0 {
                sleep(Duration::from_millis(1)).await;
            } else {
                yield_now().await;
            }
            pace.stall = match pace.stall {
                Some((bytes, lasts)) if bytes > read => Some((bytes - read, lasts)),
                Some((_, lasts)) => {
                    self.record.stalls.fetch_add(1, Ordering::Relaxed);
                    sleep(lasts).await;
                    None
                }
                None => None,
            };
        }
    }
}

async fn close(mut stream: TcpStream, how: Close) {
    match how {
        Close::Reset => stream.set_zero_linger().expect("a socket has SO_LINGER"),
        // To close with bytes unread would be a reset.
        Close::Fin => {
            if stream.shutdown().await.is_ok() {
                let _ = timeout(HELD, copy(&mut stream, &mut sink())).await;
            }
        }
    }
}
