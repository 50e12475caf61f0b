//! The application of those examples in which a loop hands over events: it sends messages to itself, one QoS after the
//! other, and leaves.

mod broker;
mod stage;
mod tally;
mod wire;

use std::error::Error;

use mqtt_client::{Client, Event, Message, Outcome, PubSub, QoS, TopicFilter, TopicName};

use stage::give_up;
pub(crate) use stage::{Stage, random};
use tally::{EACH_QOS, MESSAGES, Tally};

/// The work of one client. It knows nothing of connections: those come and go below it.
pub(crate) struct Job {
    topic: TopicName,
    /// How many of [`EACH_QOS`] were begun.
    begun: usize,
    /// How many outcomes are still to come.
    unconfirmed: usize,
    pub(crate) tally: Tally,
}

impl Job {
    /// Subscribes. Nothing is connected yet: the request is kept in the Session, and goes out with the first connection.
    pub(crate) fn new(client: &mut Client<PubSub>) -> Result<Self, Box<dyn Error>> {
        let topic = TopicName::new(client.options().client_id())?;
        client.subscribe([(TopicFilter::new(topic.as_str())?, QoS::ExactlyOnce)])?;
        Ok(Self { topic, begun: 0, unconfirmed: 0, tally: Tally::default() })
    }

    /// Notes what happened, and does what is next when all before it is confirmed and has come back: at last it
    /// disconnects.
    pub(crate) fn handle(&mut self, event: &Event<'_>, client: &mut Client<PubSub>) {
        match event {
            Event::Subscribed { .. } => {}
            // It may have been lost while it said goodbye.
            Event::Connected { .. } if self.begun > 0 => {}
            Event::Message(message) => self.tally.arrived(message.payload),
            Event::Published { outcome: Outcome::Delivered, .. } => self.unconfirmed -= 1,
            Event::Published { outcome, .. } => give_up(outcome),
            _ => return,
        }
        let has_come_back = EACH_QOS[..self.begun].iter().all(|qos| self.tally.has_all(*qos));
        if self.unconfirmed == 0 && has_come_back {
            match EACH_QOS.get(self.begun) {
                Some(qos) => self.send(*qos, client),
                None => client.disconnect(),
            }
        }
    }

    fn send(&mut self, qos: QoS, client: &mut Client<PubSub>) {
        self.begun += 1;
        for number in 0..MESSAGES {
            match client.publish(Message::new(self.topic.clone(), Tally::text(qos, number)).qos(qos)) {
                Ok(token) => self.unconfirmed += usize::from(token.is_some()),
                Err(error) => give_up(&error),
            }
        }
    }
}
