//! Options as text: in the addresses of Servers, and in the environment.

use std::time::Duration;

use mqtt_client::{
    AckMode, Backoff, Fallback, Options, Oversize, ProtocolVersion, QoS, SessionLoss, TopicName, Will,
};

/// Why a pair of name and value is no setting. The value is not shown: it can be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingError {
    Unknown,
    Invalid(&'static str),
}

/// The names of all settings: those of the setters, where there is one.
pub(crate) const NAMES: [&str; 27] = [
    "client_id",
    "clean_session",
    "keep_alive",
    "version",
    "connack_timeout",
    "pingresp_timeout",
    "ack_timeout",
    "max_in_flight",
    "max_in_flight_qos2",
    "max_queue_len",
    "max_queue_size",
    "max_packet_size",
    "max_requests",
    "queue_qos0",
    "pipeline",
    "session_loss",
    "ack_mode",
    "oversize",
    "fallback",
    "will_topic",
    "will_payload",
    "will_qos",
    "will_retain",
    "backoff_initial",
    "backoff_max",
    "backoff_max_attempts",
    "retry_refused",
];

/// Options while their settings are read one by one.
pub(crate) struct Settings {
    options: Options,
    backoff: Backoff,
    /// The Will needs its topic, which may come after its other parts.
    will: Option<WillParts>,
}

#[derive(Default)]
struct WillParts {
    topic: Option<TopicName>,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
}

impl Settings {
    /// Begins with what the options are without settings.
    pub(crate) fn new(options: Options) -> Self {
        Self { backoff: options.backoff_settings().clone(), options, will: None }
    }

    /// Changes what `name` stands for.
    pub(crate) fn set(self, name: &str, value: &str) -> Result<Self, SettingError> {
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(SettingError::Unknown);
        };
        let set = match name.strip_prefix("will_") {
            Some(part) => self.set_will(part, value),
            None if name.starts_with("backoff_") || name == "retry_refused" => self.set_backoff(name, value),
            None => self.set_option(name, value),
        };
        set.ok_or(SettingError::Invalid(name))
    }

    /// The options with all that was set.
    pub(crate) fn finish(self) -> Result<Options, SettingError> {
        let options = self.options.backoff(self.backoff);
        let Some(parts) = self.will else { return Ok(options) };
        let topic = parts.topic.ok_or(SettingError::Invalid("will_topic"))?;
        Ok(options.will(Will::new(topic, parts.payload).qos(parts.qos).retain(parts.retain)))
    }

    fn set_option(mut self, name: &str, value: &str) -> Option<Self> {
        let to = self.options;
        self.options = match name {
            "client_id" => to.with_client_id(value),
            "clean_session" => to.clean_session(flag(value)?),
            "keep_alive" => to.keep_alive(seconds(value)?),
            "version" => to.version(one_of(
                value,
                [("3.1", ProtocolVersion::V3_1), ("3.1.1", ProtocolVersion::V3_1_1)],
            )?),
            "connack_timeout" => to.connack_timeout(seconds(value)?),
            "pingresp_timeout" => to.pingresp_timeout(seconds(value)?),
            "ack_timeout" if value == "none" => to.ack_timeout(None),
            "ack_timeout" => to.ack_timeout(Some(seconds(value)?)),
            "max_in_flight" => to.max_in_flight(value.parse().ok()?),
            "max_in_flight_qos2" => to.max_in_flight_qos2(value.parse().ok()?),
            "max_queue_len" => to.max_queue_len(value.parse().ok()?),
            "max_queue_size" => to.max_queue_size(value.parse().ok()?),
            "max_packet_size" => to.max_packet_size(value.parse().ok()?),
            "max_requests" => to.max_requests(value.parse().ok()?),
            "queue_qos0" => to.queue_qos0(flag(value)?),
            "pipeline" => to.pipeline(flag(value)?),
            "session_loss" => to.session_loss(one_of(
                value,
                [
                    ("fail", SessionLoss::Fail),
                    ("republish_qos1", SessionLoss::RepublishQos1),
                    ("republish_all", SessionLoss::RepublishAll),
                ],
            )?),
            "ack_mode" => {
                to.ack_mode(one_of(value, [("automatic", AckMode::Automatic), ("manual", AckMode::Manual)])?)
            }
            "oversize" => to.oversize(one_of(value, [("close", Oversize::Close), ("skip", Oversize::Skip)])?),
            "fallback" => to.fallback(one_of(
                value,
                [
                    ("never", Fallback::Never),
                    ("refused", Fallback::Refused),
                    ("refused_or_closed", Fallback::RefusedOrClosed),
                ],
            )?),
            _ => return None,
        };
        Some(self)
    }

    fn set_will(mut self, part: &str, value: &str) -> Option<Self> {
        let will = self.will.get_or_insert_default();
        match part {
            "topic" => will.topic = Some(TopicName::new(value).ok()?),
            "payload" => will.payload = value.as_bytes().to_vec(),
            "qos" => will.qos = qos(value)?,
            "retain" => will.retain = flag(value)?,
            _ => return None,
        }
        Some(self)
    }

    fn set_backoff(mut self, name: &str, value: &str) -> Option<Self> {
        let to = self.backoff;
        self.backoff = match name {
            "backoff_initial" => to.initial(seconds(value)?),
            "backoff_max" => to.max(seconds(value)?),
            "backoff_max_attempts" if value == "none" => to.max_attempts(None),
            "backoff_max_attempts" => to.max_attempts(Some(value.parse().ok()?)),
            "retry_refused" => to.retry_refused(flag(value)?),
            _ => return None,
        };
        Some(self)
    }
}

