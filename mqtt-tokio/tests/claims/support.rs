//! What the tests share: a Session with messages, and what became of them.

use std::sync::Arc;

use mqtt_codec::{Connack, ConnectReturnCode, Delivery, OwnedPacket, OwnedPublish, PacketId};
use mqtt_tokio::testing::{Broker, Peer, TestBroker};
use mqtt_tokio::{
    AckMode, Builder, Client, Drain, Options, ProtocolVersion, PubSub, QoS, Status, StatusStream,
    Subscription,
};

use crate::common::{connect, peers, poll_times, settle, topic};

pub(crate) const MODES: [AckMode; 2] = [AckMode::Automatic, AckMode::Manual];

/// Both versions, and both QoS that are acknowledged.
pub(crate) fn cases() -> impl Iterator<Item = (ProtocolVersion, QoS)> {
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1]
        .into_iter()
        .flat_map(|version| [(version, QoS::AtLeastOnce), (version, QoS::ExactlyOnce)])
}

/// An earlier process subscribes `filters`, and ends.
pub(crate) async fn earlier(broker: &Arc<TestBroker>, filters: &[&str], options: Options) {
    let client = connect(broker, 4096, options).await;
    for filter in filters {
        drop(tokio::spawn(keep(client.subscribe(*filter, QoS::ExactlyOnce).await.unwrap())));
    }
    client.disconnect(Drain::Now).await.unwrap();
    settle().await;
    broker.with(Broker::clear_log);
}

/// Reads until the client is closed: to drop a stream would be to unsubscribe.
pub(crate) async fn keep(mut stream: Subscription) {
    while stream.next().await.is_some() {}
}

/// The broker gets a message for the Session.
pub(crate) fn publish(broker: &TestBroker, name: &str, n: u32, qos: QoS) {
    broker.with(|it| it.publish(topic(name), n.to_be_bytes().to_vec(), qos, false));
}

/// What is there to take, acknowledged in the manual mode too.
pub(crate) fn take_all(stream: &mut Subscription) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(mut message) = stream.try_next() {
        message.ack();
        numbers.push(u32::from_be_bytes(message.payload().try_into().unwrap()));
    }
    numbers
}

/// How many messages the Server has sent and got no acknowledgement for.
pub(crate) fn unacknowledged(broker: &TestBroker) -> usize {
    broker.with(|it| it.session("c").unwrap().in_flight)
}

/// The counts that were told so far.
pub(crate) async fn told(status: &mut StatusStream) -> Vec<u64> {
    let mut counts = Vec::new();
    while let Some(Some(change)) = poll_times(status.next(), 1).await {
        if let Status::Unclaimed { count } = change {
            counts.push(count);
        }
    }
    counts
}

pub(crate) const PRESENT: Connack = Connack { session_present: true, code: ConnectReturnCode::Accepted };

pub(crate) fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

pub(crate) fn message(name: &str, n: u16, qos: QoS) -> OwnedPacket {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(n), dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(n), dup: false },
    };
    let payload = u32::from(n).to_be_bytes().to_vec().into();
    OwnedPacket::Publish(OwnedPublish { topic: topic(name), payload, delivery, retain: false })
}

pub(crate) type Watched = (Client<PubSub>, StatusStream);

/// A client whose Session the peer has kept.
pub(crate) async fn resumed(options: Options) -> (Watched, Peer, tokio::sync::mpsc::UnboundedReceiver<Peer>) {
    let (connector, mut peers) = peers(1 << 20);
    let client = Builder::with_connector(connector, options).start::<PubSub>().unwrap();
    let status = client.status();
    let mut peer = peers.recv().await.unwrap();
    peer.accept_with(PRESENT).await.unwrap();
    ((client, status), peer, peers)
}
