use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use bytes::Bytes;

/// The most bytes that a string or a binary field can have: its length is written in two bytes.
const MAX_LEN: usize = u16::MAX as usize;

/// Text that breaks a rule of section 1.5.3 for UTF-8 encoded strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StringError {
    /// The text has more than 65 535 bytes (section 1.5.3).
    #[error("a string must not be longer than 65535 bytes [{rule}]", rule = self.requirement())]
    TooLong,
    /// The bytes are not well-formed UTF-8 [MQTT-1.5.3-1].
    #[error("a string must be well-formed UTF-8 [{rule}]", rule = self.requirement())]
    NotUtf8,
    /// The text holds U+0000 [MQTT-1.5.3-2].
    #[error("a string must not contain U+0000 [{rule}]", rule = self.requirement())]
    Nul,
}

impl StringError {
    /// Returns the normative statement that is broken, or the section, where that has no number.
    #[must_use]
    pub const fn requirement(&self) -> &'static str {
        match self {
            Self::TooLong => "MQTT-1.5.3",
            Self::NotUtf8 => "MQTT-1.5.3-1",
            Self::Nul => "MQTT-1.5.3-2",
        }
    }
}

/// Binary data of more than 65 535 bytes: too long for a Will Message or a Password (section 3.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("binary data of {len} bytes is longer than 65535 bytes [MQTT-3.1.3]")]
pub struct BinaryDataTooLong {
    /// The length of the data in bytes.
    pub len: usize,
}

/// A borrowed UTF-8 encoded string: no U+0000, at most 65 535 bytes (section 1.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MqttStr<'a>(&'a str);

impl<'a> MqttStr<'a> {
    /// Checks `text` and lends it.
    ///
    /// # Errors
    /// [`StringError::TooLong`] above 65 535 bytes, [`StringError::Nul`] where U+0000 is in it.
    pub const fn new(text: &'a str) -> Result<Self, StringError> {
        let mut rest = text.as_bytes();
        if rest.len() > MAX_LEN {
            return Err(StringError::TooLong);
        }
        while let [byte, tail @ ..] = rest {
            if *byte == 0 {
                return Err(StringError::Nul);
            }
            rest = tail;
        }
        Ok(Self(text))
    }

    /// Returns the text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns the bytes of the text.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// Returns the length of the text in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Copies the text.
    #[must_use]
    pub fn to_owned(self) -> MqttString {
        MqttString(Bytes::copy_from_slice(self.as_bytes()))
    }
}

impl<'a> TryFrom<&'a str> for MqttStr<'a> {
    type Error = StringError;

    fn try_from(text: &'a str) -> Result<Self, StringError> {
        Self::new(text)
    }
}

impl<'a> From<&'a MqttString> for MqttStr<'a> {
    fn from(text: &'a MqttString) -> Self {
        text.as_ref()
    }
}

impl fmt::Display for MqttStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}

/// An owned UTF-8 encoded string: no U+0000, at most 65 535 bytes (section 1.5.3). A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MqttString(Bytes);

impl MqttString {
    /// Checks a text that lives as long as the program; nothing is copied.
    ///
    /// # Errors
    /// As [`MqttStr::new`].
    pub fn from_static(text: &'static str) -> Result<Self, StringError> {
        MqttStr::new(text).map(|_| Self(Bytes::from_static(text.as_bytes())))
    }

    /// Takes `text` as a slice of `bytes` where it lies in it, and copies it otherwise.
    #[must_use]
    pub fn from_slice_of(bytes: &Bytes, text: MqttStr<'_>) -> Self {
        Self(slice_or_copy(bytes, text.as_bytes()))
    }

    /// Lends the string.
    #[must_use]
    pub fn as_ref(&self) -> MqttStr<'_> {
        MqttStr(self.as_str())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes were text when they came in; without `unsafe` that has to be shown again.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the length of the text in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<&str> for MqttString {
    type Error = StringError;

    fn try_from(text: &str) -> Result<Self, StringError> {
        MqttStr::new(text).map(MqttStr::to_owned)
    }
}

impl TryFrom<String> for MqttString {
    type Error = StringError;

