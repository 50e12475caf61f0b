//! Input: texts, each behind a byte that says how it is used (as filter or name, to insert or remove, spelled with few
//! letters or as it is), and a byte for its length.

use std::collections::BTreeMap;

use bytes::Bytes;
use mqtt_codec::{FilterMap, TopicFilter, TopicFilterRef, TopicName, TopicNameRef};

use super::input::Input;

/// What filters and names are made of, so that they meet.
const LETTERS: [&str; 8] = ["a", "b", "/", "/", "+", "#", "$", "ä"];

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut map = FilterMap::new();
    let mut list: BTreeMap<TopicFilter, u8> = BTreeMap::new();
    let mut names: Vec<TopicName> = Vec::new();
    let mut value = 0_u8;
    while !input.is_empty() {
        let kind = input.byte();
        let bytes = input.bytes();
        let letters = bytes.iter().map(|byte| LETTERS[usize::from(byte % 8)]);
        let text = if kind & 1 == 0 {
            Bytes::from(letters.collect::<String>())
        } else {
            Bytes::copy_from_slice(bytes)
        };
        check(&text);
        if kind & 2 != 0 {
            names.extend(TopicName::try_from(text));
        } else if let Ok(filter) = TopicFilter::try_from(text) {
            value = value.wrapping_add(1);
            if kind & 4 == 0 {
                assert_eq!(map.insert(filter.clone(), value), list.insert(filter.clone(), value));
            } else {
                assert_eq!(map.remove(&filter), list.remove(&filter));
            }
            assert_eq!(map.get(&filter), list.get(&filter));
        }
    }
    assert_eq!((map.len(), map.is_empty()), (list.len(), list.is_empty()));
    for name in &names {
        find(&mut map, &mut list, name);
    }
    let mut all: Vec<_> = map.iter().map(|(filter, value)| (filter.clone(), *value)).collect();
    all.sort_unstable();
    assert_eq!(all, list.into_iter().collect::<Vec<_>>());
}

/// A name in the map, and in the list: one filter after the other.
fn find(map: &mut FilterMap<u8>, list: &mut BTreeMap<TopicFilter, u8>, name: &TopicName) {
    let mut expected = Vec::new();
    for (filter, value) in list.iter_mut() {
        let is_match = naive_match(filter.as_str(), name.as_str());
        assert_eq!(filter.matches(name), is_match, "{filter} and {name}");
        if is_match {
            expected.push((filter.clone(), *value));
            *value ^= 0x55;
        }
    }
    let mut found: Vec<_> = map.matches(name).copied().collect();
    let mut values: Vec<_> = expected.iter().map(|(_, value)| *value).collect();
    found.sort_unstable();
    values.sort_unstable();
    assert_eq!(found, values, "{name}");
    let mut changed = Vec::new();
    map.for_each_match_mut(name, |filter, value| {
        changed.push((filter.clone(), *value));
        *value ^= 0x55;
    });
    changed.sort_unstable();
    assert_eq!(changed, expected, "{name}");
}

/// Whether the bytes are a name and whether they are a filter, in all the ways to ask.
fn check(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok().filter(|text| is_topic(text));
    let is_name = text.is_some_and(|text| !text.contains(['+', '#']));
    let is_filter = text.is_some_and(is_filter);
    assert_eq!(TopicNameRef::from_bytes(bytes).is_ok(), is_name, "{bytes:?}");
    assert_eq!(TopicFilterRef::from_bytes(bytes).is_ok(), is_filter, "{bytes:?}");
    assert_eq!(TopicName::try_from(Bytes::copy_from_slice(bytes)).is_ok(), is_name);
    assert_eq!(TopicFilter::try_from(Bytes::copy_from_slice(bytes)).is_ok(), is_filter);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(text.parse::<TopicName>().is_ok(), is_name);
        assert_eq!(text.parse::<TopicFilter>().is_ok(), is_filter);
    }
}

/// Section 4.7.3: at least one character, no U+0000, at most 65 535 bytes.
fn is_topic(text: &str) -> bool {
    !text.is_empty() && text.len() <= 65_535 && !text.contains('\0')
}

/// Section 4.7.1: `+` and `#` are alone in their level, and `#` is in the last one.
fn is_filter(text: &str) -> bool {
    let levels: Vec<_> = text.split('/').collect();
    levels.iter().enumerate().all(|(at, level)| match *level {
        "#" => at + 1 == levels.len(),
        "+" => true,
        other => !other.contains(['+', '#']),
    })
}

/// Sections 4.7.1 and 4.7.2, level by level.
fn naive_match(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            // All that is left, and its parent too.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}
