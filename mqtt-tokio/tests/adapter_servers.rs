//! Several Servers, and credentials that run out.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{options, secs};
use mqtt_codec::PacketType;
use mqtt_tokio::mqtt_codec::OwnedBinaryData;
use mqtt_tokio::testing::{Broker, BrokerOptions, Faults, OnSend, Sessions, TestBroker, When};
use mqtt_tokio::{
    Backoff, Builder, Client, ConnectError, ConnectReturnCode, ConnectionError, Connector, CredentialsError,
    DialError, Drain, Login, Options, PubSub, QoS, Status, StatusStream, UriError,
};
use tokio::time::Instant;

/// A connector to brokers in memory, one for each host name; a host without one refuses. Notes what was dialled.
fn hosts(brokers: [(&'static str, Option<Arc<TestBroker>>); 3]) -> (Connector, Arc<Mutex<Vec<String>>>) {
    let dialled: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&dialled);
    let connector = Connector::to_server(move |uri| {
        noted.lock().unwrap().push(uri.host().to_owned());
        let broker =
            brokers.iter().find(|(host, _)| *host == uri.host()).and_then(|(_, broker)| broker.clone());
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        std::future::ready(broker.map(|broker| broker.duplex(4096)).ok_or(refused))
    });
    (connector, dialled)
}

fn three(options: Options, connector: Connector) -> Builder {
    let builder = Builder::new("mqtt://a", options).unwrap();
    builder.server("mqtt://b").unwrap().server("mqtt://c").unwrap().connector(connector)
}

async fn connected(status: &mut StatusStream) {
    while !matches!(status.next().await.expect("it gave up"), Status::Connected { .. }) {}
}

#[tokio::test(start_paused = true)]
async fn the_next_server_follows_at_once_and_a_pause_after_each_round() {
    let (connector, dialled) = hosts([("a", None), ("b", None), ("c", None)]);
    let backoff = Backoff::default().initial(secs(1000)).max(secs(1000)).max_attempts(Some(2));
    let (client, driver) = three(options().backoff(backoff), connector).build::<PubSub>().unwrap();
    let mut status = client.status();
    let _driver = tokio::spawn(driver);
    for round in 0..3 {
        let Some(Status::Lost { retry_in: Duration::ZERO, .. }) = status.next().await else { panic!() };
        let begin = Instant::now();
        let Some(Status::Lost { retry_in: Duration::ZERO, .. }) = status.next().await else { panic!() };
        match status.next().await {
            Some(Status::Lost { retry_in, .. }) if round < 2 => assert!(!retry_in.is_zero()),
            Some(Status::GaveUp { error: ConnectionError::Dial(_) }) if round == 2 => {}
            other => panic!("{round}: {other:?}"),
        }
        assert!(begin.elapsed() < Duration::from_millis(10), "no pause within a round");
    }
    assert_eq!(dialled.lock().unwrap().concat(), "abcabcabc");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_first_attempt_gets_all_servers() {
    let broker = common::broker();
    let (connector, dialled) = hosts([("a", None), ("b", None), ("c", Some(broker))]);
    let client: Client<PubSub> = three(options(), connector).connect().await.unwrap();
    assert_eq!(client.server().unwrap().host(), "c");
    assert_eq!(dialled.lock().unwrap().concat(), "abc");
    client.disconnect(Drain::Now).await.unwrap();

    let (connector, dialled) = hosts([("a", None), ("b", None), ("c", None)]);
    let failed = three(options(), connector).connect::<PubSub>().await;
    assert!(matches!(failed, Err(ConnectError::Connection(ConnectionError::Dial(DialError::Connector(_))))));
    assert_eq!(dialled.lock().unwrap().concat(), "abc");
}

#[tokio::test(start_paused = true)]
async fn the_server_that_has_the_session_is_tried_first() {
    let broker = common::broker();
    let (connector, dialled) = hosts([("a", None), ("b", Some(Arc::clone(&broker))), ("c", None)]);
    let client: Client<PubSub> = three(options(), connector).connect().await.unwrap();
    let mut status = client.status();
    let mut stream = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    broker.cut_all();
    connected(&mut status).await;
    assert_eq!(dialled.lock().unwrap().concat(), "abb");
    // It goes away for a while: the others are tried, then it again.
    broker.stop().await;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let Some(Status::Lost { retry_in, .. }) = status.next().await else { panic!() };
        pauses.push(!retry_in.is_zero());
    }
    assert_eq!(pauses, [true, false, false, true], "the loss, and a round of three");
    broker.restart(Sessions::Keep).await.unwrap();
    connected(&mut status).await;
    client.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
    assert_eq!(stream.next().await.unwrap().payload(), b"x");
    let dialled = dialled.lock().unwrap().concat();
    assert!(dialled.starts_with("abbbcab"), "{dialled}");
    assert!(dialled.ends_with('b'), "{dialled}");
}

/// One that has lost its users says nothing about the others.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_when_all_servers_refuse() {
    let with_user = |name: &str| {
        let options = BrokerOptions::new().user(name, "secret");
        Some(Arc::new(TestBroker::in_memory(Broker::with_options(options))))
    };
    let options = || options().credentials("u", Some("secret"));
    let (connector, dialled) = hosts([("a", with_user("x")), ("b", None), ("c", with_user("u"))]);
    let client: Client<PubSub> = three(options(), connector.clone()).start().unwrap();
    connected(&mut client.status()).await;
    client.disconnect(Drain::Now).await.unwrap();
    let client: Client<PubSub> = three(options(), connector).connect().await.unwrap();
    assert_eq!(client.server().unwrap().host(), "c");
    assert_eq!(dialled.lock().unwrap().concat(), "abcabc");
    client.disconnect(Drain::Now).await.unwrap();

    let refused =
        |error: &ConnectionError| matches!(error, ConnectionError::Protocol(error) if !error.is_retryable());
    // Whoever waits for the first attempt hears of the refusal, whatever is wrong with the others.
    let (connector, dialled) = hosts([("a", with_user("x")), ("b", None), ("c", None)]);
    match three(options(), connector).connect::<PubSub>().await {
        Err(ConnectError::Connection(error)) if refused(&error) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(dialled.lock().unwrap().concat(), "abc");

    let (connector, dialled) = hosts(["a", "b", "c"].map(|host| (host, with_user("x"))));
    let (client, driver) = three(options(), connector).build::<PubSub>().unwrap();
    assert!(refused(&driver.await.unwrap_err()));
    assert_eq!(dialled.lock().unwrap().concat(), "abc");
    drop(client);
}

/// A Server that accepts, and closes at once, does not keep the client from the next one.
#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_no_connection_is_left() {
    let [bad, good] = [common::broker(), common::broker()];
    let closes = || Faults::none().on_send(PacketType::Connack, When::Always, OnSend::CutAfter);
    bad.with(|it| it.set_faults(closes()));
    let (connector, dialled) = hosts([("a", Some(bad)), ("b", Some(Arc::clone(&good))), ("c", None)]);
    let client: Client<PubSub> = three(options(), connector).start().unwrap();
    client.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
    assert_eq!(dialled.lock().unwrap().concat(), "aaab");
    // One that lasts makes good for those before it.
    for _ in 0..4 {
        let mut status = client.status();
        tokio::time::sleep(secs(100)).await;
        good.cut_all();
        connected(&mut status).await;
    }
    assert_eq!(dialled.lock().unwrap().concat(), "aaabbbbb");
}

