//! A client with a blocking face that several threads can share, over `std::net`. A thread of its own runs the loop,
//! which is that of the example `sans_io`.
//!
//! ```text
//! cargo run --example blocking                        against a broker in memory
//! cargo run --example blocking -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Sends messages to itself with each QoS while its wire is cut. Ends with 0 if none was lost or doubled.

#[path = "../sans_io/run.rs"]
mod run;
#[path = "../support/calls.rs"]
mod support;

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError::Disconnected, Sender, SyncSender, channel, sync_channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use mqtt_client::{Client, Event, Message, Outcome, PubSub, PublishToken};

use run::App;
use support::Stage;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let stage = Stage::new()?;
    let (client, topic) = support::subscribed(stage.options("blocking"))?;
    let (client, messages) = Blocking::start(client, stage.address);
    let tally = support::exchange(&topic, |message| client.publish(message), &messages)?;
    client.disconnect()?;
    Ok(stage.end([&tally]))
}

/// A message, and where to say what became of it.
type Call = (Message, Sender<Outcome>);

/// The facade: methods that wait for what they ask for.
struct Blocking {
    calls: Sender<Call>,
    thread: JoinHandle<Result<(), String>>,
}

impl Blocking {
    /// Starts the thread. A hundred messages may wait to be received; with the next one the thread waits, and so does the
    /// Server. Hence receive and publish in different threads.
    fn start(mut client: Client<PubSub>, server: SocketAddr) -> (Self, Receiver<Message>) {
        let ((calls, receiver), (inbox, messages)) = (channel(), sync_channel(100));
        let mut inner = Inner { calls: receiver, inbox, waiting: HashMap::new() };
        let run = move || run::run(&mut client, &mut inner, server).map_err(|error| error.to_string());
        (Self { calls, thread: spawn(run) }, messages)
    }

    /// Publishes, and waits until it is delivered, over as many connections as that takes. QoS 0 has no answer.
    fn publish(&self, message: Message) -> Result<Outcome, Box<dyn Error>> {
        let (sender, outcome) = channel();
        self.calls.send((message, sender))?;
        Ok(outcome.recv()?)
    }

    /// Says goodbye, and waits until that is done. For the loop it is the end of the calls.
    fn disconnect(self) -> Result<(), Box<dyn Error>> {
        drop(self.calls);
        self.thread.join().map_err(|_| "the thread has panicked")?.map_err(Into::into)
    }
}

/// The other side of the facade, in the thread. When that ends, those who wait get an error.
struct Inner {
    calls: Receiver<Call>,
    inbox: SyncSender<Message>,
    waiting: HashMap<PublishToken, Sender<Outcome>>,
}

impl App for Inner {
    /// Std cannot wait for a socket and a channel at once, so that a call may wait so long. `mio_many` shows what can.
    const TICK: Duration = Duration::from_millis(5);

    fn handle(&mut self, event: &Event<'_>, _: &mut Client<PubSub>) {
        // Nobody may want to know any more.
        match event {
            Event::Message(message) => drop(self.inbox.send(message.to_message())),
            Event::Published { token, outcome } => {
                let _ = self.waiting.remove(token).map(|sender| sender.send(*outcome));
            }
            _ => {}
        }
    }

    fn commands(&mut self, client: &mut Client<PubSub>, pause: Duration) -> bool {
        loop {
            match self.calls.recv_timeout(pause) {
                Ok((message, sender)) => match client.publish(message) {
                    Ok(Some(token)) => drop(self.waiting.insert(token, sender)),
                    Ok(None) => drop(sender.send(Outcome::Delivered)),
                    Err(error) => println!("{error}"),
                },
                Err(Disconnected) => {
                    client.disconnect();
                    return false;
                }
                Err(_) => return true,
            }
        }
    }
}
