//! Time: what is due when, and what is done about it.

use alloc::boxed::Box;

use mqtt_codec::Packet;

use super::Core;
use crate::error::ConnectionError;
use crate::event::{Cause, Event, Outcome};
use crate::retransmission::{Retransmission, Timers};
use crate::session::requests::Request;
use crate::state::{Connected, Link};
use crate::time::Time;

impl Core {
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let link = match &self.link {
            Link::Disconnected => None,
            Link::Connecting(connecting) => Some(connecting.deadline),
            Link::Connected(connected) => {
                let first = earlier(connected.keep_alive.deadline(), self.stall_due(connected));
                earlier(first, self.retransmission_due())
            }
        };
        earlier(link, self.session.outgoing.first_expiry().map(|(time, _)| time))
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Result<(), ConnectionError> {
        self.expire_due(now);
        let is_due = |due: Option<Time>| due.is_some_and(|due| now >= due);
        if let Link::Connected(connected) = &mut self.link {
            let withheld = |limit| connected.keep_alive.ping_ends_behind(limit);
            if connected.acks.is_full()
                || self.journal.is_full()
                || self.journal.limit().is_some_and(withheld)
            {
                // The input is not read until the application has acknowledged, or the store has saved: what we wait for
                // may wait in it. Or the store holds the PINGREQ back.
                connected.keep_alive.received(now);
                connected.stalled_since = connected.stalled_since.map(|_| now);
            }
        }
        let stalled = matches!(&self.link, Link::Connected(connected) if is_due(self.stall_due(connected)));
        let error = match &mut self.link {
            Link::Connecting(connecting) if now >= connecting.deadline => ConnectionError::ConnackTimeout,
            Link::Connected(connected) => {
                let keep_alive = &mut connected.keep_alive;
                if is_due(keep_alive.pong_due()) {
                    ConnectionError::PingrespTimeout
                } else if stalled {
                    ConnectionError::AckTimeout
                } else {
                    if is_due(keep_alive.ping_due()) {
                        self.keep_alive_ping(now);
                    }
                    if is_due(self.retransmission_due()) {
                        self.retransmit(now);
                    }
                    return Ok(());
                }
            }
            _ => return Ok(()),
        };
        self.lose_connection();
        Err(error)
    }

    /// Sends a PINGREQ, unless one is unanswered and the transport takes nothing: then another one helps nobody.
    fn keep_alive_ping(&mut self, now: Time) {
        let Link::Connected(connected) = &mut self.link else { return };
        if connected.keep_alive.is_waiting() && self.outbox.len() > 0 {
            connected.keep_alive.postpone(now);
            return;
        }
        self.send_pingreq(now);
    }

    pub(super) fn send_pingreq(&mut self, now: Time) {
        let Link::Connected(connected) = &mut self.link else { return };
        self.stats.pingreqs += 1;
        // A packet of two bytes is never too large.
        let _ = self.outbox.packet(&Packet::Pingreq, self.version);
        connected.keep_alive.ping_sent(now, self.outbox.offset());
    }

    pub(crate) fn pause_input(&mut self, now: Time, paused: bool) {
        let Link::Connected(connected) = &mut self.link else { return };
        if connected.keep_alive.is_paused() && !paused {
            // Answers may lie there unread.
            connected.stalled_since = connected.stalled_since.map(|_| now);
            if let Some(timers) = &mut connected.flow.timers {
                timers.resume(now);
            }
        }
        connected.keep_alive.set_paused(paused, now);
    }

    /// Messages whose time in the queue is over leave it.
    #[inline]
    pub(super) fn expire_due(&mut self, now: Time) {
        while let Some((time, place)) = self.session.outgoing.first_expiry() {
            if time > now {
                return;
            }
            self.expire_at(place);
        }
    }

    #[cold]
    fn expire_at(&mut self, place: u32) {
        // Nothing expires that was sent before: see `expire`.
        if let Some((token, _)) = self.session.outgoing.retire(place, &mut self.journal) {
            let outcome = Outcome::NotSent(Cause::Expired);
            self.stats.ended(outcome);
            self.events.push_back(Event::Published { token, outcome });
        }
    }

    /// Something that waits for its acknowledgement, or waited for it, has moved on.
    #[inline]
    pub(super) fn note_progress(&mut self, now: Time) {
        let Link::Connected(connected) = &mut self.link else { return };
        if self.options.ack_timeout.is_none() {
            return;
        }
        let requests = &self.session.requests;
        let waits =
            connected.flow.in_flight > 0 || requests.get(requests.first()).is_some_and(Request::is_sent);
        connected.stalled_since = waits.then_some(now);
    }

    /// When it ends the connection that nothing is acknowledged.
    fn stall_due(&self, connected: &Connected) -> Option<Time> {
        let since = connected.stalled_since.filter(|_| !connected.keep_alive.is_paused())?;
        Some(since + self.options.ack_timeout?)
    }

    /// The timers of a new connection.
    pub(super) fn timers(&self) -> Option<Box<Timers>> {
        match self.options.retransmission_of(self.version) {
            Retransmission::OnReconnect => None,
            Retransmission::Timed(rule) => {
                let seed = self
                    .options
                    .client_id
                    .bytes()
                    .fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
                Some(Box::new(Timers::new(rule, seed)))
            }
        }
    }

    /// When the next packet is to be sent again on this connection. Not while the transport takes nothing: it would
    /// only wait behind the rest; and not while the application does not read: the answer may lie there unread.
    fn retransmission_due(&self) -> Option<Time> {
        let Link::Connected(connected) = &self.link else { return None };
        let timers = connected.flow.timers.as_ref()?;
        if self.outbox.len() > 0 || connected.keep_alive.is_paused() || !self.wants_input() {
            return None;
        }
        let outgoing = &self.session.outgoing;
        // None overtakes those before it [MQTT-4.6.0-1] [MQTT-4.6.0-4], so that the first says when. Whatever is due is
        // sent then: nothing can keep the first back while no output waits.
        let first = |place| timers.due(outgoing.get(place)?.id?);
        let publishes = earlier(first(outgoing.released.first()), first(outgoing.sent.first()));
        earlier(publishes, timers.requests_due())
    }

    /// Sends again what is due, and what was sent behind it: PUBRELs, PUBLISHes, requests, as on a new connection.
    #[cold]
    fn retransmit(&mut self, now: Time) {
        let Link::Connected(connected) = &mut self.link else { return };
        let flow = &mut connected.flow;
        let Some(timers) = &mut flow.timers else { return };
        let (outgoing, requests) = (&self.session.outgoing, &self.session.requests);
        for (list, from) in [(&outgoing.released, &mut flow.released), (&outgoing.sent, &mut flow.sent)] {
            let first = outgoing.get(list.first()).and_then(|entry| entry.id);
            if first.is_some_and(|id| timers.is_due(id, now)) {
                outgoing.iter_list(list).filter_map(|entry| entry.id).for_each(|id| timers.repeat(id));
                *from = list.first();
            }
        }
        let mut next_due = None;
        let mut any = false;
        for (place, request) in requests.iter() {
            let Some(id) = request.id.filter(|_| request.is_sent()) else { continue };
            if !any && timers.is_due(id, now) {
                any = true;
                flow.requests = place;
            }
            if any {
                timers.repeat(id);
            } else {
                next_due = earlier(next_due, timers.due(id));
            }
        }
        timers.set_requests_due(next_due);
        self.pump();
    }
}

/// The earlier of two moments that may not be.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
