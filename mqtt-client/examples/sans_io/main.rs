//! The run loop on one thread over `std::net::TcpStream`: blocking reads with time-outs, and no runtime. The loop is in `run.rs`.
//!
//! `cargo run --example sans_io` has a broker in memory; `-- mqtt://127.0.0.1:1883` is one of yours; `--v31` speaks 3.1.
//! Sends messages to itself with each QoS while its wire is cut. Ends with 0 if none was lost or doubled.

mod run;
#[path = "../support/job.rs"]
mod support;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use mqtt_client::{Client, Event, PubSub};

use support::{Job, Stage};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let stage = Stage::new()?;
    let mut client = Client::new(stage.options("sans-io"))?;
    let mut job = Job::new(&mut client)?;
    run::run(&mut client, &mut job, stage.address)?;
    Ok(stage.end([&job.tally]))
}

impl run::App for Job {
    fn handle(&mut self, event: &Event<'_>, client: &mut Client<PubSub>) {
        Self::handle(self, event, client);
    }

    fn commands(&mut self, _: &mut Client<PubSub>, pause: Duration) -> bool {
        std::thread::sleep(pause);
        true
    }
}
