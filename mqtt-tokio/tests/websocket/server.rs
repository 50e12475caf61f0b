//! A WebSocket server in front of the test broker, which cuts what the broker sends into frames.

use std::future::ready;
use std::io;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use http::header::{HeaderName, HeaderValue};
use mqtt_tokio::Connector;
use mqtt_tokio::testing::{Broker, TestBroker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, watch};
use tokio_websockets::{CloseCode, Config, Message, ServerBuilder};

/// What the server can do that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    Text,
    Close,
    Nonsense,
}

type Request = http::Request<()>;

#[derive(Clone)]
pub(crate) struct Server {
    broker: Arc<TestBroker>,
    /// So many bytes of the broker's are one message.
    message_len: usize,
    /// So many frames are a message.
    fragments: usize,
    pub(crate) subprotocol: &'static str,
    mischief: watch::Sender<Option<Mischief>>,
    requests: UnboundedSender<Request>,
    came: Arc<Mutex<UnboundedReceiver<Request>>>,
    closed: UnboundedSender<u16>,
    closes: Arc<Mutex<UnboundedReceiver<u16>>>,
}

impl Server {
    pub(crate) fn new(message_len: usize, fragments: usize) -> Self {
        let (requests, came) = unbounded_channel();
        let (closed, closes) = unbounded_channel();
        Self {
            broker: Arc::new(TestBroker::in_memory(Broker::new())),
            message_len,
            fragments,
            subprotocol: "mqtt",
            mischief: watch::Sender::new(None),
            requests,
            came: Arc::new(Mutex::new(came)),
            closed,
            closes: Arc::new(Mutex::new(closes)),
        }
    }

    pub(crate) fn broker(&self) -> &TestBroker {
        &self.broker
    }

    /// What was asked for.
    pub(crate) async fn request(&self) -> Request {
        self.came.lock().await.recv().await.unwrap()
    }

    /// The code with which a client closed.
    pub(crate) async fn close_code(&self) -> u16 {
        self.closes.lock().await.recv().await.unwrap()
    }

    /// Does it once, on the connection that there is.
    pub(crate) fn do_mischief(&self, mischief: Mischief) {
        self.mischief.send_replace(Some(mischief));
    }

    /// Streams in memory that lead to it.
    pub(crate) fn connector(&self) -> Connector {
        let server = self.clone();
        Connector::new(move || {
            let (client, stream) = duplex(1000);
            let server = server.clone();
            tokio::spawn(async move { server.serve(stream).await });
            ready(Ok::<_, io::Error>(client))
        })
    }

    pub(crate) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let name = HeaderName::from_static("sec-websocket-protocol");
        let chosen = HeaderValue::from_static(self.subprotocol);
        let config = Config::default().frame_size(self.message_len.div_ceil(self.fragments));
        let builder = ServerBuilder::new().config(config).add_header(name, chosen).unwrap();
        let (request, mut websocket) = builder.accept(stream).await.unwrap();
        self.requests.send(request).unwrap();
        let (mut from_broker, mut to_broker) = tokio::io::split(self.broker.duplex(100_000));
        let mut mischief = self.mischief.subscribe();
        let mut buffer = vec![0; self.message_len];
        loop {
            tokio::select! {
                read = from_broker.read(&mut buffer) => {
                    let count = read.unwrap();
                    if count == 0 {
                        break;
                    }
                    websocket.feed(Message::ping("are you there?")).await.unwrap();
                    if websocket.send(Message::binary(buffer[..count].to_vec())).await.is_err() {
                        break;
                    }
                }
                message = websocket.next() => match message {
                    Some(Ok(message)) if message.is_binary() => {
                        to_broker.write_all(message.as_payload()).await.unwrap();
                    }
                    Some(Ok(message)) if message.is_close() => {
                        let (code, _) = message.as_close().unwrap();
                        let _ = self.closed.send(code.into());
                    }
                    Some(Ok(_)) => {}
                    None | Some(Err(_)) => break,
                },
                _ = mischief.changed() => {
                    let Some(mischief) = self.mischief.send_replace(None) else { continue };
                    match mischief {
                        Mischief::Text => websocket.send(Message::text("text")).await.unwrap(),
                        Mischief::Close => {
                            let close = Message::close(Some(CloseCode::POLICY_VIOLATION), "go");
                            websocket.send(close).await.unwrap();
                        }
                        Mischief::Nonsense => websocket.get_mut().write_all(b"\xff").await.unwrap(),
                    }
                }
            }
        }
        // The server is the one that closes the connection.
        let _ = websocket.get_mut().shutdown().await;
    }
}
