//! A TLS server at the other end of a stream in memory, and a record of what the client writes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use mqtt_tokio::rustls::crypto::CryptoProvider;
use mqtt_tokio::rustls::server::WebPkiClientVerifier;
use mqtt_tokio::rustls::version::{TLS12, TLS13};
use mqtt_tokio::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use mqtt_tokio::{BoxTransport, Tls, TlsError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificates::{Ca, Identity};

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

pub(crate) type Accepted = io::Result<TlsStream<DuplexStream>>;

/// The same provider that the client takes by itself.
pub(crate) fn provider() -> CryptoProvider {
    #[cfg(feature = "tls-aws-lc-rs")]
    return mqtt_tokio::rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "tls-aws-lc-rs"))]
    return mqtt_tokio::rustls::crypto::ring::default_provider();
}

/// A server that asks for no client certificate.
pub(crate) fn server(identity: &Identity) -> ServerConfig {
    server_with(identity, None, &VERSIONS)
}

/// A server that wants a client certificate from `clients`, if that is given.
pub(crate) fn server_with(
    identity: &Identity,
    clients: Option<&Ca>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(roots(ca));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(identity.chain_der(), identity.key_der()).unwrap()
}

pub(crate) fn roots(ca: &Ca) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    roots
}

/// Both ends of a handshake. Whatever comes of it, the client has written nothing but TLS records.
pub(crate) async fn connect(
    tls: &Tls,
    server: &Arc<ServerConfig>,
    host: &str,
) -> (Result<BoxTransport, TlsError>, Accepted) {
    let (client, accepted, _) = connect_recorded(tls, server, host).await;
    (client, accepted)
}

pub(crate) async fn connect_recorded(
    tls: &Tls,
    server: &Arc<ServerConfig>,
    host: &str,
) -> (Result<BoxTransport, TlsError>, Accepted, Arc<Mutex<Record>>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let record = Arc::new(Mutex::new(Record::default()));
    let stream = Recorded { stream: near, record: record.clone() };
    let acceptor = TlsAcceptor::from(server.clone());
    let (client, accepted) = tokio::join!(tls.handshake(Box::new(stream), host), acceptor.accept(far));
    record.lock().unwrap().records();
    (client, accepted, record)
}

/// Both ends of a connection that must come about.
pub(crate) async fn connected(
    tls: &Tls,
    server: &Arc<ServerConfig>,
    host: &str,
) -> (BoxTransport, TlsStream<DuplexStream>) {
    let (client, accepted) = connect(tls, server, host).await;
    (client.unwrap(), accepted.unwrap())
}

/// Why there is no connection: at once, or with the first use.
pub(crate) async fn refused(tls: &Tls, server: ServerConfig, host: &str) -> TlsError {
    let (client, accepted, record) = connect_recorded(tls, &Arc::new(server), host).await;
    let error = match client {
        Err(error) => error,
        Ok(mut stream) => {
            assert!(accepted.is_err(), "the server agreed");
            // Either way of using it tells the reason, again and again.
            let written = stream.write_all(b"a secret, under way before the answer").await.unwrap_err();
            let read = stream.read(&mut [0; 16]).await.unwrap_err();
            let [written, read] = [written, read].map(|error| {
                let inner = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
                inner.cloned().unwrap_or_else(|| panic!("{error:?}"))
            });
            assert_eq!(written.to_string(), read.to_string());
            read
        }
    };
    let record = record.lock().unwrap();
    record.records();
    assert!(!record.bytes.windows(8).any(|bytes| bytes == b"a secret"));
    error
}

/// Bytes one way and the other, and a clean end.
pub(crate) async fn exchange(client: &mut BoxTransport, server: &mut TlsStream<DuplexStream>) {
    client.write_all(b"to the server").await.unwrap();
    client.flush().await.unwrap();
    let mut there = [0; 13];
    server.read_exact(&mut there).await.unwrap();
    assert_eq!(&there, b"to the server");
    server.write_all(b"to the client").await.unwrap();
    server.flush().await.unwrap();
    let mut back = [0; 13];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"to the client");
}

/// What was written, and in how many writes.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    pub(crate) writes: usize,
}

impl Record {
    /// The TLS records in it, by content type. Anything else is a failure.
    pub(crate) fn records(&self) -> Vec<u8> {
        let (mut rest, mut types) = (self.bytes.as_slice(), Vec::new());
        while let [kind, 3, minor, high, low, body @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            assert!((20..=23).contains(kind) && *minor <= 4 && len <= (1 << 14) + 256, "{:x?}", &rest[..5]);
            types.push(*kind);
            rest = &body[len..];
        }
        assert!(rest.is_empty(), "not TLS: {rest:x?}");
        types
    }
}

/// A stream that remembers what is written into it.
pub(crate) struct Recorded {
    pub(crate) stream: DuplexStream,
    pub(crate) record: Arc<Mutex<Record>>,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut written)) = polled {
            let mut record = self.record.lock().unwrap();
            record.writes += 1;
            for slice in slices {
                let len = slice.len().min(written);
                record.bytes.extend_from_slice(&slice[..len]);
                written -= len;
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
