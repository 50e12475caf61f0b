//! A Server that sends anything at any time, and an application that calls anything at any time: no panic, nothing
//! resolved twice or never, everything bounded.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{filter, message, text};
use mqtt_client::bytes::Buf;
use mqtt_client::{
    AckMode, AckToken, Client, Event, Options, PacketType, ProtocolVersion, PubSub, QoS, Session,
    SessionLoss, State, Time,
};
use mqtt_codec::{Decoded, Decoder, Direction};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A packet that a Server can send, with an identifier that may well be in use.
fn packet(kind: u8, id: u16) -> String {
    match kind % 12 {
        0 => "CONNACK 0".into(),
        1 => "CONNACK present".into(),
        2 => format!("PUBLISH {id} q1 x"),
        3 => format!("PUBLISH {id} q2 x"),
        4 => format!("PUBLISH {id} q2 dup x"),
        5 => format!("PUBACK {id}"),
        6 => format!("PUBREC {id}"),
        7 => format!("PUBREL {id}"),
        8 => format!("PUBCOMP {id}"),
        9 => format!("SUBACK {id} 0"),
        10 => format!("UNSUBACK {id}"),
        _ => "PINGRESP".into(),
    }
}

struct Chaos {
    client: Client<PubSub>,
    now: Time,
    version: ProtocolVersion,
    publishes: HashSet<mqtt_client::PublishToken>,
    requests: HashSet<mqtt_client::RequestToken>,
    acks: Vec<AckToken>,
    wire: Vec<u8>,
}

impl Chaos {
    fn step(&mut self, (what, id, n): (u8, u16, usize)) {
        let qos = QOS[n % 3];
        match what {
            0..=9 => self.input(&text::encode(&packet(what, id), self.version)),
            10..=29 => {
                // What the connection is likely to wait for, so that it lives a little.
                let kind = if self.client.state() == State::Connecting { n % 2 } else { 2 + n % 10 };
                self.input(&text::encode(&packet(kind as u8, id), self.version));
            }
            30 => self.input(&[n as u8, id as u8, (n >> 8) as u8, 0, 1, b't', 0, 1]),
            31..=39 => {
                if let Ok(Some(token)) = self.client.publish(message("m", qos)) {
                    assert!(self.publishes.insert(token), "a token twice");
                }
            }
            40 | 41 => {
                let filters = [(filter("f"), qos)];
                let token = if n % 2 == 0 {
                    self.client.subscribe(filters)
                } else {
                    self.client.unsubscribe(filters.map(|(filter, _)| filter))
                };
                assert!(token.is_err() || self.requests.insert(token.unwrap()), "a token twice");
            }
            42..=45 => {
                if !self.acks.is_empty() {
                    let _ = self.client.acknowledge(self.acks.swap_remove(n % self.acks.len()));
                }
            }
            46..=49 => {
                if self.client.connect(self.now).is_ok() {
                    self.wire.clear();
                }
            }
            50 => self.client.disconnect(),
            51 => self.client.handle_close(),
            52 if n % 4 == 0 => self.client.discard_session(),
            53 => {
                self.now = self.now + Duration::from_secs(n as u64 % 100);
                let _ = self.client.handle_timeout(self.now);
                assert!(self.client.poll_timeout().is_none_or(|due| due > self.now));
            }
            54 => drop(self.client.ping(self.now)),
            55 => self.client.pause_input(self.now),
            56 => self.client.resume_input(self.now),
            57 => self.input(&[]),
            58 => {
                let bytes = self.client.session().to_bytes();
                assert_eq!(Session::from_bytes(&bytes).unwrap().to_bytes(), bytes);
            }
            _ => self.take(n % 200),
        }
        assert!(self.client.output_len() < 10_000);
    }

    fn take(&mut self, max: usize) {
        let mut output = self.client.poll_output(self.now);
        let bytes = output.copy_to_bytes(max.min(output.remaining()));
        self.wire.extend_from_slice(&bytes);
        // Whatever goes out is well-formed, and nothing follows a DISCONNECT.
        let decoder = Decoder::new(self.version, Direction::ToServer);
        let mut at = 0;
        while let Decoded::Packet(packet, len) = decoder.decode(&self.wire[at..]).unwrap() {
            at += len;
            if packet.packet_type() == PacketType::Disconnect {
                assert_eq!(at, self.wire.len());
                assert_eq!(self.client.state(), State::Disconnected);
            }
        }
        self.wire.drain(..at);
    }

    fn input(&mut self, mut bytes: &[u8]) {
        loop {
            match self.client.handle_input(&mut bytes, self.now) {
                Ok(None) => return,
                Err(_) => {
                    assert_eq!(self.client.state(), State::Disconnected);
                    assert!(!self.client.has_output());
                    return;
                }
                Ok(Some(event)) => match event {
                    Event::Message(message) => self.acks.extend(message.ack),
                    Event::Published { token, .. } => assert!(self.publishes.remove(&token), "twice"),
                    Event::Subscribed { token, .. }
                    | Event::Unsubscribed { token }
                    | Event::RequestFailed { token, .. } => assert!(self.requests.remove(&token), "twice"),
                    _ => {}
                },
            }
        }
    }
}

fn options(n: u16, version: ProtocolVersion) -> Options {
    let policies = [SessionLoss::Fail, SessionLoss::RepublishQos1, SessionLoss::RepublishAll];
    Options::new("c")
        .version(version)
        .clean_session(n & 1 != 0)
        .pipeline(n & 2 != 0)
        .queue_qos0(n & 4 != 0)
        .ack_mode(if n & 8 != 0 { AckMode::Manual } else { AckMode::Automatic })
        .session_loss(policies[usize::from(n / 16) % 3])
        .max_in_flight(1 + u32::from(n / 48) % 4)
        .max_queue_len(10)
        .max_requests(4)
        .max_queue_size(500)
        .keep_alive(Duration::from_secs(u64::from(n) % 50))
}

#[test]
fn anything_at_any_time() {
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let step = (0_u8..75, 1_u16..7, any::<usize>());
    let case = (any::<u16>(), any::<bool>(), prop::collection::vec(step, 1..300));
    TestRunner::new_with_rng(config, rng)
        .run(&case, |(n, old, steps)| {
            let version = if old { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };
            let mut chaos = Chaos {
                client: Client::new(options(n, version)).unwrap(),
                now: Time::from_epoch(Duration::from_secs(100)),
                version,
                publishes: HashSet::new(),
                requests: HashSet::new(),
                acks: Vec::new(),
                wire: Vec::new(),
            };
            for step in steps {
                chaos.step(step);
            }
            chaos.client.discard_session();
            chaos.input(&[]);
            assert!(chaos.publishes.is_empty() && chaos.requests.is_empty(), "never resolved");
            assert!(chaos.client.session().is_empty());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
