//! Statements of the standard that concern the transport.

use std::time::Duration;

use mqtt_codec::{Connack, ConnectReturnCode, OwnedPacket, Packet, ProtocolVersion};
use mqtt_tokio::bytes::BytesMut;
use mqtt_tokio::testing::TestBroker;
use mqtt_tokio::{Client, Drain, Options, PubSub, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2]: behind DISCONNECT the client closes, and sends nothing more.
#[tokio::test]
async fn the_connection_is_closed_behind_disconnect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("mqtt://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut connack = BytesMut::new();
        let packet = Packet::Connack(Connack { session_present: false, code: ConnectReturnCode::Accepted });
        packet.encode(ProtocolVersion::V3_1_1, &mut connack).unwrap();
        stream.write_all(&connack).await.unwrap();
        let mut all = Vec::new();
        // Ends only when the client closes.
        stream.read_to_end(&mut all).await.unwrap();
        all
    });
    let client = Client::<PubSub>::connect(&uri, Options::new("a")).await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    let all = tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    assert!(all.ends_with(&[0xe0, 0x00]), "{all:x?}");
    assert_eq!(all.iter().filter(|byte| **byte == 0xe0).count(), 1);
}

/// [MQTT-7.0.0-2]: a plain client on a plain connection gets its work done with plain packets.
#[tokio::test]
async fn nothing_beyond_the_standard_is_needed() {
    let broker = TestBroker::start().await.unwrap();
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        let options = Options::new("a").version(version);
        let client = Client::<PubSub>::connect(&broker.uri(), options).await.unwrap();
        let mut messages = client.subscribe("t", QoS::ExactlyOnce).await.unwrap();
        client.publish("t", "x").qos(QoS::ExactlyOnce).await.unwrap();
        assert_eq!(messages.next().await.unwrap().payload(), b"x");
        client.disconnect(Drain::Now).await.unwrap();
    }
    let connects = broker
        .with(|broker| broker.log().filter(|entry| matches!(&entry.packet, OwnedPacket::Connect(_))).count());
    assert_eq!(connects, 2);
}
