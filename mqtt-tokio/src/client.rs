//! The handle.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use mqtt_client::{
    CanPublish, CanSubscribe, Message, Options, Profile, ProtocolVersion, QoS, Session, State, TopicError,
    TopicFilter, TopicName,
};

use crate::builder::Builder;
use crate::error::{ConnectError, DisconnectError, PublishError, SubscribeError};
use crate::publish::{self, Publish, Receipt};
use crate::shared::{Handle, Phase, Shared};
use crate::status::{Status, StatusStream};
use crate::subscription::{self, Subscribe};
use crate::uri::Uri;
use crate::waiting::Ticket;

/// A handle to an MQTT client that a driver task keeps connected. Cheap to clone; all clones are the same client.
///
/// When the last handle (clones and [`Subscription`](crate::Subscription)s) is dropped, what was accepted gets half a
/// second to be delivered, and the client disconnects cleanly. Every future of this crate is cancel-safe.
pub struct Client<P: Profile> {
    pub(crate) handle: Handle,
    profile: PhantomData<P>,
}

/// What a [`disconnect`](Client::disconnect) waits for before it sends the DISCONNECT.
///
/// Messages with QoS 0 have no acknowledgement: unless it is [`Now`](Self::Now), they are waited for until the transport has
/// taken them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Nothing.
    Now,
    /// Messages in flight: until each is acknowledged, but no longer than this. Nothing moves up from the queue.
    InFlight(Duration),
    /// Messages in flight and in the queue: until each is acknowledged, but no longer than this.
    Queue(Duration),
}

impl Drain {
    /// How long it waits at the most.
    const fn within(self) -> Duration {
        match self {
            Self::Now => Duration::ZERO,
            Self::InFlight(within) | Self::Queue(within) => within,
        }
    }

    /// How many publishes it waits for, of those in flight and in the queue.
    pub(crate) fn left(self, [in_flight, queued]: [usize; 2]) -> usize {
        match self {
            Self::Now => 0,
            Self::InFlight(_) => in_flight,
            Self::Queue(_) => in_flight + queued,
        }
    }
}

