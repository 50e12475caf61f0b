//! Publishing and receiving over tiny in-memory streams, with paused time.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Fragile, Ills, QOS, broker, connect, options, peers, secs, settle, topic, with_peer};
use mqtt_codec::{Connack, ConnectReturnCode, Delivery, OwnedPacket, OwnedPublish, PacketId, PacketType};
use mqtt_tokio::testing::{Faults, OnSend, Peer, TestBroker, When};
use mqtt_tokio::{
    Builder, Client, ConnectError, ConnectionError, Connector, Drain, Options, Overflow, PubSub, QoS, Status,
    Subscription,
};
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn every_qos_through_a_stream_of_any_size() {
    for buffer in [1, 2, 3, 7, 64, 4096] {
        let broker = broker();
        let client = connect(&broker, buffer, options()).await;
        let mut stream = client.subscribe("t/#", QoS::ExactlyOnce).await.unwrap();
        for len in [0, 1, 127, 128, 20_000] {
            for qos in QOS {
                let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
                client.publish("t/x", payload.clone()).qos(qos).retain(true).await.unwrap();
                let message = stream.next().await.unwrap();
                assert_eq!((message.topic(), message.qos(), message.missed()), ("t/x", qos, 0));
                assert_eq!(message.payload(), payload, "{buffer} {len} {qos:?}");
                assert!(!message.retain() && !message.dup());
                assert_eq!(message.topic_name().unwrap().as_str(), "t/x");
                assert_eq!(message.clone().into_payload(), payload);
            }
        }
        let mut late = client.subscribe("t/+", QoS::AtLeastOnce).await.unwrap();
        let message = late.next().await.unwrap();
        assert!(message.retain() && message.qos() == QoS::AtLeastOnce);
        client.disconnect(Drain::Queue(secs(60))).await.unwrap();
        assert_eq!(broker.with(|it| it.counters().connections), 1);
    }
}

/// Publishes to the client, all QoS in turn, whatever the client does.
fn flood(broker: &Arc<TestBroker>, count: u32) -> tokio::task::JoinHandle<()> {
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        for n in 0..count {
            let qos = QOS[n as usize % 3];
            broker.with(|it| it.publish(topic("in/x"), n.to_be_bytes().to_vec(), qos, false));
            tokio::task::yield_now().await;
        }
    })
}

/// What a stream got: counts and order by QoS.
#[derive(Default)]
struct Got {
    by_qos: [Vec<u32>; 3],
    missed: u64,
}

impl Got {
    fn take(&mut self, message: &mqtt_tokio::ReceivedMessage) {
        let n = u32::from_be_bytes(message.payload().try_into().unwrap());
        self.by_qos[message.qos() as usize].push(n);
        self.missed += message.missed();
    }

    /// QoS 1 and 2 whole and in order, QoS 0 in order and with all gaps reported.
    fn check(&self, sent: u32, stream: &Subscription) {
        for (qos, got) in self.by_qos.iter().enumerate() {
            assert!(got.is_sorted_by(|a, b| a < b), "{qos}: {got:?}");
            let expected = (0..sent).filter(|n| *n as usize % 3 == qos).count();
            if qos > 0 {
                assert_eq!(got.len(), expected, "QoS {qos}");
            } else {
                assert_eq!(got.len() as u64 + stream.dropped(), expected as u64, "QoS 0");
            }
        }
        assert!(self.missed <= stream.dropped(), "the last ones can be dropped with none behind to tell");
    }
}

