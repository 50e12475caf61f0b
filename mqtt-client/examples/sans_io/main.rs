//! The client on one thread over `std::net::TcpStream`: blocking reads with time-outs, and no runtime.
//!
//! ```text
//! cargo run --example sans_io                                  against a few lines of script (server.rs)
//! cargo run --example sans_io -- mqtt://127.0.0.1:1883         against a broker; --v31 speaks MQTT 3.1
//! ```
//!
//! Publishes a message with each QoS, and ends when all are confirmed and have come back.

mod server;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mqtt_client::bytes::Buf;
use mqtt_client::{
    Client, Event, Message, Options, Outcome, ProtocolVersion, PubSub, QoS, Time, TopicFilter, TopicName,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, uri): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|it| it == "--v31");
    let version = if flags.is_empty() { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
    let address = match uri.first() {
        Some(uri) => uri.trim_start_matches("mqtt://").to_owned(),
        None => server::start(version)?.to_string(),
    };

    // Nothing is connected yet: what is asked for now is kept in the Session, and goes out with the first connection.
    let id = format!("sans-io-{}", std::process::id());
    let options = Options::new(id.clone()).version(version).clean_session(false).queue_qos0(true);
    let mut client = Client::<PubSub>::new(options)?;
    let topic = TopicName::new(&id)?;
    client.subscribe([(TopicFilter::new(&id)?, QoS::ExactlyOnce)])?;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish(Message::new(topic.clone(), format!("QoS {}", qos as u8)).qos(qos))?;
    }

    let start = Instant::now();
    let mut backoff = client.options().backoff_settings().clone().initial(Duration::from_millis(200));
    let mut left = Left { outcomes: 3, messages: 3 };
    while let Err(error) = run(&mut client, &address, start, &mut left) {
        // The Session is still there; only the connection is gone.
        client.handle_close();
        // Whatever varies will do as a random number here.
        let random = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos() << 2;
        let pause = backoff.next_delay(random).ok_or("too many attempts")?;
        println!("{error}; next attempt in {pause:?}");
        std::thread::sleep(pause);
    }
    println!("all confirmed, all received");
    Ok(())
}

/// What is still to come.
struct Left {
    outcomes: usize,
    messages: usize,
}

/// One connection: ends with `Ok` when nothing is left to be done, and with an error when the connection is lost.
fn run(
    client: &mut Client<PubSub>,
    address: &str,
    start: Instant,
    left: &mut Left,
) -> Result<(), Box<dyn Error>> {
    let now = || Time::from_epoch(start.elapsed());
    client.connect(now())?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        // 1. Events, from the bytes that are there. What is used of them is dropped.
        let mut input = &buffer[..];
        while let Some(event) = client.handle_input(&mut input, now())? {
            handle(&event, left);
        }
        let used = buffer.len() - input.len();
        buffer.drain(..used);

        // 2. Output. The client learns what the transport has taken, which is what DUP is about.
        if left.outcomes + left.messages == 0 {
            client.disconnect();
        }
        let mut output = client.poll_output(now());
        while output.has_remaining() {
            let written = stream.write(output.chunk())?;
            output.advance(written);
        }
        if left.outcomes + left.messages == 0 {
            return Ok(());
        }

        // 3. Input, for as long as the client has no deadline. A time-out of zero would mean none.
        let due = client.poll_timeout().map(|due| (due - now()).max(Duration::from_millis(1)));
        stream.set_read_timeout(due)?;
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }

        // 4. Time. Early and repeated calls do nothing.
        client.handle_timeout(now())?;
    }
}

fn handle(event: &Event<'_>, left: &mut Left) {
    match event {
        Event::Connected { session_present } => println!("connected, session present: {session_present}"),
        Event::Message(message) => {
            println!("received {:?}", String::from_utf8_lossy(message.payload));
            left.messages = left.messages.saturating_sub(1);
        }
        Event::Published { outcome, .. } => {
            println!("published: {outcome:?}");
            left.outcomes -= usize::from(*outcome == Outcome::Delivered);
        }
        other => println!("{other:?}"),
    }
}
