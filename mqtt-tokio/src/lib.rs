#![doc = include_str!("../README.md")]
// Shows which feature an item needs; docs.rs builds with nightly.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]

mod builder;
mod client;
mod codec;
#[cfg(feature = "serde")]
mod config;
mod connection;
mod defaults;
mod dialer;
mod driver;
mod env;
mod error;
mod filters;
#[cfg(any(doc, doctest))]
pub mod guide;
mod login;
mod message;
mod notices;
mod observe;
mod publish;
#[cfg(feature = "store-redb")]
mod redb_store;
mod registry;
mod routes;
mod settings;
mod shared;
mod stats;
mod status;
mod store;
mod subscription;
pub mod testing;
mod timer;
mod transport;
mod unclaimed;
mod uri;
mod waiting;

pub use builder::Builder;
pub use client::{Client, Drain};
pub use codec::PacketCodec;
#[cfg(feature = "serde")]
pub use config::Config;
pub use driver::Driver;
pub use env::{EnvError, options_from_env};
pub use error::{
    AckError, CodecError, ConfigError, ConnectError, ConnectionError, DisconnectError, PublishError,
    SubscribeError, UriError,
};
pub use login::{CredentialsError, Login};
pub use message::ReceivedMessage;
pub use publish::{Accepted, Delivered, Publish, Receipt, Receipted, Safe};
#[cfg(feature = "store-redb")]
pub use redb_store::{RedbError, RedbStore, Writes};
pub use registry::Overflow;
pub use stats::Stats;
pub use status::{Status, StatusStream};
pub use store::{SessionStore, StoreError};
pub use subscription::{Subscribe, Subscription};
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "proxy")]
pub use transport::Proxy;
#[cfg(feature = "ws")]
pub use transport::WebSocket;
#[cfg(feature = "tls")]
pub use transport::tls::Tls;
pub use transport::tls::{PemPlace, TlsConfigError, TlsError};
pub use transport::{
    BoxTransport, Connector, DialError, ProxyError, Tcp, TcpKeepAlive, Transport, WebSocketError,
};
pub use uri::{Scheme, Uri};

pub use bytes;
pub use mqtt_client;
pub use mqtt_client::{
    AckMode, Backoff, CanPublish, CanSubscribe, Cause, Change, Changes, ConnectReturnCode, Direction,
    Fallback, Message, Options, OptionsError, Oversize, Profile, ProtocolVersion, PubSub, Publisher, QoS,
    RequestError, Retransmission, Session, SessionLoss, SkippedMessage, SubackCode, Subscriber, Timed,
    TopicError, TopicFilter, TopicName, Will,
};
pub use mqtt_codec;
#[cfg(feature = "store-redb")]
pub use redb;
