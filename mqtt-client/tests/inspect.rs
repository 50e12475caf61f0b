//! What an inspector is shown.

mod common;

use std::sync::{Arc, Mutex};

use common::{Pair, Q0, Q1, Q2, kept, message, secs, text};
use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{
    AckMode, Client, Direction, Fallback, Inspector, Options, Oversize, Packet, ProtocolVersion, PubSub,
    Retransmission, Timed, Will,
};

type Trace = Arc<Mutex<Vec<(Direction, String, usize)>>>;

/// An inspector that writes down what it is shown.
fn recorder() -> (Trace, Inspector) {
    let trace = Trace::default();
    let into = Arc::clone(&trace);
    let inspector = Inspector::new(move |direction, packet, len| {
        into.lock().unwrap().push((direction, text::packet(packet), len));
    });
    (trace, inspector)
}

fn inspected(options: Options) -> (Pair, Trace) {
    let (trace, inspector) = recorder();
    let mut pair: Pair = Pair::new(options);
    pair.client.inspect(Some(inspector));
    (pair, trace)
}

/// What was shown since the last call, sent packets with an arrow.
fn shown(trace: &Trace) -> Vec<String> {
    let arrow = |direction| if direction == Direction::ToServer { "> " } else { "< " };
    trace.lock().unwrap().drain(..).map(|(direction, text, _)| arrow(direction).to_owned() + &text).collect()
}

#[test]
fn every_packet_both_ways() {
    let (mut pair, trace) = inspected(kept().ack_mode(AckMode::Manual).keep_alive(secs(0)));
    pair.open(false);
    assert_eq!(shown(&trace), ["> CONNECT kept", "< CONNACK 0"]);
    pair.publish("a", Q0);
    pair.publish("b", Q1);
    pair.publish("c", Q2);
    pair.subscribe("s", Q1);
    pair.client.ping(pair.now).unwrap();
    let packets = ["PUBLISH - q0 a", "PUBLISH 1 q1 b", "PUBLISH 2 q2 c", "SUBSCRIBE 3 s:1", "PINGREQ"];
    pair.expect(packets);
    assert_eq!(shown(&trace), packets.map(|packet| format!("> {packet}")));
    for (packet, answer) in [
        ("PUBACK 1", None),
        ("PUBREC 2", Some("> PUBREL 2")),
        ("PUBCOMP 2", None),
        ("SUBACK 3 1", None),
        ("PINGRESP", None),
        ("PUBLISH 7 q2 in", None),
        ("PUBREL 9", Some("> PUBCOMP 9")),
        // Nothing waits for it.
        ("PUBACK 55", None),
    ] {
        pair.peer(packet);
        // The peer's SUBACK is shown without its codes.
        let packet = packet.trim_end_matches(" 3 1");
        let expected: Vec<_> = [format!("< {packet}")].into_iter().chain(answer.map(String::from)).collect();
        assert_eq!(shown(&trace), expected);
    }
    pair.events();
    let token = pair.acks[0];
    pair.client.acknowledge(token).unwrap();
    pair.unsubscribe("s");
    pair.client.disconnect();
    assert_eq!(shown(&trace), ["> PUBREC 7", "> UNSUBSCRIBE 4 s", "> DISCONNECT"]);
}

/// With DUP as it is on the wire: 3.1.1 has none on requests and PUBRELs.
#[test]
fn copies_are_shown_too() {
    for (version, dup) in [(ProtocolVersion::V3_1_1, ""), (ProtocolVersion::V3_1, " dup")] {
        let timed = Retransmission::Timed(Timed::default().initial(secs(5)).jitter(0));
        let (mut pair, trace) = match version {
            ProtocolVersion::V3_1_1 => inspected(kept().keep_alive(secs(0)).retransmission(timed)),
            ProtocolVersion::V3_1 => {
                let (trace, inspector) = recorder();
                let mut pair = Pair::v3_1(kept().keep_alive(secs(0)).retransmission(timed));
                pair.client.inspect(Some(inspector));
                (pair, trace)
            }
        };
        pair.open(false);
        pair.publish("b", Q1);
        pair.publish("c", Q2);
        pair.sent();
        pair.peer("PUBREC 2");
        pair.subscribe("s", Q0);
        pair.unsubscribe("u");
        pair.sent();
        shown(&trace);
        let copies =
            ["PUBREL 2", "PUBLISH 1 q1 dup b", "SUBSCRIBE 3", "UNSUBSCRIBE 4"].map(|packet| match packet {
                "PUBREL 2" => format!("> PUBREL 2{dup}"),
                "SUBSCRIBE 3" => format!("> SUBSCRIBE 3{dup} s:0"),
                "UNSUBSCRIBE 4" => format!("> UNSUBSCRIBE 4{dup} u"),
                publish => format!("> {publish}"),
            });
        pair.idle(secs(6)).unwrap();
        let mut timed = shown(&trace);
        timed.sort();
        let mut expected = copies.to_vec();
        expected.sort();
        assert_eq!(timed, expected);
        pair.cut();
        pair.open(version == ProtocolVersion::V3_1_1);
        let again = shown(&trace);
        assert_eq!(again[2..], copies, "{version}");
    }
}

