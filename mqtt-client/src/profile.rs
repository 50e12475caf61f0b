//! What a client is for, decided at compile time.

/// What a [`Client`](crate::Client) is for: one of [`Publisher`], [`Subscriber`] and [`PubSub`].
///
/// The profile limits the commands that exist, never the conformance to the protocol: a publisher that is sent a
/// PUBLISH acknowledges it as the standard demands [MQTT-4.5.0-2], and reports it. This trait is sealed.
pub trait Profile:
    sealed::Sealed + core::fmt::Debug + Clone + Copy + PartialEq + Eq + core::hash::Hash + Send + Sync + 'static
{
    /// The name of the profile, for logs.
    const NAME: &'static str;
}

/// A profile that publishes: [`Publisher`] and [`PubSub`]. Sealed.
pub trait CanPublish: Profile {}

/// A profile that subscribes: [`Subscriber`] and [`PubSub`]. Sealed.
pub trait CanSubscribe: Profile {}

/// Publishes; does not subscribe.
///
/// ```compile_fail
/// use mqtt_client::{Client, Options, Publisher, QoS, TopicFilter};
/// let mut client = Client::<Publisher>::new(Options::new("p"))?;
/// client.subscribe([(TopicFilter::from_static("a")?, QoS::AtMostOnce)])?; // no such method
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Publisher;

/// Subscribes; does not publish (but for its Will).
///
/// ```compile_fail
/// use mqtt_client::{Client, Message, Options, Subscriber, TopicName};
/// let mut client = Client::<Subscriber>::new(Options::new("s"))?;
/// client.publish(Message::new(TopicName::from_static("a")?, "x"))?; // no such method
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Subscriber;

/// Publishes and subscribes.
///
/// ```
/// use mqtt_client::{Client, Message, Options, PubSub, QoS, TopicFilter, TopicName};
/// let mut client = Client::<PubSub>::new(Options::new("b"))?;
/// client.subscribe([(TopicFilter::from_static("a")?, QoS::AtMostOnce)])?;
/// client.publish(Message::new(TopicName::from_static("a")?, "x").qos(QoS::AtLeastOnce))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PubSub;

impl Profile for Publisher {
    const NAME: &'static str = "publisher";
}
impl Profile for Subscriber {
    const NAME: &'static str = "subscriber";
}
impl Profile for PubSub {
    const NAME: &'static str = "both";
}
impl CanPublish for Publisher {}
impl CanPublish for PubSub {}
impl CanSubscribe for Subscriber {}
impl CanSubscribe for PubSub {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Publisher {}
    impl Sealed for super::Subscriber {}
    impl Sealed for super::PubSub {}
}
