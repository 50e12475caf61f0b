use alloc::string::String;
use core::{fmt, str::FromStr};

use bytes::Bytes;

use super::{TopicError, check, topic_types};
use crate::string::slice_or_copy;

/// A borrowed Topic Name: what an Application Message is published to (section 4.7).
///
/// It has 1 to 65 535 bytes of UTF-8 [MQTT-4.7.3-1] [MQTT-4.7.3-3], no U+0000 [MQTT-4.7.3-2] and no wildcard
/// [MQTT-4.7.1-1]. Two names are equal when their bytes are: no text is normalized [MQTT-4.7.3-4].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicNameRef<'a>(&'a [u8]);

/// An owned Topic Name: what an Application Message is published to (section 4.7).
///
/// It is checked once, when it is made, and a clone shares its text: make it once and publish it often.
/// The rules are those of [`TopicNameRef`].
///
/// ```
/// use mqtt_codec::{TopicError, TopicName};
///
/// let topic = TopicName::from_static("plant/7/temperature")?;
/// assert_eq!(topic.as_str(), "plant/7/temperature");
/// assert_eq!(TopicName::new("plant/+"), Err(TopicError::WildcardInName));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Bytes);

topic_types!("Topic Name", TopicName, TopicNameRef, check_name);

#[inline]
fn check_name(text: &[u8]) -> Result<(), TopicError> {
    check(text, refuse_wildcards)
}

fn refuse_wildcards(text: &[u8]) -> Result<(), TopicError> {
    if text.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(TopicError::WildcardInName);
    }
    Ok(())
}
