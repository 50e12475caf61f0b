//! The rules for what the client sends: DUP, identifiers, order, window.

use mqtt_codec::{Delivery, Packet, ProtocolVersion, QoS};

use super::super::server::{self, Answer};
use super::{Byte, Check, Monitor, check};

impl Monitor {
    /// The first byte of a packet was taken by the transport.
    pub(in super::super) fn first_byte(&mut self, packet: &Packet<'_>) -> Check {
        match packet {
            Packet::Publish(publish) => {
                let number = server::number(publish.payload)?;
                self.first_byte_of_publish(number, publish.delivery)
            }
            Packet::Pubrel { id, dup } => {
                let Some(number) = self.owner(id.get()) else { return Ok(()) };
                check!(self.released.contains(&number), "PUBREL of message {number} before its PUBREC");
                let publish = &mut self.publishes[usize::from(number)];
                let earlier = publish.pubrel == Byte::Earlier;
                // 3.1.1 has no such flag; and on the same connection any but the first is sent again.
                let told = self.version == ProtocolVersion::V3_1 && publish.pubrel != Byte::Now;
                check!(!told || *dup == earlier, "DUP of the PUBREL of message {number}");
                publish.pubrel = Byte::Now;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn first_byte_of_publish(&mut self, number: u8, delivery: Delivery) -> Check {
        let (id, dup) = match delivery {
            Delivery::AtMostOnce => {
                let publish = &mut self.publishes[usize::from(number)];
                check!(!publish.touched, "message {number} with QoS 0 is sent twice");
                publish.touched = true;
                return Ok(());
            }
            Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => (id.get(), dup),
        };
        let owner = self.owner(id);
        check!(
            owner.is_none_or(|owner| owner == number),
            "identifier {id} of {owner:?} for message {number}"
        );
        let released = self.released.contains(&number);
        let publish = &mut self.publishes[usize::from(number)];
        // Sent again by time, it can still be in the output when its acknowledgement comes; no PUBREL is before it.
        if self.timed && dup && (released || !publish.progress.is_pending()) {
            check!(publish.pubrel == Byte::Never, "PUBLISH {number} behind its PUBREL");
            return Ok(());
        }
        check!(!released, "PUBLISH {number} behind its PUBREC");
        check!(publish.id.is_none_or(|other| other == id), "another identifier for message {number}");
        check!(publish.progress.is_pending(), "message {number} is sent though it is resolved");
        check!(dup == (publish.publish != Byte::Never), "DUP of message {number} is {dup}");
        check!(self.timed || publish.publish != Byte::Now, "message {number} twice on one connection");
        publish.id = Some(id);
        publish.publish = Byte::Now;
        publish.touched = true;
        Ok(())
    }

    /// The message in flight under an identifier.
    pub(super) fn owner(&self, id: u16) -> Option<u8> {
        let at = self.publishes.iter().position(|publish| publish.id == Some(id));
        at.and_then(|at| u8::try_from(at).ok())
    }

    /// The last byte of a packet was taken by the transport.
    pub(in super::super) fn complete(&mut self, packet: &Packet<'_>) -> Check {
        match packet {
            Packet::Publish(publish) if publish.delivery.qos() != QoS::AtMostOnce => {
                let number = server::number(publish.payload)?;
                let pending = self.publishes[usize::from(number)].progress.is_pending();
                if self.timed && (self.released.contains(&number) || !pending) {
                    return Ok(());
                }
                let again = self.flying.contains(&number);
                check!(again || self.to_resume.is_empty(), "PUBRELs come before PUBLISH {number}");
                check!(again || self.last < Some(number), "PUBLISH {number} behind {:?}", self.last);
                self.last = self.last.max(Some(number));
                self.fly(number)
            }
            Packet::Pubrel { id, .. } => {
                let Some(number) = self.owner(id.get()) else { return Ok(()) };
                if self.to_resume.contains(&number) {
                    check!(
                        self.to_resume.front() == Some(&number),
                        "PUBREL {number}: not the order of PUBRECs"
                    );
                    self.to_resume.pop_front();
                }
                self.fly(number)
            }
            Packet::Puback(id) => self.left(Answer::Puback(id.get())),
            Packet::Pubrec(id) => self.left(Answer::Pubrec(id.get())),
            Packet::Pubcomp(id) => self.left(Answer::Pubcomp(id.get())),
            _ => Ok(()),
        }
    }

    fn fly(&mut self, number: u8) -> Check {
        if !self.flying.contains(&number) {
            self.flying.push(number);
            self.flying.sort_unstable();
        }
        let qos2 = |number: &&u8| self.publishes[usize::from(**number)].qos == QoS::ExactlyOnce;
        check!(self.flying.len() <= self.window, "more in flight than the window: {:?}", self.flying);
        let count = self.flying.iter().filter(qos2).count();
        check!(count <= self.window_qos2, "more QoS 2 in flight than their window: {:?}", self.flying);
        Ok(())
    }

    fn left(&mut self, answer: Answer) -> Check {
        let first = self.leaving.pop_front();
        check!(first == Some(answer), "{answer:?} leaves instead of {first:?}");
        Ok(())
    }
}
