//! Subscriptions: asking for them, and the streams of their messages.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_core::Stream;
use mqtt_client::{QoS, RequestError, RequestToken, SubackCode, TopicError, TopicFilter};

use crate::error::SubscribeError;
use crate::message::{Ack, ReceivedMessage};
use crate::registry::{Overflow, Pressure, Queue};
use crate::shared::{Answer, Handle, Inner, Phase, Shared};

/// The default of [`Subscribe::buffer`].
pub(crate) const BUFFER_LEN: usize = 1_000;

/// The default of [`Subscribe::buffer_size`].
pub(crate) const BUFFER_SIZE: usize = 16 * 1024 * 1024;

/// A subscription that is being made: `.await` it to get the [`Subscription`], after the SUBACK.
///
/// Cancel-safe: if the future is dropped, the subscription is given up.
#[must_use = "nothing is subscribed until this is awaited"]
#[derive(Debug)]
pub struct Subscribe<'c> {
    handle: &'c Handle,
    filters: Result<Vec<(TopicFilter, QoS)>, TopicError>,
    buffer_len: usize,
    buffer_size: usize,
    overflow: Overflow,
}

impl<'c> Subscribe<'c> {
    pub(crate) fn new(handle: &'c Handle, filters: Result<Vec<(TopicFilter, QoS)>, TopicError>) -> Self {
        let overflow = Overflow::default();
        Self { handle, filters, buffer_len: BUFFER_LEN, buffer_size: BUFFER_SIZE, overflow }
    }

    /// How many messages may wait in the buffer; default 1 000, at least 1. The reader takes them over in batches, so
    /// up to twice as many can be in memory.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.buffer_len = messages;
        self
    }

    /// How many bytes of topics and payloads may wait in the buffer; default 16 MiB. The buffer is full when the limit
    /// is reached, so the last message can go beyond it. A payload of 16 KiB or more can take four times its size in
    /// memory: it stays where it was received.
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes;
        self
    }

    /// What happens when the buffer is full; default [`Overflow::Wait`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    async fn run(self) -> Result<Subscription, SubscribeError> {
        let filters = self.filters?;
        let queue = Arc::new(Queue::new(self.buffer_len, self.buffer_size, self.overflow));
        // From here on, dropping the subscription cleans up, wherever this future is dropped.
        let mut subscription = Subscription {
            filters: filters.iter().map(|(filter, _)| filter.clone()).collect(),
            handle: self.handle.clone(),
            queue,
            local: VecDeque::new(),
            claimed: None,
        };
        // What must be asked for, and the QoS of what another stream has already.
        let (mut asked, mut known) = (Vec::new(), Vec::new());
        let request = {
            let mut inner = self.handle.shared().lock();
            if inner.phase != Phase::Open {
                return Err(SubscribeError::Closed);
            }
            for (filter, qos) in filters {
                if inner.registry.add(&filter, qos, &subscription.queue) {
                    known.push(None);
                    let wanted = inner.registry.wanted(&filter);
                    asked.push((filter, wanted));
                } else {
                    known.push(inner.registry.granted(&filter));
                }
            }
            if asked.is_empty() && !known.is_empty() {
                return Ok(subscription);
            }
            let token = inner.core.subscribe(asked.clone())?;
            asked.iter().for_each(|(filter, _)| inner.registry.asked(filter));
            let slot = inner.requests.open(token.index());
            subscription.claim(&mut inner);
            Shared::unlock_and_wake(inner);
            Request { handle: self.handle, asked, token, slot, answered: false }
        };
        let codes = match request.await {
            Answer::Subscribed(codes) => codes,
            Answer::Failed(cause) => return Err(SubscribeError::Failed(cause)),
            Answer::Kept => return Err(SubscribeError::Kept),
            Answer::Unsubscribed => Vec::new(),
        };
        if codes.contains(&SubackCode::Failure) {
            let mut codes = codes.into_iter();
            let answers =
                known.into_iter().filter_map(|known| known.map(SubackCode::Granted).or_else(|| codes.next()));
            return Err(SubscribeError::Refused(answers.collect()));
        }
        subscription.claimed = None;
        Ok(subscription)
    }
}

