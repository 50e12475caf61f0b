//! Keep Alive (section 3.1.2.10): when to send a PINGREQ, and when to give up on its PINGRESP.

use core::time::Duration;

use crate::time::Time;

/// The timers of one connection that the Server has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KeepAlive {
    /// How long to be silent before a PINGREQ; `None` is never.
    interval: Option<Duration>,
    /// How long to wait for the PINGRESP.
    timeout: Duration,
    last_sent: Time,
    last_received: Time,
    /// Since when a PINGRESP is due; moved on by each sign of life.
    waiting_since: Option<Time>,
    /// When the PINGREQ that waits for its answer was encoded.
    pinged_at: Time,
    /// The offset in the stream of the connection behind the PINGREQ that waits for its answer.
    ping_end: u64,
    /// Whether the application does not read just now.
    paused: bool,
}

impl KeepAlive {
    /// `keep_alive` is what CONNECT stated. A PINGREQ is due a little earlier, by a tenth and at most a second, so that
    /// a timer that fires late does not break the promise [MQTT-3.1.2-23]. `last_sent` is when the transport took the
    /// CONNECT: our silence began there, not with the answer.
    pub(crate) fn new(keep_alive: Duration, timeout: Duration, last_sent: Time, now: Time) -> Self {
        let margin = (keep_alive / 10).min(Duration::from_secs(1));
        let interval = Some(keep_alive - margin).filter(|_| !keep_alive.is_zero());
        Self {
            interval,
            timeout,
            last_sent,
            last_received: now,
            waiting_since: None,
            pinged_at: now,
            ping_end: 0,
            paused: false,
        }
    }

    #[inline]
    pub(crate) fn received(&mut self, now: Time) {
        self.last_received = now;
        if self.waiting_since.is_some() {
            self.waiting_since = Some(now);
        }
    }

    /// A PINGREQ was encoded, up to the offset `end`. That counts as sending, or one would follow the other while the
    /// transport takes nothing. If an earlier one is unanswered, its deadline stays.
    pub(crate) fn ping_sent(&mut self, now: Time, end: u64) {
        self.last_sent = now;
        if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
            self.pinged_at = now;
            self.ping_end = end;
        }
    }

    /// The transport took bytes; before it had taken `taken` of the stream. As long as the PINGREQ is still among what
    /// waits, that is a sign of life: a slow link is not a dead one.
    #[inline]
    pub(crate) fn sent(&mut self, now: Time, taken: u64) {
        self.last_sent = now;
        if self.waiting_since.is_some() && taken < self.ping_end {
            self.waiting_since = Some(now);
        }
    }

    /// Whether an unanswered PINGREQ ends behind this offset in the stream.
    pub(crate) const fn ping_ends_behind(&self, offset: u64) -> bool {
        self.is_waiting() && self.ping_end > offset
    }

    /// Whether a PINGRESP is due.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Our own silence starts anew although nothing was encoded.
    pub(crate) fn postpone(&mut self, now: Time) {
        self.last_sent = now;
    }

    /// A PINGRESP came; if one was due, when its PINGREQ was encoded.
    pub(crate) fn pong(&mut self) -> Option<Time> {
        self.waiting_since.take().map(|_| self.pinged_at)
    }

    /// The application stops or resumes reading.
    pub(crate) fn set_paused(&mut self, paused: bool, now: Time) {
        if self.paused && !paused {
            self.received(now);
        }
        self.paused = paused;
    }

    /// Whether the application does not read just now.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// When something is due, if ever.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match (self.ping_due(), self.pong_due()) {
            (Some(ping), Some(pong)) => Some(ping.min(pong)),
            (ping, pong) => ping.or(pong),
        }
    }

    /// When a PINGREQ is due. While one is unanswered, silence of the Server is no reason for another, but our own
    /// silence is.
    pub(crate) fn ping_due(&self) -> Option<Time> {
        let interval = self.interval?;
        let quiet_since = if self.waiting_since.is_some() || self.paused {
            self.last_sent
        } else {
            self.last_sent.min(self.last_received)
        };
        Some(quiet_since + interval)
    }

    /// When the missing PINGRESP ends the connection.
    pub(crate) fn pong_due(&self) -> Option<Time> {
        if self.paused {
            return None;
        }
        self.waiting_since.map(|since| since + self.timeout)
    }
}
