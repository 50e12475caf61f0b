//! What the application asks for.

use alloc::vec::Vec;

use mqtt_codec::{
    Delivery, Packet, PacketId, QoS, Subscribe, SubscribeFilters, TopicFilter, Unsubscribe,
    UnsubscribeFilters,
};

use super::Core;
use crate::error::{AcknowledgeError, CancelError, PingError, PublishError, RequestError};
use crate::event::{Cause, Event, Outcome};
use crate::message::{AckToken, Message, PublishToken, RequestToken};
use crate::policies::AckMode;
use crate::session::outgoing::Stage;
use crate::session::requests::Kind;
use crate::session::slab::NIL;
use crate::state::Link;
use crate::time::Time;

impl Core {
    pub(crate) fn publish(&mut self, message: Message) -> Result<Option<PublishToken>, PublishError> {
        let max = self.options.max_queue_size;
        let len = match message.encoded_len() {
            Ok(len) if len <= max => len,
            Ok(len) => return Err(PublishError::TooLarge { message, len, max }),
            Err(error) => return Err(PublishError::TooLarge { message, len: error.len, max }),
        };
        if self.has_unread_events() || self.journal.is_full() {
            return Err(PublishError::QueueFull(message));
        }
        if message.qos == QoS::AtMostOnce {
            if matches!(self.link, Link::Disconnected) && !self.options.queue_qos0 {
                return Err(PublishError::NotConnected(message));
            }
            // The output counts too: it is where QoS 0 messages wait for the transport.
            if self.outbox.len() + self.session.outgoing.queued_size() + len > max {
                return Err(PublishError::QueueFull(message));
            }
            if self.admits_qos0() {
                // Its size was checked just now.
                let _ = self.outbox.publish(&message, Delivery::AtMostOnce);
                self.stats.sent.add(QoS::AtMostOnce, len as u64);
                return Ok(None);
            }
        } else if let Some(id) = self.admit(message.qos) {
            return Ok(Some(self.send_admitted(message, id)));
        }
        let outgoing = &mut self.session.outgoing;
        if outgoing.queued_len() >= self.options.max_queue_len || outgoing.queued_size() + len > max {
            return Err(PublishError::QueueFull(message));
        }
        Ok(Some(outgoing.enqueue(message, len, &mut self.journal)))
    }

    /// The place of a publish of which nothing was ever sent.
    fn find_unsent(&self, token: PublishToken) -> Result<(u32, Stage), CancelError> {
        let (place, entry) = self.session.outgoing.find(token).ok_or(CancelError::Resolved)?;
        if entry.is_sent() || entry.may_have_arrived() {
            return Err(CancelError::Sent);
        }
        Ok((place, entry.stage))
    }

    pub(crate) fn cancel(&mut self, token: PublishToken) -> Result<Message, CancelError> {
        let (place, _) = self.find_unsent(token)?;
        // It may be in flight all the same, if the connection was lost before its first byte was taken.
        self.leave_flight(place);
        let outgoing = &mut self.session.outgoing;
        if let Some(id) = outgoing.get(place).and_then(|entry| entry.id) {
            self.session.ids.remove(id);
        }
        let (token, message) = outgoing.retire(place, &mut self.journal).ok_or(CancelError::Resolved)?;
        outgoing.reported(token);
        self.stats.cancelled += 1;
        self.pump();
        message.ok_or(CancelError::Resolved)
    }

    pub(crate) fn expire(&mut self, token: PublishToken, at: Time) -> Result<(), CancelError> {
        let (place, stage) = self.find_unsent(token)?;
        if stage != Stage::Queued {
            return Err(CancelError::Sent);
        }
        if self.journal.is_full() {
            return Err(CancelError::Busy);
        }
        self.session.outgoing.set_expiry(place, at, &mut self.journal);
        Ok(())
    }

    pub(crate) fn subscribe(
        &mut self,
        filters: Vec<(TopicFilter, QoS)>,
    ) -> Result<RequestToken, RequestError> {
        if filters.is_empty() {
            return Err(RequestError::NoFilter);
        }
        let packet = SubscribeFilters::new(&filters)
            .map(|filters| Packet::Subscribe(Subscribe { id: PacketId::MIN, dup: false, filters }));
        self.check_size(packet.ok())?;
        self.request(Kind::Subscribe(filters))
    }

