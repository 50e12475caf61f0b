//! Publishes messages from the command line, with the flags of mosquitto_pub: see `docs/command-line.md`.
//!
//! ```text
//! cargo run --example mqtt_pub -- -t plant/7/temperature -m 21.5
//! cargo run --example mqtt_pub -- --help
//! ```

mod arguments;
#[path = "../command_line/mod.rs"]
mod command_line;
mod input;
mod progress;
mod publishing;

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use mqtt_tokio::{Drain, Options, Publisher};

use crate::command_line::{Failure, Interrupt, connect, deadline};
use crate::input::Input;
use crate::publishing::Publishing;

/// The limit of the queue in bytes; one message that is larger raises it.
const MAX_QUEUE_SIZE: usize = 16 << 20;

/// What a PUBLISH packet can have besides its payload.
const OVERHEAD: usize = 66_000;

/// So long what was accepted may take to be delivered when the tool ends: less than a second after Ctrl-C all is over.
const LAST_WORDS: Duration = Duration::from_millis(600);

/// Exit codes of this tool alone.
const TOO_LARGE: u8 = 9;
const UNDELIVERED: u8 = 75;

fn main() -> ExitCode {
    command_line::run(arguments::command(), publish)
}

async fn publish(matches: ArgMatches, mut interrupt: Interrupt) -> Result<(), Failure> {
    // Whatever can be wrong with the command line and its files is found before the server is bothered.
    let message = arguments::message(&matches)?;
    let input = tokio::select! {
        biased;
        failure = interrupt.wait() => return Err(failure),
        input = Input::open(&matches) => input?,
    };
    let max_queue_size = MAX_QUEUE_SIZE.max(input.payload_len() + OVERHEAD);
    // Messages with QoS 0 wait for the next connection too.
    let tune = |options: Options| options.queue_qos0(true).max_queue_size(max_queue_size);
    let settings = arguments::settings(&matches);
    let client = connect::<Publisher>(&matches, &mut interrupt, "mqtt_pub", &settings, tune).await?;

    let bar = progress::bar(&matches, &input);
    let mut publishing = Publishing::new(&client, message, &bar);
    let ended = tokio::select! {
        biased;
        failure = interrupt.wait() => Err(failure),
        failure = deadline(&matches) => Err(failure),
        ended = publishing.run(input, matches.get_flag("quiet")) => ended,
    };
    // After Ctrl-C too, what was accepted has its time.
    let drained = client.disconnect(Drain::Queue(LAST_WORDS)).await;
    bar.finish_and_clear();
    ended?;
    drained.map_err(|error| Failure::new(UNDELIVERED, error))
}
