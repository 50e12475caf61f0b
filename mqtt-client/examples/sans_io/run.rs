//! The run loop over `std::net::TcpStream`: one connection after the other.

use std::error::Error;
use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mqtt_client::{Backoff, Client, Event, PubSub, State, Time};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The application that the loop belongs to. It may call any method of the client.
pub(crate) trait App {
    /// The longest wait for bytes, if it has to be asked again after a while.
    const TICK: Duration = Duration::from_secs(3600);

    /// Notes what happened.
    fn handle(&mut self, event: &Event<'_>, client: &mut Client<PubSub>);

    /// Says what is to be done, in every round and for so long between two connections; false when all is done.
    fn commands(&mut self, client: &mut Client<PubSub>, pause: Duration) -> bool;
}

/// Runs until the application disconnects, or there is to be no other attempt.
pub(crate) fn run(client: &mut Client<PubSub>, app: &mut impl App, server: SocketAddr) -> Result<()> {
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    let mut backoff = client.options().backoff_settings().clone();
    while let Err(error) = connection(client, app, &mut backoff, server, &now) {
        client.handle_close(); // The Session is still there.
        println!("{error}");
        let pause = backoff.pause_after(error.downcast_ref(), now(), crate::support::random());
        let true = app.commands(client, pause.ok_or(error)?) else { break };
    }
    Ok(())
}

/// One connection, from dialling to its end: `Ok` after a DISCONNECT, and an error when it is lost.
fn connection<A: App>(
    client: &mut Client<PubSub>,
    app: &mut A,
    backoff: &mut Backoff,
    server: SocketAddr,
    now: &impl Fn() -> Time,
) -> Result<()> {
    client.connect(now())?;
    // How long to wait at most. A time-out of zero would be an error. The deadline for CONNACK is one for dialling too.
    let wait = |due: Option<Time>| due.map_or(A::TICK, |due| (due - now()).max(Duration::from_millis(1)));
    let mut stream = TcpStream::connect_timeout(&server, wait(client.poll_timeout()))?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        // 1. Time. Early and repeated calls do nothing.
        client.handle_timeout(now())?;
        // 2. Events, from the bytes that are there. What is used of them is dropped.
        let mut input = &buffer[..];
        while let Some(event) = client.handle_input(&mut input, now())? {
            if matches!(event, Event::Connected { .. }) {
                backoff.connected(now());
            }
            app.handle(&event, client);
        }
        buffer.drain(..buffer.len() - input.len());
        app.commands(client, Duration::ZERO);
        // 3. Output. If writing fails, what the Server said last is still read: it may say why. Then the stream ends.
        let _ = client.poll_output(now()).write_with(|bytes| stream.write(bytes));
        let is_leaving = client.state() == State::Disconnected;
        if is_leaving {
            // DISCONNECT is out. To close with bytes unread would be a reset, which can destroy it: the Server closes.
            let _ = stream.shutdown(Shutdown::Write);
        }
        // 4. Input, for as long as the client has no deadline. The Server gets half a second to close.
        let due = wait(client.poll_timeout()).min(A::TICK);
        stream.set_read_timeout(Some(if is_leaving { Duration::from_millis(500) } else { due }))?;
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) if is_leaving => return Ok(()),
            Ok(0) => return Err("the Server has closed the connection".into()),
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
