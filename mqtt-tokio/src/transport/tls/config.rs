//! From settings to a configuration of rustls: reading files, PEM, roots.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use tokio_rustls::rustls::client::{Resumption, WantsClientCert, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, Error, InconsistentKeys, RootCertStore};

use super::error::{PemPlace, TlsConfigError};
use super::verify::{Either, platform};

/// The largest bundle of all roots there are is a quarter of that.
const MAX_FILE: u64 = 1 << 20;

/// What was set. The default is that of [`Tls::new`](super::Tls::new).
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) config: Option<Arc<ClientConfig>>,
    pub(super) provider: Option<Arc<CryptoProvider>>,
    pub(super) platform_roots: bool,
    pub(super) webpki_roots: bool,
    pub(super) own_roots: Vec<Pem>,
    /// The chain, and the key of its first certificate.
    pub(super) client: Option<[Pem; 2]>,
    pub(super) server_name: Option<String>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) no_resumption: bool,
}

/// Where PEM is to be had. Without `Debug`: it can be a key.
#[derive(Clone)]
pub(super) enum Pem {
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

/// PEM that was read.
#[derive(PartialEq)]
pub(super) struct Text {
    place: PemPlace,
    bytes: Arc<[u8]>,
}

/// The configuration in use, and what it was made of. Kept between attempts, since the tickets for resumption are in it.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<Ready>>);

struct Ready {
    texts: Texts,
    config: Arc<ClientConfig>,
}

#[derive(PartialEq)]
struct Texts {
    own_roots: Vec<Text>,
    client: Option<[Text; 2]>,
}

impl Settings {
    /// The name that the certificate of `host` must be for.
    pub(super) fn server_name_for(&self, host: &str) -> Result<ServerName<'static>, TlsConfigError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|_| TlsConfigError::ServerName(name.to_owned()))
    }

    /// The configuration, if there is one that needs no look at the disk. Never blocks.
    pub(super) fn ready(&self, cache: &Cache) -> Option<Arc<ClientConfig>> {
        let mut all = self.own_roots.iter().chain(self.client.iter().flatten());
        if all.any(|pem| matches!(pem, Pem::File(_))) {
            return None;
        }
        let ready = match cache.0.try_lock() {
            Ok(ready) => ready,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(ready.as_ref()?.config.clone())
    }

    /// Reads all files, and makes the configuration anew if one of them has changed. Blocks.
    pub(super) fn load(&self, cache: &Cache) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let texts = Texts {
            own_roots: self.own_roots.iter().map(Pem::read).collect::<Result<_, _>>()?,
            client: match &self.client {
                Some([chain, key]) => Some([chain.read()?, key.read()?]),
                None => None,
            },
        };
        let mut ready = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = ready.as_ref().filter(|ready| ready.texts == texts) {
            return Ok(ready.config.clone());
        }
        let config = self.build(&texts)?;
        *ready = Some(Ready { texts, config: config.clone() });
        Ok(config)
    }

