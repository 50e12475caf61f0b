//! Settings that cannot be used, and files that change.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use mqtt_tokio::rustls::{ClientConfig, HandshakeKind, RootCertStore};
use mqtt_tokio::{Tls, TlsConfigError, TlsError};

use crate::certificates::{Ca, RSA, inner_key};
use crate::server::{VERSIONS, connect, connected, exchange, provider, server, server_with};

/// A directory that goes when the test does.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mqtt-tokio-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wrong(tls: &Tls) -> TlsConfigError {
    match tls.check().unwrap_err() {
        TlsError::Config(error) => error,
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let dir = Dir::new("unreadable");
    let path = dir.0.join("there-is-none.pem");
    let error = wrong(&Tls::new().ca_file(&path));
    assert!(matches!(&error, TlsConfigError::File { path: it, .. } if *it == path), "{error:?}");
    assert!(error.to_string().contains("there-is-none.pem"), "{error}");
    assert!(TlsError::from(error).is_retryable(), "a file can come");
    let large = dir.write("large.pem", &"\n".repeat((1 << 20) + 1));
    assert!(matches!(wrong(&Tls::new().ca_file(large)), TlsConfigError::File { .. }));
}

#[test]
fn what_is_missing_or_damaged_in_pem() {
    let ca = Ca::new("ours");
    let client = ca.issue("client");
    let (chain, key) = (client.chain.as_str(), client.key.as_str());
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let old = inner_key(RSA, "RSA PRIVATE KEY")
        .replace("KEY-----\r\n", "KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-256-CBC,00\r\n\r\n");
    assert!(old.contains("ENCRYPTED"));
    let not_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let with = |chain: &str, key: &str| wrong(&Tls::new().ca(ca.pem.clone()).client_certificate(chain, key));

    for (error, expected) in [
        (wrong(&Tls::new().ca("")), "NoCertificate"),
        (wrong(&Tls::new().ca(key)), "NoCertificate"),
        (wrong(&Tls::new().ca(not_certificate)), "Certificate {"),
        (wrong(&Tls::new().ca(ca.pem.replace("END", "EMD"))), "Pem {"),
        (wrong(&Tls::new().ca("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n")), "Pem {"),
        (with(key, key), "NoCertificate"),
        (with(not_certificate, key), "Certificate {"),
        (with(chain, chain), "NoKey"),
        (with(chain, &encrypted), "EncryptedKey"),
        (with(chain, &old), "EncryptedKey"),
        (with(chain, not_key), "Key {"),
        (with(chain, &key.replace('\n', " ")), "Pem {"),
    ] {
        assert!(format!("{error:?}").starts_with(expected), "{error:?} is not {expected}");
        assert!(!TlsError::from(error).is_retryable());
    }
}

#[test]
fn no_error_and_no_debug_shows_a_key() {
    let ca = Ca::new("ours");
    let client = ca.issue("client");
    let secret = client.key.lines().nth(1).unwrap();
    let tls = Tls::new().ca(ca.pem.clone()).client_certificate(client.chain.clone(), client.key.clone());
    assert!(!format!("{tls:?}").contains(secret));
    // Line ends that get lost, as in a variable of the environment, make the key one line with its header.
    for damaged in
        [client.key.replace('\n', " "), client.key.replace("END", "EMD"), client.key.replace("M", "*")]
    {
        let error = wrong(&Tls::new().ca(ca.pem.clone()).client_certificate(client.chain.clone(), damaged));
        let said = format!("{error} {error:?}");
        let part = &secret[8..24];
        let (decimal, hex) = (format!("{:?}", part.as_bytes()), format!("{:02x?}", part.as_bytes()));
        for shown in [part, decimal.trim_matches(['[', ']']), hex.trim_matches(['[', ']'])] {
            assert!(!said.contains(shown), "{said}");
        }
    }
}

#[test]
fn names_and_protocols_are_checked_at_the_start() {
    let tls = Tls::new().ca(Ca::new("ours").pem);
    assert!(
        matches!(wrong(&tls.clone().server_name("a b")), TlsConfigError::ServerName(name) if name == "a b")
    );
    for alpn in [vec![vec![]], vec![vec![b'a'; 256]], vec![vec![b'a'; 255]; 257]] {
        assert!(matches!(wrong(&tls.clone().alpn(alpn)), TlsConfigError::Alpn));
    }
    tls.alpn([vec![b'a'; 255]]).check().unwrap();
}

#[test]
fn a_whole_configuration_goes_with_nothing_else() {
    let ca = Ca::new("ours");
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let tls = Tls::from_config(Arc::new(config));
    tls.clone().server_name("a.b").check().unwrap();
    for tls in [
        tls.clone().ca(ca.pem),
        tls.clone().platform_roots(),
        tls.clone().client_certificate("", ""),
        tls.clone().alpn(["mqtt"]),
        tls.clone().resumption(false),
        tls.provider(Arc::new(provider())),
    ] {
        assert!(matches!(wrong(&tls), TlsConfigError::Conflict), "{tls:?}");
    }
}

