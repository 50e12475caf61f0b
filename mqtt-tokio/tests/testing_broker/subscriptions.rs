//! SUBSCRIBE, UNSUBSCRIBE, retained messages and which messages match (sections 3.3.1.3, 3.8, 3.10, 4.7).

use mqtt_codec::{OwnedConnect, QoS};
use mqtt_tokio::testing::{Broker, BrokerOptions, Overlapping};

use crate::support::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn filters_match_as_the_standard_says() {
    let topics = ["a", "a/b", "a/b/c", "b", "/", "/a", "$SYS/x", "$SYS"];
    let rows: &[(&str, &[&str])] = &[
        ("a", &["a"]),
        ("a/#", &["a", "a/b", "a/b/c"]),
        ("a/+", &["a/b"]),
        ("+", &["a", "b"]),
        ("+/+", &["a/b", "/", "/a"]),
        ("/+", &["/", "/a"]),
        ("#", &["a", "a/b", "a/b/c", "b", "/", "/a"]),
        ("$SYS/#", &["$SYS/x", "$SYS"]),
        ("+/x", &[]),
    ];
    for (filter, matching) in rows {
        let expected: Vec<_> = matching.iter().map(|it| format!("PUBLISH {it}=x")).collect();
        let mut broker = Broker::new();
        let client = Client::new(&mut broker, "a");
        client.subscribe(&mut broker, filter, Q0);
        for topic in topics {
            broker.publish(name(topic), "x", Q0, true);
        }
        assert_eq!(client.recv(&mut broker), expected, "{filter}");
        // The retained ones match alike, ordered by topic.
        let mut retained: Vec<_> = expected.iter().map(|it| format!("{it} retain")).collect();
        retained.sort_by_key(|it| it.replace('=', "\0"));
        assert_eq!(client.subscribe(&mut broker, filter, Q0), retained, "{filter}");
    }
}

#[test]
fn overlapping_subscriptions_get_one_copy_or_each_its_own() {
    let rows: &[(Overlapping, &[&str])] = &[
        (Overlapping::Once, &["PUBLISH a/b=x q2 #1"]),
        (Overlapping::Each, &["PUBLISH a/b=x q2 #1", "PUBLISH a/b=x q1 #2", "PUBLISH a/b=x"]),
    ];
    for (overlapping, copies) in rows {
        let mut broker = Broker::with_options(BrokerOptions::new().overlapping(*overlapping));
        let client = Client::new(&mut broker, "a");
        let filters = subscribe(5, &[("a/+", Q1), ("#", Q0), ("a/b", Q2), ("b", Q2)]);
        assert_eq!(client.ask(&mut broker, filters), ["SUBACK #5 1 0 2 2"]);
        broker.publish(name("a/b"), "x", Q2, false);
        assert_eq!(client.recv(&mut broker), *copies);
    }
}

/// [MQTT-3.8.4-3]: the same filter again replaces the subscription, and sends the retained messages again.
#[test]
fn subscribing_again_replaces() {
    let mut broker = Broker::new();
    broker.publish(name("t"), "kept", Q2, true);
    let client = Client::new(&mut broker, "a");
    assert_eq!(client.subscribe(&mut broker, "t", Q2), ["PUBLISH t=kept q2 #1 retain"]);
    assert_eq!(client.subscribe(&mut broker, "t", Q0), ["PUBLISH t=kept retain"]);
    broker.publish(name("t"), "new", Q2, false);
    assert_eq!(client.recv(&mut broker), ["PUBLISH t=new"]);
    assert_eq!(broker.session("a").unwrap().subscriptions, [(filter("t"), Q0)]);
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-5]: UNSUBACK comes even when there was nothing to unsubscribe from.
#[test]
fn unsubscribing_ends_messages() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    let other = Client::new(&mut broker, "b");
    other.subscribe(&mut broker, "t", Q0);
    client.ask(&mut broker, subscribe(1, &[("t", Q0), ("u", Q0)]));
    assert_eq!(client.ask(&mut broker, unsubscribe(2, &["t", "never", "#"])), ["UNSUBACK #2"]);
    for topic in ["t", "u"] {
        broker.publish(name(topic), "x", Q0, false);
    }
    assert_eq!(client.recv(&mut broker), ["PUBLISH u=x"]);
    assert_eq!(other.recv(&mut broker), ["PUBLISH t=x"]);
}

/// 0x80 in MQTT 3.1.1; MQTT 3.1 cannot say no, and says yes.
#[test]
fn filters_can_be_refused() {
    for (version, codes) in [(V3_1_1, "SUBACK #1 0 failure 1"), (V3_1, "SUBACK #1 0 2 1")] {
        let options = BrokerOptions::new().refuse_filter(filter("secret/#"));
        let mut broker = Broker::with_options(options);
        broker.publish(name("secret/a"), "x", Q0, true);
        let client = Client::open(&mut broker, &OwnedConnect { version, ..connect("a") });
        client.recv(&mut broker);
        let filters = subscribe(1, &[("a", Q0), ("secret/#", Q2), ("b", Q1)]);
        assert_eq!(client.ask(&mut broker, filters), [codes]);
        broker.publish(name("secret/b"), "x", Q0, false);
        assert!(client.recv(&mut broker).is_empty());
    }
}

