//! How a Network Connection ends when the application wants that.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt_client::Time;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::{Connection, ROUNDS};
use crate::client::Drain;
use crate::shared::{Inner, Phase, Shared};

/// How long a DISCONNECT may take to leave.
pub(super) const FLUSH: Duration = Duration::from_millis(500);

impl Connection {
    /// Begins to disconnect when that was asked for and what was to be waited for is done. Returns when to look again.
    pub(super) fn close_if_asked(
        &mut self,
        inner: &mut Inner,
        shared: &Shared,
        now: Time,
    ) -> Option<Instant> {
        inner.linger(shared, now);
        let Phase::Closing(drain, until) = inner.phase else { return None };
        if self.finish_by.is_some() {
            return None;
        }
        inner.core.pause_queue(matches!(drain, Drain::InFlight(_)));
        let now = shared.instant(now);
        // Nobody acknowledges QoS 0: those messages are waited for until the transport has them.
        let unsent = if drain == Drain::Now { 0 } else { inner.core.output_len() };
        if (unsent > 0 || drain.left(inner.unresolved()) > 0) && now < until {
            return Some(until);
        }
        inner.unsent = unsent;
        inner.core.disconnect();
        self.finish_by = Some(now + FLUSH);
        None
    }

    /// DISCONNECT is on its way. What comes is read and dropped until the Server closes: it may wait for us to read,
    /// and to close with bytes unread would be a reset, which can destroy the DISCONNECT [MQTT-3.14.4-1].
    pub(super) fn poll_finish(&mut self, written: bool, cx: &mut Context<'_>) -> Poll<()> {
        if written && !self.shut {
            match Pin::new(&mut self.transport).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        for _ in 0..ROUNDS {
            self.read.clear();
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) if self.shut => return Poll::Ready(()),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(0)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
