//! What may be sent now, and in which order.
//!
//! On a new connection: PUBRELs in the order of their PUBRECs, PUBLISHes in the order in which they were first sent
//! [MQTT-4.6.0-1], requests, then the queues. All but QoS 0 and requests stays within the window, so that with a
//! smaller window than before the rest follows as acknowledgements come.

use alloc::collections::VecDeque;

use mqtt_codec::{Delivery, Packet, PacketId, ProtocolVersion, QoS};

use super::Core;
use crate::event::{Event, Outcome};
use crate::message::{Message, PublishToken, RequestToken};
use crate::outbox::Outbox;
use crate::session::Session;
use crate::session::journal::Journal;
use crate::session::outgoing::Entry;
use crate::session::packet_ids::Owner;
use crate::session::requests::Request;
use crate::session::slab::NIL;
use crate::state::{Flow, Link};
use crate::stats::Stats;

impl Core {
    /// The flow of the connection on which packets may be sent now.
    #[inline]
    pub(super) fn flow_mut(&mut self) -> Option<&mut Flow> {
        match &mut self.link {
            Link::Connected(connected) => Some(&mut connected.flow),
            Link::Connecting(connecting) if connecting.pipeline => Some(&mut connecting.flow),
            _ => None,
        }
    }

    /// The parts of the core that sending needs, if it is possible now.
    #[inline]
    fn sender(&mut self) -> Option<Sender<'_>> {
        let flow = match &mut self.link {
            Link::Connected(connected) => &mut connected.flow,
            Link::Connecting(connecting) if connecting.pipeline => &mut connecting.flow,
            _ => return None,
        };
        Some(Sender {
            flow,
            session: &mut self.session,
            outbox: &mut self.outbox,
            journal: &mut self.journal,
            events: &mut self.events,
            stats: &mut self.stats,
            version: self.version,
            window: self.options.max_in_flight as usize,
            window_qos2: self.options.max_in_flight_qos2 as usize,
            queue_paused: self.queue_paused,
        })
    }

    /// Sends whatever may be sent. Cheap when there is nothing.
    #[inline]
    pub(super) fn pump(&mut self) {
        let connected = matches!(self.link, Link::Connected(_));
        let outgoing = &self.session.outgoing;
        let idle = outgoing.queue.is_empty() && outgoing.queue_qos0.is_empty();
        let Some(mut sender) = self.sender() else { return };
        if idle && sender.flow.has_resumed() && sender.flow.requests == NIL {
            return;
        }
        sender.send_all(connected);
    }

    /// An identifier for a QoS 1 or 2 message that may be sent at once, since nothing is in its way.
    #[inline]
    pub(super) fn admit(&mut self, qos: QoS) -> Option<PacketId> {
        let sender = self.sender()?;
        if !sender.session.outgoing.queue.is_empty() || !sender.may_launch(qos) {
            return None;
        }
        let place = sender.session.outgoing.next_place();
        sender.session.ids.allocate(Owner::Publish(place))
    }

    /// Sends a message under the identifier that [`admit`](Self::admit) gave.
    #[inline]
    pub(super) fn send_admitted(&mut self, message: Message, id: PacketId) -> PublishToken {
        let offset = self.outbox.offset();
        let delivery = match message.qos {
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
            _ => Delivery::AtLeastOnce { id, dup: false },
        };
        // Its size was checked before.
        let _ = self.outbox.publish(&message, delivery);
        let end = self.outbox.offset();
        self.stats.sent.add(message.qos, end - offset);
        if let Some(flow) = self.flow_mut() {
            flow.count(message.qos);
            flow.note_sent(id, true, offset, end);
        }
        self.session.outgoing.insert_in_flight(message, id, offset, &mut self.journal)
    }

    /// Whether a QoS 0 message may be sent at once: there is a connection, and none waits before it.
    #[inline]
    pub(super) fn admits_qos0(&mut self) -> bool {
        self.flow_mut().is_some() && self.session.outgoing.queue_qos0.is_empty()
    }

    /// The entry is about to be acknowledged or to become a PUBREL: it gives up its place in the window, and whatever
    /// was going to be sent from it on.
    #[inline]
    pub(super) fn leave_flight(&mut self, place: u32) {
        let Some(entry) = self.session.outgoing.get(place) else { return };
        let next = entry.next();
        let sent = if entry.is_sent() { Some(entry.qos()) } else { None };
        let id = entry.id;
        let Some(flow) = self.flow_mut() else { return };
        if let Some(id) = id {
            flow.note_acknowledged(id);
        }
        if let Some(qos) = sent {
            flow.in_flight = flow.in_flight.saturating_sub(1);
            flow.in_flight_qos2 = flow.in_flight_qos2.saturating_sub(usize::from(qos == QoS::ExactlyOnce));
        }
        if flow.sent == place {
            flow.sent = next;
        }
        if flow.released == place {
            flow.released = next;
        }
    }

    /// Takes an answered request out, and its identifier out of use.
    pub(super) fn finish_request(&mut self, place: u32, id: PacketId) -> Option<(RequestToken, Request)> {
        let next = self.session.requests.next(place);
        if let Some(flow) = self.flow_mut() {
            if flow.requests == place {
                flow.requests = next;
            }
            flow.note_acknowledged(id);
        }
        self.session.ids.remove(id);
        self.session.requests.overtake(place);
        let finished = self.session.requests.resolve(place, &mut self.journal);
        // The identifier may be the one that a publish or a request waits for.
        self.pump();
        finished
    }

    /// Sends the manual acknowledgements whose turn it is.
    pub(super) fn send_acknowledgements(&mut self) {
        let Link::Connected(connected) = &mut self.link else { return };
        while let Some((id, qos)) = connected.acks.pop() {
            let packet = if qos == QoS::ExactlyOnce { Packet::Pubrec(id) } else { Packet::Puback(id) };
            self.outbox.reply(&packet, self.version);
        }
    }
}