#[tokio::test]
async fn a_renewed_client_certificate_is_used_without_a_new_start() {
    let (dir, ca) = (Dir::new("renewed"), Ca::new("ours"));
    let server = Arc::new(server_with(&ca.issue("a.b"), Some(&ca), &VERSIONS));
    let expired = ca.issue_for_year("client", 2001);
    let (chain, key) = (dir.write("chain.pem", &expired.chain), dir.write("key.pem", &expired.key));
    let tls = Tls::new().ca(ca.pem.clone()).client_certificate_files(&chain, &key);
    tls.check().unwrap();
    assert!(connect(&tls, &server, "a.b").await.1.is_err());

    let renewed = ca.issue("client");
    dir.write("chain.pem", &renewed.chain);
    // Half of it is written: this attempt fails, and the next may be better.
    let error = connect(&tls, &server, "a.b").await.0.err().unwrap();
    assert!(matches!(error, TlsError::Config(TlsConfigError::KeyMismatch { .. })), "{error:?}");
    assert!(error.is_retryable());

    dir.write("key.pem", &renewed.key);
    let (mut client, mut accepted) = connected(&tls, &server, "a.b").await;
    assert_eq!(accepted.get_ref().1.peer_certificates().unwrap(), renewed.chain_der());
    exchange(&mut client, &mut accepted).await;
    // As long as the files stay as they are, so does the configuration, with its tickets.
    let (_client, accepted) = connected(&tls, &server, "a.b").await;
    assert_eq!(accepted.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn a_renewed_ca_file_is_used_without_a_new_start() {
    let (dir, old, new) = (Dir::new("ca"), Ca::new("old"), Ca::new("new"));
    let tls = Tls::new().ca_file(dir.write("ca.pem", &old.pem));
    let renewed = Arc::new(server(&new.issue("a.b")));
    assert!(matches!(connect(&tls, &renewed, "a.b").await.0, Err(TlsError::UnknownIssuer(_))));
    dir.write("ca.pem", &new.pem);
    connected(&tls, &renewed, "a.b").await;
}

/// The roots of the system are where a variable of the environment says, which a test can only set for another process.
#[cfg(target_os = "linux")]
mod system {
    use super::*;
    use crate::certificates::Identity;

    const WHERE: &str = "MQTT_TOKIO_TEST_DIR";

    /// Runs an ignored test of this file in a process of its own.
    fn run(test: &str, dir: &Dir) {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", &format!("settings::system::{test}")])
            .env("SSL_CERT_FILE", dir.0.join("roots.pem"))
            .env_remove("SSL_CERT_DIR")
            .env(WHERE, &dir.0)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn the_systems_roots_are_trusted_by_default_and_with_others_only_if_asked_for() {
        let (dir, ca) = (Dir::new("system"), Ca::new("the system's"));
        let identity = ca.issue("a.b");
        dir.write("roots.pem", &ca.pem);
        dir.write("chain.pem", &identity.chain);
        dir.write("key.pem", &identity.key);
        run("child_with_roots", &dir);
    }

    #[tokio::test]
    #[ignore = "runs in a process of its own"]
    async fn child_with_roots() {
        let Some(dir) = std::env::var_os(WHERE).map(PathBuf::from) else { return };
        let read = |name| fs::read_to_string(dir.join(name)).unwrap();
        let system = Arc::new(server(&Identity { chain: read("chain.pem"), key: read("key.pem") }));
        let own = Ca::new("ours");
        let ours = Arc::new(server(&own.issue("a.b")));
        let alone = Tls::new().ca(own.pem.clone());

        connected(&Tls::new(), &system, "a.b").await;
        assert!(matches!(connect(&Tls::new(), &ours, "a.b").await.0, Err(TlsError::UnknownIssuer(_))));
        connected(&alone, &ours, "a.b").await;
        assert!(matches!(connect(&alone, &system, "a.b").await.0, Err(TlsError::UnknownIssuer(_))));
        let both = alone.platform_roots();
        connected(&both, &ours, "a.b").await;
        connected(&both, &system, "a.b").await;
        // Neither knows it; and in TLS 1.2 signatures are checked another way.
        let stranger = Arc::new(server(&Ca::new("theirs").issue("a.b")));
        assert!(matches!(connect(&both, &stranger, "a.b").await.0, Err(TlsError::UnknownIssuer(_))));
        let old = Arc::new(server_with(&own.issue("a.b"), None, &VERSIONS[..1]));
        connected(&both, &old, "a.b").await;
    }

    #[test]
    fn a_system_without_roots_says_so() {
        let dir = Dir::new("no-roots");
        dir.write("roots.pem", "");
        run("child_without_roots", &dir);
    }

    #[test]
    #[ignore = "runs in a process of its own"]
    fn child_without_roots() {
        if std::env::var_os(WHERE).is_none() {
            return;
        }
        assert!(matches!(wrong(&Tls::new()), TlsConfigError::NoPlatformRoots(_)));
        Tls::new().ca(Ca::new("ours").pem).check().unwrap();
    }
}
