use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::{
    Connack, Connect, Credentials, Delivery, ListError, MqttString, OwnedBinaryData, Packet, PacketId,
    ProtocolVersion, Publish, QoS, Suback, SubackCode, SubackCodes, Subscribe, SubscribeFilters, TopicFilter,
    TopicName, Unsubscribe, UnsubscribeFilters, Will, string::slice_or_copy,
};

/// A [`Publish`] that can be kept. `Debug` shows the length of the payload, not the payload.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnedPublish {
    /// QoS, Packet Identifier and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name.
    pub topic: TopicName,
    /// The Application Message.
    pub payload: Bytes,
}

impl OwnedPublish {
    /// Keeps `publish`: topic and payload become slices of `frame` where they lie in it, and copies otherwise.
    #[inline]
    #[must_use]
    pub fn from_slice_of(frame: &Bytes, publish: Publish<'_>) -> Self {
        Self {
            delivery: publish.delivery,
            retain: publish.retain,
            topic: TopicName::from_slice_of(frame, publish.topic),
            payload: slice_or_copy(frame, publish.payload),
        }
    }

    /// Lends the packet.
    #[inline]
    #[must_use]
    pub fn as_ref(&self) -> Publish<'_> {
        let Self { delivery, retain, ref topic, ref payload } = *self;
        Publish { delivery, retain, topic: topic.as_ref(), payload }
    }
}

impl fmt::Debug for OwnedPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPublish")
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

/// A [`Connect`] that can be kept. `Debug` shows neither the password nor the Will Message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedConnect {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// Whether the Session begins and ends with the Network Connection.
    pub clean_session: bool,
    /// The Keep Alive in seconds; 0 switches it off.
    pub keep_alive: u16,
    /// The client identifier.
    pub client_id: MqttString,
    /// The message that the Server publishes when the connection is lost.
    pub will: Option<OwnedWill>,
    /// User name and password.
    pub credentials: Option<OwnedCredentials>,
}

/// A [`Will`] that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedWill {
    /// The Will Topic.
    pub topic: TopicName,
    /// The Will Message.
    pub payload: OwnedBinaryData,
    /// The Will QoS.
    pub qos: QoS,
    /// The Will Retain flag.
    pub retain: bool,
}

/// [`Credentials`] that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedCredentials {
    /// The user name.
    pub username: MqttString,
    /// The password.
    pub password: Option<OwnedBinaryData>,
}

impl OwnedConnect {
    /// Keeps `connect`: its fields become slices of `frame` where they lie in it, and copies otherwise.
    #[must_use]
    pub fn from_slice_of(frame: &Bytes, connect: Connect<'_>) -> Self {
        Self {
            version: connect.version,
            clean_session: connect.clean_session,
            keep_alive: connect.keep_alive,
            client_id: MqttString::from_slice_of(frame, connect.client_id),
            will: connect.will.map(|will| OwnedWill::from_slice_of(frame, will)),
            credentials: connect.credentials.map(|it| OwnedCredentials::from_slice_of(frame, it)),
        }
    }

    /// Lends the packet.
    #[must_use]
    pub fn as_ref(&self) -> Connect<'_> {
        Connect {
            version: self.version,
            clean_session: self.clean_session,
            keep_alive: self.keep_alive,
            client_id: self.client_id.as_ref(),
            will: self.will.as_ref().map(OwnedWill::as_ref),
            credentials: self.credentials.as_ref().map(OwnedCredentials::as_ref),
        }
    }
}

impl OwnedWill {
    /// Keeps `will`: its fields become slices of `frame` where they lie in it, and copies otherwise.
    #[must_use]
    pub fn from_slice_of(frame: &Bytes, will: Will<'_>) -> Self {
        Self {
            topic: TopicName::from_slice_of(frame, will.topic),
            payload: OwnedBinaryData::from_slice_of(frame, will.payload),
            qos: will.qos,
            retain: will.retain,
        }
    }

    /// Lends the will.
    #[must_use]
    pub fn as_ref(&self) -> Will<'_> {
        Will {
            topic: self.topic.as_ref(),
            payload: self.payload.as_ref(),
            qos: self.qos,
            retain: self.retain,
        }
    }
}

impl OwnedCredentials {
    /// Keeps `credentials`: the fields become slices of `frame` where they lie in it, and copies otherwise.
    #[must_use]
    pub fn from_slice_of(frame: &Bytes, credentials: Credentials<'_>) -> Self {
        Self {
            username: MqttString::from_slice_of(frame, credentials.username),
            password: credentials.password.map(|it| OwnedBinaryData::from_slice_of(frame, it)),
        }
    }

    /// Lends the credentials.
    #[must_use]
    pub fn as_ref(&self) -> Credentials<'_> {
        Credentials {
            username: self.username.as_ref(),
            password: self.password.as_ref().map(OwnedBinaryData::as_ref),
        }
    }
}

