//! Bad credentials: refused, and not tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mqtt_client::ConnectionError::Refused;
use mqtt_tokio::ConnectReturnCode::{BadUserNameOrPassword, NotAuthorized};
use mqtt_tokio::{
    Builder, Client, ConnectError, ConnectionError, Connector, Options, ProtocolVersion, PubSub, Status,
};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::broker::Mosquitto;
use crate::support::{DRAIN, in_both_versions, options};

in_both_versions!(credentials);

async fn credentials(version: ProtocolVersion) {
    let broker = Mosquitto::with_user("operator", "s3cret").await;
    let anonymous = options("a", version);
    let right = anonymous.clone().credentials("operator", Some("s3cret"));
    let client = Client::<PubSub>::connect(&broker.uri(), right).await.unwrap();
    client.disconnect(DRAIN).await.unwrap();

    let wrong = anonymous.clone().credentials("operator", Some("secret"));
    let unknown = anonymous.clone().credentials("nobody", Some("s3cret"));
    for options in [anonymous, wrong, unknown] {
        match Client::<PubSub>::connect(&broker.uri(), options.clone()).await {
            Err(ConnectError::Connection(error)) => assert!(is_refusal(&error), "{error}"),
            other => panic!("{other:?}"),
        }
        not_tried_again(options, broker.port()).await;
    }
}

fn is_refusal(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Protocol(Refused(NotAuthorized | BadUserNameOrPassword)))
}

/// A client that goes on trying gives up all the same.
async fn not_tried_again(options: Options, port: u16) {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let connector = Connector::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        TcpStream::connect(("127.0.0.1", port))
    });
    let client = Builder::with_connector(connector, options).start::<PubSub>().unwrap();
    let change = client.status().next().await;
    assert!(matches!(&change, Some(Status::GaveUp { error }) if is_refusal(error)), "{change:?}");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}
