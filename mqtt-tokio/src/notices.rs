//! Whom to tell of what, once the lock is released.

use std::task::Waker;

use mqtt_client::{Cause, Event};
use tokio::sync::broadcast;

use crate::observe;
use crate::shared::{Answer, Ending, Inner, Shared};
use crate::status::Status;

/// What is found out under the lock and told outside of it: to wake a task can run anything.
#[derive(Default)]
pub(crate) struct Notices {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) statuses: Vec<(broadcast::Sender<Status>, Status)>,
}

impl Notices {
    /// Tells, without the lock.
    #[inline]
    pub(crate) fn give(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        for (sender, status) in self.statuses.drain(..) {
            observe::status(&status);
            // Nobody listening is fine.
            let _ = sender.send(status);
        }
    }

    /// Notes who waits for an event that is no message, and its answer. True if it is `Connected`.
    pub(crate) fn report(&mut self, inner: &mut Inner, event: Event<'_>) -> bool {
        match event {
            Event::Published { token, outcome } => {
                let ending = if inner.kept.is_some() { Ending::Kept } else { Ending::Resolved(outcome) };
                self.wakers.extend(inner.publishes.complete(token.index(), ending));
            }
            Event::Subscribed { token, codes } => {
                let answer = Answer::Subscribed(codes.iter().collect());
                self.wakers.extend(inner.requests.complete(token.index(), answer));
            }
            Event::Unsubscribed { token } => {
                self.wakers.extend(inner.requests.complete(token.index(), Answer::Unsubscribed));
            }
            Event::RequestFailed { token, cause } => {
                let kept = inner.kept.is_some() || (cause == Cause::Discarded && inner.all_saved);
                let answer = if kept { Answer::Kept } else { Answer::Failed(cause) };
                self.wakers.extend(inner.requests.complete(token.index(), answer));
            }
            Event::SubscriptionLost { filter } => {
                inner.registry.forget(&filter);
                inner.tell(Status::SubscriptionLost { filter }, self);
            }
            Event::Skipped(message) => {
                inner.registry.skipped(message.topic.as_ref());
                inner.tell(Status::Skipped(message), self);
            }
            Event::Connected { session_present } => {
                let version = inner.core.version();
                inner.tell(Status::Connected { session_present, version }, self);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Reports the events that no input caused.
    pub(crate) fn collect(&mut self, inner: &mut Inner, shared: &Shared) {
        let now = shared.now();
        while let Ok(Some(event)) = inner.core.handle_input(&mut &[][..], now) {
            self.report(inner, event);
        }
    }
}
