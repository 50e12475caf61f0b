//! What the examples of run loops have in common, and what is no part of a run loop: a broker, a wire that is cut, and
//! the account of what was sent and what arrived.

mod broker;
mod wire;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mqtt_client::{Backoff, Options, ProtocolVersion, QoS};

/// How many messages each client sends with each QoS.
pub(crate) const MESSAGES: usize = 5;

pub(crate) const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// How long to wait for a broker, or for a message of its, before all is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker behind a wire.
pub(crate) struct Stage {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    version: ProtocolVersion,
    wire: Receiver<wire::Seen>,
}

impl Stage {
    /// Understands the arguments: `host:port` is a broker, without it there is one in memory; `--v31` is MQTT 3.1.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let (v31, uri): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it == "--v31");
        let version = if v31.is_empty() { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
        let broker = match uri.first() {
            Some(uri) => uri.trim_start_matches("mqtt://").to_owned(),
            None => broker::start()?.to_string(),
        };
        let (address, wire) = wire::start(broker, version)?;
        Ok(Self { address, version, wire })
    }

    /// The options of a client: a Session that is kept, and short pauses, since the cuts are on purpose.
    pub(crate) fn options(&self, client_id: &str) -> Options {
        let pauses = Backoff::default().initial(Duration::from_millis(50)).max(Duration::from_secs(1));
        Options::new(client_id).version(self.version).clean_session(false).backoff(pauses)
    }

    /// Prints what became of the messages. A success if none was lost or doubled, although the wire of each client was
    /// cut twice, and each client left with a DISCONNECT.
    pub(crate) fn end(self, tallies: &[&Tally]) -> ExitCode {
        let (mut goodbyes, mut cuts) = (0, 0);
        while goodbyes < tallies.len() {
            match self.wire.recv_timeout(Duration::from_secs(5)) {
                Ok(wire::Seen::Disconnect) => goodbyes += 1,
                Ok(wire::Seen::Cut) => cuts += 1,
                Err(_) => break,
            }
        }
        println!("{} clients, {cuts} cuts of their wires, {goodbyes} DISCONNECTs", tallies.len());
        let mut is_right = goodbyes == tallies.len() && cuts == tallies.len() * wire::CUTS;
        for qos in EACH_QOS {
            let copies = || tallies.iter().flat_map(|tally| &tally.copies[qos as usize]);
            let lost = copies().filter(|copies| **copies == 0).count();
            let doubled = copies().filter(|copies| **copies > 1).count();
            println!("QoS {}: {} sent, {lost} lost, {doubled} doubled", qos as u8, copies().count());
            is_right &= lost + doubled == 0;
        }
        if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// How often each message of a client has arrived.
#[derive(Default)]
pub(crate) struct Tally {
    copies: [[usize; MESSAGES]; 3],
}

impl Tally {
    /// The payload of a message.
    pub(crate) fn text(qos: QoS, number: usize) -> String {
        format!("{} {number}", qos as u8)
    }

    pub(crate) fn arrived(&mut self, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let place =
            text.split_once(' ').and_then(|(qos, number)| Some((qos.parse().ok()?, number.parse().ok()?)));
        let counter =
            place.and_then(|(qos, number): (usize, usize)| self.copies.get_mut(qos)?.get_mut(number));
        if let Some(counter) = counter {
            *counter += 1;
        }
    }

    /// Whether all messages with this QoS are there.
    pub(crate) fn has_all(&self, qos: QoS) -> bool {
        self.copies[qos as usize].iter().all(|copies| *copies > 0)
    }
}

/// A random number for [`Backoff`], from the randomness with which std seeds its hash maps.
pub(crate) fn random() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

/// A client identifier that no other run has: within the 23 characters that MQTT 3.1 allows.
pub(crate) fn client_id(name: &str) -> String {
    format!("{name}-{:08x}", random())
}
