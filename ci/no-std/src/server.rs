//! The other end, as a script: answers in bytes, notes what it got, and cuts the first link at the first PUBREL.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

use mqtt_codec::{Decoded, Decoder, Direction, Packet, PacketId, ProtocolVersion, QoS};

use crate::station::{Link, Lost};

#[derive(Default)]
pub(crate) struct Server {
    connections: u32,
    got: Vec<String>,
    received: Vec<u8>,
    answers: Vec<u8>,
    is_cut: bool,
}

impl Server {
    /// What has come since the last call.
    pub(crate) fn got(&mut self) -> Vec<String> {
        take(&mut self.got)
    }

    fn answer(&mut self, packet: Packet<'_>) {
        let (name, answer): (String, &[u8]) = match packet {
            Packet::Connect(_) => {
                self.connections += 1;
                self.is_cut = false;
                ("CONNECT".into(), if self.connections == 1 { b"\x20\x02\0\0" } else { b"\x20\x02\x01\0" })
            }
            Packet::Subscribe(_) => ("SUBSCRIBE".into(), b"\x90\x03\0\x01\x02"),
            Packet::Publish(publish) => {
                let id = publish.delivery.id().map_or(0, PacketId::get);
                let dup = if publish.delivery.dup() { " DUP" } else { "" };
                let qos = publish.delivery.qos();
                let answer: &[u8] = match qos {
                    // The identifiers are 1 for the SUBSCRIBE, 2 and 3 for the messages.
                    QoS::AtLeastOnce if id == 2 && publish.delivery.dup() => b"\x40\x02\0\x02",
                    QoS::ExactlyOnce if id == 3 => b"\x50\x02\0\x03",
                    _ => b"",
                };
                (format!("PUBLISH {}{dup}", qos as u8), answer)
            }
            Packet::Pubrel { .. } if self.connections == 1 => {
                self.is_cut = true;
                ("PUBREL 2".into(), b"")
            }
            // The message comes back, twice: the second copy is not for the application.
            Packet::Pubrel { .. } => (
                "PUBREL 2".into(),
                b"\x70\x02\0\x03\x34\x0a\0\x03a/b\0\x07two\x3c\x0a\0\x03a/b\0\x07two\x62\x02\0\x07",
            ),
            Packet::Pubrec(id) => (format!("PUBREC {id}"), b""),
            Packet::Pubcomp(id) => (format!("PUBCOMP {id}"), b""),
            Packet::Pingreq => ("PINGREQ".into(), b"\xd0\0"),
            Packet::Disconnect => ("DISCONNECT".into(), b""),
            _ => ("?".into(), b""),
        };
        self.got.push(name);
        self.answers.extend_from_slice(answer);
    }
}

impl Link for Server {
    /// Takes seven bytes at the most, as a small modem would.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        let count = bytes.len().min(7);
        self.received.extend_from_slice(&bytes[..count]);
        let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToServer);
        let received = take(&mut self.received);
        match decoder.decode(&received) {
            Ok(Decoded::Packet(packet, len)) => {
                self.answer(packet);
                self.received.extend_from_slice(&received[len..]);
            }
            Ok(_) => self.received = received,
            Err(_) => return Err(Lost),
        }
        Ok(count)
    }

    /// Gives five bytes at the most.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Lost> {
        if self.is_cut {
            return Err(Lost);
        }
        let count = self.answers.len().min(5).min(into.len());
        into[..count].copy_from_slice(&self.answers[..count]);
        self.answers.drain(..count);
        Ok(count)
    }
}