#[test]
fn sizes_are_those_on_the_wire() {
    let (trace, inspector) = recorder();
    let mut client: Client<PubSub> = Client::new(Options::new("c")).unwrap();
    client.inspect(Some(inspector));
    let now = mqtt_client::Time::ZERO;
    client.connect(now).unwrap();
    let mut sizes = vec![client.output_len()];
    let len = client.output_len();
    client.poll_output(now).advance(len);
    let input = b"\x20\x02\0\0\x30\x05\0\x01txx\xd0\0";
    let mut input = &input[..];
    while client.handle_input(&mut input, now).unwrap().is_some() {}
    sizes.extend([4, 7, 2]);
    for payload in [Bytes::new(), Bytes::from(vec![0; 200]), Bytes::from(vec![0; 20_000])] {
        let before = client.output_len();
        let topic = common::topic("t");
        client.publish(mqtt_client::Message::new(topic, payload)).unwrap();
        sizes.push(client.output_len() - before);
    }
    client.disconnect();
    sizes.push(2);
    let lens: Vec<_> = trace.lock().unwrap().iter().map(|(.., len)| *len).collect();
    assert_eq!(lens, sizes);
}

/// Whatever ends the connection: the packet at fault was shown if it could be decoded.
#[test]
fn it_is_shown_before_it_is_acted_upon() {
    let (mut pair, trace) = inspected(kept());
    pair.open(false);
    shown(&trace);
    pair.peer_error("CONNACK 0");
    assert_eq!(shown(&trace), ["< CONNACK 0"]);
    // Malformed, too large, or discarded as it comes in.
    for (oversize, bytes) in
        [(Oversize::Close, &b"\x40\x01\0"[..]), (Oversize::Skip, &b"\x30\x10\0\x01t0123456789abc"[..])]
    {
        let (mut pair, trace) = inspected(kept().max_packet_size(10).oversize(oversize));
        pair.open(false);
        shown(&trace);
        let _ = pair.feed(bytes);
        assert!(shown(&trace).is_empty());
    }
}

#[test]
fn a_clone_shows_its_packets_and_comparing_does_not_count_it() {
    let (mut pair, trace) = inspected(kept());
    let without = {
        let mut client = pair.client.clone();
        client.inspect(None);
        client
    };
    assert!(without == pair.client);
    let mut copy = pair.client.clone();
    copy.connect(pair.now).unwrap();
    assert_eq!(shown(&trace), ["> CONNECT kept"]);
    // Over the end of a connection, and until it is taken away.
    pair.open(false);
    pair.cut();
    pair.open(false);
    assert_eq!(shown(&trace).len(), 4);
    pair.client.inspect(None);
    pair.publish("x", Q0);
    assert!(shown(&trace).is_empty());
}

/// Neither to be read nor in `Debug`; and the CONNECT that is sent has it.
#[test]
fn the_password_is_not_shown() {
    let trace: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&trace);
    let will = Will::new(common::topic("w"), "last-words");
    let options = kept().credentials("user", Some("pass-word")).will(will).fallback(Fallback::Refused);
    let mut client: Client<PubSub> = Client::new(options).unwrap();
    client.inspect(Some(Inspector::new(move |_, packet, _| {
        if let Packet::Connect(connect) = packet {
            let credentials = connect.credentials.unwrap();
            assert_eq!(credentials.username.as_str(), "user");
            assert_eq!(credentials.password.unwrap().as_bytes(), b"");
        }
        into.lock().unwrap().push(format!("{packet:?}"));
    })));
    let now = mqtt_client::Time::ZERO;
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V3_1] {
        assert_eq!(client.version(), version);
        client.connect(now).unwrap();
        assert!(client.poll_output(now).chunk().ends_with(b"\0\x09pass-word"));
        client.handle_input(&mut &b"\x20\x02\0\x01"[..], now).unwrap_err();
    }
    client.connect(now).unwrap();
    client.handle_input(&mut &b"\x20\x02\0\0"[..], now).unwrap();
    client.publish(message("pay-load", Q1)).unwrap();
    let trace = trace.lock().unwrap().join("\n");
    assert_eq!(trace.matches("Connect(").count(), 3, "{trace}");
    for secret in ["pass-word", "last-words", "pay-load"] {
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(!trace.contains(secret) && !trace.contains(bytes.trim_matches(['[', ']'])), "{trace}");
    }
}
