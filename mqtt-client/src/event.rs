//! What the core tells the application.

use mqtt_codec::{QoS, SubackCodes, TopicFilter, TopicName};

use crate::message::{IncomingMessage, PublishToken, RequestToken};

/// Something that the application should know. Comes from [`handle_input`](crate::Client::handle_input).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The Server accepted the connection (CONNACK with code 0).
    Connected {
        /// Whether the Server still had the Session [MQTT-3.2.2-2]. Always false with MQTT 3.1, which does not tell.
        session_present: bool,
    },
    /// An Application Message arrived.
    Message(IncomingMessage<'a>),
    /// A publish is resolved. Reported exactly once for each token.
    Published {
        /// What [`publish`](crate::Client::publish) returned.
        token: PublishToken,
        /// What became of it.
        outcome: Outcome,
    },
    /// The Server answered a SUBSCRIBE, filter by filter, in the order of the request.
    Subscribed {
        /// What [`subscribe`](crate::Client::subscribe) returned.
        token: RequestToken,
        /// One code for each filter; a [`Failure`](mqtt_codec::SubackCode::Failure) concerns its filter alone.
        codes: SubackCodes<'a>,
    },
    /// The Server answered an UNSUBSCRIBE.
    Unsubscribed {
        /// What [`unsubscribe`](crate::Client::unsubscribe) returned.
        token: RequestToken,
    },
    /// A subscribe or unsubscribe request ended without an answer.
    RequestFailed {
        /// The token of the request.
        token: RequestToken,
        /// Why.
        cause: Cause,
    },
    /// The Session was lost, the subscription was asked for again, and this time the Server refused it.
    SubscriptionLost {
        /// The filter that no longer is subscribed.
        filter: TopicFilter,
    },
    /// A message above [`max_packet_size`](crate::Options::max_packet_size) was discarded, and acknowledged
    /// ([`Oversize::Skip`](crate::Oversize::Skip)).
    Skipped(SkippedMessage),
    /// A PINGRESP arrived for a PINGREQ of ours.
    Pong,
}

/// What is known of a message whose payload was discarded unread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SkippedMessage {
    /// The Topic Name.
    pub topic: TopicName,
    /// The length of the payload in bytes.
    pub payload_len: usize,
    /// The QoS with which the Server sent it.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The DUP flag: with QoS 1 it may have been reported before.
    pub dup: bool,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// QoS 1: the PUBACK arrived; QoS 2: the PUBCOMP arrived. QoS 0 has no acknowledgement: a QoS 0 message that had
    /// to wait is reported so when it moves into the output.
    Delivered,
    /// The Server has not seen it: no byte of it was ever taken by a transport.
    NotSent(Cause),
    /// The Server may or may not have got it: it was sent and the answer never came.
    Ambiguous(Cause),
}

/// Why a publish or a request ended without its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The Server lost the Session (or Clean Session was asked for) and the
    /// [`SessionLoss`](crate::SessionLoss) policy does not publish this message again.
    #[error("the Server lost the Session")]
    SessionLost,
    /// The application gave up the Session: [`discard_session`](crate::Client::discard_session).
    #[error("the Session was discarded")]
    Discarded,
    /// A QoS 0 message was held for a connection that did not come about.
    #[error("there was no Network Connection")]
    ConnectionLost,
    /// It waited in the queue longer than [`expire`](crate::Client::expire) allowed.
    #[error("it waited in the queue for too long")]
    Expired,
}
