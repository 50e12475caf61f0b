//! Connections that come about.

use std::sync::Arc;

use mqtt_tokio::rustls::{ClientConfig, HandshakeKind};
use mqtt_tokio::{Tls, TlsError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::Ca;
use crate::server::{VERSIONS, connect, connected, exchange, provider, roots, server, server_with};

#[tokio::test]
async fn data_goes_both_ways_in_both_versions() {
    let ca = Ca::new("ours");
    for version in VERSIONS {
        let server = Arc::new(server_with(&ca.issue("broker.local"), None, &[version]));
        let tls = Tls::new().ca(ca.pem.clone());
        let (mut client, mut accepted) = connected(&tls, &server, "broker.local").await;
        assert_eq!(accepted.get_ref().1.protocol_version(), Some(version.version));
        exchange(&mut client, &mut accepted).await;
    }
}

#[tokio::test]
async fn several_roots_are_trusted_each() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    for tls in [
        Tls::new().ca(one.pem.clone()).ca(two.pem.clone()),
        Tls::new().ca(format!("{}\nwhat is between sections is a comment\n{}", one.pem, two.pem)),
    ] {
        for ca in [&one, &two] {
            connected(&tls, &Arc::new(server(&ca.issue("a.b"))), "a.b").await;
        }
    }
}

#[tokio::test]
async fn an_ip_address_is_a_name() {
    let ca = Ca::new("ours");
    for address in ["127.0.0.1", "::1"] {
        let tls = Tls::new().ca(ca.pem.clone());
        let (_client, accepted) = connected(&tls, &Arc::new(server(&ca.issue(address))), address).await;
        assert_eq!(accepted.get_ref().1.server_name(), None, "SNI holds no addresses (RFC 6066, section 3)");
    }
}

#[tokio::test]
async fn the_server_name_takes_the_place_of_the_host() {
    let ca = Ca::new("ours");
    let server = Arc::new(server(&ca.issue("broker.plant")));
    let tls = Tls::new().ca(ca.pem.clone());
    assert!(matches!(connect(&tls, &server, "10.0.0.7").await.0, Err(TlsError::WrongName { .. })));
    let (_client, accepted) = connected(&tls.server_name("broker.plant"), &server, "10.0.0.7").await;
    assert_eq!(accepted.get_ref().1.server_name(), Some("broker.plant"));
}

#[tokio::test]
async fn a_protocol_is_agreed() {
    let ca = Ca::new("ours");
    let mut config = server(&ca.issue("a.b"));
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let config = Arc::new(config);
    let tls = Tls::new().ca(ca.pem.clone());
    let (_client, accepted) = connected(&tls.clone().alpn(["x-amzn-mqtt-ca", "mqtt"]), &config, "a.b").await;
    assert_eq!(accepted.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
    // Who offers none is not asked.
    let (_client, accepted) = connected(&tls.clone(), &config, "a.b").await;
    assert_eq!(accepted.get_ref().1.alpn_protocol(), None);
    let (client, _) = connect(&tls.alpn(["h2"]), &config, "a.b").await;
    assert!(matches!(client, Err(TlsError::NoCommonProtocol(_))));
}

#[tokio::test]
async fn the_second_connection_is_resumed_unless_that_is_off() {
    let ca = Ca::new("ours");
    for version in VERSIONS {
        for (on, expected) in [(true, HandshakeKind::Resumed), (false, HandshakeKind::Full)] {
            let server = Arc::new(server_with(&ca.issue("a.b"), None, &[version]));
            let tls = Tls::new().ca(ca.pem.clone()).resumption(on);
            let (mut client, mut accepted) = connected(&tls, &server, "a.b").await;
            assert_eq!(accepted.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            // The tickets of TLS 1.3 come with the first bytes.
            exchange(&mut client, &mut accepted).await;
            // A clone shares the tickets.
            let (mut client, mut accepted) = connected(&tls.clone(), &server, "a.b").await;
            assert_eq!(accepted.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
            exchange(&mut client, &mut accepted).await;
        }
    }
}

#[tokio::test]
async fn a_whole_configuration_is_taken_as_it_is() {
    let ca = Ca::new("ours");
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&VERSIONS[..1])
        .unwrap()
        .with_root_certificates(roots(&ca))
        .with_no_client_auth();
    let tls = Tls::from_config(Arc::new(config)).server_name("broker.plant");
    let (mut client, mut accepted) =
        connected(&tls, &Arc::new(server(&ca.issue("broker.plant"))), "localhost").await;
    assert_eq!(accepted.get_ref().1.protocol_version(), Some(VERSIONS[0].version));
    exchange(&mut client, &mut accepted).await;
}

#[tokio::test]
async fn closing_says_so_and_an_end_without_a_word_is_an_end_too() {
    let ca = Ca::new("ours");
    let server = Arc::new(server(&ca.issue("a.b")));
    let tls = Tls::new().ca(ca.pem.clone());

    let (mut client, mut accepted) = connected(&tls, &server, "a.b").await;
    client.shutdown().await.unwrap();
    // Without close_notify this would be an error.
    assert_eq!(accepted.read(&mut [0; 8]).await.unwrap(), 0);
    accepted.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);

    let (mut client, mut accepted) = connected(&tls, &server, "a.b").await;
    exchange(&mut client, &mut accepted).await;
    drop(accepted.into_inner());
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}
