//! rumqttc: `AsyncClient` in one task, `EventLoop::poll` in another, as in its `asyncpubsub` example.

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use crate::Failure;
use crate::workload::{Direction, PAYLOAD, TOPIC, Workload};

/// Requests that may wait between the client and its event loop. The examples use 10; more costs less.
const CAPACITY: usize = 1000;

/// Does the whole workload.
pub(super) fn run(workload: &Workload) -> Result<u64, Failure> {
    let mut options = MqttOptions::new("bench", "127.0.0.1", workload.port);
    options.set_inflight(workload.window);
    let (client, events) = AsyncClient::new(options, CAPACITY);
    super::runtime()?.block_on(async {
        match workload.case.direction {
            Direction::Publish => publish(client, events, *workload).await,
            Direction::Receive => receive(client, events, *workload).await,
        }
    })
}

async fn publish(client: AsyncClient, mut events: EventLoop, workload: Workload) -> Result<u64, Failure> {
    let handle = client.clone();
    tokio::spawn(async move {
        let payload = Bytes::from_static(PAYLOAD);
        let qos = quality(workload.case.qos);
        for _ in 0..workload.messages {
            client.publish_bytes(TOPIC, qos, false, payload.clone()).await?;
        }
        if workload.ends_with_marker() {
            client.publish_bytes(TOPIC, QoS::AtLeastOnce, false, payload).await?;
        }
        Ok::<_, rumqttc::ClientError>(())
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
            received += super::inspect(publish.topic.as_bytes(), &publish.payload);
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
