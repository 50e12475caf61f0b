//! One scenario with all that MQTT has, and the link cut after every single byte of it, in each direction.
//!
//! After each cut the client connects again and goes on to the end of the script, with a Server that has kept its
//! Session or lost it. Then every publish and request is resolved once, no QoS 2 message came twice, none with QoS 1 is
//! missing unless that was reported, and DUP, identifiers and order were right on every connection. And the same
//! scenario with input and output cut into pieces of every size: nothing may change.
//!
//! Each test prints how many cases it ran. `MQTT_CUT_STRIDE=1` asks for all pairs of cuts instead of some: twenty million,
//! which takes many minutes even with `--release`.

mod checks;
mod script;
mod server;
mod world;

use mqtt_client::{AckMode, Options, ProtocolVersion, SessionLoss};

use world::{Trace, World};

/// What becomes of the Server's Session when the link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerSession {
    Kept,
    Lost,
    /// The client asks for a clean one each time.
    Clean,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    version: ProtocolVersion,
    session: ServerSession,
    policy: SessionLoss,
    ack_mode: AckMode,
    /// The size of the large payload; from 16 KiB on it goes out by reference.
    large: usize,
}

impl Settings {
    fn options(&self) -> Options {
        Options::new("c")
            .version(self.version)
            .clean_session(self.session == ServerSession::Clean)
            .session_loss(self.policy)
            .ack_mode(self.ack_mode)
    }
}

/// A payload of this size goes out by reference.
const BY_REFERENCE: usize = 16 * 1024;
/// One of this size is copied, but its Remaining Length has two bytes.
const COPIED: usize = 150;

/// All fates of the Session and modes of acknowledgement.
fn all_settings(version: ProtocolVersion) -> impl Iterator<Item = Settings> {
    use ServerSession::{Clean, Kept, Lost};
    use SessionLoss::{Fail, RepublishAll, RepublishQos1};
    let sessions = [
        (Kept, RepublishQos1),
        (Lost, RepublishQos1),
        (Lost, RepublishAll),
        (Lost, Fail),
        (Clean, RepublishQos1),
    ];
    sessions.into_iter().flat_map(move |(session, policy)| {
        [AckMode::Automatic, AckMode::Manual].map(|ack_mode| Settings {
            version,
            session,
            policy,
            ack_mode,
            large: COPIED,
        })
    })
}

/// Cuts the link wherever it is due, and counts.
struct Cuts<'a> {
    /// For the first cut, the second and so on: at every how many bytes.
    strides: &'a [usize],
    /// How many bytes were passed, for each of the cuts.
    passed: Vec<usize>,
    /// How often the scenario was played to its end.
    cases: usize,
}

impl<'a> Cuts<'a> {
    /// Runs the scenario with as many cuts as there are strides, and returns how many cases that were.
    fn of(strides: &'a [usize], settings: Settings) -> usize {
        let mut cuts = Self { strides, passed: vec![0; strides.len()], cases: 0 };
        cuts.explore(World::new(settings), 0);
        assert!(cuts.cases > 100, "{settings:?}");
        cuts.cases
    }

    /// Plays on and tries a cut at each byte: to the end of the script, or behind another cut until all that it left
    /// is done.
    fn explore(&mut self, mut world: World, depth: usize) {
        loop {
            world.prepare();
            while world.output_len() > 0 {
                let len = world.output_len();
                for count in 0..=len {
                    if self.is_due(depth) {
                        self.cut(&world, depth, |world| world.take(count, true));
                        self.cut(&world, depth, |world| world.take(count, false));
                    }
                }
                world.take(len, true);
            }
            let len = world.server.output.len();
            for count in 1..=len {
                if self.is_due(depth) {
                    self.cut(&world, depth, |world| world.give(count));
                }
            }
            world.give(len);
            if world.is_done() || (depth > 0 && world.is_idle()) {
                return world.finish();
            }
        }
    }

    fn is_due(&mut self, depth: usize) -> bool {
        self.passed[depth] += 1;
        self.passed[depth] % self.strides[depth] == 0
    }

    fn cut(&mut self, world: &World, depth: usize, last_bytes: impl FnOnce(&mut World)) {
        let mut world = world.clone();
        last_bytes(&mut world);
        world.cut();
        if depth + 1 < self.strides.len() {
            self.explore(world, depth + 1);
        } else {
            self.cases += 1;
            world.finish();
        }
    }
}

#[test]
fn cut_after_every_byte() {
    let cases: usize = all_settings(ProtocolVersion::V3_1_1).map(|settings| Cuts::of(&[1], settings)).sum();
    println!("MQTT 3.1.1: {cases} cuts");
}

#[test]
fn cut_after_every_byte_v3_1() {
    let cases: usize = all_settings(ProtocolVersion::V3_1).map(|settings| Cuts::of(&[1], settings)).sum();
    println!("MQTT 3.1: {cases} cuts");
}

#[test]
fn cut_after_every_byte_of_a_payload_by_reference() {
    let settings = all_settings(ProtocolVersion::V3_1_1).next().unwrap();
    let cases = Cuts::of(&[1], Settings { large: BY_REFERENCE, ..settings });
    println!("a payload by reference: {cases} cuts");
}

#[test]
fn cut_again_while_it_resumes() {
    let stride: usize = std::env::var("MQTT_CUT_STRIDE").map_or(97, |stride| stride.parse().unwrap());
    let strides = [stride, stride.div_ceil(4)];
    let versions = [ProtocolVersion::V3_1_1, ProtocolVersion::V3_1];
    let all = versions.into_iter().flat_map(all_settings);
    let cases: usize = all.map(|settings| Cuts::of(&strides, settings)).sum();
    println!("{cases} pairs of cuts");
}

/// Plays the scenario with output in pieces of `size` bytes, and input too but for the first piece, which has `first`.
fn in_pieces(settings: Settings, first: usize, size: usize) -> Trace {
    let mut world = World::new(settings).traced();
    let mut next = first;
    while !world.is_done() {
        world.prepare();
        while world.output_len() > 0 {
            world.take(world.output_len().min(size), true);
        }
        while !world.server.output.is_empty() {
            let count = world.server.output.len().min(next);
            world.give(count);
            next = if count < next { next - count } else { size };
        }
    }
    let trace = world.trace();
    world.finish();
    trace
}

#[test]
fn in_pieces_of_every_size() {
    let versions = [ProtocolVersion::V3_1_1, ProtocolVersion::V3_1];
    let all = versions.into_iter().flat_map(all_settings);
    let mut cases = 0;
    for settings in all.filter(|settings| settings.session == ServerSession::Kept) {
        let whole = in_pieces(settings, usize::MAX, usize::MAX);
        assert!(whole.fed > 300 && !whole.events.is_empty());
        for size in 1..=whole.fed {
            assert_eq!(in_pieces(settings, size, size), whole, "in pieces of {size}");
            assert_eq!(in_pieces(settings, size, usize::MAX), whole, "in two pieces, at {size}");
            cases += 2;
        }
    }
    println!("{cases} ways to cut input and output into pieces");
}

#[test]
fn a_payload_by_reference_in_pieces() {
    let settings = all_settings(ProtocolVersion::V3_1_1).next().unwrap();
    let settings = Settings { large: BY_REFERENCE, ..settings };
    let whole = in_pieces(settings, usize::MAX, usize::MAX);
    for size in (1..300).chain(BY_REFERENCE - 300..BY_REFERENCE + 300) {
        assert_eq!(in_pieces(settings, size, size), whole, "in pieces of {size}");
    }
}
