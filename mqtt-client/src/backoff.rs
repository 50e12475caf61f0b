//! The pauses between attempts to connect, as a pure value.

use core::time::Duration;

use crate::error::ConnectionError;
use crate::time::Time;

/// Exponential back-off with full jitter: each pause is a random part of a ceiling that doubles from
/// [`initial`](Self::initial) to [`max`](Self::max).
///
/// It starts over only after a connection was stable for [`stable_after`](Self::stable_after), so that a Server that
/// accepts and then closes is not hammered. No clock and no randomness of its own: both are arguments.
///
/// ```
/// use core::time::Duration;
/// use mqtt_client::Backoff;
///
/// let mut backoff = Backoff::default().initial(Duration::from_secs(1)).max_attempts(Some(2));
/// assert_eq!(backoff.next_delay(u32::MAX), Some(Duration::from_secs(1)));
/// assert_eq!(backoff.next_delay(u32::MAX), Some(Duration::from_secs(2)));
/// assert_eq!(backoff.next_delay(u32::MAX), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Backoff {
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::seconds"))]
    initial: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::seconds"))]
    max: Duration,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    max_attempts: Option<u32>,
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::seconds"))]
    stable_after: Duration,
    retry_refused: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    attempts: u32,
    #[cfg_attr(feature = "serde", serde(skip))]
    connected_at: Option<Time>,
}

impl Default for Backoff {
    /// 1 s to 60 s, without a limit of attempts, starting over after 30 s of a stable connection; refusals for bad
    /// credentials and the like are final.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            max_attempts: None,
            stable_after: Duration::from_secs(30),
            retry_refused: false,
            attempts: 0,
            connected_at: None,
        }
    }
}

impl Backoff {
    /// The ceiling of the first pause.
    #[must_use]
    pub fn initial(mut self, pause: Duration) -> Self {
        self.initial = pause;
        self
    }

    /// The ceiling of every pause.
    #[must_use]
    pub fn max(mut self, pause: Duration) -> Self {
        self.max = pause;
        self
    }

    /// How many attempts in a row may follow a failure; `None` is no limit.
    #[must_use]
    pub fn max_attempts(mut self, max: Option<u32>) -> Self {
        self.max_attempts = max;
        self
    }

    /// How long a connection must last to count as stable.
    #[must_use]
    pub fn stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// Whether to try again after a refusal that is not [retryable](ConnectionError::is_retryable).
    #[must_use]
    pub fn retry_refused(mut self, retry: bool) -> Self {
        self.retry_refused = retry;
        self
    }

    /// Notes that the Server accepted the connection.
    pub fn connected(&mut self, now: Time) {
        self.connected_at = Some(now);
    }

    /// Notes that the connection was lost; starts over if it had been stable, which is the answer.
    pub fn lost(&mut self, now: Time) -> bool {
        let stable = self.connected_at.take().is_some_and(|since| now - since >= self.stable_after);
        if stable {
            self.attempts = 0;
        }
        stable
    }

    /// Whether `error` should be followed by another attempt.
    pub const fn should_retry(&self, error: &ConnectionError) -> bool {
        self.retry_refused || error.is_retryable()
    }

    /// The pause before the next attempt, or `None` when the limit of attempts is reached.
    ///
    /// `random` is a uniformly distributed number: the pause is `ceiling * random / u32::MAX`.
    pub fn next_delay(&mut self, random: u32) -> Option<Duration> {
        if self.max_attempts.is_some_and(|max| self.attempts >= max) {
            return None;
        }
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let ceiling = self.initial.saturating_mul(factor).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        // In nanoseconds and 128 bits, so that no duration is too long for the product.
        let nanos = ceiling.as_nanos().saturating_mul(u128::from(random)) / u128::from(u32::MAX);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// What follows the end of a connection or of an attempt: [`lost`](Self::lost), [`should_retry`](Self::should_retry)
    /// and [`next_delay`](Self::next_delay) in one. `error` is that of the core, if it was the core that ended it. `None`:
    /// there is to be no other attempt.
    pub fn pause_after(
        &mut self,
        error: Option<&ConnectionError>,
        now: Time,
        random: u32,
    ) -> Option<Duration> {
        self.lost(now);
        let retry = error.is_none_or(|error| self.should_retry(error));
        if retry { self.next_delay(random) } else { None }
    }

    /// How many attempts were made since the last start over.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::ConnectReturnCode;

    const fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn doubles_up_to_the_ceiling_and_never_overflows() {
        let mut backoff = Backoff::default();
        let pauses: alloc::vec::Vec<_> = (0..8).filter_map(|_| backoff.next_delay(u32::MAX)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60].map(secs));
        for _ in 0..1000 {
            assert_eq!(backoff.next_delay(u32::MAX), Some(secs(60)));
        }
    }