/// The parts of the core that sending needs.
struct Sender<'c> {
    flow: &'c mut Flow,
    session: &'c mut Session,
    outbox: &'c mut Outbox,
    journal: &'c mut Journal,
    events: &'c mut VecDeque<Event<'static>>,
    stats: &'c mut Stats,
    version: ProtocolVersion,
    window: usize,
    window_qos2: usize,
    queue_paused: bool,
}

impl Sender<'_> {
    #[inline(never)]
    fn send_all(&mut self, connected: bool) {
        self.resend_pubrels();
        self.resend_publishes();
        if connected {
            self.send_requests();
        }
        self.send_queued_qos0();
        self.send_queued();
    }

    /// Whether a new message may go into flight.
    #[inline]
    fn may_launch(&self, qos: QoS) -> bool {
        !self.queue_paused
            && self.flow.has_resumed()
            && self.has_window(qos)
            && !self.outbox.is_full_of_publishes()
    }

    #[inline]
    fn has_window(&self, qos: QoS) -> bool {
        self.flow.in_flight < self.window
            && (qos != QoS::ExactlyOnce || self.flow.in_flight_qos2 < self.window_qos2)
    }

    /// PUBRELs are small and the window bounds them: they do not wait for the output to drain.
    fn resend_pubrels(&mut self) {
        while let Some(entry) = self.session.outgoing.get(self.flow.released) {
            let (place, next) = (self.flow.released, entry.next());
            let again = entry.id.is_some_and(|id| self.flow.is_again(id));
            if let Some(id) = entry.id.filter(|_| again || !entry.is_sent()) {
                if !again && !self.has_window(QoS::ExactlyOnce) {
                    return;
                }
                let offset = self.outbox.offset();
                let dup = again || entry.dup;
                // A packet of four bytes is never too large.
                let _ = self.outbox.packet(&Packet::Pubrel { id, dup }, self.version);
                self.note_resent(place, QoS::ExactlyOnce, again, dup, offset);
                self.flow.note_sent(id, false, offset, self.outbox.offset());
            }
            self.flow.released = next;
        }
    }

    /// Behind the PUBRELs; but copies, which have their place in the window, do not wait for PUBRELs without one.
    fn resend_publishes(&mut self) {
        while !self.outbox.is_full_of_publishes() {
            let place = self.flow.sent;
            let Some(entry) = self.session.outgoing.get(place) else { return };
            let (qos, next) = (entry.qos(), entry.next());
            let again = entry.id.is_some_and(|id| self.flow.is_again(id));
            if let (Some(message), Some(id), true) = (&entry.message, entry.id, again || !entry.is_sent()) {
                if !again && (self.flow.released != NIL || !self.has_window(qos)) {
                    return;
                }
                let offset = self.outbox.offset();
                let dup = again || entry.dup;
                // Its size was checked when it was admitted.
                let _ = self.outbox.publish(message, entry.delivery(again));
                self.note_resent(place, qos, again, dup, offset);
                self.flow.note_sent(id, true, offset, self.outbox.offset());
            }
            self.flow.sent = next;
        }
    }

    /// An entry was encoded at `offset`: `again`, or for the first time on this connection. In the first case it has
    /// its place in the window, and was sent as far back as before.
    fn note_resent(&mut self, place: u32, qos: QoS, again: bool, dup: bool, offset: u64) {
        if again {
            self.stats.retransmitted += 1;
            return;
        }
        self.stats.resent += u64::from(dup);
        self.session.outgoing.sent_again(place, offset);
        self.flow.count(qos);
    }

    fn send_requests(&mut self) {
        while let Some(request) = self.session.requests.get(self.flow.requests) {
            let place = self.flow.requests;
            let id = match request.id {
                Some(id) => id,
                None => match self.session.ids.allocate(Owner::Request(place)) {
                    Some(id) => id,
                    None => return,
                },
            };
            let offset = self.outbox.offset();
            let again = self.flow.is_again(id);
            let is_due = again || !request.is_sent();
            if let Some(packet) = request.packet(id, again || request.dup).filter(|_| is_due) {
                // Its size was checked when it was asked for.
                let _ = self.outbox.packet(&packet, self.version);
                if again {
                    self.stats.retransmitted += 1;
                } else {
                    self.session.requests.sent(place, id, offset);
                }
                self.flow.note_sent(id, false, offset, self.outbox.offset());
            }
            self.flow.requests = self.session.requests.next(place);
        }
    }

    fn send_queued_qos0(&mut self) {
        while !self.outbox.is_full() {
            let place = self.session.outgoing.queue_qos0.first();
            let Some((token, message)) = self.session.outgoing.retire(place, self.journal) else { return };
            if let Some(message) = &message {
                let offset = self.outbox.offset();
                // Its size was checked when it was admitted.
                let _ = self.outbox.publish(message, Delivery::AtMostOnce);
                self.stats.sent.add(QoS::AtMostOnce, self.outbox.offset() - offset);
            }
            self.events.push_back(Event::Published { token, outcome: Outcome::Delivered });
        }
    }

    fn send_queued(&mut self) {
        loop {
            let place = self.session.outgoing.queue.first();
            let Some(qos) = self.session.outgoing.get(place).map(Entry::qos) else { return };
            if !self.may_launch(qos) {
                return;
            }
            let Some(id) = self.session.ids.allocate(Owner::Publish(place)) else { return };
            self.session.outgoing.dequeue(place);
            self.launch(place, id);
        }
    }

    /// Sends an entry, which is in no list, under `id`.
    #[inline]
    fn launch(&mut self, place: u32, id: PacketId) {
        let offset = self.outbox.offset();
        self.session.outgoing.launch(place, id, offset, self.journal);
        if let Some((message, delivery)) = self
            .session
            .outgoing
            .get(place)
            .and_then(|entry| entry.message.as_ref().map(|message| (message, entry.delivery(false))))
        {
            // Its size was checked when it was admitted.
            let _ = self.outbox.publish(message, delivery);
            let end = self.outbox.offset();
            self.stats.sent.add(delivery.qos(), end - offset);
            self.flow.count(delivery.qos());
            self.flow.note_sent(id, true, offset, end);
        }
    }
}
