//! When to send again: on a new connection only, or also after a time.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use mqtt_codec::PacketId;

use crate::time::Time;

/// When a packet that is not acknowledged is sent again.
///
/// The default follows the protocol version: [`OnReconnect`](Self::OnReconnect) for 3.1.1, [`Timed`](Self::Timed) with
/// its own defaults for 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Retransmission {
    /// On the next Network Connection, and only there [MQTT-4.4.0-1]. TCP sees to it that nothing is lost in between.
    OnReconnect,
    /// There, and after a time without an answer on the same connection too, as MQTT 3.1 asks for (its section 4.2).
    Timed(Timed),
}

/// How long to wait for an answer before a packet is sent again on the same connection.
///
/// The n-th wait (n from 0) for the answer to a PUBREL, SUBSCRIBE or UNSUBSCRIBE is `initial * factor^n`; that for the
/// answer to a PUBLISH of `size` bytes is `initial + factor^n * size / bandwidth`, so that a large message on a slow link
/// is given the time that it takes. No wait is longer than `cap`, but for the `jitter` on top.
///
/// The time counts from when the transport took the last byte of the packet, but not before the CONNACK. Nothing is sent
/// again while output waits for the transport, or while the application [does not read](crate::Client::pause_input).
/// PUBLISH packets are sent again in the order in which they were first sent [MQTT-4.6.0-1]: one that is due waits for
/// those before it, and takes those behind it with it, so that the last copies of all are in that order too (section
/// 4.6). Requests do so as well: what was subscribed and then unsubscribed ends up unsubscribed.
///
/// ```
/// use core::time::Duration;
/// use mqtt_client::{Options, Retransmission, Timed};
///
/// let slow_radio = Timed::default().initial(Duration::from_secs(20)).bandwidth(1_000);
/// let options = Options::new("buoy-3").retransmission(Retransmission::Timed(slow_radio));
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Timed {
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::seconds"))]
    pub(crate) initial: Duration,
    pub(crate) factor: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::seconds"))]
    pub(crate) cap: Duration,
    pub(crate) bandwidth: u32,
    pub(crate) jitter: u8,
}

impl Default for Timed {
    /// 4 s, doubled up to 1024 s, for a link of 10 000 bytes a second, without jitter.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(4),
            factor: 2,
            cap: Duration::from_secs(1024),
            bandwidth: 10_000,
            jitter: 0,
        }
    }
}

impl Timed {
    /// The first wait, not counting what the size of a PUBLISH adds. Longer than zero; default 4 s.
    #[must_use]
    pub fn initial(mut self, wait: Duration) -> Self {
        self.initial = wait;
        self
    }

    /// What each further wait grows by. From 1; default 2.
    #[must_use]
    pub fn factor(mut self, factor: u32) -> Self {
        self.factor = factor;
        self
    }

    /// The longest wait. Not shorter than `initial`; default 1024 s.
    #[must_use]
    pub fn cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// What the link can be expected to carry, in bytes a second. From 1; default 10 000.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u32) -> Self {
        self.bandwidth = bytes_per_second;
        self
    }

    /// By how much, in per cent, a wait may be longer, so that many clients do not send again in step: a part that
    /// follows from client identifier, Packet Identifier and number of the wait, since the core has no randomness.
    /// From 0 to 100; default 0.
    #[must_use]
    pub fn jitter(mut self, percent: u8) -> Self {
        self.jitter = percent;
        self
    }

    /// Whether the settings make sense together.
    pub(crate) fn is_valid(&self) -> bool {
        !self.initial.is_zero()
            && self.cap >= self.initial
            && self.factor >= 1
            && self.bandwidth >= 1
            && self.jitter <= 100
    }

    /// The wait number `attempt`, counted from 0.
    fn wait(&self, packet: Sent, attempt: u32, seed: u64) -> Duration {
        let factor = self.factor.saturating_pow(attempt);
        let wait = match packet {
            Sent::Publish(size) => {
                let nanos = u128::from(size) * 1_000_000_000 / u128::from(self.bandwidth.max(1));
                let transfer = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                self.initial.saturating_add(transfer.saturating_mul(factor))
            }
            Sent::Control => self.initial.saturating_mul(factor),
        };
        let wait = wait.min(self.cap);
        // A part of the jitter in 256 steps.
        let part = u32::from(self.jitter) * (mix(seed ^ u64::from(attempt)) & 0xff) as u32;
        wait.saturating_add(wait / (100 * 255) * part)
    }
}

/// Spreads the bits of a number (the finalizer of SplitMix64).
const fn mix(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

/// What was sent, as far as the wait depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    /// A PUBLISH of so many bytes.
    Publish(u64),
    /// Anything else.
    Control,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Timer {
    packet: Sent,
    /// The offset in the stream of the connection behind the packet: the wait begins when the transport has got there.
    end: u64,
    due: Option<Time>,
    attempt: u32,
    /// Whether it is to be sent again as soon as there is room for it.
    again: bool,
}

/// The waits for the answers to all packets that were sent on the present connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Timers {
    rule: Timed,
    seed: u64,
    /// Identifiers are unique among publishes and requests together.
    timers: BTreeMap<PacketId, Timer>,
    /// The ends of packets that the transport has not wholly taken, in order.
    sending: VecDeque<(u64, PacketId)>,
    /// No request is due before; early rather than late.
    requests_due: Option<Time>,
    /// Nothing is due before: nothing was answered, or read, for a while.
    not_before: Time,
}

