//! Certificates that the client shows, or does not.

use std::sync::Arc;

use mqtt_tokio::{Tls, TlsConfigError, TlsError};
use rcgen::KeyPair;

use crate::certificates::{Ca, Identity, RSA, inner_key};
use crate::server::{VERSIONS, connected, exchange, refused, server_with};

fn rsa() -> KeyPair {
    KeyPair::from_pkcs8_pem_and_sign_algo(RSA, &rcgen::PKCS_RSA_SHA256).unwrap()
}

/// Identities of a client, with the key in each format.
fn identities(ca: &Ca) -> Vec<(&'static str, Identity)> {
    let (curve, rsa) = (ca.issue("client"), ca.issue_with("client", rsa(), |_| ()));
    let sec1 = Identity { key: inner_key(&curve.key, "EC PRIVATE KEY"), ..curve.clone() };
    let pkcs1 = Identity { key: inner_key(&rsa.key, "RSA PRIVATE KEY"), ..rsa.clone() };
    vec![("PKCS#8, P-256", curve), ("PKCS#8, RSA", rsa), ("SEC1", sec1), ("PKCS#1", pkcs1)]
}

fn tls(ca: &Ca) -> Tls {
    Tls::new().ca(ca.pem.clone())
}

#[tokio::test]
async fn each_format_of_a_key_works() {
    let ca = Ca::new("ours");
    for version in VERSIONS {
        let server = Arc::new(server_with(&ca.issue("a.b"), Some(&ca), &[version]));
        for (format, client) in identities(&ca) {
            let tls = tls(&ca).client_certificate(client.chain.clone(), client.key.clone());
            tls.check().unwrap_or_else(|error| panic!("{format}: {error}"));
            let (mut stream, mut accepted) = connected(&tls, &server, "a.b").await;
            let shown = accepted.get_ref().1.peer_certificates().unwrap();
            assert_eq!(shown, client.chain_der(), "{format}");
            exchange(&mut stream, &mut accepted).await;
        }
    }
}

/// Chain and key are found in one text, and a comment in front of a section does not matter.
#[tokio::test]
async fn chain_and_key_in_one() {
    let ca = Ca::new("ours");
    let client = ca.issue("client");
    let both = format!("# the key\n{}# the certificate\n{}", client.key, client.chain);
    let server = Arc::new(server_with(&ca.issue("a.b"), Some(&ca), &VERSIONS));
    connected(&tls(&ca).client_certificate(both.clone(), both), &server, "a.b").await;
}

#[tokio::test]
async fn none_where_one_is_wanted() {
    let ca = Ca::new("ours");
    for version in VERSIONS {
        let error = refused(&tls(&ca), server_with(&ca.issue("a.b"), Some(&ca), &[version]), "a.b").await;
        assert!(matches!(error, TlsError::ClientCertificateWanted(_)), "{version:?}: {error:?}");
        // The alert of TLS 1.2 can mean something else as well, which passes.
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn one_that_the_server_refuses() {
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    for version in VERSIONS {
        for client in [other.issue("client"), ca.issue_for_year("client", 2001)] {
            let tls = tls(&ca).client_certificate(client.chain, client.key);
            let error = refused(&tls, server_with(&ca.issue("a.b"), Some(&ca), &[version]), "a.b").await;
            assert!(matches!(error, TlsError::ClientCertificateRefused(_)), "{version:?}: {error:?}");
        }
    }
}

#[test]
fn a_key_of_another_certificate_is_found_at_the_start() {
    let ca = Ca::new("ours");
    let all = identities(&ca);
    for (format, client) in &all {
        let stranger = ca.issue("client");
        let error = tls(&ca).client_certificate(stranger.chain, client.key.clone()).check().unwrap_err();
        assert!(matches!(error, TlsError::Config(TlsConfigError::KeyMismatch { .. })), "{format}: {error:?}");
    }
}
