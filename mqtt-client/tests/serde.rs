//! Options as JSON and TOML.

mod common;

use std::time::Duration;

use common::{secs, topic};
use mqtt_client::bytes::Bytes;
use mqtt_client::{
    AckMode, Backoff, Fallback, Options, Oversize, ProtocolVersion, QoS, Retransmission, SessionLoss, Timed,
    Will,
};
use proptest::prelude::*;

fn json(text: &str) -> Result<Options, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Every setting, as a person writes it.
const ALL: &str = r#"
client_id = "plant-7"
username = "operator"
password = "hush-hush"
version = "3.1"
clean_session = false
keep_alive = 30
connack_timeout = 2.5
pingresp_timeout = 3
max_in_flight = 7
max_in_flight_qos2 = 6
max_queue_len = 5
max_queue_size = 400
max_packet_size = 300
max_requests = 2
queue_qos0 = true
pipeline = true
session_loss = "republish_all"
ack_mode = "manual"
ack_timeout = 45
oversize = "skip"
fallback = "refused_or_closed"
journal = true

[will]
topic = "plant/7/state"
payload = "gone"
qos = 1
retain = true

[retransmission.timed]
initial = 1.5
factor = 3
cap = 60
bandwidth = 500
jitter = 20

[backoff]
initial = 0.25
max = 8
max_attempts = 4
stable_after = 5
retry_refused = true
"#;

#[test]
fn every_setting_by_the_name_of_its_setter() {
    let timed = Timed::default().initial(Duration::from_millis(1500)).factor(3).cap(secs(60));
    let expected = Options::new("plant-7")
        .credentials("operator", Some("hush-hush"))
        .version(ProtocolVersion::V3_1)
        .clean_session(false)
        .keep_alive(secs(30))
        .connack_timeout(Duration::from_millis(2500))
        .pingresp_timeout(secs(3))
        .max_in_flight(7)
        .max_in_flight_qos2(6)
        .max_queue_len(5)
        .max_queue_size(400)
        .max_packet_size(300)
        .max_requests(2)
        .queue_qos0(true)
        .pipeline(true)
        .session_loss(SessionLoss::RepublishAll)
        .ack_mode(AckMode::Manual)
        .ack_timeout(Some(secs(45)))
        .oversize(Oversize::Skip)
        .fallback(Fallback::RefusedOrClosed)
        .journal(true)
        .will(Will::new(topic("plant/7/state"), "gone").qos(QoS::AtLeastOnce).retain(true))
        .retransmission(Retransmission::Timed(timed.bandwidth(500).jitter(20)))
        .backoff(
            Backoff::default()
                .initial(Duration::from_millis(250))
                .max(secs(8))
                .max_attempts(Some(4))
                .stable_after(secs(5))
                .retry_refused(true),
        );
    assert_eq!(toml::from_str::<Options>(ALL).unwrap(), expected);
    // Written with the same names and values, but for the password.
    let written: toml::Table = toml::to_string(&expected).unwrap().parse().unwrap();
    let mut read: toml::Table = ALL.parse().unwrap();
    read.remove("password");
    assert_eq!(written, read);
}

