//! CONNECT: what is accepted, what is refused and how, and how connections end.

use std::time::Duration;

use mqtt_codec::{ConnectReturnCode, OwnedConnect, OwnedPacket, PacketType, QoS};
use mqtt_tokio::testing::{Broker, BrokerOptions, CloseReason};

use crate::support::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn both_versions_are_accepted_and_talk_to_each_other() {
    for (from, to) in [(V3_1, V3_1), (V3_1, V3_1_1), (V3_1_1, V3_1), (V3_1_1, V3_1_1)] {
        let mut broker = Broker::new();
        let reader = Client::open(&mut broker, &OwnedConnect { version: to, ..connect("reader") });
        assert_eq!(reader.recv(&mut broker), ["CONNACK 0"]);
        reader.subscribe(&mut broker, "a", QoS::AtMostOnce);
        let writer = Client::open(&mut broker, &OwnedConnect { version: from, ..connect("writer") });
        writer.send(&mut broker, publish("a", "x", QoS::AtMostOnce, 0));
        assert_eq!(reader.recv(&mut broker), ["PUBLISH a=x"], "{from} to {to}");
    }
}

/// What the decoder refuses but the standard wants to be answered: level and client identifier.
#[test]
fn bad_connects_are_answered_and_closed() {
    let rows: &[(&[u8], &str, ConnectReturnCode)] = &[
        // [MQTT-3.1.2-2]: an unknown level.
        (
            b"\x10\x0d\x00\x04MQTT\x05\x02\0\0\0\x01a",
            "CONNACK 1",
            ConnectReturnCode::UnacceptableProtocolVersion,
        ),
        (
            b"\x10\x0d\x00\x04MQTT\x03\x02\0\0\0\x01a",
            "CONNACK 1",
            ConnectReturnCode::UnacceptableProtocolVersion,
        ),
        // [MQTT-3.1.3-8]: no client identifier, and no clean session.
        (b"\x10\x0c\x00\x04MQTT\x04\x00\0\0\0\0", "CONNACK 2", ConnectReturnCode::IdentifierRejected),
        // MQTT 3.1: a client identifier has 1 to 23 characters.
        (b"\x10\x0e\x00\x06MQIsdp\x03\x02\0\0\0\0", "CONNACK 2", ConnectReturnCode::IdentifierRejected),
    ];
    for (bytes, answer, code) in rows {
        let mut broker = Broker::new();
        let id = broker.connect_transport();
        broker.handle_input(id, bytes);
        let answers: Vec<_> = decode(broker.take_output(id), V3_1_1).iter().map(show).collect();
        assert_eq!(answers, [*answer], "{bytes:?}");
        assert!(broker.is_closed(id));
        assert_eq!(broker.close_reason(id), Some(CloseReason::Refused(*code)));
        assert!(broker.sessions().is_empty());
    }
}

#[test]
fn the_options_decide_who_may_connect() {
    let users = || BrokerOptions::new().user("ann", "secret").user("bob", "");
    let rows = [
        (BrokerOptions::new(), connect("a"), 0),
        (BrokerOptions::new().only_version(V3_1), connect("a"), 1),
        (BrokerOptions::new().only_version(V3_1), OwnedConnect { version: V3_1, ..connect("a") }, 0),
        (users(), connect("a"), 5),
        (users(), OwnedConnect { credentials: credentials("ann", Some("secret")), ..connect("a") }, 0),
        (users(), OwnedConnect { credentials: credentials("ann", Some("wrong")), ..connect("a") }, 4),
        (users(), OwnedConnect { credentials: credentials("ann", None), ..connect("a") }, 4),
        (users(), OwnedConnect { credentials: credentials("eve", Some("secret")), ..connect("a") }, 4),
        (users(), OwnedConnect { credentials: credentials("bob", None), ..connect("a") }, 0),
        (BrokerOptions::new().authenticate(|_| ConnectReturnCode::from_u8(77)), connect("a"), 77),
    ];
    for (options, connect, code) in rows {
        let mut broker = Broker::with_options(options);
        let client = Client::open(&mut broker, &connect);
        assert_eq!(client.recv(&mut broker), [format!("CONNACK {code}")], "{connect:?}");
        assert_eq!(broker.is_closed(client.id), code != 0, "{connect:?}");
        assert_eq!(broker.sessions().len(), usize::from(code == 0), "{connect:?}");
    }
}

#[test]
fn debug_shows_no_password() {
    let mut broker = Broker::with_options(BrokerOptions::new().user("ann", "hunter2"));
    let connect = OwnedConnect { credentials: credentials("ann", Some("hunter2")), ..connect("a") };
    Client::open(&mut broker, &connect);
    let debug = format!("{broker:?}");
    assert!(debug.contains("ann") && !debug.contains("hunter2"));
    assert!(!debug.contains(&format!("{:?}", b"hunter2")) && !debug.contains("104, 117, 110, 116"));
}

/// [MQTT-3.1.3-6]: each client without an identifier gets one of its own, that nobody else has.
#[test]
fn clients_without_an_identifier_get_one() {
    let mut broker = Broker::new();
    Client::new(&mut broker, "auto-1");
    Client::new(&mut broker, "");
    Client::new(&mut broker, "");
    let ids: Vec<_> = broker.sessions().iter().map(|it| it.client_id.as_str().to_owned()).collect();
    assert_eq!(ids, ["auto-1", "auto-2", "auto-3"]);
    assert_eq!(broker.connections().count(), 3);
}

