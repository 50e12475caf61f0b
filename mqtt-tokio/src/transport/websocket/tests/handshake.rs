//! The handshake: what is asked, and which answers are no WebSocket for MQTT.

use super::*;

/// Asks `answer`, which then closes.
async fn attempt(answer_to: impl FnOnce(&str) -> Vec<u8>) -> Result<BoxTransport, WebSocketError> {
    let (client, mut server) = duplex(32 * 1024);
    let websocket = WebSocket::new();
    let handshake = websocket.handshake(Box::new(client), TARGET, ProtocolVersion::V3_1_1, &[]);
    let serve = async move {
        answer(&mut server, answer_to).await;
        drop(server);
    };
    tokio::join!(handshake, serve).0
}

async fn request(
    websocket: &WebSocket,
    target: Target<'_>,
    version: ProtocolVersion,
    extra: &[(String, String)],
) -> String {
    let (client, mut server) = duplex(4096);
    let handshake = websocket.handshake(Box::new(client), target, version, extra);
    tokio::join!(handshake, answer(&mut server, |_| b"HTTP/1.1 404 x\r\n\r\n".to_vec())).1
}

#[tokio::test]
async fn the_request_is_this() {
    let websocket = WebSocket::new().header("Origin", "http://a").unwrap().header("X-A", "b \t~").unwrap();
    let extra = [("origin".to_owned(), "http://b".to_owned())];
    let request = request(&websocket, TARGET, ProtocolVersion::V3_1_1, &extra).await;
    let (start, rest) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    let (key, rest) = rest.split_once("\r\n").unwrap();
    assert_eq!(
        start,
        "GET /mqtt HTTP/1.1\r\nHost: broker.local\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    );
    assert_eq!(
        rest,
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nX-A: b \t~\r\norigin: http://b\r\n\r\n"
    );
    // 16 bytes.
    assert!(key.len() == 24 && key.ends_with("=="), "{key}");
}

#[test]
fn the_proof_is_that_of_the_rfc() {
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[tokio::test]
async fn paths_and_hosts() {
    let set = WebSocket::new().path("/ws?a=b").unwrap();
    for (websocket, path, expected) in [
        (&WebSocket::new(), "", "GET /mqtt HTTP"),
        (&WebSocket::new(), "/", "GET / HTTP"),
        (&WebSocket::new(), "/a/b%20c?d=e&f", "GET /a/b%20c?d=e&f HTTP"),
        (&WebSocket::new(), "?token=x", "GET /mqtt?token=x HTTP"),
        (&set, "", "GET /ws?a=b HTTP"),
        (&set, "/mqtt", "GET /mqtt HTTP"),
    ] {
        let request = request(websocket, Target { path, ..TARGET }, ProtocolVersion::V3_1_1, &[]).await;
        assert!(request.starts_with(expected), "{request}");
    }
    for (host, port, secure, expected) in [
        ("b", 80, false, "Host: b\r\n"),
        ("b", 443, true, "Host: b\r\n"),
        ("b", 443, false, "Host: b:443\r\n"),
        ("b", 80, true, "Host: b:80\r\n"),
        ("::1", 80, false, "Host: [::1]\r\n"),
        ("::1", 8083, false, "Host: [::1]:8083\r\n"),
    ] {
        let target = Target { host, port, secure, path: "" };
        let request = request(&WebSocket::new(), target, ProtocolVersion::V3_1_1, &[]).await;
        assert!(request.contains(expected), "{request}");
    }
}

#[tokio::test]
async fn mqtt_3_1_has_a_subprotocol_of_its_own() {
    for (chosen, agreed) in [("mqttv3.1", true), ("mqtt", true), ("mqttv3.1, mqtt", false), ("mqttv", false)]
    {
        let (client, mut server) = duplex(4096);
        let websocket = WebSocket::new();
        let handshake = websocket.handshake(Box::new(client), TARGET, ProtocolVersion::V3_1, &[]);
        let choose = |key: &str| {
            let answer = String::from_utf8(switching(key)).unwrap();
            answer.replace("-Protocol: mqtt\r\n", &format!("-Protocol: {chosen}\r\n")).into_bytes()
        };
        let (opened, request) = tokio::join!(handshake, answer(&mut server, choose));
        assert!(request.contains("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n"));
        match opened {
            Ok(_) => assert!(agreed, "{chosen}"),
            Err(WebSocketError::Subprotocol { offered: "mqttv3.1, mqtt", chosen: Some(is) }) => {
                assert_eq!((is.as_str(), false), (chosen, agreed));
            }
            Err(error) => panic!("{chosen}: {error:?}"),
        }
    }
}

/// The answer of a server that agrees, with one thing replaced.
async fn but(from: &str, to: &str) -> Result<BoxTransport, WebSocketError> {
    attempt(|key| {
        let answer = String::from_utf8(switching(key)).unwrap();
        assert!(answer.contains(from), "{from}");
        answer.replacen(from, to, 1).into_bytes()
    })
    .await
}

#[tokio::test]
async fn what_may_differ() {
    for (from, to) in [
        ("101 Switching Protocols", "101"),
        ("websocket", "WebSocket"),
        ("Upgrade: websocket", "UPGRADE:\twebsocket "),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Connection: Upgrade", "Connection: close\r\nConnection: Upgrade"),
        ("\r\n\r\n", "\r\nServer: x\r\nSec-WebSocket-Extensions:\r\n\r\n"),
        ("HTTP/1.1 101", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101"),
    ] {
        but(from, to).await.map(drop).unwrap_or_else(|error| panic!("{from} {to}: {error}"));
    }
}

#[tokio::test]
async fn what_may_not() {
    for (from, to, expected) in [
        ("Upgrade: websocket", "Upgrade: h2c", "no WebSocket server: no Upgrade: websocket"),
        ("Upgrade: websocket\r\n", "", "no WebSocket server: no Upgrade: websocket"),
        ("Connection: Upgrade", "Connection: close", "no WebSocket server: no Connection: Upgrade"),
        ("Sec-WebSocket-Accept: ", "A: ", "no WebSocket server: a wrong Sec-WebSocket-Accept"),
        ("-Accept: ", "-Accept: A", "no WebSocket server: a wrong Sec-WebSocket-Accept"),
        // A longer one than there can be.
        (
            "-Accept: ",
            &format!("-Accept: {}", "A".repeat(100)),
            "no WebSocket server: a wrong Sec-WebSocket-Accept",
        ),
        (
            "-Accept: ",
            "-Accept: x\r\nSec-WebSocket-Accept: ",
            "no WebSocket server: a wrong Sec-WebSocket-Accept",
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            "no WebSocket server: an extension that was not offered",
        ),
        (
            "-Protocol: mqtt",
            "-Other: mqtt",
            "the server did not agree to the WebSocket subprotocol mqtt [MQTT-6.0.0-3]",
        ),
        (
            "-Protocol: mqtt",
            "-Protocol: mqttv3.1",
            "the server did not agree to the WebSocket subprotocol mqtt [MQTT-6.0.0-3]",
        ),
        (
            "-Protocol: mqtt",
            "-Protocol: MQTT",
            "the server did not agree to the WebSocket subprotocol mqtt [MQTT-6.0.0-3]",
        ),
        (
            "-Protocol: mqtt",
            "-Protocol: mqtt, x",
            "the server did not agree to the WebSocket subprotocol mqtt [MQTT-6.0.0-3]",
        ),
        (
            "-Protocol: mqtt",
            "-Protocol: x\r\nSec-WebSocket-Protocol: mqtt",
            "the server did not agree to the WebSocket subprotocol mqtt [MQTT-6.0.0-3]",
        ),
        (
            "-Protocol: mqtt",
            "-Protocol: mqtt\r\nSec-WebSocket-Protocol: x",
            "the server did not agree to the WebSocket subprotocol mqtt [MQTT-6.0.0-3]",
        ),
        ("HTTP/1.1 101", "HTTP/2 101", "no WebSocket server: no HTTP"),
        ("Upgrade", "\0", "no WebSocket server: a control character"),
    ] {
        let error = but(from, to).await.err().unwrap_or_else(|| panic!("{from} {to}"));
        assert_eq!(error.to_string(), expected, "{from} {to}");
        assert!(error.is_retryable(), "what is behind a gateway may be about to start");
    }
}

#[tokio::test]
async fn another_status_is_told() {
    for (status, retry) in [
        (200, true),
        (302, true),
        (401, false),
        (403, false),
        (404, true),
        (407, false),
        (429, true),
        (503, true),
    ] {
        let answer = format!("HTTP/1.1 {status} Some Reason\r\nContent-Length: 3\r\n\r\nabc");
        let error = attempt(|_| answer.into_bytes()).await.err().unwrap();
        assert!(matches!(error, WebSocketError::Status(is) if is == status), "{error}");
        assert_eq!(error.is_retryable(), retry, "{status}");
    }
    let hints = "HTTP/1.1 100 x\r\n\r\n".repeat(9);
    let error = attempt(|_| hints.into_bytes()).await.err().unwrap();
    assert!(matches!(error, WebSocketError::NotWebSocket(_)), "{error}");
}

#[tokio::test]
async fn the_answer_may_be_cut_and_is_read_to_its_end_only() {
    let len = switching("dGhlIHNhbXBsZSBub25jZQ==").len();
    for cut in 0..=len {
        let (client, mut server) = duplex(4096);
        let websocket = WebSocket::new();
        let handshake = websocket.handshake(Box::new(client), TARGET, ProtocolVersion::V3_1_1, &[]);
        let serve = async {
            let mut rest = Vec::new();
            answer(&mut server, |key| {
                let mut first = [switching(key), frame(0x82, b"at once")].concat();
                rest = first.split_off(cut);
                first
            })
            .await;
            tokio::task::yield_now().await;
            server.write_all(&rest).await.unwrap();
            server
        };
        let (client, _server) = tokio::join!(handshake, serve);
        let mut came = [0; 7];
        client.unwrap().read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"at once", "{cut}");
    }
}

#[tokio::test]
async fn an_answer_that_stops_is_an_error_wherever_it_does() {
    let len = switching("dGhlIHNhbXBsZSBub25jZQ==").len();
    for cut in 0..len {
        let error = attempt(|key| switching(key)[..cut].to_vec()).await.err().unwrap();
        let WebSocketError::Io(source) = &error else { panic!("{error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn no_answer_makes_it_panic() {
    let mut random = fastrand::Rng::with_seed(11);
    let words = [
        "HTTP/1.1 ",
        "101",
        " ",
        "\r\n",
        "\r\n\r\n",
        ":",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "\0",
        "\t",
        "Sec-WebSocket-Accept: ",
        "Sec-WebSocket-Protocol: mqtt",
        "é",
        "=",
        "AAAA",
        "\n",
    ];
    for round in 0..500 {
        let mut answer: Vec<u8> = if round % 4 == 0 { Vec::new() } else { b"HTTP/1.1 101 x\r\n".to_vec() };
        for _ in 0..random.usize(..30) {
            answer.extend(random.choice(words).unwrap().bytes());
            answer.extend(std::iter::repeat_with(|| random.u8(..)).take(usize::from(round % 3 == 0)));
        }
        assert!(attempt(|_| answer).await.is_err());
    }
}

#[test]
fn what_would_change_the_request_is_refused() {
    for (name, value) in
        [("", "x"), ("a b", "x"), ("a:", "x"), ("a\r\n", "x"), ("é", "x"), ("a", "b\r\nc: d"), ("a", "é")]
    {
        let error = WebSocket::new().header(name, value).unwrap_err();
        assert!(matches!(error, WebSocketError::InvalidHeader(_)), "{name:?} {value:?}");
        assert!(!error.to_string().contains(['\r', '\n']));
    }
    for name in
        ["Host", "UPGRADE", "connection", "Sec-WebSocket-Key", "sec-websocket-protocol", "Content-Length"]
    {
        let error = WebSocket::new().header(name, "x").unwrap_err();
        assert!(matches!(error, WebSocketError::ReservedHeader(_)), "{name}");
    }
    for path in ["", "mqtt", "/a b", "/a\r\nb", "/é", "/a#b"] {
        assert!(matches!(WebSocket::new().path(path), Err(WebSocketError::InvalidPath)), "{path}");
    }
}

#[tokio::test]
async fn what_the_attempt_brings_is_checked_too() {
    let open = async |target, extra: &[(String, String)]| {
        let (client, mut server) = duplex(4096);
        let websocket = WebSocket::new();
        let error = websocket.handshake(Box::new(client), target, ProtocolVersion::V3_1_1, extra).await;
        let mut sent = Vec::new();
        server.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"", "nothing was sent");
        error.err().unwrap()
    };
    let error = open(TARGET, &[("a".to_owned(), "b\r\nc: d".to_owned())]).await;
    assert!(matches!(error, WebSocketError::InvalidHeader(_)));
    for host in ["", "a b", "a\r\nb", "büro", "a/b", "a@b"] {
        let error = open(Target { host, ..TARGET }, &[]).await;
        assert!(matches!(error, WebSocketError::InvalidHost), "{host}");
    }
    let error = open(Target { path: "/a b", ..TARGET }, &[]).await;
    assert!(matches!(error, WebSocketError::InvalidPath));
}

#[test]
fn debug_shows_no_values() {
    let websocket = WebSocket::new().path("/p?secret").unwrap().header("X-A", "secret").unwrap();
    let shown = format!("{websocket:?}");
    assert!(shown.contains("X-A") && shown.contains("/p") && !shown.contains("secret"), "{shown}");
}
