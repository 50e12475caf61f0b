//! Topic Names and Topic Filters: what is legal, and what matches what (section 4.7).

use bytes::Bytes;
use mqtt_codec::{TopicError, TopicFilter, TopicFilterRef, TopicName, TopicNameRef};

fn name(text: &str) -> TopicNameRef<'_> {
    TopicNameRef::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilterRef<'_> {
    TopicFilterRef::new(text).unwrap()
}

/// Asserts of each filter and name whether they match; borrowed and owned.
#[track_caller]
fn compare(rows: &[(&str, &str, bool)]) {
    for (pattern, topic, expected) in rows.iter().copied() {
        assert_eq!(filter(pattern).matches(name(topic)), expected, "{pattern} against {topic}");
        let (owned, topic) = (filter(pattern).to_owned(), name(topic).to_owned());
        assert_eq!(owned.matches(&topic), expected, "{owned} against {topic}");
    }
}

#[test]
fn filters_match_as_the_standard_says() {
    let rows = [
        // Section 4.7.1.2, the multi-level wildcard.
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player2", false),
        ("#", "a", true),
        ("#", "/", true),
        ("#", "a/b/c", true),
        ("/#", "/", true),
        ("/#", "a", false),
        ("+/#", "a", true),
        ("+/#", "a/b/c", true),
        // Section 4.7.1.3, the single-level wildcard.
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+", "finance", true),
        ("+", "/finance", false),
        ("/+", "/finance", true),
        ("+/+", "/finance", true),
        ("+/tennis/#", "x/tennis", true),
        ("sport/+/player1", "sport/tennis/player1", true),
        ("sport/+/player1", "sport/player1", false),
        // Section 4.7.3: case and separators count.
        ("ACCOUNTS", "Accounts", false),
        ("a/b", "a/b", true),
        ("a/b", "a/b/", false),
        ("a/b/", "a/b", false),
        ("/a", "a", false),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("ä/+", "ä/ö", true),
        ("a\u{308}", "ä", false),
    ];
    compare(&rows);
}

/// Scenario hash-matches-parent.
#[test]
fn hash_matches_parent() {
    compare(&[
        ("sport/#", "sport", true),
        ("a/#", "a", true),
        ("a/#", "a/", true),
        ("a/#", "ab", false),
        ("a/b/#", "a/b", true),
        ("a/b/#", "a", false),
        ("+/#", "a", true),
    ]);
}

