//! The application of a client whose methods wait: several threads send messages, and one receives them.

mod broker;
mod stage;
mod tally;
mod wire;

use std::error::Error;
use std::sync::mpsc::Receiver;
use std::thread;

use mqtt_client::{Client, Message, Options, Outcome, PubSub, QoS, TopicFilter, TopicName};

use stage::give_up;
pub(crate) use stage::{Stage, random};
use tally::{EACH_QOS, MESSAGES, Tally};

/// What the last message says: what was sent before it has arrived before it.
const END: &str = "end";

/// A client that has asked for what it sends to itself. That is kept in the Session, and goes out with the first
/// connection.
pub(crate) fn subscribed(options: Options) -> Result<(Client<PubSub>, TopicName), Box<dyn Error>> {
    let topic = TopicName::new(options.client_id())?;
    let mut client = Client::new(options.queue_qos0(true))?;
    client.subscribe([(TopicFilter::new(topic.as_str())?, QoS::ExactlyOnce)])?;
    Ok((client, topic))
}

/// Sends messages to `topic`, one QoS after the other, and counts what comes back.
pub(crate) fn exchange(
    topic: &TopicName,
    publish: impl Fn(Message) -> Result<Outcome, Box<dyn Error>> + Sync,
    messages: &Receiver<Message>,
) -> Result<Tally, Box<dyn Error>> {
    let send = |qos: QoS, text: String| match publish(Message::new(topic.clone(), text).qos(qos)) {
        Ok(Outcome::Delivered) => {}
        other => give_up(&other),
    };
    let mut tally = Tally::default();
    for qos in EACH_QOS {
        // From a thread each, so that all are in flight together.
        thread::scope(|scope| {
            for number in 0..MESSAGES {
                scope.spawn(move || send(qos, Tally::text(qos, number)));
            }
        });
        while !tally.has_all(qos) {
            tally.arrived(&messages.recv()?.payload);
        }
    }
    send(QoS::ExactlyOnce, END.to_owned());
    loop {
        let message = messages.recv()?;
        if message.payload == END {
            return Ok(tally);
        }
        tally.arrived(&message.payload);
    }
}
