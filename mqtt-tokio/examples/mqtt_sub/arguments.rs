//! The flags of `mqtt_sub` alone.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use mqtt_tokio::{QoS, TopicFilter};

use crate::command_line::{self, Failure, Tool, flag, qos, seconds, value};

const TOOL: Tool = Tool {
    name: "mqtt_sub",
    about: "Subscribes to topics of an MQTT 3.1 or 3.1.1 server, and prints what comes.",
    usage: "\
mqtt_sub [-h HOST | -L URL] -t FILTER ... [-q QOS] [-v | -F FORMAT] [-C COUNT] [-W SECONDS]
                [OPTIONS]",
    examples: "\
Examples:
  # Topics and payloads, until Ctrl-C
  mqtt_sub -t 'plant/+/temperature' -v
  # One message, within five seconds
  mqtt_sub -h broker.local -t plant/7/state -C 1 -W 5
  # Payloads in hexadecimal
  mqtt_sub -t '$SYS/#' -t 'plant/#' -T plant/log -F '%I %t %x'
  # Nothing lost, nothing twice
  mqtt_sub -t 'orders/#' -q 2 -c -i orders-7 -F %j >>orders.json
  # What the server keeps
  mqtt_sub -t '#' --retained-only -W 1 -v

Formats of -F:
  %t  topic                       %q  QoS
  %p  payload                     %r  1 if it is a retained message, else 0
  %x  payload in hexadecimal      %l  length of the payload in bytes
  %X  the same in capitals        %I  time, as in 2016-08-10T09:47:38+0000
  %j  all of it as JSON           %U  time, in seconds since 1970
  %J  the same, with a payload that is JSON itself
  @Y @m @d @H @M @S ...           parts of the time (UTC), as in strftime; @N: nanoseconds
  \\n \\t \\r \\0 \\a \\e \\v            as in printf; %% @@ \\\\ are the characters themselves
  %-10t %06l %.8t                 10 columns, left-aligned; 6 with zeros; at most 8 characters",
};

/// All of the command line.
pub(crate) fn command() -> Command {
    command_line::command(&TOOL, [("Subscription", subscription_flags()), ("Printing", print_flags())])
}

fn subscription_flags() -> Vec<Arg> {
    let several = |arg: Arg| arg.action(ArgAction::Append);
    vec![
        several(value("topic", "FILTER", "Topic filter to subscribe to. May be repeated").short('t')),
        value("qos", "QOS", "The most that messages may come with [default: 0]").short('q').value_parser(qos),
        several(value("filter-out", "FILTER", "Leave out what matches this. May be repeated").short('T')),
        several(
            value(
                "unsubscribe",
                "FILTER",
                "End a subscription that an earlier session made. May be repeated",
            )
            .short('U'),
        ),
        value("count", "COUNT", "End after so many messages")
            .short('C')
            .value_parser(value_parser!(u64).range(1..)),
        value("timeout", "SECONDS", "End with exit code 27 after so long").short('W').value_parser(seconds),
        flag("exit-after-subscribe", "End as soon as the server has confirmed the subscriptions").short('E'),
        flag("no-retained", "Leave out retained messages: they are old").short('R'),
        flag("retained-only", "Retained messages only; end when another one comes")
            .conflicts_with("no-retained"),
    ]
}

fn print_flags() -> Vec<Arg> {
    vec![
        flag("verbose", "Print the topic, a space and the payload [default: the payload alone]").short('v'),
        value("format", "FORMAT", "Print this: see below").short('F').allow_hyphen_values(true),
        flag("no-eol", "No line end behind each message").short('N'),
    ]
}

/// What to subscribe to.
pub(crate) fn filters(matches: &ArgMatches) -> Result<Vec<(TopicFilter, QoS)>, Failure> {
    let qos = matches.get_one::<QoS>("qos").copied().unwrap_or(QoS::AtMostOnce);
    let mut filters = parse(matches, "topic")?;
    if let Some(topic) = command_line::topic_of(matches) {
        filters.push(filter(&topic)?);
    }
    if filters.is_empty() && !matches.contains_id("unsubscribe") {
        return Err(Failure::usage("no topic: -t FILTER, or in the path of -L"));
    }
    Ok(filters.into_iter().map(|filter| (filter, qos)).collect())
}

/// What to unsubscribe first.
pub(crate) fn unwanted(matches: &ArgMatches) -> Result<Vec<TopicFilter>, Failure> {
    parse(matches, "unsubscribe")
}

/// What not to print.
pub(crate) fn filtered_out(matches: &ArgMatches) -> Result<Vec<TopicFilter>, Failure> {
    parse(matches, "filter-out")
}

fn parse(matches: &ArgMatches, id: &str) -> Result<Vec<TopicFilter>, Failure> {
    matches.get_many::<String>(id).into_iter().flatten().map(|text| filter(text)).collect()
}

fn filter(text: &str) -> Result<TopicFilter, Failure> {
    TopicFilter::new(text).map_err(|error| Failure::usage(format!("topic filter {text:?}: {error}")))
}
