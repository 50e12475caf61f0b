//! Options as text (feature `serde`): names as the setters have them, values as a person writes them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use mqtt_codec::{ProtocolVersion, QoS};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::backoff::Backoff;
use crate::options::{Options, Secret, Will};
use crate::policies::{AckMode, Fallback, Oversize, SessionLoss};
use crate::retransmission::Retransmission;

/// Makes the draft of the options: as they are written and read, all but the client identifier optional. `always` are the
/// settings that have a value in any case, `optional` those that are an `Option` in the options too.
macro_rules! draft {
    (always { $($name:ident: $type:ty,)* } optional { $($optional:ident: $optional_type:ty,)* }) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(rename = "Options", deny_unknown_fields)]
        struct Draft {
            client_id: String,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            username: Option<String>,
            #[serde(default, skip_serializing)]
            password: Option<Lenient>,
            $(#[serde(default)] $name: Option<$type>,)*
            $(#[serde(default, skip_serializing_if = "Option::is_none")] $optional: Option<$optional_type>,)*
        }

        impl Draft {
            fn new(options: &Options) -> Self {
                Self {
                    client_id: options.client_id.clone(),
                    username: options.username.clone(),
                    password: None,
                    $($name: Some(options.$name.clone().into()),)*
                    $($optional: options.$optional.clone().map(Into::into),)*
                }
            }

            /// The options, unchecked. A password that is none has no place in them: the error says so.
            fn into_options(self) -> Result<Options, &'static str> {
                let mut options = Options::new(self.client_id);
                options.username = self.username;
                if let Some(password) = self.password {
                    let password = password.into_bytes().ok_or("password: not a string or bytes")?;
                    options.password = Some(Secret(password));
                }
                $(
                    if let Some(value) = self.$name {
                        options.$name = value.into();
                    }
                )*
                $(options.$optional = self.$optional.map(Into::into);)*
                Ok(options)
            }
        }
    };
}

draft! {
    always {
        version: Version,
        clean_session: bool,
        keep_alive: Seconds,
        connack_timeout: Seconds,
        pingresp_timeout: Seconds,
        max_in_flight: u32,
        max_in_flight_qos2: u32,
        max_queue_len: usize,
        max_queue_size: usize,
        max_packet_size: usize,
        max_requests: usize,
        queue_qos0: bool,
        pipeline: bool,
        session_loss: SessionLoss,
        ack_mode: AckMode,
        oversize: Oversize,
        fallback: Fallback,
        journal: bool,
        backoff: Backoff,
    }
    optional {
        ack_timeout: Seconds,
        retransmission: Retransmission,
        will: Will,
    }
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Draft::new(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = Draft::deserialize(deserializer)?.into_options().map_err(D::Error::custom)?;
        options.check().map_err(D::Error::custom)?;
        Ok(options)
    }
}

/// Durations as seconds: an integer, or a fraction if they are no whole number.
pub(crate) mod seconds {
    use core::time::Duration;

    use super::{Deserializer, Error, Serializer, Visitor, fmt};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if time.subsec_nanos() == 0 {
            serializer.serialize_u64(time.as_secs())
        } else {
            serializer.serialize_f64(time.as_secs_f64())
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Seconds)
    }

    struct Seconds;

    impl Visitor<'_> for Seconds {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("seconds, not negative")
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| E::custom("seconds cannot be negative"))
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            Duration::try_from_secs_f64(seconds).map_err(E::custom)
        }
    }
}

/// The levels 0, 1 and 2.
pub(crate) mod qos {
    use super::{Deserialize, Deserializer, Error, QoS, Serializer};

    pub(crate) fn serialize<S: Serializer>(qos: &QoS, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*qos as u8)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QoS, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(QoS::AtMostOnce),
            1 => Ok(QoS::AtLeastOnce),
            2 => Ok(QoS::ExactlyOnce),
            _ => Err(D::Error::custom("QoS is 0, 1 or 2 [MQTT-3.1.2-14]")),
        }
    }
}

/// Topic Names.
pub(crate) mod topic {
    use mqtt_codec::TopicName;

    use super::{Deserialize, Deserializer, Error, Serializer, String};

    pub(crate) fn serialize<S: Serializer>(topic: &TopicName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(topic.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicName, D::Error> {
        TopicName::try_from(String::deserialize(deserializer)?.as_str()).map_err(D::Error::custom)
    }
}

/// Payloads: a string if they are one, else a list of bytes.
pub(crate) mod payload {
    use super::{Bytes, Deserialize, Deserializer, Error, Lenient, Serializer};

    pub(crate) fn serialize<S: Serializer>(payload: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match core::str::from_utf8(payload) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(payload),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let payload = Lenient::deserialize(deserializer)?.into_bytes();
        payload.ok_or_else(|| D::Error::custom("payload: not a string or bytes"))
    }
}

/// A duration in the draft.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Seconds(#[serde(with = "seconds")] Duration);

impl From<Duration> for Seconds {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

/// Versions as `"3.1"` and `"3.1.1"`.
struct Version(ProtocolVersion);

impl From<ProtocolVersion> for Version {
    fn from(version: ProtocolVersion) -> Self {
        Self(version)
    }
}

impl From<Version> for ProtocolVersion {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "3.1" => Ok(Self(ProtocolVersion::V3_1)),
            "3.1.1" => Ok(Self(ProtocolVersion::V3_1_1)),
            _ => Err(D::Error::custom("the version is \"3.1\" or \"3.1.1\"")),
        }
    }
}

/// What should be bytes and must not be shown if it is not: whatever it is, reading it succeeds, since the errors of serde
/// show the value.
enum Lenient {
    Bytes(Vec<u8>),
    /// An element of a list.
    Byte(u8),
    Other,
}

impl Lenient {
    fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes.into()),
            Self::Byte(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Lenient;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Lenient, E> {
        Ok(Lenient::Bytes(text.into()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Lenient, E> {
        Ok(Lenient::Bytes(bytes.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Lenient, E> {
        Ok(u8::try_from(value).map_or(Lenient::Other, Lenient::Byte))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Lenient, E> {
        Ok(u8::try_from(value).map_or(Lenient::Other, Lenient::Byte))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Lenient, A::Error> {
        let mut bytes = Some(Vec::new());
        while let Some(element) = list.next_element::<Lenient>()? {
            match (element, &mut bytes) {
                (Lenient::Byte(byte), Some(bytes)) => bytes.push(byte),
                _ => bytes = None,
            }
        }
        Ok(bytes.map_or(Lenient::Other, Lenient::Bytes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lenient, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Lenient::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Lenient, E> {
        Ok(Lenient::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Lenient, E> {
        Ok(Lenient::Other)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Lenient, E> {
        Ok(Lenient::Other)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Lenient, E> {
        Ok(Lenient::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Lenient, E> {
        Ok(Lenient::Other)
    }

    fn visit_none<E: Error>(self) -> Result<Lenient, E> {
        Ok(Lenient::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Lenient, D::Error> {
        Lenient::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Lenient, D::Error> {
        Lenient::deserialize(deserializer)
    }
}
