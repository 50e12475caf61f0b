use std::io;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, ConnectReturnCode, DecodeError, Decoded, Decoder, Delivery, Direction, ListError, OwnedConnect,
    OwnedPacket, PacketTooLarge, ProtocolVersion, SubackCode,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::transport::Connector;

/// The longest packet that a peer takes.
const MAX_PACKET_SIZE: usize = 16 << 20;

/// How many connections may wait to be taken.
const BACKLOG: usize = 16;

/// What went otherwise than a test expected of the other side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The stream ended; so many bytes of a packet had come.
    #[error("the stream ended, with {0} bytes of a packet")]
    Closed(usize),
    /// The bytes that came are no packet.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A packet came that is not the expected one.
    #[error("unexpected packet: {0:?}")]
    Unexpected(Box<OwnedPacket>),
    /// A packet came that is longer than 16 MiB.
    #[error("a packet of {0} bytes came")]
    Oversize(usize),
    /// A packet cannot be sent since its list of filters or codes is empty or too long.
    #[error(transparent)]
    List(#[from] ListError),
    /// A packet cannot be sent since it is too large.
    #[error(transparent)]
    TooLarge(#[from] PacketTooLarge),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One scripted end of a connection: it sends and receives packet by packet, as the test says.
///
/// As the server's end it answers a client under test; as the client's end it tests a server. It does nothing by
/// itself, has no clock, and works under tokio's paused time. Every method that waits is cancel safe but those
/// that send: of what they send, a part may have gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mqtt_tokio::testing::PeerError> {
/// use mqtt_codec::OwnedPacket;
/// use mqtt_tokio::testing::Peer;
///
/// let (stream, mut peer) = Peer::pair(1024);
/// // Hand `stream` to the client under test; here another peer plays it.
/// let mut client = Peer::client(stream);
/// client.send_raw(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a").await?;
///
/// assert_eq!(peer.accept().await?.client_id.as_str(), "a");
/// client.expect(|it| matches!(it, OwnedPacket::Connack(_))).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Peer<S = DuplexStream> {
    stream: S,
    version: ProtocolVersion,
    receives: Direction,
    input: BytesMut,
}

impl Peer {
    /// A [`Connector`] whose transports are streams in memory, and the other ends of what the client dials with it, in
    /// order. `buffer_len` bytes fit into each direction.
    ///
    /// While 16 of them wait to be taken, and when the [`Peers`] are dropped, connections are refused.
    #[must_use]
    pub fn listen(buffer_len: usize) -> (Connector, Peers) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let connector = Connector::new(move || {
            let (stream, peer) = Self::pair(buffer_len);
            let dialled = sender.try_send(peer).map(|()| stream);
            std::future::ready(dialled.map_err(|_| io::ErrorKind::ConnectionRefused.into()))
        });
        (connector, Peers(receiver))
    }

    /// Makes a stream in memory for the client, and the server's end of it; `buffer_len` bytes fit into each
    /// direction.
    #[must_use]
    pub fn pair(buffer_len: usize) -> (DuplexStream, Self) {
        let (client, server) = tokio::io::duplex(buffer_len);
        (client, Self::server(server))
    }
}

/// The server's ends of the connections that a client makes: see [`Peer::listen`].
#[derive(Debug)]
pub struct Peers(mpsc::Receiver<Peer>);

impl Peers {
    /// Waits for the next connection. Its CONNECT is still to be taken, by [`Peer::accept`]. Cancel-safe.
    ///
    /// # Errors
    /// [`PeerError::Closed`]: the client that dialled is gone.
    pub async fn next(&mut self) -> Result<Peer, PeerError> {
        self.0.recv().await.ok_or(PeerError::Closed(0))
    }
}

impl<S> Peer<S> {
    /// Makes the server's end of a stream. It speaks the version of the CONNECT that comes.
    pub fn server(stream: S) -> Self {
        Self::new(stream, ProtocolVersion::V3_1_1, Direction::ToServer)
    }

    /// Makes the client's end of a stream. It speaks the version of the CONNECT that it sends with
    /// [`send`](Self::send), before that 3.1.1.
    pub fn client(stream: S) -> Self {
        Self::new(stream, ProtocolVersion::V3_1_1, Direction::ToClient)
    }

    /// Sets the version that it speaks, for when no CONNECT says it.
    pub fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// Returns the stream; bytes that were received and not taken are lost.
    pub fn into_inner(self) -> S {
        self.stream
    }

