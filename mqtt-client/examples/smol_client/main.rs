//! The run loop as a future, over `smol`; any other async runtime has the same three things to wait for.
//!
//! ```text
//! cargo run --example smol_client                        against a broker in memory
//! cargo run --example smol_client -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Sends messages to itself with each QoS while its wire is cut twice. Ends with 0 if none was lost or doubled.

mod connection;
#[path = "../support/job.rs"]
mod job;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use mqtt_client::{Client, PubSub, Time};
use smol::Timer;
use smol::future::or;

use connection::connection;
use job::Job;
use support::{PATIENCE, Stage, client_id, random};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let stage = Stage::new()?;
    let mut client = Client::new(stage.options(&client_id("smol")))?;
    let mut job = Job::new(&mut client)?;
    let patience = async {
        Timer::after(PATIENCE).await;
        Err("it takes too long".into())
    };
    smol::block_on(or(run(&mut client, &mut job, stage.address), patience))?;
    Ok(stage.end(&[&job.tally]))
}

/// One connection after the other, until the job is done.
async fn run(client: &mut Client<PubSub>, job: &mut Job, server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut backoff = client.options().backoff_settings().clone();
    while let Err(error) = connection(client, job, server, start, &mut backoff).await {
        // The Session is still there; only the connection is gone.
        client.handle_close();
        let now = Time::from_epoch(start.elapsed());
        let pause = backoff.pause_after(error.downcast_ref(), now, random());
        let Some(pause) = pause else { return Err(error) };
        println!("{error}; next attempt in {pause:?}");
        Timer::after(pause).await;
    }
    Ok(())
}