/// `true` or `false`, and what people write for it.
pub(crate) fn flag(text: &str) -> Option<bool> {
    one_of(text, [("true", true), ("1", true), ("on", true), ("false", false), ("0", false), ("off", false)])
}

fn qos(text: &str) -> Option<QoS> {
    one_of(text, [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)])
}

/// Seconds, with a fraction if there is one.
fn seconds(text: &str) -> Option<Duration> {
    // `parse` would take names, signs and exponents too.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn one_of<T, const N: usize>(text: &str, values: [(&str, T); N]) -> Option<T> {
    values.into_iter().find(|(name, _)| *name == text).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<Options, SettingError> {
        let settings = Settings::new(Options::new("c"));
        pairs.iter().try_fold(settings, |settings, (name, value)| settings.set(name, value))?.finish()
    }

    #[test]
    fn each_name_changes_its_setting() {
        let options = || Options::new("c");
        let backoff = Backoff::default;
        let half = Duration::from_millis(500);
        for (name, value, expected) in [
            ("client_id", "d", Options::new("d")),
            ("clean_session", "false", options().clean_session(false)),
            ("keep_alive", "30", options().keep_alive(Duration::from_secs(30))),
            ("version", "3.1", options().version(ProtocolVersion::V3_1)),
            ("connack_timeout", "0.5", options().connack_timeout(half)),
            ("pingresp_timeout", ".5", options().pingresp_timeout(half)),
            ("ack_timeout", "0.5", options().ack_timeout(Some(half))),
            ("ack_timeout", "none", options()),
            ("max_in_flight", "7", options().max_in_flight(7)),
            ("max_in_flight_qos2", "7", options().max_in_flight_qos2(7)),
            ("max_queue_len", "7", options().max_queue_len(7)),
            ("max_queue_size", "7", options().max_queue_size(7)),
            ("max_packet_size", "7", options().max_packet_size(7)),
            ("max_requests", "7", options().max_requests(7)),
            ("queue_qos0", "1", options().queue_qos0(true)),
            ("pipeline", "on", options().pipeline(true)),
            ("session_loss", "republish_all", options().session_loss(SessionLoss::RepublishAll)),
            ("ack_mode", "manual", options().ack_mode(AckMode::Manual)),
            ("oversize", "skip", options().oversize(Oversize::Skip)),
            ("fallback", "never", options().fallback(Fallback::Never)),
            ("backoff_initial", "0.5", options().backoff(backoff().initial(half))),
            ("backoff_max", "0.5", options().backoff(backoff().max(half))),
            ("backoff_max_attempts", "3", options().backoff(backoff().max_attempts(Some(3)))),
            ("backoff_max_attempts", "none", options()),
            ("retry_refused", "true", options().backoff(backoff().retry_refused(true))),
        ] {
            assert_eq!(set(&[(name, value)]), Ok(expected), "{name}={value}");
        }
        let will = Will::new(TopicName::new("t").unwrap(), "p").qos(QoS::AtLeastOnce).retain(true);
        let parts = [("will_qos", "1"), ("will_retain", "true"), ("will_topic", "t"), ("will_payload", "p")];
        assert_eq!(set(&parts), Ok(options().will(will)));
    }

    #[test]
    fn refused() {
        for name in NAMES {
            let bad = match name {
                "client_id" | "will_payload" => continue,
                "will_topic" => "a/#",
                _ => "-1",
            };
            assert_eq!(set(&[(name, bad)]), Err(SettingError::Invalid(name)), "{name}");
        }
        for value in ["", ".", "inf", "nan", "1e3", "+1", "1.2.3", "99999999999999999999999999"] {
            assert_eq!(set(&[("keep_alive", value)]), Err(SettingError::Invalid("keep_alive")), "{value}");
        }
        assert_eq!(set(&[("will_payload", "p")]), Err(SettingError::Invalid("will_topic")));
        assert_eq!(set(&[("keepalive", "1")]), Err(SettingError::Unknown));
        assert_eq!(set(&[("", "1")]), Err(SettingError::Unknown));
    }

    #[test]
    fn the_readme_has_all_of_them() {
        let readme = include_str!("../README.md");
        for name in NAMES {
            assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
