//! ntex-mqtt: `MqttSink` beside the client's dispatcher, on ntex's tokio backend (a current-thread runtime).

use std::cell::Cell;
use std::rc::Rc;

use ntex_bytes::{ByteString, Bytes};
use ntex_mqtt::v3::client::{Client, Connect, MqttConnector};
use ntex_mqtt::v3::{self, MqttSink};
use ntex_mqtt::{MqttServiceConfig, QoS};
use ntex_rt::System;
use ntex_service::cfg::SharedCfg;
use ntex_service::pipeline::Pipeline;
use ntex_util::task::{LocalWaker, yield_to};

use crate::Failure;
use crate::workload::{Direction, PAYLOAD, TOPIC, Workload};

/// QoS 0 messages between two turns of the task that writes: the sink itself never makes a publisher wait.
const BURST: u64 = 500;

/// Does the whole workload.
pub(super) fn run(workload: &Workload) -> Result<u64, Failure> {
    let workload = *workload;
    if workload.case == (crate::workload::Case { direction: Direction::Receive, qos: 2 }) {
        return Err("its MQTT 3.1.1 client answers QoS 2 with PUBACK".into());
    }
    System::build().name("bench").disable_signals().build(ntex_net::DefaultRuntime).block_on(async move {
        let options = MqttServiceConfig::new().set_max_send(workload.window).set_max_receive(workload.window);
        let connector = Pipeline::new(SharedCfg::from(options), MqttConnector::new());
        let connect = Connect::new(format!("127.0.0.1:{}", workload.port)).client_id("bench");
        let client = connector.call(connect).await.map_err(|error| format!("{error:?}"))?;
        match workload.case.direction {
            Direction::Publish => publish(client, workload).await,
            Direction::Receive => receive(client, workload).await,
        }
    })
}

async fn publish(client: Client, workload: Workload) -> Result<u64, Failure> {
    let sink = client.sink();
    ntex_rt::spawn(client.start_default());
    let seen = match workload.case.qos {
        0 => publish_unacknowledged(&sink, workload).await,
        1 => publish_acknowledged(&sink, workload).await,
        _ => publish_exactly_once(&sink, workload).await,
    };
    sink.close();
    seen
}

async fn publish_unacknowledged(sink: &MqttSink, workload: Workload) -> Result<u64, Failure> {
    let payload = Bytes::from_static(PAYLOAD);
    for count in 1..=workload.messages {
        if !sink.ready().await {
            return Err("the connection is lost".into());
        }
        sink.publish(ByteString::from_static(TOPIC)).send_at_most_once(payload.clone()).map_err(debug)?;
        if count % BURST == 0 {
            yield_to().await;
        }
    }
    sink.publish(ByteString::from_static(TOPIC)).send_at_least_once(payload).await.map_err(debug)?;
    Ok(1)
}

/// The way its documentation gives for not waiting for each PUBACK: a callback counts them.
async fn publish_acknowledged(sink: &MqttSink, workload: Workload) -> Result<u64, Failure> {
    let payload = Bytes::from_static(PAYLOAD);
    let acknowledged = Counter::new(workload.messages);
    let counter = acknowledged.clone();
    sink.publish_ack_cb(move |_, _| counter.add(1));
    for _ in 0..workload.messages {
        if !sink.ready().await {
            return Err("the connection is lost".into());
        }
        let message = sink.publish(ByteString::from_static(TOPIC));
        message.send_at_least_once_no_block(payload.clone()).map_err(debug)?;
    }
    Ok(acknowledged.complete().await)
}

/// One after the other: this version's sink releases only the message received last.
async fn publish_exactly_once(sink: &MqttSink, workload: Workload) -> Result<u64, Failure> {
    let payload = Bytes::from_static(PAYLOAD);
    for _ in 0..workload.messages {
        let message = sink.publish(ByteString::from_static(TOPIC));
        let received = message.send_exactly_once(payload.clone()).await.map_err(debug)?;
        received.release().await.map_err(debug)?;
    }
    Ok(workload.messages)
}

async fn receive(client: Client, workload: Workload) -> Result<u64, Failure> {
    let sink = client.sink();
    let received = Counter::new(workload.messages);
    let counter = received.clone();
    let router = client.resource(TOPIC, async move |message: v3::Publish| {
        let payload = message.read_all().await.map_err(|_| ())?;
        counter.add(super::inspect(message.publish_topic().as_bytes(), &payload));
        Ok::<_, ()>(())
    });
    ntex_rt::spawn(router.start_default());
    let qos = if workload.case.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    sink.subscribe().topic_filter(TOPIC.into(), qos).send().await.map_err(debug)?;
    let seen = received.complete().await;
    sink.close();
    Ok(seen)
}

/// Counts to a goal and wakes whoever waits for it.
#[derive(Clone)]
struct Counter(Rc<(Cell<u64>, u64, LocalWaker)>);

impl Counter {
    fn new(goal: u64) -> Self {
        Self(Rc::new((Cell::new(0), goal, LocalWaker::new())))
    }

    fn add(&self, more: u64) {
        let (count, goal, waker) = &*self.0;
        count.set(count.get() + more);
        if count.get() >= *goal {
            waker.wake();
        }
    }

    async fn complete(&self) -> u64 {
        std::future::poll_fn(|context| {
            let (count, goal, waker) = &*self.0;
            waker.register(context.waker());
            if count.get() >= *goal { std::task::Poll::Ready(count.get()) } else { std::task::Poll::Pending }
        })
        .await
    }
}

fn debug(error: impl std::fmt::Debug) -> Failure {
    format!("{error:?}").into()
}
