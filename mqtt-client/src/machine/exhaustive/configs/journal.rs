//! What is explored of a client whose Session is in a store, and of Sessions that no CONNACK told of.

use super::{Config, Faults, LINK, NO_FAULTS, PLAIN, Q1, Q2, explore};

/// The program crashes between any two changes of the store; the Server keeps its Session.
const CRASH: Faults = Faults { cut: true, lose: true, crash: true, ..NO_FAULTS };

/// The Server may lose the Session, and begin one of which no CONNACK tells.
const GAP: Faults = Faults { gap: true, ..LINK };

const JOURNAL: Config = Config { journal: true, faults: CRASH, ..PLAIN };

/// What the application makes of a message is written in one transaction with what acknowledges it.
const TRANSACTIONS: Config = Config { manual: true, transactions: true, ..JOURNAL };

#[test]
fn publishing() {
    explore(&Config { name: "journal, out 2 1", publishes: &[Q2, Q1], ..JOURNAL });
    explore(&Config { name: "journal, out 2 2", publishes: &[Q2, Q2], ..JOURNAL });
    explore(&Config { name: "journal, out 1 2 window 1", publishes: &[Q1, Q2], window: 1, ..JOURNAL });
}

#[test]
fn receiving() {
    explore(&Config { name: "journal, in 2 2", incoming: &[Q2, Q2], ..JOURNAL });
    explore(&Config { name: "journal, process 2 1", incoming: &[Q2, Q1], ..TRANSACTIONS });
    explore(&Config { name: "journal, process 2 2", incoming: &[Q2, Q2], ..TRANSACTIONS });
}

#[test]
fn requests() {
    let faults = Faults { gap: true, forget: true, cut: true, crash: true, ..NO_FAULTS };
    explore(&Config { name: "journal, gap, subscribe", requests: 1, faults, ..JOURNAL });
}

/// The subscription is there in the end. Of messages this holds, and no more can, since nothing tells the client: QoS 2
/// is passed on once for each Session of the Server; and a message of the Server is taken for a copy if its identifier
/// is that of a QoS 2 message of the Session before, whose PUBREL was never sent.
#[test]
fn untold_sessions() {
    let gap = Config { faults: GAP, ..PLAIN };
    explore(&Config { name: "gap, subscribe, out 1", publishes: &[Q1], requests: 1, ..gap });
    explore(&Config { name: "gap, out 2 1", publishes: &[Q2, Q1], ..gap });
    explore(&Config { name: "gap, in 2 1", incoming: &[Q2, Q1], ..gap });
}

/// The same with more at once; needs `--release`.
#[test]
#[ignore = "takes minutes"]
fn full() {
    let forget = Faults { forget: true, gap: true, ..CRASH };
    let bytes = Faults { bytes: true, disconnect: true, ..CRASH };
    for config in [
        Config { name: "journal, and unsubscribe", requests: 2, faults: forget, ..JOURNAL },
        Config { name: "journal, out 1 subscribe", publishes: &[Q1], requests: 1, ..JOURNAL },
        Config { name: "journal, forget, out 2 1", publishes: &[Q2, Q1], faults: forget, ..JOURNAL },
        Config { name: "journal, out 2 2 1", publishes: &[Q2, Q2, Q1], ..JOURNAL },
        Config { name: "journal, out 2 1 by bytes", publishes: &[Q2, Q1], faults: bytes, ..JOURNAL },
        Config { name: "journal, out 2 in 2", publishes: &[Q2], incoming: &[Q2], ..JOURNAL },
        Config { name: "journal, out 2 process 2", publishes: &[Q2], incoming: &[Q2], ..TRANSACTIONS },
        Config { name: "journal, process 2 1 2", incoming: &[Q2, Q1, Q2], ..TRANSACTIONS },
        Config { name: "gap, out 2 in 2", publishes: &[Q2], incoming: &[Q2], faults: GAP, ..PLAIN },
    ] {
        explore(&Config { max_states: 12_000_000, ..config });
    }
}
