//! How a client ends, in every phase.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{broker, builder, connect, count, options, peers, secs, settle, topic, with_peer};
use mqtt_codec::{OwnedPacket, PacketType};
use mqtt_tokio::testing::{BrokerOptions, CloseReason, Faults, OnReceive, OnSend, TestBroker, When};
use mqtt_tokio::{
    Builder, Client, ConnectError, Connector, DisconnectError, Drain, Message, Options, PubSub, PublishError,
    QoS, Status, SubscribeError, TopicName, Will,
};
use tokio::time::{Instant, timeout};

/// A client whose end the broker will judge: with a will, and the only one so far.
async fn with_will(broker: &Arc<TestBroker>, buffer: usize) -> Client<PubSub> {
    let will = Will::new(TopicName::try_from("will").unwrap(), "gone").retain(true);
    connect(broker, buffer, options().will(will).max_in_flight_qos2(7)).await
}

/// DISCONNECT was the last thing that the broker got, and no will was published.
fn ended_cleanly(broker: &TestBroker) -> bool {
    count(broker, PacketType::Disconnect) == 1 && broker.with(|it| it.retained().is_empty())
}

#[tokio::test(start_paused = true)]
async fn exit_is_clean() {
    for buffer in [1, 64, 4096] {
        let broker = broker();
        let client = with_will(&broker, buffer).await;
        let second = client.clone();
        let stream = client.subscribe("a", QoS::AtMostOnce).await.unwrap();
        let id = broker.with(|it| it.connection_of("c").unwrap());
        drop(client);
        drop(second);
        tokio::time::sleep(secs(100)).await;
        // The stream alone keeps it.
        assert!(broker.with(|it| it.connection_of("c").is_some()));
        drop(stream);
        tokio::time::sleep(secs(1)).await;
        assert!(ended_cleanly(&broker));
        assert_eq!(broker.with(|it| it.close_reason(id)), Some(CloseReason::Disconnect));
        // What the stream had subscribed is ended too.
        assert_eq!(count(&broker, PacketType::Unsubscribe), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_delivered_after_the_last_handle() {
    let broker = broker();
    let client = with_will(&broker, 16).await;
    for _ in 0..50 {
        drop(client.publish("a", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap());
    }
    drop(client);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(count(&broker, PacketType::Pubrel), 50);
    assert!(ended_cleanly(&broker));
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_while_dialling_is_delivered_after_the_last_handle() {
    let broker = broker();
    let connector = {
        let broker = Arc::clone(&broker);
        Connector::new(move || {
            let broker = Arc::clone(&broker);
            async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(broker.duplex(64))
            }
        })
    };
    let client = Builder::with_connector(connector, options()).start::<PubSub>().unwrap();
    client.publish("a", "x").qos(QoS::AtLeastOnce).accepted().await.unwrap();
    settle().await;
    drop(client);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(count(&broker, PacketType::Publish), 1);
    assert!(ended_cleanly(&broker));
}

#[tokio::test(start_paused = true)]
async fn disconnect_drains_what_it_is_told_to() {
    for drain in [Drain::Now, Drain::InFlight(secs(5)), Drain::Queue(secs(5))] {
        let broker = broker();
        let client = with_will(&broker, 16).await;
        let mut receipts = Vec::new();
        for _ in 0..300 {
            receipts.push(client.publish("a", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap());
        }
        let clone = client.clone();
        assert_eq!(client.disconnect(drain).await, Ok(()));
        let mut delivered = 0;
        for receipt in receipts {
            match timeout(secs(1), receipt).await.expect("every receipt is resolved") {
                Ok(()) => delivered += 1,
                Err(PublishError::NotSent(_) | PublishError::Ambiguous(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        match drain {
            Drain::Now => assert!(delivered < 300),
            Drain::InFlight(_) => assert_eq!(delivered, 7, "the window of QoS 2, and nothing of the queue"),
            Drain::Queue(_) => assert_eq!(delivered, 300),
        }
        settle().await;
        assert!(ended_cleanly(&broker), "{drain:?}");
        assert!(!clone.is_connected());
        assert_eq!(clone.disconnect(drain).await, Err(DisconnectError::Closed));
        assert_eq!(clone.publish("a", "x").await, Err(PublishError::Closed));
        assert!(matches!(clone.subscribe("a", QoS::AtMostOnce).await, Err(SubscribeError::Closed)));
        assert!(matches!(clone.unsubscribe("a").await, Err(SubscribeError::Closed)));
        assert!(matches!(clone.connected().await, Err(ConnectError::Closed)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_its_time_is_up() {
    for drain in [Drain::InFlight(secs(7)), Drain::Queue(secs(7))] {
        let broker = broker();
        broker.with(|it| {
            it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop));
        });
        let client = connect(&broker, 64, options().max_in_flight(2)).await;
        for _ in 0..5 {
            drop(client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
        }
        let start = Instant::now();
        let expected = if matches!(drain, Drain::Queue(_)) { 5 } else { 2 };
        match client.disconnect(drain).await {
            Err(DisconnectError::Undelivered { unresolved, within }) => {
                assert_eq!((unresolved, within), (expected, secs(7)));
            }
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() >= secs(7) && start.elapsed() < secs(8));
        assert_eq!(count(&broker, PacketType::Disconnect), 1);
    }
}

/// A Server that reads nothing cannot keep the client.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_is_left() {
    let (client, peer, _peers) = with_peer(8, options()).await;
    let receipt = client.publish("a", vec![0; 1000]).qos(QoS::AtLeastOnce).receipt().await.unwrap();
    settle().await;
    let start = Instant::now();
    client.disconnect(Drain::Now).await.unwrap();
    assert!(start.elapsed() <= secs(1));
    // A part of it had left.
    assert!(matches!(receipt.await, Err(PublishError::Ambiguous(_))));
    drop(peer);
}

/// A Server that reads on only when its own bytes are taken gets the DISCONNECT all the same.
#[tokio::test(start_paused = true)]
async fn what_still_comes_is_read_while_disconnecting() {
    let (client, mut peer, _peers) = with_peer(4, options()).await;
    let blocked = tokio::spawn(async move {
        peer.send_raw(&b"\x30\x03\0\x01a".repeat(100)).await.unwrap();
        let mut last = None;
        while let Ok(packet) = peer.recv().await {
            last = Some(packet);
        }
        last
    });
    // More than fits: it leaves only if the other side reads on.
    client.publish("a", vec![0; 1000]).await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    assert_eq!(blocked.await.unwrap(), Some(OwnedPacket::Disconnect));
}

#[tokio::test(start_paused = true)]
async fn disconnecting_without_a_connection() {
    let broker = broker();
    let client = connect(&broker, 64, options()).await;
    broker.stop().await;
    tokio::time::sleep(secs(2)).await;
    // Nothing is pending: nothing is waited for.
    for drain in [Drain::Queue(secs(60)), Drain::InFlight(secs(60)), Drain::Now] {
        let client = builder(&broker, 64, options()).start::<PubSub>().unwrap();
        let start = Instant::now();
        client.disconnect(drain).await.unwrap();
        assert!(start.elapsed() < secs(1), "{drain:?}");
    }
    let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    match client.disconnect(Drain::Queue(secs(5))).await {
        Err(DisconnectError::Undelivered { unresolved: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(receipt.await, Err(PublishError::NotSent(_))));
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_over_a_reconnect() {
    let broker = broker();
    let client = connect(&broker, 64, options()).await;
    broker.with(|it| {
        let faults = Faults::none().on_receive(PacketType::Publish, When::Nth(5), OnReceive::CutBefore);
        it.set_faults(faults);
    });
    for _ in 0..20 {
        drop(client.publish("a", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap());
    }
    client.disconnect(Drain::Queue(secs(60))).await.unwrap();
    assert_eq!(broker.with(|it| it.counters().connections), 2);
    assert_eq!(count(&broker, PacketType::Disconnect), 1);
}

#[tokio::test(start_paused = true)]
async fn giving_up_while_draining_is_not_success() {
    let (client, peer, peers) = with_peer(64, options()).await;
    drop(client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
    let client2 = client.clone();
    let closing = tokio::spawn(async move { client2.disconnect(Drain::Queue(secs(600))).await });
    settle().await;
    // From now on nobody answers, and then the credentials are refused.
    drop(peer);
    let mut peers = peers;
    let mut peer = peers.recv().await.unwrap();
    let code = mqtt_codec::ConnectReturnCode::BadUserNameOrPassword;
    peer.accept_with(mqtt_codec::Connack { session_present: false, code }).await.unwrap();
    match closing.await.unwrap() {
        Err(DisconnectError::Undelivered { unresolved: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_disconnects_at_once() {
    let broker = broker();
    broker.with(|it| it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop)));
    let client = connect(&broker, 64, options()).await;
    drop(client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap());
    let patient = client.disconnect(Drain::Queue(secs(60)));
    let hasty = async {
        settle().await;
        client.disconnect(Drain::Now).await
    };
    let (patient, hasty) = tokio::join!(patient, hasty);
    assert!(matches!(patient, Err(DisconnectError::Undelivered { unresolved: 1, .. })));
    assert_eq!(hasty, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_run_and_one_that_is_dropped() {
    let (connector, _peers) = peers(64);
    let (client, driver) = Builder::with_connector(connector.clone(), options()).build::<PubSub>().unwrap();
    let mut status = client.status();
    let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let waiting = client.publish("a", "y").qos(QoS::AtLeastOnce).into_future();
    assert!(timeout(secs(1000), waiting).await.is_err(), "nothing happens unless it runs");
    assert!(matches!(client.publish("a", "z").await, Err(PublishError::NotConnected(_))));
    let (subscribed, ()) = tokio::join!(client.subscribe("a", QoS::AtMostOnce).into_future(), async {
        settle().await;
        drop(driver);
    });
    assert!(matches!(subscribed, Err(SubscribeError::Failed(_))));
    assert!(matches!(receipt.await, Err(PublishError::NotSent(_))));
    assert!(matches!(status.next().await, Some(Status::Disconnected)));
    assert!(status.next().await.is_none());
    assert!(client.status().next().await.is_none());
    assert_eq!(client.disconnect(Drain::Now).await, Err(DisconnectError::Closed));

    // Also those who wait for room.
    let (client, driver) =
        Builder::with_connector(connector.clone(), options().max_queue_len(0)).build::<PubSub>().unwrap();
    let (published, ()) = tokio::join!(client.publish("a", "x").qos(QoS::AtLeastOnce).into_future(), async {
        settle().await;
        drop(driver);
    });
    assert_eq!(published, Err(PublishError::Closed));

    // The same in every state of a connection.
    for millis in [0, 1, 5, 50, 500] {
        let broker = broker();
        let (client, driver) = builder(&broker, 1, options()).build::<PubSub>().unwrap();
        let driver = tokio::spawn(driver);
        let receipts: Vec<_> = (0..5)
            .map(|_| client.try_publish(Message::new(topic("a"), "x").qos(QoS::ExactlyOnce)).unwrap())
            .collect();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let subscribing = client.subscribe("a", QoS::AtMostOnce).into_future();
        driver.abort();
        assert!(driver.await.unwrap_err().is_cancelled());
        assert!(timeout(secs(1), subscribing).await.expect("told").is_err());
        for receipt in receipts {
            drop(timeout(secs(1), receipt).await.expect("resolved"));
        }
        assert_eq!(client.publish("a", "x").await, Err(PublishError::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_tells_how_it_ended() {
    let broker = broker();
    let (client, driver) = builder(&broker, 64, options()).build::<PubSub>().unwrap();
    let driver = tokio::spawn(driver);
    client.connected().await.unwrap();
    client.connected().await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    driver.await.unwrap().unwrap();
    let (client, driver) = builder(&broker, 64, options()).build::<PubSub>().unwrap();
    drop(client);
    timeout(secs(1), driver).await.expect("nobody is there").unwrap();
}

#[tokio::test(start_paused = true)]
async fn connecting_that_is_given_up_ends_the_driver() {
    let (connector, mut peers) = peers(64);
    let connecting = Builder::with_connector(connector, options()).connect::<PubSub>();
    assert!(timeout(secs(1), connecting).await.is_err());
    let mut peer = peers.recv().await.unwrap();
    // CONNECT, then DISCONNECT or nothing, then the end.
    assert!(matches!(peer.recv().await.unwrap(), OwnedPacket::Connect(_)));
    if let Ok(packet) = peer.recv().await {
        assert_eq!(packet, OwnedPacket::Disconnect);
    }
    assert!(timeout(secs(60), peers.recv()).await.expect("the driver ended").is_none());
}

/// Nobody is there any more, and there is no connection to say goodbye on.
#[tokio::test(start_paused = true)]
async fn exit_without_a_connection() {
    type Dialled = std::io::Result<tokio::io::DuplexStream>;
    let endless = Connector::new(std::future::pending::<Dialled>);
    let failing = Connector::new(|| std::future::ready(Dialled::Err(std::io::ErrorKind::NotFound.into())));
    for connector in [endless, failing] {
        for accepted in [false, true] {
            let options = Options::new("c").connack_timeout(secs(3600));
            let options =
                options.backoff(mqtt_tokio::Backoff::default().initial(secs(36_000)).max(secs(36_000)));
            let (client, driver) =
                Builder::with_connector(connector.clone(), options).build::<PubSub>().unwrap();
            let driver = tokio::spawn(driver);
            if accepted {
                client.publish("a", "x").qos(QoS::AtLeastOnce).accepted().await.unwrap();
            }
            settle().await;
            drop(client);
            timeout(secs(1), driver).await.expect("within a second").unwrap().unwrap();
        }
    }
}

#[test]
fn a_runtime_that_is_shut_down_closes_the_client() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, receipt, mut stream) = runtime.block_on(async {
        let broker = TestBroker::start_with(mqtt_tokio::testing::Broker::with_options(BrokerOptions::new()))
            .await
            .unwrap();
        let client = Client::<PubSub>::connect(&broker.uri(), Options::new("c")).await.unwrap();
        let stream = client.subscribe("a", QoS::AtMostOnce).await.unwrap();
        broker.with(|it| {
            it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop));
        });
        let receipt = client.publish("a", "x").qos(QoS::AtLeastOnce).receipt().await.unwrap();
        (client, receipt, stream)
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        assert!(receipt.await.is_err());
        assert!(stream.next().await.is_none());
        assert_eq!(client.publish("a", "x").await, Err(PublishError::Closed));
        assert_eq!(client.disconnect(Drain::Queue(secs(1))).await, Err(DisconnectError::Closed));
    });
}

#[tokio::test(start_paused = true)]
async fn password_in_debug() {
    let options = options().credentials("user", Some("s3cr3t-word"));
    let broker = broker();
    let builder = builder(&broker, 4096, options);
    assert!(!format!("{builder:?}").contains("s3cr3t"));
    let (client, driver) = builder.build::<PubSub>().unwrap();
    let publish = client.publish("a", "payl0ad");
    let shown = format!("{client:?} {driver:?} {:?} {publish:?}", client.status());
    assert!(!shown.contains("s3cr3t") && !shown.contains("payl0ad"), "{shown}");
    let uri = "mqtt://user:s3cr3t-word@h/x";
    let error = Client::<PubSub>::connect(uri, Options::new("c")).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("s3cr3t"));
}

/// QoS 0 has no acknowledgement: it is waited for until the transport has it.
#[tokio::test(start_paused = true)]
async fn qos_0_that_is_not_written_yet_is_waited_for() {
    for (drain, reads_after, expected) in [
        (Drain::Queue(secs(10)), Some(secs(5)), 200_000),
        (Drain::InFlight(secs(10)), Some(secs(5)), 200_000),
        (Drain::Queue(secs(10)), None, 0),
        (Drain::Now, None, 0),
    ] {
        let (client, mut peer, _) = with_peer(4096, options()).await;
        client.publish("a", vec![0; 200_000]).await.unwrap();
        let begin = Instant::now();
        let reader = tokio::spawn(async move {
            let Some(after) = reads_after else { std::future::pending().await };
            tokio::time::sleep(after).await;
            let OwnedPacket::Publish(publish) = peer.recv().await.unwrap() else { panic!("a PUBLISH") };
            peer.expect(|packet| *packet == OwnedPacket::Disconnect).await.unwrap();
            peer.expect_closed().await.unwrap();
            publish.payload.len()
        });
        let ended = client.disconnect(drain).await;
        match (drain, reads_after) {
            (_, Some(after)) => {
                ended.unwrap();
                assert!((after..after + secs(1)).contains(&begin.elapsed()));
                assert_eq!(reader.await.unwrap(), expected);
            }
            (Drain::Now, None) => {
                ended.unwrap();
                assert!(begin.elapsed() < secs(1));
            }
            (_, None) => {
                let Err(DisconnectError::Unsent { size, within }) = ended else { panic!("{ended:?}") };
                assert!((190_000..200_100).contains(&size) && within == secs(10), "{size}");
                assert!((secs(10)..secs(11)).contains(&begin.elapsed()));
            }
        }
    }
}
