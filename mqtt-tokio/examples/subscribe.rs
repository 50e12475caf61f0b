//! Prints the messages of a topic filter until Ctrl-C, and reconnects on its own.
//!
//! ```text
//! cargo run --example subscribe -- mqtt://127.0.0.1:1883 'plant/+/temperature' 2
//! ```
//!
//! The arguments are the broker, the filter and the QoS (1 if it is left out). `--v31` at the end speaks MQTT 3.1.

use std::error::Error;

use mqtt_tokio::{Client, Drain, Options, ProtocolVersion, QoS, Status, Subscriber};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (flags, values): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
    let [uri, filter, rest @ ..] = values.as_slice() else {
        return Err("usage: subscribe URI FILTER [QOS] [--v31]".into());
    };
    let qos = QoS::try_from(rest.first().map_or(Ok(1), |qos| qos.parse())?)?;
    let v31 = flags.iter().any(|it| it == "--v31");
    let version = if v31 { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };

    let options = Options::new(format!("subscribe-{}", std::process::id())).version(version);
    let client = Client::<Subscriber>::connect(uri, options).await?;
    let mut status = client.status();
    let mut messages = client.subscribe(filter.as_str(), qos).await?;
    eprintln!("subscribed to {filter}; Ctrl-C ends");

    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            result = &mut interrupt => { result?; break }
            Some(message) = messages.next() => {
                let payload = String::from_utf8_lossy(message.payload());
                let retained = if message.retain() { ", retained" } else { "" };
                println!("{} (QoS {}{retained}) {payload}", message.topic(), message.qos() as u8);
            }
            Some(change) = status.next() => match change {
                Status::Lost { error, retry_in } => eprintln!("{error}; next attempt in {retry_in:?}"),
                Status::GaveUp { error } => return Err(error.into()),
                _ => eprintln!("{change:?}"),
            },
            else => break,
        }
    }
    client.disconnect(Drain::Now).await?;
    eprintln!("disconnected");
    Ok(())
}
