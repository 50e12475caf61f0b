#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod client;
mod codec;
mod connection;
mod driver;
mod error;
mod message;
mod notices;
mod publish;
mod registry;
mod routes;
mod shared;
mod status;
mod subscription;
pub mod testing;
mod timer;
mod transport;
mod uri;
mod waiting;

pub use client::{Builder, Client, Drain};
pub use codec::PacketCodec;
pub use driver::Driver;
pub use error::{
    CodecError, ConnectError, ConnectionError, DisconnectError, PublishError, SubscribeError, UriError,
};
pub use message::ReceivedMessage;
pub use publish::{Accepted, Delivered, Publish, Receipt, Receipted};
pub use registry::Overflow;
pub use status::{Status, StatusStream};
pub use subscription::{Subscribe, Subscription};
pub use transport::{BoxTransport, Connector, Transport};
pub use uri::Uri;

pub use bytes;
pub use mqtt_client;
pub use mqtt_client::{
    AckMode, Backoff, CanPublish, CanSubscribe, Cause, ConnectReturnCode, Fallback, Message, Options,
    OptionsError, Oversize, Profile, ProtocolVersion, PubSub, Publisher, QoS, RequestError, Retransmission,
    Session, SessionLoss, SkippedMessage, Stats, SubackCode, Subscriber, Timed, TopicError, TopicFilter,
    TopicName, Will,
};
pub use mqtt_codec;
