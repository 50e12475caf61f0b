//! A hundred clients in one thread over `mio`: each with a connection, timers and a pace of its own.
//!
//! ```text
//! cargo run --example mio_many                        against a broker in memory
//! cargo run --example mio_many -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Each sends messages to itself with each QoS while its wire is cut twice. Ends with 0 if none was lost or doubled.

mod exchange;
#[path = "../support/job.rs"]
mod job;
mod peer;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use mio::{Events, Poll, Token};
use mqtt_client::Time;

use peer::Peer;
use support::{PATIENCE, Stage, client_id};

const CLIENTS: usize = 100;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let stage = Stage::new()?;
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut peers = Vec::new();
    for number in 0..CLIENTS {
        peers.push(Peer::new(stage.options(&client_id(&format!("mio-{number}"))), now())?);
    }
    while !peers.iter().all(Peer::is_done) && start.elapsed() < PATIENCE {
        // A hundred are soon looked through; for many thousands, a heap would keep the order of the deadlines.
        for (number, peer) in peers.iter_mut().enumerate() {
            if peer.due().is_some_and(|due| due <= now()) {
                peer.turn(poll.registry(), Token(number), stage.address, now())?;
            }
        }
        let patience = PATIENCE.saturating_sub(start.elapsed());
        let due = peers.iter().filter_map(Peer::due).min();
        poll.poll(&mut events, Some(due.map_or(patience, |due| patience.min(due - now()))))?;
        for event in &events {
            if let Some(peer) = peers.get_mut(event.token().0) {
                peer.turn(poll.registry(), event.token(), stage.address, now())?;
            }
        }
    }
    Ok(stage.end(&peers.iter().map(|peer| &peer.job.tally).collect::<Vec<_>>()))
}
