//! The scripted peer, by another one.

use std::time::Duration;

use mqtt_codec::{Connack, ConnectReturnCode, DecodeError, OwnedConnect, OwnedPacket, QoS};
use mqtt_tokio::testing::{Peer, PeerError};
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

type Result<T = ()> = std::result::Result<T, PeerError>;

#[tokio::test(start_paused = true)]
async fn both_ends_speak_the_version_of_the_connect() -> Result {
    for (version, present) in [(V3_1, "CONNACK 0"), (V3_1_1, "CONNACK 0 present")] {
        for buffer_len in [1, 5, 1000] {
            let (stream, mut server) = Peer::pair(buffer_len);
            let mut client = Peer::client(stream);
            let connect = OwnedConnect { version, ..connect("a") };
            let connack = Connack { session_present: true, code: ConnectReturnCode::Accepted };
            let ask = async {
                client.send(OwnedPacket::Connect(connect.clone())).await?;
                client.recv().await
            };
            let (answer, accepted) = tokio::join!(ask, server.accept_with(connack));
            assert_eq!(accepted?, connect);
            assert_eq!(show(&answer?), present);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_packet_has_its_answer() -> Result {
    let (stream, mut server) = Peer::pair(1000);
    let mut client = Peer::client(stream);
    let rows = [
        (publish("t", "x", QoS::AtLeastOnce, 1), "PUBACK #1"),
        (publish("t", "x", QoS::ExactlyOnce, 2), "PUBREC #2"),
        (OwnedPacket::Pubrec(id(3)), "PUBREL #3"),
        (pubrel(4), "PUBCOMP #4"),
        (subscribe(5, &[("a", QoS::ExactlyOnce), ("b", QoS::AtMostOnce)]), "SUBACK #5 2 0"),
        (unsubscribe(6, &["a"]), "UNSUBACK #6"),
        (OwnedPacket::Pingreq, "PINGRESP"),
    ];
    for (packet, answer) in rows {
        client.send(packet).await?;
        let received = server.recv().await?;
        server.answer(&received).await?;
        assert_eq!(show(&client.recv().await?), answer);
    }
    for packet in [publish("t", "x", QoS::AtMostOnce, 0), OwnedPacket::Puback(id(1)), OwnedPacket::Disconnect]
    {
        server.answer(&packet).await?;
    }
    assert!(timeout(Duration::from_secs(1), client.recv()).await.is_err(), "there is no answer");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_expected_is_an_error() {
    let (stream, mut server) = Peer::pair(1000);
    let mut client = Peer::client(stream);
    client.send(OwnedPacket::Pingreq).await.unwrap();
    let error = server.expect(|it| *it == OwnedPacket::Disconnect).await.unwrap_err();
    assert_eq!(error.to_string(), "unexpected packet: Pingreq");
    client.send(OwnedPacket::Pingreq).await.unwrap();
    assert!(matches!(server.accept().await, Err(PeerError::Unexpected(_))));
    client.send(OwnedPacket::Pingreq).await.unwrap();
    assert!(matches!(server.expect_closed().await, Err(PeerError::Unexpected(_))));
    let empty = OwnedPacket::Suback { id: id(1), codes: vec![] };
    assert!(matches!(server.send(empty).await, Err(PeerError::List(_))));
    server.send_raw(&[0x30, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
    assert!(matches!(client.recv().await, Err(PeerError::Oversize(_))));
    client.send_raw(&[0x82, 0x0a, 0x00]).await.unwrap();
    client.close().await.unwrap();
    assert!(matches!(server.recv().await, Err(PeerError::Closed(3))));
    assert!(matches!(server.expect_closed().await, Err(PeerError::Closed(3))));

    let (stream, mut server) = Peer::pair(1000);
    let mut client = Peer::client(stream);
    client.send_raw(&[0xf0]).await.unwrap();
    let error = server.recv().await.unwrap_err();
    assert!(matches!(error, PeerError::Malformed(DecodeError::ReservedPacketType(15))));
}

/// A `recv` that is given up loses nothing.
#[tokio::test(start_paused = true)]
async fn receiving_is_cancel_safe() -> Result {
    let (stream, mut server) = Peer::pair(1000);
    let bytes = encode(&publish("t", "hello", QoS::AtLeastOnce, 1), V3_1_1);
    let writing = async {
        let mut client = Peer::client(stream);
        for byte in &bytes {
            client.send_raw(&[*byte]).await?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, PeerError>(client)
    };
    let reading = async {
        loop {
            if let Ok(packet) = timeout(Duration::from_millis(3), server.recv()).await {
                return packet;
            }
        }
    };
    let start = Instant::now();
    let (written, packet) = tokio::join!(writing, reading);
    written?;
    assert_eq!(show(&packet?), "PUBLISH t=hello q1 #1");
    assert!(start.elapsed() >= Duration::from_millis(10));
    Ok(())
}
