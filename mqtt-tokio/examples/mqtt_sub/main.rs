//! Subscribes from the command line and prints messages, with the flags of mosquitto_sub: see `docs/command-line.md`.
//!
//! ```text
//! cargo run --example mqtt_sub -- -t 'plant/+/temperature' -v
//! cargo run --example mqtt_sub -- --help
//! ```

mod arguments;
mod calendar;
#[path = "../command_line/mod.rs"]
mod command_line;
mod format;
mod json;
mod printing;

use std::process::ExitCode;

use clap::ArgMatches;
use mqtt_tokio::{
    Client, Drain, Options, QoS, SubackCode, SubscribeError, Subscriber, Subscription, TopicFilter,
};

use crate::command_line::{Failure, Interrupt, code, connect, deadline};
use crate::printing::Printing;

/// The protocol's limit, as nothing is held in memory that does not come.
const MAX_PACKET_SIZE: usize = 268_435_460;

fn main() -> ExitCode {
    command_line::run(arguments::command(), subscribe)
}

async fn subscribe(matches: ArgMatches, mut interrupt: Interrupt) -> Result<(), Failure> {
    let filters = arguments::filters(&matches)?;
    let mut printing = Printing::new(&matches)?;
    let tune = |options: Options| options.max_packet_size(MAX_PACKET_SIZE);
    // Acknowledged is what was written.
    let settings = [("ack_mode", "manual".to_owned())];
    let client = connect::<Subscriber>(&matches, &mut interrupt, "mqtt_sub", &settings, tune).await?;
    // It lives until the client has disconnected: to drop it is to unsubscribe.
    let mut messages = None;
    let work = async {
        for filter in arguments::unwanted(&matches)? {
            client.unsubscribe(filter).await?;
        }
        if filters.is_empty() {
            return Ok(());
        }
        let messages = messages.insert(ask(&client, filters).await?);
        if matches.get_flag("exit-after-subscribe") { Ok(()) } else { printing.run(&client, messages).await }
    };
    let ended = tokio::select! {
        biased;
        failure = interrupt.wait() => Err(failure),
        failure = deadline(&matches) => Err(failure),
        ended = work => ended,
    };
    // Acknowledgements leave before the DISCONNECT; there is nothing else to wait for.
    let _ = client.disconnect(Drain::Now).await;
    drop(messages);
    ended
}

/// Subscribes, and says which filter the Server does not grant.
async fn ask(client: &Client<Subscriber>, filters: Vec<(TopicFilter, QoS)>) -> Result<Subscription, Failure> {
    match client.subscribe_all(filters.clone()).await {
        Err(SubscribeError::Refused(codes)) => {
            let refused: Vec<_> = filters
                .iter()
                .zip(codes)
                .filter(|(_, code)| *code == SubackCode::Failure)
                .map(|((filter, _), _)| filter.as_str())
                .collect();
            let message = format!("the server refuses the subscription of {}", refused.join(", "));
            Err(Failure::new(code::NOT_SUBSCRIBED, message))
        }
        other => Ok(other?),
    }
}
