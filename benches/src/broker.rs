//! A broker that costs next to nothing, so that what is measured is the client.
//!
//! One blocking thread, one connection, no state but counters: it reads big chunks, looks at fixed headers and
//! packet ids only, and answers everything a chunk asked for with one write. What it publishes lies encoded in
//! memory before the run begins. It checks nothing about the client; it is no example of a broker.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::workload::{Case, Direction, PAYLOAD, TOPIC};

/// A connection that says nothing for so long is over, so that no broker outlives its run.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much is read at once, and how much QoS 0 is written at once.
const CHUNK_LEN: usize = 256 * 1024;

/// What the broker has to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The case; for a receiving client the broker publishes.
    pub case: Case,
    /// How many messages a receiving client gets.
    pub messages: u64,
    /// How many of them may be unacknowledged.
    pub window: u16,
}

/// Serves one connection on a free port of 127.0.0.1, telling the port to `announce`, and returns how many
/// PUBLISH packets went over it.
///
/// # Errors
///
/// When nobody connects, when the connection stalls, or when the bytes are no MQTT packets.
pub fn serve(plan: Plan, announce: impl FnOnce(u16)) -> Result<u64, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?.port());
    let stream = accept(&listener)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Connection::new(plan, stream).run()
}

/// Accepts one connection, or gives up after [`PATIENCE`].
fn accept(listener: &TcpListener) -> Result<TcpStream, Failure> {
    listener.set_nonblocking(true)?;
    let started = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The one connection.
struct Connection {
    plan: Plan,
    stream: TcpStream,
    /// What is to be written when the chunk at hand is done.
    out: Vec<u8>,
    messages: Prepared,
    /// PUBLISH packets from the client.
    received: u64,
    /// PUBLISH packets to the client.
    sent: u64,
    /// How many of those are acknowledged to the end.
    completed: u64,
    subscribed: bool,
    finished: bool,
}

impl Connection {
    fn new(plan: Plan, stream: TcpStream) -> Self {
        let messages = Prepared::new(plan.case);
        let out = Vec::with_capacity(CHUNK_LEN);
        Self {
            plan,
            stream,
            out,
            messages,
            received: 0,
            sent: 0,
            completed: 0,
            subscribed: false,
            finished: false,
        }
    }

    fn run(mut self) -> Result<u64, Failure> {
        let mut chunk = vec![0; CHUNK_LEN];
        let mut filled = 0;
        while !self.finished {
            let read = match self.stream.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            };
            filled += read;
            let mut used = 0;
            while let Some(frame) = Frame::first_of(&chunk[used..filled]) {
                self.answer(&frame);
                used += frame.whole_len;
            }
            chunk.copy_within(used..filled, 0);
            filled -= used;
            if filled == chunk.len() {
                return Err("a packet is bigger than the broker's buffer".into());
            }
            self.publish()?;
            self.flush()?;
        }
        Ok(self.received + self.sent)
    }

    /// Puts the answer to one packet behind `out`.
    fn answer(&mut self, frame: &Frame<'_>) {
        match frame.first_byte >> 4 {
            1 => self.out.extend_from_slice(&[0x20, 2, 0, 0]),
            3 => {
                self.received += 1;
                let qos = (frame.first_byte >> 1) & 3;
                if qos > 0 {
                    let topic_len = usize::from(u16::from_be_bytes([frame.body[0], frame.body[1]]));
                    let acknowledgement = if qos == 1 { 0x40 } else { 0x50 };
                    self.acknowledge(acknowledgement, &frame.body[2 + topic_len..]);
                }
            }
            4 | 7 => self.completed += 1,
            5 => self.acknowledge(0x62, frame.body),
            6 => self.acknowledge(0x70, frame.body),
            8 => {
                self.subscribed = true;
                self.out.extend_from_slice(&[0x90, 3, frame.body[0], frame.body[1], self.plan.case.qos]);
            }
            12 => self.out.extend_from_slice(&[0xd0, 0]),
            14 => self.finished = true,
            _ => {}
        }
    }

    fn acknowledge(&mut self, first_byte: u8, id: &[u8]) {
        self.out.extend_from_slice(&[first_byte, 2, id[0], id[1]]);
    }

    /// Publishes what the window allows.
    fn publish(&mut self) -> Result<(), Failure> {
        if !self.subscribed || self.plan.case.direction == Direction::Publish {
            return Ok(());
        }
        let window = if self.plan.case.qos == 0 { u64::MAX } else { u64::from(self.plan.window) };
        let allowed = self.plan.messages.min(self.completed.saturating_add(window));
        while self.sent < allowed {
            self.sent += self.messages.append(self.sent, allowed - self.sent, &mut self.out);
            if self.out.len() >= CHUNK_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// A whole packet within a chunk.
struct Frame<'a> {
    first_byte: u8,
    body: &'a [u8],
    whole_len: usize,
}

impl<'a> Frame<'a> {
    fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let (&first_byte, rest) = bytes.split_first()?;
        let mut body_len = 0;
        for (index, &byte) in rest.iter().take(4).enumerate() {
            body_len |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let start = index + 2;
                let body = bytes.get(start..start + body_len)?;
                return Some(Self { first_byte, body, whole_len: start + body_len });
            }
        }
        None
    }
}