#[tokio::test(start_paused = true)]
async fn publish_and_read_in_one_task() {
    const FLOOD: u32 = 150;
    for buffer in [1, 2, 3, 5, 16, 64, 4096] {
        for reads_between in [false, true] {
            let broker = broker();
            let options = options().max_in_flight(1).max_queue_len(1);
            let client = connect(&broker, buffer, options).await;
            let mut stream = client.subscribe("in/#", QoS::ExactlyOnce).buffer(1).await.unwrap();
            let flood = flood(&broker, FLOOD);
            let mut got = Got::default();
            let all = async {
                for n in 0..30_usize {
                    client.publish("out", vec![n as u8; n]).qos(QOS[n % 3]).await.unwrap();
                    client.publish("out", "x").qos(QOS[n % 3]).accepted().await.unwrap();
                    if reads_between {
                        got.take(&stream.next().await.unwrap());
                    }
                }
                client.subscribe("other", QoS::AtMostOnce).await.unwrap().unsubscribe().await.unwrap();
                flood.await.unwrap();
                let last = |got: &Got| got.by_qos[2].last() == Some(&(FLOOD - 1));
                while !last(&got) {
                    got.take(&stream.next().await.unwrap());
                }
            };
            timeout(secs(3600), all).await.unwrap_or_else(|_| panic!("deadlock with {buffer}"));
            got.check(FLOOD, &stream);
            assert_eq!(broker.with(|it| it.counters().connections), 1);
            client.disconnect(Drain::Queue(secs(60))).await.unwrap();
            assert_eq!(broker.with(|it| it.counters().received(PacketType::Publish)), 60);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn draining_reads_past_a_full_stream() {
    let broker = broker();
    let client = connect(&broker, 8, options()).await;
    let mut stream = client.subscribe("in/#", QoS::AtLeastOnce).buffer(1).await.unwrap();
    flood(&broker, 60).await.unwrap();
    settle().await;
    let receipt = client.publish("out", "x").qos(QoS::ExactlyOnce).receipt().await.unwrap();
    // Nobody reads, and nobody waits for the receipt.
    client.disconnect(Drain::Queue(secs(30))).await.unwrap();
    receipt.await.unwrap();
    assert!(stream.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn slow_reader_is_not_a_dead_server() {
    for buffer in [1, 64, 65_536] {
        let broker = broker();
        let client = connect(&broker, buffer, options().keep_alive(secs(10))).await;
        let mut stream = client.subscribe("in/#", QoS::ExactlyOnce).buffer(1).await.unwrap();
        flood(&broker, 300).await.unwrap();
        tokio::time::sleep(secs(10 * 3600)).await;
        assert!(client.is_connected());
        let mut got = Got::default();
        while got.by_qos[2].last() != Some(&299) {
            got.take(&timeout(secs(3600), stream.next()).await.unwrap().unwrap());
            tokio::time::sleep(secs(100)).await;
        }
        got.check(300, &stream);
        assert_eq!(stream.dropped(), 0, "nobody waited, so nothing needed to be dropped");
        assert_eq!(broker.with(|it| it.counters().connections), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pingresp_behind_messages_for_a_full_stream_is_in_time() {
    let (client, mut peer, _peers) = with_peer(4096, options()).await;
    let subscribing = async {
        let subscribe = peer.recv().await.unwrap();
        peer.answer(&subscribe).await.unwrap();
    };
    let subscribe = client.subscribe("a", QoS::AtMostOnce).buffer(1).into_future();
    let (stream, ()) = tokio::join!(subscribe, subscribing);
    let mut stream = stream.unwrap();
    peer.expect(|it| matches!(it, OwnedPacket::Pingreq)).await.unwrap();
    // The second message does not fit, and the PINGRESP lies behind it.
    peer.send_raw(b"\x30\x04\0\x01a1\x30\x04\0\x01a2\xd0\0").await.unwrap();
    let pings = tokio::spawn(async move {
        let mut pings = 0;
        while let Ok(packet) = peer.recv().await {
            assert_eq!(packet, OwnedPacket::Pingreq);
            pings += 1;
            let _ = peer.answer(&packet).await;
        }
        pings
    });
    tokio::time::sleep(secs(3600)).await;
    assert!(client.is_connected());
    assert_eq!(stream.next().await.unwrap().payload(), b"1");
    assert_eq!(stream.next().await.unwrap().payload(), b"2");
    tokio::time::sleep(secs(60)).await;
    assert!(client.is_connected());
    drop((client, stream));
    assert!(timeout(secs(60), pings).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_does_not_keep_the_client_from_reconnecting() {
    let broker = broker();
    let client = connect(&broker, 65_536, options()).await;
    let mut stream = client.subscribe("in/#", QoS::ExactlyOnce).buffer(1).await.unwrap();
    flood(&broker, 90).await.unwrap();
    settle().await;
    for n in 2..5 {
        broker.cut_all();
        tokio::time::sleep(secs(120)).await;
        assert!(client.is_connected());
        assert_eq!(broker.with(|it| it.counters().connections), n);
    }
    let mut twos = Vec::new();
    while twos.last() != Some(&89) {
        let message = timeout(secs(60), stream.next()).await.unwrap().unwrap();
        let n = u32::from_be_bytes(message.payload().try_into().unwrap());
        if message.qos() == QoS::ExactlyOnce {
            twos.push(n);
        }
    }
    assert_eq!(twos, (0..90).filter(|n| n % 3 == 2).collect::<Vec<_>>());
}

/// Messages with QoS 2 that a full stream keeps without acknowledging them come again on the next connection.
#[tokio::test(start_paused = true)]
async fn qos2_duplicate_over_reconnect() {
    let broker = broker();
    let client = connect(&broker, 4096, options()).await;
    let mut stream = client.subscribe("in/#", QoS::ExactlyOnce).buffer(2).await.unwrap();
    broker.with(|it| {
        it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop));
        for n in 0..10_u32 {
            it.publish(topic("in/x"), n.to_be_bytes().to_vec(), QoS::ExactlyOnce, false);
        }
    });
    // It waits, so the driver reads on, and sees each cut.
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.publish("out", "x").qos(QoS::AtLeastOnce).await })
    };
    tokio::time::sleep(secs(30)).await;
    for _ in 0..3 {
        broker.cut_all();
        settle().await;
        tokio::time::sleep(secs(1)).await;
    }
    for n in 0..10_u32 {
        let message = timeout(secs(5), stream.next()).await.unwrap().unwrap();
        assert_eq!(message.payload(), n.to_be_bytes());
    }
    assert!(timeout(secs(60), stream.next()).await.is_err());
    assert_eq!(broker.with(|it| it.session("c").unwrap().in_flight), 0);
    assert_eq!(broker.with(|it| it.counters().connections), 4);
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_loses_nothing_though_somebody_waits() {
    let broker = broker();
    broker.with(|it| it.set_faults(Faults::none().on_send(PacketType::Puback, When::Always, OnSend::Drop)));
    let client = connect(&broker, 64, options()).await;
    let mut stream = client.subscribe("in/#", QoS::ExactlyOnce).buffer(1).await.unwrap();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.publish("out", "x").qos(QoS::AtLeastOnce).await })
    };
    settle().await;
    flood(&broker, 60).await.unwrap();
    let mut got = Got::default();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        got.take(&timeout(secs(5), stream.next()).await.unwrap().unwrap());
    }
    got.check(60, &stream);
    assert_eq!(stream.dropped(), 0);
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_before_a_connection_ends_with_an_error() {
    let (client, mut peer, _peers) = with_peer(4096, options()).await;
    let publishing = {
        let client = client.clone();
        tokio::spawn(async move { client.publish("a", "x").qos(QoS::AtLeastOnce).await })
    };
    peer.expect(|it| matches!(it, OwnedPacket::Publish(_))).await.unwrap();
    // The PUBACK and something malformed behind it, in one piece.
    peer.send_raw(b"\x40\x02\0\x01\xff\xff").await.unwrap();
    timeout(secs(5), publishing).await.expect("woken").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_read_though_writing_fails() {
    let ills = Arc::new(Mutex::new(Ills::default()));
    let (sender, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let connector = {
        let ills = Arc::clone(&ills);
        Connector::new(move || {
            let (stream, peer) = Peer::pair(4096);
            sender.send(peer).unwrap();
            std::future::ready(Ok(Fragile::new(stream, &ills)))
        })
    };
    let options = Options::new("c").pipeline(true);
    let (client, driver) = Builder::with_connector(connector, options).build::<PubSub>().unwrap();
    let mut status = client.status();
    let driver = tokio::spawn(driver);
    let mut peer = peers.recv().await.unwrap();
    peer.recv().await.unwrap();
    // The refusal and the end of writing come at the same time: there is something to write and something to read.
    ills.lock().unwrap().broken = true;
    let publish = client.publish("a", "x").accepted();
    let code = ConnectReturnCode::NotAuthorized;
    let refusing = peer.send(OwnedPacket::Connack(Connack { session_present: false, code }));
    let (published, refused) = tokio::join!(publish, refusing);
    published.unwrap();
    refused.unwrap();
    assert!(matches!(
        timeout(secs(5), status.next()).await.unwrap(),
        Some(Status::GaveUp { error: ConnectionError::Protocol(mqtt_client::ConnectionError::Refused(_)) })
    ));
    assert!(driver.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_are_read_though_writing_fails() {
    let ills = Arc::new(Mutex::new(Ills::default()));
    let (stream, mut peer) = Peer::pair(4096);
    let stream = Mutex::new(Some(Fragile::new(stream, &ills)));
    let connector = Connector::new(move || {
        let stream = stream.lock().unwrap().take();
        std::future::ready(stream.ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into()))
    });
    let (client, driver) = Builder::with_connector(connector, options()).build::<PubSub>().unwrap();
    tokio::spawn(driver);
    peer.accept().await.unwrap();
    let first = client.publish("a", "1").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let publish = peer.recv().await.unwrap();
    ills.lock().unwrap().broken = true;
    let second = client.publish("a", "2").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    peer.answer(&publish).await.unwrap();
    timeout(secs(1), first).await.expect("the PUBACK was there").unwrap();
    assert!(timeout(secs(1), second).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_takes_its_time_is_waited_for() {
    let ills = Arc::new(Mutex::new(Ills { lazy: true, ..Ills::default() }));
    let broker = broker();
    let connector = {
        let broker = Arc::clone(&broker);
        Connector::new(move || std::future::ready(Ok(Fragile::new(broker.duplex(65_536), &ills))))
    };
    let connecting = Builder::with_connector(connector, options()).connect::<PubSub>();
    let client = timeout(secs(5), connecting).await.expect("CONNECT is flushed").unwrap();
    let publishing = client.publish("a", "x").qos(QoS::ExactlyOnce).into_future();
    timeout(secs(5), publishing).await.expect("PUBLISH and PUBREL are flushed").unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    settle().await;
    assert_eq!(broker.with(|it| it.counters().received(PacketType::Disconnect)), 1);
}

#[tokio::test(start_paused = true)]
async fn qos0_behind_window() {
    // The Server never acknowledges, so QoS 1 piles up; QoS 0 has to wait for the transport, and for that alone.
    let (client, mut peer, _peers) = with_peer(1024, options().max_in_flight(1)).await;
    for n in 0..600_u32 {
        let message = mqtt_tokio::Message::new(topic("one"), n.to_be_bytes().to_vec()).qos(QoS::AtLeastOnce);
        drop(client.try_publish(message).unwrap());
    }
    let publishing = {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                client.publish("zero", vec![0; 10_000]).await.unwrap();
            }
        })
    };
    let mut zeros = 0;
    while zeros < 40 {
        match timeout(secs(60), peer.recv()).await.expect("QoS 0 passes").unwrap() {
            OwnedPacket::Publish(publish) => zeros += usize::from(publish.delivery == Delivery::AtMostOnce),
            packet => peer.answer(&packet).await.unwrap(),
        }
    }
    publishing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn publishers_that_wait_for_room_all_get_their_turn() {
    let broker = broker();
    let client = connect(&broker, 64, options().max_in_flight(2).max_queue_len(3)).await;
    let tasks: Vec<_> = (0..50_u32)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                client.publish("a", n.to_be_bytes().to_vec()).qos(QOS[1 + n as usize % 2]).await
            })
        })
        .collect();
    for task in tasks {
        timeout(secs(60), task).await.expect("no wake-up is lost").unwrap().unwrap();
    }
    assert_eq!(broker.with(|it| it.counters().received(PacketType::Publish)), 50);
}

#[tokio::test(start_paused = true)]
async fn oversize_message_and_malformed_bytes_are_a_loss() {
    let broker = broker();
    let client = connect(&broker, 256, options().max_packet_size(1000)).await;
    let mut status = client.status();
    let stream = client.subscribe("#", QoS::AtMostOnce).await.unwrap();
    broker.with(|it| it.publish(topic("a"), vec![0; 2000], QoS::AtMostOnce, false));
    let Some(Status::Lost { error: ConnectionError::Protocol(error), .. }) = status.next().await else {
        panic!()
    };
    assert!(matches!(error, mqtt_client::ConnectionError::Oversize { .. }));
    assert!(matches!(status.next().await, Some(Status::Connected { session_present: true, .. })));
    broker.with(|it| {
        let id = it.connection_of("c").unwrap();
        it.send_raw(id, &[0x36, 0]);
    });
    let Some(Status::Lost { error: ConnectionError::Protocol(error), .. }) = status.next().await else {
        panic!()
    };
    assert!(error.to_string().contains("MQTT-3.3.1-4"), "{error}");
    assert!(matches!(status.next().await, Some(Status::Connected { session_present: true, .. })));
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_refused_at_once() {
    let (connector, _peers) = peers(64);
    let result = Builder::with_connector(connector.clone(), Options::new("")).connect::<PubSub>().await;
    assert!(result.is_ok() || matches!(result, Err(ConnectError::Connection(_))));
    let options = Options::new("c").max_in_flight(0);
    assert!(matches!(
        Builder::with_connector(connector.clone(), options).start::<PubSub>(),
        Err(ConnectError::Options(_))
    ));
    assert!(matches!(
        Client::<PubSub>::connect("nonsense", Options::new("c")).await,
        Err(ConnectError::Uri(_))
    ));
    let broker = broker();
    let client = connect(&broker, 64, Options::new("c").max_queue_size(100)).await;
    assert!(matches!(client.publish("a/#", "").await, Err(mqtt_tokio::PublishError::Topic(_))));
    assert!(matches!(
        client.subscribe("a/#/b", QoS::AtMostOnce).await,
        Err(mqtt_tokio::SubscribeError::Topic(_))
    ));
    let none: [(&str, QoS); 0] = [];
    assert!(matches!(client.subscribe_all(none).await, Err(mqtt_tokio::SubscribeError::Request(_))));
    match client.publish("a", vec![7; 200]).qos(QoS::AtLeastOnce).await {
        Err(mqtt_tokio::PublishError::TooLarge { message, .. }) => assert_eq!(message.payload, vec![7; 200]),
        other => panic!("{other:?}"),
    }
    client.publish("a", "still fine").qos(QoS::AtLeastOnce).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_to_its_bytes() {
    let (client, mut peer, _peers) = with_peer(1 << 20, options()).await;
    let subscribe = client
        .subscribe("a", QoS::AtMostOnce)
        .buffer(1000)
        .buffer_size(10_000)
        .overflow(Overflow::DropOldest)
        .into_future();
    let (stream, ()) = tokio::join!(subscribe, async {
        let subscribe = peer.recv().await.unwrap();
        peer.answer(&subscribe).await.unwrap();
    });
    let mut stream = stream.unwrap();
    let send = |len| {
        OwnedPacket::Publish(OwnedPublish {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: topic("a"),
            payload: vec![0; len].into(),
        })
    };
    for _ in 0..500 {
        peer.send(send(10)).await.unwrap();
    }
    for _ in 0..100 {
        peer.send(send(5000)).await.unwrap();
        settle().await;
    }
    let mut bytes = 0;
    let mut seen = 0;
    while let Some(message) = stream.try_next() {
        bytes += message.payload().len();
        seen += 1 + message.missed();
    }
    assert!(bytes <= 15_000, "{bytes}");
    assert_eq!(seen, 600);
    assert!(PacketId::new(1).is_some() && Duration::ZERO.is_zero());
}
