//! The state machine: one core for all profiles.
//!
//! - `mod.rs`: the core itself; how a Network Connection begins and ends; time.
//! - `input.rs`: packets in. Every transition that a packet causes stands there, in one `match`.
//! - `commands.rs`: what the application asks for.
//! - `flow.rs`: what may be sent now, and in which order.
//! - `skip.rs`: messages above the limit.
//! - `timers.rs`: what is due at a time.

mod commands;
#[cfg(test)]
mod exhaustive;
mod flow;
mod input;
pub(crate) mod skip;
mod timers;

use alloc::collections::VecDeque;
use alloc::string::String;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{Decoder, Direction, Packet, PacketId, ProtocolVersion};

use crate::error::{ConnectError, OptionsError};
use crate::event::{Cause, Event, Outcome};
use crate::inspect::{Hook, Inspector};
use crate::options::{Options, Secret};
use crate::outbox::{Outbox, Output};
use crate::policies::Fallback;
use crate::session::Session;
use crate::session::journal::{Changes, Journal, Mark};
use crate::session::slab::NIL;
use crate::state::{Connecting, Flow, Link, State};
use crate::stats::Stats;
use crate::time::Time;

/// The client without its profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Core {
    options: Options,
    /// The version of the present or the next connection.
    version: ProtocolVersion,
    /// The CONNECT packet of these options: made once, so that connecting cannot fail for its sake.
    connect_packet: Secret,
    /// The same for MQTT 3.1, if that may be tried.
    fallback_packet: Option<Secret>,
    /// Whether the Server has ever accepted a connection.
    accepted: bool,
    decoder: Decoder,
    link: Link,
    session: Session,
    /// Outlives the link by what a DISCONNECT leaves to be written.
    outbox: Outbox,
    /// What changes in the Session, for whoever keeps it on a disk.
    journal: Journal,
    /// Events that no input caused directly, in order. Bounded: see [`has_unread_events`](Self::has_unread_events).
    events: VecDeque<Event<'static>>,
    /// Nothing goes from the queue into flight.
    queue_paused: bool,
    /// Counts Network Connections, to tell acknowledgements of earlier ones.
    connection: u32,
    stats: Stats,
}

impl Core {
    pub(crate) fn new(options: Options, session: Session) -> Result<Self, OptionsError> {
        let (connect_packet, fallback_packet) = connect_packets(&options)?;
        // A copy of a Session that was connected: nobody knows what the transport took since, so that all may be DUP.
        let mut session = session;
        session.connection_ended(u64::MAX);
        let journal = session.journal(options.journal);
        let decoder =
            Decoder::new(options.version, Direction::ToClient).max_packet_size(options.max_packet_size);
        Ok(Self {
            version: options.version,
            options,
            connect_packet,
            fallback_packet,
            accepted: false,
            decoder,
            link: Link::Disconnected,
            session,
            outbox: Outbox::new(),
            journal,
            events: VecDeque::new(),
            queue_paused: false,
            connection: 0,
            stats: Stats::default(),
        })
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) const fn stats(&self) -> Stats {
        let outgoing = &self.session.outgoing;
        Stats {
            in_flight: outgoing.in_flight(),
            queued: outgoing.queued_len(),
            queued_size: outgoing.queued_size(),
            unsent_size: self.outbox.len(),
            ..self.stats
        }
    }

    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    /// The Session, as it is when the present connection ends now.
    pub(crate) fn into_session(mut self) -> Session {
        self.end_connection();
        // Outcomes that nobody fetched go with the client: what is resolved is resolved.
        while self.next_event().is_some() {}
        self.session
    }

