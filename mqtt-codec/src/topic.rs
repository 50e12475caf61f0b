//! Topic Names and Topic Filters (section 4.7).

mod filter;
mod name;

pub use filter::{TopicFilter, TopicFilterRef};
pub use name::{TopicName, TopicNameRef};

use core::convert::Infallible;

use crate::scan;

/// The most bytes that a topic can have [MQTT-4.7.3-3].
const MAX_LEN: usize = u16::MAX as usize;

/// Text that is no Topic Name, or no Topic Filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty [MQTT-4.7.3-1].
    #[error("a topic must not be empty [{rule}]", rule = self.requirement())]
    Empty,
    /// The text has more than 65 535 bytes [MQTT-4.7.3-3].
    #[error("a topic must not be longer than 65535 bytes [{rule}]", rule = self.requirement())]
    TooLong,
    /// The bytes are not well-formed UTF-8 [MQTT-1.5.3-1].
    #[error("a topic must be well-formed UTF-8 [{rule}]", rule = self.requirement())]
    NotUtf8,
    /// The text holds U+0000 [MQTT-4.7.3-2].
    #[error("a topic must not contain U+0000 [{rule}]", rule = self.requirement())]
    Nul,
    /// A Topic Name holds `+` or `#` [MQTT-4.7.1-1].
    #[error("a topic name must not contain a wildcard [{rule}]", rule = self.requirement())]
    WildcardInName,
    /// `#` is not the last level of the Topic Filter, or not all of it [MQTT-4.7.1-2].
    #[error("# must be the last level of a topic filter and all of that level [{rule}]", rule = self.requirement())]
    MisplacedMultiLevel,
    /// `+` is not all of a level of the Topic Filter [MQTT-4.7.1-3].
    #[error("+ must be all of a level of a topic filter [{rule}]", rule = self.requirement())]
    MisplacedSingleLevel,
}

impl TopicError {
    /// Returns the normative statement that is broken, such as `MQTT-4.7.3-1`.
    #[must_use]
    pub const fn requirement(&self) -> &'static str {
        match self {
            Self::Empty => "MQTT-4.7.3-1",
            Self::TooLong => "MQTT-4.7.3-3",
            Self::NotUtf8 => "MQTT-1.5.3-1",
            Self::Nul => "MQTT-4.7.3-2",
            Self::WildcardInName => "MQTT-4.7.1-1",
            Self::MisplacedMultiLevel => "MQTT-4.7.1-2",
            Self::MisplacedSingleLevel => "MQTT-4.7.1-3",
        }
    }
}

/// Lets an `impl TryInto<TopicName>` whose error is `Into<TopicError>` take a [`TopicName`] as it is.
impl From<Infallible> for TopicError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Checks the rules of section 4.7.3 and what `check_wildcards` adds to them.
///
/// Most topics are ASCII without wildcards, which one quick pass shows; the second, slower look names the rule.
#[inline]
fn check(text: &[u8], check_wildcards: fn(&[u8]) -> Result<(), TopicError>) -> Result<(), TopicError> {
    if !text.is_empty() && text.len() <= MAX_LEN && scan::is_plain_ascii(text) {
        Ok(())
    } else {
        check_slowly(text, check_wildcards)
    }
}

#[cold]
fn check_slowly(text: &[u8], check_wildcards: fn(&[u8]) -> Result<(), TopicError>) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(TopicError::TooLong);
    }
    if core::str::from_utf8(text).is_err() {
        return Err(TopicError::NotUtf8);
    }
    if text.contains(&0) {
        return Err(TopicError::Nul);
    }
    check_wildcards(text)
}

