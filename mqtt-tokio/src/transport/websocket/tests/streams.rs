//! The open WebSocket as a stream of bytes.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use allocation_counter::measure;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncWrite, ReadBuf};
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

use super::super::stream::Stream;
use super::*;

const MIB: usize = 1024 * 1024;

/// An open WebSocket with a server that is not ours.
async fn with_server(buffer: usize) -> (BoxTransport, WebSocketStream<DuplexStream>) {
    let (client, server) = open(buffer).await;
    (client, ServerBuilder::new().serve(server))
}

/// Bytes of which no two neighbours are alike.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn error_of<T: std::fmt::Debug>(result: io::Result<T>) -> WebSocketError {
    WebSocketError::from_io(&result.unwrap_err()).unwrap()
}

/// Polls once, without anybody to be woken.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn another_server_understands_the_request() {
    let (client, server) = duplex(4096);
    let websocket = WebSocket::new();
    let handshake = websocket.handshake(Box::new(client), TARGET, ProtocolVersion::V3_1_1, &[]);
    let accepting = ServerBuilder::new();
    let (opened, accepted) = tokio::join!(handshake, accepting.accept(server));
    assert!(accepted.is_ok());
    // It knows no subprotocols; before that, nothing was wrong.
    assert!(matches!(opened.err(), Some(WebSocketError::Subprotocol { offered: "mqtt", chosen: None })));
}

#[tokio::test]
async fn all_lengths_go_both_ways() {
    let (mut client, mut server) = with_server(1000).await;
    for len in [1, 2, 125, 126, 127, 65_535, 65_536, 256 * 1024] {
        let sent = bytes(len);
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.flush().await.unwrap();
        };
        let ((), message) = tokio::join!(send, server.next());
        let message = message.unwrap().unwrap();
        // What is written at once is one frame.
        assert!(message.is_binary() && message.as_payload()[..] == sent, "{len}");
        let mut received = vec![0; len];
        let (echoed, read) = tokio::join!(server.send(message), client.read_exact(&mut received));
        echoed.unwrap();
        read.unwrap();
        assert!(received == sent, "{len}");
    }
}

#[tokio::test]
async fn slices_become_one_frame_and_a_long_write_several() {
    let (mut client, mut server) = with_server(4 * MIB).await;
    assert!(client.is_write_vectored());
    let written = client.write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bc")]).await;
    assert_eq!(written.unwrap(), 3);
    assert_eq!(client.write(b"").await.unwrap(), 0);
    client.flush().await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap().as_payload()[..], b"abc"[..]);
    let long = bytes(600 * 1024);
    client.write_all(&long).await.unwrap();
    client.flush().await.unwrap();
    let mut received = Vec::new();
    for len in [256 * 1024, 256 * 1024, 88 * 1024] {
        let message = server.next().await.unwrap().unwrap();
        assert_eq!(message.as_payload().len(), len);
        received.extend_from_slice(message.as_payload());
    }
    assert!(received == long);
}

#[tokio::test]
async fn what_is_taken_has_a_bound_and_arrives() {
    let (mut client, mut server) = open(16).await;
    assert!(matches!(poll_once(client.write(&bytes(1000))), Poll::Ready(Ok(1000))));
    // One frame is held; there is no room for another, nor are any bytes of it taken.
    assert!(poll_once(client.write(b"x")).is_pending());
    assert!(poll_once(client.flush()).is_pending());
    let mut start = [0; 16];
    server.read_exact(&mut start).await.unwrap();
    assert!(poll_once(client.write(b"x")).is_pending());
    let mut rest = vec![0; 4 + 4 + 1000 - 16];
    let (flushed, read) = tokio::join!(client.flush(), server.read_exact(&mut rest));
    flushed.unwrap();
    read.unwrap();
    let frame = [&start[..], &rest].concat();
    assert_eq!(frame[..4], [0x82, 0xfe, 0x03, 0xe8]);
    let unmasked: Vec<u8> = frame[8..].iter().zip(frame[4..8].iter().cycle()).map(|(a, b)| a ^ b).collect();
    assert!(unmasked == bytes(1000));
    assert!(matches!(poll_once(client.write(b"x")), Poll::Ready(Ok(1))));
}