/// TLS of the application's own connector is told as TLS too.
#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_in_a_connector() {
    use mqtt_tokio::TlsError;
    let failing = || async {
        let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let error = TlsError::ClosedInHandshake(Arc::new(closed));
        Err::<tokio::io::DuplexStream, _>(std::io::Error::from(error))
    };
    let failed = Builder::with_connector(Connector::new(failing), options()).connect::<PubSub>().await;
    let Err(ConnectError::Connection(ConnectionError::Tls(TlsError::ClosedInHandshake(_)))) = failed else {
        panic!("{failed:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn each_server_has_its_credentials() {
    let with_user = |name: &str| {
        let options = BrokerOptions::new().user(name, "secret");
        Some(Arc::new(TestBroker::in_memory(Broker::with_options(options))))
    };
    let (connector, _) = hosts([("a", None), ("b", with_user("bea")), ("c", with_user("all"))]);
    let all = options().credentials("all", Some("secret"));
    for (addresses, expected) in [
        (["mqtt://a", "mqtt://bea:secret@b", "mqtt://c"], "b"),
        (["mqtt://x:y@a", "mqtt://a", "mqtt://x:secret@c"], ""),
    ] {
        let [first, second, third] = addresses;
        let builder =
            Builder::new(first, all.clone()).unwrap().server(second).unwrap().server(third).unwrap();
        let result = builder.connector(connector.clone()).connect::<PubSub>().await;
        match expected {
            "" => {
                let Err(ConnectError::Connection(ConnectionError::Protocol(error))) = result else {
                    panic!()
                };
                assert!(!error.is_retryable());
            }
            host => assert_eq!(result.unwrap().server().unwrap().host(), host),
        }
    }
    // After a Server with credentials of its own, the next one gets those of the options.
    let builder = Builder::new("mqtt://x:y@a", all.clone()).unwrap().server("mqtt://u:v@a").unwrap();
    let builder = builder.server("mqtt://c").unwrap().connector(connector);
    let result = builder.connect::<PubSub>().await;
    assert!(
        result.is_err(),
        "the first address replaces the credentials of the options: x is not known at c"
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_are_asked_for_before_each_attempt() {
    let accepted = Arc::new(Mutex::new(b"token-1".to_vec()));
    let valid = Arc::clone(&accepted);
    let broker_options = BrokerOptions::new().authenticate(move |connect| {
        let password = connect
            .credentials
            .as_ref()
            .and_then(|given| given.password.as_ref())
            .map(OwnedBinaryData::as_bytes);
        match password == Some(&valid.lock().unwrap()[..]) {
            true => ConnectReturnCode::Accepted,
            false => ConnectReturnCode::BadUserNameOrPassword,
        }
    });
    let broker = Arc::new(TestBroker::in_memory(Broker::with_options(broker_options)));
    let asked = Arc::new(Mutex::new(0_u32));
    let hook = {
        let asked = Arc::clone(&asked);
        move || {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let token = format!("token-{asked}");
            async move { Ok::<_, std::convert::Infallible>(Login::new("c").password(token)) }
        }
    };
    let builder = common::builder(&broker, 4096, options()).credentials_from(hook);
    let client: Client<PubSub> = builder.connect().await.unwrap();
    let mut status = client.status();
    // The next two tokens are refused, and the client goes on.
    *accepted.lock().unwrap() = b"token-4".to_vec();
    broker.cut_all();
    let mut refused = 0;
    loop {
        match status.next().await.unwrap() {
            Status::Lost { error: ConnectionError::Protocol(_), .. } => refused += 1,
            Status::Lost { .. } => {}
            Status::Connected { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((refused, *asked.lock().unwrap()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_is_a_failed_attempt() {
    let broker = common::broker();
    let attempt = |hook: fn() -> Result<Login, &'static str>| {
        let builder = common::builder(&broker, 4096, options());
        builder.credentials_from(move || std::future::ready(hook())).connect::<PubSub>()
    };
    for (hook, expected) in [
        ((|| Err("no token today")) as fn() -> _, "no credentials: no token today"),
        (|| Ok(Login::anonymous().password("x")), "unusable credentials: "),
    ] {
        let error = attempt(hook).await.unwrap_err();
        let ConnectError::Connection(error) = error else { panic!("{error:?}") };
        assert!(matches!(error, ConnectionError::Credentials(_)) && error.is_retryable());
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    // One that never answers, and a client that is closed while it is asked.
    let never =
        || common::builder(&broker, 64, options()).credentials_from(std::future::pending::<Result<_, &str>>);
    let begin = Instant::now();
    let error = never().connect::<PubSub>().await.unwrap_err();
    assert!((secs(30)..secs(31)).contains(&begin.elapsed()));
    let ConnectError::Connection(ConnectionError::Credentials(CredentialsError::TimedOut(_))) = error else {
        panic!("{error:?}")
    };
    let client: Client<PubSub> = never().start().unwrap();
    let begin = Instant::now();
    client.disconnect(Drain::Queue(secs(5))).await.unwrap();
    assert!(begin.elapsed() < secs(1));
}

#[tokio::test]
async fn errors_tell_the_layer() {
    let dial = |uri: String| async move {
        let failed = Builder::new(&uri, options()).unwrap().connect::<PubSub>().await;
        match failed {
            Err(ConnectError::Connection(ConnectionError::Dial(error))) => error,
            other => panic!("{uri}: {other:?}"),
        }
    };
    // A port that the system has just given away, and nobody listens on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let address = format!("{host}:{}", address.port());
        match dial(format!("mqtt://{address}")).await {
            DialError::Refused { address: refused } => assert_eq!(refused, address),
            other => panic!("{other:?}"),
        }
    }
    // The name cannot exist (RFC 6761), and the label is too long for any server to be asked.
    match dial(format!("mqtt://{}.invalid", "x".repeat(64))).await {
        DialError::Resolve { host, .. } => assert!(host.ends_with(".invalid")),
        other => panic!("{other:?}"),
    }
    #[cfg(unix)]
    match dial("unix:///no/such/socket".to_owned()).await {
        DialError::Unreachable { address, source } => {
            assert_eq!((&*address, source.kind()), ("/no/such/socket", std::io::ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_domain_sockets() {
    let broker = common::broker();
    let folder = std::env::temp_dir().join(format!("mqtt tokio {}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                broker.serve(stream);
            }
        }
    });
    let uri = format!("unix://{}?client_id=over-unix", path.to_str().unwrap().replace(' ', "%20"));
    let client = Client::<PubSub>::connect(&uri, options()).await.unwrap();
    let mut stream = client.subscribe("t", QoS::ExactlyOnce).await.unwrap();
    for qos in common::QOS {
        client.publish("t", "x").qos(qos).await.unwrap();
        assert_eq!(stream.next().await.unwrap().qos(), qos);
    }
    assert!(broker.with(|it| it.session("over-unix").is_some()));
    client.disconnect(Drain::Now).await.unwrap();
    server.abort();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_scheme_without_its_feature_names_it() {
    let built = |uri: &str| Builder::new(uri, options()).err();
    for (uri, missing, feature) in [
        ("mqtts://h", !cfg!(feature = "tls"), "tls-ring or tls-aws-lc-rs"),
        ("ssl://h", !cfg!(feature = "tls"), "tls-ring or tls-aws-lc-rs"),
        ("ws://h", !cfg!(feature = "ws"), "ws"),
    ] {
        match built(uri) {
            None => assert!(!missing, "{uri}"),
            Some(ConnectError::Uri(error @ UriError::NeedsFeature { feature: named, .. })) if missing => {
                assert_eq!(named, feature);
                assert!(error.to_string().contains(feature), "{error}");
            }
            Some(other) => panic!("{uri}: {other:?}"),
        }
    }
    let other = Builder::new("mqtt://h", options()).unwrap().server("mqtt://h?client_id=x");
    assert!(matches!(other, Err(ConnectError::Uri(UriError::UnknownOption))));
}
