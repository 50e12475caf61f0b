//! The wire between the client and the broker: a TCP proxy that shows each packet and can be cut.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use mqtt_codec::{Delivery, Direction, OwnedPacket, OwnedPublish, PacketId, PacketType, ProtocolVersion};
use mqtt_tokio::{CodecError, PacketCodec};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::codec::Framed;

/// The packet that is lost next, together with the connection: its type, and who should have got it.
pub(crate) type Cut = (PacketType, Direction);

pub(crate) struct Wire {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    broker: String,
    version: ProtocolVersion,
    next_cut: Mutex<Option<Cut>>,
    cuts: AtomicU64,
    packets: AtomicU64,
    silent: AtomicBool,
    start: Instant,
}

impl Wire {
    /// A wire to the broker at `broker` (host and port). Clients connect to [`addr`](Self::addr) instead.
    pub(crate) async fn new(broker: String, version: ProtocolVersion) -> io::Result<Self> {
        // Tells at once if nobody listens there.
        drop(dial(&broker).await?);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            broker,
            version,
            next_cut: Mutex::new(None),
            cuts: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            start: Instant::now(),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts the connection at the next such packet, and loses the packet.
    pub(crate) fn cut_at(&self, cut: Cut) {
        *self.shared.next_cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
    }

    /// Whether a cut is still to come.
    pub(crate) fn is_cut_due(&self) -> bool {
        self.shared.next_cut.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// How often the wire was cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// How many packets went through.
    pub(crate) fn packets(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }

    /// Shows packets no longer.
    pub(crate) fn be_silent(&self) {
        self.shared.silent.store(true, Ordering::Relaxed);
    }

    /// Prints a line with the time in front.
    pub(crate) fn say(&self, line: &str) {
        self.shared.say(line);
    }
}

impl Shared {
    fn say(&self, line: &str) {
        println!("{:8.3} s  {line}", self.start.elapsed().as_secs_f64());
    }

    /// Shows a packet on its way; false if the wire is cut here.
    fn lets_through(&self, packet: &OwnedPacket, toward: Direction) -> bool {
        let packet_type = packet.as_packet().map(|packet| packet.packet_type()).ok();
        let mut next = self.next_cut.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = packet_type.is_some() && packet_type == next.map(|(lost, _)| lost);
        let cut = cut && next.is_some_and(|(_, lost_toward)| lost_toward == toward);
        self.packets.fetch_add(1, Ordering::Relaxed);
        if cut {
            *next = None;
            self.cuts.fetch_add(1, Ordering::Relaxed);
        }
        if !self.silent.load(Ordering::Relaxed) {
            let arrow = match (toward, cut) {
                (Direction::ToServer, false) => "client --> broker ",
                (Direction::ToServer, true) => "client --X        ",
                (Direction::ToClient, false) => "client <-- broker ",
                (Direction::ToClient, true) => "       X-- broker ",
            };
            let fate = if cut { "   LOST: the wire is cut here" } else { "" };
            self.say(&format!("{arrow} {}{fate}", describe(packet)));
        }
        !cut
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // Too many open files, or a client that is gone already: later it may work.
            Err(error) => {
                shared.say(&format!("wire: cannot accept: {error}"));
                sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A broker that is away, and an end of either side, are both the end of the client's connection.
            match dial(&shared.broker).await {
                Ok(broker) => {
                    let _ = relay(&shared, client, broker).await;
                }
                Err(error) => shared.say(&format!("wire: no broker: {error}")),
            }
        });
    }
}

/// Connects to the broker. To a port of this machine where nobody listens, TCP may connect a socket to itself; that
/// would also keep the port from the broker that is about to use it again.
async fn dial(broker: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(broker).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody but ourselves is there"));
    }
    Ok(stream)
}

/// Carries packets both ways until one side closes or the wire is cut.
async fn relay(shared: &Shared, client: TcpStream, broker: TcpStream) -> Result<(), CodecError> {
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let mut client = Framed::new(client, PacketCodec::new(shared.version, Direction::ToServer));
    let mut broker = Framed::new(broker, PacketCodec::new(shared.version, Direction::ToClient));
    loop {
        let (packet, toward) = tokio::select! {
            packet = client.next() => (packet, Direction::ToServer),
            packet = broker.next() => (packet, Direction::ToClient),
        };
        let Some(packet) = packet.transpose()? else { return Ok(()) };
        if !shared.lets_through(&packet, toward) {
            return Ok(());
        }
        match toward {
            Direction::ToServer => broker.send(packet).await?,
            Direction::ToClient => client.send(packet).await?,
        }
    }
}

/// A packet in a few words.
fn describe(packet: &OwnedPacket) -> String {
    match packet {
        OwnedPacket::Connect(connect) if connect.clean_session => "CONNECT   clean session".to_owned(),
        OwnedPacket::Connect(_) => "CONNECT   continue my session".to_owned(),
        OwnedPacket::Connack(connack) if connack.session_present => "CONNACK   session present".to_owned(),
        OwnedPacket::Connack(connack) => format!("CONNACK   code {}", connack.code.as_u8()),
        OwnedPacket::Publish(publish) => describe_publish(publish),
        OwnedPacket::Puback(id) => format!("PUBACK    id {id}"),
        OwnedPacket::Pubrec(id) => format!("PUBREC    id {id}"),
        OwnedPacket::Pubrel { id, .. } => format!("PUBREL    id {id}"),
        OwnedPacket::Pubcomp(id) => format!("PUBCOMP   id {id}"),
        OwnedPacket::Subscribe { filters, .. } => {
            let filters: Vec<_> = filters.iter().map(|(filter, _)| filter.to_string()).collect();
            format!("SUBSCRIBE {}", filters.join(", "))
        }
        OwnedPacket::Suback { .. } => "SUBACK".to_owned(),
        OwnedPacket::Unsubscribe { .. } => "UNSUBSCRIBE".to_owned(),
        OwnedPacket::Unsuback(_) => "UNSUBACK".to_owned(),
        OwnedPacket::Pingreq => "PINGREQ".to_owned(),
        OwnedPacket::Pingresp => "PINGRESP".to_owned(),
        OwnedPacket::Disconnect => "DISCONNECT".to_owned(),
    }
}

fn describe_publish(publish: &OwnedPublish) -> String {
    let text = String::from_utf8_lossy(&publish.payload);
    match publish.delivery {
        Delivery::AtMostOnce => format!("PUBLISH   QoS 0, {text:?}"),
        delivery => {
            let id = delivery.id().map_or(0, PacketId::get);
            let again = if delivery.dup() { ", DUP (sent before)" } else { "" };
            format!("PUBLISH   QoS {}, id {id}{again}, {text:?}", delivery.qos() as u8)
        }
    }
}
