//! From what rustls reports to what went wrong.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerMisbehaved};

use super::error::TlsError;

/// The first byte of each TLS record: its content type.
const CONTENT_TYPES: std::ops::RangeInclusive<u8> = 20..=23;
const HANDSHAKE: u8 = 22;

/// What must be known about a connection to tell its errors apart.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The name that the server's certificate must be for.
    pub(super) name: String,
    /// Whether the client has a certificate to show.
    pub(super) has_certificate: bool,
}

impl Facts {
    /// Why the handshake failed. `first` is the first byte that the server has sent.
    pub(super) fn in_handshake(&self, error: io::Error, first: Option<u8>) -> TlsError {
        if first.is_some_and(|byte| !CONTENT_TYPES.contains(&byte)) {
            return TlsError::NotTls(Arc::new(error));
        }
        // With nothing but an alert from the server, the versions and ciphers are not agreed yet.
        let agreed = first == Some(HANDSHAKE);
        match rustls_error(&error) {
            Some(reported) => self.of(reported, agreed),
            None if is_close(error.kind()) => TlsError::ClosedInHandshake(Arc::new(error)),
            None => TlsError::Other(Arc::new(error)),
        }
    }

    /// The error of a connection in use, if it comes from TLS. In TLS 1.3 the server judges the client's certificate when
    /// the client has begun to send.
    pub(super) fn in_use(&self, error: &io::Error) -> Option<TlsError> {
        rustls_error(error).map(|reported| self.of(reported, true))
    }

    fn of(&self, error: &Error, agreed: bool) -> TlsError {
        let detail = Arc::new(error.clone());
        match error {
            Error::InvalidCertificate(reason) => self.of_certificate(reason, detail),
            Error::AlertReceived(alert) => self.of_alert(*alert, agreed, detail),
            Error::PeerIncompatible(_) => TlsError::Incompatible(detail),
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                TlsError::NoCommonProtocol(detail)
            }
            Error::NoCertificatesPresented | Error::InvalidCertRevocationList(_) => {
                TlsError::BadCertificate(detail)
            }
            _ => TlsError::Other(detail),
        }
    }

    fn of_certificate(&self, reason: &CertificateError, detail: Arc<Error>) -> TlsError {
        use CertificateError as C;
        match reason {
            C::Expired | C::ExpiredContext { .. } => TlsError::CertificateExpired(detail),
            C::NotValidYet | C::NotValidYetContext { .. } => TlsError::CertificateNotYetValid(detail),
            C::UnknownIssuer => TlsError::UnknownIssuer(detail),
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                TlsError::WrongName { expected: self.name.clone(), detail }
            }
            C::Revoked => TlsError::CertificateRevoked(detail),
            _ => TlsError::BadCertificate(detail),
        }
    }

    fn of_alert(&self, alert: AlertDescription, agreed: bool, detail: Arc<Error>) -> TlsError {
        use AlertDescription as A;
        match alert {
            A::CertificateRequired => TlsError::ClientCertificateWanted(detail),
            // Before TLS 1.3 there is no word of its own for a missing certificate. Once the versions and ciphers are
            // agreed, it is the certificate that a server can dislike.
            A::HandshakeFailure if !agreed => TlsError::Incompatible(detail),
            A::HandshakeFailure
            | A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied => {
                if self.has_certificate {
                    TlsError::ClientCertificateRefused(detail)
                } else {
                    TlsError::ClientCertificateWanted(detail)
                }
            }
            A::ProtocolVersion | A::InsufficientSecurity => TlsError::Incompatible(detail),
            A::NoApplicationProtocol => TlsError::NoCommonProtocol(detail),
            A::UnrecognisedName => TlsError::UnknownServerName { name: self.name.clone(), detail },
            _ => TlsError::Other(detail),
        }
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn is_close(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert: AlertDescription, has_certificate: bool, first: u8) -> TlsError {
        let facts = Facts { name: "a.b".to_owned(), has_certificate };
        let error = io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert));
        facts.in_handshake(error, Some(first))
    }

    /// What servers say before TLS 1.3, which has no alert of its own for a certificate that is missing: OpenSSL
    /// `handshake_failure`, Go `bad_certificate`.
    #[test]
    fn alerts_about_client_certificates() {
        use AlertDescription as A;
        for description in [
            A::HandshakeFailure,
            A::NoCertificate,
            A::BadCertificate,
            A::UnsupportedCertificate,
            A::CertificateRevoked,
            A::CertificateExpired,
            A::CertificateUnknown,
            A::UnknownCA,
            A::AccessDenied,
        ] {
            let error = alert(description, false, HANDSHAKE);
            assert!(matches!(error, TlsError::ClientCertificateWanted(_)), "{description:?}: {error:?}");
            let error = alert(description, true, HANDSHAKE);
            assert!(matches!(error, TlsError::ClientCertificateRefused(_)), "{description:?}: {error:?}");
        }
        for has_certificate in [false, true] {
            let error = alert(A::CertificateRequired, has_certificate, HANDSHAKE);
            assert!(matches!(error, TlsError::ClientCertificateWanted(_)), "{error:?}");
        }
    }

    #[test]
    fn alerts_about_other_things() {
        use AlertDescription as A;
        let first = 21;
        assert!(matches!(alert(A::HandshakeFailure, false, first), TlsError::Incompatible(_)));
        assert!(matches!(alert(A::ProtocolVersion, false, first), TlsError::Incompatible(_)));
        assert!(matches!(alert(A::InsufficientSecurity, false, HANDSHAKE), TlsError::Incompatible(_)));
        assert!(matches!(alert(A::NoApplicationProtocol, false, first), TlsError::NoCommonProtocol(_)));
        assert!(matches!(alert(A::UnrecognisedName, false, first),
            TlsError::UnknownServerName { name, .. } if name == "a.b"));
        assert!(matches!(alert(A::InternalError, true, first), TlsError::Other(_)));
        // What is no TLS record is none, whatever it was taken for.
        assert!(matches!(alert(A::InternalError, true, b'H'), TlsError::NotTls(_)));
    }

    #[test]
    fn errors_of_the_stream_below() {
        let facts = Facts { name: "a.b".to_owned(), has_certificate: false };
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(matches!(facts.in_handshake(reset(), None), TlsError::ClosedInHandshake(_)));
        let timeout = io::Error::from(io::ErrorKind::TimedOut);
        assert!(matches!(facts.in_handshake(timeout, None), TlsError::Other(_)));
        assert!(facts.in_use(&reset()).is_none());
    }
}