    pub(crate) fn unsubscribe(&mut self, filters: Vec<TopicFilter>) -> Result<RequestToken, RequestError> {
        if filters.is_empty() {
            return Err(RequestError::NoFilter);
        }
        let packet = UnsubscribeFilters::new(&filters)
            .map(|filters| Packet::Unsubscribe(Unsubscribe { id: PacketId::MIN, dup: false, filters }));
        self.check_size(packet.ok())?;
        self.request(Kind::Unsubscribe(filters))
    }

    fn check_size(&self, packet: Option<Packet<'_>>) -> Result<(), RequestError> {
        match packet.map(|packet| packet.encoded_len(self.version)) {
            Some(Ok(_)) => Ok(()),
            _ => Err(RequestError::TooLarge),
        }
    }

    fn request(&mut self, kind: Kind) -> Result<RequestToken, RequestError> {
        if self.session.requests.len() >= self.options.max_requests
            || self.has_unread_events()
            || self.journal.is_full()
        {
            return Err(RequestError::TooManyRequests);
        }
        let (place, token) = self.session.requests.push(kind, &mut self.journal);
        if let Link::Connected(connected) = &mut self.link {
            if connected.flow.requests == NIL {
                connected.flow.requests = place;
            }
            self.pump();
        }
        Ok(token)
    }

    pub(crate) fn acknowledge(&mut self, token: AckToken) -> Result<(), AcknowledgeError> {
        let Link::Connected(connected) = &mut self.link else { return Err(AcknowledgeError::Stale) };
        let (id, qos) = connected.acks.acknowledge(token).ok_or(AcknowledgeError::Stale)?;
        if qos == QoS::ExactlyOnce {
            // The application has it: from here on a second copy is not for it, on this connection or a later one.
            let digest = connected.acks.digest(id);
            self.remember_received(id, digest);
        }
        self.send_acknowledgements();
        Ok(())
    }

    pub(crate) fn hold(&mut self, token: AckToken) -> Result<(), AcknowledgeError> {
        let Link::Connected(connected) = &self.link else { return Err(AcknowledgeError::Stale) };
        let (id, qos) = connected.acks.get(token).ok_or(AcknowledgeError::Stale)?;
        if qos == QoS::ExactlyOnce {
            let digest = connected.acks.digest(id);
            self.remember_received(id, digest);
        }
        Ok(())
    }

    pub(crate) fn set_ack_mode(&mut self, mode: AckMode) {
        self.options.ack_mode = mode;
    }

    pub(crate) fn ping(&mut self, now: Time) -> Result<(), PingError> {
        let Link::Connected(connected) = &self.link else { return Err(PingError::NotConnected) };
        // One that is unanswered serves for this call too: PINGRESPs cannot be told apart.
        if !connected.keep_alive.is_waiting() {
            self.send_pingreq(now);
        }
        Ok(())
    }

    pub(crate) fn discard_session(&mut self) {
        self.end_connection();
        // Whatever is noted for each of them is void in the end.
        let (session, journal) = (&mut self.session, &mut self.journal);
        loop {
            let Some((place, entry)) = session.outgoing.iter().next() else { break };
            let seen = entry.may_have_arrived();
            if let Some(id) = entry.id {
                session.ids.remove(id);
            }
            if let Some((token, _)) = session.outgoing.retire(place, journal) {
                let outcome = if seen {
                    Outcome::Ambiguous(Cause::Discarded)
                } else {
                    Outcome::NotSent(Cause::Discarded)
                };
                self.stats.ended(outcome);
                self.events.push_back(Event::Published { token, outcome });
            }
        }
        while let Some((token, kind, id)) = session.requests.retire(session.requests.first(), journal) {
            if let Some(id) = id {
                session.ids.remove(id);
            }
            if matches!(kind, Kind::Resubscribe(_)) {
                session.requests.reported(token);
            } else {
                self.events.push_back(Event::RequestFailed { token, cause: Cause::Discarded });
            }
        }
        session.received.clear();
        session.subscriptions.clear();
        session.unsettled = false;
        journal.cleared();
    }
}
