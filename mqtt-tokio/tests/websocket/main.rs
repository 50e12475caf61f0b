//! Whole clients over WebSocket, with a server that is not ours in front of the test broker.

mod refusals;
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
mod secure;
mod server;

use std::time::Duration;

use mqtt_codec::PacketType;
use mqtt_tokio::testing::{Broker, TestBroker};
use mqtt_tokio::{
    Backoff, Builder, Client, ConnectError, ConnectionError, Drain, Login, Options, ProtocolVersion, PubSub,
    QoS, Status, WebSocket, WebSocketError,
};
use server::{Mischief, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn options() -> Options {
    let backoff = Backoff::default().initial(Duration::from_millis(10)).max(Duration::from_millis(10));
    Options::new("c").clean_session(false).backoff(backoff)
}

fn builder(server: &Server, uri: &str, options: Options) -> Builder {
    Builder::new(uri, options).unwrap().connector(server.connector())
}

async fn round_trips(client: &Client<PubSub>, payload: &[u8]) {
    let mut all = client.subscribe("t/#", QoS::ExactlyOnce).await.unwrap();
    for qos in QOS {
        client.publish("t/x", payload.to_vec()).qos(qos).await.unwrap();
        let message = all.next().await.unwrap();
        assert_eq!((message.topic(), message.qos()), ("t/x", qos));
        assert!(message.payload() == payload);
    }
    all.unsubscribe().await.unwrap();
}

#[tokio::test]
async fn frames_and_packets_are_not_aligned() {
    for (frame_len, payload_len) in [(1, 10), (2, 10), (3, 200), (7, 3), (125, 4000), (100_000, 300_000)] {
        for fragments in [1, 3] {
            let server = Server::new(frame_len, fragments);
            let client: Client<PubSub> =
                builder(&server, "ws://broker.local", options()).connect().await.unwrap();
            round_trips(&client, &vec![7; payload_len]).await;
            client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
            assert_eq!(server.close_code().await, 1000);
            let received = server.broker().with(|it| it.counters().received(PacketType::Disconnect));
            assert_eq!(received, 1, "DISCONNECT comes before the close");
        }
    }
}

#[tokio::test]
async fn the_request_has_path_headers_and_subprotocol_of_the_version() {
    let mut server = Server::new(1000, 1);
    server.subprotocol = "mqttv3.1";
    let websocket = WebSocket::new().header("x-plant", "7").unwrap().header("authorization", "old").unwrap();
    let client: Client<PubSub> =
        builder(&server, "ws://broker.local:8083/a?b=c", options().version(ProtocolVersion::V3_1))
            .websocket(websocket)
            .credentials_from(|| async {
                Ok::<_, std::io::Error>(Login::new("u").password("p").header("Authorization", "Bearer new"))
            })
            .connect()
            .await
            .unwrap();
    let request = server.request().await;
    assert_eq!(request.uri().to_string(), "/a?b=c");
    for (name, value) in [
        ("host", "broker.local:8083"),
        ("sec-websocket-protocol", "mqttv3.1, mqtt"),
        ("x-plant", "7"),
        ("authorization", "Bearer new"),
    ] {
        let values: Vec<_> = request.headers().get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    client.disconnect(Drain::Now).await.unwrap();
}

#[tokio::test]
async fn what_ends_a_websocket_is_reported_and_the_client_comes_back() {
    for mischief in [Mischief::Text, Mischief::Close, Mischief::Nonsense] {
        let server = Server::new(1000, 1);
        let client: Client<PubSub> = builder(&server, "ws://h", options()).connect().await.unwrap();
        let mut status = client.status();
        server.do_mischief(mischief);
        let error = loop {
            match status.next().await.unwrap() {
                Status::Lost { error, .. } => break error,
                _ => continue,
            }
        };
        let ConnectionError::WebSocket(error) = error else { panic!("{error:?}") };
        let expected = match mischief {
            Mischief::Text => matches!(error, WebSocketError::TextFrame),
            Mischief::Close => {
                matches!(&error, WebSocketError::Closed { code: Some(1008), reason } if reason == "go")
            }
            Mischief::Nonsense => matches!(error, WebSocketError::Protocol(_)),
        };
        assert!(expected, "{error:?}");
        round_trips(&client, b"again").await;
        client.disconnect(Drain::Now).await.unwrap();
    }
}

/// What `connect` says to an answer by HTTP on a loopback port.
async fn answered(answer: &'static str) -> ConnectError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}/mqtt", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let (connected, _stream) = tokio::join!(Client::<PubSub>::connect(&uri, options()), serve);
    connected.err().unwrap()
}

#[tokio::test]
async fn a_server_without_websocket_is_told_apart() {
    for status in [302, 401, 404] {
        let answer = format!("HTTP/1.1 {status} x\r\n\r\n");
        let error = answered(answer.leak()).await;
        let ConnectError::Connection(ConnectionError::WebSocket(error)) = error else { panic!("{error:?}") };
        assert!(matches!(error, WebSocketError::Status(is) if is == status), "{error:?}");
    }
    let error = answered("\x20\x02\0\0").await;
    let ConnectError::Connection(ConnectionError::WebSocket(error)) = error else { panic!("{error:?}") };
    assert!(matches!(error, WebSocketError::NotWebSocket("no HTTP")), "{error:?}");
}

#[tokio::test]
async fn over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}", listener.local_addr().unwrap());
    let server = Server::new(5000, 2);
    let serving = server.clone();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serving.serve(stream).await;
    });
    let client = Client::<PubSub>::connect(&uri, options()).await.unwrap();
    round_trips(&client, &vec![7; 1_000_000]).await;
    client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_connector_without_an_address_gets_no_websocket() {
    let broker = std::sync::Arc::new(TestBroker::in_memory(Broker::new()));
    let connector = mqtt_tokio::Connector::new(move || std::future::ready(Ok(broker.duplex(100))));
    let client: Client<PubSub> = Builder::with_connector(connector, options()).connect().await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
}
