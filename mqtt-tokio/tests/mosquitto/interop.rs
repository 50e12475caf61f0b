//! The clients of mosquitto at the other end.

use std::process::Stdio;
use std::time::Duration;

use mqtt_tokio::{Client, ProtocolVersion, Publisher, QoS, Subscriber};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::broker::{Mosquitto, output, program};
use crate::support::{EVERY_QOS, in_both_versions, next, options};

in_both_versions!(mosquitto_pub_to_us, us_to_mosquitto_sub);

/// As the options of mosquitto's clients name it.
fn named(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V3_1 => "mqttv31",
        ProtocolVersion::V3_1_1 => "mqttv311",
    }
}

async fn mosquitto_pub_to_us(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let client = Client::<Subscriber>::connect(&broker.uri(), options("a", version)).await.unwrap();
    let mut stream = client.subscribe("theirs/+", QoS::ExactlyOnce).await.unwrap();
    for qos in EVERY_QOS {
        let (port, level) = (broker.port().to_string(), (qos as u8).to_string());
        let mut command = program("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", named(version), "-q", &level]);
        let published = output(command.args(["-t", "theirs/greeting", "-m", "bonjour à tous"])).await;
        assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
        let message = next(&mut stream).await;
        assert_eq!(message.text().unwrap(), "bonjour à tous");
        assert_eq!((message.topic(), message.qos()), ("theirs/greeting", qos));
    }
}

async fn us_to_mosquitto_sub(version: ProtocolVersion) {
    let broker = Mosquitto::start().await;
    let client = Client::<Publisher>::connect(&broker.uri(), options("a", version)).await.unwrap();
    for qos in EVERY_QOS {
        let (port, level) = (broker.port().to_string(), (qos as u8).to_string());
        client.publish("ours/état", "retained").qos(qos).retain(true).await.unwrap();
        // What is confirmed came after it: mosquitto has it, even with QoS 0.
        client.publish("done", "").qos(QoS::AtLeastOnce).await.unwrap();
        let mut command = program("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", named(version), "-q", &level]);
        command.args(["-t", "ours/+", "-C", "2", "-F", "%q %r %t %p"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The first line tells that it has subscribed.
        for (retained, payload) in [(1, "retained"), (0, "live")] {
            if retained == 0 {
                client.publish("ours/état", payload).qos(qos).await.unwrap();
            }
            let line = timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap();
            assert_eq!(line.unwrap(), format!("{level} {retained} ours/état {payload}"));
        }
        assert!(child.wait().await.unwrap().success());
    }
}
