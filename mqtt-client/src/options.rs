//! What a client is told once, before it starts: plain setters, checked by [`Client::new`](crate::Client::new).

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use mqtt_codec::{
    BinaryData, Connect, Credentials, MAX_PACKET_SIZE, MqttStr, ProtocolVersion, QoS, TopicName,
};

use crate::backoff::Backoff;
use crate::error::OptionsError;
use crate::policies::{AckMode, Fallback, Oversize, SessionLoss};
use crate::retransmission::{Retransmission, Timed};

/// The settings of a client. Each has a default that is right for most; only the client identifier must be thought of.
///
/// | setting | default |
/// |---|---|
/// | protocol version | 3.1.1 |
/// | clean session | true |
/// | keep alive | 60 s |
/// | CONNACK deadline, PINGRESP deadline | 10 s each |
/// | in flight | 100, of which 16 with QoS 2 |
/// | queue | 10 000 messages, 16 MiB |
/// | incoming packet | 16 MiB |
/// | requests waiting | 1 000 |
/// | sending again | on the next connection; with 3.1 after a time too |
/// | ack deadline | none |
/// | oversize message | ends the connection |
/// | fallback to 3.1 | on CONNACK code 1 |
///
/// With the feature `serde` it is read and written by the names of its setters, in formats that describe themselves (TOML,
/// JSON): seconds, QoS `1`, version `"3.1.1"`, all but `client_id` optional. The password is read and never written.
///
/// ```
/// use core::time::Duration;
/// use mqtt_client::Options;
///
/// let options = Options::new("plant-7")
///     .clean_session(false)
///     .keep_alive(Duration::from_secs(30))
///     .credentials("operator", Some("secret"));
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: String,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) will: Option<Will>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) connack_timeout: Duration,
    pub(crate) pingresp_timeout: Duration,
    pub(crate) max_in_flight: u32,
    pub(crate) max_in_flight_qos2: u32,
    pub(crate) max_queue_len: usize,
    pub(crate) max_queue_size: usize,
    pub(crate) max_packet_size: usize,
    pub(crate) max_requests: usize,
    pub(crate) queue_qos0: bool,
    pub(crate) pipeline: bool,
    pub(crate) session_loss: SessionLoss,
    pub(crate) ack_mode: AckMode,
    pub(crate) retransmission: Option<Retransmission>,
    pub(crate) ack_timeout: Option<Duration>,
    pub(crate) oversize: Oversize,
    pub(crate) fallback: Fallback,
    pub(crate) journal: bool,
    pub(crate) backoff: Backoff,
}