    fn build(&self, texts: &Texts) -> Result<Arc<ClientConfig>, TlsConfigError> {
        if let Some(config) = &self.config {
            return if self.has_more() { Err(TlsConfigError::Conflict) } else { Ok(config.clone()) };
        }
        if self.alpn.iter().any(|protocol| protocol.is_empty() || protocol.len() > 255)
            || self.alpn.iter().map(|protocol| protocol.len() + 1).sum::<usize>() > 65_535
        {
            return Err(TlsConfigError::Alpn);
        }
        let provider = self.provider.clone().or_else(built_in_provider).ok_or(TlsConfigError::NoProvider)?;
        let builder = self.trusting(&texts.own_roots, &provider)?;
        let mut config = match &texts.client {
            Some([chain, key]) => {
                let certified = certified_key(chain, key, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        if self.no_resumption {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }

    /// Whether anything is set that a whole configuration has in itself.
    fn has_more(&self) -> bool {
        self.provider.is_some()
            || self.platform_roots
            || self.webpki_roots
            || !self.own_roots.is_empty()
            || self.client.is_some()
            || !self.alpn.is_empty()
            || self.no_resumption
    }

    /// A builder that knows whom to trust.
    fn trusting(
        &self,
        own: &[Text],
        provider: &Arc<CryptoProvider>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsConfigError> {
        let mut store = RootCertStore::empty();
        for text in own {
            for certificate in text.certificates()? {
                store.add(certificate).map_err(|error| text.bad_certificate(error))?;
            }
        }
        #[cfg(feature = "webpki-roots")]
        if self.webpki_roots {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsConfigError::Provider(Arc::new(error)))?;
        if store.is_empty() {
            let verifier = Arc::new(platform(provider)?);
            return Ok(builder.dangerous().with_custom_certificate_verifier(verifier));
        }
        if !self.platform_roots {
            return Ok(builder.with_root_certificates(store));
        }
        let own = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .build()
            .map_err(|error| TlsConfigError::Provider(Arc::new(error)))?;
        let verifier = Arc::new(Either { own, platform: platform(provider)? });
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
    }
}

impl Pem {
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }

    pub(super) fn place(&self) -> PemPlace {
        match self {
            Self::Bytes(_) => PemPlace::MEMORY,
            Self::File(path) => PemPlace::of(path),
        }
    }

    fn read(&self) -> Result<Text, TlsConfigError> {
        let bytes = match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::File(path) => read_file(path)
                .map_err(|error| TlsConfigError::File { path: path.clone(), error: Arc::new(error) })?
                .into(),
        };
        Ok(Text { place: self.place(), bytes })
    }
}

fn read_file(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let len = File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if len as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 1 MiB"));
    }
    Ok(bytes)
}

impl Text {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => {
                Err(TlsConfigError::NoCertificate(self.place.clone()))
            }
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
        // Either kind says so: `ENCRYPTED PRIVATE KEY`, or a header `Proc-Type: 4,ENCRYPTED`.
        let encrypted = || self.bytes.windows(9).any(|bytes| bytes == b"ENCRYPTED");
        match PrivateKeyDer::from_pem_slice(&self.bytes) {
            Ok(key) => Ok(key),
            Err(_) if encrypted() => Err(TlsConfigError::EncryptedKey(self.place.clone())),
            Err(pem::Error::NoItemsFound) => Err(TlsConfigError::NoKey(self.place.clone())),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// Never with what the library says: it quotes a whole line, which is the whole key where line ends were lost.
    fn malformed(&self, error: &pem::Error) -> TlsConfigError {
        let reason = match error {
            pem::Error::IllegalSectionStart { .. } => {
                "a line starts with -----BEGIN and goes on; are line ends missing?"
            }
            pem::Error::MissingSectionEnd { .. } => "a section has no end",
            pem::Error::Base64Decode(_) => "not base64",
            pem::Error::SectionTooLarge => "a section is too large",
            _ => "not readable",
        };
        TlsConfigError::Pem { place: self.place.clone(), reason }
    }

    fn bad_certificate(&self, error: Error) -> TlsConfigError {
        TlsConfigError::Certificate { place: self.place.clone(), detail: Arc::new(error) }
    }
}

fn certified_key(
    chain: &Text,
    key: &Text,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsConfigError> {
    let (certificates, private) = (chain.certificates()?, key.key()?);
    let signer = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| TlsConfigError::Key { place: key.place.clone(), detail: Arc::new(error) })?;
    let certified = CertifiedKey::new(certificates, signer);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err(TlsConfigError::KeyMismatch { chain: chain.place.clone(), key: key.place.clone() })
        }
        Err(error) => Err(chain.bad_certificate(error)),
    }
}

/// Named here, and never that of the process: an application in which two libraries install one would panic.
fn built_in_provider() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "tls-aws-lc-rs")]
    return Some(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc-rs")))]
    return Some(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
    return None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
    #[test]
    fn without_a_provider_the_error_names_the_features() {
        let error = Settings::default().load(&Cache::default()).unwrap_err();
        assert!(matches!(error, TlsConfigError::NoProvider), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("tls-ring") && said.contains("tls-aws-lc-rs"), "{said}");
    }

    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc-rs"))]
    #[test]
    fn aws_lc_rs_is_taken_where_both_are_on() {
        let name = format!("{:?}", built_in_provider().unwrap().key_provider);
        assert_eq!(name, if cfg!(feature = "tls-aws-lc-rs") { "AwsLcRs" } else { "Ring" });
    }
}
