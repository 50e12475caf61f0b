//! What is explored.

mod journal;

use mqtt_codec::{ProtocolVersion, QoS};

use super::search::explore;
use super::world::{Action, World};
use super::{Config, Faults};
use crate::policies::SessionLoss;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

const NO_FAULTS: Faults = Faults {
    cut: false,
    lose: false,
    bytes: false,
    forget: false,
    repeat: false,
    rogue: false,
    refuse: false,
    disconnect: false,
    discard: false,
    restart: false,
    cancel: false,
    hold: false,
    crash: false,
    gap: false,
    expire: false,
    pause: false,
    timers: false,
};

/// The link breaks anywhere, with and without the Session.
const LINK: Faults = Faults { cut: true, lose: true, bytes: true, forget: true, ..NO_FAULTS };

const PLAIN: Config = Config {
    name: "",
    publishes: &[],
    incoming: &[],
    requests: 0,
    window: 2,
    window_qos2: 2,
    ids: 3,
    version: ProtocolVersion::V3_1_1,
    loss: SessionLoss::RepublishQos1,
    clean: false,
    manual: false,
    pipeline: false,
    queue_qos0: false,
    journal: false,
    transactions: false,
    faults: LINK,
    max_states: 2_000_000,
};

/// The Server sends packets twice.
const REPEATED: Faults = Faults { repeat: true, ..LINK };

/// The Server acknowledges what it should not.
const ROGUE: Faults = Faults { rogue: true, ..LINK };

/// The same with more messages and more faults at once; needs `--release`.
#[test]
#[ignore = "takes minutes"]
fn full() {
    let all = Faults { disconnect: true, refuse: true, ..REPEATED };
    let both = Faults { rogue: true, ..REPEATED };
    let stored = Faults { restart: true, cancel: true, disconnect: true, ..LINK };
    let timed = Faults { timers: true, disconnect: true, ..LINK };
    let held = Faults { hold: true, ..all };
    let version = ProtocolVersion::V3_1;
    let loss = SessionLoss::RepublishAll;
    let told = Faults { forget: false, timers: true, ..REPEATED };
    for config in [
        Config { name: "out 2 1 2 in 2 1", publishes: &[Q2, Q1, Q2], incoming: &[Q2, Q1], ..PLAIN },
        Config { name: "out 1 2 subscribe", publishes: &[Q1, Q2], requests: 1, ..PLAIN },
        Config { name: "republish all 2 1 2", publishes: &[Q2, Q1, Q2], loss, ..PLAIN },
        Config { name: "out 1 2 1, all faults", publishes: &[Q1, Q2, Q1], faults: all, ..PLAIN },
        Config {
            name: "out 2 in 2 1, all faults",
            publishes: &[Q2],
            incoming: &[Q2, Q1],
            faults: all,
            ..PLAIN
        },
        Config {
            name: "in 2 1 2 manual, all faults",
            incoming: &[Q2, Q1, Q2],
            manual: true,
            faults: held,
            ..PLAIN
        },
        Config { name: "out 1 2, rogue", publishes: &[Q1, Q2], faults: ROGUE, ..PLAIN },
        Config {
            name: "out 2 in 2, rogue, repeated",
            publishes: &[Q2],
            incoming: &[Q2],
            faults: both,
            ..PLAIN
        },
        Config {
            name: "restart 2 1 2 in 2",
            publishes: &[Q2, Q1, Q2],
            incoming: &[Q2],
            faults: stored,
            ..PLAIN
        },
        Config { name: "timers 1, subscribe", publishes: &[Q1], requests: 1, faults: timed, ..PLAIN },
        Config { name: "timers 2 1", publishes: &[Q2, Q1], faults: timed, ..PLAIN },
        Config { name: "3.1 timers 2", publishes: &[Q2], version, faults: told, ..PLAIN },
    ] {
        explore(&Config { max_states: 12_000_000, ..config });
    }
}