    fn try_from(text: String) -> Result<Self, StringError> {
        MqttStr::new(&text)?;
        Ok(Self(Bytes::from(text)))
    }
}

impl TryFrom<Bytes> for MqttString {
    type Error = StringError;

    fn try_from(bytes: Bytes) -> Result<Self, StringError> {
        MqttStr::new(core::str::from_utf8(&bytes).map_err(|_| StringError::NotUtf8)?)?;
        Ok(Self(bytes))
    }
}

impl FromStr for MqttString {
    type Err = StringError;

    fn from_str(text: &str) -> Result<Self, StringError> {
        Self::try_from(text)
    }
}

impl fmt::Debug for MqttString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MqttString").field(&self.as_str()).finish()
    }
}

impl fmt::Display for MqttString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// Borrowed binary data of at most 65 535 bytes: a Will Message or a Password (section 3.1.3).
///
/// `Debug` shows nothing of the data, so that no log shows a password.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BinaryData<'a>(&'a [u8]);

impl<'a> BinaryData<'a> {
    /// Checks the length of `data` and lends it.
    ///
    /// # Errors
    /// [`BinaryDataTooLong`] above 65 535 bytes.
    pub const fn new(data: &'a [u8]) -> Result<Self, BinaryDataTooLong> {
        if data.len() > MAX_LEN { Err(BinaryDataTooLong { len: data.len() }) } else { Ok(Self(data)) }
    }

    /// For a field that was read behind its two-byte length.
    pub(crate) const fn from_prefixed(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Returns the data.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the length of the data in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no data.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Copies the data.
    #[must_use]
    pub fn to_owned(self) -> OwnedBinaryData {
        OwnedBinaryData(Bytes::copy_from_slice(self.0))
    }
}

impl<'a> TryFrom<&'a [u8]> for BinaryData<'a> {
    type Error = BinaryDataTooLong;

    fn try_from(data: &'a [u8]) -> Result<Self, BinaryDataTooLong> {
        Self::new(data)
    }
}

impl<'a> From<&'a OwnedBinaryData> for BinaryData<'a> {
    fn from(data: &'a OwnedBinaryData) -> Self {
        data.as_ref()
    }
}

impl fmt::Debug for BinaryData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BinaryData(..)")
    }
}

/// Owned binary data of at most 65 535 bytes: a Will Message or a Password. A clone shares the data.
///
/// `Debug` shows nothing of the data, so that no log shows a password.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct OwnedBinaryData(Bytes);

impl OwnedBinaryData {
    /// Takes `data` as a slice of `bytes` where it lies in it, and copies it otherwise.
    #[must_use]
    pub fn from_slice_of(bytes: &Bytes, data: BinaryData<'_>) -> Self {
        Self(slice_or_copy(bytes, data.0))
    }

    /// Lends the data.
    #[must_use]
    pub fn as_ref(&self) -> BinaryData<'_> {
        BinaryData(&self.0)
    }

    /// Returns the data.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the length of the data in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Bytes> for OwnedBinaryData {
    type Error = BinaryDataTooLong;

    fn try_from(data: Bytes) -> Result<Self, BinaryDataTooLong> {
        BinaryData::new(&data)?;
        Ok(Self(data))
    }
}

impl TryFrom<&[u8]> for OwnedBinaryData {
    type Error = BinaryDataTooLong;

    fn try_from(data: &[u8]) -> Result<Self, BinaryDataTooLong> {
        BinaryData::new(data).map(BinaryData::to_owned)
    }
}

impl TryFrom<Vec<u8>> for OwnedBinaryData {
    type Error = BinaryDataTooLong;

    fn try_from(data: Vec<u8>) -> Result<Self, BinaryDataTooLong> {
        Self::try_from(Bytes::from(data))
    }
}

impl fmt::Debug for OwnedBinaryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnedBinaryData(..)")
    }
}

/// Returns `part` as a slice of `whole` where it lies in it, and as a copy otherwise.
#[inline]
pub(crate) fn slice_or_copy(whole: &Bytes, part: &[u8]) -> Bytes {
    let (outer, inner) = (whole.as_ptr_range(), part.as_ptr_range());
    if outer.start <= inner.start && inner.end <= outer.end {
        whole.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}
