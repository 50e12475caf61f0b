#![doc = include_str!("../README.md")]
// Shows which feature an item needs; docs.rs builds with nightly.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![deny(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod decoder;
mod error;
mod filter_map;
mod header;
mod owned;
mod packet;
mod packet_id;
mod packet_type;
mod qos;
mod reader;
mod scan;
mod string;
mod topic;
mod version;
mod writer;

pub use decoder::{Decoded, Decoder, Oversize, PublishHead};
pub use error::{DecodeError, ListError, PacketTooLarge};
pub use filter_map::{FilterMap, Iter, Matches};
pub use header::{MAX_PACKET_SIZE, MAX_REMAINING_LENGTH};
pub use owned::{OwnedConnect, OwnedCredentials, OwnedPacket, OwnedPublish, OwnedWill};
pub use packet::Packet;
pub use packet::connack::{Connack, ConnectReturnCode, ReservedReturnCode};
pub use packet::connect::{ClientIdError, Connect, Credentials, Will};
pub use packet::publish::{Delivery, Publish};
pub use packet::suback::{Suback, SubackCode, SubackCodes, SubackCodesIter};
pub use packet::subscribe::{Subscribe, SubscribeFilters, SubscribeFiltersIter};
pub use packet::unsubscribe::{Unsubscribe, UnsubscribeFilters, UnsubscribeFiltersIter};
pub use packet_id::{InvalidPacketId, PacketId};
pub use packet_type::{Direction, PacketType};
pub use qos::{InvalidQoS, QoS};
pub use string::{BinaryData, BinaryDataTooLong, MqttStr, MqttString, OwnedBinaryData, StringError};
pub use topic::{TopicError, TopicFilter, TopicFilterRef, TopicName, TopicNameRef};
pub use version::ProtocolVersion;
