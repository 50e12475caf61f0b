//! Work to be counted by `valgrind --tool=callgrind`: instructions repeat, whatever else the machine is doing.
//!
//! `benches/instructions` runs it twice for each case and prints the difference for each message.

use std::env;
use std::hint::black_box;

use bytes::BytesMut;
use mqtt_benches::Failure;
use mqtt_benches::core::{Core, pubacks, publishes};
use mqtt_benches::workload::{PAYLOAD, TOPIC};
use mqtt_codec::{
    Decoded, Decoder, Delivery, Direction, Packet, PacketId, ProtocolVersion, Publish, TopicNameRef,
};

const BATCH: u16 = 100;

fn main() -> Result<(), Failure> {
    let case = env::args().nth(1).ok_or("usage: instructions CASE ROUNDS")?;
    let rounds: usize = env::args().nth(2).ok_or("usage: instructions CASE ROUNDS")?.parse()?;
    match case.as_str() {
        "decode-publish" => decode(Packet::Publish(publish()?), rounds),
        "decode-puback" => decode(Packet::Puback(PacketId::MIN), rounds),
        "encode-publish" => encode(rounds),
        "core-publish-1" => core_publish(rounds),
        "core-receive-1" => core_receive(rounds),
        _ => Err("no such case".into()),
    }
}

fn publish() -> Result<Publish<'static>, Failure> {
    let topic = TopicNameRef::new(TOPIC)?;
    Ok(Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload: PAYLOAD })
}

fn decode(packet: Packet<'_>, rounds: usize) -> Result<(), Failure> {
    let mut bytes = BytesMut::new();
    for _ in 0..BATCH {
        packet.encode(ProtocolVersion::V3_1_1, &mut bytes)?;
    }
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToClient);
    for _ in 0..rounds {
        let mut input = black_box(&bytes[..]);
        while let Decoded::Packet(packet, len) = decoder.decode(input)? {
            black_box(&packet);
            input = &input[len..];
        }
    }
    Ok(())
}

fn encode(rounds: usize) -> Result<(), Failure> {
    let publish = publish()?;
    let mut out = BytesMut::with_capacity(64 * 1024);
    for _ in 0..rounds {
        out.clear();
        for _ in 0..BATCH {
            black_box(publish).encode(&mut out)?;
        }
        black_box(&out);
    }
    Ok(())
}

fn core_publish(rounds: usize) -> Result<(), Failure> {
    let acks = pubacks(1, u16::MAX)?;
    let mut core = Core::connected(u32::from(BATCH))?;
    // Well before the identifiers start over.
    for round in 0..rounds.min(600) {
        let at = round * usize::from(BATCH) * 4;
        core.publish(usize::from(BATCH), &acks[at..at + usize::from(BATCH) * 4])?;
    }
    Ok(())
}

fn core_receive(rounds: usize) -> Result<(), Failure> {
    let input = publishes(BATCH)?;
    let mut core = Core::connected(u32::from(BATCH))?;
    for _ in 0..rounds {
        core.receive(black_box(&input))?;
    }
    Ok(())
}
