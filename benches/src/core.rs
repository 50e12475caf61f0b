//! The client core alone: the work of one message, for the criterion bench and for the instruction counts.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_client::{Client, Event, Message, Options, PubSub, QoS, Time, TopicName};
use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, Packet, PacketId, ProtocolVersion, Publish, TopicNameRef,
};

use crate::Failure;
use crate::workload::{PAYLOAD, TOPIC};

const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

/// A connected client, and the message that it publishes.
#[derive(Debug)]
pub struct Core {
    client: Client<PubSub>,
    message: Message,
    now: Time,
}

impl Core {
    /// A client with a window of `window` messages whose connection was accepted.
    ///
    /// # Errors
    ///
    /// When the client does not accept its own CONNACK.
    pub fn connected(window: u32) -> Result<Self, Failure> {
        let options = Options::new("bench").max_in_flight(window).keep_alive(Duration::ZERO);
        let mut client = Client::new(options)?;
        let now = Time::ZERO;
        client.connect(now)?;
        let connack = Connack { session_present: false, code: ConnectReturnCode::Accepted };
        let mut input = BytesMut::new();
        Packet::Connack(connack).encode(VERSION, &mut input)?;
        client.handle_input(&mut &input[..], now)?;
        let message = Message::new(TopicName::from_static(TOPIC)?, Bytes::from_static(PAYLOAD));
        let mut core = Self { client, message: message.qos(QoS::AtLeastOnce), now };
        core.take_output();
        Ok(core)
    }

    fn take_output(&mut self) -> usize {
        let mut output = self.client.poll_output(self.now);
        let len = output.remaining();
        output.advance(len);
        len
    }

    /// Publishes `count` messages with QoS 1, at most the window, gives their bytes to a transport that takes all, and
    /// handles their PUBACKs, which stand in `acks` (see [`pubacks`]). Returns how many were delivered.
    ///
    /// # Errors
    ///
    /// When the core refuses a message or an acknowledgement.
    pub fn publish(&mut self, count: usize, acks: &[u8]) -> Result<usize, Failure> {
        for _ in 0..count {
            self.client.publish(self.message.clone())?;
        }
        self.take_output();
        let mut delivered = 0;
        let mut input = acks;
        while let Some(event) = self.client.handle_input(&mut input, self.now)? {
            delivered += usize::from(matches!(event, Event::Published { .. }));
        }
        Ok(delivered)
    }

    /// Handles the PUBLISH packets in `input`, and gives their PUBACKs to a transport. Returns how many came.
    ///
    /// # Errors
    ///
    /// When the core refuses a packet.
    pub fn receive(&mut self, mut input: &[u8]) -> Result<usize, Failure> {
        let mut received = 0;
        while let Some(event) = self.client.handle_input(&mut input, self.now)? {
            if let Event::Message(message) = event {
                received += usize::from(message.payload.len() == PAYLOAD.len());
            }
        }
        self.take_output();
        Ok(received)
    }
}

/// The PUBACKs of the identifiers from `first` on, `count` of them, within the range of identifiers.
///
/// # Errors
///
/// Never for the few that a bench asks for.
pub fn pubacks(first: u16, count: u16) -> Result<Vec<u8>, Failure> {
    let mut bytes = BytesMut::new();
    let mut id = PacketId::try_from(first)?;
    for _ in 0..count {
        Packet::Puback(id).encode(VERSION, &mut bytes)?;
        id = id.next();
    }
    Ok(bytes.to_vec())
}

/// PUBLISH packets with QoS 1, `count` of them.
///
/// # Errors
///
/// Never for the few that a bench asks for.
pub fn publishes(count: u16) -> Result<Vec<u8>, Failure> {
    let mut bytes = BytesMut::new();
    let mut id = PacketId::MIN;
    for _ in 0..count {
        let delivery = Delivery::AtLeastOnce { id, dup: false };
        Publish { delivery, retain: false, topic: TopicNameRef::new(TOPIC)?, payload: PAYLOAD }
            .encode(&mut bytes)?;
        id = id.next();
    }
    Ok(bytes.to_vec())
}
