//! What dies with a connection: its buffers, its will, its keep alive, its own faults.

use std::{fmt, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use mqtt_codec::{
    ConnectReturnCode, DecodeError, Decoded, Decoder, Direction, OwnedPacket, PacketType, ProtocolVersion,
};

use super::{Faults, outgoing::Message, session::SessionKey};

/// Names a connection of a [`Broker`](super::Broker); it is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(super) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client sent DISCONNECT; the only end without a will [MQTT-3.14.4-3].
    Disconnect,
    /// The transport was closed without DISCONNECT.
    TransportClosed,
    /// The client identifier connected again elsewhere [MQTT-3.1.4-2].
    TakenOver,
    /// The client was silent for one and a half times its keep alive [MQTT-3.1.2-24].
    KeepAlive,
    /// The connection was refused.
    Refused(ConnectReturnCode),
    /// The bytes of the client broke this rule.
    Malformed(DecodeError),
    /// A packet was longer than [`BrokerOptions::max_packet_size`](super::super::BrokerOptions::max_packet_size).
    Oversize(PacketType),
    /// The packet was well-formed but came before CONNECT [MQTT-3.1.0-1], or was a second one [MQTT-3.1.0-2], or
    /// acknowledged what is in flight with another QoS [MQTT-4.8.0-1].
    Violation(PacketType),
    /// A fault or a call cut it.
    Cut,
    /// A call reset it.
    Reset,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Phase {
    /// CONNECT has not come yet.
    New,
    Connected {
        session: SessionKey,
        will: Option<Message>,
    },
    Closed,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) version: ProtocolVersion,
    pub(super) faults: Faults,
    /// Whether what is sent gets lost.
    pub(super) muted: bool,
    pub(super) keep_alive: Option<Duration>,
    pub(super) last_heard: Duration,
    pub(super) output: BytesMut,
    /// Packets that a fault delays, with the time at which they are due.
    pub(super) delayed: Vec<(Duration, OwnedPacket)>,
    /// Packets that a fault lets the next one of their type overtake.
    pub(super) swapped: Vec<OwnedPacket>,
    /// Whether it is in the list of connections to look after.
    pub(super) is_ready: bool,
    decoder: Decoder,
    input: BytesMut,
    /// Input shorter than this holds no packet.
    needed: usize,
    /// Input that is being decoded; packets are slices of it. Empty between two calls from outside.
    chunk: Bytes,
}

impl Connection {
    pub(super) fn new(now: Duration, max_packet_size: usize) -> Self {
        let version = ProtocolVersion::V3_1_1;
        Self {
            phase: Phase::New,
            version,
            faults: Faults::none(),
            muted: false,
            keep_alive: None,
            last_heard: now,
            output: BytesMut::new(),
            delayed: Vec::new(),
            swapped: Vec::new(),
            is_ready: false,
            decoder: Decoder::new(version, Direction::ToServer).max_packet_size(max_packet_size),
            input: BytesMut::new(),
            needed: 1,
            chunk: Bytes::new(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
    }

    pub(super) const fn session(&self) -> Option<SessionKey> {
        match self.phase {
            Phase::Connected { session, .. } => Some(session),
            Phase::New | Phase::Closed => None,
        }
    }

    pub(super) fn set_version(&mut self, version: ProtocolVersion, max_packet_size: usize) {
        self.version = version;
        self.decoder = Decoder::new(version, Direction::ToServer).max_packet_size(max_packet_size);
    }

    /// When something has to happen here, if nothing comes in before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let silent = self.keep_alive.map(|limit| self.last_heard.saturating_add(limit));
        self.delayed.iter().map(|(due, _)| *due).chain(silent).min()
    }

    pub(super) fn push_input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Takes the next packet, if it is complete, with its length in bytes.
    pub(super) fn next_packet(&mut self) -> Result<Option<(OwnedPacket, usize)>, CloseReason> {
        if self.chunk.is_empty() {
            if self.input.len() < self.needed {
                return Ok(None);
            }
            self.chunk = self.input.split().freeze();
        }
        match self.decoder.decode(&self.chunk) {
            Ok(Decoded::Packet(packet, len)) => {
                let packet = OwnedPacket::from_slice_of(&self.chunk, packet);
                self.chunk.advance(len);
                self.needed = 1;
                Ok(Some((packet, len)))
            }
            Ok(Decoded::Incomplete { needed }) => {
                // Back to where what comes next is appended; it is at most what came last, so that a packet that
                // comes in pieces is copied once.
                self.input.extend_from_slice(&std::mem::take(&mut self.chunk));
                self.needed = needed;
                Ok(None)
            }
            Ok(Decoded::Oversize(oversize)) => Err(CloseReason::Oversize(oversize.packet_type)),
            Err(error) => Err(CloseReason::Malformed(error)),
        }
    }

    /// The type that the first byte of the input announces, before there is more.
    pub(super) fn announced_type(&self) -> Option<PacketType> {
        let first = *self.chunk.first().or_else(|| self.input.first())?;
        PacketType::ALL.into_iter().find(|it| *it as u8 == first >> 4)
    }

    /// Frees the buffers of a connection that ended, but what is still to be sent.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.delayed.clear();
        self.swapped.clear();
        self.input = BytesMut::new();
        self.chunk = Bytes::new();
        self.keep_alive = None;
    }
}
