//! The whole table Profile x State x (operation or PacketType), cell by cell, and its summary in the README.
//!
//! A cell says: the result; what goes out; the events; the state if it changes. Absent parts are left out.

mod common;
#[path = "table/options.rs"]
mod options;

use common::{Pair, Q0, Q1, Q2, kept, message, secs, text};
use mqtt_client::{AckMode, Client, PacketType, Profile, PubSub, Publisher, QoS, State, Subscriber};

macro_rules! before {
    ($packet:literal) => {
        concat!("Protocol(BeforeConnack(", $packet, ")); -> Disconnected")
    };
}
macro_rules! wrong {
    ($packet:literal) => {
        concat!("Protocol(WrongAcknowledgement { packet_type: ", $packet, ", id: 1 }); -> Disconnected")
    };
}
macro_rules! direction {
    ($packet:literal) => {
        concat!("Decode(WrongDirection(", $packet, ")); -> Disconnected")
    };
}

const README: &str = include_str!("../README.md");

/// A line of the table in the README, and what it stands for.
struct Row {
    /// The cells of the line.
    readme: [&'static str; 4],
    /// Each call or packet of that line, with its cell in each of the three states.
    cells: &'static [(&'static str, [&'static str; 3])],
    /// More of the last state: what was done before, the call or packet, the cell.
    connected: &'static [(&'static [&'static str], &'static str, &'static str)],
}

const fn row(
    readme: [&'static str; 4],
    cells: &'static [(&'static str, [&'static str; 3])],
    connected: &'static [(&'static [&'static str], &'static str, &'static str)],
) -> Row {
    Row { readme, cells, connected }
}

const COMMANDS: &[Row] = &[
    row(
        ["`connect`", "-> Connecting, CONNECT", "`AlreadyConnected`", "`AlreadyConnected`"],
        &[("connect", ["ok; out CONNECT kept; -> Connecting", "AlreadyConnected", "AlreadyConnected"])],
        &[],
    ),
    row(
        ["`publish` QoS 0", "`NotConnected`; queued with `queue_qos0`", "held; sent with `pipeline`", "sent"],
        &[("publish q0", ["NotConnected", "token", "ok; out PUBLISH - q0 m"])],
        &[],
    ),
    row(
        [
            "`publish` QoS 1, 2",
            "queued",
            "queued; sent with `pipeline`",
            "sent if the window has room, else queued",
        ],
        &[
            ("publish q1", ["token", "token", "token; out PUBLISH 1 q1 m"]),
            ("publish q2", ["token", "token", "token; out PUBLISH 1 q2 m"]),
        ],
        &[(&["publish q1"], "publish q2", "token; out PUBLISH 2 q2 m")],
    ),
    row(
        ["`cancel`", "the message back", "the message back", "the message back if it is queued, else `Sent`"],
        &[("cancel", ["ok", "ok", "Sent; out PUBLISH 1 q1 m"])],
        &[(&["pause_queue"], "cancel", "ok")],
    ),
    row(
        ["`expire`", "the queued message expires", "the same", "the same; in flight `Sent`"],
        &[(
            "expire",
            ["ok; event m not sent, expired", "ok; event m not sent, expired", "Sent; out PUBLISH 1 q1 m"],
        )],
        &[(&["pause_queue"], "expire", "ok; event m not sent, expired")],
    ),
    row(
        ["`subscribe`, `unsubscribe`", "held", "held", "sent"],
        &[
            ("subscribe", ["token", "token", "token; out SUBSCRIBE 1 f:0"]),
            ("unsubscribe", ["token", "token", "token; out UNSUBSCRIBE 1 f"]),
        ],
        &[],
    ),
    row(
        ["`acknowledge`", "`Stale`", "`Stale`", "sent in its turn"],
        &[("acknowledge", ["Stale", "Stale", "ok; out PUBACK 5"])],
        &[(&["acknowledge"], "acknowledge", "Stale")],
    ),
    row(
        ["`ping`", "`NotConnected`", "`NotConnected`", "PINGREQ, unless one is unanswered"],
        &[("ping", ["NotConnected", "NotConnected", "ok; out PINGREQ"])],
        &[(&["ping"], "ping", "ok")],
    ),
    row(
        [
            "`disconnect`",
            "nothing",
            "-> Disconnected; DISCONNECT if a byte of CONNECT went out",
            "-> Disconnected, DISCONNECT",
        ],
        &[(
            "disconnect",
            ["ok", "ok; out DISCONNECT; -> Disconnected", "ok; out DISCONNECT; -> Disconnected"],
        )],
        &[],
    ),
    row(
        ["`discard_session`", "resolves all", "the same, -> Disconnected", "the same, -> Disconnected"],
        &[("discard_session", ["ok", "ok; -> Disconnected", "ok; -> Disconnected"])],
        &[(&["publish q1"], "discard_session", "ok; event m ambiguous, discarded; -> Disconnected")],
    ),
    row(
        [
            "`handle_close`",
            "nothing",
            "-> Disconnected; may change the version with `fallback`",
            "-> Disconnected",
        ],
        &[("handle_close", ["ok", "ok; -> Disconnected", "ok; -> Disconnected"])],
        &[(&["publish q1"], "handle_close", "ok; -> Disconnected")],
    ),
    row(
        [
            "`handle_timeout`",
            "messages expire",
            "CONNACK deadline; messages expire",
            "PINGREQ, PINGRESP and ack deadline; sends again; messages expire",
        ],
        &[("handle_timeout", ["ok", "ConnackTimeout; -> Disconnected", "ok; out PINGREQ"])],
        &[(&["ping"], "handle_timeout", "PingrespTimeout; -> Disconnected")],
    ),
    row(
        [
            "`pause_input`, `resume_input`",
            "nothing",
            "nothing",
            "all of that but PINGREQ and expiry off and on",
        ],
        &[("pause_input", ["ok", "ok", "ok"]), ("resume_input", ["ok", "ok", "ok"])],
        &[(&["ping", "pause_input"], "handle_timeout", "ok; out PINGREQ")],
    ),
];

const PACKETS: &[Row] = &[
    row(
        ["CONNACK, code 0", "dropped", "-> Connected, resumes", "`SecondConnack`"],
        &[
            ("CONNACK 0", ["ok", "ok; event connected, no session; -> Connected", SECOND]),
            ("CONNACK present", ["ok", "ok; event connected, session present; -> Connected", SECOND]),
        ],
        &[],
    ),
    row(
        ["CONNACK, other codes", "dropped", "`Refused`; code 1 may change the version", "`SecondConnack`"],
        &[
            ("CONNACK 1", ["ok", "Refused(UnacceptableProtocolVersion); -> Disconnected", SECOND]),
            ("CONNACK 5", ["ok", "Refused(NotAuthorized); -> Disconnected", SECOND]),
            ("CONNACK 6", ["ok", "Refused(Other(ReservedReturnCode(6))); -> Disconnected", SECOND]),
        ],
        &[],
    ),
    row(
        ["PUBLISH", "dropped", "`BeforeConnack`", "a message; PUBACK or PUBREC; `Skipped` with `oversize`"],
        &[
            ("PUBLISH - q0 x", ["ok", before!("Publish"), "ok; event message q0 x"]),
            ("PUBLISH 7 q1 x", ["ok", before!("Publish"), "ok; out PUBACK 7; event message q1 x"]),
            ("PUBLISH 7 q2 x", ["ok", before!("Publish"), "ok; out PUBREC 7; event message q2 x"]),
        ],
        &[(&["PUBLISH 7 q2 x"], "PUBLISH 7 q2 dup x", "ok; out PUBREC 7")],
    ),
    row(
        [
            "PUBACK, PUBCOMP",
            "dropped",
            "`BeforeConnack`",
            "resolves; counted if unknown; `WrongAcknowledgement`",
        ],
        &[("PUBACK 1", ["ok", before!("Puback"), "ok"]), ("PUBCOMP 1", ["ok", before!("Pubcomp"), "ok"])],
        &[
            (&["publish q1"], "PUBACK 1", "ok; event m delivered"),
            (&["publish q1"], "PUBCOMP 1", wrong!("Pubcomp")),
            (&["publish q2"], "PUBACK 1", wrong!("Puback")),
            (&["publish q2"], "PUBCOMP 1", wrong!("Pubcomp")),
            (&["publish q2", "PUBREC 1"], "PUBACK 1", wrong!("Puback")),
            (&["publish q2", "PUBREC 1"], "PUBCOMP 1", "ok; event m delivered"),
            (&["subscribe"], "PUBACK 1", wrong!("Puback")),
            (&["subscribe"], "PUBCOMP 1", wrong!("Pubcomp")),
            (&["unsubscribe"], "PUBACK 1", wrong!("Puback")),
            (&["unsubscribe"], "PUBCOMP 1", wrong!("Pubcomp")),
        ],
    ),
    row(
        [
            "PUBREC",
            "dropped",
            "`BeforeConnack`",
            "PUBREL, also if unknown or repeated; `WrongAcknowledgement`",
        ],
        &[("PUBREC 1", ["ok", before!("Pubrec"), "ok; out PUBREL 1"])],
        &[
            (&["publish q2"], "PUBREC 1", "ok; out PUBREL 1"),
            (&["publish q2", "PUBREC 1"], "PUBREC 1", "ok; out PUBREL 1"),
            (&["publish q1"], "PUBREC 1", wrong!("Pubrec")),
            (&["subscribe"], "PUBREC 1", wrong!("Pubrec")),
            (&["unsubscribe"], "PUBREC 1", wrong!("Pubrec")),
        ],
    ),
    row(
        ["PUBREL", "dropped", "`BeforeConnack`", "PUBCOMP, also if unknown"],
        &[("PUBREL 7", ["ok", before!("Pubrel"), "ok; out PUBCOMP 7"])],
        &[(&["PUBLISH 7 q2 x"], "PUBREL 7", "ok; out PUBCOMP 7")],
    ),
    row(
        [
            "SUBACK, UNSUBACK",
            "dropped",
            "`BeforeConnack`",
            "resolves; counted if unknown; `WrongAcknowledgement`, `SubackCount`",
        ],
        &[("SUBACK 1 0", ["ok", before!("Suback"), "ok"]), ("UNSUBACK 1", ["ok", before!("Unsuback"), "ok"])],
        &[
            (&["subscribe"], "SUBACK 1 0", "ok; event f subscribed 0"),
            (&["subscribe"], "SUBACK 1 128", "ok; event f subscribed failure"),
            (
                &["subscribe"],
                "SUBACK 1 0 0",
                "Protocol(SubackCount { requested: 1, received: 2 }); -> Disconnected",
            ),
            (&["subscribe"], "UNSUBACK 1", wrong!("Unsuback")),
            (&["unsubscribe"], "UNSUBACK 1", "ok; event f unsubscribed"),
            (&["unsubscribe"], "SUBACK 1 0", wrong!("Suback")),
            (&["publish q1"], "SUBACK 1 0", wrong!("Suback")),
            (&["publish q1"], "UNSUBACK 1", wrong!("Unsuback")),
            (&["publish q2", "PUBREC 1"], "SUBACK 1 0", wrong!("Suback")),
        ],
    ),
    row(
        ["PINGRESP", "dropped", "`BeforeConnack`", "`Pong`; counted if none was due"],
        &[("PINGRESP", ["ok", before!("Pingresp"), "ok"])],
        &[(&["ping"], "PINGRESP", "ok; event pong"), (&["ping", "PINGRESP"], "PINGRESP", "ok")],
    ),
    row(
        ["CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT", "dropped", "`Decode`", "`Decode`"],
        &[
            ("CONNECT kept", ["ok", direction!("Connect"), direction!("Connect")]),
            ("SUBSCRIBE 1 f", ["ok", direction!("Subscribe"), direction!("Subscribe")]),
            ("UNSUBSCRIBE 1 f", ["ok", direction!("Unsubscribe"), direction!("Unsubscribe")]),
            ("PINGREQ", ["ok", direction!("Pingreq"), direction!("Pingreq")]),
            ("DISCONNECT", ["ok", direction!("Disconnect"), direction!("Disconnect")]),
        ],
        &[],
    ),
];

const SECOND: &str = "Protocol(SecondConnack); -> Disconnected";

const STATES: [State; 3] = [State::Disconnected, State::Connecting, State::Connected];

/// What a profile has besides what all have. `None`: it does not have that command.
trait Commands: Profile {
    fn publish(pair: &mut Pair<Self>, qos: QoS) -> Option<String>;
    fn request(pair: &mut Pair<Self>, subscribe: bool) -> Option<String>;
    /// Publishes and takes that back, or lets it expire.
    fn take_back(pair: &mut Pair<Self>, expire: bool) -> Option<String>;
}

fn try_take_back<P: mqtt_client::CanPublish>(pair: &mut Pair<P>, expire: bool) -> Option<String> {
    let token = pair.publish("m", Q1).unwrap();
    if !expire {
        return result(pair.client.cancel(token).map(|back| assert_eq!(back, message("m", Q1))));
    }
    let result = result(pair.client.expire(token, pair.now + secs(5)));
    pair.advance(secs(5));
    assert_eq!(pair.timeout(), Ok(()));
    result
}

fn try_publish<P: mqtt_client::CanPublish>(pair: &mut Pair<P>, qos: QoS) -> Option<String> {
    Some(match pair.try_publish("m", qos) {
        Ok(None) => "ok".into(),
        Ok(Some(_)) => "token".into(),
        Err(error) => {
            assert!(format!("{error:?}").starts_with("NotConnected("), "{error:?}");
            assert_eq!(error.into_message(), message("m", qos));
            "NotConnected".into()
        }
    })
}

fn try_request<P: mqtt_client::CanSubscribe>(pair: &mut Pair<P>, subscribe: bool) -> Option<String> {
    if subscribe {
        pair.subscribe("f", Q0);
    } else {
        pair.unsubscribe("f");
    }
    Some("token".into())
}

impl Commands for Publisher {
    fn publish(pair: &mut Pair<Self>, qos: QoS) -> Option<String> {
        try_publish(pair, qos)
    }
    fn request(_: &mut Pair<Self>, _: bool) -> Option<String> {
        None
    }
    fn take_back(pair: &mut Pair<Self>, expire: bool) -> Option<String> {
        try_take_back(pair, expire)
    }
}

impl Commands for Subscriber {
    fn publish(_: &mut Pair<Self>, _: QoS) -> Option<String> {
        None
    }
    fn request(pair: &mut Pair<Self>, subscribe: bool) -> Option<String> {
        try_request(pair, subscribe)
    }
    fn take_back(_: &mut Pair<Self>, _: bool) -> Option<String> {
        None
    }
}

impl Commands for PubSub {
    fn publish(pair: &mut Pair<Self>, qos: QoS) -> Option<String> {
        try_publish(pair, qos)
    }
    fn request(pair: &mut Pair<Self>, subscribe: bool) -> Option<String> {
        try_request(pair, subscribe)
    }
    fn take_back(pair: &mut Pair<Self>, expire: bool) -> Option<String> {
        try_take_back(pair, expire)
    }
}

fn result<E: std::fmt::Debug>(result: Result<(), E>) -> Option<String> {
    Some(result.map_or_else(|error| format!("{error:?}"), |()| "ok".into()))
}

/// Does one thing; its result, or `None` if the profile does not have it.
fn act<P: Commands>(pair: &mut Pair<P>, what: &str) -> Option<String> {
    let now = pair.now;
    let mut done = |does: fn(&mut Client<P>)| {
        does(&mut pair.client);
        Some("ok".into())
    };
    match what {
        "connect" => result(pair.client.connect(now)),
        "publish q0" => P::publish(pair, Q0),
        "publish q1" => P::publish(pair, Q1),
        "publish q2" => P::publish(pair, Q2),
        "cancel" => P::take_back(pair, false),
        "expire" => P::take_back(pair, true),
        "pause_queue" => {
            pair.client.pause_queue(true);
            Some("ok".into())
        }
        "subscribe" => P::request(pair, true),
        "unsubscribe" => P::request(pair, false),
        "acknowledge" => result(pair.client.acknowledge(pair.acks[0])),
        "ping" => result(pair.client.ping(now)),
        "disconnect" => done(Client::disconnect),
        "discard_session" => done(Client::discard_session),
        "handle_close" => done(Client::handle_close),
        "pause_input" => {
            pair.client.pause_input(now);
            Some("ok".into())
        }
        "resume_input" => {
            pair.client.resume_input(now);
            Some("ok".into())
        }
        "handle_timeout" => {
            pair.advance(secs(100));
            result(pair.timeout())
        }
        packet => result(pair.peer_result(packet)),
    }
}

/// A client in `state`, with nothing to send and no events; for `acknowledge`, it has got a message before.
fn in_state<P: Commands>(state: State, what: &str) -> Pair<P> {
    let manual = what == "acknowledge";
    let mut pair = Pair::<P>::new(kept().ack_mode(if manual { AckMode::Manual } else { AckMode::Automatic }));
    if manual {
        pair.open(false);
        pair.peer("PUBLISH 5 q1 x");
        pair.events();
        if state != State::Connected {
            pair.cut();
        }
    }
    match state {
        State::Disconnected => {}
        State::Connecting => assert!(pair.dial().is_empty()),
        State::Connected if manual => {}
        State::Connected => pair.open(false),
    }
    pair
}

/// What a cell is in fact.
fn cell<P: Commands>(pair: &mut Pair<P>, what: &str) -> Option<String> {
    let before = pair.client.state();
    let mut cell = act(pair, what)?;
    for packet in pair.sent() {
        cell += &format!("; out {packet}");
    }
    for event in pair.events() {
        cell += &format!("; event {event}");
    }
    let state = pair.client.state();
    if state != before {
        cell += &format!("; -> {state:?}");
    }
    Some(cell)
}

/// Compares the whole table for one profile; how many cells it has.
fn compare<P: Commands>() -> usize {
    let mut cells = 0;
    for row in COMMANDS.iter().chain(PACKETS) {
        for (what, expected) in row.cells {
            for (state, expected) in STATES.into_iter().zip(expected) {
                let mut pair = in_state::<P>(state, what);
                if let Some(actual) = cell(&mut pair, what) {
                    assert_eq!(actual, *expected, "{} in state {state:?}: {what}", P::NAME);
                    cells += 1;
                }
            }
        }
        for (before, what, expected) in row.connected {
            let mut pair = in_state::<P>(State::Connected, what);
            if before.iter().all(|step| cell(&mut pair, step).is_some()) {
                if let Some(actual) = cell(&mut pair, what) {
                    assert_eq!(actual, *expected, "{} connected, after {before:?}: {what}", P::NAME);
                    cells += 1;
                }
            }
        }
    }
    cells
}

#[test]
fn every_cell_is_as_the_table_says() {
    let per_state = |rows: &[Row]| rows.iter().map(|row| row.cells.len() * 3).sum::<usize>();
    let connected: usize = COMMANDS.iter().chain(PACKETS).map(|row| row.connected.len()).sum();
    let all = per_state(COMMANDS) + per_state(PACKETS) + connected;
    assert_eq!(compare::<PubSub>(), all);
    assert!(compare::<Publisher>() < all && compare::<Subscriber>() < all);
}

#[test]
fn the_table_has_every_packet_type() {
    for packet_type in PacketType::ALL {
        let name = packet_type.to_string();
        let has = |row: &Row| row.cells.iter().any(|(what, _)| what.split(' ').next() == Some(name.as_str()));
        assert!(PACKETS.iter().any(has), "{name}");
    }
    for (what, _) in PACKETS.iter().flat_map(|row| row.cells) {
        assert!(!text::encode(what, Default::default()).is_empty());
    }
}

#[test]
fn the_readme_has_this_table() {
    // Other tables stand before it.
    let chapter = README.lines().skip_while(|line| !line.starts_with("## Table"));
    let lines: Vec<_> = chapter.filter(|line| line.starts_with('|')).skip(2).collect();
    let expected: Vec<_> = COMMANDS
        .iter()
        .chain(PACKETS)
        .map(|row| format!("| {} |", row.readme.map(String::from).join(" | ")))
        .collect();
    assert_eq!(lines, expected);
}