/// Scenario dollar-topics (section 4.7.2).
#[test]
fn dollar_topics() {
    compare(&[
        ("#", "$SYS", false),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("+/#", "$SYS/x", false),
        ("+", "$SYS", false),
        ("$SYS/#", "$SYS/x", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/+", "$SYS/x", true),
        ("a/#", "a/$SYS", true),
        ("a/+", "a/$SYS", true),
    ]);
}

/// `$share/group/filter` and its kin: an instruction to some Servers, a filter like any other to the standard.
#[test]
fn prefixes_are_told_from_what_is_behind_them() {
    for (whole, behind) in [
        ("$share/g/a", Some("a")),
        ("$share/g/a/+/c", Some("a/+/c")),
        ("$share/g/#", Some("#")),
        ("$share/g//a", Some("/a")),
        ("$share/g//", Some("/")),
        ("$share/g/$SYS/#", Some("$SYS/#")),
        ("$share/$queue/a", Some("a")),
        ("$share/g/$share/h/a", Some("$share/h/a")),
        ("$oshare/g/a", Some("a")),
        ("$queue/a/#", Some("a/#")),
        ("$queue//a", Some("/a")),
        ("$exclusive/a", Some("a")),
        ("$share", None),
        ("$share/", None),
        ("$share/g", None),
        ("$share/g/", None),
        ("$share//a", None),
        ("$share/+/a", None),
        ("$share/#", None),
        ("$queue", None),
        ("$queue/", None),
        ("$exclusive/", None),
        ("$Share/g/a", None),
        ("$shared/g/a", None),
        ("share/g/a", None),
        ("/$share/g/a", None),
        ("$SYS/broker", None),
        ("a", None),
        ("+/g/a", None),
    ] {
        assert_eq!(filter(whole).without_prefix(), behind.map(filter), "{whole}");
        let owned = TopicFilter::new(whole).unwrap();
        assert_eq!(owned.without_prefix(), behind.map(|it| TopicFilter::new(it).unwrap()), "{whole}");
    }
    compare(&[
        ("$share/g/a", "a", false),
        ("$share/g/a", "$share/g/a", true),
        ("$share/g/#", "$share/g/a/b", true),
        ("$queue/a", "a", false),
    ]);
}

#[test]
fn names_are_checked() {
    let long = "ä".repeat(32_767);
    for legal in ["a", "/", " ", "//", "$SYS/x", "ä/🍔", "a b", "\u{1}", "\u{feff}", &long] {
        assert_eq!(name(legal).as_str(), legal);
        assert_eq!(name(legal).len(), legal.len());
    }
    let rows = [
        ("", TopicError::Empty),
        ("a\0b", TopicError::Nul),
        ("\0", TopicError::Nul),
        ("+", TopicError::WildcardInName),
        ("a/#", TopicError::WildcardInName),
        ("a+b", TopicError::WildcardInName),
        ("ä/ö/ü/+/and/so/on", TopicError::WildcardInName),
        ("ä\0", TopicError::Nul),
    ];
    for (text, error) in rows {
        assert_eq!(TopicNameRef::new(text), Err(error), "{text:?}");
    }
    assert!(TopicNameRef::new(&"x".repeat(65_535)).is_ok());
    assert_eq!(TopicNameRef::new(&"x".repeat(65_536)), Err(TopicError::TooLong));
}

/// The quick pass looks at words, so that each place in a word and each length counts.
#[test]
fn a_bad_byte_is_found_wherever_it_stands() {
    for len in 1..40 {
        for place in 0..len {
            let check = |byte: u8| {
                let mut text = vec![b'a'; len];
                text[place] = byte;
                TopicNameRef::from_bytes(&text).map(TopicNameRef::len)
            };
            assert_eq!(check(0), Err(TopicError::Nul), "{len} {place}");
            assert_eq!(check(b'+'), Err(TopicError::WildcardInName), "{len} {place}");
            assert_eq!(check(b'#'), Err(TopicError::WildcardInName), "{len} {place}");
            assert_eq!(check(0x80), Err(TopicError::NotUtf8), "{len} {place}");
            assert_eq!(check(0xff), Err(TopicError::NotUtf8), "{len} {place}");
            for legal in (1..0x80).filter(|byte| !b"+#".contains(byte)) {
                assert_eq!(check(legal), Ok(len), "{len} {place} {legal:#x}");
            }
        }
    }
}

#[test]
fn filters_are_checked() {
    for legal in ["#", "+", "/", "a/#", "+/#", "/+/", "+/+/#", "a/+/b", "$SYS/#", "ä/+", "a//#"] {
        assert_eq!(filter(legal).as_str(), legal);
    }
    let rows = [
        ("", TopicError::Empty),
        ("a\0", TopicError::Nul),
        ("sport/tennis#", TopicError::MisplacedMultiLevel),
        ("sport/tennis/#/ranking", TopicError::MisplacedMultiLevel),
        ("#/", TopicError::MisplacedMultiLevel),
        ("##", TopicError::MisplacedMultiLevel),
        ("+#", TopicError::MisplacedMultiLevel),
        ("sport+", TopicError::MisplacedSingleLevel),
        ("a/+b", TopicError::MisplacedSingleLevel),
        ("++", TopicError::MisplacedSingleLevel),
        ("ä+/x", TopicError::MisplacedSingleLevel),
    ];
    for (text, error) in rows {
        assert_eq!(TopicFilterRef::new(text), Err(error), "{text:?}");
    }
    assert_eq!(TopicFilterRef::new(&"/".repeat(65_536)), Err(TopicError::TooLong));
    assert_eq!(TopicFilter::try_from(Bytes::from_static(b"a/\xff")), Err(TopicError::NotUtf8));
}

#[test]
fn errors_name_their_rule() {
    let rows = [
        (TopicError::Empty, "MQTT-4.7.3-1"),
        (TopicError::TooLong, "MQTT-4.7.3-3"),
        (TopicError::NotUtf8, "MQTT-1.5.3-1"),
        (TopicError::Nul, "MQTT-4.7.3-2"),
        (TopicError::WildcardInName, "MQTT-4.7.1-1"),
        (TopicError::MisplacedMultiLevel, "MQTT-4.7.1-2"),
        (TopicError::MisplacedSingleLevel, "MQTT-4.7.1-3"),
    ];
    for (error, rule) in rows {
        assert_eq!(error.requirement(), rule);
        assert!(error.to_string().ends_with(&format!("[{rule}]")), "{error}");
    }
}

#[test]
fn owned_topics_come_from_whatever_holds_text() {
    let expected = TopicName::from_static("a/b").unwrap();
    assert_eq!(TopicName::new("a/b"), Ok(expected.clone()));
    assert_eq!(TopicName::new(String::from("a/b")), Ok(expected.clone()));
    assert_eq!(TopicName::new(Bytes::from_static(b"a/b")), Ok(expected.clone()));
    assert_eq!(TopicName::new(&expected), Ok(expected.clone()));
    assert_eq!("a/b".parse(), Ok(expected.clone()));
    assert_eq!(expected, "a/b");
    assert_eq!(format!("{expected} {expected:?}"), "a/b TopicName(\"a/b\")");
}

#[test]
fn from_slice_of_shares_what_lies_in_the_bytes_and_copies_the_rest() {
    let bytes = Bytes::from_static(b"..a/b..");
    let inside = TopicNameRef::from_bytes(&bytes[2..5]).unwrap();
    let shared = TopicName::from_slice_of(&bytes, inside);
    assert_eq!((shared.as_str(), shared.as_bytes().as_ptr()), ("a/b", inside.as_bytes().as_ptr()));

    let text = String::from("a/b");
    let copied = TopicName::from_slice_of(&bytes, name(&text));
    assert_eq!(copied, shared);
    assert_ne!(copied.as_bytes().as_ptr(), text.as_ptr());
}
