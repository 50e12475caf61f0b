//! The public surface: the core with its profile.

use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;

use bytes::Bytes;
use mqtt_codec::{ProtocolVersion, QoS, TopicFilter};

use crate::error::{
    AcknowledgeError, CancelError, ConnectError, ConnectionError, OptionsError, PingError, PublishError,
    RequestError,
};
use crate::event::Event;
use crate::inspect::Inspector;
use crate::machine::Core;
use crate::message::{AckToken, Message, PublishToken, RequestToken};
use crate::options::Options;
use crate::outbox::Output;
use crate::policies::AckMode;
use crate::profile::{CanPublish, CanSubscribe, Profile};
use crate::session::Session;
use crate::session::journal::{Changes, Mark};
use crate::state::State;
use crate::stats::Stats;
use crate::time::Time;

/// An MQTT Client (section 1.2) without I/O: bytes go in and become [events](Event), commands go in and become bytes.
///
/// Its methods come in four families:
/// - commands: [`connect`](Self::connect), [`set_credentials`](Self::set_credentials), [`publish`](Self::publish), [`cancel`](Self::cancel),
///   [`expire`](Self::expire), [`subscribe`](Self::subscribe),
///   [`unsubscribe`](Self::unsubscribe), [`acknowledge`](Self::acknowledge), [`hold`](Self::hold),
///   [`ping`](Self::ping),
///   [`disconnect`](Self::disconnect), [`discard_session`](Self::discard_session);
/// - inputs: [`handle_input`](Self::handle_input), [`handle_timeout`](Self::handle_timeout),
///   [`handle_close`](Self::handle_close), [`pause_input`](Self::pause_input), [`resume_input`](Self::resume_input);
/// - outputs: [`poll_output`](Self::poll_output), [`poll_timeout`](Self::poll_timeout);
/// - for a store: [`poll_changes`](Self::poll_changes), [`changes_saved`](Self::changes_saved),
///   [`barrier`](Self::barrier);
/// - looking: [`state`](Self::state), [`wants_input`](Self::wants_input), [`has_output`](Self::has_output),
///   [`session`](Self::session), [`stats`](Self::stats), [`options`](Self::options),
///   [`inspect`](Self::inspect).
///
/// Any method may be called in any state and any order; none panics. How to drive it is shown on the
/// [crate page](crate). It is `Clone`: a copy continues from the same state on its own.
pub struct Client<P: Profile> {
    core: Core,
    profile: PhantomData<P>,
}

