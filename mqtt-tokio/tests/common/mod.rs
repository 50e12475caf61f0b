//! What the tests of the adapter share: clients over in-memory streams.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mqtt_codec::{Direction, OwnedPacket, PacketType, TopicName};
use mqtt_tokio::testing::{Broker, BrokerOptions, Peer, TestBroker};
use mqtt_tokio::{Backoff, Builder, Client, ConnectionError, Connector, Options, PubSub, QoS};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).unwrap()
}

/// A client identifier, a kept Session, and pauses of at most 10 ms.
pub(crate) fn options() -> Options {
    Options::new("c")
        .clean_session(false)
        .backoff(Backoff::default().initial(Duration::from_millis(10)).max(Duration::from_millis(10)))
}

pub(crate) fn broker() -> Arc<TestBroker> {
    broker_with(BrokerOptions::new())
}

pub(crate) fn broker_with(options: BrokerOptions) -> Arc<TestBroker> {
    Arc::new(TestBroker::in_memory(Broker::with_options(options)))
}

/// Streams of the broker into which `buffer` bytes fit.
pub(crate) fn connector(broker: &Arc<TestBroker>, buffer: usize) -> Connector {
    let broker = Arc::clone(broker);
    Connector::new(move || std::future::ready(Ok(broker.duplex(buffer))))
}

pub(crate) fn builder(broker: &Arc<TestBroker>, buffer: usize, options: Options) -> Builder {
    Builder::with_connector(connector(broker, buffer), options)
}

pub(crate) async fn connect(broker: &Arc<TestBroker>, buffer: usize, options: Options) -> Client<PubSub> {
    builder(broker, buffer, options).connect().await.unwrap()
}

/// The other ends of what the client dials, one after the other.
pub(crate) fn peers(buffer: usize) -> (Connector, mpsc::UnboundedReceiver<Peer>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let connector = Connector::new(move || {
        let (stream, peer) = Peer::pair(buffer);
        let result = sender.send(peer).map(|()| stream).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        std::future::ready(result)
    });
    (connector, receiver)
}

/// A client with a peer that has accepted it.
pub(crate) async fn with_peer(
    buffer: usize,
    options: Options,
) -> (Client<PubSub>, Peer, mpsc::UnboundedReceiver<Peer>) {
    let (connector, mut peers) = peers(buffer);
    let connecting = tokio::spawn(Builder::with_connector(connector, options).connect());
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await.unwrap();
    (connecting.await.unwrap().unwrap(), peer, peers)
}

/// The same for a client of one's own making, with its driver.
pub(crate) async fn with_peer_of(
    builder: Builder,
    mut peers: mpsc::UnboundedReceiver<Peer>,
) -> (Client<PubSub>, JoinHandle<Result<(), ConnectionError>>, Peer) {
    let (client, driver) = builder.build().unwrap();
    let driver = tokio::spawn(driver);
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await.unwrap();
    client.connected().await.unwrap();
    (client, driver, peer)
}

/// The packets of one type that the broker got, in order.
pub(crate) fn received(broker: &TestBroker, packet_type: PacketType) -> Vec<OwnedPacket> {
    broker.with(|it| {
        it.log()
            .filter(|entry| entry.direction == Direction::ToServer)
            .map(|entry| entry.packet.clone())
            .filter(|packet| type_of(packet) == packet_type)
            .collect()
    })
}

pub(crate) fn type_of(packet: &OwnedPacket) -> PacketType {
    packet.as_packet().unwrap().packet_type()
}

pub(crate) fn count(broker: &TestBroker, packet_type: PacketType) -> u64 {
    broker.with(|it| it.counters().received(packet_type))
}

/// Lets everything happen that needs no waiting: a moment of the paused time.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Polls a future as long as it is pending, at most `polls` times, and lets the others run in between. It is dropped
/// afterwards.
pub(crate) async fn poll_times<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A transport whose writing can be broken, and that can be lazy about flushing.
pub(crate) struct Fragile {
    pub(crate) stream: DuplexStream,
    pub(crate) ills: Arc<Mutex<Ills>>,
    held: Vec<u8>,
    flushes: usize,
}

#[derive(Default)]
pub(crate) struct Ills {
    /// Writing fails.
    pub(crate) broken: bool,
    /// Bytes wait here until a flush is done, and each takes two polls.
    pub(crate) lazy: bool,
}

impl Fragile {
    pub(crate) fn new(stream: DuplexStream, ills: &Arc<Mutex<Ills>>) -> Self {
        Self { stream, ills: Arc::clone(ills), held: Vec::new(), flushes: 0 }
    }
}

impl AsyncRead for Fragile {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let (broken, lazy) = {
            let ills = this.ills.lock().unwrap();
            (ills.broken, ills.lazy)
        };
        if broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if lazy {
            this.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        this.flushes += 1;
        if this.flushes % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let held = std::mem::take(&mut this.held);
        // The tests give it room enough.
        match Pin::new(&mut this.stream).poll_write(cx, &held) {
            Poll::Ready(Ok(count)) => assert_eq!(count, held.len()),
            other => panic!("{other:?}"),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
