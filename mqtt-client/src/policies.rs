//! What the client does where the standard leaves a choice.

/// What becomes of in-flight messages when the Server no longer has the Session. Queued messages are always kept, and
/// so are those of which no byte was ever sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum SessionLoss {
    /// Each is reported as [`Ambiguous`](crate::Outcome::Ambiguous).
    Fail,
    /// QoS 1 is published again as a new message (at least once holds); QoS 2 is reported as ambiguous, since sending
    /// it again could double it. The default.
    #[default]
    RepublishQos1,
    /// All are published again as new messages: nothing is lost, a QoS 2 message can come twice.
    RepublishAll,
}

/// Who acknowledges received messages with QoS 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum AckMode {
    /// The core, when it hands the message over. The default.
    #[default]
    Automatic,
    /// The application, with [`acknowledge`](crate::Client::acknowledge). Acknowledgements may come in any order and
    /// are sent in the order of receipt [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    Manual,
}

/// What becomes of a message above [`max_packet_size`](crate::Options::max_packet_size).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Oversize {
    /// The connection ends as soon as the fixed header was read. The Server of a kept Session sends a message with QoS 1
    /// or 2 again on each connection, so that it comes back until somebody raises the limit. The default.
    #[default]
    Close,
    /// The payload is discarded as it comes in, unread and never held in memory; the message is acknowledged, so that
    /// the Server does not send it again, and reported ([`Skipped`](crate::Event::Skipped)).
    ///
    /// The part before the payload, 65 544 bytes at the most, must itself be within the limit; else, and for packets
    /// other than PUBLISH, the connection ends.
    Skip,
}

/// When a client whose [version](crate::Options::version) is 3.1.1 tries MQTT 3.1 on its next connection. It never does if 3.1
/// does not allow its client identifier (1 to 23 characters).
///
/// A version that the Server has accepted is kept for the life of the client, unless the Server refuses it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Fallback {
    /// Never.
    Never,
    /// When the Server refuses the version (CONNACK code 1) [MQTT-3.1.2-2]. The default.
    #[default]
    Refused,
    /// Also when the connection is closed between CONNECT and CONNACK, as some old Servers do, and no connection was
    /// accepted before; the next one that is closed there leads back to 3.1.1. Not the default, since a Server that is
    /// about to stop, or a load balancer, closes connections too.
    RefusedOrClosed,
}
