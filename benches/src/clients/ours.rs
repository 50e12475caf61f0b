//! mqtt-tokio: the driver is spawned by `connect`; publishing waits for a place in the queue, not for each outcome.

use std::time::Duration;

use bytes::Bytes;
use mqtt_tokio::{Client, Drain, Options, PubSub, QoS, TopicName};

use crate::Failure;
use crate::workload::{Direction, PAYLOAD, TOPIC, Workload};

/// How long the last acknowledgements may take.
const LAST: Duration = Duration::from_secs(60);

/// Does the whole workload.
pub(super) fn run(workload: &Workload) -> Result<u64, Failure> {
    super::runtime()?.block_on(async {
        let uri = format!("mqtt://127.0.0.1:{}", workload.port);
        let window = u32::from(workload.window);
        let options = Options::new("bench").max_in_flight(window).max_in_flight_qos2(window);
        let client = Client::<PubSub>::connect(&uri, options).await?;
        match workload.case.direction {
            Direction::Publish => publish(&client, workload).await,
            Direction::Receive => receive(&client, workload).await,
        }
    })
}

async fn publish(client: &Client<PubSub>, workload: &Workload) -> Result<u64, Failure> {
    let (topic, payload) = (TopicName::from_static(TOPIC)?, Bytes::from_static(PAYLOAD));
    let qos = quality(workload.case.qos);
    for _ in 0..workload.messages {
        client.publish(topic.clone(), payload.clone()).qos(qos).accepted().await?;
    }
    if workload.ends_with_marker() {
        client.publish(topic, payload).qos(QoS::AtLeastOnce).await?;
    }
    // Ends well only when every acknowledgement has come.
    client.disconnect(Drain::Queue(LAST)).await?;
    Ok(client.stats().delivered)
}

async fn receive(client: &Client<PubSub>, workload: &Workload) -> Result<u64, Failure> {
    let mut messages = client.subscribe(TOPIC, quality(workload.case.qos)).await?;
    let mut received = 0;
    while received < workload.messages {
        let message = messages.next().await.ok_or("the client was closed")?;
        received += super::inspect(message.topic().as_bytes(), message.payload());
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
