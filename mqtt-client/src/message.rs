//! Application Messages: the ones to send, and the ones received.

use core::fmt;

use bytes::Bytes;
use mqtt_codec::{Delivery, PacketTooLarge, Publish, QoS, TopicName, TopicNameRef};

/// An Application Message to publish: topic, payload, QoS and the RETAIN flag.
///
/// Cloning shares topic and payload. `Debug` shows the length of the payload, not the payload.
///
/// ```
/// use mqtt_client::{Message, QoS, TopicName};
///
/// let topic = TopicName::from_static("plant/7/temperature")?;
/// let message = Message::new(topic, "21.5").qos(QoS::AtLeastOnce).retain(true);
/// assert_eq!(message.payload.as_ref(), b"21.5");
/// # Ok::<(), mqtt_client::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// The Topic Name.
    pub topic: TopicName,
    /// The payload: any bytes, none included.
    pub payload: Bytes,
    /// The Quality of Service; [`QoS::AtMostOnce`] unless told otherwise.
    pub qos: QoS,
    /// The RETAIN flag (section 3.3.1.3): the Server keeps the message for later subscribers.
    pub retain: bool,
}

impl Message {
    /// A message with QoS 0 that is not retained.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self { topic, payload: payload.into(), qos: QoS::AtMostOnce, retain: false }
    }

    /// The same message with another QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// The same message with the RETAIN flag set or cleared.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// The size in bytes of the PUBLISH packet that carries this message.
    ///
    /// # Errors
    /// [`PacketTooLarge`] above the 268 435 455 bytes that a Remaining Length can state (section 2.2.3).
    #[inline]
    pub fn encoded_len(&self) -> Result<usize, PacketTooLarge> {
        // Whatever identifier it will get, it takes two bytes: any will do for the size.
        let delivery = match self.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id: mqtt_codec::PacketId::MIN, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id: mqtt_codec::PacketId::MIN, dup: false },
        };
        self.as_publish(delivery).encoded_len()
    }

    #[inline]
    pub(crate) fn as_publish(&self, delivery: Delivery) -> Publish<'_> {
        Publish { delivery, retain: self.retain, topic: self.topic.as_ref(), payload: &self.payload }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .finish()
    }
}

/// An Application Message that arrived; topic and payload borrow from the input of the caller.
///
/// `Debug` shows the length of the payload, not the payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IncomingMessage<'a> {
    /// The Topic Name.
    pub topic: TopicNameRef<'a>,
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS with which the Server sent it: the lower of the publisher's and the granted one.
    pub qos: QoS,
    /// Whether it is a retained message sent because of a new subscription [MQTT-3.3.1-8].
    pub retain: bool,
    /// The DUP flag: this may be a second copy of an earlier QoS 1 message [MQTT-3.3.1-1].
    pub dup: bool,
    /// What [`acknowledge`](crate::Client::acknowledge) needs. `None` for QoS 0 and with
    /// [`AckMode::Automatic`](crate::AckMode::Automatic).
    pub ack: Option<AckToken>,
}

impl IncomingMessage<'_> {
    /// A message that can be kept longer than the input from which this one borrows: copies topic and payload.
    #[must_use]
    pub fn to_message(&self) -> Message {
        Message {
            topic: self.topic.to_owned(),
            payload: Bytes::copy_from_slice(self.payload),
            qos: self.qos,
            retain: self.retain,
        }
    }
}

impl fmt::Debug for IncomingMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingMessage")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .field("ack", &self.ack)
            .finish()
    }
}

/// Names one received message for its manual acknowledgement.
///
/// It is valid for the Network Connection on which the message came; later it is ignored, since the Server sends the
/// message again [MQTT-4.4.0-1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckToken {
    pub(crate) connection: u32,
    pub(crate) sequence: u64,
}

/// Names one accepted publish until its [`Outcome`](crate::Outcome) is reported.
///
/// Unique among the publishes that a [`Client`](crate::Client) has at any time. [`index`](Self::index) is small and
/// dense, so that an embedder can keep what it knows of a publish in a plain `Vec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishToken {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl PublishToken {
    /// A small number, below the count of publishes that were pending at the same time, and not shared by two that
    /// are pending together. It is used again after the outcome was reported.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Names one subscribe or unsubscribe request until its result is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestToken {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl RequestToken {
    /// A small number that no other pending request has. It is used again after the result was reported.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}
