//! The wire between the clients and the broker: a TCP proxy that cuts the connection of each client twice, where it
//! hurts, and loses the packet that it was about to carry.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mqtt_client::bytes::{Bytes, BytesMut};
use mqtt_codec::{Decoded, Decoder, Direction, Packet, ProtocolVersion};

/// How often the wire of each client is cut: at its first PUBLISH with QoS 1, and at its first PUBREL.
pub(crate) const CUTS: usize = 2;

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
    thread::spawn(move || {
        // However it ends, the other side learns it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut frames = Frames::new(client.try_clone()?, version);
    let mut client_id = String::new();
    // An error of the reading side is the end of the client, however it left.
    while let Some(frame) = frames.next()? {
        let Decoded::Packet(packet, _) = frames.decoder.decode(&frame)? else { break };
        if let Packet::Connect(connect) = packet {
            client_id = connect.client_id.as_str().to_owned();
        }
        let mut cuts = cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = cuts.entry(client_id.clone()).or_default();
        let is_due = match packet {
            Packet::Publish(publish) => *cut == 0 && publish.delivery.id().is_some(),
            Packet::Pubrel { .. } => *cut == 1,
            _ => false,
        };
        if is_due {
            *cut += 1;
            seen.send(Seen::Cut)?;
            break;
        }
        drop(cuts);
        broker.write_all(&frame)?;
        if matches!(packet, Packet::Disconnect) {
            seen.send(Seen::Disconnect)?;
        }
    }
    Ok(broker.shutdown(Shutdown::Both)?)
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
