//! The broker on loopback and on streams in memory.

use std::{io, time::Duration};

use mqtt_codec::{OwnedConnect, OwnedPacket, PacketType, QoS};
use mqtt_tokio::testing::{
    Broker, BrokerOptions, CloseReason, Faults, OnSend, Peer, PeerError, Sessions, TestBroker, When,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::*;

type Result<T = ()> = std::result::Result<T, PeerError>;

/// Connects over `stream`, and returns what CONNACK says.
async fn greet<S>(stream: S, connect: OwnedConnect) -> Result<(Peer<S>, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut peer = Peer::client(stream);
    peer.send(OwnedPacket::Connect(connect)).await?;
    let connack = show(&peer.recv().await?);
    Ok((peer, connack))
}

fn kept(client_id: &str) -> OwnedConnect {
    OwnedConnect { clean_session: false, ..connect(client_id) }
}

/// Waits until the broker has noticed something that happened on another socket.
async fn until(broker: &TestBroker, condition: impl Fn(&mut Broker) -> bool) {
    let wait = async {
        while !broker.with(|it| condition(it)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.unwrap();
}

#[tokio::test]
async fn messages_travel_over_loopback() -> Result {
    let broker = TestBroker::start().await?;
    assert_eq!(broker.uri(), format!("mqtt://127.0.0.1:{}", broker.addr().port()));
    let (mut reader, connack) = greet(TcpStream::connect(broker.addr()).await?, connect("reader")).await?;
    assert_eq!(connack, "CONNACK 0");
    reader.send(subscribe(1, &[("t/+", QoS::ExactlyOnce)])).await?;
    assert_eq!(show(&reader.recv().await?), "SUBACK #1 2");
    let (mut writer, _) = greet(TcpStream::connect(broker.addr()).await?, connect("writer")).await?;
    for (number, qos) in [(1, QoS::AtMostOnce), (2, QoS::AtLeastOnce), (3, QoS::ExactlyOnce)] {
        writer.send(publish("t/x", "hello", qos, number)).await?;
        while let Ok(packet) = reader.recv().await {
            reader.answer(&packet).await?;
            let is_last = match packet {
                OwnedPacket::Publish(publish) => publish.delivery.qos() == qos && qos != QoS::ExactlyOnce,
                other => matches!(other, OwnedPacket::Pubrel { .. }),
            };
            if is_last {
                break;
            }
        }
    }
    assert_eq!(show(&writer.recv().await?), "PUBACK #2");
    let pubrec = writer.expect(|it| matches!(it, OwnedPacket::Pubrec(_))).await?;
    writer.answer(&pubrec).await?;
    assert_eq!(show(&writer.recv().await?), "PUBCOMP #3");
    writer.send(OwnedPacket::Disconnect).await?;
    writer.expect_closed().await?;
    until(&broker, |it| it.connections().count() == 1).await;
    assert_eq!(broker.with(|it| it.counters().sent(PacketType::Publish)), 3);
    Ok(())
}

/// The client writes all it has before it reads anything, through buffers of a few bytes.
#[tokio::test(start_paused = true)]
async fn tiny_buffers_do_not_deadlock() -> Result {
    const COUNT: u16 = 2000;
    let broker = TestBroker::in_memory(Broker::new());
    for buffer_len in [1, 2, 7, 64] {
        let (mut peer, _) = greet(broker.duplex(buffer_len), connect("a")).await?;
        peer.send(subscribe(1, &[("t", QoS::AtMostOnce)])).await?;
        peer.recv().await?;
        let bytes: Vec<_> =
            (1..=COUNT).flat_map(|it| encode(&publish("t", "x", QoS::AtLeastOnce, it), V3_1_1)).collect();
        let mut stream = peer.into_inner();
        // The broker takes it all although it gets rid of nothing.
        stream.write_all(&bytes).await?;
        let mut peer = Peer::client(stream);
        for number in 1..=COUNT {
            assert_eq!(show(&peer.recv().await?), "PUBLISH t=x");
            assert_eq!(show(&peer.recv().await?), format!("PUBACK #{number}"));
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_not_read_for_ever() -> Result {
    let broker = TestBroker::in_memory(Broker::with_options(BrokerOptions::new().max_output_len(1000)));
    let (peer, _) = greet(broker.duplex(100), connect("a")).await?;
    let mut stream = peer.into_inner();
    let ping = encode(&OwnedPacket::Pingreq, V3_1_1);
    let flood = async {
        loop {
            stream.write_all(&ping).await?;
        }
    };
    let ended: std::result::Result<io::Result<()>, _> = timeout(Duration::from_secs(60), flood).await;
    assert!(ended.is_err(), "it waits");
    let connection = broker.with(|it| it.connection_of("a")).unwrap();
    assert!(broker.with(|it| it.output(connection).len()) < 1000 + (16 << 10));
    // It goes on when the client takes.
    let mut peer = Peer::client(stream);
    let pings = broker.with(|it| it.counters().received(PacketType::Pingreq));
    for _ in 0..pings {
        assert_eq!(show(&peer.recv().await?), "PINGRESP");
    }
    assert!(broker.with(|it| it.wants_input(connection)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn time_passes_without_a_clock() -> Result {
    let broker = TestBroker::in_memory(Broker::new());
    let (mut peer, _) = greet(broker.duplex(64), OwnedConnect { keep_alive: 3600, ..connect("a") }).await?;
    let late = OnSend::Delay(Duration::from_secs(100));
    broker.with(|it| it.set_faults(Faults::none().on_send(PacketType::Pingresp, When::Nth(1), late)));
    let start = tokio::time::Instant::now();
    peer.send(OwnedPacket::Pingreq).await?;
    assert_eq!(show(&peer.recv().await?), "PINGRESP");
    assert_eq!(start.elapsed().as_secs(), 100);
    peer.expect_closed().await?;
    assert_eq!(start.elapsed().as_secs(), 5400);
    Ok(())
}

#[tokio::test]
async fn refusals_arrive_although_more_was_sent() -> Result {
    let broker = TestBroker::start_with(Broker::with_options(BrokerOptions::new().user("u", "p"))).await?;
    for _ in 0..50 {
        let mut peer = Peer::client(TcpStream::connect(broker.addr()).await?);
        let mut bytes = encode(&OwnedPacket::Connect(connect("a")), V3_1_1).to_vec();
        bytes.extend((0..10_000).flat_map(|_| encode(&publish("t", "early", QoS::AtMostOnce, 0), V3_1_1)));
        peer.send_raw(&bytes).await?;
        assert_eq!(show(&peer.recv().await?), "CONNACK 5");
        peer.expect_closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn cuts_are_ends_and_resets_are_resets() -> Result {
    let broker = TestBroker::start().await?;
    let (mut peer, _) = greet(TcpStream::connect(broker.addr()).await?, connect("a")).await?;
    broker.cut_all();
    peer.expect_closed().await?;

    let (mut peer, _) = greet(TcpStream::connect(broker.addr()).await?, connect("a")).await?;
    let id = broker.with(|it| it.connection_of("a")).unwrap();
    broker.with(|it| it.reset(id));
    match peer.recv().await {
        Err(PeerError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn the_broker_stops_and_starts_again_on_its_port() -> Result {
    let broker = TestBroker::start().await?;
    let rows = [
        (Sessions::Keep, "CONNACK 0"),
        (Sessions::Keep, "CONNACK 0 present"),
        (Sessions::Lose, "CONNACK 0 present"),
        (Sessions::Lose, "CONNACK 0"),
    ];
    for (sessions, expected) in rows {
        let (mut peer, connack) = greet(TcpStream::connect(broker.addr()).await?, kept("a")).await?;
        assert_eq!(connack, expected);
        broker.stop().await;
        assert!(!broker.is_running());
        assert!(peer.recv().await.is_err());
        assert!(TcpStream::connect(broker.addr()).await.is_err());
        assert_eq!(broker.with(|it| it.connections().count()), 0);
        broker.restart(sessions).await?;
        assert!(broker.is_running());
    }
    // Streams in memory are cut as well, and there are new ones again.
    let (mut peer, _) = greet(broker.duplex(64), connect("b")).await?;
    broker.stop().await;
    peer.expect_closed().await?;
    Peer::client(broker.duplex(64)).expect_closed().await?;
    broker.restart(Sessions::Keep).await?;
    assert_eq!(greet(broker.duplex(64), connect("b")).await?.1, "CONNACK 0");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_it_ends_everything() -> Result {
    for _ in 0..20 {
        let broker = TestBroker::start().await?;
        let addr = broker.addr();
        let (mut tcp, _) = greet(TcpStream::connect(addr).await?, connect("a")).await?;
        let (mut memory, _) = greet(broker.duplex(64), connect("b")).await?;
        drop(broker);
        assert!(tcp.recv().await.is_err());
        memory.expect_closed().await?;
    }
    Ok(())
}

/// The runtime may be gone before the broker is.
#[test]
fn it_outlives_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (broker, stream) = runtime.block_on(async {
        let broker = TestBroker::start().await.unwrap();
        let stream = broker.duplex(64);
        (broker, stream)
    });
    drop(runtime);
    assert_eq!(broker.with(|it| it.connections().count()), 0);
    drop((broker, stream));
}

#[tokio::test]
async fn a_failed_assertion_within_with_harms_nobody_else() -> Result {
    let broker = TestBroker::start().await?;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        broker.with(|_| panic!("a failed assertion"));
    }));
    assert!(panicked.is_err());
    assert_eq!(greet(TcpStream::connect(broker.addr()).await?, connect("a")).await?.1, "CONNACK 0");
    Ok(())
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_will() -> Result {
    let broker = TestBroker::start().await?;
    let will = will("gone", "a", QoS::AtMostOnce, true);
    let (peer, _) =
        greet(TcpStream::connect(broker.addr()).await?, OwnedConnect { will, ..connect("a") }).await?;
    let id = broker.with(|it| it.connection_of("a")).unwrap();
    drop(peer);
    until(&broker, |it| !it.retained().is_empty()).await;
    assert_eq!(broker.with(|it| it.close_reason(id)), Some(CloseReason::TransportClosed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_pass_at_all_qos() -> Result {
    const COUNT: u32 = 20_000;
    let broker = TestBroker::start().await?;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut reader, _) = greet(TcpStream::connect(broker.addr()).await?, connect("reader")).await?;
        reader.send(subscribe(1, &[("t", qos)])).await?;
        reader.recv().await?;
        let addr = broker.addr();
        let writer = tokio::spawn(async move {
            let (mut peer, _) = greet(TcpStream::connect(addr).await?, connect("writer")).await?;
            for number in 0..COUNT {
                let id = u16::try_from(number % 60_000 + 1).unwrap();
                peer.send(publish("t", &number.to_string(), qos, id)).await?;
                let mut done = qos == QoS::AtMostOnce;
                while !done {
                    let answer = peer.recv().await?;
                    peer.answer(&answer).await?;
                    done = matches!(answer, OwnedPacket::Puback(_) | OwnedPacket::Pubcomp(_));
                }
            }
            Ok::<_, PeerError>(peer)
        });
        let mut next = 0;
        while next < COUNT {
            let packet = reader.recv().await?;
            reader.answer(&packet).await?;
            if let OwnedPacket::Publish(publish) = packet {
                assert_eq!(publish.payload, next.to_string().as_bytes());
                next += 1;
            }
        }
        drop(writer.await.unwrap()?);
    }
    Ok(())
}