/// PUBLISH packets of equal length, encoded one behind the other, with the ids 1 to 65535 in turn.
struct Prepared {
    bytes: Vec<u8>,
    packet_len: usize,
    packets: u64,
}

impl Prepared {
    fn new(case: Case) -> Self {
        let mut bytes = Vec::new();
        if case.direction == Direction::Publish {
            return Self { bytes, packet_len: 0, packets: 0 };
        }
        for id in 1..=u16::MAX {
            append_publish(case.qos, id, &mut bytes);
        }
        let packets = u64::from(u16::MAX);
        Self { packet_len: bytes.len() / usize::from(u16::MAX), packets, bytes }
    }

    /// Appends up to `wanted` messages, the first of which has the number `from`, and returns how many; not more
    /// than fill a chunk, and not past the end of the ids.
    fn append(&self, from: u64, wanted: u64, out: &mut Vec<u8>) -> u64 {
        let first = from % self.packets;
        let fitting = (CHUNK_LEN / self.packet_len) as u64;
        let count = wanted.min(self.packets - first).min(fitting);
        let start = first as usize * self.packet_len;
        out.extend_from_slice(&self.bytes[start..start + count as usize * self.packet_len]);
        count
    }
}

fn append_publish(qos: u8, id: u16, out: &mut Vec<u8>) {
    let id_len = if qos == 0 { 0 } else { 2 };
    let body_len = 2 + TOPIC.len() + id_len + PAYLOAD.len();
    assert!(body_len < 128, "the remaining length of the message fits one byte");
    out.extend_from_slice(&[0x30 | (qos << 1), body_len as u8, 0, TOPIC.len() as u8]);
    out.extend_from_slice(TOPIC.as_bytes());
    if qos > 0 {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(PAYLOAD);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_found_only_when_whole() {
        let mut bytes = Vec::new();
        append_publish(1, 7, &mut bytes);
        for cut in 0..bytes.len() {
            assert!(Frame::first_of(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        let frame = Frame::first_of(&bytes).expect("the packet is whole");
        assert_eq!((frame.first_byte, frame.whole_len), (0x32, bytes.len()));
    }

    #[test]
    fn prepared_ids_go_round_without_zero() {
        let prepared = Prepared::new(Case { direction: Direction::Receive, qos: 1 });
        let mut out = Vec::new();
        assert_eq!(prepared.append(65_533, 10, &mut out), 2, "stops at the last id");
        assert_eq!(prepared.append(65_535, 1, &mut out), 1);
        let ids: Vec<_> = out
            .chunks(prepared.packet_len)
            .map(|packet| u16::from_be_bytes([packet[4 + TOPIC.len()], packet[5 + TOPIC.len()]]))
            .collect();
        assert_eq!(ids, [65_534, 65_535, 1]);
    }
}
