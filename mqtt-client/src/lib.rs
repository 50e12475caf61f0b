#![doc = include_str!("../README.md")]
// Shows which feature an item needs; docs.rs builds with nightly.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;

mod backoff;
mod client;
mod error;
mod event;
#[cfg(any(doc, doctest))]
pub mod guide;
mod inspect;
mod keep_alive;
mod machine;
mod message;
mod options;
mod outbox;
mod policies;
mod profile;
mod retransmission;
#[cfg(feature = "serde")]
mod serde;
mod session;
mod state;
mod stats;
mod time;

pub use backoff::Backoff;
pub use client::Client;
pub use error::{
    AcknowledgeError, CancelError, ConnectError, ConnectionError, OptionsError, PingError, ProtocolViolation,
    PublishError, RequestError, SessionDecodeError,
};
pub use event::{Cause, Event, Outcome, SkippedMessage};
pub use inspect::Inspector;
pub use message::{AckToken, IncomingMessage, Message, PublishToken, RequestToken};
pub use options::{Options, Will};
pub use outbox::Output;
pub use policies::{AckMode, Fallback, Oversize, SessionLoss};
pub use profile::{CanPublish, CanSubscribe, Profile, PubSub, Publisher, Subscriber};
pub use retransmission::{Retransmission, Timed};
pub use session::Session;
pub use session::journal::{Change, Changes, Key, Mark, Record};
pub use state::State;
pub use stats::{Count, Stats, Traffic};
pub use time::Time;

pub use bytes;
pub use mqtt_codec::{
    ConnectReturnCode, DecodeError, Direction, Packet, PacketId, PacketType, ProtocolVersion, QoS,
    SubackCode, SubackCodes, TopicError, TopicFilter, TopicFilterRef, TopicName, TopicNameRef,
};
