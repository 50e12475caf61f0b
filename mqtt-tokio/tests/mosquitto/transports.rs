//! Every way to a broker: TLS with and without client certificates, WebSocket, both, and Unix domain sockets.

use std::path::Path;
use std::time::Duration;

use mqtt_tokio::{
    Builder, Client, ConnectError, ConnectionError, ProtocolVersion, PubSub, Status, Tls, TlsError,
};
use tokio::time::timeout;

use crate::broker::Mosquitto;
use crate::certificates::{Ca, Identity};
use crate::support::{DRAIN, EVERY_QOS, in_both_versions, next, options};

in_both_versions!(round_trips, reconnects);

/// A mosquitto that offers everything, and who may connect.
struct Everything {
    broker: Mosquitto,
    ca: Ca,
    client: Identity,
}

/// The listeners of the configuration, after the plain one.
const TLS: usize = 0;
const CLIENT_CERTIFICATES: usize = 1;
const WEBSOCKET: usize = 2;
const SECURE_WEBSOCKET: usize = 3;

impl Everything {
    async fn start() -> Self {
        let ca = Ca::new("the plant's CA");
        let server = ca.issue("localhost");
        let client = ca.issue("client-7");
        let files = [("ca.pem", &ca.pem), ("server.pem", &server.chain), ("server.key", &server.key)];
        let broker = Mosquitto::with_listeners(4, &files, |folder, ports| {
            let file = |name: &str| folder.join(name).display().to_string();
            let secure = format!("certfile {}\nkeyfile {}\n", file("server.pem"), file("server.key"));
            let plain = |which: usize| format!("listener {} 127.0.0.1\n", ports[which]);
            let ask = format!("cafile {}\nrequire_certificate true\n", file("ca.pem"));
            let websockets = "protocol websockets\n";
            [
                format!(
                    "allow_anonymous true\npersistence true\npersistence_location {}/\n",
                    folder.display()
                ),
                plain(TLS) + &secure,
                plain(CLIENT_CERTIFICATES) + &secure + &ask,
                plain(WEBSOCKET) + websockets,
                plain(SECURE_WEBSOCKET) + websockets + &secure,
                format!("listener 0 {}\n", file("socket")),
            ]
            .concat()
        })
        .await;
        Self { broker, ca, client }
    }

    /// Each way to this broker.
    fn ways(&self) -> Vec<(String, Tls)> {
        let tls = || Tls::new().ca(self.ca.pem.clone());
        let address =
            |scheme: &str, which: usize| format!("{scheme}://localhost:{}", self.broker.ports()[which]);
        vec![
            (address("mqtts", TLS), tls()),
            (
                address("ssl", CLIENT_CERTIFICATES),
                tls().client_certificate(&*self.client.chain, &*self.client.key),
            ),
            (address("ws", WEBSOCKET), tls()),
            (address("wss", SECURE_WEBSOCKET), tls()),
            (format!("unix://{}", self.broker.folder().join("socket").display()), tls()),
        ]
    }
}

async fn round_trips(version: ProtocolVersion) {
    let everything = Everything::start().await;
    for (uri, tls) in everything.ways() {
        let builder = Builder::new(&uri, options("a", version)).unwrap().tls(tls);
        let client: Client<PubSub> = builder.connect().await.unwrap_or_else(|error| panic!("{uri}: {error}"));
        // Over WebSocket, mosquitto 2.0.11 sends 4 KiB in a tenth of a second, whoever the client is.
        let lens = if uri.starts_with("ws") {
            &[0, 1, 125, 126, 5000][..]
        } else {
            &[0, 1, 125, 126, 65_536, 300_000]
        };
        for granted in EVERY_QOS {
            let mut stream = client.subscribe("round/+", granted).await.unwrap();
            for qos in EVERY_QOS {
                for len in lens.iter().copied() {
                    let payload: Vec<u8> =
                        (0..len).map(|at: u32| (at / 251) as u8 ^ (at % 251) as u8).collect();
                    client.publish("round/trip", payload.clone()).qos(qos).await.unwrap();
                    let message = next(&mut stream).await;
                    assert_eq!((message.topic(), message.qos()), ("round/trip", qos.min(granted)), "{uri}");
                    assert!(message.payload() == payload, "{uri}: {len} bytes come as they were");
                }
            }
            stream.unsubscribe().await.unwrap();
        }
        client.disconnect(DRAIN).await.unwrap();
    }
}

