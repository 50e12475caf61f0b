//! Messages above the limit that are discarded as they come in.

use mqtt_codec::{Delivery, Oversize as OversizePacket, PacketType, ProtocolVersion, QoS};

use super::Core;
use crate::error::ConnectionError;
use crate::event::{Event, SkippedMessage};
use crate::policies::Oversize;
use crate::state::Link;

/// A message on its way to nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Skipping {
    /// How many bytes of its packet are still to come.
    left: usize,
    delivery: Delivery,
    message: SkippedMessage,
}

impl Core {
    /// What to do about a packet above the limit, at the beginning of `input`: begin to skip it, wait until what
    /// precedes its payload is there (false), or end the connection.
    #[cold]
    pub(super) fn handle_oversize(
        &mut self,
        oversize: OversizePacket,
        input: &[u8],
    ) -> Result<bool, ConnectionError> {
        let max = self.options.max_packet_size;
        let error = ConnectionError::Oversize { packet_type: oversize.packet_type, len: oversize.len, max };
        let Link::Connected(connected) = &mut self.link else { return Err(error) };
        if self.options.oversize == Oversize::Close || oversize.packet_type != PacketType::Publish {
            return Err(error);
        }
        // What the caller need not keep is not looked at either, or the outcome would depend on how the input is cut.
        let kept = input.get(..max).unwrap_or(input);
        match oversize.publish_head(kept)? {
            Some(head) => {
                let message = SkippedMessage {
                    topic: head.topic.to_owned(),
                    payload_len: head.payload_len,
                    qos: head.delivery.qos(),
                    retain: head.retain,
                    dup: head.delivery.dup(),
                };
                let skipping = Skipping { left: oversize.len, delivery: head.delivery, message };
                connected.skipping = Some(skipping.into());
                Ok(true)
            }
            None if input.len() >= max => Err(error),
            None => Ok(false),
        }
    }

    /// Drops the next bytes of a message that is skipped. At its end it is acknowledged and reported.
    #[cold]
    pub(super) fn skip<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        let Link::Connected(connected) = &mut self.link else { return None };
        let skipping = connected.skipping.as_mut()?;
        let count = skipping.left.min(input.len());
        skipping.left -= count;
        connected.seen = connected.seen.saturating_sub(count);
        *input = input.get(count..).unwrap_or_default();
        if skipping.left > 0 {
            return None;
        }
        let skipping = connected.skipping.take()?;
        self.acknowledge_skipped(skipping.delivery).then_some(Event::Skipped(skipping.message))
    }

    /// Acknowledges a message that nobody gets, in its turn; false if it had been reported before.
    fn acknowledge_skipped(&mut self, delivery: Delivery) -> bool {
        let Link::Connected(connected) = &mut self.link else { return false };
        let (id, qos) = match delivery {
            Delivery::AtMostOnce => {
                self.stats.skipped += 1;
                return true;
            }
            Delivery::AtLeastOnce { id, .. } => (id, QoS::AtLeastOnce),
            Delivery::ExactlyOnce { id, dup } => {
                // As for other messages, but for the content, which is not known here.
                let known =
                    self.session.received.contains(id) && (dup || self.version == ProtocolVersion::V3_1_1);
                if known || connected.acks.holds_exactly_once(id) {
                    self.stats.duplicates += 1;
                    self.acknowledge_duplicate(id, known);
                    return false;
                }
                self.remember_received(id, None);
                (id, QoS::ExactlyOnce)
            }
        };
        if let Link::Connected(connected) = &mut self.link {
            let token = connected.acks.push(id, qos);
            connected.acks.acknowledge(token);
        }
        self.stats.skipped += 1;
        self.send_acknowledgements();
        true
    }
}
