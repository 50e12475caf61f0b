use crate::{DecodeError, MqttStr, PacketId, PacketType, StringError};

/// The unread rest of a packet's body. Every read past its end is [`DecodeError::Truncated`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    packet_type: PacketType,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(packet_type: PacketType, body: &'a [u8]) -> Self {
        Self { rest: body, packet_type }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated(self.packet_type))?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated(self.packet_type))?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    /// A two-byte length and as many bytes: what strings and binary fields look like.
    #[inline]
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.u16()?);
        let (field, rest) =
            self.rest.split_at_checked(len).ok_or(DecodeError::Truncated(self.packet_type))?;
        self.rest = rest;
        Ok(field)
    }

    pub(crate) fn string(&mut self) -> Result<MqttStr<'a>, DecodeError> {
        let text = core::str::from_utf8(self.prefixed()?).map_err(|_| StringError::NotUtf8)?;
        Ok(MqttStr::new(text)?)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::ZeroPacketId(self.packet_type))
    }

    #[inline]
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes(self.packet_type)) }
    }
}