/// The broker goes away and comes back, on each way, with messages in flight.
async fn reconnects(version: ProtocolVersion) {
    let mut everything = Everything::start().await;
    let mut clients = Vec::new();
    for (number, (uri, tls)) in everything.ways().into_iter().enumerate() {
        let options = options(&format!("client-{number}"), version).clean_session(false);
        let client: Client<PubSub> = Builder::new(&uri, options).unwrap().tls(tls).connect().await.unwrap();
        let topic = format!("over/{number}");
        let stream = client.subscribe(topic.as_str(), mqtt_tokio::QoS::AtLeastOnce).await.unwrap();
        clients.push((client.status(), client, stream, topic));
    }
    everything.broker.stop().await;
    let mut receipts = Vec::new();
    for (_, client, _, topic) in &clients {
        let publish = client.publish(topic.as_str(), "x").qos(mqtt_tokio::QoS::AtLeastOnce);
        receipts.push(publish.receipt().await.unwrap());
    }
    everything.broker.start_again().await;
    for receipt in receipts {
        receipt.await.unwrap();
    }
    for (status, client, stream, topic) in &mut clients {
        assert_eq!(next(stream).await.topic(), topic);
        let mut lost = 0;
        loop {
            match status.next().await.unwrap() {
                Status::Lost { .. } => lost += 1,
                Status::Connected { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(lost > 0);
        client.disconnect(DRAIN).await.unwrap();
    }
}

/// Each certificate error within a second.
#[tokio::test]
async fn refusals() {
    let everything = Everything::start().await;
    let ports = everything.broker.ports();
    let trusting = || Tls::new().ca(everything.ca.pem.clone());
    let attempt = async |host: &str, which: usize, tls: Tls| {
        let uri = format!("mqtts://{host}:{}", ports[which]);
        let builder = Builder::new(&uri, options("a", ProtocolVersion::V3_1_1)).unwrap().tls(tls);
        match timeout(Duration::from_secs(1), builder.connect::<PubSub>()).await.expect("within a second") {
            Err(ConnectError::Connection(ConnectionError::Tls(error))) => error,
            other => panic!("{uri}: {other:?}"),
        }
    };
    let other_ca = Tls::new().ca(Ca::new("another CA").pem);
    assert!(matches!(attempt("localhost", TLS, other_ca).await, TlsError::UnknownIssuer(_)));
    assert!(matches!(attempt("127.0.0.1", TLS, trusting()).await, TlsError::WrongName { .. }));
    let none = attempt("localhost", CLIENT_CERTIFICATES, trusting()).await;
    assert!(matches!(none, TlsError::ClientCertificateWanted(_)), "{none:?}");
    let stranger = Ca::new("another CA").issue("stranger");
    let stranger = trusting().client_certificate(stranger.chain, stranger.key);
    let refused = attempt("localhost", CLIENT_CERTIFICATES, stranger).await;
    assert!(matches!(refused, TlsError::ClientCertificateRefused(_)), "{refused:?}");
    let plain = Builder::new(
        &format!("mqtts://localhost:{}", everything.broker.port()),
        options("a", ProtocolVersion::V3_1_1),
    );
    match plain.unwrap().tls(trusting()).connect::<PubSub>().await {
        Err(ConnectError::Connection(ConnectionError::Tls(
            TlsError::NotTls(_) | TlsError::ClosedInHandshake(_),
        ))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_expired_certificate() {
    let ca = Ca::new("the plant's CA");
    let server = ca.issue_for_year("localhost", 2020);
    let files = [("server.pem", &server.chain), ("server.key", &server.key)];
    let broker = Mosquitto::with_listeners(1, &files, |folder: &Path, ports| {
        let file = |name: &str| folder.join(name).display().to_string();
        let [certificate, key] = [file("server.pem"), file("server.key")];
        format!(
            "allow_anonymous true\nlistener {} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n",
            ports[0]
        )
    })
    .await;
    let uri = format!("mqtts://localhost:{}", broker.ports()[0]);
    let builder =
        Builder::new(&uri, options("a", ProtocolVersion::V3_1_1)).unwrap().tls(Tls::new().ca(ca.pem));
    match timeout(Duration::from_secs(1), builder.connect::<PubSub>()).await.expect("within a second") {
        Err(ConnectError::Connection(ConnectionError::Tls(TlsError::CertificateExpired(_)))) => {}
        other => panic!("{other:?}"),
    }
}
