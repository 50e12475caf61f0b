//! The wire between the clients and the broker: a TCP proxy that cuts the connection of each client where it hurts.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mqtt_client::bytes::{Bytes, BytesMut};
use mqtt_codec::{Decoded, Decoder, Direction, Packet, ProtocolVersion, Publish, QoS};

/// How often the wire of each client is cut.
pub(crate) const CUTS: usize = 4;

/// Whether the wire of a client that was cut `cuts` times is cut now, and if so, whether this packet still arrives. Its
/// answer never does.
fn is_cut(cuts: usize, packet: Packet<'_>) -> Option<bool> {
    let qos = |publish: Publish<'_>| publish.delivery.qos();
    match (cuts, packet) {
        // It is sent again. A broker that does not know its identifier any more doubles it.
        (0, Packet::Publish(publish)) if qos(publish) == QoS::ExactlyOnce => Some(true),
        // The broker has a message for a client that is away. One that keeps no Session has lost it.
        (1, Packet::Pubrel { .. }) => Some(true),
        // The broker sends its message again. A client that does not know its identifier any more doubles it.
        (2, Packet::Pubrec(_)) => Some(false),
        // A client that does not send it again has lost it.
        (3, Packet::Publish(publish)) if qos(publish) == QoS::AtLeastOnce => Some(false),
        _ => None,
    }
}

/// What happened on the wire.
pub(crate) enum Seen {
    Cut,
    Disconnect,
}

/// How often the wire of each client was cut.
type Cuts = Arc<Mutex<HashMap<String, usize>>>;

/// A wire to the broker; clients connect to the address that it returns.
pub(crate) fn start(broker: String, version: ProtocolVersion) -> io::Result<(SocketAddr, Receiver<Seen>)> {
    // Tells at once if nobody listens there.
    drop(TcpStream::connect(&broker)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (seen, receiver) = channel();
    thread::spawn(move || {
        let cuts = Cuts::default();
        for client in listener.incoming().flatten() {
            let (broker, cuts, seen) = (broker.clone(), Arc::clone(&cuts), seen.clone());
            thread::spawn(move || {
                if let Err(error) = relay(&client, &broker, version, &cuts, &seen) {
                    println!("wire: {error}");
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    Ok((address, receiver))
}

/// Carries packets to the broker, and whatever comes back, until one side closes or the wire is cut.
fn relay(
    client: &TcpStream,
    broker: &str,
    version: ProtocolVersion,
    cuts: &Cuts,
    seen: &Sender<Seen>,
) -> Result<(), Box<dyn Error>> {
    let mut broker = TcpStream::connect(broker)?;
    let (mut from, mut to) = (broker.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        // However it ends, the other side learns it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        // After a cut the broker can say the rest, but nobody listens.
        let _ = io::copy(&mut from, &mut io::sink());
    });
    let mut frames = Frames::new(client.try_clone()?, version);
    let mut client_id = String::new();
    // An error of the reading side is the end of the client, however it left.
    while let Some(frame) = frames.next()? {
        let Decoded::Packet(packet, _) = frames.decoder.decode(&frame)? else { break };
        if let Packet::Connect(connect) = packet {
            client_id = connect.client_id.as_str().to_owned();
        }
        let cut = {
            let mut cuts = cuts.lock().unwrap_or_else(PoisonError::into_inner);
            let cuts = cuts.entry(client_id.clone()).or_default();
            let cut = is_cut(*cuts, packet);
            *cuts += usize::from(cut.is_some());
            cut
        };
        if cut.is_some() {
            // Before the broker can answer.
            client.shutdown(Shutdown::Both)?;
            seen.send(Seen::Cut)?;
        }
        if cut != Some(false) {
            broker.write_all(&frame)?;
        }
        if cut.is_some() {
            break;
        }
        if matches!(packet, Packet::Disconnect) {
            seen.send(Seen::Disconnect)?;
        }
    }
    broker.shutdown(Shutdown::Write)?;
    let _ = back.join();
    Ok(())
}

/// The packets of a client, each as its bytes.
pub(crate) struct Frames {
    stream: TcpStream,
    pub(crate) decoder: Decoder,
    buffer: BytesMut,
}

impl Frames {
    pub(crate) fn new(stream: TcpStream, version: ProtocolVersion) -> Self {
        Self { stream, decoder: Self::decoder(version), buffer: BytesMut::new() }
    }

    pub(crate) fn decoder(version: ProtocolVersion) -> Decoder {
        Decoder::new(version, Direction::ToServer).max_packet_size(64 * 1024)
    }

    /// The next packet, whole and legal, or `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Box<dyn Error>> {
        loop {
            match self.decoder.decode(&self.buffer)? {
                Decoded::Packet(_, len) => return Ok(Some(self.buffer.split_to(len).freeze())),
                Decoded::Incomplete { .. } => {}
                Decoded::Oversize(packet) => return Err(format!("a packet of {} bytes", packet.len).into()),
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                // Whoever closes with bytes unread resets the connection.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                read => self.buffer.extend_from_slice(&chunk[..read?]),
            }
        }
    }
}