impl<P: Profile> Client<P> {
    /// A disconnected client with an empty Session.
    ///
    /// # Errors
    /// [`OptionsError`]: an option breaks a rule.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        Self::with_session(options, Session::new())
    }

    /// A disconnected client that continues a Session. The options may differ from those the Session was made with: a
    /// smaller window drains first, another Clean Session setting takes effect at the next connection.
    ///
    /// # Errors
    /// [`OptionsError`]: an option breaks a rule. The Session is dropped then: clone it before if it is precious.
    pub fn with_session(options: Options, session: Session) -> Result<Self, OptionsError> {
        Ok(Self { core: Core::new(options, session)?, profile: PhantomData })
    }

    /// Starts a Network Connection: Disconnected -> Connecting. Call it when starting to dial; the CONNECT packet is
    /// the first of the output, and the CONNACK deadline covers the dial.
    ///
    /// # Errors
    /// [`ConnectError::AlreadyConnected`] in the other states [MQTT-3.1.0-2]; nothing happens then.
    pub fn connect(&mut self, now: Time) -> Result<(), ConnectError> {
        self.core.connect(now)
    }

    /// Replaces user name and password, from the next [`connect`](Self::connect) on: for credentials that run out, such as
    /// tokens. May be called in any state; the present connection does not notice.
    ///
    /// # Errors
    /// [`OptionsError`], by the rules of [`Options::credentials`]; the credentials are as they were then.
    pub fn set_credentials(
        &mut self,
        username: Option<String>,
        password: Option<Bytes>,
    ) -> Result<(), OptionsError> {
        self.core.set_credentials(username, password)
    }

    /// Ends the connection in order: -> Disconnected, with a DISCONNECT as the last packet of the output
    /// [MQTT-3.14.4-2]. Write the rest of the output, then close the transport [MQTT-3.14.4-1].
    ///
    /// The Session is kept; what is in flight is resumed by the next [`connect`](Self::connect). Does nothing while
    /// Disconnected.
    pub fn disconnect(&mut self) {
        self.core.disconnect();
    }

    /// Gives up the Session: every publish and request that is not resolved is reported as `NotSent`, `Ambiguous` or
    /// failed, the subscriptions are forgotten. Ends the connection without a DISCONNECT if there is one, and drops what
    /// a [`disconnect`](Self::disconnect) left unwritten: close the transport, or write that first.
    pub fn discard_session(&mut self) {
        self.core.discard_session();
    }

    /// Sends a PINGREQ now, unless one is unanswered; [`Event::Pong`] tells of the answer. Works without Keep Alive too.
    ///
    /// # Errors
    /// [`PingError::NotConnected`] in the other states.
    pub fn ping(&mut self, now: Time) -> Result<(), PingError> {
        self.core.ping(now)
    }

    /// Acknowledges a message that was received with [`AckMode::Manual`](crate::AckMode). Calls may come in
    /// any order; the packets leave in the order of receipt [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    ///
    /// # Errors
    /// [`AcknowledgeError::Stale`]: it came on an earlier connection, or is acknowledged already. Nothing is sent, and
    /// ignoring this error is right: the Server sends the message again.
    pub fn acknowledge(&mut self, token: AckToken) -> Result<(), AcknowledgeError> {
        self.core.acknowledge(token)
    }

    /// Notes that the application has a message for good, although it will [`acknowledge`](Self::acknowledge) it later
    /// only, to make the Server wait. If the connection is lost in between, a QoS 2 message that the Server then sends
    /// again is acknowledged and not handed over a second time.
    ///
    /// # Errors
    /// [`AcknowledgeError::Stale`], as with [`acknowledge`](Self::acknowledge).
    pub fn hold(&mut self, token: AckToken) -> Result<(), AcknowledgeError> {
        self.core.hold(token)
    }

    /// Takes bytes of the Server and returns the next event.
    ///
    /// `input` is moved behind what was used; the event borrows from it. Call it again with what is left until it
    /// returns `Ok(None)`: then it needs more bytes (keep the rest and append to it), or does not want any just now
    /// ([`wants_input`](Self::wants_input)). To stop calling is back-pressure. With empty input it returns the events
    /// that commands and time-outs caused; call it so after those.
    ///
    /// While Disconnected, input is dropped.
    ///
    /// # Errors
    /// [`ConnectionError`]: the connection ended. The state is Disconnected already and the Session is kept: close the
    /// transport, and [`connect`](Self::connect) when you will.
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
        now: Time,
    ) -> Result<Option<Event<'a>>, ConnectionError> {
        self.core.handle_input(input, now)
    }

    /// Does what is due at `now`: the CONNACK deadline, a PINGREQ, the PINGRESP and the ack deadline, sending again,
    /// messages that expire. Early and repeated calls do nothing. Messages expire while Disconnected too.
    ///
    /// # Errors
    /// [`ConnectionError`]: a deadline passed and the connection ended, as in [`handle_input`](Self::handle_input).
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), ConnectionError> {
        self.core.handle_timeout(now)
    }

    /// Notes that the transport is gone (end of stream, reset, failed dial): -> Disconnected, the Session is kept.
    pub fn handle_close(&mut self) {
        self.core.handle_close();
    }

    /// Notes that the application stops reading for a while: until [`resume_input`](Self::resume_input) the PINGRESP
    /// and the ack deadline are suspended, since a slow reader is not a dead Server, and nothing is sent again.
    pub fn pause_input(&mut self, now: Time) {
        self.core.pause_input(now, true);
    }

    /// Notes that the application reads again.
    pub fn resume_input(&mut self, now: Time) {
        self.core.pause_input(now, false);
    }

    /// The bytes for the transport. Take what the transport takes, and no more: DUP and Keep Alive follow from it.
    pub fn poll_output(&mut self, now: Time) -> Output<'_> {
        self.core.poll_output(now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if ever. Can change with every other call.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.core.poll_timeout()
    }

    /// Changes who acknowledges the messages that come from now on. Those that wait for their manual acknowledgement
    /// keep waiting, and later ones, automatic or not, wait behind them.
    pub fn set_ack_mode(&mut self, mode: AckMode) {
        self.core.set_ack_mode(mode);
    }

    /// Keeps what waits in the queue, and new messages with QoS 1 and 2, from going into flight, or lets them again: to
    /// let what is in flight come to its end before a [`disconnect`](Self::disconnect).
    pub fn pause_queue(&mut self, paused: bool) {
        self.core.pause_queue(paused);
    }

    /// With [`Options::journal`], the changes of the Session since the last call, to be written to a store.
    ///
    /// Bytes that depend on a change stay in the core until [`changes_saved`](Self::changes_saved) says that it is
    /// safe, so that a crash at any moment loses and doubles nothing: a PUBLISH goes out when its message and identifier
    /// are safe, a PUBREC when the identifier that it confirms is. Hence call this wherever
    /// [`poll_output`](Self::poll_output) is called, before it. More changes may be fetched while earlier ones are
    /// being written.
    ///
    /// A [`Clear`](crate::Change::Clear) and what follows it must be written as one transaction. After a crash,
    /// [`Session::from_records`] makes the Session that the store holds.
    pub fn poll_changes(&mut self) -> Option<Changes> {
        self.core.poll_changes()
    }

    /// The changes up to `mark` are safe: the output that depends on them may go.
    pub fn changes_saved(&mut self, mark: Mark) {
        self.core.changes_saved(mark);
    }

    /// The point behind the last change so far. A message counts as safe, in that no crash loses it, once
    /// [`is_saved`](Self::is_saved) is true for the mark that was current when [`publish`](Self::publish) had returned.
    pub const fn mark(&self) -> Mark {
        self.core.journal().mark()
    }

    /// Whether all changes up to `mark` are safe.
    pub const fn is_saved(&self, mark: Mark) -> bool {
        self.core.journal().is_saved(mark)
    }

    /// Notes a change that changes nothing, and returns the point behind it: what goes into the output from now on waits
    /// until it is saved. So the application can have something of its own saved in the same transaction as the changes
    /// up to that point, before an acknowledgement says that it is safe. Does nothing without a
    /// [journal](Options::journal).
    pub fn barrier(&mut self) -> Mark {
        self.core.barrier();
        self.mark()
    }

    /// Whether [`poll_changes`](Self::poll_changes) has something.
    pub fn has_changes(&self) -> bool {
        self.core.journal().has_changes()
    }

    /// Has every packet shown to `inspector` from now on, or to nobody. See [`Inspector`] for what it may do. A copy of the
    /// client shows its packets too; in comparing clients it does not count.
    pub fn inspect(&mut self, inspector: Option<Inspector>) {
        self.core.inspect(inspector);
    }

    /// The version of the protocol that the present connection speaks, or the next one will: that of the
    /// [options](Options::version), unless the Server did not want it and there is a
    /// [fallback](Options::fallback).
    pub const fn version(&self) -> ProtocolVersion {
        self.core.version()
    }

    /// Where the client stands.
    pub const fn state(&self) -> State {
        self.core.state()
    }

    /// Whether to read from the transport: false while so many answers wait for it, messages for their manual
    /// acknowledgement, or changes for the store, that the Server must wait. True while Disconnected: whoever leaves
    /// reads to the end of the stream, though what comes is dropped.
    pub fn wants_input(&self) -> bool {
        self.core.wants_input()
    }

    /// Whether there are bytes for the transport.
    pub fn has_output(&self) -> bool {
        self.core.has_output()
    }

    /// How many bytes wait for the transport.
    pub const fn output_len(&self) -> usize {
        self.core.output_len()
    }

    /// How many publishes with QoS 1 and 2 are in flight: PUBLISH or PUBREL without its acknowledgement.
    pub const fn in_flight_len(&self) -> usize {
        self.core.session().outgoing.in_flight()
    }

    /// How many messages wait in the queue.
    pub const fn queue_len(&self) -> usize {
        self.core.session().outgoing.queued_len()
    }

    /// The Session as it is. A copy that is made while a connection lasts cannot know what its transport will have
    /// taken: put into another client, it takes all that is in flight as sent (DUP).
    /// [`into_session`](Self::into_session) is exact.
    pub const fn session(&self) -> &Session {
        self.core.session()
    }

    /// Ends the connection, if there is one, and takes the Session out.
    pub fn into_session(self) -> Session {
        self.core.into_session()
    }

    /// Counters since the client was made, and how it stands now. Costs a copy of the counters.
    pub const fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The options.
    pub const fn options(&self) -> &Options {
        self.core.options()
    }
}

