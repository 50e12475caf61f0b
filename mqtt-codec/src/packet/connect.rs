use bytes::{BufMut, BytesMut};

use crate::{
    BinaryData, DecodeError, MqttStr, PacketType, ProtocolVersion, QoS, TopicNameRef, reader::Reader, writer,
};

const USER_NAME: u8 = 0b1000_0000;
const PASSWORD: u8 = 0b0100_0000;
const WILL_RETAIN: u8 = 0b0010_0000;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_QOS_SHIFT: u8 = 3;
const WILL: u8 = 0b0000_0100;
const CLEAN_SESSION: u8 = 0b0000_0010;
const RESERVED: u8 = 0b0000_0001;

/// A CONNECT packet: the client requests a connection (section 3.1).
///
/// `Debug` shows neither the password nor the Will Message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connect<'a> {
    /// The version of the protocol, which gives Protocol Name and Protocol Level.
    pub version: ProtocolVersion,
    /// Whether the Session begins and ends with the Network Connection (section 3.1.2.4).
    pub clean_session: bool,
    /// The longest time in seconds that the client is silent; 0 switches Keep Alive off (section 3.1.2.10).
    pub keep_alive: u16,
    /// The client identifier [MQTT-3.1.3-3]. What it may be depends on the version: see [`Connect::check`].
    pub client_id: MqttStr<'a>,
    /// The message that the Server publishes when the connection is lost (section 3.1.2.5).
    pub will: Option<Will<'a>>,
    /// User name and password.
    pub credentials: Option<Credentials<'a>>,
}

/// The message that the Server publishes when it loses the client (section 3.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Will<'a> {
    /// The Will Topic [MQTT-3.1.3-10].
    pub topic: TopicNameRef<'a>,
    /// The Will Message.
    pub payload: BinaryData<'a>,
    /// The Will QoS [MQTT-3.1.2-14].
    pub qos: QoS,
    /// The Will Retain flag.
    pub retain: bool,
}

/// User name and password; there is no password without a user name [MQTT-3.1.2-22].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credentials<'a> {
    /// The user name [MQTT-3.1.3-11].
    pub username: MqttStr<'a>,
    /// The password, which is binary data (section 3.1.3.5).
    pub password: Option<BinaryData<'a>>,
}

/// A client identifier that the protocol version does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIdError {
    /// MQTT 3.1.1: the client identifier is empty although Clean Session is 0 [MQTT-3.1.3-7].
    #[error("an empty client identifier needs clean session [{rule}]", rule = self.requirement())]
    EmptyWithoutCleanSession,
    /// MQTT 3.1: the client identifier does not have 1 to 23 characters.
    #[error("a client identifier has 1 to 23 characters [{rule}]", rule = self.requirement())]
    Length,
}

impl ClientIdError {
    /// Returns the normative statement that is broken; for one of MQTT 3.1, which numbers none, the section.
    #[must_use]
    pub const fn requirement(&self) -> &'static str {
        match self {
            Self::EmptyWithoutCleanSession => "MQTT-3.1.3-7",
            Self::Length => "MQTT-V3.1-3.1",
        }
    }
}

impl<'a> Connect<'a> {
    /// Checks the client identifier against version and Clean Session.
    ///
    /// These are the only rules of a CONNECT that its types do not keep. Decoding checks them;
    /// [`encode`](Self::encode) does not.
    ///
    /// # Errors
    /// [`ClientIdError`], which names the rule.
    pub fn check(&self) -> Result<(), ClientIdError> {
        let client_id = self.client_id;
        if client_id.is_empty() && self.version.allows_empty_client_id() {
            return if self.clean_session { Ok(()) } else { Err(ClientIdError::EmptyWithoutCleanSession) };
        }
        match self.version.max_client_id_chars() {
            Some(max) if client_id.is_empty() || client_id.as_str().chars().count() > max => {
                Err(ClientIdError::Length)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Connect, body);
        let version = ProtocolVersion::from_name(reader.prefixed()?).ok_or(DecodeError::ProtocolName)?;
        let level = reader.u8()?;
        if level != version.level() {
            return Err(DecodeError::ProtocolLevel(level));
        }
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let client_id = reader.string()?;
        let will = if flags & WILL == 0 { None } else { Some(Will::decode(flags, &mut reader)?) };
        let credentials = Credentials::decode(flags, version, &mut reader)?;
        reader.finish()?;
        let clean_session = flags & CLEAN_SESSION != 0;
        let connect = Self { version, clean_session, keep_alive, client_id, will, credentials };
        connect.check()?;
        Ok(connect)
    }

    /// Returns the length of the whole packet in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let remaining = self.remaining();
        writer::header_len(remaining) + remaining
    }

