//! A stream with TLS on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::classify::Facts;
use super::error::TlsError;
use crate::transport::BoxTransport;

/// Makes `stream` secure, for a server with a certificate for `name`.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: BoxTransport,
) -> Result<BoxTransport, TlsError> {
    let facts = Facts {
        name: name.to_str().into_owned(),
        has_certificate: config.client_auth_cert_resolver.has_certs(),
    };
    let watched = Watched { stream, first: None, passed_on: false };
    match TlsConnector::from(config).connect(name, watched).into_fallible().await {
        Ok(inner) => Ok(Box::new(Secure { inner, facts, failed: None })),
        Err((error, watched)) => Err(facts.in_handshake(error, watched.first)),
    }
}

/// Remembers the first byte that comes, which tells whether the other side speaks TLS, and whether something was written.
struct Watched {
    stream: BoxTransport,
    first: Option<u8>,
    passed_on: bool,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.first.is_none() {
            self.first = buf.filled().get(before).copied();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.passed_on |= matches!(polled, Poll::Ready(Ok(1..)));
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.passed_on |= matches!(polled, Poll::Ready(Ok(1..)));
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The secure stream. Its errors have a [`TlsError`] in them where TLS is what failed.
struct Secure {
    inner: TlsStream<Watched>,
    facts: Facts,
    /// Why writing failed, when it could not be told at once.
    failed: Option<io::Error>,
}

impl Secure {
    fn explained(&self, error: io::Error) -> io::Error {
        self.facts.in_use(&error).map_or(error, io::Error::from)
    }

    /// A server that refuses us says so and closes. Then writing fails, and the reason waits to be read.
    fn unwritten(&mut self, error: io::Error, cx: &mut Context<'_>) -> io::Error {
        match Pin::new(&mut self.inner).poll_fill_buf(cx) {
            Poll::Ready(Err(reason)) => self.facts.in_use(&reason).map_or(error, io::Error::from),
            Poll::Ready(Ok(_)) | Poll::Pending => error,
        }
    }

    /// Writes `len` bytes. When that fails after a part was passed on, nobody knows how much of them that was: they count as
    /// written, since the server may have them, and the error is for the next call.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        write: impl FnOnce(Pin<&mut TlsStream<Watched>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        self.inner.get_mut().0.passed_on = false;
        match write(Pin::new(&mut self.inner), cx) {
            Poll::Ready(Err(error)) => {
                let error = self.unwritten(error, cx);
                if !self.inner.get_ref().0.passed_on {
                    return Poll::Ready(Err(error));
                }
                self.failed = Some(error);
                Poll::Ready(Ok(len))
            }
            polled => polled,
        }
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_read(cx, buf)) {
            // The end without a close_notify. An attacker can cut the connection in any case, and MQTT tells by itself
            // what was complete: so this is an end like any other.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.explained(error))),
            Ok(()) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes.len(), |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(cx, len, |inner, cx| inner.poll_write_vectored(cx, slices))
    }

    /// Yes, whatever is below: rustls gathers the slices into records of up to 16 KiB.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        polled.map_err(|error| self.unwritten(error, cx))
    }

    /// Sends close_notify, and shuts the stream below.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
