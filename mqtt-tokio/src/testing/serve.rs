//! Carries bytes between a broker and the stream of one connection.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

use super::{Broker, CloseReason, ConnectionId};

/// How many bytes are read at once.
const READ_LEN: usize = 16 << 10;
/// How long a connection that ended is still read, so that the client gets what was sent before.
const LINGER: Duration = Duration::from_secs(1);

/// A broker that several connections share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    origin: Instant,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    wakers: HashMap<ConnectionId, Arc<Notify>>,
}

impl Shared {
    pub(super) fn new(broker: Broker) -> Arc<Self> {
        let state = Mutex::new(State { broker, wakers: HashMap::new() });
        Arc::new(Self { state, origin: Instant::now() })
    }

    /// Tells the broker the time, calls `call`, and wakes the connections that it concerns.
    pub(super) fn with<T>(&self, call: impl FnOnce(&mut Broker) -> T) -> T {
        let mut state = self.lock();
        let State { broker, wakers } = &mut *state;
        broker.handle_time(self.origin.elapsed());
        let result = call(broker);
        while let Some(id) = broker.poll_ready() {
            if let Some(waker) = wakers.get(&id) {
                waker.notify_one();
            }
        }
        result
    }

    fn open(self: &Arc<Self>) -> Served {
        let id = self.with(Broker::connect_transport);
        let wake = Arc::new(Notify::new());
        self.lock().wakers.insert(id, Arc::clone(&wake));
        Served { shared: Arc::clone(self), id, wake }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test whose assertion failed within `with` must not take the others down.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection; the broker learns of its end however its task ends.
struct Served {
    shared: Arc<Shared>,
    id: ConnectionId,
    wake: Arc<Notify>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shared.with(|broker| broker.transport_closed(self.id));
        self.shared.lock().wakers.remove(&self.id);
    }
}

/// What is to be done next for a connection.
struct Turn {
    closed: bool,
    /// Closed, and what is left to be written is lost.
    reset: bool,
    reads: bool,
    timeout: Option<Duration>,
}

/// Serves `stream` until either side ends the connection. `reset` makes closing the stream a reset.
pub(super) async fn serve<S>(shared: Arc<Shared>, stream: S, reset: fn(&S))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let served = shared.open();
    let ended = run(&served, &mut reader, &mut writer).await;
    let reason = shared.with(|broker| broker.close_reason(served.id));
    drop(served);
    if ended.is_ok() && reason == Some(CloseReason::Reset) {
        reset(&reader.unsplit(writer));
    } else if ended.is_ok() {
        // How it ends makes no difference any more.
        let _ = timeout(LINGER, linger(&mut reader, &mut writer)).await;
    }
}

/// Returns when the broker has ended the connection and all is written.
async fn run<S>(served: &Served, reader: &mut ReadHalf<S>, writer: &mut WriteHalf<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let Served { shared, id, wake } = served;
    let mut input = BytesMut::with_capacity(READ_LEN);
    let mut output = Bytes::new();
    let mut flushed = true;
    loop {
        let turn = shared.with(|broker| {
            if output.is_empty() {
                output = broker.take_output(*id);
            }
            let closed = broker.is_closed(*id);
            let reset = closed && broker.close_reason(*id) == Some(CloseReason::Reset);
            Turn { closed, reset, reads: broker.wants_input(*id), timeout: broker.timeout(*id) }
        });
        if turn.reset || (turn.closed && output.is_empty() && flushed) {
            return Ok(());
        }
        let deadline = shared.origin + turn.timeout.unwrap_or_default();
        tokio::select! {
            read = reader.read_buf(&mut input), if turn.reads => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                shared.with(|broker| broker.handle_input(*id, &input));
                input.clear();
            }
            written = write(writer, &mut output, &mut flushed), if !output.is_empty() || !flushed => written?,
            () = wake.notified(), if !turn.closed => {}
            () = sleep_until(deadline), if turn.timeout.is_some() => {}
        }
    }
}

/// Writes some of `output`, or flushes when there is none. Cancel safe.
async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    output: &mut Bytes,
    flushed: &mut bool,
) -> io::Result<()> {
    if output.is_empty() {
        writer.flush().await?;
        *flushed = true;
    } else if writer.write_buf(output).await? == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    } else {
        *flushed = false;
    }
    Ok(())
}

/// Ends the stream, and reads it to its end: closing it unread could destroy what is still on its way.
async fn linger<R, W>(reader: &mut R, writer: &mut W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut rest = [0; 1024];
    if writer.shutdown().await.is_ok() {
        while reader.read(&mut rest).await.is_ok_and(|len| len > 0) {}
    }
}
