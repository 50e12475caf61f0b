//! What a run does: the case, how many messages, and the message itself.

use std::fmt;
use std::str::FromStr;

/// The topic of every message: 32 bytes.
pub const TOPIC: &str = "plant/0007/line/03/temperature/c";

/// The payload of every message: 64 bytes.
pub const PAYLOAD: &[u8; 64] = b"{\"value\":21.500,\"unit\":\"C\",\"time\":\"2026-11-21T00:00:00.000000Z\"}";

/// Which way the messages go, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client publishes.
    Publish,
    /// The client subscribes and receives.
    Receive,
}

/// One thing to measure: a direction and a QoS (0, 1 or 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which way the messages go.
    pub direction: Direction,
    /// The QoS of every message.
    pub qos: u8,
}

impl Case {
    /// Every case, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self { direction: Direction::Publish, qos: 0 },
        Self { direction: Direction::Publish, qos: 1 },
        Self { direction: Direction::Publish, qos: 2 },
        Self { direction: Direction::Receive, qos: 0 },
        Self { direction: Direction::Receive, qos: 1 },
        Self { direction: Direction::Receive, qos: 2 },
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Publish => "publish",
            Direction::Receive => "receive",
        };
        write!(f, "{direction}-{}", self.qos)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|case| case.to_string() == text);
        found.ok_or_else(|| format!("no such case: {text}"))
    }
}

/// What one client process is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What is measured.
    pub case: Case,
    /// How many messages are published or received.
    pub messages: u64,
    /// How many messages with QoS 1 or 2 may be in flight.
    pub window: u16,
    /// Where the broker listens on 127.0.0.1.
    pub port: u16,
}

impl Workload {
    /// How many PUBLISH packets the broker must have seen, sent or received, when the run is complete.
    ///
    /// Nothing acknowledges QoS 0, so such a run ends with one message of QoS 1: when its PUBACK is back, the
    /// broker has read everything before it.
    pub fn packets_at_broker(&self) -> u64 {
        self.messages + u64::from(self.ends_with_marker())
    }

    /// Whether a last message of QoS 1 tells that everything before it has arrived.
    pub fn ends_with_marker(&self) -> bool {
        self.case == Case { direction: Direction::Publish, qos: 0 }
    }

    /// How many acknowledgements (PUBACK or PUBCOMP) end a publishing run.
    pub fn acknowledgements(&self) -> u64 {
        if self.case.qos == 0 { 1 } else { self.messages }
    }
}