/// A [`Packet`] that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OwnedPacket {
    /// The client requests a connection to the Server (section 3.1).
    Connect(OwnedConnect),
    /// The Server answers a connection request (section 3.2).
    Connack(Connack),
    /// An Application Message (section 3.3).
    Publish(OwnedPublish),
    /// Acknowledges a PUBLISH of QoS 1 (section 3.4).
    Puback(PacketId),
    /// First answer to a PUBLISH of QoS 2 (section 3.5).
    Pubrec(PacketId),
    /// Answers PUBREC (section 3.6).
    Pubrel {
        /// The Packet Identifier of the PUBLISH.
        id: PacketId,
        /// Whether the packet was sent before: MQTT 3.1 only.
        dup: bool,
    },
    /// Answers PUBREL (section 3.7).
    Pubcomp(PacketId),
    /// The client subscribes to Topic Filters (section 3.8).
    Subscribe {
        /// The Packet Identifier.
        id: PacketId,
        /// Whether the packet was sent before: MQTT 3.1 only.
        dup: bool,
        /// The Topic Filters with the QoS that each asks for; at least one.
        filters: Vec<(TopicFilter, QoS)>,
    },
    /// Acknowledges a SUBSCRIBE (section 3.9).
    Suback {
        /// The Packet Identifier.
        id: PacketId,
        /// One return code for each Topic Filter; at least one.
        codes: Vec<SubackCode>,
    },
    /// The client unsubscribes from Topic Filters (section 3.10).
    Unsubscribe {
        /// The Packet Identifier.
        id: PacketId,
        /// Whether the packet was sent before: MQTT 3.1 only.
        dup: bool,
        /// The Topic Filters; at least one.
        filters: Vec<TopicFilter>,
    },
    /// Acknowledges an UNSUBSCRIBE (section 3.11).
    Unsuback(PacketId),
    /// The client shows that it is alive (section 3.12).
    Pingreq,
    /// Answers a PINGREQ (section 3.13).
    Pingresp,
    /// The client disconnects (section 3.14).
    Disconnect,
}

impl OwnedPacket {
    /// Keeps `packet`: texts and payloads become slices of `frame` where they lie in it, and copies otherwise.
    ///
    /// The lists of SUBSCRIBE, SUBACK and UNSUBSCRIBE are allocated for as many elements as the packet has.
    #[must_use]
    pub fn from_slice_of(frame: &Bytes, packet: Packet<'_>) -> Self {
        match packet {
            Packet::Connect(connect) => Self::Connect(OwnedConnect::from_slice_of(frame, connect)),
            Packet::Connack(connack) => Self::Connack(connack),
            Packet::Publish(publish) => Self::Publish(OwnedPublish::from_slice_of(frame, publish)),
            Packet::Puback(id) => Self::Puback(id),
            Packet::Pubrec(id) => Self::Pubrec(id),
            Packet::Pubrel { id, dup } => Self::Pubrel { id, dup },
            Packet::Pubcomp(id) => Self::Pubcomp(id),
            Packet::Subscribe(Subscribe { id, dup, filters }) => {
                let keep = |(filter, qos)| (TopicFilter::from_slice_of(frame, filter), qos);
                Self::Subscribe { id, dup, filters: filters.iter().map(keep).collect() }
            }
            Packet::Suback(Suback { id, codes }) => Self::Suback { id, codes: codes.iter().collect() },
            Packet::Unsubscribe(Unsubscribe { id, dup, filters }) => {
                let keep = |filter| TopicFilter::from_slice_of(frame, filter);
                Self::Unsubscribe { id, dup, filters: filters.iter().map(keep).collect() }
            }
            Packet::Unsuback(id) => Self::Unsuback(id),
            Packet::Pingreq => Self::Pingreq,
            Packet::Pingresp => Self::Pingresp,
            Packet::Disconnect => Self::Disconnect,
        }
    }

    /// Lends the packet.
    ///
    /// # Errors
    /// [`ListError`] when the list of a SUBSCRIBE, SUBACK or UNSUBSCRIBE is empty or does not fit into a packet.
    /// Never for a packet that was decoded.
    pub fn as_packet(&self) -> Result<Packet<'_>, ListError> {
        Ok(match self {
            Self::Connect(connect) => Packet::Connect(connect.as_ref()),
            Self::Connack(connack) => Packet::Connack(*connack),
            Self::Publish(publish) => Packet::Publish(publish.as_ref()),
            Self::Puback(id) => Packet::Puback(*id),
            Self::Pubrec(id) => Packet::Pubrec(*id),
            Self::Pubrel { id, dup } => Packet::Pubrel { id: *id, dup: *dup },
            Self::Pubcomp(id) => Packet::Pubcomp(*id),
            Self::Subscribe { id, dup, filters } => {
                Packet::Subscribe(Subscribe { id: *id, dup: *dup, filters: SubscribeFilters::new(filters)? })
            }
            Self::Suback { id, codes } => Packet::Suback(Suback { id: *id, codes: SubackCodes::new(codes)? }),
            Self::Unsubscribe { id, dup, filters } => {
                let filters = UnsubscribeFilters::new(filters)?;
                Packet::Unsubscribe(Unsubscribe { id: *id, dup: *dup, filters })
            }
            Self::Unsuback(id) => Packet::Unsuback(*id),
            Self::Pingreq => Packet::Pingreq,
            Self::Pingresp => Packet::Pingresp,
            Self::Disconnect => Packet::Disconnect,
        })
    }
}
