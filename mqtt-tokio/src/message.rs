//! Received messages, owned.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use mqtt_client::{AckToken, IncomingMessage, Mark, QoS, TopicName};

use crate::error::AckError;
use crate::shared::Shared;

/// From this size on a payload is kept where it was received instead of being copied into a buffer of its own size.
pub(crate) const BY_REFERENCE: usize = 16 * 1024;

/// A message that is kept where it was received keeps all of the buffer there: it must have at least this part of it, or
/// small messages, each behind a large one that nobody wants, would hold many times their size.
pub(crate) const SHARE: usize = 4;

/// A message that arrived: one shared buffer in which topic and payload lie. Cloning shares the buffer; it is the
/// original that acknowledges, a clone cannot.
///
/// `Debug` shows the length of the payload, not the payload.
pub struct ReceivedMessage {
    /// The topic at the start, the payload at the end.
    bytes: Bytes,
    topic_len: u16,
    payload_at: u32,
    qos: QoS,
    retain: bool,
    dup: bool,
    pub(crate) missed: u64,
    pub(crate) ack: Option<Ack>,
}

impl ReceivedMessage {
    /// Copies a message out of the read buffer.
    pub(crate) fn copy_of(message: &IncomingMessage<'_>) -> Self {
        let topic = message.topic.as_bytes();
        let mut bytes = Vec::with_capacity(topic.len() + message.payload.len());
        bytes.extend_from_slice(topic);
        bytes.extend_from_slice(message.payload);
        Self::with_bytes(message, Bytes::from(bytes), topic.len())
    }

    fn with_bytes(message: &IncomingMessage<'_>, bytes: Bytes, payload_at: usize) -> Self {
        Self {
            bytes,
            // A Topic Name has at most 65 535 bytes, and a packet less than 4 GiB.
            topic_len: message.topic.as_bytes().len() as u16,
            payload_at: payload_at as u32,
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
            missed: 0,
            ack: None,
        }
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        let topic = self.bytes.get(..usize::from(self.topic_len)).unwrap_or_default();
        // It was validated on arrival [MQTT-3.3.2-1].
        std::str::from_utf8(topic).unwrap_or_default()
    }

    /// The Topic Name as a value that shares the buffer, for publishing to the same topic.
    pub fn topic_name(&self) -> Option<TopicName> {
        TopicName::try_from(self.bytes.slice(..usize::from(self.topic_len))).ok()
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_at as usize..).unwrap_or_default()
    }

    /// The payload as a value that shares the buffer.
    pub fn into_payload(self) -> Bytes {
        self.bytes.slice(self.payload_at as usize..)
    }

    /// The payload as text, if it is UTF-8.
    ///
    /// # Errors
    /// [`Utf8Error`](std::str::Utf8Error) if it is not.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(self.payload())
    }

    /// The QoS with which it was sent to us.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it is a retained message, sent because of a new subscription [MQTT-3.3.1-8].
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// The DUP flag: with QoS 1, this may be a second copy.
    pub fn dup(&self) -> bool {
        self.dup
    }

    /// How many messages are missing in this stream just before this one: dropped because its buffer was full, or
    /// skipped because they were too large ([`Oversize::Skip`](mqtt_client::Oversize::Skip)).
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Acknowledges the message, with [`AckMode::Manual`](mqtt_client::AckMode::Manual); otherwise, and for QoS 0, and
    /// for a message of an earlier connection, it does nothing. If several streams got the message, it is acknowledged
    /// once all of them have.
    ///
    /// Acknowledgements leave in the order of receipt, so a message that is dropped without one holds back those of
    /// all later messages until the connection is made anew and the Server sends it again.
    ///
    /// Acknowledgements leave in the order of receipt [MQTT-4.6.0-2]: as long as one message is not acknowledged, taken
    /// or not, those of the messages behind it wait, and with the next connection all of them come again.
    pub fn ack(&mut self) {
        if let Some(ack) = self.ack.take() {
            ack.give();
        }
    }

    /// Acknowledges the message as [`ack`](Self::ack) does, and returns the point in the sequence of changes with which
    /// that is saved, for a [`SessionStore`](crate::SessionStore) of your own: what is saved in the same transaction as
    /// the batch whose [mark](mqtt_client::Changes::mark) is this point or a later one is safe before the Server is told.
    /// To be sure that the batch is not saved in between, hold a lock that
    /// [`save`](crate::SessionStore::save) takes, from before this call until what goes with it is where `save` finds it.
    ///
    /// # Errors
    /// [`AckError`]; nothing is acknowledged then.
    pub fn ack_marked(&mut self) -> Result<Mark, AckError> {
        if self.ack.as_ref().ok_or(AckError::NotDue)?.is_shared() {
            return Err(AckError::Shared);
        }
        self.ack.take().and_then(Ack::give_marked).ok_or(AckError::NotDue)
    }

    /// It will not be taken: the acknowledgement that taking it would have given.
    pub(crate) fn abandon(self) -> Option<Ack> {
        self.ack.filter(|ack| ack.on_taking)
    }

    /// A copy for another stream, with that stream's share of the acknowledgement.
    pub(crate) fn share(&self) -> Self {
        Self { ack: self.ack.clone(), ..self.clone() }
    }

    /// The bytes that are kept for it.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl Clone for ReceivedMessage {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), ack: None, ..*self }
    }
}

