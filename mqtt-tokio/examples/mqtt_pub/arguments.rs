//! The flags of `mqtt_pub` alone.

use std::path::PathBuf;

use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use mqtt_tokio::{Message, QoS, TopicName};

use crate::command_line::{self, Failure, Tool, flag, qos, seconds, value};

const TOOL: Tool = Tool {
    name: "mqtt_pub",
    about: "Publishes messages to an MQTT 3.1 or 3.1.1 server, and ends when the server has confirmed them.",
    usage: "\
mqtt_pub [-h HOST | -L URL] -t TOPIC {-m MESSAGE | -f FILE | -l | -s | -n}
                [-q QOS] [-r] [OPTIONS]",
    examples: "\
Examples:
  # One message, to the server on this machine
  mqtt_pub -t plant/7/temperature -m 21.5
  # One that the server keeps and confirms
  mqtt_pub -h broker.local -t plant/7/state -r -q 1 -m on
  mqtt_pub -L mqtts://operator@broker.local/plant/7/firmware --password-file pw -q 2 -f image.bin
  # Every line, over lost connections too
  tail -f plant.log | mqtt_pub -t plant/log -l -q 1 -c -i log-7
  # Removes a retained message
  mqtt_pub -t plant/7/state -r -n",
};

/// The kinds of input, of which there is one.
pub(crate) const INPUTS: [&str; 5] = ["message", "file", "stdin-line", "stdin-file", "null-message"];

/// All of the command line.
pub(crate) fn command() -> Command {
    command_line::command(&TOOL, [("Message", message_flags())])
        .group(ArgGroup::new("input").args(INPUTS).required(true))
}

fn message_flags() -> Vec<Arg> {
    let repeated = |arg: Arg| arg.conflicts_with("stdin-line");
    vec![
        value("topic", "TOPIC", "Topic to publish to").short('t'),
        value("message", "TEXT", "Publish this").short('m').allow_hyphen_values(true),
        value("file", "FILE", "Publish a file as one message")
            .short('f')
            .value_parser(value_parser!(PathBuf)),
        flag("stdin-line", "Publish each line of standard input as it comes").short('l'),
        flag("stdin-file", "Publish the whole of standard input as one message").short('s'),
        flag("null-message", "Publish an empty message").short('n'),
        value("qos", "QOS", "0: at most once, 1: at least once, 2: exactly once [default: 0]")
            .short('q')
            .value_parser(qos),
        flag("retain", "Have the server keep it for later subscribers").short('r'),
        repeated(
            value("repeat", "COUNT", "Publish it so many times").value_parser(value_parser!(u64).range(1..)),
        ),
        repeated(value("repeat-delay", "SECONDS", "Pause between them, such as 0.5").value_parser(seconds)),
        value("max-inflight", "COUNT", "So many may be unconfirmed [default: 100, with QoS 2: 16]")
            .short('M')
            .value_parser(value_parser!(u16).range(1..)),
        value("timeout", "SECONDS", "Give up after so long").short('W').value_parser(seconds),
    ]
}

/// Topic, QoS and RETAIN of all messages.
pub(crate) fn message(matches: &ArgMatches) -> Result<Message, Failure> {
    let topic = matches.get_one::<String>("topic").cloned().or_else(|| command_line::topic_of(matches));
    let topic = topic.ok_or_else(|| Failure::usage("no topic: -t TOPIC, or in the path of -L"))?;
    let name = TopicName::new(&topic).map_err(|error| Failure::usage(format!("topic {topic:?}: {error}")))?;
    let qos = matches.get_one::<QoS>("qos").copied().unwrap_or(QoS::AtMostOnce);
    Ok(Message::new(name, "").qos(qos).retain(matches.get_flag("retain")))
}

/// What the flags of this tool set in the client.
pub(crate) fn settings(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let max = matches.get_one::<u16>("max-inflight").map(u16::to_string);
    let names = ["max_in_flight", "max_in_flight_qos2"];
    max.map_or(Vec::new(), |max| names.map(|name| (name, max.clone())).to_vec())
}