#[tokio::test]
async fn both_ends_may_write_much_before_they_read() {
    let (client, server) = with_server(64).await;
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut server_write, mut server_read) = server.split();
    let sent = bytes(MIB);
    let (out, back) = (sent.clone(), sent.clone());
    let writing = tokio::spawn(async move {
        client_write.write_all(&out).await.unwrap();
        client_write.flush().await.unwrap();
        client_write
    });
    let sending = tokio::spawn(async move {
        for part in back.chunks(1000) {
            server_write.feed(Message::ping("p")).await.unwrap();
            server_write.feed(Message::binary(part.to_vec())).await.unwrap();
        }
        server_write.flush().await.unwrap();
        server_write
    });
    let receiving = tokio::spawn(async move {
        let (mut received, mut pongs) = (Vec::new(), 0);
        while received.len() < MIB {
            let message = server_read.next().await.unwrap().unwrap();
            pongs += usize::from(message.is_pong());
            if message.is_binary() {
                received.extend_from_slice(message.as_payload());
            }
        }
        (received, pongs, server_read)
    });
    let mut received = vec![0; MIB];
    client_read.read_exact(&mut received).await.unwrap();
    assert!(received == sent);
    let (received, pongs, _server_read) = receiving.await.unwrap();
    assert!(received == sent && pongs > 0, "{pongs}");
    writing.await.unwrap();
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn a_ping_is_answered_while_nobody_writes() {
    let (mut client, mut server) = open(4096).await;
    server.write_all(&[frame(0x89, b"one"), frame(0x89, b""), frame(0x82, b"x")].concat()).await.unwrap();
    assert_eq!(client.read(&mut [0; 100]).await.unwrap(), 1);
    let mut pong = [0; 6];
    server.read_exact(&mut pong).await.unwrap();
    // The last of those that came together.
    assert_eq!(pong[..2], [0x8a, 0x80]);
    server.write_all(&frame(0x89, b"two")).await.unwrap();
    assert!(poll_once(client.read_u8()).is_pending());
    let mut pong = [0; 9];
    server.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong[..2], [0x8a, 0x83]);
    let payload: Vec<u8> = pong[6..].iter().zip(&pong[2..]).map(|(a, b)| a ^ b).collect();
    assert_eq!(payload, b"two");
}

#[tokio::test]
async fn a_pong_that_finds_no_room_goes_when_there_is() {
    let (mut client, mut server) = open(16).await;
    // Nothing of ours fits any more, and whoever waits for that has gone away.
    assert!(matches!(poll_once(client.write(&bytes(30))), Poll::Ready(Ok(30))));
    assert!(poll_once(client.flush()).is_pending());
    server.write_all(&frame(0x89, b"1")).await.unwrap();
    assert!(poll_once(client.read_u8()).is_pending());
    server.write_all(&frame(0x89, b"2")).await.unwrap();
    assert!(poll_once(client.read_u8()).is_pending());
    let reading = tokio::spawn(async move { client.read_u8().await });
    let mut came = [0; 36 + 7];
    server.read_exact(&mut came).await.unwrap();
    assert_eq!((came[36], came[37], came[42] ^ came[38]), (0x8a, 0x81, b'2'));
    drop(server);
    assert!(reading.await.unwrap().is_err());
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn reader_and_writer_are_both_woken_when_there_is_room() {
    let (mut client, mut server) = open(16).await;
    let counts: [Arc<Count>; 2] = Default::default();
    let wakers = counts.clone().map(Waker::from);
    let [mut reader, mut writer] = wakers.each_ref().map(Context::from_waker);
    assert!(matches!(poll_once(client.write(&bytes(30))), Poll::Ready(Ok(30))));
    assert!(pin!(client.flush()).poll(&mut writer).is_pending());
    server.write_all(&frame(0x89, b"1")).await.unwrap();
    assert!(pin!(client.read_u8()).poll(&mut reader).is_pending());
    assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 0]);
    server.read_exact(&mut [0; 16]).await.unwrap();
    assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
}

#[tokio::test]
async fn text_ends_the_stream_after_what_came_before() {
    let (mut client, mut server) = open(4096).await;
    server.write_all(&[frame(0x82, b"ab"), frame(0x81, b"text")].concat()).await.unwrap();
    let mut came = [0; 2];
    client.read_exact(&mut came).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(error_of(client.read_u8().await), WebSocketError::TextFrame));
    }
    assert!(matches!(error_of(client.write(b"x").await), WebSocketError::TextFrame));
    let mut close = [0; 8];
    server.read_exact(&mut close).await.unwrap();
    assert_eq!(close_code(&close), 1003);
}