impl Timers {
    /// `seed` tells this client from others.
    pub(crate) fn new(rule: Timed, seed: u64) -> Self {
        Self {
            rule,
            seed,
            timers: BTreeMap::new(),
            sending: VecDeque::new(),
            requests_due: None,
            not_before: Time::ZERO,
        }
    }

    /// A packet was encoded, up to the offset `end` of the stream; whether it is the same one again.
    pub(crate) fn sent(&mut self, id: PacketId, packet: Sent, end: u64) -> bool {
        let before = self.timers.get(&id).map(|timer| timer.attempt);
        let attempt = before.map_or(0, |attempt| attempt.saturating_add(1));
        self.timers.insert(id, Timer { packet, end, due: None, attempt, again: false });
        self.sending.push_back((end, id));
        before.is_some()
    }

    /// The packet with `id` is to be sent again, if it was sent on this connection at all.
    pub(crate) fn repeat(&mut self, id: PacketId) {
        if let Some(timer) = self.timers.get_mut(&id) {
            timer.again = true;
        }
    }

    /// Whether the packet with `id` is to be sent again now.
    pub(crate) fn is_again(&self, id: PacketId) -> bool {
        self.timers.get(&id).is_some_and(|timer| timer.again)
    }

    /// The transport has taken `taken` bytes of the stream.
    pub(crate) fn taken(&mut self, taken: u64, now: Time) {
        while let Some(&(end, id)) = self.sending.front().filter(|(end, _)| *end <= taken) {
            self.sending.pop_front();
            // Another end: it was answered before it was all sent, and its identifier is that of another packet now.
            if let Some(timer) = self.timers.get_mut(&id).filter(|timer| timer.end == end) {
                let seed = self.seed ^ u64::from(id.get()) << 32;
                let due = now + self.rule.wait(timer.packet, timer.attempt, seed);
                timer.due = Some(due);
                if timer.packet == Sent::Control {
                    self.requests_due = Some(self.requests_due.map_or(due, |other| other.min(due)));
                }
            }
        }
    }

    /// The answer came.
    pub(crate) fn forget(&mut self, id: PacketId) {
        self.timers.remove(&id);
        if self.timers.is_empty() {
            self.requests_due = None;
        }
    }

    /// From now on the Server answers, or the application reads what lies there unread.
    pub(crate) fn resume(&mut self, now: Time) {
        self.not_before = now + self.rule.initial;
    }

    /// When the packet with `id` is to be sent again, if it waits for that.
    pub(crate) fn due(&self, id: PacketId) -> Option<Time> {
        self.timers.get(&id)?.due.map(|due| due.max(self.not_before))
    }

    /// Whether the packet with `id` is to be sent again at `now`.
    pub(crate) fn is_due(&self, id: PacketId, now: Time) -> bool {
        self.due(id).is_some_and(|due| now >= due)
    }

    /// A moment before which no request is due.
    pub(crate) fn requests_due(&self) -> Option<Time> {
        self.requests_due.map(|due| due.max(self.not_before))
    }

    pub(crate) fn set_requests_due(&mut self, due: Option<Time>) {
        self.requests_due = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    #[test]
    fn waits_grow_up_to_the_cap_and_never_overflow() {
        let rule = Timed::default();
        let waits = |packet| [0, 1, 2, 9, u32::MAX].map(|attempt| rule.wait(packet, attempt, 7).as_millis());
        assert_eq!(waits(Sent::Control), [4_000, 8_000, 16_000, 1_024_000, 1_024_000]);
        assert_eq!(waits(Sent::Publish(10_000)), [5_000, 6_000, 8_000, 516_000, 1_024_000]);
        assert_eq!(waits(Sent::Publish(100)), [4_010, 4_020, 4_040, 9_120, 1_024_000]);
        assert_eq!(rule.wait(Sent::Publish(u64::MAX), 3, 7), rule.cap);
    }

    #[test]
    fn jitter_only_adds_and_stays_in_its_part() {
        let rule = Timed::default().jitter(50);
        let waits: alloc::vec::Vec<_> = (0..200).map(|seed| rule.wait(Sent::Control, 0, seed)).collect();
        assert!(waits.iter().all(|wait| (4_000..=6_000).contains(&wait.as_millis())));
        let distinct: alloc::collections::BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 50, "{} different waits", distinct.len());
        assert_eq!(rule.wait(Sent::Control, 0, 3), rule.wait(Sent::Control, 0, 3));
    }

    #[test]
    fn the_wait_begins_with_the_last_byte() {
        let mut timers = Timers::new(Timed::default(), 0);
        timers.sent(id(1), Sent::Control, 4);
        timers.sent(id(2), Sent::Control, 8);
        timers.taken(7, Time::ZERO);
        assert_eq!(timers.due(id(1)), Some(Time::ZERO + Duration::from_secs(4)));
        assert_eq!(timers.due(id(2)), None);
        // Answered before it was all sent; the identifier is used again.
        timers.forget(id(2));
        timers.sent(id(2), Sent::Control, 20);
        timers.taken(8, Time::ZERO);
        assert_eq!(timers.due(id(2)), None);
    }
}
