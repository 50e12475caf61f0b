//! WebSocket over TLS, also through a proxy: all layers in one process.

use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt_codec::PacketType;
use mqtt_tokio::rustls::crypto::CryptoProvider;
use mqtt_tokio::rustls::pki_types::PrivateKeyDer;
use mqtt_tokio::rustls::server::WebPkiClientVerifier;
use mqtt_tokio::rustls::version::{TLS12, TLS13};
use mqtt_tokio::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use mqtt_tokio::{
    Builder, Client, ConnectError, ConnectionError, Connector, Drain, PubSub, Status, Tls, TlsError,
    WebSocketError,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, duplex};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::server::{Mischief, Server};
use crate::{options, round_trips};

fn provider() -> CryptoProvider {
    #[cfg(feature = "tls-aws-lc-rs")]
    return mqtt_tokio::rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "tls-aws-lc-rs"))]
    return mqtt_tokio::rustls::crypto::ring::default_provider();
}

/// A WebSocket server behind TLS, with a certificate of its own.
#[derive(Clone)]
struct Secure {
    server: Server,
    acceptor: TlsAcceptor,
    /// Trusts it.
    tls: Tls,
}

impl Secure {
    fn new(server: Server) -> Self {
        Self::with(server, false, &[&TLS12, &TLS13])
    }

    fn with(server: Server, client_auth: bool, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = if client_auth {
            let mut roots = RootCertStore::empty();
            roots.add(own.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        Self { server, acceptor: TlsAcceptor::from(Arc::new(config)), tls: Tls::new().ca(own.cert.pem()) }
    }

    /// The first bytes must be those of TLS.
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        if let Ok(stream) = self.acceptor.accept(stream).await {
            self.server.serve(stream).await;
        }
    }

    /// A client of it, over streams in memory that hold little.
    fn builder(&self) -> Builder {
        let secure = self.clone();
        let connector = Connector::new(move || {
            let (client, stream) = duplex(700);
            tokio::spawn(secure.clone().serve(stream));
            ready(Ok::<_, io::Error>(client))
        });
        let builder = Builder::new("wss://localhost/mqtt", options()).unwrap();
        builder.tls(self.tls.clone()).connector(connector)
    }
}

#[tokio::test(start_paused = true)]
async fn frames_and_packets_and_records_are_not_aligned() {
    for (frame_len, payload_len) in [(1, 10), (3, 200), (125, 4000), (100_000, 300_000)] {
        let secure = Secure::new(Server::new(frame_len, 2));
        let client: Client<PubSub> = secure.builder().connect().await.unwrap();
        round_trips(&client, &vec![7; payload_len]).await;
        let request = secure.server.request().await;
        assert_eq!(
            (request.uri().path(), request.headers()["host"].as_bytes()),
            ("/mqtt", &b"localhost"[..])
        );
        client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
        assert_eq!(secure.server.close_code().await, 1000);
        let received = secure.server.broker().with(|it| it.counters().received(PacketType::Disconnect));
        assert_eq!(received, 1, "DISCONNECT comes before the close");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_it_is_reported_and_the_client_comes_back() {
    for mischief in [Mischief::Text, Mischief::Close, Mischief::Nonsense] {
        let secure = Secure::new(Server::new(1000, 1));
        let client: Client<PubSub> = secure.builder().connect().await.unwrap();
        let mut status = client.status();
        secure.server.do_mischief(mischief);
        let error = loop {
            if let Status::Lost { error, .. } = status.next().await.unwrap() {
                break error;
            }
        };
        let expected = match mischief {
            Mischief::Text => matches!(&error, ConnectionError::WebSocket(WebSocketError::TextFrame)),
            Mischief::Close => matches!(&error, ConnectionError::WebSocket(WebSocketError::Closed { .. })),
            Mischief::Nonsense => matches!(&error, ConnectionError::WebSocket(WebSocketError::Protocol(_))),
        };
        assert!(expected, "{error:?}");
        round_trips(&client, b"again").await;
        client.disconnect(Drain::Now).await.unwrap();
    }
}

fn tls_error(result: Result<Client<PubSub>, ConnectError>) -> TlsError {
    match result {
        Err(ConnectError::Connection(ConnectionError::Tls(error))) => error,
        other => panic!("{other:?}"),
    }
}

/// In TLS 1.3 the client has sent its request when it hears of it.
#[tokio::test(start_paused = true)]
async fn a_missing_client_certificate_is_an_error_of_tls() {
    for version in [&TLS12, &TLS13] {
        let secure = Secure::with(Server::new(1000, 1), true, &[version]);
        let error = tls_error(secure.builder().connect().await);
        assert!(matches!(error, TlsError::ClientCertificateWanted(_)), "{version:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_trusted_is_an_error_of_tls() {
    let [secure, other] = [0; 2].map(|_| Secure::new(Server::new(1000, 1)));
    let error = tls_error(secure.builder().tls(other.tls).connect().await);
    assert!(matches!(error, TlsError::UnknownIssuer(_) | TlsError::BadCertificate(_)), "{error:?}");
}

/// Whatever an attempt waits for, it ends in time, and at once if the client is closed.
#[tokio::test(start_paused = true)]
async fn each_step_of_an_attempt_has_the_deadline() {
    let half = b"HTTP/1.1 101 x\r\n";
    for (uri, answer) in
        [("mqtts://h", &b""[..]), ("ws://h", b""), ("ws://h", half), ("wss://h", b"\x16\x03\x03")]
    {
        let streams = Arc::new(Mutex::new(Vec::new()));
        let connector = Connector::new(move || {
            let (client, mut stream) = duplex(10_000);
            let streams = streams.clone();
            async move {
                stream.write_all(answer).await?;
                streams.lock().unwrap().push(stream);
                Ok::<_, io::Error>(client)
            }
        });
        let options = options().connack_timeout(Duration::from_secs(7));
        let builder = || {
            let tls = Tls::new().ca(rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem());
            Builder::new(uri, options.clone()).unwrap().tls(tls).connector(connector.clone())
        };
        let begin = Instant::now();
        let error = builder().connect::<PubSub>().await.unwrap_err();
        let timeout = matches!(
            error,
            ConnectError::Connection(ConnectionError::Protocol(mqtt_client::ConnectionError::ConnackTimeout))
        );
        assert!(timeout, "{uri}: {error:?}");
        assert_eq!(begin.elapsed().as_secs(), 7, "{uri}");
        let client: Client<PubSub> = builder().start().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begin = Instant::now();
        client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
        assert!(begin.elapsed() < Duration::from_millis(10), "{uri}");
    }
}

#[cfg(feature = "proxy")]
#[tokio::test]
async fn through_a_proxy() {
    use tokio::io::{AsyncReadExt, copy_bidirectional};
    use tokio::net::TcpListener;

    let secure = Secure::new(Server::new(5000, 2));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = mqtt_tokio::Proxy::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let serving = secure.clone();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        assert!(request.starts_with(b"CONNECT localhost:443 HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let (mut near, far) = duplex(5000);
        tokio::join!(serving.serve(far), async {
            // However it ends: the client sees it.
            let _ = copy_bidirectional(&mut stream, &mut near).await;
        });
    });
    let builder = Builder::new("wss://localhost/mqtt", options()).unwrap();
    let client: Client<PubSub> = builder.tls(secure.tls.clone()).proxy(proxy).connect().await.unwrap();
    round_trips(&client, &vec![7; 300_000]).await;
    client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
    assert_eq!(secure.server.close_code().await, 1000);
    serving.await.unwrap();
}
