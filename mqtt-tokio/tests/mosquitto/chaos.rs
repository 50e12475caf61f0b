//! Connections that are cut, reset, stalled, trickled and left half open.

use mqtt_tokio::ProtocolVersion;

use crate::broker::Mosquitto;
use crate::{pause, traffic};

traffic::in_each_version!(through_chaos);

#[tokio::test]
async fn a_pause_ends_no_connection() {
    let broker = Mosquitto::without_window().await;
    pause::ends_no_connection(broker.port(), ProtocolVersion::V3_1_1).await;
}

async fn through_chaos(version: ProtocolVersion) {
    let broker = Mosquitto::without_window().await;
    let repeated = traffic::both_ways(broker.port(), version).await;
    println!("{version:?}: mosquitto has sent {repeated} messages again that it had released");
}