/// [MQTT-3.3.1-5..12]: set, replaced, and cleared by an empty payload, which is passed on all the same.
#[test]
fn retained_messages_are_set_replaced_and_cleared() {
    let mut broker = Broker::new();
    let client = Client::new(&mut broker, "a");
    client.subscribe(&mut broker, "#", Q1);
    let stored = |broker: &Broker| -> Vec<String> {
        let show = |(topic, payload, qos): &(_, bytes::Bytes, _)| {
            format!("{topic}={} q{qos}", String::from_utf8_lossy(payload))
        };
        broker.retained().iter().map(show).collect()
    };
    // What reaches a subscription that is there has RETAIN 0 [MQTT-3.3.1-9].
    let first = retained(publish("t/1", "one", Q1, 1));
    assert_eq!(client.ask(&mut broker, first), ["PUBLISH t/1=one q1 #1", "PUBACK #1"]);
    client.ask(&mut broker, retained(publish("t/2", "two", Q0, 0)));
    assert_eq!(stored(&broker), ["t/1=one q1", "t/2=two q0"]);
    client.ask(&mut broker, retained(publish("t/1", "eins", Q2, 2)));
    client.ask(&mut broker, publish("t/2", "not stored", Q0, 0));
    assert_eq!(stored(&broker), ["t/1=eins q2", "t/2=two q0"]);
    let late = Client::new(&mut broker, "late");
    let expected = ["PUBLISH t/1=eins q1 #1 retain", "PUBLISH t/2=two retain"];
    assert_eq!(late.subscribe(&mut broker, "t/+", Q1), expected);
    assert_eq!(client.ask(&mut broker, retained(publish("t/1", "", Q0, 0))), ["PUBLISH t/1="]);
    assert_eq!(stored(&broker), ["t/2=two q0"]);
    broker.clear_retained();
    assert!(stored(&broker).is_empty());
}

#[test]
fn retained_messages_are_bounded() {
    let mut broker = Broker::with_options(BrokerOptions::new().max_retained(2));
    for topic in ["a", "b", "c", "a"] {
        broker.publish(name(topic), topic.repeat(2), Q0, true);
    }
    let topics: Vec<_> = broker.retained().into_iter().map(|(topic, ..)| topic.to_string()).collect();
    assert_eq!(topics, ["a", "b"]);
}

/// What is offered beyond the standard: `$share/group/filter`.
#[test]
fn members_of_a_group_get_messages_in_turn() {
    let mut broker = Broker::new();
    broker.publish(name("a/0"), "old", Q1, true);
    let [one, two, other, plain] = ["1", "2", "3", "4"].map(|it| Client::new(&mut broker, it));
    assert!(one.subscribe(&mut broker, "$share/g/a/+", Q2).is_empty(), "no retained messages");
    two.subscribe(&mut broker, "$share/g/a/+", Q0);
    other.subscribe(&mut broker, "$share/h/a/+", Q1);
    plain.subscribe(&mut broker, "a/#", Q0);
    plain.recv(&mut broker);
    for number in 1..=3 {
        broker.publish(name(&format!("a/{number}")), "x", Q1, false);
    }
    assert_eq!(one.recv(&mut broker), ["PUBLISH a/1=x q1 #1", "PUBLISH a/3=x q1 #2"]);
    assert_eq!(two.recv(&mut broker), ["PUBLISH a/2=x"]);
    assert_eq!(other.recv(&mut broker).len(), 3);
    assert_eq!(plain.recv(&mut broker).len(), 3);

    // Who has left gets nothing; who is alone gets all; an empty group is none.
    two.ask(&mut broker, unsubscribe(2, &["$share/g/a/+"]));
    broker.cut(other.id);
    for number in 4..=5 {
        broker.publish(name(&format!("a/{number}")), "x", Q0, false);
    }
    assert_eq!(one.recv(&mut broker), ["PUBLISH a/4=x", "PUBLISH a/5=x"]);
    one.ask(&mut broker, unsubscribe(2, &["$share/g/a/+"]));
    broker.publish(name("a/6"), "x", Q0, false);
    assert!([&one, &two].iter().all(|it| it.recv(&mut broker).is_empty()));
    assert_eq!(plain.recv(&mut broker).len(), 3);
    // A group without a name is none: a filter like any other.
    plain.subscribe(&mut broker, "$share//a", Q0);
    broker.publish(name("$share//a"), "x", Q0, false);
    assert_eq!(plain.recv(&mut broker), ["PUBLISH $share//a=x"]);
}