impl fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("topic", &self.topic())
            .field("payload_len", &self.payload().len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// Where a large message lies in the read buffer, so that it can be cut out without copying.
pub(crate) struct Place {
    start: usize,
    end: usize,
    payload_at: usize,
    template: ReceivedMessage,
}

impl Place {
    /// The place of `message` in `buffer`, from which it borrows. `None` if it is small, in itself or beside the buffer,
    /// and better copied.
    pub(crate) fn of(message: &IncomingMessage<'_>, buffer: &[u8], extent: &Extent) -> Option<Self> {
        if message.payload.len() < BY_REFERENCE || message.payload.len() < extent.len / SHARE {
            return None;
        }
        let base = buffer.as_ptr() as usize;
        let start = (message.topic.as_bytes().as_ptr() as usize).checked_sub(base)?;
        let payload = (message.payload.as_ptr() as usize).checked_sub(base)?;
        let end = payload + message.payload.len();
        let payload_at = payload.checked_sub(start)?;
        (end <= buffer.len()).then(|| Self {
            start,
            end,
            payload_at,
            template: ReceivedMessage::with_bytes(message, Bytes::new(), payload_at),
        })
    }

    /// Cuts the message out of `buffer`, which loses everything up to the end of the message.
    pub(crate) fn cut(self, buffer: &mut BytesMut) -> ReceivedMessage {
        let mut bytes = buffer.split_to(self.end.min(buffer.len())).freeze();
        let bytes = bytes.split_off(self.start.min(bytes.len()));
        debug_assert!(self.payload_at <= bytes.len());
        ReceivedMessage { bytes, ..self.template }
    }
}

/// The memory in which a buffer lies: a [`BytesMut`] that was cut knows only what is left of it.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    start: usize,
    len: usize,
}

impl Extent {
    /// Notes that `buffer` may lie in other memory than before.
    pub(crate) fn note(&mut self, buffer: &BytesMut) {
        let (start, len) = (buffer.as_ptr() as usize, buffer.capacity());
        if start < self.start || start + len > self.start + self.len {
            *self = Self { start, len };
        }
    }
}

/// The acknowledgement that is due for a message, shared by the streams that got it.
#[derive(Clone)]
pub(crate) struct Ack {
    pending: Arc<PendingAck>,
    /// Given by the stream when the message is taken from it, not by the application.
    pub(crate) on_taking: bool,
}

struct PendingAck {
    shared: Arc<Shared>,
    token: AckToken,
    left: AtomicUsize,
}

impl Ack {
    pub(crate) fn new(shared: Arc<Shared>, token: AckToken, streams: usize, on_taking: bool) -> Self {
        Self { pending: Arc::new(PendingAck { shared, token, left: AtomicUsize::new(streams) }), on_taking }
    }

    /// One stream's share of the acknowledgement; the last one sends it.
    pub(crate) fn give(self) {
        if self.is_last() {
            self.pending.shared.acknowledge(self.pending.token);
        }
    }

    /// As [`give`](Self::give), for an acknowledgement that is not shared; the point with which it is saved.
    fn give_marked(self) -> Option<Mark> {
        self.is_last().then(|| self.pending.shared.acknowledge_marked(self.pending.token)).flatten()
    }

    /// Whether another stream has a share that it has not given.
    fn is_shared(&self) -> bool {
        self.pending.left.load(Ordering::Acquire) > 1
    }

    /// As [`give`](Self::give), where the core is at hand already: the token, if this was the last share.
    pub(crate) fn give_locked(self) -> Option<AckToken> {
        self.is_last().then_some(self.pending.token)
    }

    fn is_last(&self) -> bool {
        self.pending.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