    #[test]
    fn each_setting_changes_its_own_and_nothing_else() {
        let backoff = Backoff::default().max_attempts(Some(4)).retry_refused(true).initial(secs(3));
        let mut backoff = backoff.max(secs(10)).stable_after(secs(100));
        let refused = ConnectionError::Refused(ConnectReturnCode::NotAuthorized);
        assert!(backoff.should_retry(&refused));
        let pauses: alloc::vec::Vec<_> = (0..4).filter_map(|_| backoff.next_delay(u32::MAX)).collect();
        assert_eq!(pauses, [3, 6, 10, 10].map(secs));
        for (lasted, pause) in [(99, None), (100, Some(secs(3)))] {
            backoff.connected(Time::from_epoch(secs(1000)));
            backoff.lost(Time::from_epoch(secs(1000 + lasted)));
            assert_eq!(backoff.next_delay(u32::MAX), pause);
        }
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_delay(0), Some(Duration::ZERO));
        let half = backoff.next_delay(u32::MAX / 2).unwrap();
        assert!(half > Duration::from_millis(990) && half < Duration::from_millis(1010), "{half:?}");
    }

    #[test]
    fn retry_limit_honoured() {
        let mut backoff = Backoff::default().max_attempts(Some(3));
        assert_eq!((0..10).filter_map(|_| backoff.next_delay(7)).count(), 3);
    }

    #[test]
    fn backoff_resets_only_when_stable() {
        let mut backoff = Backoff::default();
        for at in 0..5 {
            backoff.next_delay(1);
            backoff.connected(Time::from_epoch(secs(at * 100)));
            backoff.lost(Time::from_epoch(secs(at * 100 + 29)));
        }
        assert_eq!(backoff.attempts(), 5, "a server that accepts and then closes is not hammered");
        backoff.connected(Time::from_epoch(secs(1000)));
        backoff.lost(Time::from_epoch(secs(1030)));
        assert_eq!(backoff.attempts(), 0);
        // A second loss without a connection in between changes nothing.
        backoff.next_delay(1);
        backoff.lost(Time::from_epoch(secs(9999)));
        assert_eq!(backoff.attempts(), 1);
    }

    #[test]
    fn a_pause_follows_unless_the_error_is_final() {
        let mut backoff = Backoff::default();
        let at = |s| Time::from_epoch(secs(s));
        let refused = ConnectionError::Refused(ConnectReturnCode::NotAuthorized);
        assert_eq!(backoff.pause_after(None, at(0), u32::MAX), Some(secs(1)));
        assert_eq!(
            backoff.pause_after(Some(&ConnectionError::ConnackTimeout), at(9), u32::MAX),
            Some(secs(2))
        );
        assert_eq!(backoff.pause_after(Some(&refused), at(10), u32::MAX), None);
        assert_eq!(backoff.attempts(), 2, "a refusal that is final costs no attempt");
        backoff.connected(at(20));
        assert_eq!(backoff.pause_after(None, at(50), u32::MAX), Some(secs(1)), "it was stable");
    }

    #[test]
    fn refused_is_not_retried() {
        let refused = ConnectionError::Refused(ConnectReturnCode::BadUserNameOrPassword);
        assert!(!Backoff::default().should_retry(&refused));
        assert!(Backoff::default().retry_refused(true).should_retry(&refused));
        let busy = ConnectionError::Refused(ConnectReturnCode::ServerUnavailable);
        assert!(Backoff::default().should_retry(&busy));
        assert!(Backoff::default().should_retry(&ConnectionError::ConnackTimeout));
    }
}
