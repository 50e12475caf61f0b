//! The WebSocket against literal bytes, and against a server that is not ours.

mod frames;
mod handshake;
mod streams;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const TARGET: Target<'static> = Target { host: "broker.local", port: 80, path: "", secure: false };

/// What a server does with the request: returns it, and sends the answer to its key.
async fn answer(server: &mut DuplexStream, answer: impl FnOnce(&str) -> Vec<u8>) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(server.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    server.write_all(&answer(key)).await.unwrap();
    request
}

fn switching(key: &str) -> Vec<u8> {
    let accept = accept(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    .into_bytes()
}

/// An open WebSocket, and the stream that its server has.
async fn open(buffer: usize) -> (BoxTransport, DuplexStream) {
    let (client, mut server) = duplex(buffer);
    let websocket = WebSocket::new();
    let handshake = websocket.handshake(Box::new(client), TARGET, ProtocolVersion::V3_1_1, &[]);
    let (client, _) = tokio::join!(handshake, answer(&mut server, switching));
    (client.unwrap(), server)
}

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => frame.extend([126, (len >> 8) as u8, len as u8]),
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}
