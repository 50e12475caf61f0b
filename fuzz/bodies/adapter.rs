//! A whole client with one connection, and the other end of its stream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use mqtt_client::{Fallback, Message, Options, ProtocolVersion, PubSub, QoS, TopicName};
use mqtt_codec::{Decoded, Decoder, Direction, Packet};
use mqtt_tokio::{Builder, ConnectionError, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::input::Input;

/// A packet that is larger ends the connection.
pub(crate) const MAX_PACKET_SIZE: usize = 300;

/// No connection that a body makes lasts so long.
const LONG: Duration = Duration::from_secs(3600);

/// What is behind all that a Server sends can come in pieces of these sizes, over and over again.
pub(crate) fn sizes(input: &mut Input<'_>) -> Vec<usize> {
    (0..input.byte() % 8).map(|_| usize::from(input.byte()) + 1).collect()
}

pub(crate) fn options(version: ProtocolVersion) -> Options {
    Options::new("c").version(version).max_packet_size(MAX_PACKET_SIZE).fallback(Fallback::Never)
}

/// What became of a connection.
pub(crate) struct Outcome {
    /// The packets from the Server, as bytes.
    pub(crate) packets: Vec<BytesMut>,
    pub(crate) error: ConnectionError,
}

/// Runs a client that has something to send, and a reader of all messages, until its first connection has ended.
pub(crate) async fn run(builder: Builder, version: ProtocolVersion) -> Outcome {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let (client, driver) = builder
        .inspect(move |direction, packet, _| {
            if direction == Direction::ToClient {
                see.lock().unwrap_or_else(PoisonError::into_inner).push(encode(packet, version));
            }
        })
        .build::<PubSub>()
        .expect("these options are right");
    let mut status = client.status();
    let topic = TopicName::from_static("t").expect("a name");
    let message = Message::new(topic, vec![b'p'; 200]).qos(QoS::ExactlyOnce);
    let receipt = client.try_publish(message).expect("there is room");
    let reader = tokio::spawn(async move {
        let Ok(mut all) = client.subscribe("#", QoS::ExactlyOnce).await else { return };
        while all.next().await.is_some() {}
    });
    let driver = tokio::spawn(driver);
    let ended = async {
        loop {
            if let Status::Lost { error, .. } | Status::GaveUp { error } =
                status.next().await.expect("an end")
            {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(LONG, ended).await.expect("a connection that ends");
    drop(receipt);
    for task in [reader.abort_handle(), driver.abort_handle()] {
        task.abort();
    }
    for panicked in [reader.await.err(), driver.await.err()].into_iter().flatten() {
        assert!(!panicked.is_panic(), "{panicked}");
    }
    assert!(!error.to_string().is_empty());
    let packets = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    Outcome { packets, error }
}

impl Outcome {
    /// Compares with what the codec finds in all that the Server has sent.
    ///
    /// A client that stopped earlier says that a packet broke a rule; one that `is_stalled` may have given up waiting.
    /// Whether it came to the end of the bytes.
    pub(crate) fn check(&self, sent: &[u8], version: ProtocolVersion, is_stalled: bool) -> bool {
        let (expected, is_legal) = packets(sent, version);
        let is_broken = matches!(self.error, ConnectionError::Protocol(_));
        let whole = self.packets == expected && is_legal && !is_broken;
        let stopped = expected.starts_with(&self.packets) && (is_broken || is_stalled);
        assert!(whole || stopped, "{:?} of {expected:?}, then {:?}", self.packets, self.error);
        whole
    }
}

/// The packets, and whether no rule is broken behind them.
fn packets(mut bytes: &[u8], version: ProtocolVersion) -> (Vec<BytesMut>, bool) {
    let decoder = Decoder::new(version, Direction::ToClient).max_packet_size(MAX_PACKET_SIZE);
    let mut packets = Vec::new();
    loop {
        match decoder.decode(bytes) {
            Ok(Decoded::Packet(packet, len)) => {
                packets.push(encode(&packet, version));
                bytes = &bytes[len..];
            }
            Ok(Decoded::Incomplete { .. }) => return (packets, true),
            Ok(Decoded::Oversize(_)) | Err(_) => return (packets, false),
        }
    }
}

fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.encode(version, &mut bytes).expect("small");
    bytes
}

/// Sends `bytes` in pieces of these sizes, and nothing behind them; takes what comes until the client has gone, or only
/// then if not `reads`. Returns what came.
pub(crate) async fn play(
    stream: impl AsyncRead + AsyncWrite,
    bytes: &[u8],
    sizes: &[usize],
    reads: bool,
) -> Vec<u8> {
    let (mut reader, mut writer) = split(stream);
    let write = async {
        let mut rest = bytes;
        for size in sizes.iter().copied().chain([usize::MAX; 1]).cycle() {
            let (piece, later) = rest.split_at(size.min(rest.len()));
            // The client may have had enough.
            if writer.write_all(piece).await.is_err() || later.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
            rest = later;
        }
        let _ = writer.shutdown().await;
    };
    let mut came = Vec::new();
    if reads {
        // However it ends: what came before counts.
        let _ = tokio::join!(write, reader.read_to_end(&mut came));
    } else {
        write.await;
        let _ = reader.read_to_end(&mut came).await;
    }
    came
}
