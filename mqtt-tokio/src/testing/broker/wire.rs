//! All connections: what goes out on them, what goes wrong on them, and how they end.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use mqtt_codec::{Connack, ConnectReturnCode, DecodeError, Direction, OwnedPacket, PacketType};

use super::{
    BrokerOptions, CloseReason, ConnectionId, Counters, Faults, LogEntry, OnReceive, OnSend,
    connection::{Connection, Phase},
};
use crate::testing::log::Log;

/// How many ends of connections are remembered.
const MAX_ENDS: usize = 10_000;

/// A connection that ended, for the broker to draw the consequences.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: ConnectionId,
    pub(super) phase: Phase,
    pub(super) reason: CloseReason,
}

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) options: BrokerOptions,
    pub(super) now: Duration,
    pub(super) faults: Faults,
    pub(super) log: Log,
    pub(super) counters: Counters,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) ended: VecDeque<Ended>,
    /// The latest ends, for inspection.
    pub(super) ends: VecDeque<(ConnectionId, CloseReason)>,
    ready: VecDeque<ConnectionId>,
    /// No deadline is before it; the earliest one may be later.
    earliest: Option<Duration>,
}

impl Wire {
    pub(super) fn new(options: BrokerOptions) -> Self {
        Self {
            options,
            now: Duration::ZERO,
            faults: Faults::none(),
            log: Log::default(),
            counters: Counters::default(),
            connections: BTreeMap::new(),
            ended: VecDeque::new(),
            ends: VecDeque::new(),
            ready: VecDeque::new(),
            earliest: None,
        }
    }

    pub(super) fn open(&mut self) -> ConnectionId {
        self.counters.connections += 1;
        let id = ConnectionId(self.counters.connections);
        self.connections.insert(id, Connection::new(self.now, self.options.max_packet_size));
        id
    }