impl<P: Profile> Client<P> {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, profile: PhantomData }
    }

    /// Connects to the Server at `uri` (such as `mqtt://localhost:1883`: see [`Uri`]) and returns when it has accepted the
    /// connection. From then on the client reconnects by itself, with the pauses of
    /// [`Options::backoff`](mqtt_client::Options::backoff). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`]: a bad address or option, or why the first attempt failed; nothing goes on then.
    pub async fn connect(uri: &str, options: Options) -> Result<Self, ConnectError> {
        Builder::new(uri, options)?.connect().await
    }

    /// Publishes to `topic`: see [`Publish`] for what to wait for.
    ///
    /// `topic` is anything that converts to a [`TopicName`]: a `&str` is checked and copied each time, so keep a
    /// `TopicName` for what is published often. `payload` is anything that converts to [`Bytes`].
    #[inline]
    pub fn publish<T>(&self, topic: T, payload: impl Into<Bytes>) -> Publish<'_>
    where
        P: CanPublish,
        T: TryInto<TopicName>,
        TopicError: From<T::Error>,
    {
        let shared = self.handle.shared();
        let message = topic.try_into().map_err(TopicError::from).map(|topic: TopicName| {
            let (qos, retain) = shared.defaults.of(topic.as_ref());
            Message { topic, payload: payload.into(), qos, retain }
        });
        Publish::new(shared, message)
    }

    /// Publishes a message that was made before, or that an error gave back.
    #[inline]
    pub fn publish_message(&self, message: Message) -> Publish<'_>
    where
        P: CanPublish,
    {
        Publish::new(self.handle.shared(), Ok(message))
    }

    /// Publishes without ever waiting: takes a place in the queue or gives the message back.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`], [`NotConnected`](PublishError::NotConnected),
    /// [`TooLarge`](PublishError::TooLarge) with the message, and [`Closed`](PublishError::Closed).
    #[inline]
    pub fn try_publish(&self, message: Message) -> Result<Receipt, PublishError>
    where
        P: CanPublish,
    {
        publish::try_publish(self.handle.shared(), message)
    }

    /// Subscribes to a Topic Filter: `.await` gives the stream of its messages, after the SUBACK.
    pub fn subscribe<F>(&self, filter: F, qos: QoS) -> Subscribe<'_>
    where
        P: CanSubscribe,
        F: TryInto<TopicFilter>,
        TopicError: From<F::Error>,
    {
        let filters = filter.try_into().map(|filter| vec![(filter, qos)]).map_err(TopicError::from);
        Subscribe::new(&self.handle, filters)
    }

    /// Subscribes to several Topic Filters with one SUBSCRIBE, and gives one stream for all of them: a message that
    /// matches several comes once.
    pub fn subscribe_all<F>(&self, filters: impl IntoIterator<Item = (F, QoS)>) -> Subscribe<'_>
    where
        P: CanSubscribe,
        F: TryInto<TopicFilter>,
        TopicError: From<F::Error>,
    {
        let filters = filters
            .into_iter()
            .map(|(filter, qos)| filter.try_into().map(|filter| (filter, qos)).map_err(TopicError::from))
            .collect();
        Subscribe::new(&self.handle, filters)
    }

    /// Asks the Server to end the subscription of a Topic Filter, for example one of a Session that an earlier process
    /// made. Streams end theirs themselves. Resolves at the UNSUBACK.
    ///
    /// # Errors
    /// [`SubscribeError`]: the filter is none, the request was not accepted, or the client was closed.
    pub async fn unsubscribe<F>(&self, filter: F) -> Result<(), SubscribeError>
    where
        P: CanSubscribe,
        F: TryInto<TopicFilter>,
        TopicError: From<F::Error>,
    {
        let filter = filter.try_into().map_err(|error| SubscribeError::Topic(error.into()))?;
        subscription::unsubscribe(&self.handle, filter).await
    }

    /// Disconnects for good, after waiting for what `drain` names. All clones are closed then; whatever is still
    /// pending is resolved as `NotSent` or `Ambiguous`, or as [`Kept`](PublishError::Kept) if there is a
    /// [store](Builder::store), which has everything when this returns and is free for the next client. New publishes
    /// are refused from this call on.
    ///
    /// Cancel-safe: the disconnecting goes on when the future is dropped.
    ///
    /// # Errors
    /// [`DisconnectError::Undelivered`]: the time was up, or the client gave up on its connection; it is closed all the
    /// same.
    /// [`DisconnectError::Unsent`]: the Server did not read, and the time was up before all QoS 0 messages were written.
    /// [`DisconnectError::Store`]: not everything could be saved.
    /// [`DisconnectError::Closed`]: it was closed before.
    pub async fn disconnect(&self, drain: Drain) -> Result<(), DisconnectError> {
        self.close(drain, false).await?;
        let inner = self.handle.shared().lock();
        match drain.left(inner.undelivered) {
            _ if inner.store_failed => Err(DisconnectError::Store),
            0 if inner.unsent > 0 => {
                Err(DisconnectError::Unsent { size: inner.unsent, within: drain.within() })
            }
            0 => Ok(()),
            unresolved => Err(DisconnectError::Undelivered { unresolved, within: drain.within() }),
        }
    }

    /// Disconnects for good, as [`disconnect`](Self::disconnect) does, and takes the Session out, to be continued by
    /// another client ([`Builder::session`]) or stored ([`Session::to_bytes`]): with the messages that are not delivered
    /// and the requests that are not answered when the time of `drain` is up.
    ///
    /// Each publish either has its outcome or is in the Session: then whoever waits for it gets
    /// [`PublishError::Kept`], and the client that continues the Session delivers it. A time to live
    /// ([`Publish::expires_after`]) goes on, by the system's clock. With a [store](Builder::store), the Session is in the
    /// store as well: to continue both would send its messages twice.
    ///
    /// Cancel-safe: the disconnecting goes on when the future is dropped, and the Session is there for another call.
    ///
    /// # Errors
    /// [`DisconnectError::Closed`]: the client was closed before without keeping the Session, or another call took it.
    ///
    /// ```no_run
    /// # use mqtt_tokio::{Builder, Client, Drain, Options, PubSub, Session};
    /// # use std::time::Duration;
    /// # async fn example(client: Client<PubSub>) -> Result<(), Box<dyn std::error::Error>> {
    /// let session = client.disconnect_keeping_session(Drain::Queue(Duration::from_secs(5))).await?;
    /// std::fs::write("session", session.to_bytes())?;
    ///
    /// // In another life:
    /// let session = Session::from_bytes(&std::fs::read("session")?)?;
    /// std::fs::remove_file("session")?; // or it would be continued twice
    /// let options = Options::new("plant-7").clean_session(false);
    /// let client: Client<PubSub> = Builder::new("mqtt://broker.local", options)?.session(session).start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn disconnect_keeping_session(&self, drain: Drain) -> Result<Session, DisconnectError> {
        // It may have been closed, and the Session left for us.
        let _ = self.close(drain, true).await;
        self.handle.shared().lock().kept.take().ok_or(DisconnectError::Closed)
    }

    /// Has the driver end, and waits for that.
    async fn close(&self, drain: Drain, keep_session: bool) -> Result<(), DisconnectError> {
        let shared = self.handle.shared();
        {
            let mut inner = shared.lock();
            if inner.phase == Phase::Closed {
                return Err(DisconnectError::Closed);
            }
            inner.keep_session |= keep_session;
            if inner.phase != Phase::Saving {
                inner.phase = Phase::Closing(drain, shared.instant(shared.now() + drain.within()));
            }
            Shared::wake_driver(inner);
        }
        Closed { shared, ticket: None }.await;
        Ok(())
    }

    /// The changes of the Network Connection from now on. The stream ends when the client is closed.
    pub fn status(&self) -> StatusStream {
        self.handle.shared().lock().status()
    }

    /// Waits until the client is connected: at once if it is. Cancel-safe.
    ///
    /// # Errors
    /// [`ConnectError::Connection`] when the driver gives up, [`ConnectError::Closed`] when the client is closed.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        let mut changes = {
            let inner = self.handle.shared().lock();
            if inner.core.state() == State::Connected {
                return Ok(());
            }
            if inner.phase == Phase::Closed {
                return Err(ConnectError::Closed);
            }
            inner.status()
        };
        loop {
            match changes.next().await {
                Some(Status::Connected { .. }) => return Ok(()),
                Some(Status::GaveUp { error }) => return Err(ConnectError::Connection(error)),
                Some(Status::Disconnected) | None => return Err(ConnectError::Closed),
                Some(_) => {}
            }
        }
    }

    /// Whether the Server has accepted the present connection.
    pub fn is_connected(&self) -> bool {
        self.handle.shared().lock().core.state() == State::Connected
    }

    /// The version of the protocol that the present connection speaks, or that the next attempt will: that of the
    /// options, unless the Server did not want it and there is a [fallback](mqtt_client::Options::fallback).
    pub fn version(&self) -> ProtocolVersion {
        self.handle.shared().lock().core.version()
    }

    /// The address of the Server that the client is connected to, or was last or is being connected to: one of
    /// [several](Builder::server). `None` before the first attempt, and if it was made
    /// [without an address](Builder::with_connector).
    pub fn server(&self) -> Option<Uri> {
        self.handle.shared().lock().server.as_deref().cloned()
    }
}