impl Options {
    /// Settings with a client identifier, all else at its default.
    ///
    /// With 3.1.1 the identifier may be empty if Clean Session is on: the Server then makes one up [MQTT-3.1.3-7].
    /// With 3.1 it has 1 to 23 characters.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            version: ProtocolVersion::V3_1_1,
            client_id: client_id.into(),
            clean_session: true,
            keep_alive: Duration::from_secs(60),
            will: None,
            username: None,
            password: None,
            connack_timeout: Duration::from_secs(10),
            pingresp_timeout: Duration::from_secs(10),
            max_in_flight: 100,
            max_in_flight_qos2: 16,
            max_queue_len: 10_000,
            max_queue_size: 16 * 1024 * 1024,
            max_packet_size: 16 * 1024 * 1024,
            max_requests: 1_000,
            queue_qos0: false,
            pipeline: false,
            session_loss: SessionLoss::RepublishQos1,
            ack_mode: AckMode::Automatic,
            retransmission: None,
            ack_timeout: None,
            oversize: Oversize::Close,
            fallback: Fallback::Refused,
            journal: false,
            backoff: Backoff::default(),
        }
    }

    /// Another client identifier: see [`new`](Self::new).
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The version of the protocol to speak.
    #[must_use]
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.version = version;
        self
    }

    /// Clean Session (section 3.1.2.4): true asks the Server to forget, false to keep the Session over the end of the
    /// Network Connection. With false, nothing is lost or doubled over a lost connection.
    #[must_use]
    pub fn clean_session(mut self, clean: bool) -> Self {
        self.clean_session = clean;
        self
    }

    /// The Keep Alive (section 3.1.2.10) in whole seconds up to 65 535; zero switches it off.
    ///
    /// A PINGREQ is sent when nothing was sent, or nothing was received, for a little less than this time.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// The Will: what the Server publishes when the client ends without a DISCONNECT (section 3.1.2.5).
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// User name and, if there is one, password. The password is any bytes up to 65 535 and never shown.
    #[must_use]
    pub fn credentials(mut self, username: impl Into<String>, password: Option<impl Into<Bytes>>) -> Self {
        self.username = Some(username.into());
        self.password = password.map(|password| Secret(password.into()));
        self
    }

    /// How long to wait for the CONNACK, counted from [`connect`](crate::Client::connect), so over the whole dial.
    #[must_use]
    pub fn connack_timeout(mut self, timeout: Duration) -> Self {
        self.connack_timeout = timeout;
        self
    }

    /// How long to wait for the answer to a PINGREQ. Each byte that arrives starts the time anew, and it does not run
    /// while the application does not read ([`pause_input`](crate::Client::pause_input)).
    #[must_use]
    pub fn pingresp_timeout(mut self, timeout: Duration) -> Self {
        self.pingresp_timeout = timeout;
        self
    }

    /// How many publishes with QoS 1 and 2 may be in flight: PUBLISH without its PUBACK or PUBREC, and PUBREL without
    /// its PUBCOMP. From 1 to 65 535. With 1, order is strict even over resending (section 4.6).
    #[must_use]
    pub fn max_in_flight(mut self, max: u32) -> Self {
        self.max_in_flight = max;
        self
    }

    /// How many of those in flight may have QoS 2. From 1 to 65 535; what is above
    /// [`max_in_flight`](Self::max_in_flight) has no effect.
    ///
    /// The default is 16, since mosquitto takes 20 unfinished QoS 2 messages by default (`max_inflight_messages`): while
    /// there are as many, version 2.0.11 answers every further message, with QoS 1 too, as if all were well, and drops
    /// it. Raise it together with the Server's limit, and stay below that.
    #[must_use]
    pub fn max_in_flight_qos2(mut self, max: u32) -> Self {
        self.max_in_flight_qos2 = max;
        self
    }

    /// How many messages may wait for a place in flight.
    #[must_use]
    pub fn max_queue_len(mut self, max: usize) -> Self {
        self.max_queue_len = max;
        self
    }

    /// How many bytes (as PUBLISH packets) may wait: in the queue, and QoS 0 messages in the output.
    #[must_use]
    pub fn max_queue_size(mut self, bytes: usize) -> Self {
        self.max_queue_size = bytes;
        self
    }

    /// The largest packet to accept, in bytes with its fixed header. What becomes of a larger one is said by
    /// [`oversize`](Self::oversize).
    #[must_use]
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.max_packet_size = bytes;
        self
    }

    /// How many subscribe and unsubscribe requests may wait for their answer.
    #[must_use]
    pub fn max_requests(mut self, max: usize) -> Self {
        self.max_requests = max;
        self
    }

    /// Whether messages with QoS 0 are kept while there is no connection. Off: publishing one is an error then.
    #[must_use]
    pub fn queue_qos0(mut self, queue: bool) -> Self {
        self.queue_qos0 = queue;
        self
    }

    /// Whether publishes are sent right behind the CONNECT, before the CONNACK (section 3.1.4, non normative). Only
    /// done when nothing is in flight from an earlier connection, so that the order is kept.
    #[must_use]
    pub fn pipeline(mut self, pipeline: bool) -> Self {
        self.pipeline = pipeline;
        self
    }

    /// What becomes of messages in flight when the Server has lost the Session.
    #[must_use]
    pub fn session_loss(mut self, policy: SessionLoss) -> Self {
        self.session_loss = policy;
        self
    }

    /// Who acknowledges received messages.
    #[must_use]
    pub fn ack_mode(mut self, mode: AckMode) -> Self {
        self.ack_mode = mode;
        self
    }

    /// When a packet that is not acknowledged is sent again. Unless it is set, it follows the version: on the next
    /// connection with 3.1.1, after a time as well with 3.1 (see [`Retransmission`]).
    #[must_use]
    pub fn retransmission(mut self, retransmission: Retransmission) -> Self {
        self.retransmission = Some(retransmission);
        self
    }

    /// Ends the connection ([`AckTimeout`](crate::ConnectionError::AckTimeout)) when for so long none of the packets that
    /// wait for their acknowledgement was acknowledged, nor a byte of them taken by the transport, so that a new
    /// connection can resume them. `None`, the default, waits as long as the Server answers PINGREQs.
    ///
    /// The time does not run while the application [does not read](crate::Client::pause_input), or so many messages
    /// wait for their manual acknowledgement that nothing is read. Copies ([`Timed`]) do not start it anew.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// What becomes of a message that is larger than [`max_packet_size`](Self::max_packet_size).
    #[must_use]
    pub fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = oversize;
        self
    }

    /// Whether to try MQTT 3.1 when a Server does not want 3.1.1.
    #[must_use]
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// Whether each change of the Session is reported, for a store that survives a crash: see
    /// [`poll_changes`](crate::Client::poll_changes). Off by default: the Session is kept in memory.
    #[must_use]
    pub fn journal(mut self, journal: bool) -> Self {
        self.journal = journal;
        self
    }

    /// The pauses between attempts to connect. The core does not use it: it is here for whoever dials.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The client identifier.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The user name.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password, for whoever passes it on. Nothing else shows it.
    pub fn password(&self) -> Option<&Bytes> {
        self.password.as_ref().map(|secret| &secret.0)
    }

    /// The pauses between attempts to connect.
    pub fn backoff_settings(&self) -> &Backoff {
        &self.backoff
    }

    /// Who acknowledges received messages.
    pub const fn acknowledges(&self) -> AckMode {
        self.ack_mode
    }

    /// Whether Clean Session is on.
    pub const fn is_clean_session(&self) -> bool {
        self.clean_session
    }

    /// The limit of [`max_queue_len`](Self::max_queue_len).
    pub const fn queue_len_limit(&self) -> usize {
        self.max_queue_len
    }

    /// Checks all settings against each other and the protocol.
    ///
    /// # Errors
    /// [`OptionsError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.to_connect(self.version)?.check()?;
        let ack_timeout = self.ack_timeout.unwrap_or(Duration::MAX);
        if [self.connack_timeout, self.pingresp_timeout, ack_timeout].iter().any(Duration::is_zero) {
            return Err(OptionsError::ZeroTimeout);
        }
        if matches!(self.retransmission, Some(Retransmission::Timed(timed)) if !timed.is_valid()) {
            return Err(OptionsError::Retransmission);
        }
        if [self.max_in_flight, self.max_in_flight_qos2].iter().any(|max| !(1..=65_535).contains(max)) {
            return Err(OptionsError::MaxInFlight);
        }
        if self.max_packet_size < 2 || self.max_packet_size > MAX_PACKET_SIZE {
            return Err(OptionsError::MaxPacketSize);
        }
        Ok(())
    }

    /// When to send again with `version`.
    pub(crate) fn retransmission_of(&self, version: ProtocolVersion) -> Retransmission {
        self.retransmission.unwrap_or(match version {
            ProtocolVersion::V3_1 => Retransmission::Timed(Timed::default()),
            ProtocolVersion::V3_1_1 => Retransmission::OnReconnect,
        })
    }

    /// The CONNECT packet that these settings ask for, in `version`.
    pub(crate) fn to_connect(&self, version: ProtocolVersion) -> Result<Connect<'_>, OptionsError> {
        let client_id = MqttStr::new(&self.client_id).map_err(OptionsError::ClientId)?;
        let will = match &self.will {
            Some(will) => Some(mqtt_codec::Will {
                topic: will.topic.as_ref(),
                payload: BinaryData::new(&will.payload).map_err(|_| OptionsError::WillTooLong)?,
                qos: will.qos,
                retain: will.retain,
            }),
            None => None,
        };
        let credentials = match (&self.username, &self.password) {
            (None, Some(_)) => return Err(OptionsError::PasswordWithoutUsername),
            (None, None) => None,
            (Some(username), password) => Some(Credentials {
                username: MqttStr::new(username).map_err(OptionsError::Username)?,
                password: match password {
                    Some(secret) => {
                        Some(BinaryData::new(&secret.0).map_err(|_| OptionsError::PasswordTooLong)?)
                    }
                    None => None,
                },
            }),
        };
        if self.keep_alive.subsec_nanos() != 0 {
            return Err(OptionsError::KeepAlive);
        }
        let keep_alive = u16::try_from(self.keep_alive.as_secs()).map_err(|_| OptionsError::KeepAlive)?;
        Ok(Connect { version, clean_session: self.clean_session, keep_alive, client_id, will, credentials })
    }
}

/// The Will of a client: topic, payload, QoS and RETAIN of what the Server publishes when the client ends without a
/// DISCONNECT (section 3.1.2.5). `Debug` shows the length of the payload, not the payload.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Will {
    /// The Will Topic.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::topic"))]
    pub topic: TopicName,
    /// The Will Message: up to 65 535 bytes of any kind.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::serde::payload"))]
    pub payload: Bytes,
    /// The Will QoS.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::serde::qos"))]
    pub qos: QoS,
    /// Will Retain.
    #[cfg_attr(feature = "serde", serde(default))]
    pub retain: bool,
}

impl Will {
    /// A Will with QoS 0 that is not retained.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self { topic, payload: payload.into(), qos: QoS::AtMostOnce, retain: false }
    }

    /// The same Will with another QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// The same Will with Will Retain set or cleared.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }
}

impl fmt::Debug for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .finish()
    }
}

/// Bytes that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Secret(pub(crate) Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