impl<P: CanPublish> Client<P> {
    /// Publishes a message.
    ///
    /// Connected: QoS 0 goes into the output at once and is done (`None`); QoS 1 and 2 go into flight if the window has
    /// room, else into the queue. Connecting: held until the CONNACK, or sent at once with
    /// [`pipeline`](Options::pipeline). Disconnected: QoS 1 and 2 are queued, QoS 0 only with
    /// [`queue_qos0`](Options::queue_qos0). The outcome of a token is reported by [`Event::Published`] exactly once.
    ///
    /// # Errors
    /// Each gives the message back: [`PublishError::QueueFull`], [`PublishError::NotConnected`],
    /// [`PublishError::TooLarge`].
    #[inline]
    pub fn publish(&mut self, message: Message) -> Result<Option<PublishToken>, PublishError> {
        self.core.publish(message)
    }

    /// Takes a publish back of which no byte was ever sent; its message is the answer, and no event follows.
    ///
    /// # Errors
    /// [`CancelError::Sent`], [`CancelError::Resolved`]: its outcome is reported as if nothing had happened.
    pub fn cancel(&mut self, token: PublishToken) -> Result<Message, CancelError> {
        self.core.cancel(token)
    }

    /// Gives a publish that waits in the queue a time to live: if it still waits at `at`, it leaves the queue and is
    /// reported as [`NotSent`](crate::Outcome::NotSent) with [`Expired`](crate::Cause::Expired). A later call replaces
    /// the time. Once it is in flight it does not expire.
    ///
    /// The time is part of the Session: whoever stores Sessions and continues them after a restart counts time from an
    /// epoch that is the same then, such as 1970.
    ///
    /// # Errors
    /// [`CancelError::Sent`]: it waits no longer, which is nothing to worry about. [`CancelError::Resolved`].
    pub fn expire(&mut self, token: PublishToken, at: Time) -> Result<(), CancelError> {
        self.core.expire(token, at)
    }
}

