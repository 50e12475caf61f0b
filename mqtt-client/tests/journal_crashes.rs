//! What a crash between any two changes leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use mqtt_client::bytes::Buf;
use mqtt_client::{Change, Client, Message, Options, PubSub, QoS, Session, Time, TopicFilter, TopicName};

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> Options {
    Options::new("c").clean_session(false).journal(true).keep_alive(Duration::ZERO)
}

/// Writes all changes, one by one, and saves them; the kinds of the records that the store had after each.
fn save(client: &mut Client<PubSub>, store: &mut Store) -> Vec<String> {
    let mut states = Vec::new();
    while let Some(changes) = client.poll_changes() {
        for change in &changes.changes {
            match change {
                Change::Clear => store.clear(),
                Change::Put(key, record) => {
                    store.insert(key.as_bytes().to_vec(), record.to_bytes());
                }
                Change::Remove(key) => {
                    store.remove(&key.as_bytes()[..]);
                }
            }
            states.push(store.keys().map(|key| char::from(key[0])).collect());
        }
        client.changes_saved(changes.mark);
    }
    states
}

fn feed(client: &mut Client<PubSub>, mut input: &[u8]) {
    while client.handle_input(&mut input, Time::ZERO).unwrap().is_some() {}
}

/// Connects as far as to the CONNECT, all of which is sent.
fn dial(client: &mut Client<PubSub>, store: &mut Store) {
    client.connect(Time::ZERO).unwrap();
    save(client, store);
    let mut output = client.poll_output(Time::ZERO);
    let len = output.remaining();
    output.advance(len);
}

fn filter() -> TopicFilter {
    TopicFilter::try_from("f").unwrap()
}

/// A client that is connected and subscribed, and its store.
fn subscribed() -> (Client<PubSub>, Store) {
    let (mut client, mut store) = (Client::new(options()).unwrap(), Store::new());
    client.subscribe([(filter(), QoS::AtLeastOnce)]).unwrap();
    dial(&mut client, &mut store);
    feed(&mut client, b"\x20\x02\x00\x00\x90\x03\x00\x01\x01");
    (client, store)
}

/// The subscription is written before its request is removed, and removed before the request that ends it.
#[test]
fn an_answer_counts_before_the_request_is_over() {
    let (mut client, mut store) = subscribed();
    assert_eq!(save(&mut client, &mut store), ["FQ", "F"]);
    client.unsubscribe([filter()]).unwrap();
    assert_eq!(save(&mut client, &mut store), ["FQ"]);
    feed(&mut client, b"\xb0\x02\x00\x02");
    assert_eq!(save(&mut client, &mut store), ["Q", ""]);
}

/// That the Server may have a Session without the subscriptions stays in the store until the requests are there that
/// make them again, whether the CONNACK tells of a lost Session or follows one that was lost itself.
#[test]
fn a_connack_counts_after_what_follows_from_it() {
    for (lost_connacks, connack) in [(0, b"\x20\x02\x00\x00"), (1, b"\x20\x02\x01\x00")] {
        let (mut client, mut store) = subscribed();
        save(&mut client, &mut store);
        for _ in 0..lost_connacks {
            client.handle_close();
            dial(&mut client, &mut store);
        }
        client.handle_close();
        dial(&mut client, &mut store);
        feed(&mut client, connack);
        assert_eq!(save(&mut client, &mut store), ["CFQ", "FQ"], "{lost_connacks}");
        // And a client that goes on with this store makes them.
        let mut client =
            Client::<PubSub>::with_session(options(), Session::from_records(&store).unwrap()).unwrap();
        dial(&mut client, &mut store);
        feed(&mut client, b"\x20\x02\x01\x00");
        save(&mut client, &mut store);
        assert_eq!(client.poll_output(Time::ZERO).chunk().first(), Some(&0x82));
    }
}

/// The Server has lost the Session, and both messages in flight wait in the queue again: the second one first, since
/// what is in flight goes before the queue.
#[test]
fn messages_that_are_queued_again_keep_their_order() {
    let (mut client, mut store) = (Client::<PubSub>::new(options()).unwrap(), Store::new());
    for n in 1..=2 {
        let message = Message::new(TopicName::try_from("t").unwrap(), format!("{n}")).qos(QoS::AtLeastOnce);
        client.publish(message).unwrap();
    }
    dial(&mut client, &mut store);
    feed(&mut client, b"\x20\x02\x00\x00");
    assert_eq!(save(&mut client, &mut store), ["MMS", "MMSS"]);
    client.handle_close();
    dial(&mut client, &mut store);
    client.pause_queue(true);
    feed(&mut client, b"\x20\x02\x00\x00");
    let changes = client.poll_changes().unwrap().changes;
    let removed: Vec<_> = changes.iter().map(|change| change.key().unwrap().as_bytes()).collect();
    assert_eq!(removed, [b"S\0\0\0\0\0\0\0\x02", b"S\0\0\0\0\0\0\0\x01"]);
}
