//! A client without std, libc, threads or an operating system beyond `exit`. What a board needs is in `station.rs`, to be
//! copied; here it connects, subscribes, publishes, loses its link in the middle, resumes, and says goodbye, against the
//! script of `server.rs`. Ends with 0, or with the number of the step that went wrong.

#![no_std]
#![no_main]

extern crate alloc;

mod bare;
mod server;
mod station;

use core::time::Duration;

use mqtt_client::{
    Backoff, Client, Event, Message, Options, Outcome, Oversize, PubSub, QoS, Session, State, Time,
    TopicFilter, TopicName,
};

use server::Server;
use station::Station;

/// What the application has seen so far.
#[derive(Default)]
struct Seen {
    connections: u32,
    resumed: u32,
    subscribed: u32,
    delivered: u32,
    messages: u32,
}

impl Seen {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Connected { session_present } => {
                self.connections += 1;
                self.resumed += u32::from(*session_present);
            }
            Event::Subscribed { .. } => self.subscribed += 1,
            Event::Published { outcome: Outcome::Delivered, .. } => self.delivered += 1,
            Event::Message(message) if message.payload == b"two" => self.messages += 1,
            _ => {}
        }
    }
}

/// The exchange; `Err` holds the number of the step that went wrong.
fn run() -> Result<(), u8> {
    let mut now = Time::ZERO;
    let mut seen = Seen::default();
    let mut server = Server::default();
    // The receive buffer is all the memory that a packet gets: a larger one is skipped, not waited for.
    let options = Options::new("no-std").clean_session(false).keep_alive(Duration::from_secs(30));
    let options = options
        .max_packet_size(station::BUFFER)
        .oversize(Oversize::Skip)
        .max_queue_len(8)
        .max_queue_size(1024)
        .max_in_flight(4);
    let mut station = Station::new(Client::new(options.clone()).map_err(|_| 1)?);

    // Nothing is connected yet: all of that is kept in the Session, and goes out with the first connection.
    let topic = TopicName::from_static("a/b").map_err(|_| 2)?;
    station
        .client
        .subscribe([(TopicFilter::from_static("a/+").map_err(|_| 3)?, QoS::ExactlyOnce)])
        .map_err(|_| 4)?;
    station.client.publish(Message::new(topic.clone(), "one").qos(QoS::AtLeastOnce)).map_err(|_| 5)?;
    station.client.publish(Message::new(topic, "two").qos(QoS::ExactlyOnce)).map_err(|_| 6)?;

    // The link is cut when the Server has confirmed neither: see what it got.
    station.connect(now).map_err(|_| 7)?;
    check(station.turn(&mut server, now, |event| seen.note(&event)).is_err(), 8)?;
    check(server.got() == ["CONNECT", "SUBSCRIBE", "PUBLISH 1", "PUBLISH 2", "PUBREL 2"], 9)?;
    check(seen.subscribed == 1 && seen.delivered == 0, 10)?;

    // A pause, of which the clock of the board decides how random it is; then the next connection.
    let mut backoff = Backoff::default();
    now = now + backoff.next_delay(0x9e37_79b9).ok_or(11)?;
    station.connect(now).map_err(|_| 12)?;
    let due = station.turn(&mut server, now, |event| seen.note(&event)).map_err(|_| 13)?.ok_or(14)?;
    // PUBREL first, then the PUBLISH, which says that it was sent before; and the message, which comes twice, is seen once.
    check(server.got() == ["CONNECT", "PUBREL 2", "PUBLISH 1 DUP", "PUBREC 7", "PUBREC 7", "PUBCOMP 7"], 15)?;
    check(seen.connections == 2 && seen.resumed == 1 && seen.delivered == 2 && seen.messages == 1, 16)?;

    // Nothing happens until the keep alive is due.
    check(due - now > Duration::from_secs(28) && due - now < Duration::from_secs(30), 17)?;
    now = due;
    let due = station.turn(&mut server, now, |event| seen.note(&event)).map_err(|_| 18)?.ok_or(19)?;
    check(server.got() == ["PINGREQ"] && due > now, 20)?;

    station.client.disconnect();
    station.turn(&mut server, now, |event| seen.note(&event)).map_err(|_| 21)?;
    check(server.got() == ["DISCONNECT"] && station.client.state() == State::Disconnected, 22)?;

    // The Session survives as bytes, if the board has somewhere to put them.
    let bytes = station.client.into_session().to_bytes();
    let session = Session::from_bytes(&bytes).map_err(|_| 23)?;
    check(!session.is_empty() && Client::<PubSub>::with_session(options, session).is_ok(), 24)
}

fn check(is_right: bool, step: u8) -> Result<(), u8> {
    if is_right { Ok(()) } else { Err(step) }
}
