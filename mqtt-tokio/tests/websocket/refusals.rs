//! What a started client does about servers that do not open a WebSocket.

use std::collections::VecDeque;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};

use mqtt_tokio::{Backoff, Builder, ConnectionError, Connector, Login, PubSub, Status, WebSocketError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::options;
use crate::server::Server;

/// The head of an answer.
fn head(status: u16) -> String {
    format!("HTTP/1.1 {status} x\r\n\r\n")
}

/// Each of `answers` once, then a server.
fn in_turn(answers: impl IntoIterator<Item = String>) -> Connector {
    let server = Server::new(1000, 1);
    let answers: Arc<Mutex<VecDeque<String>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
    Connector::new(move || {
        let (client, mut stream) = duplex(1000);
        let (server, answer) = (server.clone(), answers.lock().unwrap().pop_front());
        tokio::spawn(async move {
            let Some(answer) = answer else { return server.serve(stream).await };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        ready(Ok::<_, io::Error>(client))
    })
}

/// How it ends: connected, or why not.
async fn outcome(builder: Builder) -> Result<(), ConnectionError> {
    let (client, driver) = builder.build::<PubSub>().unwrap();
    let mut status = client.status();
    let _driver = tokio::spawn(driver);
    loop {
        match status.next().await.unwrap() {
            Status::Connected { .. } => return Ok(()),
            Status::GaveUp { error } => return Err(error),
            _ => {}
        }
    }
}

fn to(connector: Connector) -> Builder {
    Builder::new("ws://h", options()).unwrap().connector(connector)
}

/// A gateway whose broker is about to start answers many things.
#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsorry".to_owned();
    let other = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n".to_owned();
    let statuses = [301, 302, 307, 308, 400, 404, 405, 426, 429, 500, 502, 503, 504].map(head);
    let answers = [page, other, "\x20\x02\0\0".to_owned(), String::new()];
    outcome(to(in_turn(answers.into_iter().chain(statuses)))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_unless_the_next_credentials_may_be_better() {
    for status in [401, 403] {
        let refused = || to(in_turn([head(status), head(status)]));
        let Err(ConnectionError::WebSocket(error)) = outcome(refused()).await else { panic!("{status}") };
        assert!(matches!(error, WebSocketError::Status(is) if is == status), "{error}");
        outcome(refused().credentials_from(|| ready(Ok::<_, io::Error>(Login::new("u"))))).await.unwrap();
        // Also where it is not to be final.
        let options = options().backoff(Backoff::default().retry_refused(true));
        let builder = Builder::new("ws://h", options).unwrap();
        outcome(builder.connector(in_turn([head(status)]))).await.unwrap();
    }
}

/// As when the file with the token is being written.
#[tokio::test(start_paused = true)]
async fn headers_of_the_hook_that_cannot_be_sent_may_be_better_next_time() {
    for (name, value) in [("authorization", "Bearer \n"), ("", ""), ("host", "x")] {
        let first = Mutex::new(Some(Login::anonymous().header(name, value)));
        let hook = move || {
            let login = first.lock().unwrap().take().unwrap_or_default();
            ready(Ok::<_, io::Error>(login))
        };
        outcome(to(in_turn([])).credentials_from(hook)).await.unwrap();
    }
}

/// A broker that is about to stop closes once; the gateway in front of it knows `mqtt` only.
#[tokio::test(start_paused = true)]
async fn a_version_that_the_gateway_does_not_know_is_not_for_ever() {
    use futures::StreamExt;
    let server = Server::new(1000, 1);
    let first = Arc::new(Mutex::new(true));
    let connector = Connector::new(move || {
        let (client, stream) = duplex(1000);
        let (server, first) = (server.clone(), std::mem::take(&mut *first.lock().unwrap()));
        tokio::spawn(async move {
            if !first {
                return server.serve(stream).await;
            }
            let name = http::HeaderName::from_static("sec-websocket-protocol");
            let builder = tokio_websockets::ServerBuilder::new();
            let builder = builder.add_header(name, http::HeaderValue::from_static("mqtt")).unwrap();
            let (_, mut websocket) = builder.accept(stream).await.unwrap();
            drop(websocket.next().await);
        });
        ready(Ok::<_, io::Error>(client))
    });
    let options = options()
        .backoff(Backoff::default().max_attempts(Some(10)))
        .fallback(mqtt_tokio::Fallback::RefusedOrClosed);
    outcome(Builder::new("ws://h", options).unwrap().connector(connector)).await.unwrap();
}
