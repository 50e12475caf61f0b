//! One attempt to connect: a stream of bytes to one of the Servers, and what the scheme of its address puts on top.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mqtt_client::ProtocolVersion;

#[cfg(feature = "proxy")]
use super::proxy::Proxy;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::tls::TlsError;
#[cfg(feature = "ws")]
use super::websocket::{Target, WebSocket};
use super::{BoxTransport, Connector, DialError, Tcp};
use crate::error::ConnectionError;
#[cfg(unix)]
use crate::uri::Scheme;
use crate::uri::Uri;

/// An attempt to open a transport.
pub(crate) type Dial = Pin<Box<dyn Future<Output = Result<BoxTransport, ConnectionError>> + Send>>;

/// The Servers of a client, and how to reach them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// In the order in which they are tried; none if there is only a connector.
    pub(crate) servers: Vec<Arc<Uri>>,
    /// In place of TCP and Unix domain sockets.
    pub(crate) connector: Option<Connector>,
    pub(crate) tcp: Tcp,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
    #[cfg(feature = "ws")]
    pub(crate) websocket: WebSocket,
    /// Between us and all servers that are reached over TCP.
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<Proxy>,
}

impl Network {
    /// How many attempts make a round.
    pub(crate) fn len(&self) -> usize {
        self.servers.len().max(1)
    }

    /// Checks the settings of what the addresses need. Reads files, and blocks while it does.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        #[cfg(feature = "tls")]
        if self.is_secure() {
            self.tls.check()?;
        }
        Ok(())
    }

    /// The same, on a thread that may block.
    pub(crate) async fn check_elsewhere(&self) -> Result<(), TlsError> {
        #[cfg(feature = "tls")]
        if self.is_secure() {
            let tls = self.tls.clone();
            let checked = tokio::task::spawn_blocking(move || tls.check()).await;
            checked.map_err(|error| TlsError::Other(Arc::new(error)))??;
        }
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        self.servers.iter().any(|server| server.scheme().is_secure())
    }

    /// Opens a transport to the Server at `index`, for a client that speaks `version`.
    pub(crate) fn dial(
        self: &Arc<Self>,
        index: usize,
        version: ProtocolVersion,
        headers: Vec<(String, String)>,
    ) -> Dial {
        let network = Arc::clone(self);
        let server = self.servers.get(index).map(Arc::clone);
        Box::pin(async move {
            let stream = network.open(server.as_deref()).await?;
            match server {
                Some(server) => network.wrap(stream, &server, version, headers).await,
                None => Ok(stream),
            }
        })
    }

    /// A stream of bytes to the Server.
    async fn open(&self, server: Option<&Uri>) -> Result<BoxTransport, ConnectionError> {
        let server = match (&self.connector, server) {
            (Some(connector), server) => return (connector.open)(server).await.map_err(of_connector),
            (None, Some(server)) => server,
            (None, None) => return Err(DialError::NoAddress { host: String::new() }.into()),
        };
        match server.scheme() {
            #[cfg(unix)]
            Scheme::Unix => Ok(Box::new(super::unix::dial(server.path()).await?)),
            _ => self.open_tcp(server.host(), server.port()).await,
        }
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<BoxTransport, ConnectionError> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            let stream = self.tcp.dial(proxy.host(), proxy.port()).await?;
            return Ok(proxy.tunnel(Box::new(stream), host, port).await?);
        }
        Ok(Box::new(self.tcp.dial(host, port).await?))
    }

    /// Puts on top what the scheme asks for. That this build can do it was checked when the client was made.
    async fn wrap(
        &self,
        stream: BoxTransport,
        server: &Uri,
        version: ProtocolVersion,
        headers: Vec<(String, String)>,
    ) -> Result<BoxTransport, ConnectionError> {
        #[cfg(feature = "tls")]
        let stream = match server.scheme().is_secure() {
            true => self.tls.handshake(stream, server.host()).await?,
            false => stream,
        };
        #[cfg(feature = "ws")]
        if server.scheme().is_websocket() {
            let target = Target {
                host: server.host(),
                port: server.port(),
                path: server.path(),
                secure: server.scheme().is_secure(),
            };
            let opened = self.websocket.handshake(stream, target, version, &headers).await;
            return opened.map_err(ConnectionError::of_websocket);
        }
        let _ = (server, version, headers);
        Ok(stream)
    }
}

/// A connector can do TLS by itself.
fn of_connector(error: DialError) -> ConnectionError {
    match &error {
        DialError::Connector(source) => TlsError::from_io(source).map_or(error.into(), ConnectionError::Tls),
        _ => error.into(),
    }
}
