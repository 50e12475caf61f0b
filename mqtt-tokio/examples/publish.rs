//! Publishes one message, and ends when the broker has confirmed it.
//!
//! ```text
//! cargo run --example publish -- mqtt://127.0.0.1:1883 plant/7/temperature 21.5 2
//! ```
//!
//! The arguments are the broker, the topic, the payload and the QoS (1 if it is left out). `--v31` at the end speaks
//! MQTT 3.1, `--retain` has the broker keep the message.

use std::error::Error;
use std::time::Duration;

use mqtt_tokio::{Client, Drain, Options, ProtocolVersion, Publisher, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (flags, values): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
    let [uri, topic, payload, rest @ ..] = values.as_slice() else {
        return Err("usage: publish URI TOPIC PAYLOAD [QOS] [--retain] [--v31]".into());
    };
    let qos = QoS::try_from(rest.first().map_or(Ok(1), |qos| qos.parse())?)?;
    let has = |flag: &str| flags.iter().any(|it| it == flag);
    let version = if has("--v31") { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };

    let options = Options::new(format!("publish-{}", std::process::id())).version(version);
    let client = Client::<Publisher>::connect(uri, options).await?;

    // Resolves at the PUBACK (QoS 1) or the PUBCOMP (QoS 2), over as many connections as that takes.
    client.publish(topic.as_str(), payload.clone()).qos(qos).retain(has("--retain")).await?;
    println!("{topic}: delivered with QoS {}", qos as u8);

    // Sends DISCONNECT, so that the broker does not publish a will.
    client.disconnect(Drain::Queue(Duration::from_secs(5))).await?;
    Ok(())
}
