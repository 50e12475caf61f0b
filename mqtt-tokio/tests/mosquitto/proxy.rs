//! A wire that breaks again and again: a TCP proxy that cuts each connection after a random number of bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// How many bytes a connection lasts, both directions together. At least some messages get through with each.
const BYTES: Range<usize> = 2_000..20_000;

/// A slow wire: so much at a time, and a pause. A broker sends all that is in flight at once when a client is back; over
/// a fast wire each connection would end before the broker has seen an acknowledgement.
const PIECE: usize = 512;
const PAUSE: Duration = Duration::from_millis(1);

/// The proxy; it and its connections end when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    cuts: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `port`.
    pub(crate) async fn start(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, port, fastrand::Rng::with_seed(seed), Arc::clone(&cuts)));
        Self { port: own, cuts, task }
    }

    pub(crate) fn uri(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, mut random: fastrand::Rng, cuts: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let bytes = random.usize(BYTES);
        let cuts = Arc::clone(&cuts);
        connections.spawn(async move {
            if pass(client, port, bytes).await.is_ok_and(|is_cut| is_cut) {
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on `bytes` bytes, in whatever direction they go; whether it was that what ended it.
async fn pass(mut client: TcpStream, port: u16, bytes: usize) -> io::Result<bool> {
    let mut broker = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let left = AtomicUsize::new(bytes);
    let (from_client, to_client) = client.split();
    let (from_broker, to_broker) = broker.split();
    // Whichever ends first, for whatever reason, ends both.
    tokio::select! {
        cut = copy(from_client, to_broker, &left) => cut,
        cut = copy(from_broker, to_client, &left) => cut,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    left: &AtomicUsize,
) -> io::Result<bool> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await?;
        // Both directions are polled by one task: nothing comes in between.
        let allowed = left.load(Ordering::Relaxed);
        left.store(allowed.saturating_sub(read), Ordering::Relaxed);
        to.write_all(&buffer[..read.min(allowed)]).await?;
        if read == 0 || read >= allowed {
            return Ok(read > 0);
        }
        sleep(PAUSE).await;
    }
}
