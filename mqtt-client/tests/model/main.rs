//! Random commands, packets (legal and illegal), cuts, reconnects and time, against a naive model of the Server and of
//! what the client has promised.
//!
//! `MQTT_MODEL_CASES` sets the number of cases; with it, they are different ones each time, unless `MQTT_MODEL_SEED` is
//! the seed that an earlier run printed. A step is a command, a packet of the Server, a time or a fault.

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod run;
mod server;

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use mqtt_client::{AckMode, Options, Oversize, ProtocolVersion, QoS, Retransmission, SessionLoss, Timed};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// What timed retransmission waits for.
const INITIAL: Duration = Duration::from_secs(2);
const CAP: Duration = Duration::from_secs(30);
const BANDWIDTH: u32 = 20;
const ACK_TIMEOUT: Duration = Duration::from_secs(90);

/// The Server's messages above this are skipped.
const MAX_PACKET_SIZE: usize = 150;

/// One step of a case. Numbers select among what there is, modulo its count.
#[derive(Debug, Clone)]
enum Step {
    Publish {
        qos: QoS,
        size: usize,
    },
    /// Takes a publish back.
    Cancel(usize),
    /// Gives a publish so many seconds to live.
    Expire(usize, u64),
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
    /// The same, above the limit of the client.
    ServerPublishLarge(QoS),
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
    timed: bool,
    ack_timeout: bool,
    /// Into pieces of what size the input is cut, for the comparison.
    chunk: usize,
}

impl Settings {
    fn version(&self) -> ProtocolVersion {
        if self.old { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 }
    }

    fn retransmission(&self) -> Retransmission {
        if self.timed {
            Retransmission::Timed(Timed::default().initial(INITIAL).factor(2).cap(CAP).bandwidth(BANDWIDTH))
        } else {
            Retransmission::OnReconnect
        }
    }

    fn options(&self) -> Options {
        Options::new("c")
            .max_in_flight(self.window)
            .clean_session(self.clean)
            .version(self.version())
            .retransmission(self.retransmission())
            .ack_timeout(self.ack_timeout.then_some(ACK_TIMEOUT))
            .max_packet_size(MAX_PACKET_SIZE)
            .oversize(Oversize::Skip)
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
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (any::<usize>(), 0_u64..40).prop_map(|(n, seconds)| Step::Expire(n, seconds)),
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
        1 => qos().prop_map(Step::ServerPublishLarge),
        1 => any::<usize>().prop_map(Step::Rogue),
        8 => prop_oneof![3 => 1_u64..12, 1 => 1_u64..80].prop_map(Step::Time),
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
    let timing = (prop::bool::weighted(0.5), switch);
    (1_u32..6, switch, switch, policy, switch, switch, switch, timing, 1_usize..9).prop_map(
        |(window, clean, old, policy, pipeline, manual, queue_qos0, (timed, ack_timeout), chunk)| Settings {
            window,
            clean,
            old,
            policy,
            pipeline,
            manual,
            queue_qos0,
            timed,
            ack_timeout,
            chunk,
        },
    )
}

#[test]
fn behaves_as_the_model() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases: Option<u64> = number("MQTT_MODEL_CASES");
    let fresh = || UNIX_EPOCH.elapsed().map_or(0, |since: Duration| since.as_nanos() as u64);
    let seed = number("MQTT_MODEL_SEED").unwrap_or_else(|| if cases.is_some() { fresh() } else { 0 });
    let cases = cases.map_or(700, |cases| cases as u32);
    println!("seed {seed}");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let case = (settings(), prop::collection::vec(step(), 1..250));
    let (steps_run, copies) = (Cell::new(0), Cell::new(0));
    runner
        .run(&case, |(settings, steps)| {
            let mut run = run::Run::new(settings);
            for step in steps {
                run.step(step);
            }
            run.finish();
            steps_run.set(steps_run.get() + run.steps);
            copies.set(copies.get() + run.copies);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    println!("{} steps, {} packets sent again after a time", steps_run.get(), copies.get());
    assert!(steps_run.get() >= u64::from(cases) * 140, "{} steps", steps_run.get());
}
