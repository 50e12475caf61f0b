//! Connections that do not come about, each with its own error. None of the clients writes anything but TLS records.

use std::sync::Arc;

use mqtt_tokio::rustls::client::WebPkiServerVerifier;
use mqtt_tokio::rustls::crypto::CryptoProvider;
use mqtt_tokio::rustls::{CipherSuite, ClientConfig};
use mqtt_tokio::{Tls, TlsError};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::{Ca, Identity};
use crate::server::{VERSIONS, connected, provider, refused, roots, server, server_with};

fn trusting(ca: &Ca) -> Tls {
    Tls::new().ca(ca.pem.clone())
}

#[tokio::test]
async fn an_unknown_issuer() {
    let ours = Ca::new("ours");
    let error = refused(&trusting(&ours), server(&Ca::new("theirs").issue("a.b")), "a.b").await;
    assert!(matches!(error, TlsError::UnknownIssuer(_)), "{error:?}");
    assert!(error.is_retryable());
}

/// What the system trusts is not what a test made.
#[tokio::test]
async fn the_default_trusts_no_stranger() {
    let tls = Tls::new();
    if tls.check().is_ok() {
        let error = refused(&tls, server(&Ca::new("theirs").issue("a.b")), "a.b").await;
        assert!(matches!(error, TlsError::UnknownIssuer(_)), "{error:?}");
    }
}

#[cfg(feature = "webpki-roots")]
#[tokio::test]
async fn the_roots_of_mozilla_trust_no_stranger_and_can_have_one_beside_them() {
    let ca = Ca::new("ours");
    let error = refused(&Tls::new().webpki_roots(), server(&ca.issue("a.b")), "a.b").await;
    assert!(matches!(error, TlsError::UnknownIssuer(_)), "{error:?}");
    let tls = trusting(&ca).webpki_roots();
    connected(&tls, &Arc::new(server(&ca.issue("a.b"))), "a.b").await;
}

#[tokio::test]
async fn a_time_that_is_over_or_has_not_come() {
    let ca = Ca::new("ours");
    let error = refused(&trusting(&ca), server(&ca.issue_for_year("a.b", 2001)), "a.b").await;
    assert!(matches!(error, TlsError::CertificateExpired(_)), "{error:?}");
    let error = refused(&trusting(&ca), server(&ca.issue_for_year("a.b", 3001)), "a.b").await;
    assert!(matches!(error, TlsError::CertificateNotYetValid(_)), "{error:?}");
}

#[tokio::test]
async fn another_name() {
    let ca = Ca::new("ours");
    let error = refused(&trusting(&ca), server(&ca.issue("broker.plant")), "broker.office").await;
    assert!(
        matches!(&error, TlsError::WrongName { expected, .. } if expected == "broker.office"),
        "{error:?}"
    );
    // Both names are said: the one that was looked for, and the one that was found.
    assert!(
        error.to_string().contains("broker.office") && error.to_string().contains("broker.plant"),
        "{error}"
    );
    let error = refused(&trusting(&ca), server(&ca.issue("127.0.0.1")), "127.0.0.2").await;
    assert!(matches!(&error, TlsError::WrongName { expected, .. } if expected == "127.0.0.2"), "{error:?}");
}

#[tokio::test]
async fn another_purpose() {
    let ca = Ca::new("ours");
    let identity = ca.issue_with("a.b", KeyPair::generate().unwrap(), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let error = refused(&trusting(&ca), server(&identity), "a.b").await;
    assert!(matches!(error, TlsError::BadCertificate(_)), "{error:?}");
}

/// A certificate that has signed itself can be trusted as its own root, if it does not say that it is a CA: a CA is no
/// server, says webpki.
#[tokio::test]
async fn a_certificate_that_signed_itself() {
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["a.b".to_owned()]).unwrap();
    let plain = Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    connected(&Tls::new().ca(plain.chain.clone()), &Arc::new(server(&plain)), "a.b").await;

    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let error = refused(&Tls::new().ca(ca.chain.clone()), server(&ca), "a.b").await;
    assert!(matches!(error, TlsError::BadCertificate(_)), "{error:?}");
    assert!(error.to_string().contains("CaUsedAsEndEntity"), "{error}");
}

