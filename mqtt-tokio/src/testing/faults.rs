use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::{ConnectReturnCode, PacketType};

/// Which of the packets of a type a fault strikes, counted from when the faults were set; the first is number 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// That one alone.
    Nth(u64),
    /// That many, from the first one.
    First(u64),
    /// All that follow so many.
    After(u64),
    /// All.
    Always,
}

impl When {
    const fn strikes(self, number: u64) -> bool {
        match self {
            Self::Nth(nth) => number == nth,
            Self::First(count) => number <= count,
            Self::After(count) => number > count,
            Self::Always => true,
        }
    }
}

/// What happens to a packet that the broker is about to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnSend {
    /// It is not sent.
    Drop,
    /// It is sent so much later; what follows overtakes it.
    Delay(Duration),
    /// It is sent behind the next packet of its type.
    Swap,
    /// It is sent twice.
    Duplicate,
    /// These bytes are sent instead of it.
    Replace(Bytes),
    /// The connection is cut instead.
    CutBefore,
    /// It is sent, and the connection is cut behind it.
    CutAfter,
}

/// What happens to a packet that the broker has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnReceive {
    /// It has no effect.
    Ignore,
    /// It has no effect, and these bytes are the answer.
    Answer(Bytes),
    /// It has no effect, and the connection is cut.
    CutBefore,
    /// It has its effect, but the answer is lost and the connection is cut.
    CutAfter,
}

#[derive(Debug, Clone)]
struct Rule<A> {
    packet_type: PacketType,
    when: When,
    action: A,
    seen: u64,
}

/// What shall go wrong: on all connections of a [`Broker`](super::Broker), or on one of them.
///
/// Faults are set with [`Broker::set_faults`](super::Broker::set_faults) and
/// [`Broker::set_connection_faults`](super::Broker::set_connection_faults), at any time; setting
/// [`Faults::none`] ends them. Counting begins when they are set. Where several strike the same packet, those of
/// the connection precede those of the broker, and earlier ones later ones.
///
/// ```
/// use mqtt_codec::{ConnectReturnCode, PacketType};
/// use mqtt_tokio::testing::{Faults, OnReceive, OnSend, When};
///
/// let faults = Faults::none()
///     .on_send(PacketType::Puback, When::Nth(3), OnSend::Drop)
///     .on_receive(PacketType::Pubrel, When::Nth(1), OnReceive::CutAfter)
///     .refuse_connects(2, ConnectReturnCode::ServerUnavailable);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults {
    send: Vec<Rule<OnSend>>,
    receive: Vec<Rule<OnReceive>>,
    sent_budget: Option<u64>,
    received_budget: Option<u64>,
    refusal: Option<(u64, ConnectReturnCode)>,
    stop_reading: bool,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            send: Vec::new(),
            receive: Vec::new(),
            sent_budget: None,
            received_budget: None,
            refusal: None,
            stop_reading: false,
        }
    }

    /// Lets `action` happen to packets of `packet_type` that the broker sends.
    #[must_use]
    pub fn on_send(mut self, packet_type: PacketType, when: When, action: OnSend) -> Self {
        self.send.push(Rule { packet_type, when, action, seen: 0 });
        self
    }

    /// Lets `action` happen to packets of `packet_type` that the broker receives.
    #[must_use]
    pub fn on_receive(mut self, packet_type: PacketType, when: When, action: OnReceive) -> Self {
        self.receive.push(Rule { packet_type, when, action, seen: 0 });
        self
    }

    /// Cuts the connection, once, that sends the broker's byte number `bytes` from now on; that byte is still sent.
    ///
    /// With 0 the connection is cut instead of sending anything.
    #[must_use]
    pub fn cut_after_sent_bytes(self, bytes: u64) -> Self {
        Self { sent_budget: Some(bytes), ..self }
    }

    /// Cuts the connection, once, that brings the broker byte number `bytes` from now on; that byte still counts.
    ///
    /// With 0 the connection is cut when it brings anything.
    #[must_use]
    pub fn cut_after_received_bytes(self, bytes: u64) -> Self {
        Self { received_budget: Some(bytes), ..self }
    }

    /// Refuses the next `times` CONNECTs with `code`, which may be a reserved one.
    #[must_use]
    pub fn refuse_connects(self, times: u64, code: ConnectReturnCode) -> Self {
        Self { refusal: Some((times, code)), ..self }
    }

    /// Never answers CONNECT.
    #[must_use]
    pub fn no_connack(self) -> Self {
        self.on_send(PacketType::Connack, When::Always, OnSend::Drop)
    }

    /// Never answers PINGREQ.
    #[must_use]
    pub fn no_pingresp(self) -> Self {
        self.on_send(PacketType::Pingresp, When::Always, OnSend::Drop)
    }

    /// Closes the next `times` connections on their CONNECT, without an answer.
    #[must_use]
    pub fn close_before_connack(self, times: u64) -> Self {
        self.on_receive(PacketType::Connect, When::First(times), OnReceive::CutBefore)
    }

    /// Reads nothing any more, so that the client's bytes pile up on its side.
    #[must_use]
    pub fn stop_reading(self) -> Self {
        Self { stop_reading: true, ..self }
    }

    pub(super) fn strike_send(&mut self, packet_type: PacketType) -> Option<OnSend> {
        strike(&mut self.send, packet_type)
    }

    pub(super) fn strike_receive(&mut self, packet_type: PacketType) -> Option<OnReceive> {
        strike(&mut self.receive, packet_type)
    }

    pub(super) fn strike_connect(&mut self) -> Option<ConnectReturnCode> {
        let (times, code) = self.refusal.take()?;
        let left = times.checked_sub(1)?;
        self.refusal = Some((left, code));
        Some(code)
    }

    /// How many of `len` bytes may still be sent, if the connection is cut behind them.
    pub(super) fn strike_sent_bytes(&mut self, len: usize) -> Option<usize> {
        spend(&mut self.sent_budget, len)
    }

    /// How many of `len` received bytes count, if the connection is cut behind them.
    pub(super) fn strike_received_bytes(&mut self, len: usize) -> Option<usize> {
        spend(&mut self.received_budget, len)
    }

    pub(super) const fn stops_reading(&self) -> bool {
        self.stop_reading
    }
}

fn strike<A: Clone>(rules: &mut [Rule<A>], packet_type: PacketType) -> Option<A> {
    let mut struck = None;
    for rule in rules.iter_mut().filter(|rule| rule.packet_type == packet_type) {
        rule.seen += 1;
        if struck.is_none() && rule.when.strikes(rule.seen) {
            struck = Some(rule.action.clone());
        }
    }
    struck
}

fn spend(budget: &mut Option<u64>, len: usize) -> Option<usize> {
    let left = budget.as_mut()?;
    match left.checked_sub(len as u64) {
        Some(rest) if rest > 0 => {
            *left = rest;
            None
        }
        _ => budget.take().and_then(|left| usize::try_from(left).ok()),
    }
}
