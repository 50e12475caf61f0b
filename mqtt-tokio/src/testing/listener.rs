use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::{
    Broker,
    serve::{Shared, serve},
};
use crate::transport::Connector;

/// Whether a broker that [starts again](TestBroker::restart) remembers its Sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sessions {
    /// All persistent Sessions are there, as in a broker with a store.
    Keep,
    /// No Session is there, as in a broker without one. Retained messages are.
    Lose,
}

/// A [`Broker`] that serves a loopback TCP port, in-memory streams, or both. **For tests only.**
///
/// Dropping it ends all its connections and tasks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mqtt_tokio::testing::PeerError> {
/// use mqtt_tokio::testing::{Faults, Peer, TestBroker};
///
/// let broker = TestBroker::start().await?;
/// println!("a client may connect to {}", broker.uri());
///
/// broker.with(|it| it.set_faults(Faults::none().close_before_connack(1)));
/// let mut client = Peer::client(broker.duplex(64));
/// client.send_raw(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a").await?;
/// client.expect_closed().await?;
/// assert_eq!(broker.with(|it| it.counters().faults), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestBroker {
    shared: Arc<Shared>,
    addr: SocketAddr,
    /// Connectors know it too, and keep nothing alive.
    running: Arc<Mutex<Option<Running>>>,
}

/// The tasks of a broker that was not stopped.
#[derive(Debug)]
struct Running {
    acceptor: Option<JoinHandle<()>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl TestBroker {
    /// Starts a broker with the default options on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the operating system says against it.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Broker::new()).await
    }

    /// Starts `broker` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the operating system says against it.
    pub async fn start_with(broker: Broker) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Shared::new(broker);
        let running = Arc::new(Mutex::new(Some(Running::new(&shared, Some(listener)))));
        Ok(Self { shared, addr, running })
    }

    /// Starts `broker` without a port: for [`duplex`](Self::duplex) and [`serve`](Self::serve) alone.
    ///
    /// [`addr`](Self::addr) then has port 0, where nobody listens. May be called outside of a runtime.
    #[must_use]
    pub fn in_memory(broker: Broker) -> Self {
        let shared = Shared::new(broker);
        let running = Arc::new(Mutex::new(Some(Running::new(&shared, None))));
        Self { shared, addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), running }
    }

    /// Returns the address that the broker listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address as a URI, such as `mqtt://127.0.0.1:40001`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("mqtt://{}", self.addr)
    }

    /// Calls `call` with the broker, for all its hooks and all that can be seen of it.
    ///
    /// The connections wait meanwhile. `call` must not use this `TestBroker`: that would never end.
    pub fn with<T>(&self, call: impl FnOnce(&mut Broker) -> T) -> T {
        self.shared.with(call)
    }

    /// Connects a stream in memory and returns the client's end; `buffer_len` bytes fit into each direction.
    ///
    /// Of a broker that is stopped, the stream is at its end at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn duplex(&self, buffer_len: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(buffer_len);
        self.serve(server);
        client
    }

    /// A [`Connector`] whose transports are streams in memory, each with room for `buffer_len` bytes in each direction:
    /// for a client that reconnects to this broker without a network, in paused time too.
    ///
    /// While the broker is [stopped](Self::stop), and when it is dropped, connections are refused.
    ///
    /// ```
    /// use mqtt_tokio::testing::{Broker, Sessions, TestBroker};
    /// use mqtt_tokio::{Builder, Client, Options, Publisher, QoS};
    /// use std::time::Duration;
    ///
    /// #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let broker = TestBroker::in_memory(Broker::new());
    ///     let builder = Builder::with_connector(broker.connector(4096), Options::new("under-test"));
    ///     let client: Client<Publisher> = builder.connect().await?;
    ///
    ///     broker.stop().await;
    ///     let publish = client.publish("state", "on").qos(QoS::AtLeastOnce).receipt().await?;
    ///     tokio::time::sleep(Duration::from_secs(3600)).await; // at once, since time is paused
    ///     broker.restart(Sessions::Lose).await?;
    ///     publish.await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn connector(&self, buffer_len: usize) -> Connector {
        let (shared, running) = (Arc::clone(&self.shared), Arc::downgrade(&self.running));
        Connector::new(move || {
            let running = running.upgrade();
            let tasks = running.and_then(|it| lock(&it).as_ref().map(|it| Arc::clone(&it.connections)));
            let stream = tasks.map(|tasks| {
                let (client, server) = tokio::io::duplex(buffer_len);
                spawn(&tasks, serve(Arc::clone(&shared), server, |_| ()));
                client
            });
            std::future::ready(stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
        })
    }

    /// Serves a client at the other end of `stream`: a TLS session, a WebSocket, or what else carries bytes.
    ///
    /// A broker that is stopped drops it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(running) = &*lock(&self.running) {
            spawn(&running.connections, serve(Arc::clone(&self.shared), stream, |_| ()));
        }
    }

    /// Cuts all connections; clients may connect again at once.
    pub fn cut_all(&self) {
        self.with(Broker::cut_all);
    }

    /// Returns whether the broker was not stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        lock(&self.running).is_some()
    }

    /// Stops listening and cuts all connections; the broker itself keeps all it knows.
    pub async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some(running) = running {
            running.stop().await;
        }
    }

    /// Stops, and starts again on the same port.
    ///
    /// # Errors
    /// What the operating system says against it; the broker is stopped then, and this can be tried again.
    pub async fn restart(&self, sessions: Sessions) -> io::Result<()> {
        self.stop().await;
        if sessions == Sessions::Lose {
            self.with(Broker::forget_sessions);
        }
        let listener = if self.addr.port() == 0 { None } else { Some(TcpListener::bind(self.addr).await?) };
        let running = Running::new(&self.shared, listener);
        // Another call may have been faster; what it started ends when it is dropped.
        let _ = lock(&self.running).replace(running);
        Ok(())
    }
}

impl Running {
    fn new(shared: &Arc<Shared>, listener: Option<TcpListener>) -> Self {
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let accept = |listener| tokio::spawn(accept(Arc::clone(shared), listener, Arc::clone(&connections)));
        let acceptor = listener.map(accept);
        Self { acceptor, connections }
    }

    /// Returns when nothing of it runs any more.
    async fn stop(mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.abort();
            // It was cancelled, which is what the result says.
            let _ = acceptor.await;
        }
        let mut connections = std::mem::take(&mut *lock(&self.connections));
        connections.shutdown().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.abort();
        }
        lock(&self.connections).abort_all();
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, connections: Arc<Mutex<JoinSet<()>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it the broker works too, more slowly.
                let _ = stream.set_nodelay(true);
                spawn(&connections, serve(Arc::clone(&shared), stream, reset));
            }
            // Too many open files, or a client that is gone already: later it may work.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[allow(
    deprecated,
    reason = "what replaces it is newer than the tokio that this crate asks for; 0 never blocks"
)]
fn reset(stream: &TcpStream) {
    // Without it the client sees an end instead of a reset.
    let _ = stream.set_linger(Some(Duration::ZERO));
}

fn spawn(tasks: &Mutex<JoinSet<()>>, task: impl Future<Output = ()> + Send + 'static) {
    let mut tasks = lock(tasks);
    while tasks.try_join_next().is_some() {}
    tasks.spawn(task);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
