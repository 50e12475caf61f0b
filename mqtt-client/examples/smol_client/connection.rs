//! One connection: the run loop as a future.

use std::error::Error;
use std::io::{
    self,
    ErrorKind::{TimedOut, UnexpectedEof},
};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use mqtt_client::bytes::Buf;
use mqtt_client::{Backoff, Client, Event, PubSub, Time};
use smol::Timer;
use smol::future::{or, pending};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

use crate::job::Job;

/// Waits for a deadline, if there is one.
async fn sleep_until(start: Instant, due: Option<Time>) {
    match due {
        Some(due) => drop(Timer::at(start + due.since_epoch()).await),
        None => pending().await,
    }
}

/// One connection, from dialling to its end.
pub(crate) async fn connection(
    client: &mut Client<PubSub>,
    job: &mut Job,
    server: SocketAddr,
    start: Instant,
    backoff: &mut Backoff,
) -> Result<(), Box<dyn Error>> {
    let now = || Time::from_epoch(start.elapsed());
    client.connect(now())?;
    let too_late = async {
        sleep_until(start, client.poll_timeout()).await;
        Err(TimedOut.into())
    };
    let stream = or(TcpStream::connect(server), too_late).await?;
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
        let can_write = output.has_remaining() && write_error.is_none();
        let read = async {
            match if wants_input { from.read(&mut chunk).await? } else { pending().await } {
                0 => Err(io::Error::from(UnexpectedEof)),
                count => Ok((count, 0)),
            }
        };
        let write = async {
            let written = if can_write { to.write(output.chunk()).await } else { pending().await };
            // What the Server said last is read before that ends the connection: it may say why.
            Ok((
                0,
                written.unwrap_or_else(|error| {
                    write_error = Some(error);
                    0
                }),
            ))
        };
        let wait = async {
            sleep_until(start, due).await;
            Ok((0, 0))
        };
        match or(write, or(read, wait)).await {
            Err(error) => return Err(write_error.unwrap_or(error).into()),
            Ok((read, written)) => {
                buffer.extend_from_slice(&chunk[..read]);
                // The client learns what the transport has taken, which is what DUP is about.
                client.poll_output(now()).advance(written);
            }
        }
    }
}

/// Says goodbye, and lets the Server close: to close with bytes unread would be a reset, which can destroy DISCONNECT.
async fn leave(client: &mut Client<PubSub>, mut stream: TcpStream, now: Time) -> Result<(), Box<dyn Error>> {
    client.disconnect();
    let mut output = client.poll_output(now);
    while output.has_remaining() {
        output.advance(stream.write(output.chunk()).await?);
    }
    stream.shutdown(Shutdown::Write)?;
    smol::io::copy(stream, smol::io::sink()).await?;
    Ok(())
}
