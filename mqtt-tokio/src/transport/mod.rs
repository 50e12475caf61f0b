//! What carries the bytes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Any ordered, lossless stream of bytes both ways [MQTT-7.1.2-1].
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Transport for T {}

/// A transport of any kind.
pub type BoxTransport = Box<dyn Transport>;

type Dial = Pin<Box<dyn Future<Output = io::Result<BoxTransport>> + Send>>;

/// How to open a new transport: called for every attempt to connect.
#[derive(Clone)]
pub struct Connector {
    dial: Arc<dyn Fn() -> Dial + Send + Sync>,
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
        // Boxed, so that what an idle client holds is not the largest future that it ever awaited.
        Self {
            dial: Arc::new(move || {
                let transport = dial();
                Box::pin(async move { Ok(Box::new(transport.await?) as BoxTransport) })
            }),
        }
    }

    /// TCP to a host and port, with TCP_NODELAY. All addresses of the host are tried in turn.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        Self::new(move || {
            let host = host.clone();
            async move {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }
        })
    }

    pub(crate) fn dial(&self) -> Dial {
        (self.dial)()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
