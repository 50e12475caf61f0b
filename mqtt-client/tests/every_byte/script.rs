//! What the application and the Server do of their own accord.

use mqtt_client::QoS;
use mqtt_client::QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};

/// One step of the scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Subscribe(&'static [(&'static str, QoS)]),
    Unsubscribe(&'static str),
    /// The client publishes, so many bytes.
    Publish(&'static str, QoS, usize),
    /// The same with RETAIN.
    Retain(&'static str, QoS),
    /// As large as the settings say.
    PublishLarge(&'static str, QoS),
    /// The Server has a message for the client, if that is subscribed.
    FromServer(&'static str, QoS, usize),
    Ping,
    Disconnect,
    /// What was asked for so far goes out and is answered, before more is asked for.
    Turn,
    /// Goes on when nothing is on its way any more.
    Wait,
}

/// All that there is of MQTT, with several of each in flight at once.
pub(crate) const SCRIPT: &[Step] = &[
    Step::Subscribe(&[("in/#", Q2), ("kept", Q1)]),
    Step::Retain("kept", Q1),
    Step::Wait,
    Step::Publish("out", Q0, 4),
    Step::Publish("out", Q1, 10),
    Step::Publish("out", Q2, 10),
    Step::PublishLarge("out/large", Q1),
    Step::Publish("out", Q2, 4),
    Step::FromServer("in/a", Q0, 4),
    Step::FromServer("in/a", Q1, 4),
    Step::FromServer("in/b", Q2, 5),
    Step::FromServer("in/b", Q2, 130),
    Step::FromServer("in/a", Q1, 5),
    Step::Publish("out", Q1, 4),
    Step::Turn,
    // Into the queue, as the window is full.
    Step::Publish("out", Q1, 4),
    Step::Publish("out", Q2, 130),
    Step::FromServer("in/a", Q2, 5),
    Step::Wait,
    // What is retained comes now.
    Step::Retain("kept", Q2),
    Step::Subscribe(&[("kept", Q2)]),
    Step::Ping,
    Step::Turn,
    Step::Publish("out", Q1, 4),
    Step::Publish("out", Q2, 4),
    Step::FromServer("in/c", Q2, 4),
    Step::Turn,
    // With all that in flight.
    Step::Disconnect,
    Step::Publish("out", Q2, 4),
    Step::Publish("out", Q1, 4),
    Step::Turn,
    Step::Unsubscribe("kept"),
    Step::Publish("out", Q0, 4),
    Step::FromServer("in/d", Q1, 4),
    Step::Wait,
    Step::FromServer("kept", Q1, 4),
    Step::FromServer("in/e", Q2, 4),
    Step::Publish("out", Q2, 4),
    Step::Wait,
];

/// What is subscribed to in the end.
pub(crate) const SUBSCRIBED: &str = "in/#";
