//! Packets in: every transition that a packet of the Server causes.

use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Delivery, Packet, PacketId, PacketType, ProtocolVersion, Publish,
    QoS, SubackCode, SubackCodes,
};

use super::Core;
use crate::error::{ConnectionError, ProtocolViolation};
use crate::event::{Cause, Event, Outcome};
use crate::keep_alive::KeepAlive;
use crate::message::{AckToken, IncomingMessage};
use crate::policies::{AckMode, SessionLoss};
use crate::session::incoming::{AckQueue, digest};
use crate::session::outgoing::{Entry, Stage};
use crate::session::packet_ids::Owner;
use crate::session::requests::Kind;
use crate::session::slab::NIL;
use crate::state::{Connected, Flow, Link};
use crate::time::Time;

type Handled<'a> = Result<Option<Event<'a>>, ConnectionError>;

impl Core {
    pub(crate) fn handle_input<'a>(&mut self, input: &mut &'a [u8], now: Time) -> Handled<'a> {
        self.expire_due(now);
        loop {
            if !self.events.is_empty() {
                return Ok(self.next_event());
            }
            match &mut self.link {
                Link::Disconnected => {
                    // Bytes of a connection that has ended mean nothing.
                    *input = &[];
                    return Ok(None);
                }
                Link::Connected(connected) => {
                    if input.len() > connected.seen {
                        connected.seen = input.len();
                        connected.keep_alive.received(now);
                    }
                    if connected.skipping.is_some() && !input.is_empty() {
                        if let Some(event) = self.skip(input) {
                            return Ok(Some(event));
                        }
                        continue;
                    }
                }
                Link::Connecting(_) => {}
            }
            if input.is_empty() || !self.wants_input() {
                return Ok(None);
            }
            if self.outbox.hook().is_set() {
                self.outbox.hook().received(input, &self.decoder);
            }
            let (packet, len) = match self.decoder.decode(input) {
                Ok(Decoded::Packet(packet, len)) => (packet, len),
                Ok(Decoded::Incomplete { .. }) => return Ok(None),
                Ok(Decoded::Oversize(oversize)) => match self.handle_oversize(oversize, input) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(None),
                    Err(error) => return self.fail(error),
                },
                Err(error) => return self.fail(error.into()),
            };
            *input = input.get(len..).unwrap_or_default();
            if let Link::Connected(connected) = &mut self.link {
                connected.seen = connected.seen.saturating_sub(len);
            }
            match self.handle_packet(packet, len, now) {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(error) => return self.fail(error),
            }
        }
    }

    #[cold]
    fn fail<'a>(&mut self, error: ConnectionError) -> Handled<'a> {
        self.lose_connection();
        Err(error)
    }

    /// The transitions. What is not in this table is an error: `BeforeConnack` while Connecting, `SecondConnack` while
    /// Connected, and the packets that only a client sends are refused by the decoder.
    fn handle_packet<'a>(&mut self, packet: Packet<'a>, len: usize, now: Time) -> Handled<'a> {
        match (&mut self.link, packet) {
            (Link::Connecting(_), Packet::Connack(connack)) => self.handle_connack(connack, now),
            (Link::Connecting(_), packet) => {
                Err(ProtocolViolation::BeforeConnack(packet.packet_type()).into())
            }

            (Link::Connected(_), Packet::Publish(publish)) => Ok(self.handle_publish(publish, len)),
            (Link::Connected(_), Packet::Puback(id)) => self.handle_puback(id, now),
            (Link::Connected(_), Packet::Pubrec(id)) => self.handle_pubrec(id, now),
            (Link::Connected(_), Packet::Pubrel { id, .. }) => Ok(self.handle_pubrel(id)),
            (Link::Connected(_), Packet::Pubcomp(id)) => self.handle_pubcomp(id, now),
            (Link::Connected(_), Packet::Suback(suback)) => self.handle_suback(suback.id, suback.codes, now),
            (Link::Connected(_), Packet::Unsuback(id)) => self.handle_unsuback(id, now),
            (Link::Connected(connected), Packet::Pingresp) => {
                if let Some(since) = connected.keep_alive.pong() {
                    self.stats.ponged(now - since);
                    return Ok(Some(Event::Pong));
                }
                // Scenario unsolicited-pingresp: harmless.
                self.stats.unsolicited_pingresps += 1;
                Ok(None)
            }
            (Link::Connected(_), Packet::Connack(_)) => Err(ProtocolViolation::SecondConnack.into()),

            // Sent by clients only: the decoder lets none of them through. And without a connection there is no input.
            (
                Link::Connected(_),
                Packet::Connect(_)
                | Packet::Subscribe(_)
                | Packet::Unsubscribe(_)
                | Packet::Pingreq
                | Packet::Disconnect,
            )
            | (Link::Disconnected, _) => Ok(None),
        }
    }

    /// Connecting -> Connected, or -> Disconnected with a refusal.
    fn handle_connack<'a>(&mut self, connack: Connack, now: Time) -> Handled<'a> {
        if connack.code != ConnectReturnCode::Accepted {
            if connack.code == ConnectReturnCode::UnacceptableProtocolVersion {
                self.change_version();
            }
            return Err(ConnectionError::Refused(connack.code));
        }
        if connack.session_present && self.options.clean_session {
            return Err(ProtocolViolation::SessionPresentAfterClean.into());
        }
        self.accepted = true;
        self.stats.connections += 1;
        self.expire_due(now);
        let (mut flow, last_sent, was_unsettled) = match &mut self.link {
            Link::Connecting(connecting) => {
                let flow = core::mem::replace(&mut connecting.flow, Flow::IDLE);
                (flow, connecting.last_sent, connecting.was_unsettled)
            }
            _ => (Flow::IDLE, now, false),
        };
        if let Some(timers) = &mut flow.timers {
            timers.resume(now);
        }
        // MQTT 3.1 does not tell: what is in flight is sent again as if the Server had kept the Session, and the
        // subscriptions are made again, which changes nothing if it did.
        let unknown = self.version == ProtocolVersion::V3_1 && !self.options.clean_session;
        if !connack.session_present {
            if !unknown {
                self.forget_in_flight();
                self.forget_received();
            }
            self.resubscribe();
        } else if was_unsettled {
            // It may be one that began with a CONNECT whose CONNACK was lost.
            self.resubscribe();
        }
        // Behind the requests that follow from it: a crash in between must leave the one or the other in the store.
        self.set_unsettled(false);
        let keep_alive =
            KeepAlive::new(self.options.keep_alive, self.options.pingresp_timeout, last_sent, now);
        let outgoing = &self.session.outgoing;
        self.link = Link::Connected(Connected {
            keep_alive,
            acks: AckQueue::new(self.connection),
            seen: 0,
            skipping: None,
            stalled_since: None,
            flow: Flow {
                released: outgoing.released.first(),
                sent: outgoing.sent.first(),
                requests: self.session.requests.first(),
                ..flow
            },
        });
        // For what was sent behind the CONNECT.
        self.note_progress(now);
        self.pump();
        Ok(Some(Event::Connected { session_present: connack.session_present }))
    }

    /// What was in flight on earlier connections means nothing to a Server without the Session.
    fn forget_in_flight(&mut self) {
        let policy = self.options.session_loss;
        let (ids, events, journal) = (&mut self.session.ids, &mut self.events, &mut self.journal);
        let stats = &mut self.stats;
        self.session.outgoing.session_lost(
            |entry| match (&entry.message, policy) {
                (Some(message), _) if entry.stage != Stage::AwaitingPubcomp && !entry.dup => {
                    // Not a byte of it was sent: it is as good as new, whatever the policy.
                    message.qos != QoS::AtMostOnce
                }
                (None, _) | (Some(_), SessionLoss::Fail) => false,
                (Some(message), SessionLoss::RepublishQos1) => message.qos == QoS::AtLeastOnce,
                (Some(_), SessionLoss::RepublishAll) => true,
            },
            |id| {
                ids.remove(id);
            },
            |token, seen| {
                let outcome = if seen {
                    Outcome::Ambiguous(Cause::SessionLost)
                } else {
                    Outcome::NotSent(Cause::SessionLost)
                };
                stats.ended(outcome);
                events.push_back(Event::Published { token, outcome });
            },
            journal,
        );
    }

    /// Asks again for all subscriptions, before any request of the application.
    fn resubscribe(&mut self) {
        let requests = &mut self.session.requests;
        let mut place = requests.first();
        while place != NIL {
            let next = requests.next(place);
            // One that was under way is made anew from the subscriptions.
            let stale =
                requests.get(place).is_some_and(|request| matches!(request.kind, Kind::Resubscribe(_)));
            if stale {
                if let Some((_, request)) = requests.resolve(place, &mut self.journal) {
                    request.id.map(|id| self.session.ids.remove(id));
                }
            }
            place = next;
        }
        requests.push_front(self.session.subscriptions.to_requests(), &mut self.journal);
    }

    #[inline]
    fn handle_publish<'a>(&mut self, publish: Publish<'a>, len: usize) -> Option<Event<'a>> {
        let Link::Connected(connected) = &mut self.link else { return None };
        let received = &mut self.stats.received;
        let ack = match publish.delivery {
            Delivery::AtMostOnce => {
                received.at_most_once.add(len as u64);
                None
            }
            Delivery::AtLeastOnce { id, .. } => {
                received.at_least_once.add(len as u64);
                self.due(id, QoS::AtLeastOnce)
            }
            Delivery::ExactlyOnce { id, dup } => {
                received.exactly_once.add(len as u64);
                // Scenario qos2-duplicate-over-reconnect. MQTT 3.1 does not tell whether the Server kept the Session:
                // there, another message without DUP is a new one even if its identifier is known. The same message
                // is not: mosquitto sends it again without DUP when it was restarted.
                let tells = self.version == ProtocolVersion::V3_1_1;
                let received = &self.session.received;
                let known = received.contains(id) && (dup || tells || received.was(id, &publish));
                if known || connected.acks.holds_exactly_once(id) {
                    self.stats.duplicates += 1;
                    self.acknowledge_duplicate(id, known);
                    return None;
                }
                let digest = (!tells).then(|| digest(&publish));
                if self.options.ack_mode == AckMode::Automatic {
                    self.remember_received(id, digest);
                } else if let Some(digest) = digest {
                    connected.acks.remember(id, digest);
                }
                self.due(id, QoS::ExactlyOnce)
            }
        };
        Some(Event::Message(IncomingMessage {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup: publish.delivery.dup(),
            ack,
        }))
    }

    /// An acknowledgement is due: sent now, or by the application, but never before those of earlier messages.
    #[inline]
    fn due(&mut self, id: PacketId, qos: QoS) -> Option<AckToken> {
        let Link::Connected(connected) = &mut self.link else { return None };
        if self.options.ack_mode == AckMode::Automatic && connected.acks.is_empty() {
            let packet = if qos == QoS::ExactlyOnce { Packet::Pubrec(id) } else { Packet::Puback(id) };
            self.outbox.reply(&packet, self.version);
            return None;
        }
        let token = connected.acks.push(id, qos);
        if self.options.ack_mode == AckMode::Manual {
            return Some(token);
        }
        connected.acks.acknowledge(token);
        None
    }

    /// A QoS 2 message that the application has. If it was acknowledged, it is so again, in the order of receipt; if
    /// the application still has to acknowledge it, that will do.
    pub(super) fn acknowledge_duplicate(&mut self, id: PacketId, acknowledged: bool) {
        let Link::Connected(connected) = &mut self.link else { return };
        if acknowledged && !connected.acks.holds_exactly_once(id) {
            let token = connected.acks.push(id, QoS::ExactlyOnce);
            connected.acks.acknowledge(token);
            self.send_acknowledgements();
        }
    }

    /// Scenario unknown-pubrel-pubcomp: always answered, known or not [MQTT-4.3.3-2].
    fn handle_pubrel<'a>(&mut self, id: PacketId) -> Option<Event<'a>> {
        if self.session.received.remove(id) {
            self.journal.received_released(id);
        } else {
            self.stats.unknown_acknowledgements += 1;
        }
        self.outbox.reply(&Packet::Pubcomp(id), self.version);
        None
    }

    fn handle_puback<'a>(&mut self, id: PacketId, now: Time) -> Handled<'a> {
        match self.owner_stage(id) {
            Some((place, Stage::AwaitingPuback)) => Ok(self.deliver(place, id, now)),
            None if self.session.ids.get(id).is_none() => Ok(self.unknown()),
            _ => Err(wrong(PacketType::Puback, id)),
        }
    }

    fn handle_pubrec<'a>(&mut self, id: PacketId, now: Time) -> Handled<'a> {
        match self.owner_stage(id) {
            Some((place, Stage::AwaitingPubrec)) => {
                self.leave_flight(place);
                let keep = self.options.session_loss == SessionLoss::RepublishAll;
                self.session.outgoing.release(place, keep, &mut self.journal);
                if let Some(flow) = self.flow_mut() {
                    // Behind all other PUBRELs that are to be sent [MQTT-4.6.0-4].
                    if flow.released == NIL {
                        flow.released = place;
                    }
                }
                self.note_progress(now);
                self.pump();
                Ok(None)
            }
            Some((place, Stage::AwaitingPubcomp)) => {
                // Scenario dup-pubrec-pubrel: the Server did not get ours. If it is still to be sent, it will be.
                if self.session.outgoing.get(place).is_some_and(Entry::is_sent) {
                    self.outbox.reply(&Packet::Pubrel { id, dup: true }, self.version);
                }
                Ok(None)
            }
            None if self.session.ids.get(id).is_none() => {
                // The Server waits for a PUBREL: without one it would ask for ever.
                self.outbox.reply(&Packet::Pubrel { id, dup: false }, self.version);
                Ok(self.unknown())
            }
            _ => Err(wrong(PacketType::Pubrec, id)),
        }
    }

    fn handle_pubcomp<'a>(&mut self, id: PacketId, now: Time) -> Handled<'a> {
        match self.owner_stage(id) {
            Some((place, Stage::AwaitingPubcomp)) => Ok(self.deliver(place, id, now)),
            None if self.session.ids.get(id).is_none() => Ok(self.unknown()),
            _ => Err(wrong(PacketType::Pubcomp, id)),
        }
    }

    /// The publish that `id` stands for, and what it waits for.
    #[inline]
    fn owner_stage(&self, id: PacketId) -> Option<(u32, Stage)> {
        match self.session.ids.get(id) {
            Some(Owner::Publish(place)) => self.session.outgoing.get(place).map(|entry| (place, entry.stage)),
            _ => None,
        }
    }

    #[inline]
    fn deliver<'a>(&mut self, place: u32, id: PacketId, now: Time) -> Option<Event<'a>> {
        self.leave_flight(place);
        self.session.ids.remove(id);
        let token = self.session.outgoing.finish(place, &mut self.journal)?;
        self.stats.delivered += 1;
        self.note_progress(now);
        self.pump();
        Some(Event::Published { token, outcome: Outcome::Delivered })
    }

    fn unknown<'a>(&mut self) -> Option<Event<'a>> {
        self.stats.unknown_acknowledgements += 1;
        None
    }

    fn handle_suback<'a>(&mut self, id: PacketId, codes: SubackCodes<'a>, now: Time) -> Handled<'a> {
        let Some(owner) = self.session.ids.get(id) else { return Ok(self.unknown()) };
        let Owner::Request(place) = owner else { return Err(wrong(PacketType::Suback, id)) };
        let Some(request) = self.session.requests.get(place) else { return Ok(None) };
        let (filters, again) = match &request.kind {
            Kind::Subscribe(filters) => (filters, false),
            Kind::Resubscribe(filters) => (filters, true),
            Kind::Unsubscribe(_) => return Err(wrong(PacketType::Suback, id)),
        };
        if filters.len() != codes.len() {
            let (requested, received) = (filters.len(), codes.len());
            return Err(ProtocolViolation::SubackCount { requested, received }.into());
        }
        // Before the request is over: a crash in between must leave the one or the other in the store.
        for ((filter, qos), code) in filters.iter().zip(codes.iter()) {
            match code {
                _ if !request.is_current(filter) => {}
                SubackCode::Granted(_) => {
                    self.session.subscriptions.insert(filter.clone(), *qos, &mut self.journal);
                }
                // A refused change of a subscription leaves the one that there is.
                SubackCode::Failure if !again => {}
                SubackCode::Failure => {
                    if self.session.subscriptions.remove(filter, &mut self.journal) {
                        self.events.push_back(Event::SubscriptionLost { filter: filter.clone() });
                    }
                }
            }
        }
        let Some((token, _)) = self.finish_request(place, id) else { return Ok(None) };
        self.note_progress(now);
        Ok(if again { None } else { Some(Event::Subscribed { token, codes }) })
    }

    fn handle_unsuback<'a>(&mut self, id: PacketId, now: Time) -> Handled<'a> {
        let Some(owner) = self.session.ids.get(id) else { return Ok(self.unknown()) };
        let Owner::Request(place) = owner else { return Err(wrong(PacketType::Unsuback, id)) };
        let Some(request) = self.session.requests.get(place) else { return Ok(None) };
        let Kind::Unsubscribe(filters) = &request.kind else { return Err(wrong(PacketType::Unsuback, id)) };
        // Before the request is over, as with SUBACK.
        for filter in filters.iter().filter(|filter| request.is_current(filter)) {
            self.session.subscriptions.remove(filter, &mut self.journal);
        }
        let Some((token, _)) = self.finish_request(place, id) else { return Ok(None) };
        self.note_progress(now);
        Ok(Some(Event::Unsubscribed { token }))
    }
}

fn wrong(packet_type: PacketType, id: PacketId) -> ConnectionError {
    ProtocolViolation::WrongAcknowledgement { packet_type, id: id.get() }.into()
}
