//! Whole clients behind proxies that forward for real, on loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqtt_tokio::testing::TestBroker;
use mqtt_tokio::{
    Builder, Client, ConnectError, ConnectionError, Drain, Options, Proxy, ProxyError, PubSub, QoS,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A proxy of one kind.
struct Forwarder {
    address: SocketAddr,
    forwarded: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    async fn start(socks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let forwarded = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&forwarded);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let count = Arc::clone(&count);
                connections.spawn(async move {
                    let asked = if socks { socks5(&mut client).await } else { connect(&mut client).await };
                    let Ok(mut server) = asked else { return };
                    count.fetch_add(1, Ordering::Relaxed);
                    // However it ends: the client sees it.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, forwarded, _tasks: tasks }
    }

    fn proxy(&self, scheme: &str, user_info: &str) -> Proxy {
        Proxy::new(&format!("{scheme}://{user_info}{}", self.address)).unwrap()
    }
}

/// HTTP CONNECT, for `user` with the password `secret`.
async fn connect(client: &mut TcpStream) -> io::Result<TcpStream> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await?);
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    if !request.contains("\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n") {
        client.write_all(b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n").await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    match TcpStream::connect(target).await {
        Ok(server) => {
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            Ok(server)
        }
        Err(error) => {
            client.write_all(b"HTTP/1.1 502 x\r\n\r\n").await?;
            Err(error)
        }
    }
}

/// SOCKS5 without authentication, for names and IPv4 addresses.
async fn socks5(client: &mut TcpStream) -> io::Result<TcpStream> {
    let mut hello = [0; 3];
    client.read_exact(&mut hello).await?;
    assert_eq!(hello, *b"\x05\x01\x00");
    client.write_all(b"\x05\x00").await?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    assert_eq!(head[..3], *b"\x05\x01\x00");
    let host = if head[3] == 3 {
        let mut name = vec![0; usize::from(client.read_u8().await?)];
        client.read_exact(&mut name).await?;
        String::from_utf8(name).unwrap()
    } else {
        let mut address = [0; 4];
        client.read_exact(&mut address).await?;
        std::net::Ipv4Addr::from(address).to_string()
    };
    let port = client.read_u16().await?;
    let server = TcpStream::connect((host.as_str(), port)).await;
    let reply = if server.is_ok() { 0 } else { 5 };
    client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    server
}

async fn through(proxy: Proxy, uri: &str) -> Result<Client<PubSub>, ConnectError> {
    Builder::new(uri, Options::new("c")).unwrap().proxy(proxy).connect().await
}

async fn round_trips(client: Client<PubSub>) {
    let mut all = client.subscribe("t/#", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish("t/x", vec![7; 100_000]).qos(qos).await.unwrap();
        let message = all.next().await.unwrap();
        assert_eq!((message.payload().len(), message.qos()), (100_000, qos));
    }
    client.disconnect(Drain::Queue(Duration::from_secs(5))).await.unwrap();
}

#[tokio::test]
async fn forwards_for_real() {
    let broker = TestBroker::start().await.unwrap();
    let by_name = format!("mqtt://localhost:{}", broker.addr().port());
    for (scheme, user_info) in [("http", "user:secret@"), ("socks5", ""), ("socks5h", "")] {
        for uri in [&broker.uri(), &by_name] {
            let forwarder = Forwarder::start(scheme != "http").await;
            round_trips(through(forwarder.proxy(scheme, user_info), uri).await.unwrap()).await;
            assert_eq!(forwarder.forwarded.load(Ordering::Relaxed), 1, "{scheme} {uri}");
        }
    }
}

/// The name in the address is that of the certificate, whatever the proxy makes of it.
#[cfg(feature = "tls-ring")]
#[tokio::test]
async fn tls_goes_through_from_end_to_end() {
    use mqtt_tokio::rustls::crypto::ring::default_provider;
    use mqtt_tokio::rustls::pki_types::PrivateKeyDer;
    use mqtt_tokio::{Tls, TlsError, rustls};

    let [own, other] =
        ["localhost", "other"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap());
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("mqtts://localhost:{}", listener.local_addr().unwrap().port());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let broker = TestBroker::in_memory(mqtt_tokio::testing::Broker::new());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                broker.serve(stream);
            }
        }
    });
    for (scheme, user_info) in [("http", "user:secret@"), ("socks5", ""), ("socks5h", "")] {
        let forwarder = Forwarder::start(scheme != "http").await;
        let builder = || Builder::new(&uri, Options::new("c")).unwrap();
        let through = |ca: String| {
            builder().tls(Tls::new().ca(ca)).proxy(forwarder.proxy(scheme, user_info)).connect::<PubSub>()
        };
        round_trips(through(own.cert.pem()).await.unwrap()).await;
        let error = through(other.cert.pem()).await.err().unwrap();
        let ConnectError::Connection(ConnectionError::Tls(error)) = error else { panic!("{error:?}") };
        assert!(matches!(error, TlsError::UnknownIssuer(_) | TlsError::BadCertificate(_)), "{error:?}");
        assert_eq!(forwarder.forwarded.load(Ordering::Relaxed), 2, "{scheme}");
    }
}

#[tokio::test]
async fn what_the_proxy_refuses_is_told_apart() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("mqtt://{}", listener.local_addr().unwrap())
    };
    for (scheme, user_info, expected) in [
        ("http", "", "the proxy wants user name and password"),
        ("http", "user:wrong@", "the proxy refused user name and password"),
        ("http", "user:secret@", "the proxy answered with the HTTP status 502"),
        ("socks5", "", "the server refused the connection of the proxy"),
    ] {
        let forwarder = Forwarder::start(scheme != "http").await;
        let error = through(forwarder.proxy(scheme, user_info), &closed).await.err().unwrap();
        let ConnectError::Connection(ConnectionError::Proxy(error)) = error else { panic!("{error:?}") };
        assert_eq!(error.to_string(), expected);
        assert!(!error.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_an_error_of_dialling() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::new(&format!("socks5://{address}")).unwrap();
    let error = through(proxy, "mqtt://127.0.0.1:9").await.err().unwrap();
    assert!(matches!(error, ConnectError::Connection(ConnectionError::Dial(_))), "{error:?}");
    assert!(matches!(Proxy::new("ftp://p"), Err(ProxyError::UnsupportedScheme)));
}