    /// The connection, if it has not ended.
    pub(super) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id).filter(|connection| connection.is_open())
    }

    pub(super) fn reads(&self, id: ConnectionId) -> bool {
        !self.faults.stops_reading()
            && self.connections.get(&id).is_some_and(|it| it.is_open() && !it.faults.stops_reading())
    }

    pub(super) fn is_congested(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|it| it.output.len() > self.options.max_output_len)
    }

    /// Takes `bytes` in; returns whether the connection has to be cut when they are processed.
    pub(super) fn receive(&mut self, id: ConnectionId, bytes: &[u8]) -> bool {
        let Some(connection) = self.connections.get_mut(&id).filter(|it| it.is_open()) else { return false };
        let own = connection.faults.strike_received_bytes(bytes.len());
        let all = self.faults.strike_received_bytes(bytes.len());
        let cut = own.into_iter().chain(all).min();
        let bytes = &bytes[..cut.unwrap_or(bytes.len())];
        self.counters.bytes_received += bytes.len() as u64;
        self.counters.faults += u64::from(cut.is_some());
        connection.push_input(bytes);
        cut.is_some()
    }

    /// Takes the next packet that the client sent, and what shall go wrong with it.
    pub(super) fn next_packet(&mut self, id: ConnectionId) -> Option<(OwnedPacket, Option<OnReceive>)> {
        if !self.reads(id) {
            return None;
        }
        let connection = self.connections.get_mut(&id)?;
        let announced = connection.announced_type();
        if let (Phase::New, Some(other)) = (&connection.phase, announced) {
            if other != PacketType::Connect {
                self.close(id, CloseReason::Violation(other));
                return None;
            }
        }
        let (packet, len) = match connection.next_packet() {
            Ok(next) => next?,
            Err(reason) => {
                self.fail(id, reason);
                return None;
            }
        };
        let packet_type = announced?;
        connection.last_heard = self.now;
        let own = connection.faults.strike_receive(packet_type);
        let all = self.faults.strike_receive(packet_type);
        let struck = own.or(all);
        self.counters.faults += u64::from(struck.is_some());
        self.record(id, Direction::ToServer, packet_type, &packet, len);
        Some((packet, struck))
    }

    /// Sends `packet`, unless something shall go wrong with it.
    pub(super) fn send(&mut self, id: ConnectionId, packet: OwnedPacket) {
        let Ok(packet_type) = packet.as_packet().map(|it| it.packet_type()) else { return };
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id).filter(|it| it.is_open() && !it.muted) else {
            return;
        };
        let own = connection.faults.strike_send(packet_type);
        let all = self.faults.strike_send(packet_type);
        let Some(struck) = own.or(all) else {
            return self.transmit(id, packet_type, packet);
        };
        self.counters.faults += 1;
        match struck {
            OnSend::Drop => {}
            OnSend::Delay(delay) => {
                let due = now.saturating_add(delay);
                connection.delayed.push((due, packet));
                self.expect_deadline(due);
                self.mark_ready(id);
            }
            OnSend::Swap => connection.swapped.push(packet),
            OnSend::Duplicate => {
                self.transmit(id, packet_type, packet.clone());
                self.transmit(id, packet_type, packet);
            }
            OnSend::Replace(bytes) => self.send_raw(id, &bytes),
            OnSend::CutBefore => self.close(id, CloseReason::Cut),
            OnSend::CutAfter => {
                self.transmit(id, packet_type, packet);
                self.close(id, CloseReason::Cut);
            }
        }
    }

    /// Sends `bytes`, whatever they are.
    pub(super) fn send_raw(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(connection) = self.connection(id) {
            connection.output.extend_from_slice(bytes);
            self.sent(id, bytes.len());
        }
    }

    /// Answers CONNECT with `code` and closes [MQTT-3.2.2-5].
    pub(super) fn refuse(&mut self, id: ConnectionId, code: ConnectReturnCode) {
        self.send(id, OwnedPacket::Connack(Connack { session_present: false, code }));
        self.close(id, CloseReason::Refused(code));
    }

    /// Closes on bad input [MQTT-4.8.0-1]; two faults of a CONNECT have an answer before.
    fn fail(&mut self, id: ConnectionId, reason: CloseReason) {
        match reason {
            CloseReason::Malformed(DecodeError::ProtocolLevel(_)) => {
                self.refuse(id, ConnectReturnCode::UnacceptableProtocolVersion);
            }
            CloseReason::Malformed(DecodeError::ClientId(_)) => {
                self.refuse(id, ConnectReturnCode::IdentifierRejected);
            }
            other => self.close(id, other),
        }
    }

    /// Ends a connection; what was sent on it before can still be taken.
    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connection(id) else { return };
        let phase = std::mem::replace(&mut connection.phase, Phase::Closed);
        connection.close();
        self.ended.push_back(Ended { id, phase, reason });
        self.ends.push_back((id, reason));
        if self.ends.len() > MAX_ENDS {
            self.ends.pop_front();
        }
        self.mark_ready(id);
    }

    pub(super) fn take_output(&mut self, id: ConnectionId) -> Bytes {
        let Some(connection) = self.connections.get_mut(&id) else { return Bytes::new() };
        let output = connection.output.split().freeze();
        if !connection.is_open() {
            self.connections.remove(&id);
        }
        output
    }

    pub(super) fn next_ready(&mut self) -> Option<ConnectionId> {
        let id = self.ready.pop_front()?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_ready = false;
        }
        Some(id)
    }

    pub(super) fn mark_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id).filter(|it| !it.is_ready) {
            connection.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Remembers that something may have to happen at `deadline`.
    pub(super) fn expect_deadline(&mut self, deadline: Duration) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    pub(super) fn handle_time(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.earliest.is_none_or(|earliest| earliest > self.now) {
            return;
        }
        let due = |it: &Connection| it.deadline().is_some_and(|deadline| deadline <= self.now);
        let ids: Vec<_> =
            self.connections.iter().filter(|(_, connection)| due(connection)).map(|(id, _)| *id).collect();
        for id in ids {
            self.handle_deadline(id);
        }
        self.earliest = self.connections.values().filter_map(Connection::deadline).min();
    }

    fn handle_deadline(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = self.connection(id) else { return };
        let (mut due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut connection.delayed).into_iter().partition(|(due, _)| *due <= now);
        connection.delayed = rest;
        let is_silent =
            |it: &Connection| it.keep_alive.is_some_and(|limit| it.last_heard.saturating_add(limit) <= now);
        let silent = is_silent(connection);
        due.sort_by_key(|(due, _)| *due);
        for (_, packet) in due {
            if let Ok(packet_type) = packet.as_packet().map(|it| it.packet_type()) {
                self.transmit(id, packet_type, packet);
            }
        }
        if silent && self.reads(id) && !self.is_congested(id) {
            self.close(id, CloseReason::KeepAlive);
        } else if let Some(connection) = self.connection(id).filter(|_| silent) {
            // Nobody read what it may have sent.
            connection.last_heard = now;
        }
    }

    /// Sends `packet` and what it overtakes.
    fn transmit(&mut self, id: ConnectionId, packet_type: PacketType, packet: OwnedPacket) {
        self.write(id, packet_type, packet);
        let Some(connection) = self.connection(id).filter(|it| !it.swapped.is_empty()) else { return };
        let is_overtaken = |it: &OwnedPacket| it.as_packet().is_ok_and(|it| it.packet_type() == packet_type);
        let (overtaken, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut connection.swapped).into_iter().partition(is_overtaken);
        connection.swapped = rest;
        for packet in overtaken {
            self.write(id, packet_type, packet);
        }
    }

    fn write(&mut self, id: ConnectionId, packet_type: PacketType, packet: OwnedPacket) {
        let Some(connection) = self.connection(id) else { return };
        let before = connection.output.len();
        let version = connection.version;
        let encoded = packet.as_packet().map(|it| it.encode(version, &mut connection.output));
        if !matches!(encoded, Ok(Ok(()))) {
            return;
        }
        let len = connection.output.len() - before;
        if self.sent(id, len) {
            self.record(id, Direction::ToClient, packet_type, &packet, len);
        }
    }

    /// Accounts for the last `len` bytes of the output; returns whether all of them are sent.
    fn sent(&mut self, id: ConnectionId, len: usize) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let own = connection.faults.strike_sent_bytes(len);
        let all = self.faults.strike_sent_bytes(len);
        let cut = own.into_iter().chain(all).min();
        let kept = cut.unwrap_or(len).min(len);
        connection.output.truncate(connection.output.len() - (len - kept));
        self.counters.bytes_sent += kept as u64;
        if cut.is_some() {
            self.counters.faults += 1;
            self.close(id, CloseReason::Cut);
        }
        self.mark_ready(id);
        kept == len
    }

    fn record(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
        packet_type: PacketType,
        packet: &OwnedPacket,
        len: usize,
    ) {
        self.counters.count(direction, packet_type);
        let max_len = self.options.max_log_len;
        if max_len > 0 {
            let entry = LogEntry { at: self.now, connection, direction, packet: packet.clone() };
            self.log.push(entry, len, max_len);
        }
    }
}
