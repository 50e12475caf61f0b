//! Publishes each line of the standard input with QoS 2, and loses none: a line is on the disk when it is shown as safe,
//! with or without a connection. Kill the program, pull the plug, stop the broker: the next run goes on.
//!
//! ```text
//! cargo run --example outbox --features store-redb -- mqtt://127.0.0.1:1883 outbox.redb plant/7/log
//! ```
//!
//! The arguments are the broker, the file of the store and the topic. It ends when all lines are delivered, or with what
//! is left in the store when they are not within ten seconds behind the last line.

use std::error::Error;
use std::time::Duration;

use mqtt_tokio::{Builder, Client, DisconnectError, Drain, Options, Publisher, QoS, RedbStore};
use tokio::io::{AsyncBufReadExt, BufReader};

const CLIENT_ID: &str = "outbox-example";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [uri, file, topic] = args.as_slice() else { return Err("usage: outbox URI FILE TOPIC".into()) };

    let store = RedbStore::open(file, CLIENT_ID)?;
    let options = Options::new(CLIENT_ID).clean_session(false);
    // Starts with or without a broker, and tries again until there is one.
    let client: Client<Publisher> = Builder::new(uri, options)?.store(store).start()?;

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let mut receipt =
            client.publish(topic.as_str(), line.clone()).qos(QoS::ExactlyOnce).receipt().await?;
        receipt.safe().await?;
        println!("safe: {line}");
    }
    match client.disconnect(Drain::Queue(Duration::from_secs(10))).await {
        Ok(()) => println!("all delivered"),
        Err(error @ DisconnectError::Undelivered { .. }) => println!("{error}: the next run goes on"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
