//! What can go wrong with TLS. There with and without the feature `tls`, so that an error has one type in every build.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the TLS library said.
type Detail = Arc<dyn Error + Send + Sync>;

/// Why there is no TLS connection, or why one ended.
///
/// None of them shows a key. What each means and what to do about it: the chapter on TLS of the documentation.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The settings cannot be used: a file, a key, a name, a missing provider.
    #[error(transparent)]
    Config(#[from] TlsConfigError),
    /// The server's certificate is not valid any more.
    #[error("the server's certificate has expired: {0}")]
    CertificateExpired(#[source] Detail),
    /// The server's certificate is not valid yet. Often it is the clock of this machine that is wrong.
    #[error("the server's certificate is not valid yet: {0}")]
    CertificateNotYetValid(#[source] Detail),
    /// No trusted root has issued the server's certificate, or the server does not send what lies between.
    #[error("the server's certificate comes from an unknown issuer: {0}")]
    UnknownIssuer(#[source] Detail),
    /// The server's certificate is for other names.
    #[error("the server's certificate is not for `{expected}`: {detail}")]
    WrongName {
        /// The name that was expected: the host of the address, or what `Tls::server_name` says.
        expected: String,
        /// The names in the certificate are in here.
        #[source]
        detail: Detail,
    },
    /// The server's certificate was revoked.
    #[error("the server's certificate was revoked: {0}")]
    CertificateRevoked(#[source] Detail),
    /// The server's certificate is bad in another way: its encoding, signature or purpose.
    #[error("the server's certificate cannot be trusted: {0}")]
    BadCertificate(#[source] Detail),
    /// The server wants a certificate of the client, and none is set.
    #[error("the server wants a client certificate: {0}")]
    ClientCertificateWanted(#[source] Detail),
    /// The server does not accept the certificate of the client.
    #[error("the server refuses the client certificate: {0}")]
    ClientCertificateRefused(#[source] Detail),
    /// What answers on that port does not speak TLS.
    #[error("the server does not speak TLS: {0}")]
    NotTls(#[source] Detail),
    /// There is no version, cipher suite or key exchange that both sides know.
    #[error("no TLS version and cipher suite in common with the server: {0}")]
    Incompatible(#[source] Detail),
    /// The server knows none of the application protocols that were offered.
    #[error("the server knows none of the ALPN protocols: {0}")]
    NoCommonProtocol(#[source] Detail),
    /// The server has no certificate for the name that it was asked for.
    #[error("the server does not know the name `{name}`: {detail}")]
    UnknownServerName {
        /// The name that it was asked for.
        name: String,
        /// What it answered.
        #[source]
        detail: Detail,
    },
    /// The connection was closed in the handshake, without a reason. A server that does not speak TLS on that port often
    /// does that.
    #[error("the connection was closed in the TLS handshake: {0}")]
    ClosedInHandshake(#[source] Detail),
    /// Anything else.
    #[error("TLS failed: {0}")]
    Other(#[source] Detail),
}

impl TlsError {
    /// Whether trying again, with the same settings, can help.
    ///
    /// True for all that the other side, the network, the clock or a renewed file can mend, even if that takes long: a
    /// client that goes on trying is there when the server has its new certificate. False for settings that stay
    /// wrong.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Config(error) => error.is_retryable(),
            _ => true,
        }
    }

    /// The TLS error that an error of a transport has in it, at any depth.
    pub(crate) fn from_io(error: &io::Error) -> Option<Self> {
        // An `io::Error` shows what it wraps through `get_ref` only: its `source` is already one further.
        let mut inner = error.get_ref().map(|error| error as &(dyn Error + 'static));
        while let Some(error) = inner {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found.clone());
            }
            inner = match error.downcast_ref::<io::Error>() {
                Some(error) => error.get_ref().map(|error| error as &(dyn Error + 'static)),
                None => error.source(),
            };
        }
        None
    }
}

/// So that a TLS stream can be what a [`Connector`](crate::Connector) of your own returns.
impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match &error {
            TlsError::Config(_) => io::ErrorKind::InvalidInput,
            TlsError::ClosedInHandshake(_) => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// What is wrong with the settings for TLS.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        error: Arc<io::Error>,
    },
    /// A section of the PEM cannot be read.
    #[error("{place}: malformed PEM: {reason}")]
    Pem {
        /// Where.
        place: PemPlace,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no `CERTIFICATE` section where certificates are expected.
    #[error("{0}: no certificate in it")]
    NoCertificate(PemPlace),
    /// A certificate cannot be read.
    #[error("{place}: unusable certificate: {detail}")]
    Certificate {
        /// Where.
        place: PemPlace,
        /// What is wrong.
        #[source]
        detail: Detail,
    },
    /// There is no private key where one is expected (PKCS#8, PKCS#1 or SEC1, as PEM).
    #[error("{0}: no private key in it")]
    NoKey(PemPlace),
    /// The private key is encrypted. Only keys without a passphrase can be read.
    #[error("{0}: the private key is encrypted, and only keys without a passphrase can be read")]
    EncryptedKey(PemPlace),
    /// The private key is of a kind that the provider does not know, or is damaged.
    #[error("{place}: unusable private key: {detail}")]
    Key {
        /// Where.
        place: PemPlace,
        /// What is wrong.
        #[source]
        detail: Detail,
    },
    /// The private key is not that of the client certificate.
    #[error("{key}: the private key does not match the certificate of {chain}")]
    KeyMismatch {
        /// Where the first certificate, the client's own, is.
        chain: PemPlace,
        /// Where the key is.
        key: PemPlace,
    },
    /// The system's trusted roots cannot be loaded: there are none, as in an empty container.
    #[error("the system has no trusted roots: {0}. Set a CA of your own, or use the feature webpki-roots")]
    NoPlatformRoots(#[source] Detail),
    /// The server's name is neither a DNS name nor an IP address.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    ServerName(String),
    /// The name of an ALPN protocol has no bytes or more than 255, or there are too many of them.
    #[error("an ALPN protocol has 1 to 255 bytes, all together at most 65535")]
    Alpn,
    /// No cryptography is compiled in, and none was given.
    #[error("no cryptography: enable the feature tls-ring or tls-aws-lc-rs, or set `Tls::provider`")]
    NoProvider,
    /// The provider cannot do what the versions of TLS need.
    #[error("unusable cryptography provider: {0}")]
    Provider(#[source] Detail),
    /// A whole configuration was given, and a setting beside it that would have no effect.
    #[error("a whole rustls configuration goes with no other setting than the server name")]
    Conflict,
}

impl TlsConfigError {
    /// Whether it is a file that can get better.
    fn is_retryable(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Pem { place, .. }
            | Self::NoCertificate(place)
            | Self::Certificate { place, .. }
            | Self::NoKey(place)
            | Self::EncryptedKey(place)
            | Self::Key { place, .. } => place.file().is_some(),
            Self::KeyMismatch { chain, key } => chain.file().is_some() || key.file().is_some(),
            _ => false,
        }
    }
}

/// Where PEM comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemPlace(Option<PathBuf>);

impl PemPlace {
    #[cfg(feature = "tls")]
    pub(super) const MEMORY: Self = Self(None);

    #[cfg(feature = "tls")]
    pub(super) fn of(path: &Path) -> Self {
        Self(Some(path.to_path_buf()))
    }

    /// The file, or `None` for bytes that were given.
    pub fn file(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl fmt::Display for PemPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str("the PEM given"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a layer above")]
    struct Layer(#[source] io::Error);

    fn closed() -> TlsError {
        TlsError::ClosedInHandshake(Arc::new(io::Error::from(io::ErrorKind::UnexpectedEof)))
    }

    #[test]
    fn it_is_found_at_any_depth() {
        let plain = io::Error::from(closed());
        assert_eq!(plain.kind(), io::ErrorKind::UnexpectedEof);
        let twice = io::Error::other(io::Error::from(closed()));
        let layered = io::Error::other(Layer(io::Error::from(closed())));
        for error in [plain, twice, layered] {
            assert!(matches!(TlsError::from_io(&error), Some(TlsError::ClosedInHandshake(_))), "{error:?}");
        }
    }

    #[test]
    fn other_errors_have_none() {
        for error in [
            io::Error::from(io::ErrorKind::ConnectionReset),
            io::Error::from_raw_os_error(104),
            io::Error::other("text"),
            io::Error::other(Layer(io::Error::other("text"))),
        ] {
            assert!(TlsError::from_io(&error).is_none(), "{error:?}");
        }
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        let file = PemPlace(Some("client.pem".into()));
        for (error, retryable) in [
            (TlsConfigError::NoProvider, false),
            (TlsConfigError::NoKey(PemPlace(None)), false),
            (TlsConfigError::NoKey(file.clone()), true),
            (TlsConfigError::KeyMismatch { chain: PemPlace(None), key: PemPlace(None) }, false),
            (TlsConfigError::KeyMismatch { chain: file, key: PemPlace(None) }, true),
        ] {
            let error = TlsError::from(error);
            assert_eq!(error.is_retryable(), retryable, "{error}");
        }
        assert!(closed().is_retryable());
        assert!(TlsError::ClientCertificateWanted(Arc::new(closed())).is_retryable());
    }
}
