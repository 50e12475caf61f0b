//! The run loop as a future, over `smol`; any other async runtime has the same three things to wait for.
//!
//! ```text
//! cargo run --example smol_client                        against a broker in memory
//! cargo run --example smol_client -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Sends messages to itself with each QoS while its wire is cut. Ends with 0 if none was lost or doubled.

#[path = "../support/job.rs"]
mod support;

use std::error::Error;
use std::io::{self, ErrorKind::TimedOut};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mqtt_client::bytes::Buf;
use mqtt_client::{Backoff, Client, Event, PubSub, State, Time};
use smol::Timer;
use smol::future::{or, pending};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

use support::{Job, Stage, random};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let stage = Stage::new()?;
    let start = Instant::now();
    let mut client = Client::new(stage.options("smol"))?;
    let mut job = Job::new(&mut client)?;
    let mut backoff = client.options().backoff_settings().clone();
    smol::block_on(async {
        while let Err(error) = connection(&mut client, &mut job, &mut backoff, stage.address, start).await {
            // The Session is still there; only the connection is gone.
            client.handle_close();
            let now = Time::from_epoch(start.elapsed());
            let pause = backoff.pause_after(error.downcast_ref(), now, random());
            println!("{error}");
            Timer::after(pause.ok_or(error)?).await;
        }
        Ok(stage.end([&job.tally]))
    })
}

/// What the loop waits for.
enum Ready {
    Read(usize),
    Written(io::Result<usize>),
    Due,
}

/// The output of `future`, or a wait for ever.
async fn only_if<T>(wanted: bool, future: impl Future<Output = T>) -> T {
    if wanted { future.await } else { pending().await }
}

/// Is `then` when it is `due`, if ever.
async fn at<T>(start: Instant, due: Option<Time>, then: T) -> T {
    due.map_or_else(Timer::never, |due| Timer::at(start + due.since_epoch())).await;
    then
}

/// One connection, from dialling to its end: `Ok` after a DISCONNECT, and an error when it is lost.
async fn connection(
    client: &mut Client<PubSub>,
    job: &mut Job,
    backoff: &mut Backoff,
    server: SocketAddr,
    start: Instant,
) -> Result<(), Box<dyn Error>> {
    let now = || Time::from_epoch(start.elapsed());
    client.connect(now())?;
    // The deadline for CONNACK is one for dialling too.
    let too_late = at(start, client.poll_timeout(), Err(TimedOut.into()));
    let stream = or(TcpStream::connect(server), too_late).await?;
    stream.set_nodelay(true)?;
    // One to read and one to write at the same time; both are the same connection.
    let (mut from, mut to) = (stream.clone(), stream.clone());
    let (mut buffer, mut chunk, mut is_broken) = (Vec::new(), [0; 4096], false);
    loop {
        // 1. Time. Early and repeated calls do nothing.
        client.handle_timeout(now())?;

        // 2. Events, from the bytes that are there. What is used of them is dropped.
        let mut input = &buffer[..];
        while let Some(event) = client.handle_input(&mut input, now())? {
            if matches!(event, Event::Connected { .. }) {
                backoff.connected(now());
            }
            job.handle(&event, client);
        }
        buffer.drain(..buffer.len() - input.len());
        let is_leaving = client.state() == State::Disconnected;
        if is_leaving && !client.has_output() {
            // DISCONNECT is out. To close with bytes unread would be a reset, which can destroy it: the Server closes.
            let _ = stream.shutdown(Shutdown::Write);
        }

        // 3. Whatever comes first. A future that is dropped has neither read nor written anything.
        // The Server may take some time to close after a DISCONNECT, but not for ever.
        let linger = is_leaving.then(|| now() + Duration::from_millis(500));
        let (may_read, due) = (client.wants_input(), linger.or(client.poll_timeout()));
        let output = client.poll_output(now());
        let may_write = output.has_remaining() && !is_broken;
        let read = async { Ok(Ready::Read(only_if(may_read, from.read(&mut chunk)).await?)) };
        let write = async { Ok(Ready::Written(only_if(may_write, to.write(output.chunk())).await)) };
        match or(write, or(read, at(start, due, io::Result::Ok(Ready::Due)))).await? {
            Ready::Read(0) | Ready::Due if is_leaving => return Ok(()),
            Ready::Read(0) => return Err("the Server has closed the connection".into()),
            Ready::Read(count) => buffer.extend_from_slice(&chunk[..count]),
            // The client learns what the transport has taken, which is what DUP is about.
            Ready::Written(Ok(count)) => client.poll_output(now()).advance(count),
            // What the Server said last is still read: it may say why, and then the stream ends.
            Ready::Written(Err(_)) => is_broken = true,
            Ready::Due => {}
        }
    }
}
