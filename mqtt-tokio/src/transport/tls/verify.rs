//! Whom to trust, where that is the platform's business.

use std::sync::Arc;

use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::error::TlsConfigError;

/// What the system trusts.
pub(super) fn platform(provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsConfigError> {
    Verifier::new(provider.clone()).map_err(|error| TlsConfigError::NoPlatformRoots(Arc::new(error)))
}

/// Trusts what one of the two trusts. The platform's verifier takes no further roots on every platform.
#[derive(Debug)]
pub(super) struct Either {
    pub(super) own: Arc<WebPkiServerVerifier>,
    pub(super) platform: Verifier,
}

impl ServerCertVerifier for Either {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.own.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                self.platform.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            verdict => verdict,
        }
    }

    // The provider's cryptography does that, for both in the same way.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}
