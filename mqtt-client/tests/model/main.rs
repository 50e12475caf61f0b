//! Random commands, packets (legal and illegal), cuts, reconnects and time, against a naive model of the Server and of
//! what the client has promised.
//!
//! `MQTT_MODEL_CASES` sets the number of cases; with it, they are different ones each time.

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod run;
mod server;

use mqtt_client::{AckMode, Options, ProtocolVersion, QoS, Retransmission, SessionLoss};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// One step of a case. Numbers select among what there is, modulo its count.
#[derive(Debug, Clone)]
enum Step {
    Publish {
        qos: QoS,
        size: usize,
    },
    Subscribe(u8),
    Unsubscribe(u8),
    Ping,
    /// Acknowledges one of the received messages, maybe an old one.
    Acknowledge(usize),
    /// Connects; whether the Server still has the Session, if it can.
    Connect {
        kept: bool,
    },
    Disconnect,
    Discard,
    /// Ends the program and starts it again with another window.
    Restart {
        window: u32,
    },
    /// The transport takes so many bytes.
    Take(usize),
    TakeAll,
    /// The transport breaks.
    Cut,
    /// The Server sends one of its answers, in any order, or the next of what has an order.
    Answer(usize),
    Next,
    ServerPublish(QoS),
    /// Something that no good Server sends.
    Rogue(usize),
    Time(u64),
    Pause(bool),
}

#[derive(Debug, Clone)]
struct Settings {
    window: u32,
    clean: bool,
    /// MQTT 3.1. Its Server does not tell whether it kept the Session; here it always does.
    old: bool,
    policy: SessionLoss,
    pipeline: bool,
    manual: bool,
    queue_qos0: bool,
    /// Into pieces of what size the input is cut, for the comparison.
    chunk: usize,
}

impl Settings {
    fn version(&self) -> ProtocolVersion {
        if self.old { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 }
    }

    fn options(&self) -> Options {
        Options::new("c")
            .max_in_flight(self.window)
            .clean_session(self.clean)
            .version(self.version())
            .retransmission(Retransmission::OnReconnect)
            .session_loss(self.policy)
            .pipeline(self.pipeline)
            .ack_mode(if self.manual { AckMode::Manual } else { AckMode::Automatic })
            .queue_qos0(self.queue_qos0)
            .max_queue_len(20)
            .max_requests(8)
    }
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![9 => 0_usize..40, 1 => Just(20_000_usize)];
    prop_oneof![
        12 => (qos(), size).prop_map(|(qos, size)| Step::Publish { qos, size }),
        2 => (0_u8..4).prop_map(Step::Subscribe),
        1 => (0_u8..4).prop_map(Step::Unsubscribe),
        1 => Just(Step::Ping),
        4 => any::<usize>().prop_map(Step::Acknowledge),
        7 => prop::bool::weighted(0.7).prop_map(|kept| Step::Connect { kept }),
        1 => Just(Step::Disconnect),
        1 => prop::bool::weighted(0.3).prop_map(|discard| if discard { Step::Discard } else { Step::Cut }),
        1 => (1_u32..6).prop_map(|window| Step::Restart { window }),
        8 => (1_usize..80).prop_map(Step::Take),
        12 => Just(Step::TakeAll),
        2 => Just(Step::Cut),
        14 => any::<usize>().prop_map(Step::Answer),
        14 => Just(Step::Next),
        5 => qos().prop_map(Step::ServerPublish),
        1 => any::<usize>().prop_map(Step::Rogue),
        2 => (1_u64..80).prop_map(Step::Time),
        1 => any::<bool>().prop_map(Step::Pause),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let policy = prop_oneof![
        Just(SessionLoss::Fail),
        Just(SessionLoss::RepublishQos1),
        Just(SessionLoss::RepublishAll)
    ];
    let switch = prop::bool::weighted(0.3);
    (1_u32..6, switch, switch, policy, switch, switch, switch, 1_usize..9).prop_map(
        |(window, clean, old, policy, pipeline, manual, queue_qos0, chunk)| Settings {
            window,
            clean,
            old,
            policy,
            pipeline,
            manual,
            queue_qos0,
            chunk,
        },
    )
}

#[test]
fn behaves_as_the_model() {
    let cases = std::env::var("MQTT_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config { cases: cases.unwrap_or(400), failure_persistence: None, ..Config::default() };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let case = (settings(), prop::collection::vec(step(), 1..250));
    runner
        .run(&case, |(settings, steps)| {
            let mut run = run::Run::new(settings);
            for step in steps {
                run.step(step);
            }
            run.finish();
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