#[tokio::test]
async fn a_revoked_certificate() {
    let ca = Ca::new("ours");
    let provider = Arc::new(provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&ca)), provider.clone())
        .with_crls([ca.revocations()])
        .build()
        .unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    let error = refused(&Tls::from_config(Arc::new(config)), server(&ca.issue("a.b")), "a.b").await;
    assert!(matches!(error, TlsError::CertificateRevoked(_)), "{error:?}");
}

#[tokio::test]
async fn no_version_in_common() {
    let ca = Ca::new("ours");
    for (ours, theirs) in [(0, 1), (1, 0)] {
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&VERSIONS[ours..=ours])
            .unwrap()
            .with_root_certificates(roots(&ca))
            .with_no_client_auth();
        let tls = Tls::from_config(Arc::new(config));
        let error =
            refused(&tls, server_with(&ca.issue("a.b"), None, &VERSIONS[theirs..=theirs]), "a.b").await;
        assert!(matches!(error, TlsError::Incompatible(_)), "{error:?}");
    }
}

#[tokio::test]
async fn no_cipher_suite_in_common() {
    let ca = Ca::new("ours");
    for (version, suite) in [
        (0, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (1, CipherSuite::TLS13_AES_128_GCM_SHA256),
    ] {
        let all = provider();
        let cipher_suites = all
            .cipher_suites
            .iter()
            .filter(|it| it.version() == VERSIONS[1 - version] || it.suite() == suite)
            .copied()
            .collect();
        let mut config = server_with(&ca.issue("a.b"), None, &VERSIONS[version..=version]);
        // The server has all but the one that the client has for that version.
        let mut theirs = provider();
        theirs.cipher_suites.retain(|it| it.suite() != suite);
        let builder = mqtt_tokio::rustls::ServerConfig::builder_with_provider(Arc::new(theirs))
            .with_protocol_versions(&VERSIONS[version..=version])
            .unwrap();
        config = builder.with_no_client_auth().with_cert_resolver(config.cert_resolver.clone());
        let tls = trusting(&ca).provider(Arc::new(CryptoProvider { cipher_suites, ..all }));
        let error = refused(&tls, config, "a.b").await;
        assert!(matches!(error, TlsError::Incompatible(_)), "{error:?}");
    }
}

/// A server that knows nothing newer than TLS 1.0 picks that, whatever is offered.
#[tokio::test]
async fn a_server_that_is_too_old() {
    let mut hello = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let tls = trusting(&Ca::new("ours"));
    let (result, ()) = tokio::join!(tls.handshake(Box::new(near), "a.b"), async {
        far.write_all(&hello).await.unwrap();
        far.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let error = result.err().unwrap();
    assert!(matches!(error, TlsError::Incompatible(_)), "{error:?}");
}

/// What a server says that does not speak TLS, and whether it closes then.
#[tokio::test]
async fn a_server_that_does_not_speak_tls() {
    let answers: [&[u8]; 3] = [b"\x20\x02\x00\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 ready\r\n"];
    for answer in answers {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let tls = trusting(&Ca::new("ours"));
        let (result, ()) = tokio::join!(tls.handshake(Box::new(near), "a.b"), async {
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
        });
        let error = result.err().unwrap();
        assert!(matches!(error, TlsError::NotTls(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_closes_without_a_word() {
    // Before the client has written, and after.
    for read in [false, true] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let tls = trusting(&Ca::new("ours"));
        let (result, ()) = tokio::join!(biased; async { tls.handshake(Box::new(near), "a.b").await }, async {
            if read {
                far.read_exact(&mut [0; 5]).await.unwrap();
            }
            drop(far);
        });
        let error = result.err().unwrap();
        assert!(matches!(error, TlsError::ClosedInHandshake(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_none() {
    let ca = Ca::new("ours");
    let error = refused(&trusting(&ca), server(&ca.issue("a.b")), "not a name").await;
    assert!(
        matches!(&error, TlsError::Config(inner) if inner.to_string().contains("not a name")),
        "{error:?}"
    );
    assert!(!error.is_retryable());
}