/// Waits until the client is closed.
struct Closed<'c> {
    shared: &'c Shared,
    ticket: Option<Ticket>,
}

impl Future for Closed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        if inner.phase == Phase::Closed {
            return Poll::Ready(());
        }
        inner.closing.wait(&mut self.ticket, cx);
        Poll::Pending
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.shared.lock().closing.leave(&mut self.ticket);
        }
    }
}

impl<P: Profile> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<P: Profile> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("profile", &P::NAME).field("connected", &self.is_connected()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::IntoFuture;
    use std::task::Waker;

    use mqtt_client::PubSub;

    use super::*;
    use crate::transport::Connector;

    fn poll_once(future: impl IntoFuture) {
        let mut future = Box::pin(future.into_future());
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn futures_that_are_dropped_leave_nothing_behind() {
        for max_queue_len in [0, 1000] {
            let options = Options::new("c").max_queue_len(max_queue_len);
            let builder = Builder::with_connector(Connector::tcp("localhost", 1), options);
            let (client, driver) = builder.build::<PubSub>().unwrap();
            for _ in 0..3 {
                let publish = || client.publish("a", "x").qos(QoS::AtLeastOnce);
                poll_once(publish());
                poll_once(publish().accepted());
                poll_once(publish().receipt());
                let message = Message::new(TopicName::from_static("a").unwrap(), "x").qos(QoS::ExactlyOnce);
                if let Ok(receipt) = client.try_publish(message) {
                    poll_once(receipt);
                }
                poll_once(client.subscribe("a", QoS::AtMostOnce));
                poll_once(client.unsubscribe("a"));
                poll_once(client.connected());
            }
            {
                let inner = client.handle.shared().lock();
                assert_eq!((inner.publishes.len(), inner.requests.len()), (0, 0));
                assert!(!inner.has_waiters());
            }
            poll_once(client.disconnect(Drain::Now));
            assert!(client.handle.shared().lock().closing.is_empty());
            drop(driver);
        }
    }
}