#[test]
fn all_but_the_client_id_may_be_left_out() {
    let read =
        json(r#"{"client_id": "c", "will": {"topic": "t"}, "backoff": {}, "retransmission": {"timed": {}}}"#);
    let expected = Options::new("c")
        .will(Will::new(topic("t"), Bytes::new()))
        .retransmission(Retransmission::Timed(Timed::default()));
    assert_eq!(read.unwrap(), expected);
    assert_eq!(json(r#"{"client_id": "c"}"#).unwrap(), Options::new("c"));
    assert!(json("{}").unwrap_err().contains("missing field `client_id`"));
    let nulls =
        r#"{"client_id": "c", "password": null, "will": null, "keep_alive": null, "ack_timeout": null}"#;
    assert_eq!(json(nulls).unwrap(), Options::new("c"));
    let default = r#"{"client_id":"c","version":"3.1.1","clean_session":true,"keep_alive":60,"#;
    assert!(serde_json::to_string(&Options::new("c")).unwrap().starts_with(default));
}

/// Setting, value, and what the error says.
#[test]
fn bad_values_are_refused_one_by_one() {
    for (setting, error) in [
        (r#""client_id": 5"#, "expected a string"),
        (r#""client_id": "\u0000""#, "client identifier"),
        (r#""client_id": """#, ""),
        (r#""client_id": "", "clean_session": false"#, "[MQTT-3.1.3-7]"),
        (r#""client_id": "c", "clientid": "d""#, "unknown field `clientid`"),
        (r#""client_id": "c", "username": 5"#, "expected a string"),
        (r#""client_id": "c", "username": "\u0000""#, "user name"),
        (r#""client_id": "c", "password": "p""#, "a password needs a user name"),
        (r#""client_id": "c", "version": "5.0""#, "the version is \"3.1\" or \"3.1.1\""),
        (r#""client_id": "c", "version": 3.1"#, "expected a string"),
        (r#""client_id": "c", "clean_session": 1"#, "expected a boolean"),
        (r#""client_id": "c", "keep_alive": 1.5"#, "whole seconds"),
        (r#""client_id": "c", "keep_alive": 65536"#, "whole seconds"),
        (r#""client_id": "c", "keep_alive": -1"#, "cannot be negative"),
        (r#""client_id": "c", "keep_alive": "60""#, "expected seconds"),
        (r#""client_id": "c", "connack_timeout": 0"#, "longer than zero"),
        (r#""client_id": "c", "connack_timeout": -0.5"#, "negative"),
        (r#""client_id": "c", "pingresp_timeout": 0"#, "longer than zero"),
        (r#""client_id": "c", "pingresp_timeout": 1e300"#, "too big"),
        (r#""client_id": "c", "ack_timeout": 0"#, "longer than zero"),
        (r#""client_id": "c", "max_in_flight": 0"#, "from 1 to 65535"),
        (r#""client_id": "c", "max_in_flight": -1"#, "expected u32"),
        (r#""client_id": "c", "max_in_flight_qos2": 65536"#, "from 1 to 65535"),
        (r#""client_id": "c", "max_queue_len": "5""#, "expected usize"),
        (r#""client_id": "c", "max_queue_size": -5"#, "expected usize"),
        (r#""client_id": "c", "max_packet_size": 1"#, "from 2 to 268435460"),
        (r#""client_id": "c", "max_requests": 1.5"#, "expected usize"),
        (r#""client_id": "c", "queue_qos0": "yes""#, "expected a boolean"),
        (r#""client_id": "c", "pipeline": 0"#, "expected a boolean"),
        (r#""client_id": "c", "journal": 0"#, "expected a boolean"),
        (r#""client_id": "c", "session_loss": "x""#, "`fail`, `republish_qos1`, `republish_all`"),
        (r#""client_id": "c", "ack_mode": "x""#, "`automatic` or `manual`"),
        (r#""client_id": "c", "oversize": "x""#, "`close` or `skip`"),
        (r#""client_id": "c", "fallback": "x""#, "`never`, `refused`, `refused_or_closed`"),
        (r#""client_id": "c", "retransmission": "x""#, "`on_reconnect` or `timed`"),
        (r#""client_id": "c", "retransmission": {"timed": {"factor": 0}}"#, "factor >= 1"),
        (r#""client_id": "c", "retransmission": {"timed": {"x": 0}}"#, "unknown field `x`"),
        (r#""client_id": "c", "backoff": {"initial": -1}"#, "cannot be negative"),
        (r#""client_id": "c", "backoff": {"attempts": 1}"#, "unknown field `attempts`"),
        (r#""client_id": "c", "will": {"payload": "x"}"#, "missing field `topic`"),
        (r#""client_id": "c", "will": {"topic": "a/#"}"#, "wildcard"),
        (r#""client_id": "c", "will": {"topic": "t", "qos": 3}"#, "QoS is 0, 1 or 2"),
        (r#""client_id": "c", "will": {"topic": "t", "retain": 1}"#, "expected a boolean"),
        (r#""client_id": "c", "will": {"topic": "t", "x": 1}"#, "unknown field `x`"),
    ] {
        match json(&format!("{{{setting}}}")) {
            Ok(_) => assert_eq!(error, "", "{setting}"),
            Err(found) => assert!(!error.is_empty() && found.contains(error), "{setting}: {found}"),
        }
    }
    let long = "x".repeat(65_536);
    let settings = format!(r#"{{"client_id": "c", "username": "u", "password": "{long}"}}"#);
    assert!(json(&settings).unwrap_err().contains("the password is longer"));
    let settings = format!(r#"{{"client_id": "c", "will": {{"topic": "t", "payload": "{long}"}}}}"#);
    assert!(json(&settings).unwrap_err().contains("the will payload is longer"));
}

#[test]
fn the_password_is_read_and_never_written() {
    for password in [r#""hush-\u00e9""#, "[104, 117, 115, 104, 45, 195, 169]"] {
        let text = format!(r#"{{"client_id": "c", "username": "u", "password": {password}}}"#);
        let options = json(&text).unwrap();
        assert_eq!(options, Options::new("c").credentials("u", Some("hush-é")));
        for written in [serde_json::to_string(&options).unwrap(), toml::to_string(&options).unwrap()] {
            assert!(written.contains("username"));
            assert!(!written.contains("hush") && !written.contains("104") && !written.contains("password"));
        }
    }
}

/// Neither the value nor a part of it, whatever it is instead of a string.
#[test]
fn errors_do_not_show_a_password_or_a_payload() {
    for value in [
        "123456",
        "-123456",
        "123456.5",
        "123456789012345678901234567890",
        "true",
        "[123456]",
        r#"["secret-word"]"#,
        "[[7]]",
        "[1, null]",
        r#"{"secret-word": 123456}"#,
        r#"{"a": {"secret-word": []}}"#,
    ] {
        for (text, about) in [
            (
                format!(r#"{{"client_id": "c", "username": "u", "password": {value}}}"#),
                "password: not a string",
            ),
            (
                format!(r#"{{"client_id": "c", "will": {{"topic": "t", "payload": {value}}}}}"#),
                "payload: not",
            ),
        ] {
            let error = json(&text).unwrap_err();
            assert!(error.contains(about), "{error}");
            assert!(!["12345", "secret", "true", "1.23"].iter().any(|part| error.contains(part)), "{error}");
        }
    }
    let text = "client_id = 'c'\nusername = 'u'\npassword = 123456\n";
    let error = toml::from_str::<Options>(text).unwrap_err().to_string();
    assert!(error.contains("password: not a string") && !error.contains("123456"), "{error}");
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1_u64..4_000_000).prop_map(Duration::from_secs),
        (1_u64..4_000_000_000_000_000).prop_map(Duration::from_nanos),
    ]
}

fn will() -> impl Strategy<Value = Will> {
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let payload = prop_oneof![any::<Vec<u8>>(), ".*".prop_map(String::into_bytes),];
    ("[^#+\0]{1,9}", payload, qos, any::<bool>()).prop_filter_map(
        "no topic",
        |(name, payload, qos, retain)| {
            let topic = mqtt_client::TopicName::try_from(name.as_str()).ok()?;
            Some(Will::new(topic, payload).qos(qos).retain(retain))
        },
    )
}

fn retransmission() -> impl Strategy<Value = Retransmission> {
    let timed = (duration(), 1_u32.., duration(), 1_u32.., 0_u8..=100).prop_map(
        |(initial, factor, more, bandwidth, jitter)| {
            let timed = Timed::default().initial(initial).factor(factor).cap(initial.max(more));
            Retransmission::Timed(timed.bandwidth(bandwidth).jitter(jitter))
        },
    );
    prop_oneof![Just(Retransmission::OnReconnect), timed]
}

fn backoff() -> impl Strategy<Value = Backoff> {
    (duration(), duration(), any::<Option<u32>>(), duration(), any::<bool>()).prop_map(
        |(initial, max, attempts, stable, retry)| {
            let backoff = Backoff::default().initial(initial).max(max).max_attempts(attempts);
            backoff.stable_after(stable).retry_refused(retry)
        },
    )
}

fn policies() -> impl Strategy<Value = (SessionLoss, AckMode, Oversize, Fallback)> {
    (
        prop_oneof![
            Just(SessionLoss::Fail),
            Just(SessionLoss::RepublishQos1),
            Just(SessionLoss::RepublishAll)
        ],
        prop_oneof![Just(AckMode::Automatic), Just(AckMode::Manual)],
        prop_oneof![Just(Oversize::Close), Just(Oversize::Skip)],
        prop_oneof![Just(Fallback::Never), Just(Fallback::Refused), Just(Fallback::RefusedOrClosed)],
    )
}

prop_compose! {
    fn options()(
        (old, clean, queue, pipeline, journal) in any::<(bool, bool, bool, bool, bool)>(),
        client_id in "[^\0]{1,9}",
        keep_alive in any::<u16>(),
        timeouts in [duration(), duration()],
        ack_timeout in proptest::option::of(duration()),
        limits in (1_u32..=65_535, 1_u32..=65_535, 2_usize..=268_435_460),
        (len, size, requests) in any::<(u32, u32, u32)>(),
        policies in policies(),
        retransmission in proptest::option::of(retransmission()),
        will in proptest::option::of(will()),
        backoff in backoff(),
    ) -> Options {
        let (session_loss, ack_mode, oversize, fallback) = policies;
        let mut options = Options::new(client_id)
            .version(if old { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 })
            .clean_session(clean).queue_qos0(queue).pipeline(pipeline).journal(journal)
            .keep_alive(Duration::from_secs(keep_alive.into()))
            .connack_timeout(timeouts[0]).pingresp_timeout(timeouts[1]).ack_timeout(ack_timeout)
            .max_in_flight(limits.0).max_in_flight_qos2(limits.1).max_packet_size(limits.2)
            .max_queue_len(len as usize).max_queue_size(size as usize).max_requests(requests as usize)
            .session_loss(session_loss).ack_mode(ack_mode).oversize(oversize).fallback(fallback)
            .backoff(backoff);
        if let Some(retransmission) = retransmission {
            options = options.retransmission(retransmission);
        }
        if let Some(will) = will {
            options = options.will(will);
        }
        options
    }
}

proptest! {
    #[test]
    fn options_survive_the_way_there_and_back(options in options(), username in proptest::option::of("[^\0]{0,9}")) {
        prop_assume!(options.check().is_ok());
        let options = match &username {
            Some(username) => options.credentials(username.clone(), None::<Bytes>),
            None => options,
        };
        let text = serde_json::to_string(&options).unwrap();
        prop_assert_eq!(&json(&text).unwrap(), &options, "{}", text);
        let text = toml::to_string(&options).unwrap();
        prop_assert_eq!(&toml::from_str::<Options>(&text).unwrap(), &options, "{}", text);
        // With a password, all the same but for that.
        if let Some(username) = username {
            let secret = options.credentials(username, Some("hush-hush-hush"));
            prop_assert_eq!(&toml::to_string(&secret).unwrap(), &text);
        }
    }
}
