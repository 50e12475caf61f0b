//! The clock of the embedder, as a value.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment, counted from an epoch that the embedder chooses (its start, for example).
///
/// The core never reads a clock: every call that needs the time takes it as a `Time`. Only differences matter, so any
/// epoch will do as long as it stays the same for the life of a [`Client`](crate::Client), and of a Session in which
/// messages [expire](crate::Client::expire), and the clock does not run backwards. A clock that does run backwards makes
/// deadlines late; it cannot make the core panic.
///
/// ```
/// use core::time::Duration;
/// use mqtt_client::Time;
///
/// let start = std::time::Instant::now();
/// let now = Time::from_epoch(start.elapsed());
/// assert!(now + Duration::from_secs(1) > now);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(Duration);

impl Time {
    /// The epoch itself.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The moment `elapsed` after the epoch.
    pub const fn from_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time from the epoch to this moment.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment, or zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// The moment `rhs` later; it saturates instead of overflowing.
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// The same as [`Time::saturating_since`].
    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let end = Time::from_epoch(Duration::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Time::ZERO - end, Duration::ZERO);
        assert_eq!(Time::from_epoch(Duration::from_secs(3)) - Time::ZERO, Duration::from_secs(3));
    }
}
