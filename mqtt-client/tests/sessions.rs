//! What a Session holds besides messages, and what of it is in the records of a store.

mod common;

use std::collections::BTreeMap;

use common::{Pair, Q0, Q1, Q2, kept, message};
use mqtt_client::{Change, Key, ProtocolVersion, Session};

/// Writes all changes to `store`, which is safe at once.
fn save(pair: &mut Pair, store: &mut BTreeMap<Key, Vec<u8>>) {
    while let Some(changes) = pair.client.poll_changes() {
        for change in changes.changes {
            match change {
                Change::Clear => store.clear(),
                Change::Put(key, record) => drop(store.insert(key, record.to_bytes())),
                Change::Remove(key) => drop(store.remove(&key)),
            }
        }
        pair.client.changes_saved(changes.mark);
    }
}

fn restored(store: &BTreeMap<Key, Vec<u8>>) -> Session {
    Session::from_records(store.iter().map(|(key, record)| (key.as_bytes(), record))).unwrap()
}

/// MQTT 3.1 does not tell whether the Server kept the Session: what a message was is part of a Session that goes into
/// another store.
#[test]
fn with_3_1_what_the_message_was_goes_along() {
    let mut first: Pair = Pair::v3_1(kept());
    first.open(false);
    first.peer("PUBLISH 9 q2 x");
    first.expect_events(["message q2 x"]);
    let session = first.client.into_session();
    assert!(!session.is_empty(), "an identifier is something to keep");
    let options = || kept().version(ProtocolVersion::V3_1).journal(true);
    let mut second: Pair = Pair::with_session(options(), session, ProtocolVersion::V3_1);
    let mut store = BTreeMap::new();
    save(&mut second, &mut store);
    for (payload, events) in [("x", &[][..]), ("y", &["message q2 y"])] {
        let mut third: Pair = Pair::with_session(options(), restored(&store), ProtocolVersion::V3_1);
        save(&mut third, &mut store.clone());
        third.open(false);
        third.peer(&format!("PUBLISH 9 q2 {payload}"));
        assert_eq!(third.events(), events);
    }
}

/// A Server without the Session has forgotten what it sent: so does the store.
#[test]
fn a_lost_session_is_forgotten_in_the_store_too() {
    let mut pair: Pair = Pair::new(kept().journal(true));
    let mut store = BTreeMap::new();
    save(&mut pair, &mut store);
    pair.open(false);
    pair.peer("PUBLISH 9 q2 x");
    save(&mut pair, &mut store);
    assert!(!restored(&store).is_empty());
    pair.cut();
    pair.open(false);
    save(&mut pair, &mut store);
    assert!(restored(&store).is_empty() && store.is_empty());
}

#[test]
fn a_request_is_something_to_keep() {
    let mut pair: Pair = Pair::new(kept());
    assert!(pair.client.session().is_empty());
    pair.subscribe("a", Q0);
    assert!(!pair.client.session().is_empty());
    pair.open(false);
    pair.sent();
    pair.peer("SUBACK 1 0");
    assert!(!pair.client.session().is_empty(), "a subscription too");
    pair.client.discard_session();
    assert!(pair.client.session().is_empty());
}

/// From bytes into a store, and back: everything is its own record, whole and in order.
#[test]
fn from_bytes_into_a_store() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(2));
    pair.open(false);
    for name in ["a", "b"] {
        pair.subscribe(name, Q0);
    }
    pair.peer("SUBACK 1 0");
    pair.peer("SUBACK 2 0");
    let messages: Vec<_> = (0..6)
        .map(|n| message(&n.to_string(), if n % 2 == 0 { Q1 } else { Q2 }).retain(n % 3 == 0))
        .collect();
    for message in &messages {
        pair.client.publish(message.clone()).unwrap();
    }
    for name in ["c", "d"] {
        pair.subscribe(name, Q0);
    }
    let session = Session::from_bytes(&pair.client.into_session().to_bytes()).unwrap();
    let mut second: Pair = Pair::with_session(kept().journal(true), session, ProtocolVersion::V3_1_1);
    let mut store = BTreeMap::new();
    save(&mut second, &mut store);
    let pending: Vec<_> =
        restored(&store).pending_publishes().filter_map(|(_, message)| message.cloned()).collect();
    assert_eq!(pending, messages);
    let count = |kind| store.keys().filter(|key| key.as_bytes()[0] == kind).count();
    assert_eq!([b'M', b'Q', b'F'].map(count), [6, 2, 2]);
}