/// [MQTT-3.1.0-1] [MQTT-3.1.0-2]: CONNECT comes first, and once.
#[test]
fn connect_comes_first_and_once() {
    let mut broker = Broker::new();
    let id = broker.connect_transport();
    broker.handle_input(id, &[0x30]);
    assert_eq!(broker.close_reason(id), Some(CloseReason::Violation(PacketType::Publish)));

    let client = Client::new(&mut broker, "a");
    client.send(&mut broker, OwnedPacket::Connect(connect("a")));
    assert_eq!(broker.close_reason(client.id), Some(CloseReason::Violation(PacketType::Connect)));
}

/// [MQTT-3.1.4-2]: the old connection of a client identifier is closed, and its will published.
#[test]
fn a_client_identifier_is_taken_over() {
    let mut broker = Broker::new();
    let watcher = Client::new(&mut broker, "watcher");
    watcher.subscribe(&mut broker, "#", QoS::AtMostOnce);
    let with_will = OwnedConnect { will: will("gone", "a", QoS::AtMostOnce, false), ..connect("a") };
    let old = Client::open(&mut broker, &with_will);
    let new = Client::new(&mut broker, "a");
    assert_eq!(broker.close_reason(old.id), Some(CloseReason::TakenOver));
    assert_eq!(broker.connection_of("a"), Some(new.id));
    assert_eq!(watcher.recv(&mut broker), ["PUBLISH gone=a"]);
    assert!(broker.close_reason(new.id).is_none());
    broker.transport_closed(old.id);
    assert_eq!(broker.connection_of("a"), Some(new.id));
}

/// [MQTT-3.1.2-8] [MQTT-3.14.4-3]: every end but DISCONNECT publishes the will.
#[test]
fn wills_are_published_on_every_end_but_disconnect() {
    type End = fn(&mut Broker, &Client);
    let rows: &[(&str, End, bool)] = &[
        ("DISCONNECT", |broker, it| it.send(broker, OwnedPacket::Disconnect), false),
        ("transport closed", |broker, it| broker.transport_closed(it.id), true),
        ("cut", |broker, it| broker.cut(it.id), true),
        ("reset", |broker, it| broker.reset(it.id), true),
        ("malformed", |broker, it| broker.handle_input(it.id, &[0xff]), true),
        ("violation", |broker, it| it.send(broker, OwnedPacket::Connect(connect("a"))), true),
        ("keep alive", |broker, _| broker.handle_time(seconds(15.0)), true),
        (
            "cut_all",
            |broker, it| {
                let others: Vec<_> = broker.connections().filter(|id| *id != it.id).collect();
                assert_eq!(others.len(), 1);
                broker.cut(it.id);
            },
            true,
        ),
    ];
    for (name, end, published) in rows {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut broker = Broker::new();
            let watcher = Client::new(&mut broker, "watcher");
            watcher.subscribe(&mut broker, "wills/#", QoS::ExactlyOnce);
            let with_will =
                OwnedConnect { will: will("wills/a", "bye", qos, true), keep_alive: 10, ..connect("a") };
            let client = Client::open(&mut broker, &with_will);
            end(&mut broker, &client);
            broker.transport_closed(client.id);
            let expected = match qos {
                QoS::AtMostOnce => "PUBLISH wills/a=bye".into(),
                qos => format!("PUBLISH wills/a=bye q{qos} #1"),
            };
            let expected = if *published { vec![expected] } else { vec![] };
            assert_eq!(watcher.recv(&mut broker), expected, "{name}");
            assert_eq!(broker.retained().len(), usize::from(*published), "{name}");
        }
    }
}

/// A will that is published to a client may end that client's connection, and publish its will.
#[test]
fn wills_may_follow_from_wills() {
    use mqtt_tokio::testing::{Faults, OnSend, When};
    let mut broker = Broker::new();
    for number in 0..1000 {
        let will = will(&format!("wills/{number}"), "x", QoS::AtMostOnce, false);
        let client = Client::open(&mut broker, &OwnedConnect { will, ..connect(&format!("c{number}")) });
        assert_eq!(client.recv(&mut broker), ["CONNACK 0"]);
        client.subscribe(&mut broker, &format!("wills/{}", number + 1), QoS::AtMostOnce);
    }
    broker.set_faults(Faults::none().on_send(PacketType::Publish, When::Always, OnSend::CutBefore));
    let last = broker.connection_of("c999").unwrap();
    broker.cut(last);
    assert_eq!(broker.connections().count(), 0);
}

/// [MQTT-3.1.2-24]: one and a half times the keep alive, from the last packet.
#[test]
fn keep_alive_ends_silent_clients() {
    let mut broker = Broker::new();
    broker.handle_time(seconds(100.0));
    let never = Client::new(&mut broker, "never");
    let client = Client::open(&mut broker, &OwnedConnect { keep_alive: 10, ..connect("a") });
    assert_eq!(client.recv(&mut broker), ["CONNACK 0"]);
    assert_eq!(broker.poll_timeout(), Some(seconds(115.0)));
    broker.handle_time(seconds(114.9));
    assert_eq!(client.ask(&mut broker, OwnedPacket::Pingreq), ["PINGRESP"]);
    assert_eq!(broker.timeout(client.id), Some(seconds(129.9)));
    // A part of a packet is no packet, and time does not go back.
    broker.handle_time(seconds(120.0));
    broker.handle_input(client.id, &[0xc0]);
    broker.handle_time(seconds(1.0));
    broker.handle_time(seconds(129.8));
    assert!(!broker.is_closed(client.id));
    broker.handle_time(seconds(129.9));
    assert_eq!(broker.close_reason(client.id), Some(CloseReason::KeepAlive));
    broker.handle_time(Duration::MAX);
    assert!(!broker.is_closed(never.id));
    assert_eq!(broker.poll_timeout(), None);
}
