//! Publishes to a topic and receives from it, with one client: several tasks share a handle.
//!
//! ```text
//! cargo run --example pubsub -- mqtt://127.0.0.1:1883 5
//! ```
//!
//! The arguments are the broker and how many messages to send (5 if it is left out). `--v31` at the end speaks
//! MQTT 3.1. Start it twice, and each prints the messages of both.

use std::error::Error;
use std::time::Duration;

use mqtt_tokio::{Client, Drain, Options, ProtocolVersion, PubSub, PublishError, QoS};
use tokio::time::{sleep, timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (flags, values): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
    let [uri, rest @ ..] = values.as_slice() else {
        return Err("usage: pubsub URI [COUNT] [--v31]".into());
    };
    let count: u32 = rest.first().map_or(Ok(5), |count| count.parse())?;
    let v31 = flags.iter().any(|it| it == "--v31");
    let version = if v31 { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };

    let name = format!("pubsub-{}", std::process::id());
    let options = Options::new(name.clone()).version(version).clean_session(true);
    let client = Client::<PubSub>::connect(uri, options).await?;
    let mut messages = client.subscribe("examples/pubsub/+", QoS::ExactlyOnce).await?;

    // A handle is cheap to clone; every clone is the same client, on the same connection.
    let publisher = client.clone();
    let publishing = tokio::spawn(async move {
        for number in 1..=count {
            let topic = format!("examples/pubsub/{name}");
            publisher.publish(topic, number.to_string()).qos(QoS::ExactlyOnce).await?;
            sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, PublishError>(())
    });

    // Ends when nobody has said anything for a second.
    while let Ok(Some(message)) = timeout(Duration::from_secs(1), messages.next()).await {
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }
    publishing.await??;
    client.disconnect(Drain::Queue(Duration::from_secs(5))).await?;
    Ok(())
}
