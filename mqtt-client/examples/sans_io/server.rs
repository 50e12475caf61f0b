//! The other end, when there is no broker: a thread that answers each packet, sends each message back, and hangs up
//! once in the middle.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use mqtt_client::bytes::BytesMut;
use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Decoder, Delivery, Direction, Packet, ProtocolVersion, Publish,
    Suback, SubackCode, SubackCodes,
};

pub(crate) fn start(version: ProtocolVersion) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            if let Err(error) = serve(stream, version, number == 0) {
                println!("server: {error}");
            }
        }
    });
    Ok(address)
}

/// One connection; the `first` one ends with the first PUBLISH that wants an answer.
fn serve(mut stream: TcpStream, version: ProtocolVersion, first: bool) -> Result<(), Box<dyn Error>> {
    let decoder = Decoder::new(version, Direction::ToServer).max_packet_size(64 * 1024);
    let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let mut used = 0;
        while let Decoded::Packet(packet, len) = decoder.decode(&input[used..])? {
            used += len;
            if first && matches!(packet, Packet::Publish(publish) if publish.delivery.id().is_some()) {
                return Err("hangs up".into());
            }
            let mut out = BytesMut::new();
            answer(packet, version, !first, &mut out)?;
            stream.write_all(&out)?;
        }
        input.drain(..used);
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}

fn answer(
    packet: Packet<'_>,
    version: ProtocolVersion,
    session_present: bool,
    out: &mut BytesMut,
) -> Result<(), Box<dyn Error>> {
    let answer = match packet {
        Packet::Connect(_) => Packet::Connack(Connack { session_present, code: ConnectReturnCode::Accepted }),
        Packet::Subscribe(subscribe) => {
            let codes: Vec<_> = subscribe.filters.iter().map(|(_, qos)| SubackCode::Granted(qos)).collect();
            let suback = Suback { id: subscribe.id, codes: SubackCodes::new(&codes)? };
            return Ok(Packet::Suback(suback).encode(version, out)?);
        }
        Packet::Publish(publish) => {
            let back = Publish { delivery: Delivery::AtMostOnce, ..publish };
            back.encode(out)?;
            match publish.delivery {
                Delivery::AtMostOnce => return Ok(()),
                Delivery::AtLeastOnce { id, .. } => Packet::Puback(id),
                Delivery::ExactlyOnce { id, .. } => Packet::Pubrec(id),
            }
        }
        Packet::Pubrel { id, .. } => Packet::Pubcomp(id),
        Packet::Pingreq => Packet::Pingresp,
        _ => return Ok(()),
    };
    Ok(answer.encode(version, out)?)
}