/// The code of a close frame from the client.
fn close_code(frame: &[u8]) -> u16 {
    assert_eq!(frame[..2], [0x88, 0x82]);
    u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]])
}

#[tokio::test]
async fn the_server_is_told_what_was_wrong() {
    for (bytes, code) in [
        (&b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"[..], 1009),
        (b"\xc2", 1002),
        (b"\x88\x02\x03\xf0", 1008),
        (b"\x88\x0a\x03\xe9going on", 1001),
    ] {
        let (mut client, mut server) = open(4096).await;
        server.write_all(bytes).await.unwrap();
        let error = error_of(client.read_u8().await);
        assert!(error.is_retryable(), "{error}");
        let mut close = [0; 8];
        server.read_exact(&mut close).await.unwrap();
        assert_eq!(close_code(&close), code, "{error}");
        // Then the connection below is ended.
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_close_of_the_server_is_an_error_that_says_why() {
    let (mut client, mut server) = with_server(4096).await;
    server.send(Message::binary(&b"last"[..])).await.unwrap();
    server.send(Message::close(Some(CloseCode::POLICY_VIOLATION), "go away")).await.unwrap();
    let mut came = Vec::new();
    let error = client.read_to_end(&mut came).await.unwrap_err();
    assert_eq!((came.as_slice(), error.kind()), (&b"last"[..], io::ErrorKind::ConnectionAborted));
    assert_eq!(error.to_string(), "the server closed the WebSocket with code 1008: go away");
    // The closing handshake is complete.
    assert!(server.next().await.unwrap().unwrap().is_close());
    let (mut client, mut server) = open(4096).await;
    server.write_all(b"\x88\x00").await.unwrap();
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.to_string(), "the server closed the WebSocket");
}

#[tokio::test]
async fn our_close_comes_behind_the_data_and_its_answer_is_the_end() {
    let (mut client, mut server) = with_server(20).await;
    assert!(matches!(poll_once(client.write(&bytes(50))), Poll::Ready(Ok(50))));
    let finish = async {
        client.shutdown().await.unwrap();
        assert!(client.write(b"x").await.is_err());
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let serve = async {
        assert_eq!(server.next().await.unwrap().unwrap().as_payload()[..], bytes(50));
        server.send(Message::binary(&b"in between"[..])).await.unwrap();
        let close = server.next().await.unwrap().unwrap();
        assert_eq!(close.as_close(), Some((CloseCode::NORMAL_CLOSURE, "")));
        assert!(server.next().await.is_none());
    };
    let (rest, ()) = tokio::join!(finish, serve);
    assert_eq!(rest, b"in between");
}

#[tokio::test]
async fn an_end_without_a_close_is_the_end() {
    let (mut client, mut server) = open(4096).await;
    server.write_all(b"\x82\x05abc").await.unwrap();
    drop(server);
    let mut came = Vec::new();
    client.read_to_end(&mut came).await.unwrap();
    assert_eq!(came, b"abc");
}

/// A server that is always ready to read from, and takes nothing.
struct Endless {
    what: Vec<u8>,
    at: usize,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 {
            let rest = &self.what[self.at..];
            let count = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..count]);
            self.at = (self.at + count) % self.what.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn neither_pings_nor_declared_lengths_take_memory() {
    let large = [&b"\x82\x7f\0\0\0\0\x0f\xff\xff\xff"[..], &[7; 90]].concat();
    for what in [frame(0x89, &[7; 125]), frame(0x82, b""), large] {
        let mut client = Stream::new(Box::new(Endless { what, at: 0 }), DEFAULT_MAX_FRAME_SIZE);
        let mut space = vec![0; 64 * 1024];
        let info = measure(|| {
            let mut came = 0;
            for _ in 0..4 {
                // It gives way, however much there is to read.
                if let Poll::Ready(read) = poll_once(client.read(&mut space)) {
                    came += read.unwrap();
                }
            }
            assert!(came == 0 || came >= 200_000);
        });
        assert!(info.bytes_max < 1024, "{info:?}");
    }
}
