//! Publishing: waiting for room, waiting for the outcome, or neither.

use std::borrow::Borrow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mqtt_client::{Mark, Message, PublishToken, QoS, Time, TopicError};

use crate::error::PublishError;
use crate::shared::{Ending, Inner, Phase, Shared};
use crate::waiting::Ticket;

/// A message to be published.
///
/// - `.await` waits until the message is delivered: with QoS 1 the PUBACK, with QoS 2 the PUBCOMP has come. With QoS 0
///   it waits until the message is in the output; nobody acknowledges it.
/// - [`.receipt().await`](Self::receipt) waits for a place in the queue, and returns a [`Receipt`] to wait for the rest.
/// - [`.accepted().await`](Self::accepted) waits for a place in the queue, and asks for no more.
///
/// Cancel-safe: if a future is dropped before the message has its place, the message is not published; after that, it
/// is published all the same.
#[must_use = "nothing is published until this is awaited"]
#[derive(Debug)]
pub struct Publish<'c> {
    shared: &'c Arc<Shared>,
    message: Result<Message, TopicError>,
    lifetime: Option<Duration>,
}

impl<'c> Publish<'c> {
    #[inline]
    pub(crate) fn new(shared: &'c Arc<Shared>, message: Result<Message, TopicError>) -> Self {
        Self { shared, message, lifetime: None }
    }

    /// The Quality of Service; QoS 0 unless told otherwise, here or by a
    /// [default for the topic](crate::Builder::publish_default).
    #[inline]
    pub fn qos(mut self, qos: QoS) -> Self {
        if let Ok(message) = &mut self.message {
            message.qos = qos;
        }
        self
    }

    /// Has the Server keep the message for later subscribers (section 3.3.1.3).
    #[inline]
    pub fn retain(mut self, retain: bool) -> Self {
        if let Ok(message) = &mut self.message {
            message.retain = retain;
        }
        self
    }

    /// Gives the message a time to live in the queue, counted from when it has its place there: if it waits longer, with
    /// or without a connection, it is taken out and ends as [`NotSent`](PublishError::NotSent) with
    /// [`Expired`](mqtt_client::Cause::Expired). Once it is in flight it does not expire: the Server may have it.
    ///
    /// ```no_run
    /// # use mqtt_tokio::{Cause, Client, PublishError, Publisher, QoS};
    /// # use std::time::Duration;
    /// # async fn example(client: Client<Publisher>) -> Result<(), PublishError> {
    /// let publish = client.publish("plant/7/position", "12.5").qos(QoS::AtLeastOnce);
    /// match publish.expires_after(Duration::from_secs(10)).await {
    ///     Err(PublishError::NotSent(Cause::Expired)) => println!("too old by now, and surely not sent"),
    ///     other => other?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn expires_after(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Waits for a place in the queue only; the [`Receipt`] is for the outcome.
    #[inline]
    pub fn receipt(self) -> Receipted<'c> {
        Receipted { admission: Admission::new(self) }
    }

    /// Waits for a place in the queue only, and asks for no outcome: the cheapest way to publish much. The outcome is
    /// the same; nobody is told.
    #[inline]
    pub fn accepted(self) -> Accepted<'c> {
        Accepted { admission: Admission::new(self) }
    }
}

impl<'c> IntoFuture for Publish<'c> {
    type Output = Result<(), PublishError>;
    type IntoFuture = Delivered<'c>;

    #[inline]
    fn into_future(self) -> Delivered<'c> {
        Delivered { admission: Admission::new(self), pending: None }
    }
}

/// What the caller wants to know of a publish.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// That it was accepted.
    Nothing,
    /// Its outcome, later perhaps.
    Receipt,
    /// Its outcome, and this task waits for it from now on.
    Delivery,
}

/// Waits for a place.
struct Admission<'c> {
    shared: &'c Arc<Shared>,
    message: Option<Result<Message, TopicError>>,
    qos: QoS,
    lifetime: Option<Duration>,
    ticket: Option<Ticket>,
}

/// A publish that was accepted, unless it was QoS 0 and is done.
type Placed = Option<Place>;

/// Where the outcome of a publish will be, and the point with which it is saved.
#[derive(Clone, Copy)]
struct Place {
    token: PublishToken,
    slot: u32,
    mark: Mark,
}

impl<'c> Admission<'c> {
    #[inline]
    fn new(publish: Publish<'c>) -> Self {
        let qos = publish.message.as_ref().map_or(QoS::AtMostOnce, |message| message.qos);
        let Publish { shared, message, lifetime } = publish;
        Self { shared, message: Some(message), qos, lifetime, ticket: None }
    }

