//! The settings for TLS.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;

use super::config::{Cache, Pem, Settings};
use super::error::TlsError;
use super::stream;
use crate::transport::BoxTransport;

/// How to make a connection secure.
///
/// | setting | default |
/// |---|---|
/// | trusted roots | those of the system |
/// | client certificate | none |
/// | server name | the host of the address |
/// | ALPN | none |
/// | resumption | on |
/// | provider | that of the feature `tls-aws-lc-rs`, or else of `tls-ring` |
/// | versions | TLS 1.2 and 1.3 |
///
/// Clones share what has been loaded, and the tickets with which a session is resumed.
///
/// Certificates and keys are PEM. A file is read when the client starts, so that a mistake shows at once, and again
/// before every attempt to connect, so that a renewed certificate is used without a restart.
///
/// ```no_run
/// use mqtt_tokio::Tls;
///
/// let tls = Tls::new()
///     .ca_file("/etc/plant/ca.pem")
///     .client_certificate_files("/etc/plant/client.pem", "/etc/plant/client.key");
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    settings: Settings,
    cache: Arc<Cache>,
}

impl Tls {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole configuration of rustls, for what has no setting here. Only [`server_name`](Self::server_name) may be set
    /// beside it; anything else is a [`Conflict`](crate::TlsConfigError::Conflict).
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { settings: Settings { config: Some(config), ..Settings::default() }, cache: Arc::default() }
    }

    /// Trusts the certificates in `pem`. May be called several times. The system's roots are not trusted then, unless
    /// [`platform_roots`](Self::platform_roots) is called too.
    #[must_use]
    pub fn ca(self, pem: impl Into<Vec<u8>>) -> Self {
        self.set(|it| it.own_roots.push(Pem::bytes(pem.into())))
    }

    /// Trusts the certificates in a PEM file, as with [`ca`](Self::ca).
    #[must_use]
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.set(|it| it.own_roots.push(Pem::File(path.into())))
    }

    /// Trusts what the system trusts. That is the default where no other roots are set; call it to have them too. They are
    /// loaded once.
    #[must_use]
    pub fn platform_roots(self) -> Self {
        self.set(|it| it.platform_roots = true)
    }

    /// Trusts the roots of Mozilla, which are compiled in: for containers that have none. The system's are not trusted
    /// then, unless [`platform_roots`](Self::platform_roots) is called too.
    #[cfg(feature = "webpki-roots")]
    #[must_use]
    pub fn webpki_roots(self) -> Self {
        self.set(|it| it.webpki_roots = true)
    }

    /// Shows a certificate to servers that ask for one: first the client's own, then those between it and the root, and the
    /// private key of the first (PKCS#8, PKCS#1 or SEC1, without a passphrase). All as PEM; both may be the same bytes.
    #[must_use]
    pub fn client_certificate(self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.set(|it| it.client = Some([Pem::bytes(chain.into()), Pem::bytes(key.into())]))
    }

    /// The same from PEM files, which may be one.
    #[must_use]
    pub fn client_certificate_files(self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.set(|it| it.client = Some([Pem::File(chain.into()), Pem::File(key.into())]))
    }

    /// The DNS name or IP address that the server's certificate must be for, and that the server is told (SNI), in place of
    /// the host of the address.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.set(|it| it.server_name = Some(name.into()))
    }

    /// The application protocols to offer (ALPN), the preferred one first. A server that knows none of them may refuse.
    #[must_use]
    pub fn alpn<T: Into<Vec<u8>>>(self, protocols: impl IntoIterator<Item = T>) -> Self {
        self.set(|it| it.alpn = protocols.into_iter().map(Into::into).collect())
    }

    /// Whether a later connection may resume the session of an earlier one, which saves work and a look at the
    /// certificates.
    #[must_use]
    pub fn resumption(self, on: bool) -> Self {
        self.set(|it| it.no_resumption = !on)
    }

    /// The cryptography. The default provider of the process is never used.
    #[must_use]
    pub fn provider(self, provider: Arc<CryptoProvider>) -> Self {
        self.set(|it| it.provider = Some(provider))
    }

    /// Reads all files and checks the settings. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`TlsError::Config`].
    pub fn check(&self) -> Result<(), TlsError> {
        self.settings.server_name_for("localhost")?;
        self.settings.load(&self.cache)?;
        Ok(())
    }

    /// Makes a secure stream of a stream, for a [`Connector`](crate::Connector) of your own. The clients of this crate do it
    /// by themselves.
    ///
    /// There is no time limit in here. Dropping the future drops the stream.
    ///
    /// ```no_run
    /// use mqtt_tokio::{Connector, Tls};
    /// use tokio::net::TcpStream;
    ///
    /// let tls = Tls::new();
    /// let connector = Connector::new(move || {
    ///     let tls = tls.clone();
    ///     async move {
    ///         let tunnel = TcpStream::connect("localhost:7000").await?;
    ///         Ok(tls.handshake(Box::new(tunnel), "broker.plant").await?)
    ///     }
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// [`TlsError`], by what went wrong. Errors of the stream itself, later, are an [`io::Error`](std::io::Error) with a
    /// `TlsError` in it.
    pub async fn handshake(&self, stream: BoxTransport, host: &str) -> Result<BoxTransport, TlsError> {
        let name = self.settings.server_name_for(host)?;
        let config = self.config().await?;
        stream::handshake(config, name, stream).await
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(ready) = self.settings.ready(&self.cache) {
            return Ok(ready);
        }
        let (settings, cache) = (self.settings.clone(), self.cache.clone());
        match tokio::task::spawn_blocking(move || settings.load(&cache)).await {
            Ok(loaded) => Ok(loaded?),
            Err(error) => Err(TlsError::Other(Arc::new(error))),
        }
    }

    /// What was loaded with the old settings is not that of the new.
    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.cache = Arc::default();
        self
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.settings;
        let place = |pem: &Pem| pem.place().to_string();
        f.debug_struct("Tls")
            .field("own_roots", &it.own_roots.iter().map(place).collect::<Vec<_>>())
            .field("platform_roots", &it.platform_roots)
            .field("webpki_roots", &it.webpki_roots)
            .field("client_certificate", &it.client.as_ref().map(|[chain, _]| place(chain)))
            .field("server_name", &it.server_name)
            .field("alpn", &it.alpn.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>())
            .field("resumption", &!it.no_resumption)
            .finish_non_exhaustive()
    }
}
