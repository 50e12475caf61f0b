//! What carries the bytes.

pub(crate) mod tls;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::uri::Uri;

mod dial;
mod error;
#[cfg(any(feature = "ws", feature = "proxy"))]
mod http;
#[cfg(feature = "proxy")]
mod proxy;
mod proxy_error;
mod tcp;
#[cfg(unix)]
mod unix;
#[cfg(feature = "ws")]
mod websocket;
mod websocket_error;

pub(crate) use dial::{Dial, Network};
pub use error::DialError;
#[cfg(feature = "proxy")]
pub use proxy::Proxy;
pub use proxy_error::ProxyError;
pub(crate) use tcp::format_address;
pub use tcp::{Tcp, TcpKeepAlive};
#[cfg(feature = "ws")]
pub use websocket::WebSocket;
pub use websocket_error::WebSocketError;

/// Any ordered, lossless stream of bytes both ways [MQTT-7.1.2-1].
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Transport for T {}

/// A transport of any kind.
pub type BoxTransport = Box<dyn Transport>;

type Opening = Pin<Box<dyn Future<Output = Result<BoxTransport, DialError>> + Send>>;

/// Opens a stream, to this Server if the client has addresses.
type Open = dyn Fn(Option<&Uri>) -> Opening + Send + Sync;

/// How to open a new stream of bytes: called for every attempt to connect.
///
/// With an address ([`Builder::connector`](crate::Builder::connector)) it takes the place of TCP, of proxies and of Unix
/// domain sockets; TLS and WebSocket, if the scheme says so, are put on top of what it opens.
#[derive(Clone)]
pub struct Connector {
    open: Arc<Open>,
}

impl Connector {
    /// A connector of your own. Each call of `dial` opens a new transport.
    ///
    /// ```
    /// use mqtt_tokio::Connector;
    /// use tokio::net::TcpStream;
    ///
    /// let connector = Connector::new(|| TcpStream::connect("localhost:1883"));
    /// ```
    pub fn new<F, T>(dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: Transport + 'static,
    {
        Self { open: Arc::new(move |_| boxed(dial())) }
    }

    /// A connector of your own that is told which Server to connect to: for a client that has
    /// [several](crate::Builder::server).
    ///
    /// A client that was made [without an address](crate::Builder::with_connector) cannot use it: each attempt fails.
    pub fn to_server<F, T>(dial: impl Fn(&Uri) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: Transport + 'static,
    {
        Self {
            open: Arc::new(move |server| match server {
                Some(server) => boxed(dial(server)),
                None => {
                    let error = io::Error::new(io::ErrorKind::InvalidInput, "the client has no address");
                    Box::pin(std::future::ready(Err(DialError::Connector(Arc::new(error)))))
                }
            }),
        }
    }

    /// TCP to a host and port, with the defaults of [`Tcp`].
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        let host: Arc<str> = host.into().into();
        Self {
            open: Arc::new(move |_| {
                let host = Arc::clone(&host);
                Box::pin(async move {
                    let stream = Tcp::new().dial(&host, port).await?;
                    Ok(Box::new(stream) as BoxTransport)
                })
            }),
        }
    }
}

/// Boxed, so that what an idle client holds is not the largest future that it ever awaited.
fn boxed<T: Transport + 'static>(dial: impl Future<Output = io::Result<T>> + Send + 'static) -> Opening {
    Box::pin(async move {
        match dial.await {
            Ok(transport) => Ok(Box::new(transport) as BoxTransport),
            Err(error) => Err(DialError::Connector(Arc::new(error))),
        }
    })
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