#[test]
fn publishing() {
    explore(&Config { name: "out 1 2 1", publishes: &[Q1, Q2, Q1], ..PLAIN });
    explore(&Config { name: "out 2 2 1", publishes: &[Q2, Q2, Q1], ..PLAIN });
    explore(&Config { name: "out 2 1 2 window 1", publishes: &[Q2, Q1, Q2], window: 1, ids: 2, ..PLAIN });
    explore(&Config {
        name: "out 2 2 1 window of QoS 2 1",
        publishes: &[Q2, Q2, Q1],
        window_qos2: 1,
        ..PLAIN
    });
}

#[test]
fn lost_sessions() {
    for (name, loss) in [("fail", SessionLoss::Fail), ("republish all", SessionLoss::RepublishAll)] {
        explore(&Config { name, publishes: &[Q2, Q1], loss, ..PLAIN });
    }
    let faults = Faults { discard: true, ..LINK };
    explore(&Config { name: "clean, discard", publishes: &[Q2, Q1], clean: true, faults, ..PLAIN });
    explore(&Config { name: "clean, subscribe", requests: 2, clean: true, faults, ..PLAIN });
}

#[test]
fn repeated_packets() {
    explore(&Config { name: "repeated, out 1 2", publishes: &[Q1, Q2], faults: REPEATED, ..PLAIN });
    explore(&Config {
        name: "repeated, out 2 in 2",
        publishes: &[Q2],
        incoming: &[Q2],
        faults: REPEATED,
        ..PLAIN
    });
}

#[test]
fn unknown_packets() {
    explore(&Config { name: "rogue, out 1", publishes: &[Q1], faults: ROGUE, ..PLAIN });
    explore(&Config { name: "rogue, out 2 1", publishes: &[Q2, Q1], window: 1, faults: ROGUE, ..PLAIN });
    explore(&Config { name: "rogue, subscribe", requests: 1, faults: ROGUE, ..PLAIN });
}

#[test]
fn receiving() {
    let manual = Faults { hold: true, disconnect: true, ..REPEATED };
    explore(&Config { name: "in 2 1 2 0", incoming: &[Q2, Q1, Q2, Q0], ..PLAIN });
    explore(&Config { name: "in 2 1 repeated", incoming: &[Q2, Q1], faults: REPEATED, ..PLAIN });
    explore(&Config { name: "in 2 manual", incoming: &[Q2], manual: true, faults: manual, ..PLAIN });
    explore(&Config { name: "in 1 2 manual", incoming: &[Q1, Q2], manual: true, faults: manual, ..PLAIN });
    explore(&Config { name: "in 2 1 2 manual", incoming: &[Q2, Q1, Q2], manual: true, ..PLAIN });
}

#[test]
fn both_ways() {
    explore(&Config { name: "out 2 1 in 2", publishes: &[Q2, Q1], incoming: &[Q2], ..PLAIN });
    explore(&Config {
        name: "out 2 in 2 1 manual",
        publishes: &[Q2],
        incoming: &[Q2, Q1],
        manual: true,
        ..PLAIN
    });
}

#[test]
fn requests() {
    explore(&Config { name: "out 1 subscribe", publishes: &[Q1], requests: 1, ..PLAIN });
    explore(&Config { name: "subscribe, unsubscribe", incoming: &[Q2], requests: 2, ..PLAIN });
}

#[test]
fn before_the_connack() {
    let faults = Faults { refuse: true, disconnect: true, ..LINK };
    explore(&Config { name: "pipeline", publishes: &[Q2, Q1, Q0], pipeline: true, faults, ..PLAIN });
    explore(&Config { name: "queue QoS 0", publishes: &[Q0, Q1, Q0], queue_qos0: true, faults, ..PLAIN });
}

#[test]
fn restarts_and_cancelling() {
    let faults = Faults { restart: true, cancel: true, ..LINK };
    explore(&Config { name: "restart, cancel", publishes: &[Q2, Q1], faults, ..PLAIN });
    explore(&Config { name: "restart, in 2", incoming: &[Q2, Q1], faults, ..PLAIN });
}

