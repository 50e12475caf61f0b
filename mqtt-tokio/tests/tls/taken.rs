//! How many bytes count as written when the stream below fails. DUP depends on it, and what is reported as not sent.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use mqtt_tokio::{BoxTransport, Tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Ca;
use crate::server::server;

/// Takes so many bytes, and then none.
struct Breaking {
    stream: DuplexStream,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, &bytes[..bytes.len().min(left)]);
        if let Poll::Ready(Ok(count)) = polled {
            self.left.fetch_sub(count, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Writes until there is an error. Returns how many bytes were taken.
async fn write_all(client: &mut BoxTransport, data: &[u8], vectored: bool) -> usize {
    let mut taken = 0;
    loop {
        let written = poll_fn(|cx| {
            let rest = &data[taken..];
            let client = Pin::new(&mut *client);
            match vectored {
                true => {
                    client.poll_write_vectored(cx, &rest.chunks(10_000).map(IoSlice::new).collect::<Vec<_>>())
                }
                false => client.poll_write(cx, rest),
            }
        });
        match written.await {
            Ok(count) => taken += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                return taken;
            }
        }
    }
}

#[tokio::test]
async fn what_the_server_got_counts_as_taken() {
    let ca = Ca::new("ours");
    let acceptor = TlsAcceptor::from(Arc::new(server(&ca.issue("a.b"))));
    let tls = Tls::new().ca(ca.pem);
    for limit in [0, 1, 10_000, 40_000, 100_000] {
        for vectored in [false, true] {
            let (stream, far) = tokio::io::duplex(1 << 20);
            let left = Arc::new(AtomicUsize::new(usize::MAX));
            let breaking = Breaking { stream, left: Arc::clone(&left) };
            let (client, accepted) =
                tokio::join!(tls.handshake(Box::new(breaking), "a.b"), acceptor.accept(far));
            let (mut client, mut server) = (client.unwrap(), accepted.unwrap());
            left.store(limit, Ordering::Relaxed);
            let taken = write_all(&mut client, &[7; 300_000], vectored).await;
            drop(client);
            let (mut came, mut buffer) = (0, vec![0; 1 << 16]);
            while let Ok(count @ 1..) = server.read(&mut buffer).await {
                came += count;
            }
            assert!(taken >= came, "{limit}: {came} bytes came, {taken} were taken");
            assert!(limit > 0 || taken == 0, "{taken} bytes were taken, and none passed on");
        }
    }
}