    /// Appends the packet to `out`.
    ///
    /// The greatest CONNECT has five fields of 64 KiB, so that it always fits.
    pub fn encode(&self, out: &mut BytesMut) {
        let remaining = self.remaining();
        out.reserve(5 + remaining);
        writer::put_header(out, PacketType::Connect.first_byte(), remaining);
        writer::put_prefixed(out, self.version.name().as_bytes());
        out.extend_from_slice(&[self.version.level(), self.flags()]);
        out.put_u16(self.keep_alive);
        writer::put_prefixed(out, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            writer::put_prefixed(out, will.topic.as_bytes());
            writer::put_prefixed(out, will.payload.as_bytes());
        }
        if let Some(credentials) = &self.credentials {
            writer::put_prefixed(out, credentials.username.as_bytes());
            if let Some(password) = credentials.password {
                writer::put_prefixed(out, password.as_bytes());
            }
        }
    }

    fn remaining(&self) -> usize {
        let will = self.will.map_or(0, |will| 4 + will.topic.len() + will.payload.len());
        let credentials = self.credentials.map_or(0, |credentials| {
            2 + credentials.username.len() + credentials.password.map_or(0, |password| 2 + password.len())
        });
        2 + self.version.name().len() + 4 + 2 + self.client_id.len() + will + credentials
    }

    fn flags(&self) -> u8 {
        let mut flags = if self.clean_session { CLEAN_SESSION } else { 0 };
        if let Some(will) = &self.will {
            flags |= WILL | (will.qos as u8) << WILL_QOS_SHIFT;
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if let Some(credentials) = &self.credentials {
            flags |= USER_NAME;
            if credentials.password.is_some() {
                flags |= PASSWORD;
            }
        }
        flags
    }
}

fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::ReservedConnectFlag);
    }
    if flags & WILL == 0 && version.checks_flags_of_absent_will() {
        if flags & WILL_QOS != 0 {
            return Err(DecodeError::WillQosWithoutWill);
        }
        if flags & WILL_RETAIN != 0 {
            return Err(DecodeError::WillRetainWithoutWill);
        }
    }
    if flags & (USER_NAME | PASSWORD) == PASSWORD {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    Ok(())
}

impl<'a> Will<'a> {
    fn decode(flags: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let qos = QoS::from_u8((flags & WILL_QOS) >> WILL_QOS_SHIFT).ok_or(DecodeError::WillQos3)?;
        let topic = TopicNameRef::from_bytes(reader.prefixed()?)?;
        let payload = BinaryData::from_prefixed(reader.prefixed()?);
        Ok(Self { topic, payload, qos, retain: flags & WILL_RETAIN != 0 })
    }
}

impl<'a> Credentials<'a> {
    fn decode(
        flags: u8,
        version: ProtocolVersion,
        reader: &mut Reader<'a>,
    ) -> Result<Option<Self>, DecodeError> {
        // In MQTT 3.1 the end of the packet overrules the flags (its section 3.1, User Name and Password).
        let absent = |flag, reader: &Reader<'_>| {
            flags & flag == 0 || (version.tolerates_missing_credentials() && reader.is_empty())
        };
        if absent(USER_NAME, reader) {
            return Ok(None);
        }
        let username = reader.string()?;
        let password =
            if absent(PASSWORD, reader) { None } else { Some(BinaryData::from_prefixed(reader.prefixed()?)) };
        Ok(Some(Self { username, password }))
    }
}
