//! More messages than a stream's buffer holds, from a Server that does not wait.

use std::time::Duration;

use bytes::BytesMut;
use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, Packet, PacketId, ProtocolVersion, Publish, Suback, SubackCode,
    SubackCodes, TopicNameRef,
};
use mqtt_tokio::{Builder, Client, Connector, Options, PubSub, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_flood_is_received_whole() {
    const COUNT: u32 = 20_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut out = BytesMut::new();
        let v = ProtocolVersion::V3_1_1;
        let mut buf = [0; 1024];
        let _ = stream.read(&mut buf).await.unwrap();
        Packet::Connack(Connack { session_present: false, code: ConnectReturnCode::Accepted })
            .encode(v, &mut out)
            .unwrap();
        stream.write_all(&out.split()).await.unwrap();
        let _ = stream.read(&mut buf).await.unwrap();
        let codes = [SubackCode::Granted(QoS::AtMostOnce)];
        Packet::Suback(Suback { id: PacketId::MIN, codes: SubackCodes::new(&codes).unwrap() })
            .encode(v, &mut out)
            .unwrap();
        for n in 0..COUNT {
            let publish = Publish {
                delivery: Delivery::AtMostOnce,
                retain: false,
                topic: TopicNameRef::new("a/b").unwrap(),
                payload: &n.to_be_bytes(),
            };
            publish.encode(&mut out).unwrap();
        }
        stream.write_all(&out).await.unwrap();
        let _ = stream.read(&mut buf).await;
    });
    let connector = Connector::tcp("127.0.0.1", addr.port());
    let client: Client<PubSub> =
        Builder::with_connector(connector, Options::new("a")).connect().await.unwrap();
    let mut stream = client.subscribe("a/b", QoS::AtMostOnce).await.unwrap();
    for n in 0..COUNT {
        let message = tokio::time::timeout(Duration::from_secs(5), stream.next())
            .await
            .unwrap_or_else(|_| panic!("at {n}"));
        assert_eq!(message.unwrap().payload(), n.to_be_bytes());
    }
}