    fn new(stream: S, version: ProtocolVersion, receives: Direction) -> Self {
        Self { stream, version, receives, input: BytesMut::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Receives the next packet.
    ///
    /// # Errors
    /// [`PeerError::Closed`] at the end of the stream, [`PeerError::Malformed`] and [`PeerError::Oversize`] for
    /// what is no packet, [`PeerError::Io`].
    pub async fn recv(&mut self) -> Result<OwnedPacket, PeerError> {
        let mut needed = 1;
        loop {
            if self.input.len() >= needed {
                match self.decode()? {
                    Ok(packet) => return Ok(packet),
                    Err(more) => needed = more,
                }
            } else if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(PeerError::Closed(self.input.len()));
            }
        }
    }

    /// Receives the next packet, which has to be one that `is_right` likes.
    ///
    /// # Errors
    /// [`PeerError::Unexpected`] with a packet that it does not like, and those of [`recv`](Self::recv).
    pub async fn expect(
        &mut self,
        is_right: impl FnOnce(&OwnedPacket) -> bool,
    ) -> Result<OwnedPacket, PeerError> {
        let packet = self.recv().await?;
        if is_right(&packet) { Ok(packet) } else { Err(PeerError::Unexpected(Box::new(packet))) }
    }

    /// Receives the end of the stream.
    ///
    /// # Errors
    /// [`PeerError::Unexpected`] with a packet that comes instead, and those of [`recv`](Self::recv).
    pub async fn expect_closed(&mut self) -> Result<(), PeerError> {
        match self.recv().await {
            Err(PeerError::Closed(0)) => Ok(()),
            Ok(packet) => Err(PeerError::Unexpected(Box::new(packet))),
            Err(error) => Err(error),
        }
    }

    /// Sends a packet, as the version writes it.
    ///
    /// # Errors
    /// [`PeerError::List`] and [`PeerError::TooLarge`] for a packet that cannot be, [`PeerError::Io`].
    pub async fn send(&mut self, packet: OwnedPacket) -> Result<(), PeerError> {
        if let OwnedPacket::Connect(connect) = &packet {
            self.version = connect.version;
        }
        let mut bytes = BytesMut::new();
        packet.as_packet()?.encode(self.version, &mut bytes)?;
        self.send_raw(&bytes).await
    }

    /// Sends bytes, whatever they are.
    ///
    /// # Errors
    /// [`PeerError::Io`].
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Receives CONNECT and accepts it, without a Session.
    ///
    /// # Errors
    /// Those of [`accept_with`](Self::accept_with).
    pub async fn accept(&mut self) -> Result<OwnedConnect, PeerError> {
        self.accept_with(Connack { session_present: false, code: ConnectReturnCode::Accepted }).await
    }

    /// Receives CONNECT and answers it.
    ///
    /// # Errors
    /// [`PeerError::Unexpected`] with another packet, and those of [`recv`](Self::recv) and
    /// [`send`](Self::send).
    pub async fn accept_with(&mut self, connack: Connack) -> Result<OwnedConnect, PeerError> {
        match self.recv().await? {
            OwnedPacket::Connect(connect) => {
                self.send(OwnedPacket::Connack(connack)).await?;
                Ok(connect)
            }
            other => Err(PeerError::Unexpected(Box::new(other))),
        }
    }

    /// Sends the answer to `packet` that all goes well: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK with the QoS that
    /// was asked for, UNSUBACK or PINGRESP. Other packets have no answer.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn answer(&mut self, packet: &OwnedPacket) -> Result<(), PeerError> {
        let answer = match packet {
            OwnedPacket::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => return Ok(()),
                Delivery::AtLeastOnce { id, .. } => OwnedPacket::Puback(id),
                Delivery::ExactlyOnce { id, .. } => OwnedPacket::Pubrec(id),
            },
            OwnedPacket::Pubrec(id) => OwnedPacket::Pubrel { id: *id, dup: false },
            OwnedPacket::Pubrel { id, .. } => OwnedPacket::Pubcomp(*id),
            OwnedPacket::Subscribe { id, filters, .. } => {
                let codes = filters.iter().map(|(_, qos)| SubackCode::Granted(*qos)).collect();
                OwnedPacket::Suback { id: *id, codes }
            }
            OwnedPacket::Unsubscribe { id, .. } => OwnedPacket::Unsuback(*id),
            OwnedPacket::Pingreq => OwnedPacket::Pingresp,
            _ => return Ok(()),
        };
        self.send(answer).await
    }

    /// Ends the stream in the direction of the other side.
    ///
    /// # Errors
    /// [`PeerError::Io`].
    pub async fn close(&mut self) -> Result<(), PeerError> {
        Ok(self.stream.shutdown().await?)
    }

    /// Takes a packet out of the input, or tells how much input is needed first.
    fn decode(&mut self) -> Result<Result<OwnedPacket, usize>, PeerError> {
        let decoder = Decoder::new(self.version, self.receives).max_packet_size(MAX_PACKET_SIZE);
        let (packet, len) = match decoder.decode(&self.input)? {
            // Kept without a frame to slice: it is copied, and the input stays one buffer.
            Decoded::Packet(packet, len) => (OwnedPacket::from_slice_of(&Bytes::new(), packet), len),
            Decoded::Incomplete { needed } => return Ok(Err(needed)),
            Decoded::Oversize(oversize) => return Err(PeerError::Oversize(oversize.len)),
        };
        bytes::Buf::advance(&mut self.input, len);
        if let OwnedPacket::Connect(connect) = &packet {
            self.version = connect.version;
        }
        Ok(Ok(packet))
    }
}
