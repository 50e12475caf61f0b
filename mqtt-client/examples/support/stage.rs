//! What the examples of run loops have in common: a broker behind a wire that is cut, a deadline, and the verdict.

use std::error::Error;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::process::{self, ExitCode};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use mqtt_client::{Backoff, Options, ProtocolVersion};

use super::tally::{self, Tally};
use super::{broker, wire};

/// How long an example may take before all is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker behind a wire.
pub(crate) struct Stage {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    version: ProtocolVersion,
    wire: Receiver<wire::Seen>,
}

impl Stage {
    /// Understands the arguments: `host:port` is a broker, without it there is one in memory; `--v31` is MQTT 3.1. From
    /// now on the time runs: whoever waits for something that never comes fails.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let (v31, uri): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it == "--v31");
        let version = if v31.is_empty() { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
        let broker = match uri.first() {
            Some(uri) => uri.trim_start_matches("mqtt://").to_owned(),
            None => broker::start()?.to_string(),
        };
        let (address, wire) = wire::start(broker, version)?;
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            give_up(&"it takes too long");
        });
        Ok(Self { address, version, wire })
    }

    /// The options of a client: a Session that is kept, and short pauses, since the cuts are on purpose. Its identifier
    /// is one that no other run has, within the 23 characters that MQTT 3.1 allows.
    pub(crate) fn options(&self, name: &str) -> Options {
        let pauses = Backoff::default().initial(Duration::from_millis(50)).max(Duration::from_secs(1));
        let client_id = format!("{name}-{:08x}", random());
        Options::new(client_id).version(self.version).clean_session(false).backoff(pauses)
    }

    /// Prints what became of the messages. A success if none was lost or doubled, although the wire of each client was
    /// cut again and again, and each client left with a DISCONNECT.
    pub(crate) fn end<'a>(self, tallies: impl IntoIterator<Item = &'a Tally>) -> ExitCode {
        let tallies: Vec<_> = tallies.into_iter().collect();
        let clients = tallies.len();
        let (mut goodbyes, mut cuts) = (0, 0);
        while goodbyes < clients {
            match self.wire.recv_timeout(Duration::from_secs(5)) {
                Ok(wire::Seen::Disconnect) => goodbyes += 1,
                Ok(wire::Seen::Cut) => cuts += 1,
                Err(_) => break,
            }
        }
        println!("{clients} clients, {cuts} cuts of their wires, {goodbyes} DISCONNECTs");
        let is_right = tally::print(&tallies) && goodbyes == clients && cuts == clients * wire::CUTS;
        if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Ends the example: what it is about has failed.
pub(crate) fn give_up(why: &dyn Debug) -> ! {
    println!("gives up: {why:?}");
    process::exit(1)
}

/// A random number for [`Backoff`], from the randomness with which std seeds its hash maps.
pub(crate) fn random() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}
