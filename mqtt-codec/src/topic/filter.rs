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

    /// Returns the Topic Filter behind a prefix that is an instruction to some Servers, or `None` if there is none.
    ///
    /// | filter | what such a Server makes of it |
    /// |---|---|
    /// | `$share/group/filter` | one member of the group gets a message (MQTT 5; many Servers offer it to all versions) |
    /// | `$oshare/group/filter` | the same, and the messages of a publisher stay with one member (BifroMQ) |
    /// | `$queue/filter` | one of all who subscribed so gets a message (EMQX) |
    /// | `$exclusive/filter` | nobody else can subscribe so (EMQX) |
    ///
    /// Their messages arrive on topics that match what is behind the prefix. To the standard's versions 3.1 and 3.1.1 these
    /// are filters like any other, and so they are to [`matches`](Self::matches): who routes messages that a Server has
    /// sent asks both filters.
    ///
    /// ```
    /// use mqtt_codec::{TopicError, TopicFilterRef};
    ///
    /// let filter = TopicFilterRef::new("$share/workers/plant/+")?;
    /// assert_eq!(filter.without_prefix(), Some(TopicFilterRef::new("plant/+")?));
    /// # Ok::<(), TopicError>(())
    /// ```
    #[must_use]
    pub fn without_prefix(&self) -> Option<Self> {
        let (prefix, rest) = split_level(self.0)?;
        let filter = match prefix {
            b"$share" | b"$oshare" => {
                let (group, filter) = split_level(rest)?;
                // MQTT 5 [4.8.2]: a name of at least one character, without wildcards.
                let is_name = !group.is_empty() && !group.iter().any(|byte| matches!(byte, b'+' | b'#'));
                is_name.then_some(filter)?
            }
            b"$queue" | b"$exclusive" => rest,
            _ => return None,
        };
        // Whole levels of a valid filter are one, if there are any.
        (!filter.is_empty()).then_some(Self(filter))
    }
}

impl TopicFilter {
    /// Returns whether the filter matches `topic`, as [`TopicFilterRef::matches`] does.
    #[must_use]
    pub fn matches<'t>(&self, topic: impl Into<TopicNameRef<'t>>) -> bool {
        self.as_ref().matches(topic)
    }

    /// Returns the Topic Filter behind a prefix such as `$share/group/`, as [`TopicFilterRef::without_prefix`] does. The
    /// text is shared.
    #[must_use]
    pub fn without_prefix(&self) -> Option<Self> {
        Some(Self::from_slice_of(&self.0, self.as_ref().without_prefix()?))
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

/// Splits behind the first level; `None` if it is the only one.
fn split_level(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let separator = text.iter().position(|&byte| byte == b'/')?;
    Some((text.get(..separator)?, text.get(separator + 1..)?))
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
