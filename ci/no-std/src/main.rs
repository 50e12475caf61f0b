//! A client without std, libc, threads or an operating system beyond `exit`: it is connected, publishes, receives and
//! disconnects against prepared bytes. Ends with 0, or with the number of the step that went wrong.

#![no_std]
#![no_main]

mod bare;

use core::time::Duration;

use mqtt_client::bytes::Buf;
use mqtt_client::{
    Client, Event, Message, Options, Outcome, PubSub, QoS, Session, State, Time, TopicFilter, TopicName,
};
use mqtt_codec::{Decoded, Decoder, Direction, Packet, ProtocolVersion};

/// The exchange; `Err` holds the number of the step that went wrong.
fn run() -> Result<(), u8> {
    let now = Time::ZERO;
    let options = Options::new("no-std").clean_session(false).keep_alive(Duration::from_secs(30));
    let mut client = Client::<PubSub>::new(options.clone()).map_err(|_| 1)?;
    client.connect(now).map_err(|_| 2)?;
    sent(
        &mut client,
        |packet| matches!(packet, Packet::Connect(it) if it.client_id.as_str() == "no-std"),
        3,
    )?;
    let connected = |event: &Event<'_>| matches!(event, Event::Connected { session_present: false });
    heard(&mut client, b"\x20\x02\0\0", connected, 4)?;

    let filter = TopicFilter::from_static("a/+").map_err(|_| 5)?;
    client.subscribe([(filter, QoS::ExactlyOnce)]).map_err(|_| 6)?;
    sent(&mut client, |packet| matches!(packet, Packet::Subscribe(_)), 7)?;
    heard(&mut client, b"\x90\x03\0\x01\x02", |event| matches!(event, Event::Subscribed { .. }), 8)?;

    let topic = TopicName::from_static("a/b").map_err(|_| 9)?;
    client.publish(Message::new(topic, "hi").qos(QoS::AtLeastOnce)).map_err(|_| 10)?;
    sent(&mut client, |packet| matches!(packet, Packet::Publish(it) if it.payload == b"hi"), 11)?;
    let delivered = |event: &Event<'_>| matches!(event, Event::Published { outcome: Outcome::Delivered, .. });
    heard(&mut client, b"\x40\x02\0\x02", delivered, 12)?;

    let message = |event: &Event<'_>| matches!(event, Event::Message(it) if it.payload == b"yo");
    heard(&mut client, b"\x34\x09\0\x03a/b\0\x07yo", message, 13)?;
    sent(&mut client, |packet| matches!(packet, Packet::Pubrec(id) if id.get() == 7), 14)?;

    // The keep alive is due, and then its answer is overdue.
    let due = client.poll_timeout().ok_or(15)?;
    client.handle_timeout(due).map_err(|_| 16)?;
    sent(&mut client, |packet| matches!(packet, Packet::Pingreq), 17)?;
    let due = client.poll_timeout().ok_or(18)?;
    if client.handle_timeout(due).is_ok() || client.state() != State::Disconnected {
        return Err(19);
    }

    // The Session survives as bytes.
    let bytes = client.into_session().to_bytes();
    let session = Session::from_bytes(&bytes).map_err(|_| 20)?;
    if session.is_empty() || Client::<PubSub>::with_session(options, session).is_err() {
        return Err(21);
    }
    Ok(())
}

/// Takes the output, which must be one packet that is right.
fn sent(client: &mut Client<PubSub>, is_right: impl Fn(Packet<'_>) -> bool, step: u8) -> Result<(), u8> {
    let mut output = client.poll_output(Time::ZERO);
    let len = output.remaining();
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToServer);
    match decoder.decode(output.chunk()) {
        Ok(Decoded::Packet(packet, packet_len)) if packet_len == len && is_right(packet) => {}
        _ => return Err(step),
    }
    output.advance(len);
    Ok(())
}

/// Feeds bytes, which must lead to one event that is right.
fn heard(
    client: &mut Client<PubSub>,
    mut input: &[u8],
    is_right: impl Fn(&Event<'_>) -> bool,
    step: u8,
) -> Result<(), u8> {
    match client.handle_input(&mut input, Time::ZERO) {
        Ok(Some(event)) if is_right(&event) && input.is_empty() => Ok(()),
        _ => Err(step),
    }
}