#[test]
fn time() {
    let faults = Faults { timers: true, disconnect: true, ..LINK };
    explore(&Config { name: "timers, out 2", publishes: &[Q2], faults, ..PLAIN });
    explore(&Config { name: "timers, out 1", publishes: &[Q1], faults, ..PLAIN });
    let faults = Faults { timers: true, cut: true, forget: true, ..NO_FAULTS };
    explore(&Config { name: "timers, subscribe", requests: 1, faults, ..PLAIN });
}

/// MQTT 3.1 does not tell whether the Session was kept, so that here it is.
#[test]
fn version_3_1() {
    let version = ProtocolVersion::V3_1;
    let faults = Faults { forget: false, ..REPEATED };
    explore(&Config { name: "3.1 out 2 1", publishes: &[Q2, Q1], version, faults, ..PLAIN });
    explore(&Config { name: "3.1 in 2 1", incoming: &[Q2, Q1], version, faults, ..PLAIN });
    let faults = Faults { timers: true, ..faults };
    explore(&Config { name: "3.1 timers", publishes: &[Q1], version, faults, ..PLAIN });
}

/// Where it is not: the client goes on as if it were, so that QoS 2 is once for each Session of the Server.
#[test]
fn version_3_1_with_lost_sessions() {
    let faults = Faults { gap: true, ..LINK };
    let lost = Config { version: ProtocolVersion::V3_1, faults, ..PLAIN };
    explore(&Config { name: "3.1 lost, out 2 1", publishes: &[Q2, Q1], ..lost });
    explore(&Config { name: "3.1 lost, in 2 1", incoming: &[Q2, Q1], ..lost });
    explore(&Config { name: "3.1 lost, subscribe", requests: 1, ..lost });
}

#[test]
fn expiring_and_pausing() {
    let faults = Faults { cut: true, expire: true, ..NO_FAULTS };
    explore(&Config { name: "expire 2 1", publishes: &[Q2, Q1], window: 1, faults, ..PLAIN });
    let faults = Faults { pause: true, ..LINK };
    explore(&Config { name: "pause 2 1", publishes: &[Q2, Q1], faults, ..PLAIN });
}

/// What tells two states apart leaves parts of the core out, each for a reason: see `project.rs`. A new field needs one
/// too, or a place in the projection; then add it here.
#[test]
fn every_field_is_known() {
    const KNOWN: &str = "accepted acknowledged acks again ambiguous at_least_once at_most_once attempt \
        attempted attempts bandwidth bytes cancelled cap changes connect_packet connection connections \
        connections_lost decoder delivered digests direction dropped due dup duplicates enabled end events \
        exactly_once expired expiries expiring factor fallback_packet fetched filters first flow free id \
        ids in_flight in_flight_qos2 initial interval jitter journal keep_alive kind last last_number \
        last_received last_sent len link links max_packet_size message messages next not_before noted \
        number of open_until order outbox outdated outgoing owner packet paused payload_len pending \
        ping_end ping_round_trip pinged_at pingreqs previous pubrecs qos queue queue_paused queued \
        queued_size received released requests requests_due resent retain retransmitted rule saved seed \
        seen sending sent sent_at sent_until session skipped skipping slab slots smoothed_ping_round_trip \
        stage stalled_since stats stored subscriptions taken timeout timers topic unknown_acknowledgements \
        unsent_size unsettled unsolicited_pingresps version waiting_since words";
    let faults = Faults { timers: true, ..LINK };
    let config = Config {
        publishes: &[Q2, Q2],
        incoming: &[Q2],
        requests: 2,
        window: 1,
        manual: true,
        faults,
        ..PLAIN
    };
    let mut world = World::new(&config);
    for action in [
        Action::Request,
        Action::Connect,
        Action::TakeAndForget,
        Action::Connack,
        Action::Publish,
        Action::Publish,
        Action::Take,
        Action::Answer(0),
        Action::Send(0),
        Action::Hold(0),
        Action::Request,
        Action::Ping,
    ] {
        world.apply(action, &config).unwrap();
    }
    assert_eq!(world.fields(), KNOWN);
}
