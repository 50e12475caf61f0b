use alloc::string::String;
use core::{fmt, str::FromStr};

use bytes::Bytes;

use super::{TopicError, TopicNameRef, check, topic_types};
use crate::string::slice_or_copy;

/// A borrowed Topic Filter: which Topic Names a subscription wants (section 4.7).
///
/// It has 1 to 65 535 bytes of UTF-8 [MQTT-4.7.3-1] [MQTT-4.7.3-3] and no U+0000 [MQTT-4.7.3-2]. `+` stands for
/// one level and takes all of it [MQTT-4.7.1-3]; `#` stands for the parent and any number of levels below it
/// and is the last level [MQTT-4.7.1-2].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilterRef<'a>(&'a [u8]);

/// An owned Topic Filter: which Topic Names a subscription wants (section 4.7).
///
/// The rules are those of [`TopicFilterRef`]. A clone shares the text.
///
/// ```
/// use mqtt_codec::{TopicError, TopicFilter, TopicName};
///
/// let filter = TopicFilter::from_static("plant/+/temperature")?;
/// assert!(filter.matches(&TopicName::from_static("plant/7/temperature")?));
/// assert_eq!(TopicFilter::new("plant/#/temperature"), Err(TopicError::MisplacedMultiLevel));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Bytes);

topic_types!("Topic Filter", TopicFilter, TopicFilterRef, check_filter);

impl<'a> TopicFilterRef<'a> {
    /// For bytes that were checked before.
    pub(crate) const fn from_checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns whether the filter matches `topic` (section 4.7).
    ///
    /// `a/#` matches `a` as well [4.7.1.2], and a filter that begins with a wildcard does not match a topic that
    /// begins with `$` [MQTT-4.7.2-1]. Nothing is allocated.
    #[must_use]
    pub fn matches<'t>(&self, topic: impl Into<TopicNameRef<'t>>) -> bool {
        matches(self.0, topic.into().as_bytes())
    }
}

impl TopicFilter {
    /// Returns whether the filter matches `topic`, as [`TopicFilterRef::matches`] does.
    #[must_use]
    pub fn matches<'t>(&self, topic: impl Into<TopicNameRef<'t>>) -> bool {
        self.as_ref().matches(topic)
    }
}

/// Lets a Topic Name be used where a Topic Filter is wanted: every name is a filter that matches only itself.
impl<'a> From<TopicNameRef<'a>> for TopicFilterRef<'a> {
    fn from(name: TopicNameRef<'a>) -> Self {
        Self(name.as_bytes())
    }
}

#[inline]
fn check_filter(text: &[u8]) -> Result<(), TopicError> {
    check(text, check_wildcards)
}

fn check_wildcards(text: &[u8]) -> Result<(), TopicError> {
    let mut levels = text.split(|&byte| byte == b'/').peekable();
    while let Some(level) = levels.next() {
        if level.contains(&b'#') && (level.len() > 1 || levels.peek().is_some()) {
            return Err(TopicError::MisplacedMultiLevel);
        }
        if level.contains(&b'+') && level.len() > 1 {
            return Err(TopicError::MisplacedSingleLevel);
        }
    }
    Ok(())
}

fn matches(filter: &[u8], topic: &[u8]) -> bool {
    if topic.starts_with(b"$") && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let mut topic_levels = topic.split(|&byte| byte == b'/');
    for level in filter.split(|&byte| byte == b'/') {
        // Before the next level of the topic is asked for: `#` matches the parent level too.
        if level == b"#" {
            return true;
        }
        match topic_levels.next() {
            Some(topic_level) if level == b"+" || level == topic_level => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}