/// What Topic Names and Topic Filters have in common: an owned type over `Bytes` and a borrowed one over `&[u8]`.
///
/// `$check` is the check of the bytes; everything else is the same for both.
macro_rules! topic_types {
    ($what:literal, $Owned:ident, $Ref:ident, $check:path) => {
        impl<'a> $Ref<'a> {
            #[doc = concat!("Checks `text` and lends it as a ", $what, ".")]
            ///
            /// # Errors
            /// [`TopicError`], which names the rule that `text` breaks.
            #[inline]
            pub fn new(text: &'a str) -> Result<Self, TopicError> {
                Self::from_bytes(text.as_bytes())
            }

            #[doc = concat!("Checks `bytes` and lends them as a ", $what, ".")]
            ///
            /// # Errors
            /// [`TopicError`], which names the rule that `bytes` break.
            #[inline]
            pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, TopicError> {
                $check(bytes)?;
                Ok(Self(bytes))
            }

            /// Returns the text.
            ///
            /// The text is checked again on the way, since this crate has no unsafe code: on a hot path
            /// compare [`as_bytes`](Self::as_bytes).
            #[must_use]
            pub fn as_str(self) -> &'a str {
                core::str::from_utf8(self.0).unwrap_or_default()
            }

            /// Returns the bytes of the text.
            #[inline]
            #[must_use]
            pub const fn as_bytes(self) -> &'a [u8] {
                self.0
            }

            /// Returns the length of the text in bytes: 1 to 65 535.
            #[expect(clippy::len_without_is_empty, reason = "a topic is never empty [MQTT-4.7.3-1]")]
            #[inline]
            #[must_use]
            pub const fn len(self) -> usize {
                self.0.len()
            }

            /// Copies the text.
            #[must_use]
            pub fn to_owned(self) -> $Owned {
                $Owned(Bytes::copy_from_slice(self.0))
            }
        }

        impl $Owned {
            #[doc = concat!("Checks `text` and keeps it as a ", $what, ".")]
            ///
            /// `&str` is copied; `String` and `Bytes` are taken as they are.
            ///
            /// # Errors
            /// [`TopicError`], which names the rule that `text` breaks.
            pub fn new<T>(text: T) -> Result<Self, TopicError>
            where
                T: TryInto<Self>,
                TopicError: From<T::Error>,
            {
                Ok(text.try_into()?)
            }

            /// Checks a text that lives as long as the program; nothing is copied.
            ///
            /// # Errors
            /// [`TopicError`], which names the rule that `text` breaks.
            pub fn from_static(text: &'static str) -> Result<Self, TopicError> {
                Self::try_from(Bytes::from_static(text.as_bytes()))
            }

            /// Takes `topic` as a slice of `bytes` where it lies in it, and copies it otherwise.
            #[inline]
            #[must_use]
            pub fn from_slice_of(bytes: &Bytes, topic: $Ref<'_>) -> Self {
                Self(slice_or_copy(bytes, topic.0))
            }

            /// Lends the topic.
            #[inline]
            #[must_use]
            pub fn as_ref(&self) -> $Ref<'_> {
                $Ref(&self.0)
            }

            /// Returns the text.
            ///
            /// The text is checked again on the way, since this crate has no unsafe code: on a hot path
            /// compare [`as_bytes`](Self::as_bytes).
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.as_ref().as_str()
            }

            /// Returns the bytes of the text.
            #[inline]
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// Returns the bytes of the text as what holds them, to be cloned without a copy.
            #[inline]
            #[must_use]
            pub const fn bytes(&self) -> &Bytes {
                &self.0
            }

            /// Returns the length of the text in bytes: 1 to 65 535.
            #[expect(clippy::len_without_is_empty, reason = "a topic is never empty [MQTT-4.7.3-1]")]
            #[inline]
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len()
            }
        }

        impl<'a> TryFrom<&'a str> for $Ref<'a> {
            type Error = TopicError;

            fn try_from(text: &'a str) -> Result<Self, TopicError> {
                Self::new(text)
            }
        }

        impl<'a> TryFrom<&'a [u8]> for $Ref<'a> {
            type Error = TopicError;

            fn try_from(bytes: &'a [u8]) -> Result<Self, TopicError> {
                Self::from_bytes(bytes)
            }
        }

        impl<'a> From<&'a $Owned> for $Ref<'a> {
            #[inline]
            fn from(topic: &'a $Owned) -> Self {
                topic.as_ref()
            }
        }

        impl From<$Ref<'_>> for $Owned {
            fn from(topic: $Ref<'_>) -> Self {
                topic.to_owned()
            }
        }

        impl From<&Self> for $Owned {
            fn from(topic: &Self) -> Self {
                topic.clone()
            }
        }

        impl TryFrom<&str> for $Owned {
            type Error = TopicError;

            fn try_from(text: &str) -> Result<Self, TopicError> {
                $Ref::new(text).map($Ref::to_owned)
            }
        }

        impl TryFrom<String> for $Owned {
            type Error = TopicError;

            fn try_from(text: String) -> Result<Self, TopicError> {
                Self::try_from(Bytes::from(text))
            }
        }

        impl TryFrom<&String> for $Owned {
            type Error = TopicError;

            fn try_from(text: &String) -> Result<Self, TopicError> {
                Self::try_from(text.as_str())
            }
        }

        impl TryFrom<Bytes> for $Owned {
            type Error = TopicError;

            fn try_from(bytes: Bytes) -> Result<Self, TopicError> {
                $check(&bytes)?;
                Ok(Self(bytes))
            }
        }

        impl FromStr for $Owned {
            type Err = TopicError;

            fn from_str(text: &str) -> Result<Self, TopicError> {
                Self::try_from(text)
            }
        }

        impl PartialEq<str> for $Owned {
            fn eq(&self, text: &str) -> bool {
                self.as_bytes() == text.as_bytes()
            }
        }

        impl PartialEq<&str> for $Owned {
            fn eq(&self, text: &&str) -> bool {
                self.as_bytes() == text.as_bytes()
            }
        }

        impl PartialEq<str> for $Ref<'_> {
            fn eq(&self, text: &str) -> bool {
                self.0 == text.as_bytes()
            }
        }

        impl PartialEq<&str> for $Ref<'_> {
            fn eq(&self, text: &&str) -> bool {
                self.0 == text.as_bytes()
            }
        }

        impl fmt::Debug for $Ref<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Ref)).field(&self.as_str()).finish()
            }
        }

        impl fmt::Display for $Ref<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.as_str(), f)
            }
        }

        impl fmt::Debug for $Owned {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Owned)).field(&self.as_str()).finish()
            }
        }

        impl fmt::Display for $Owned {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.as_str(), f)
            }
        }
    };
}
use topic_types;
