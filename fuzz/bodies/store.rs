//! Input: a byte of settings, and what may be a stored Session.

use std::collections::HashSet;

use bytes::Buf;
use mqtt_client::{Client, Event, Options, PubSub, Session, SessionLoss, State, Time};
use mqtt_codec::ProtocolVersion;

use super::{input::Input, peer, wire};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let settings = input.byte();
    let session = match Session::from_bytes(input.0) {
        Ok(session) => session,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let bytes = session.to_bytes();
    assert!(bytes.len() <= input.0.len(), "nothing is there that was not in the input");
    let again = Session::from_bytes(&bytes).expect("just written");
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.is_empty(), session.is_empty());
    discard(session.clone());
    goes_on(session, settings);
}

fn options(settings: u8) -> Options {
    let bit = |bit: u8| settings >> bit & 1 == 1;
    Options::new("c")
        .version(if bit(0) { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 })
        .clean_session(bit(1))
        .session_loss(match settings >> 2 & 3 {
            0 => SessionLoss::RepublishQos1,
            1 => SessionLoss::RepublishAll,
            _ => SessionLoss::Fail,
        })
        .max_in_flight(u32::from(settings >> 5) + 1)
        .max_in_flight_qos2(if bit(4) { 1 } else { 65_535 })
}

/// With a Server that answers as it should, everything in it comes to its end.
fn goes_on(session: Session, settings: u8) {
    let options = options(settings);
    let version = if settings & 1 == 0 { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
    let mut publishes: HashSet<_> = session.pending_publishes().map(|(token, _)| token).collect();
    assert_eq!(publishes.len(), session.pending_publishes().count(), "each token is its own");
    let mut client = Client::<PubSub>::with_session(options, session).expect("these options are right");
    client.connect(Time::ZERO).expect("it is disconnected");
    while client.has_output() {
        let mut output = client.poll_output(Time::ZERO);
        let taken = output.copy_to_bytes(output.remaining());
        let mut answers = Vec::new();
        let used = wire::each_packet(&taken, version, |packet| {
            answers.extend(peer::answer(packet, version));
        });
        assert_eq!(used, taken.len(), "nothing but whole packets");
        let answers = answers.concat();
        let mut input = &answers[..];
        while let Some(event) = client.handle_input(&mut input, Time::ZERO).expect("a good Server") {
            if let Event::Published { token, .. } = event {
                assert!(publishes.remove(&token), "{token:?} is resolved twice, or never was");
            }
        }
        assert_eq!(input, b"");
    }
    assert_eq!(client.state(), State::Connected);
    assert!(publishes.is_empty(), "never resolved: {publishes:?}");
    assert_eq!((client.in_flight_len(), client.queue_len()), (0, 0));
}

fn discard(session: Session) {
    let mut publishes = session.pending_publishes().count();
    let mut client = Client::<PubSub>::with_session(options(0), session).expect("these options are right");
    client.discard_session();
    while let Some(event) = client.handle_input(&mut &[][..], Time::ZERO).expect("no bytes") {
        publishes -= usize::from(matches!(event, Event::Published { .. }));
    }
    assert_eq!(publishes, 0);
    assert!(client.session().is_empty());
}