impl<P: CanSubscribe> Client<P> {
    /// Subscribes to one or more Topic Filters with one SUBSCRIBE (section 3.8). May be called in any state; without a
    /// connection it is sent on the next one, and when a connection is lost before the SUBACK, on the next one again.
    /// Answered by [`Event::Subscribed`], filter by filter.
    ///
    /// # Errors
    /// [`RequestError`]; nothing is sent then.
    pub fn subscribe(
        &mut self,
        filters: impl IntoIterator<Item = (TopicFilter, QoS)>,
    ) -> Result<RequestToken, RequestError> {
        self.core.subscribe(filters.into_iter().collect())
    }

    /// Ends the subscription of one or more Topic Filters with one UNSUBSCRIBE (section 3.10), in any state as
    /// [`subscribe`](Self::subscribe). Answered by [`Event::Unsubscribed`].
    ///
    /// # Errors
    /// [`RequestError`]; nothing is sent then.
    pub fn unsubscribe(
        &mut self,
        filters: impl IntoIterator<Item = TopicFilter>,
    ) -> Result<RequestToken, RequestError> {
        self.core.unsubscribe(filters.into_iter().collect())
    }
}

impl<P: Profile> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), profile: PhantomData }
    }
}

impl<P: Profile> PartialEq for Client<P> {
    fn eq(&self, other: &Self) -> bool {
        self.core == other.core
    }
}

impl<P: Profile> Eq for Client<P> {}

impl<P: Profile> core::hash::Hash for Client<P> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.core.hash(state);
    }
}

impl<P: Profile> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("profile", &P::NAME)
            .field("state", &self.state())
            .field("core", &self.core)
            .finish()
    }
}
