//! A broker for machines that have none: a thread for each connection, Sessions in memory. It brings the messages of a
//! client back to the same client, and knows just enough to do so exactly once over any number of connections.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mqtt_client::bytes::BytesMut;
use mqtt_codec::{
    Connack, ConnectReturnCode, Decoded, Delivery, OwnedPacket, OwnedPublish, Packet, PacketId,
    ProtocolVersion, Suback, SubackCode, SubackCodes, TopicFilter,
};

use super::wire::Frames;

/// One Session for each client identifier. A connection holds the lock of its Session, so that the next one of the same
/// client begins when all bytes of the one before were handled.
type Sessions = Mutex<HashMap<String, Arc<Mutex<Session>>>>;

#[derive(Default)]
struct Session {
    filters: Vec<TopicFilter>,
    /// QoS 2 messages of the client that it has not released: they go on when it does.
    received: BTreeMap<PacketId, OwnedPublish>,
    /// What is to be sent again on the next connection: messages with DUP, or PUBRELs where the client has answered with
    /// PUBREC.
    in_flight: BTreeMap<PacketId, OwnedPacket>,
    last_id: Option<PacketId>,
    used: bool,
}

pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sessions = Arc::new(Sessions::default());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sessions = Arc::clone(&sessions);
            thread::spawn(move || {
                if let Err(error) = serve(stream, &sessions) {
                    // A connection that is cut while an answer is written is what this is about.
                    let is_cut = error.downcast_ref::<io::Error>().is_some();
                    if !is_cut {
                        println!("broker: {error}");
                    }
                }
            });
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, sessions: &Sessions) -> Result<(), Box<dyn Error>> {
    // A CONNECT says its own version.
    let mut frames = Frames::new(stream.try_clone()?, ProtocolVersion::V3_1_1);
    let Some(frame) = frames.next()? else { return Ok(()) };
    let Decoded::Packet(Packet::Connect(connect), _) = frames.decoder.decode(&frame)? else {
        return Err("the first packet is no CONNECT".into());
    };
    let version = connect.version;
    frames.decoder = Frames::decoder(version);
    let client_id = connect.client_id.as_str().to_owned();
    let session = {
        let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(client_id).or_default())
    };
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    if connect.clean_session {
        *session = Session::default();
    }
    // MQTT 3.1 does not tell whether there was one.
    let session_present = session.used && version == ProtocolVersion::V3_1_1;
    session.used = true;
    let mut out = BytesMut::new();
    let code = ConnectReturnCode::Accepted;
    Packet::Connack(Connack { session_present, code }).encode(version, &mut out)?;
    for packet in session.in_flight.values() {
        packet.as_packet()?.encode(version, &mut out)?;
    }
    stream.write_all(&out)?;
    while let Some(frame) = frames.next()? {
        let Decoded::Packet(packet, _) = frames.decoder.decode(&frame)? else { break };
        let mut out = BytesMut::new();
        session.answer(OwnedPacket::from_slice_of(&frame, packet), version, &mut out)?;
        stream.write_all(&out)?;
    }
    Ok(())
}

impl Session {
    fn answer(
        &mut self,
        packet: OwnedPacket,
        version: ProtocolVersion,
        out: &mut BytesMut,
    ) -> Result<(), Box<dyn Error>> {
        match packet {
            OwnedPacket::Subscribe { id, filters, .. } => {
                let codes: Vec<_> = filters.iter().map(|(_, qos)| SubackCode::Granted(*qos)).collect();
                self.filters.extend(filters.into_iter().map(|(filter, _)| filter));
                Packet::Suback(Suback { id, codes: SubackCodes::new(&codes)? }).encode(version, out)?;
            }
            OwnedPacket::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => self.send(publish, version, out)?,
                Delivery::AtLeastOnce { id, .. } => {
                    self.send(publish, version, out)?;
                    Packet::Puback(id).encode(version, out)?;
                }
                Delivery::ExactlyOnce { id, .. } => {
                    // If it is a copy, it takes the place of the first.
                    self.received.insert(id, publish);
                    Packet::Pubrec(id).encode(version, out)?;
                }
            },
            OwnedPacket::Pubrel { id, .. } => {
                if let Some(publish) = self.received.remove(&id) {
                    self.send(publish, version, out)?;
                }
                Packet::Pubcomp(id).encode(version, out)?;
            }
            OwnedPacket::Pubrec(id) => {
                self.in_flight.insert(id, OwnedPacket::Pubrel { id, dup: false });
                Packet::Pubrel { id, dup: false }.encode(version, out)?;
            }
            OwnedPacket::Puback(id) | OwnedPacket::Pubcomp(id) => drop(self.in_flight.remove(&id)),
            OwnedPacket::Pingreq => Packet::Pingresp.encode(version, out)?,
            _ => {}
        }
        Ok(())
    }

    /// Sends a message to the client if it has subscribed to it, under an identifier of our own.
    fn send(
        &mut self,
        publish: OwnedPublish,
        version: ProtocolVersion,
        out: &mut BytesMut,
    ) -> Result<(), Box<dyn Error>> {
        if !self.filters.iter().any(|filter| filter.matches(publish.topic.as_ref())) {
            return Ok(());
        }
        let id = self.last_id.map_or(PacketId::MIN, PacketId::next);
        let [now, again] = [false, true].map(|dup| match publish.delivery {
            Delivery::AtMostOnce => Delivery::AtMostOnce,
            Delivery::AtLeastOnce { .. } => Delivery::AtLeastOnce { id, dup },
            Delivery::ExactlyOnce { .. } => Delivery::ExactlyOnce { id, dup },
        });
        Packet::Publish(mqtt_codec::Publish { delivery: now, ..publish.as_ref() }).encode(version, out)?;
        if again.id().is_some() {
            self.last_id = Some(id);
            self.in_flight.insert(id, OwnedPacket::Publish(OwnedPublish { delivery: again, ..publish }));
        }
        Ok(())
    }
}
