//! What the clients of two examples do: send some messages to themselves, one QoS after the other.

use std::error::Error;

use mqtt_client::{Client, Event, Message, Outcome, PubSub, QoS, TopicFilter, TopicName};

use crate::support::{EACH_QOS, MESSAGES, Tally};

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

    /// Notes what happened, and sends what is next when all before it is confirmed and has come back.
    pub(crate) fn handle(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<PubSub>,
    ) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Subscribed { .. } => return self.send(client),
            Event::Message(message) => self.tally.arrived(message.payload),
            Event::Published { outcome: Outcome::Delivered, .. } => self.unconfirmed -= 1,
            Event::Published { outcome, .. } => return Err(format!("{outcome:?}").into()),
            _ => return Ok(()),
        }
        if self.has_come_back() { self.send(client) } else { Ok(()) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.begun == EACH_QOS.len() && self.has_come_back()
    }

    fn has_come_back(&self) -> bool {
        self.unconfirmed == 0 && EACH_QOS[..self.begun].iter().all(|qos| self.tally.has_all(*qos))
    }

    fn send(&mut self, client: &mut Client<PubSub>) -> Result<(), Box<dyn Error>> {
        let Some(qos) = EACH_QOS.get(self.begun) else { return Ok(()) };
        self.begun += 1;
        for number in 0..MESSAGES {
            let token =
                client.publish(Message::new(self.topic.clone(), Tally::text(*qos, number)).qos(*qos))?;
            self.unconfirmed += usize::from(token.is_some());
        }
        Ok(())
    }
}
