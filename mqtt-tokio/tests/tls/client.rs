//! Whole clients, by an address with `mqtts`.

use std::sync::{Arc, Mutex};

use mqtt_tokio::rustls::ServerConfig;
use mqtt_tokio::testing::{Broker, TestBroker};
use mqtt_tokio::{
    Builder, Client, ConnectError, ConnectionError, Connector, Drain, Message, Options, PubSub, QoS, Tls,
    TlsConfigError, TlsError,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Ca;
use crate::server::{Record, Recorded, VERSIONS, server, server_with};

/// A broker behind TLS, as streams in memory that remember what the client writes.
fn broker(config: ServerConfig) -> (Connector, Arc<Mutex<Record>>) {
    let broker = Arc::new(TestBroker::in_memory(Broker::new()));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let record = Arc::new(Mutex::new(Record::default()));
    let connector = {
        let record = record.clone();
        Connector::new(move || {
            let (near, far) = tokio::io::duplex(1 << 20);
            let (broker, acceptor) = (broker.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(far).await {
                    broker.serve(stream);
                }
            });
            std::future::ready(Ok(Recorded { stream: near, record: record.clone() }))
        })
    };
    (connector, record)
}

async fn connect(tls: Tls, connector: Connector, options: Options) -> Result<Client<PubSub>, ConnectError> {
    Builder::new("mqtts://a.b", options)?.tls(tls).connector(connector).connect().await
}

/// What it has to say is encrypted, and a batch of messages is a few writes.
#[tokio::test]
async fn messages_of_each_qos_go_round_in_few_writes_and_nothing_in_the_clear() {
    let ca = Ca::new("ours");
    let (connector, record) = broker(server(&ca.issue("a.b")));
    let options = Options::new("top-secret").credentials("top-secret", Some("top-secret"));
    let client = connect(Tls::new().ca(ca.pem), connector, options).await.unwrap();
    let mut stream = client.subscribe("top-secret/#", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish("top-secret/a", "top-secret").qos(qos).await.unwrap();
        assert_eq!(stream.next().await.unwrap().payload(), b"top-secret");
    }
    let writes = record.lock().unwrap().writes;
    for _ in 0..100 {
        let message = Message::new("top-secret/a".try_into().unwrap(), "top-secret");
        drop(client.try_publish(message).unwrap());
    }
    for _ in 0..100 {
        assert_eq!(stream.next().await.unwrap().payload(), b"top-secret");
    }
    let writes = record.lock().unwrap().writes - writes;
    assert!(writes <= 4, "{writes} writes for 100 messages");
    client.disconnect(Drain::Now).await.unwrap();

    let record = record.lock().unwrap();
    assert!(record.records().len() > 4);
    assert!(!record.bytes.windows(10).any(|bytes| bytes == b"top-secret"));
}

#[tokio::test]
async fn the_error_of_the_handshake_is_that_of_connect() {
    let ca = Ca::new("ours");
    let (connector, record) = broker(server(&Ca::new("theirs").issue("a.b")));
    let options = Options::new("top-secret").credentials("top-secret", Some("top-secret"));
    let error = connect(Tls::new().ca(ca.pem), connector, options).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Connection(ConnectionError::Tls(TlsError::UnknownIssuer(_)))),
        "{error:?}"
    );
    let record = record.lock().unwrap();
    record.records();
    assert!(!record.bytes.windows(10).any(|bytes| bytes == b"top-secret"));
}

/// In TLS 1.3 the client has sent its CONNECT when it hears of it.
#[tokio::test]
async fn a_missing_client_certificate_is_told_in_both_versions() {
    let ca = Ca::new("ours");
    for version in VERSIONS {
        let (connector, _) = broker(server_with(&ca.issue("a.b"), Some(&ca), &[version]));
        let error = connect(Tls::new().ca(ca.pem.clone()), connector, Options::new("c")).await.unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Connection(ConnectionError::Tls(TlsError::ClientCertificateWanted(_)))
            ),
            "{version:?}: {error:?}"
        );
    }
}

/// A socket of the system can be reset with the alert unread. It is found nevertheless.
#[tokio::test]
async fn a_missing_client_certificate_is_told_over_tcp() {
    let ca = Ca::new("ours");
    let acceptor = TlsAcceptor::from(Arc::new(server_with(&ca.issue("localhost"), Some(&ca), &VERSIONS)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(acceptor.accept(stream).await);
        }
    });
    for round in 0..20 {
        let connector = Connector::new(move || TcpStream::connect(("127.0.0.1", port)));
        let builder = Builder::new("mqtts://localhost", Options::new("c")).unwrap();
        let tls = Tls::new().ca(ca.pem.clone());
        let error = builder.tls(tls).connector(connector).connect::<PubSub>().await.unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Connection(ConnectionError::Tls(TlsError::ClientCertificateWanted(_)))
            ),
            "round {round}: {error:?}"
        );
    }
    serving.abort();
}

#[tokio::test]
async fn a_file_that_is_missing_is_an_error_at_the_start() {
    let tls = Tls::new().ca_file("/there/is/no/such/file.pem");
    let builder = || Builder::new("mqtts://a.b", Options::new("c")).unwrap().tls(tls.clone());
    let started = builder().start::<PubSub>().unwrap_err();
    let connected = builder().connect::<PubSub>().await.unwrap_err();
    for error in [started, connected] {
        assert!(
            matches!(error, ConnectError::Tls(TlsError::Config(TlsConfigError::File { .. }))),
            "{error:?}"
        );
    }
}