    #[inline]
    fn poll(&mut self, want: Want, cx: &Context<'_>) -> Poll<Result<Placed, PublishError>> {
        let message = match self.message.take() {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(Err(error.into())),
            // Polled after it was ready.
            None => return Poll::Pending,
        };
        let mut inner = self.shared.lock();
        let expires = self.lifetime.map(|lifetime| self.shared.now() + lifetime);
        match place(&mut inner, message, want, true, expires) {
            Ok(placed) => {
                inner.room(self.qos).leave(&mut self.ticket);
                if let Some(place) = placed.filter(|_| want == Want::Delivery) {
                    // In the same breath, while the lock is held.
                    let _ = inner.publishes.poll(place.slot, cx);
                    Shared::unlock_and_wait(inner);
                } else {
                    Shared::unlock_and_wake(inner);
                }
                Poll::Ready(Ok(placed))
            }
            Err(PublishError::QueueFull(message)) => {
                self.message = Some(Ok(message));
                inner.room(self.qos).wait(&mut self.ticket, cx);
                Shared::unlock_and_wait(inner);
                Poll::Pending
            }
            Err(error) => {
                inner.room(self.qos).leave(&mut self.ticket);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.shared.lock().room(self.qos).leave(&mut self.ticket);
        }
    }
}

#[inline]
fn place(
    inner: &mut Inner,
    message: Message,
    want: Want,
    patient: bool,
    expires: Option<Time>,
) -> Result<Placed, PublishError> {
    if inner.phase != Phase::Open {
        return Err(PublishError::Closed);
    }
    if patient && inner.is_busy(message.qos) {
        return Err(PublishError::QueueFull(message));
    }
    let token = inner.publish(message).map_err(refused)?;
    if let (Some(token), Some(at)) = (token, expires) {
        if !inner.expire(token, at) {
            // It has not gone anywhere.
            if let Ok(message) = inner.core.cancel(token) {
                return Err(PublishError::QueueFull(message));
            }
        }
    }
    let mark = inner.core.mark();
    let wanted = token.filter(|_| want != Want::Nothing);
    Ok(wanted.map(|token| Place { token, slot: inner.publishes.open(token.index()), mark }))
}

#[cold]
fn refused(error: mqtt_client::PublishError) -> PublishError {
    match error {
        mqtt_client::PublishError::NotConnected(message) => PublishError::NotConnected(message),
        mqtt_client::PublishError::TooLarge { message, len, max } => {
            PublishError::TooLarge { message, len, max }
        }
        error => PublishError::QueueFull(error.into_message()),
    }
}

/// Publishes without waiting for anything.
pub(crate) fn try_publish(shared: &Arc<Shared>, message: Message) -> Result<Receipt, PublishError> {
    let mut inner = shared.lock();
    let placed = place(&mut inner, message, Want::Receipt, false, None)?;
    Shared::unlock_and_wake(inner);
    Ok(Receipt { pending: placed.map(|placed| Pending::new(Arc::clone(shared), placed)) })
}

/// The future of [`Publish`]: resolves when the message is delivered.
#[must_use = "futures do nothing unless awaited"]
pub struct Delivered<'c> {
    admission: Admission<'c>,
    pending: Option<Pending<&'c Arc<Shared>>>,
}

impl Future for Delivered<'_> {
    type Output = Result<(), PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(pending) = &mut this.pending {
            return pending.poll(cx);
        }
        match this.admission.poll(Want::Delivery, cx) {
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(Some(placed))) => {
                this.pending = Some(Pending::new(this.admission.shared, placed));
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The future of [`Publish::receipt`].
#[must_use = "futures do nothing unless awaited"]
pub struct Receipted<'c> {
    admission: Admission<'c>,
}

impl Future for Receipted<'_> {
    type Output = Result<Receipt, PublishError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let shared = this.admission.shared;
        this.admission.poll(Want::Receipt, cx).map_ok(|placed| Receipt {
            pending: placed.map(|placed| Pending::new(Arc::clone(shared), placed)),
        })
    }
}

/// The future of [`Publish::accepted`].
#[must_use = "futures do nothing unless awaited"]
pub struct Accepted<'c> {
    admission: Admission<'c>,
}

impl Future for Accepted<'_> {
    type Output = Result<(), PublishError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().admission.poll(Want::Nothing, cx).map_ok(|_| ())
    }
}

/// The outcome of a publish that was accepted: a future that resolves when the message is delivered (QoS 1: PUBACK,
/// QoS 2: PUBCOMP; QoS 0 at once), or with why not. To drop it changes nothing but that nobody is told: the message is
/// delivered all the same. To take the message back, [`cancel`](Self::cancel).
#[must_use = "dropping a receipt says that the outcome does not matter"]
pub struct Receipt {
    pending: Option<Pending<Arc<Shared>>>,
}