impl<'c> IntoFuture for Subscribe<'c> {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A request that waits for its answer.
struct Request<'c> {
    handle: &'c Handle,
    /// The filters of a SUBSCRIBE, in its order.
    asked: Vec<(TopicFilter, QoS)>,
    token: RequestToken,
    slot: u32,
    answered: bool,
}

impl Future for Request<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut inner = self.handle.shared().lock();
        match inner.requests.poll(self.slot, cx) {
            Poll::Ready(answer) => {
                if let Answer::Subscribed(codes) = &answer {
                    for ((filter, qos), code) in self.asked.iter().zip(codes) {
                        inner.registry.answered(filter, *qos, *code != SubackCode::Failure);
                    }
                }
                drop(inner);
                self.answered = true;
                Poll::Ready(answer)
            }
            Poll::Pending => {
                Shared::unlock_and_wait(inner);
                Poll::Pending
            }
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.handle.shared().lock().requests.abandon(self.slot, self.token.index());
        }
    }
}

/// Asks the Server to end subscriptions.
fn ask<'c>(
    handle: &'c Handle,
    inner: &mut Inner,
    filters: Vec<TopicFilter>,
) -> Result<Request<'c>, RequestError> {
    let token = inner.core.unsubscribe(filters)?;
    let slot = inner.requests.open(token.index());
    Ok(Request { handle, asked: Vec::new(), token, slot, answered: false })
}

async fn answer(request: Request<'_>) -> Result<(), SubscribeError> {
    match request.await {
        Answer::Failed(cause) => Err(SubscribeError::Failed(cause)),
        Answer::Kept => Err(SubscribeError::Kept),
        Answer::Subscribed(_) | Answer::Unsubscribed => Ok(()),
    }
}

/// Ends the subscription of a filter, whoever made it.
pub(crate) async fn unsubscribe(handle: &Handle, filter: TopicFilter) -> Result<(), SubscribeError> {
    let request = {
        let mut inner = handle.shared().lock();
        if inner.phase != Phase::Open {
            return Err(SubscribeError::Closed);
        }
        let request = ask(handle, &mut inner, vec![filter.clone()])?;
        inner.registry.forget(&filter);
        Shared::unlock_and_wake(inner);
        request
    };
    answer(request).await
}

/// The messages of one subscription: a [`Stream`] with a bounded buffer of its own.
///
/// Streams with the same Topic Filter share one SUBSCRIBE; when the last of them is dropped, the filter is
/// unsubscribed. The stream goes on over reconnects and ends when the client is closed. It keeps the client connected.
pub struct Subscription {
    filters: Vec<TopicFilter>,
    handle: Handle,
    queue: Arc<Queue>,
    /// Taken over from the queue, so that not every message costs a lock.
    local: VecDeque<ReceivedMessage>,
    /// It has claimed messages, on this connection, and the application does not have it yet.
    claimed: Option<u64>,
}

impl Subscription {
    /// The next message; `None` once the client is closed and all was taken. Cancel-safe: no message is lost when this
    /// is dropped.
    pub async fn next(&mut self) -> Option<ReceivedMessage> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<ReceivedMessage> {
        if self.local.is_empty() {
            self.refill();
        }
        self.take_local()
    }

