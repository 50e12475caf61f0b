//! rumqttc-next (its MQTT 3.1.1 crate): like rumqttc, with request batching on and a topic that is validated once.

use bytes::Bytes;
use rumqttc_next::{
    AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, PublishOptions, QoS, ValidatedTopic,
};

use crate::Failure;
use crate::workload::{Direction, PAYLOAD, TOPIC, Workload};

/// Requests that may wait between the client and its event loop. The examples use 10; more costs less.
const CAPACITY: usize = 1000;
/// Requests the event loop takes at once; one unless set. More than this gained nothing.
const REQUEST_BATCH: usize = 128;
/// Packets it reads at once: the most it allows. The adaptive default falls to 16 while requests wait.
const READ_BATCH: usize = 128;

/// Does the whole workload.
pub(super) fn run(workload: &Workload) -> Result<u64, Failure> {
    let mut options = MqttOptions::new("bench", ("127.0.0.1", workload.port));
    options.set_inflight(workload.window);
    options.set_max_request_batch(REQUEST_BATCH);
    options.set_read_batch_size(READ_BATCH);
    let (client, mut events) = AsyncClient::builder(options).capacity(CAPACITY).build();
    let mut network = NetworkOptions::new();
    // Off unless set; with batching it gains, while rumqttc, which writes each packet by itself, is slower with it.
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    super::runtime()?.block_on(async {
        match workload.case.direction {
            Direction::Publish => publish(client, events, *workload).await,
            Direction::Receive => receive(client, events, *workload).await,
        }
    })
}

async fn publish(client: AsyncClient, mut events: EventLoop, workload: Workload) -> Result<u64, Failure> {
    let handle = client.clone();
    let topic = ValidatedTopic::new(TOPIC)?;
    tokio::spawn(async move {
        let payload = Bytes::from_static(PAYLOAD);
        let options = PublishOptions::new(quality(workload.case.qos));
        for _ in 0..workload.messages {
            client.publish(topic.clone(), payload.clone(), options).await?;
        }
        if workload.ends_with_marker() {
            client.publish(topic, payload, PublishOptions::new(QoS::AtLeastOnce)).await?;
        }
        Ok::<_, rumqttc_next::ClientError>(())
    });
    let mut acknowledged = 0;
    while acknowledged < workload.acknowledgements() {
        if let Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) = events.poll().await? {
            acknowledged += 1;
        }
    }
    drop(handle);
    Ok(acknowledged)
}

async fn receive(client: AsyncClient, mut events: EventLoop, workload: Workload) -> Result<u64, Failure> {
    client.subscribe(TOPIC, quality(workload.case.qos)).await?;
    let mut received = 0;
    while received < workload.messages {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await? {
            received += super::inspect(publish.topic.as_ref(), &publish.payload);
        }
    }
    Ok(received)
}

fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