impl Receipt {
    /// Waits until the message cannot be lost any more, though the Server may not have it yet: until it is in the
    /// [store](crate::Builder::store), or delivered, whichever comes first. Without a store that is when it is delivered.
    /// With QoS 0 it is at once: nothing keeps such a message.
    ///
    /// Cancel-safe. The outcome is there afterwards as before, for whoever awaits the receipt.
    ///
    /// # Errors
    /// [`PublishError`]: its outcome, if that is an error and came first.
    pub fn safe(&mut self) -> Safe<'_> {
        Safe { receipt: self, ticket: None }
    }

    /// Takes the message back, if no byte of it was sent: then it is not published, and there is no outcome. (With a
    /// [store](crate::Builder::store), a crash in the moment after this can undo it.)
    ///
    /// # Errors
    /// The receipt itself, unchanged, if the Server may have the message or its outcome is known already: await it.
    ///
    /// ```no_run
    /// # use mqtt_tokio::{Client, PublishError, Publisher, QoS};
    /// # async fn example(client: Client<Publisher>) -> Result<(), PublishError> {
    /// let receipt = client.publish("plant/7/valve", "open").qos(QoS::ExactlyOnce).receipt().await?;
    /// match receipt.cancel() {
    ///     Ok(message) => println!("{message:?} was not sent, and will not be"),
    ///     Err(receipt) => receipt.await?, // it was on its way
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(self) -> Result<Message, Self> {
        match self.pending.as_ref().and_then(Pending::cancel) {
            Some(message) => Ok(message),
            None => Err(self),
        }
    }
}

impl Future for Receipt {
    type Output = Result<(), PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().pending {
            Some(pending) => pending.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// The future of [`Receipt::safe`].
#[must_use = "futures do nothing unless awaited"]
pub struct Safe<'r> {
    receipt: &'r mut Receipt,
    ticket: Option<Ticket>,
}

impl Future for Safe<'_> {
    type Output = Result<(), PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match &mut this.receipt.pending {
            Some(pending) => pending.poll_safe(&mut this.ticket, cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Safe<'_> {
    fn drop(&mut self) {
        if let (Some(pending), true) = (&self.receipt.pending, self.ticket.is_some()) {
            pending.shared.lock().savers.leave(&mut self.ticket);
        }
    }
}

/// A publish whose outcome was asked for.
struct Pending<S: Borrow<Arc<Shared>>> {
    shared: S,
    place: Place,
    /// Small, since many wait: the error is made of it each time.
    ending: Option<Ending>,
}

impl<S: Borrow<Arc<Shared>>> Pending<S> {
    fn new(shared: S, place: Place) -> Self {
        Self { shared, place, ending: None }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), PublishError>> {
        if let Some(ending) = self.ending {
            return Poll::Ready(ending.into_result());
        }
        let mut inner = self.shared.borrow().lock();
        match inner.publishes.poll(self.place.slot, cx) {
            Poll::Ready(ending) => {
                let ending = inner.fate(ending, self.place.mark);
                self.ending = Some(ending);
                Poll::Ready(ending.into_result())
            }
            Poll::Pending => {
                Shared::unlock_and_wait(inner);
                Poll::Pending
            }
        }
    }
}

impl Pending<Arc<Shared>> {
    fn poll_safe(&mut self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<Result<(), PublishError>> {
        {
            let mut inner = self.shared.lock();
            if inner.has_store {
                if inner.core.is_saved(self.place.mark) {
                    inner.savers.leave(ticket);
                    return Poll::Ready(Ok(()));
                }
                inner.savers.wait(ticket, cx);
            }
        }
        self.poll(cx)
    }

    /// The message, if it could be taken back.
    fn cancel(&self) -> Option<Message> {
        let mut inner = self.shared.lock();
        if inner.phase == Phase::Saving {
            // It is too late to change what is saved.
            return None;
        }
        let message = inner.core.cancel(self.place.token).ok()?;
        let mut wakers = Vec::new();
        inner.wake_publishers(&mut wakers);
        // Others may move up, and a disconnect may have waited for this one alone.
        Shared::wake_driver(inner);
        wakers.into_iter().for_each(Waker::wake);
        Some(message)
    }
}

impl<S: Borrow<Arc<Shared>>> Drop for Pending<S> {
    fn drop(&mut self) {
        if self.ending.is_none() {
            self.shared.borrow().lock().publishes.abandon(self.place.slot, self.place.token.index());
        }
    }
}

macro_rules! opaque_debug {
    ($($name:ident $(<$lifetime:lifetime>)?),*) => {$(
        impl fmt::Debug for $name $(<$lifetime>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug!(Delivered<'_>, Receipted<'_>, Accepted<'_>, Safe<'_>, Receipt);