    /// The Topic Filters of this stream.
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// How many messages were dropped since the start: because the buffer was full, or because they were larger than
    /// [`max_packet_size`](mqtt_client::Options::max_packet_size), with
    /// [`Oversize::Skip`](mqtt_client::Oversize::Skip).
    pub fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }

    /// Ends the subscription and waits for the UNSUBACK, if this was the last stream of a filter. To drop the stream
    /// does the same without waiting.
    ///
    /// # Errors
    /// [`SubscribeError::Failed`] or [`SubscribeError::Closed`]: the client was closed before the answer came.
    /// [`SubscribeError::Request`]: too many requests wait for their answer; this one is made later all the same.
    pub async fn unsubscribe(mut self) -> Result<(), SubscribeError> {
        let shared = Arc::clone(self.handle.shared());
        let request = {
            let mut inner = shared.lock();
            let orphans = self.leave(&mut inner);
            if orphans.is_empty() {
                Shared::wake_driver(inner);
                return Ok(());
            }
            if inner.phase != Phase::Open {
                return Err(SubscribeError::Closed);
            }
            match ask(&self.handle, &mut inner, orphans.clone()) {
                Ok(request) => {
                    Shared::wake_driver(inner);
                    request
                }
                Err(error) => {
                    // It will be asked for as soon as that is possible.
                    inner.registry.orphans.extend(orphans);
                    return Err(error.into());
                }
            }
        };
        answer(request).await
    }

    /// Takes those messages that came before it and that no other stream wanted.
    fn claim(&mut self, inner: &mut Inner) {
        self.claimed = inner.claim(self.handle.shared(), &self.filters, &self.queue);
    }

    /// Takes the stream out of the client; returns what no other stream wants. Does nothing the second time.
    fn leave(&mut self, inner: &mut Inner) -> Vec<TopicFilter> {
        let orphans = inner.registry.remove(std::mem::take(&mut self.filters), &self.queue);
        if let Some(connection) = self.claimed.take() {
            inner.put_back(connection, &self.queue);
        }
        let mut due: Vec<_> = self.local.drain(..).filter_map(ReceivedMessage::abandon).collect();
        self.queue.lock().abandon(&mut due);
        for token in due.into_iter().filter_map(Ack::give_locked) {
            // One of an earlier connection is stale.
            let _ = inner.core.acknowledge(token);
        }
        orphans
    }

    fn poll_message(&mut self, cx: &Context<'_>) -> Poll<Option<ReceivedMessage>> {
        if self.local.is_empty() && !self.refill() {
            let mut queue = self.queue.lock();
            if queue.messages.is_empty() {
                if queue.closed {
                    return Poll::Ready(None);
                }
                if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    queue.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            drop(queue);
            self.refill();
        }
        Poll::Ready(self.take_local())
    }

    fn take_local(&mut self) -> Option<ReceivedMessage> {
        let mut message = self.local.pop_front()?;
        // Nobody else writes it.
        self.queue.taken.store(self.queue.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if let Some(ack) = message.ack.take_if(|ack| ack.on_taking) {
            ack.give();
        }
        if self.local.is_empty() && self.local.capacity() > 64 {
            self.local = VecDeque::new();
        }
        Some(message)
    }

    /// Takes over what is in the buffer, and lets the driver read again if that was what stopped it.
    fn refill(&mut self) -> bool {
        let mut queue = self.queue.lock();
        queue.take_all(&mut self.local);
        let pressure = queue.relieve();
        drop(queue);
        if pressure != Pressure::None {
            let mut inner = self.handle.shared().lock();
            inner.registry.relieve(pressure);
            Shared::wake_driver(inner);
        }
        !self.local.is_empty()
    }
}

impl Stream for Subscription {
    type Item = ReceivedMessage;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReceivedMessage>> {
        self.get_mut().poll_message(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("filters", &self.filters).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let shared = Arc::clone(self.handle.shared());
        let mut inner = shared.lock();
        let orphans = self.leave(&mut inner);
        inner.registry.orphans.extend(orphans);
        ask_for_orphans(&mut inner);
        Shared::wake_driver(inner);
    }
}

/// Unsubscribes what no stream wants any more; what cannot be asked for now stays for later.
pub(crate) fn ask_for_orphans(inner: &mut Inner) {
    while let Some(filter) = inner.registry.orphans.pop() {
        if inner.phase == Phase::Open && inner.core.unsubscribe([filter.clone()]).is_err() {
            inner.registry.orphans.push(filter);
            return;
        }
    }
}
