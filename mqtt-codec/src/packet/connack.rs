use core::fmt;

use bytes::BytesMut;

use crate::{DecodeError, PacketType, ProtocolVersion, reader::Reader};

/// A CONNACK packet: the Server's answer to CONNECT (section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connack {
    /// Whether the Server already has Session state of the client [MQTT-3.2.2-1] [MQTT-3.2.2-2].
    ///
    /// MQTT 3.1 has no such flag: it is false when decoded and not written. Neither is it written with a refusal
    /// [MQTT-3.2.2-4].
    pub session_present: bool,
    /// Whether the connection is accepted.
    pub code: ConnectReturnCode,
}

impl Connack {
    pub(crate) fn decode(version: ProtocolVersion, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PacketType::Connack, body);
        let flags = reader.u8()?;
        let code = ConnectReturnCode::from_u8(reader.u8()?);
        reader.finish()?;
        if !version.has_session_present() {
            return Ok(Self { session_present: false, code });
        }
        if flags & !1 != 0 {
            return Err(DecodeError::ReservedConnackFlag);
        }
        let session_present = flags == 1;
        if session_present && code != ConnectReturnCode::Accepted {
            return Err(DecodeError::SessionPresentOnRefusal);
        }
        Ok(Self { session_present, code })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let session_present =
            self.session_present && self.code == ConnectReturnCode::Accepted && version.has_session_present();
        out.extend_from_slice(&[
            PacketType::Connack.first_byte(),
            2,
            session_present.into(),
            self.code.as_u8(),
        ]);
    }
}

/// A Connect Return Code (table 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectReturnCode {
    /// 0: the connection is accepted.
    Accepted,
    /// 1: the Server does not support the level of the MQTT protocol that the client asked for.
    UnacceptableProtocolVersion,
    /// 2: the client identifier is correct UTF-8 but not allowed by the Server.
    IdentifierRejected,
    /// 3: the Network Connection is made but the MQTT service is unavailable.
    ServerUnavailable,
    /// 4: the data in the user name or password is malformed.
    BadUserNameOrPassword,
    /// 5: the client is not authorized to connect.
    NotAuthorized,
    /// 6 to 255: reserved for future use.
    Other(ReservedReturnCode),
}

/// A Connect Return Code that is reserved for future use: 6 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReservedReturnCode(u8);

impl ReservedReturnCode {
    /// Returns the code.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl ConnectReturnCode {
    /// Returns what `code` means.
    #[must_use]
    pub const fn from_u8(code: u8) -> Self {
        match code {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => Self::Other(ReservedReturnCode(code)),
        }
    }

    /// Returns the code as it is written.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::UnacceptableProtocolVersion => 1,
            Self::IdentifierRejected => 2,
            Self::ServerUnavailable => 3,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized => 5,
            Self::Other(code) => code.get(),
        }
    }

    /// Returns whether the connection is accepted.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// Writes what the code means in words.
impl fmt::Display for ConnectReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "connection accepted",
            Self::UnacceptableProtocolVersion => "unacceptable protocol version",
            Self::IdentifierRejected => "client identifier rejected",
            Self::ServerUnavailable => "server unavailable",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
            Self::Other(code) => return write!(f, "reserved return code {}", code.get()),
        })
    }
}