    /// The next event that waits; its token is free from now on.
    pub(super) fn next_event(&mut self) -> Option<Event<'static>> {
        let event = self.events.pop_front()?;
        match &event {
            Event::Published { token, .. } => self.session.outgoing.reported(*token),
            Event::RequestFailed { token, .. } => self.session.requests.reported(*token),
            _ => {}
        }
        Some(event)
    }

    pub(crate) const fn state(&self) -> State {
        match self.link {
            Link::Disconnected => State::Disconnected,
            Link::Connecting(_) => State::Connecting,
            Link::Connected(_) => State::Connected,
        }
    }

    pub(crate) const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The CONNECT packet of the present version.
    fn connect_packet(&self) -> &Bytes {
        let fell_back = self.version != self.options.version;
        &self.fallback_packet.as_ref().filter(|_| fell_back).unwrap_or(&self.connect_packet).0
    }

    pub(crate) fn set_credentials(
        &mut self,
        username: Option<String>,
        password: Option<Bytes>,
    ) -> Result<(), OptionsError> {
        let options = Options { username, password: password.map(Secret), ..self.options.clone() };
        (self.connect_packet, self.fallback_packet) = connect_packets(&options)?;
        self.options = options;
        Ok(())
    }

    pub(crate) fn connect(&mut self, now: Time) -> Result<(), ConnectError> {
        if !matches!(self.link, Link::Disconnected) {
            return Err(ConnectError::AlreadyConnected);
        }
        self.stats.attempts += 1;
        // What a DISCONNECT left unwritten is void now.
        self.settle();
        let was_unsettled = self.session.unsettled;
        self.set_unsettled(was_unsettled || !self.session.subscriptions.is_empty());
        self.connection = self.connection.wrapping_add(1);
        self.decoder =
            Decoder::new(self.version, Direction::ToClient).max_packet_size(self.options.max_packet_size);
        let packet = self.connect_packet().clone();
        let connect_len = packet.len();
        self.outbox.bytes(packet, self.version);
        // Before the CONNACK nobody knows whether the Server kept the Session: only if nothing depends on that may new
        // messages go ahead, or they would overtake those that are to be sent again [MQTT-4.6.0-1].
        let pipeline = self.options.pipeline && self.session.outgoing.in_flight() == 0;
        let deadline = now + self.options.connack_timeout;
        let flow = Flow { timers: self.timers(), ..Flow::IDLE };
        self.link = Link::Connecting(Connecting {
            deadline,
            last_sent: now,
            pipeline,
            was_unsettled,
            connect_len,
            flow,
        });
        self.expire_due(now);
        self.pump();
        Ok(())
    }

    pub(crate) fn inspect(&mut self, inspector: Option<Inspector>) {
        self.outbox.set_hook(Hook(inspector));
    }

    pub(crate) fn disconnect(&mut self) {
        match self.link {
            Link::Disconnected => return,
            // Nobody knows of this connection yet: there is nothing to say goodbye to.
            Link::Connecting(_) if self.outbox.taken() == 0 => self.settle(),
            Link::Connecting(_) | Link::Connected(_) => {
                // A packet of two bytes is never too large. It is the last one [MQTT-3.14.4-2].
                let _ = self.outbox.packet(&Packet::Disconnect, self.version);
            }
        }
        self.link = Link::Disconnected;
        self.drop_unsent_qos0();
    }

    /// The transport is gone, or is to be closed.
    pub(crate) fn handle_close(&mut self) {
        if let Link::Connecting(connecting) = &self.link {
            if self.options.fallback == Fallback::RefusedOrClosed
                && !self.accepted
                && self.outbox.taken() >= connecting.connect_len as u64
            {
                self.change_version();
            }
        }
        self.lose_connection();
    }

    /// The Server does not want this version: the next connection tries the other one, if that may be.
    pub(super) fn change_version(&mut self) {
        if self.fallback_packet.is_some() {
            self.version = match self.version {
                ProtocolVersion::V3_1 => ProtocolVersion::V3_1_1,
                ProtocolVersion::V3_1_1 => ProtocolVersion::V3_1,
            };
        }
    }

    /// The connection ends, and the application did not ask for that.
    fn lose_connection(&mut self) {
        self.stats.connections_lost += u64::from(matches!(self.link, Link::Connected(_)));
        self.end_connection();
    }

    /// To `Disconnected`, whatever the state; the Session is kept.
    fn end_connection(&mut self) {
        self.settle();
        if !matches!(self.link, Link::Disconnected) {
            self.link = Link::Disconnected;
            self.drop_unsent_qos0();
        }
    }

    /// Whether a Session may have begun at the Server that we do not know of.
    pub(super) fn set_unsettled(&mut self, unsettled: bool) {
        if self.session.unsettled != unsettled {
            self.session.unsettled = unsettled;
            self.journal.connecting(unsettled);
        }
    }

    /// Marks what the transport took of the connection's stream, and forgets the rest of the stream.
    fn settle(&mut self) {
        if let Link::Connecting(connecting) = &self.link {
            if self.outbox.taken() == 0 {
                let before = connecting.was_unsettled;
                self.set_unsettled(before);
            }
        }
        self.session.connection_ended(self.outbox.taken());
        self.outbox.clear();
        self.journal.connection_ended();
    }

    /// QoS 0 messages that were held for a connection are not kept for the next one, unless the options say so.
    fn drop_unsent_qos0(&mut self) {
        if self.options.queue_qos0 {
            return;
        }
        let outgoing = &mut self.session.outgoing;
        while outgoing.queue_qos0.first() != NIL {
            if let Some((token, _)) = outgoing.retire(outgoing.queue_qos0.first(), &mut self.journal) {
                let outcome = Outcome::NotSent(Cause::ConnectionLost);
                self.stats.ended(outcome);
                self.events.push_back(Event::Published { token, outcome });
            }
        }
    }

    pub(crate) fn pause_queue(&mut self, paused: bool) {
        self.queue_paused = paused;
        self.pump();
    }

    #[cfg(test)]
    fn is_queue_paused(&self) -> bool {
        self.queue_paused
    }

    pub(crate) fn poll_output(&mut self, now: Time) -> Output<'_> {
        self.expire_due(now);
        self.pump();
        Output { core: self, now }
    }

    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The transport took `count` bytes of the output.
    pub(crate) fn output_taken(&mut self, count: usize, now: Time) {
        let before = self.outbox.taken();
        self.outbox.advance(count);
        let taken = self.outbox.taken();
        let mut progress = false;
        let flow = match &mut self.link {
            Link::Disconnected => return,
            Link::Connecting(connecting) => {
                connecting.last_sent = now;
                &mut connecting.flow
            }
            Link::Connected(connected) => {
                connected.keep_alive.sent(now, before);
                progress = before < connected.flow.sent_until;
                &mut connected.flow
            }
        };
        if let Some(timers) = &mut flow.timers {
            timers.taken(taken, now);
        }
        if progress {
            self.note_progress(now);
        }
        // That has made room for what waits in the queue.
        self.expire_due(now);
        self.pump();
    }

    /// How many bytes may go out now.
    #[inline]
    pub(crate) fn open_len(&self) -> usize {
        match self.journal.limit() {
            None => self.outbox.len(),
            Some(limit) => {
                let open = limit.saturating_sub(self.outbox.taken());
                usize::try_from(open).map_or(self.outbox.len(), |open| open.min(self.outbox.len()))
            }
        }
    }

    pub(crate) fn has_output(&self) -> bool {
        self.open_len() > 0
    }

    pub(crate) const fn output_len(&self) -> usize {
        self.outbox.len()
    }

    pub(crate) const fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn poll_changes(&mut self) -> Option<Changes> {
        self.pump();
        self.journal.take(self.outbox.offset())
    }

    pub(crate) fn changes_saved(&mut self, mark: Mark) {
        self.journal.save(mark);
    }

    pub(crate) fn barrier(&mut self) {
        self.journal.barrier();
    }

    /// The application has the QoS 2 message with `id`: a second copy is not for it. With MQTT 3.1, what it was says
    /// whether another one is a copy.
    #[inline]
    pub(super) fn remember_received(&mut self, id: PacketId, digest: Option<u64>) {
        let received = &mut self.session.received;
        let mut news = received.insert(id);
        if let Some(digest) = digest.filter(|_| received.digest(id) != digest) {
            received.remember(id, digest);
            news = true;
        }
        if news {
            self.journal.received(id, digest);
        }
    }

    /// The Server has forgotten which QoS 2 messages it sent.
    pub(super) fn forget_received(&mut self) {
        if self.journal.is_enabled() {
            self.session.received.iter().for_each(|id| self.journal.received_released(id));
        }
        self.session.received.clear();
    }

    /// Whether so many events wait to be fetched that nothing may be accepted that can lead to more of them.
    pub(super) fn has_unread_events(&self) -> bool {
        self.events.len() > self.options.max_queue_len.saturating_add(self.options.max_requests)
    }

    pub(crate) fn wants_input(&self) -> bool {
        match &self.link {
            // What the Server still sends after a DISCONNECT is read, and dropped.
            Link::Disconnected => true,
            // A CONNACK changes the Session too: what was in flight, what is to be subscribed again.
            Link::Connecting(_) => !self.journal.is_full(),
            Link::Connected(connected) => {
                !self.outbox.is_flooded() && !connected.acks.is_full() && !self.journal.is_full()
            }
        }
    }
}

/// The CONNECT packet of these options, and that of MQTT 3.1 if it may be tried.
fn connect_packets(options: &Options) -> Result<(Secret, Option<Secret>), OptionsError> {
    options.check()?;
    let packet = Secret(encode_connect(options, options.version)?);
    let may_fall_back = options.version == ProtocolVersion::V3_1_1 && options.fallback != Fallback::Never;
    let fallback = may_fall_back.then(|| encode_connect(options, ProtocolVersion::V3_1));
    // Options that 3.1 does not allow cannot fall back to it.
    Ok((packet, fallback.and_then(Result::ok).map(Secret)))
}

fn encode_connect(options: &Options, version: ProtocolVersion) -> Result<Bytes, OptionsError> {
    let connect = options.to_connect(version)?;
    connect.check()?;
    let mut bytes = BytesMut::new();
    connect.encode(&mut bytes);
    Ok(bytes.freeze())
}
