//! The client against a second real broker that shares no code with us or with mosquitto: aedes, over WebSocket.
//!
//! `npm ci --prefix ci/aedes`, and `cargo test -p mqtt-tokio --features aedes-tests --test aedes`. Without Node.js and
//! what npm installs the tests fail.

use std::process::Stdio;
use std::time::Duration;

use mqtt_tokio::{Client, Drain, Options, ProtocolVersion, PubSub, QoS, Status};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/aedes");
const LIMIT: Duration = Duration::from_secs(60);

/// Starts the broker, which ends with us, since it reads its standard input.
async fn aedes() -> (Child, String) {
    let mut command = Command::new("node");
    command.arg("broker.mjs").current_dir(FOLDER).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("node is installed: these tests need it");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.next_line().await.unwrap();
    let port = port.expect("aedes is installed: npm ci --prefix ci/aedes");
    (child, format!("ws://127.0.0.1:{port}"))
}

async fn round_trips(version: ProtocolVersion) {
    let (_broker, uri) = aedes().await;
    let options = Options::new("a").version(version).clean_session(false);
    let client = Client::<PubSub>::connect(&uri, options).await.unwrap();
    let mut stream = client.subscribe("round/+", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let payload: Vec<u8> = (0..len).map(|at: u32| (at / 251) as u8 ^ (at % 251) as u8).collect();
            client.publish("round/trip", payload.clone()).qos(qos).await.unwrap();
            let message = timeout(LIMIT, stream.next()).await.unwrap().unwrap();
            assert_eq!((message.topic(), message.qos()), ("round/trip", qos));
            assert!(message.payload() == payload, "{len} bytes come as they were");
        }
    }
    // Many at once, in order.
    let mut receipts = Vec::new();
    for n in 0..1000_u32 {
        let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][n as usize % 2];
        receipts.push(client.publish("round/many", n.to_string()).qos(qos).receipt().await.unwrap());
    }
    for receipt in receipts {
        timeout(LIMIT, receipt).await.unwrap().unwrap();
    }
    let mut got = [Vec::new(), Vec::new()];
    for _ in 0..1000 {
        let message = timeout(LIMIT, stream.next()).await.unwrap().unwrap();
        let number: usize = message.text().unwrap().parse().unwrap();
        got[number % 2].push(number);
    }
    for (parity, numbers) in got.iter().enumerate() {
        assert!(numbers.iter().copied().eq((parity..1000).step_by(2)), "once each, in order: {numbers:?}");
    }
    client.disconnect(Drain::Queue(LIMIT)).await.unwrap();
}

#[tokio::test]
async fn round_trips_v3_1_1() {
    timeout(LIMIT, round_trips(ProtocolVersion::V3_1_1)).await.unwrap();
}

/// This server knows the subprotocol `mqtt` only, and aedes both versions of the protocol.
#[tokio::test]
async fn round_trips_v3_1() {
    timeout(LIMIT, round_trips(ProtocolVersion::V3_1)).await.unwrap();
}

#[tokio::test]
async fn a_session_over_a_cut() {
    timeout(LIMIT, async {
        let (_broker, uri) = aedes().await;
        let options = || Options::new("kept").clean_session(false);
        let client = Client::<PubSub>::connect(&uri, options()).await.unwrap();
        let mut status = client.status();
        let mut stream = client.subscribe("kept", QoS::ExactlyOnce).await.unwrap();
        // Another client with the same identifier takes the Session over, and gives it back.
        let other = Client::<PubSub>::connect(&uri, options()).await.unwrap();
        while !matches!(status.next().await.unwrap(), Status::Lost { .. }) {}
        other.disconnect(Drain::Now).await.unwrap();
        loop {
            if let Status::Connected { session_present, .. } = status.next().await.unwrap() {
                assert!(session_present);
                break;
            }
        }
        client.publish("kept", "x").qos(QoS::ExactlyOnce).await.unwrap();
        assert_eq!(stream.next().await.unwrap().payload(), b"x");
        client.disconnect(Drain::Now).await.unwrap();
    })
    .await
    .unwrap();
}
