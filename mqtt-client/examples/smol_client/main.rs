//! The run loop as a future, over `smol`; any other async runtime has the same three things to wait for.
//!
//! ```text
//! cargo run --example smol_client                        against a broker in memory
//! cargo run --example smol_client -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Sends messages to itself with each QoS while its wire is cut twice. Ends with 0 if none was lost or doubled.

#[path = "../support/job.rs"]
mod job;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use mqtt_client::bytes::Buf;
use mqtt_client::{Backoff, Client, ConnectionError, Event, PubSub, Time};
use smol::Timer;
use smol::future::{or, pending};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

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
        backoff.lost(Time::from_epoch(start.elapsed()));
        if error.downcast_ref::<ConnectionError>().is_some_and(|error| !backoff.should_retry(error)) {
            return Err(error);
        }
        let pause = backoff.next_delay(random()).ok_or("too many attempts")?;
        println!("{error}; next attempt in {pause:?}");
        Timer::after(pause).await;
    }
    Ok(())
}

/// What the loop was woken by.
enum Woken {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Due,
}

/// One connection, from dialling to its end.
async fn connection(
    client: &mut Client<PubSub>,
    job: &mut Job,
    server: SocketAddr,
    start: Instant,
    backoff: &mut Backoff,
) -> Result<(), Box<dyn Error>> {
    let now = || Time::from_epoch(start.elapsed());
    client.connect(now())?;
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    // One to read and one to write at the same time; both are the same connection.
    let (mut from, mut to) = (stream.clone(), stream.clone());
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    let mut write_error: Option<io::Error> = None;
    loop {
        // 1. Time. Early and repeated calls do nothing.
        client.handle_timeout(now())?;

        // 2. Events, from the bytes that are there. What is used of them is dropped.
        let mut input = &buffer[..];
        while let Some(event) = client.handle_input(&mut input, now())? {
            if matches!(event, Event::Connected { .. }) {
                backoff.connected(now());
            }
            job.handle(&event, client)?;
        }
        let used = buffer.len() - input.len();
        buffer.drain(..used);
        if job.is_done() {
            return leave(client, stream, now()).await;
        }

        // 3. Whatever comes first. A future that is dropped has neither read nor written anything.
        let (wants_input, due) = (client.wants_input(), client.poll_timeout());
        let output = client.poll_output(now());
        let read =
            async { if wants_input { Woken::Read(from.read(&mut chunk).await) } else { pending().await } };
        let write = async {
            let can_write = output.has_remaining() && write_error.is_none();
            if can_write { Woken::Written(to.write(output.chunk()).await) } else { pending().await }
        };
        let wait = async {
            let Some(due) = due else { return pending().await };
            Timer::at(start + due.since_epoch()).await;
            Woken::Due
        };
        match or(write, or(read, wait)).await {
            Woken::Read(Ok(0)) => {
                return Err(write_error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()).into());
            }
            Woken::Read(read) => buffer.extend_from_slice(&chunk[..read?]),
            // The client learns what the transport has taken, which is what DUP is about.
            Woken::Written(Ok(count)) => client.poll_output(now()).advance(count),
            // What the Server said last is read before the connection ends: it may say why.
            Woken::Written(Err(error)) => write_error = Some(error),
            Woken::Due => {}
        }
    }
}

/// Says goodbye, and lets the Server close: to close with bytes unread would be a reset, which can destroy DISCONNECT.
async fn leave(client: &mut Client<PubSub>, mut stream: TcpStream, now: Time) -> Result<(), Box<dyn Error>> {
    client.disconnect();
    let mut output = client.poll_output(now);
    while output.has_remaining() {
        let count = stream.write(output.chunk()).await?;
        output.advance(count);
    }
    stream.shutdown(Shutdown::Write)?;
    smol::io::copy(stream, smol::io::sink()).await?;
    Ok(())
}
