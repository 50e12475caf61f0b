use std::{collections::VecDeque, time::Duration};

use mqtt_codec::{Direction, OwnedPacket, PacketType};

use super::ConnectionId;

/// The most bytes of packets that the log keeps.
const MAX_LOG_BYTES: usize = 64 << 20;

/// A packet that a [`Broker`](super::Broker) received or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// When, on the clock of [`Broker::handle_time`](super::Broker::handle_time).
    pub at: Duration,
    /// On which connection.
    pub connection: ConnectionId,
    /// Who received it: the server is the broker.
    pub direction: Direction,
    /// The packet.
    pub packet: OwnedPacket,
}

/// What a [`Broker`](super::Broker) counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// How many connections there were.
    pub connections: u64,
    /// How many bytes were received and counted.
    pub bytes_received: u64,
    /// How many bytes were sent.
    pub bytes_sent: u64,
    /// How many messages of QoS 0 were dropped since their receiver took nothing.
    pub qos0_drops: u64,
    /// How many messages were dropped since the queue of a Session was full.
    pub queue_drops: u64,
    /// How many acknowledgements had an identifier that was not in flight.
    pub unknown_acks: u64,
    /// How often a fault struck a packet.
    pub faults: u64,
    received: [u64; PacketType::ALL.len() + 1],
    sent: [u64; PacketType::ALL.len() + 1],
}

impl Counters {
    /// Returns how many packets of this type were received.
    #[must_use]
    pub fn received(&self, packet_type: PacketType) -> u64 {
        self.received[packet_type as usize]
    }

    /// Returns how many packets of this type were sent.
    #[must_use]
    pub fn sent(&self, packet_type: PacketType) -> u64 {
        self.sent[packet_type as usize]
    }

    pub(super) fn count(&mut self, direction: Direction, packet_type: PacketType) {
        match direction {
            Direction::ToServer => self.received[packet_type as usize] += 1,
            Direction::ToClient => self.sent[packet_type as usize] += 1,
        }
    }
}

/// The latest packets, bounded in number and in bytes.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<(LogEntry, usize)>,
    bytes: usize,
}

impl Log {
    /// Keeps a packet of `len` bytes, and forgets the oldest beyond `max_len` packets.
    pub(super) fn push(&mut self, entry: LogEntry, len: usize, max_len: usize) {
        self.entries.push_back((entry, len));
        self.bytes += len;
        while self.entries.len() > max_len || self.bytes > MAX_LOG_BYTES {
            let Some((_, len)) = self.entries.pop_front() else { break };
            self.bytes -= len;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.entries.iter().map(|(entry, _)| entry)
    }
}
