//! Clients whose connections are cut, reset, stalled, trickled and left half open, with the broker for tests.
//!
//! Five thousand messages with each QoS each way; `MQTT_CHAOS_MESSAGES` sets another number. The seed of everything
//! random is printed, and `MQTT_TEST_SEED` sets it. The tests with mosquitto do the same with that.

mod pause;
mod plan;
mod proxy;
mod traffic;
mod witness;

use mqtt_tokio::ProtocolVersion;
use mqtt_tokio::testing::TestBroker;

traffic::in_each_version!(through_chaos);

#[tokio::test]
async fn a_pause_ends_no_connection() {
    let broker = TestBroker::start().await.unwrap();
    pause::ends_no_connection(broker.addr().port(), ProtocolVersion::V3_1_1).await;
}

async fn through_chaos(version: ProtocolVersion) {
    let broker = TestBroker::start().await.unwrap();
    broker.with(|it| it.set_options(|options| options.max_in_flight(100).max_log_len(0)));
    assert_eq!(traffic::both_ways(broker.addr().port(), version).await, 0);
}
