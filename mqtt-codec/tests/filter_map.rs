//! The trie of filters against a plain list.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use mqtt_codec::{FilterMap, TopicFilter, TopicName};
use proptest::{collection::vec, prelude::*};

fn filter(text: &str) -> TopicFilter {
    text.parse().unwrap()
}

fn found(map: &FilterMap<u32>, topic: &str) -> Vec<u32> {
    let topic: TopicName = topic.parse().unwrap();
    let mut found: Vec<u32> = map.matches(&topic).copied().collect();
    found.sort_unstable();
    found
}

fn hash(map: &FilterMap<u32>) -> u64 {
    let mut hasher = DefaultHasher::new();
    map.hash(&mut hasher);
    hasher.finish()
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$x"), 1 => Just("longer-than-a-word")]
}

fn any_filter() -> impl Strategy<Value = TopicFilter> {
    let levels = vec(prop_oneof![3 => level(), 2 => Just("+")], 0..4);
    (levels, prop_oneof![2 => level(), 1 => Just("#"), 1 => Just("+")])
        .prop_map(|(mut levels, last)| {
            levels.push(last);
            levels.join("/")
        })
        .prop_filter_map("a filter is never empty", |text| text.parse().ok())
}

fn any_topic() -> impl Strategy<Value = TopicName> {
    vec(level(), 1..6).prop_filter_map("a topic is never empty", |levels| levels.join("/").parse().ok())
}

proptest! {
    #[test]
    fn the_map_is_a_list(
        operations in vec((any::<bool>(), any_filter(), any::<u32>()), 0..120),
        topics in vec(any_topic(), 1..20),
    ) {
        let mut map = FilterMap::new();
        let mut list: BTreeMap<TopicFilter, u32> = BTreeMap::new();
        for (insert, filter, value) in operations {
            if insert {
                prop_assert_eq!(map.insert(&filter, value), list.insert(filter.clone(), value));
            } else {
                prop_assert_eq!(map.remove(&filter), list.remove(&filter));
            }
            prop_assert_eq!(map.get(&filter), list.get(&filter));
            prop_assert_eq!((map.len(), map.is_empty()), (list.len(), list.is_empty()));
        }
        for topic in &topics {
            let mut found: Vec<u32> = map.matches(topic).copied().collect();
            let matching = list.iter().filter(|(filter, _)| filter.matches(topic));
            let mut expected: Vec<u32> = matching.map(|(_, value)| *value).collect();
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected, "{}", topic);
        }
        prop_assert_eq!(map.iter().len(), list.len());
        let entries: BTreeMap<_, _> = map.iter().map(|(filter, value)| (filter.clone(), *value)).collect();
        prop_assert_eq!(&entries, &list);

        // Equality and hash do not see the way by which a map came to hold what it holds.
        let fresh: FilterMap<u32> = list.iter().rev().map(|(filter, value)| (filter.clone(), *value)).collect();
        prop_assert_eq!(&map, &fresh);
        prop_assert_eq!(hash(&map), hash(&fresh));
        for filter in list.keys() {
            prop_assert!(map != FilterMap::default());
            map.remove(filter);
        }
        prop_assert_eq!(map, FilterMap::default());
    }
}

#[test]
fn a_leading_wildcard_never_matches_a_dollar_topic() {
    let filters = ["#", "+/x", "+/#", "$SYS/#", "$SYS/+", "$SYS/x"];
    let map: FilterMap<u32> = filters.into_iter().map(filter).zip(0..).collect();
    assert_eq!(found(&map, "$SYS/x"), [3, 4, 5]);
    assert_eq!(found(&map, "$SYS"), [3]);
    assert_eq!(found(&map, "a/x"), [0, 1, 2]);
    assert_eq!(found(&map, "a"), [0, 2]);
}

#[test]
fn values_can_be_changed_in_place() {
    let mut map: FilterMap<u32> = ["a/#", "a/+", "b"].into_iter().map(filter).zip(0..).collect();
    map.for_each_match_mut(&"a/x".parse::<TopicName>().unwrap(), |_, value| *value += 10);
    *map.get_mut(&filter("b")).unwrap() = 7;
    assert_eq!((found(&map, "a/x"), found(&map, "b")), (vec![10, 11], vec![7]));
    assert_eq!(map.get_mut(&filter("c")), None);
}

#[test]
fn a_filter_of_65_535_separators_is_one_like_another() {
    let slashes = filter(&"/".repeat(65_535));
    let pluses = filter(&"+/".repeat(32_767));
    let mut map = FilterMap::new();
    map.insert(&slashes, 1);
    map.insert(&pluses, 2);
    assert_eq!(found(&map, &"/".repeat(65_535)), [1]);
    assert_eq!(found(&map, &"/".repeat(32_767)), [2]);
    let copy = map.clone();
    assert_eq!(map.remove(&slashes), Some(1));
    assert_eq!(found(&map, &"/".repeat(65_535)), []);
    assert_eq!(map.remove(&pluses), Some(2));
    assert_eq!(map, FilterMap::new());
    assert_eq!(found(&copy, &"/".repeat(65_535)), [1]);
}

#[test]
fn many_filters_come_and_go() {
    let number = |number: u32| filter(&format!("plant/{}/sensor/{number}", number % 100));
    let mut map: FilterMap<u32> = (0..5_000).map(|it| (number(it), it)).collect();
    for it in (0..5_000).filter(|it| it % 50 != 0) {
        assert_eq!(map.remove(&number(it)), Some(it));
    }
    assert_eq!(map.len(), 100);
    for it in 0..5_000 {
        let expected = if it % 50 == 0 { Some(&it) } else { None };
        assert_eq!(map.get(&number(it)), expected);
    }
    // Freed places are taken again.
    for it in 0..5_000 {
        map.insert(number(it), it + 1);
    }
    assert!((0..5_000).all(|it| map.get(&number(it)) == Some(&(it + 1))));
}
