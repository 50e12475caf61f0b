//! The Session: what outlives a Network Connection [MQTT-4.1.0-1].

mod entry;
pub(crate) mod expiries;
pub(crate) mod incoming;
pub(crate) mod journal;
pub(crate) mod outgoing;
pub(crate) mod packet_ids;
mod records;
pub(crate) mod requests;
pub(crate) mod slab;
mod store;
pub(crate) mod subscriptions;

use alloc::vec::Vec;

use incoming::ReceivedIds;
use journal::{Journal, Key};
use outgoing::Outgoing;
use packet_ids::PacketIds;
use requests::Requests;
use subscriptions::Subscriptions;

use crate::error::SessionDecodeError;
use crate::message::{Message, PublishToken};

/// The client's half of the Session (section 4.1): what must survive the end of a Network Connection.
///
/// It holds the PUBLISH and PUBREL packets that are not acknowledged, the identifiers of received QoS 2 messages, the
/// queue, the requests that wait for their answer and the subscriptions. It can be taken out of a
/// [`Client`](crate::Client), cloned, turned into bytes and put into a new `Client`.
///
/// ```
/// use mqtt_client::{Client, Message, Options, PubSub, QoS, Session, TopicName};
///
/// let mut client = Client::<PubSub>::new(Options::new("plant-7").clean_session(false))?;
/// client.publish(Message::new(TopicName::from_static("a")?, "kept").qos(QoS::AtLeastOnce))?;
/// let bytes = client.into_session().to_bytes();
///
/// let session = Session::from_bytes(&bytes)?;
/// assert_eq!(session.pending_publishes().count(), 1);
/// let client = Client::<PubSub>::with_session(Options::new("plant-7").clean_session(false), session)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) ids: PacketIds,
    pub(crate) outgoing: Outgoing,
    pub(crate) received: ReceivedIds,
    pub(crate) requests: Requests,
    pub(crate) subscriptions: Subscriptions,
    /// A CONNECT was sent whose CONNACK did not come: the Server may have begun a new Session without our knowing, so
    /// that its next word that there is one is not enough to trust in the subscriptions.
    pub(crate) unsettled: bool,
    /// If it comes from records: those of them that it has no use for.
    stored: Option<Vec<Key>>,
}

impl Session {
    /// A Session in which nothing has happened yet.
    pub fn new() -> Self {
        Self {
            ids: PacketIds::new(),
            outgoing: Outgoing::new(),
            received: ReceivedIds::new(),
            requests: Requests::new(),
            subscriptions: Subscriptions::new(),
            unsettled: false,
            stored: None,
        }
    }

    /// The publishes that are not resolved, with the tokens under which a client that gets this Session will report
    /// them: first those in flight in the order in which they will be sent again, then the queue. The message is
    /// `None` for QoS 2 messages whose PUBREC came: the Server has them, and their content is no longer kept.
    pub fn pending_publishes(&self) -> impl Iterator<Item = (PublishToken, Option<&Message>)> {
        self.outgoing.pending()
    }

    /// Whether nothing is kept here: nothing in flight, queued, requested, subscribed or half received.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
            && self.requests.is_empty()
            && self.subscriptions.is_empty()
            && self.received.is_empty()
    }

    /// The connection ended after `taken` bytes of its stream: see [`Outgoing::connection_ended`].
    pub(crate) fn connection_ended(&mut self, taken: u64) {
        self.outgoing.connection_ended(taken);
        self.requests.connection_ended(taken);
    }

    /// The journal of a client with this Session.
    pub(crate) fn journal(&mut self, enabled: bool) -> Journal {
        let stored = self.stored.take();
        if enabled { Journal::of(self, stored) } else { Journal::new(false) }
    }

    /// The Session that a store holds into which the changes of a client were written, in any order of its records: see
    /// [`Client::poll_changes`](crate::Client::poll_changes). Without records it is a new Session.
    ///
    /// A [`Client`](crate::Client) that gets it goes on with the same store: it reports changes only. Messages that were
    /// in flight are taken as sent (DUP), since nobody knows how much of them was.
    ///
    /// # Errors
    /// [`SessionDecodeError`] if these are not the records of a Session. Never panics, and never allocates more than the
    /// input accounts for.
    pub fn from_records<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        stored: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SessionDecodeError> {
        let mut records = records::Records::default();
        for (key, value) in stored {
            records.add(key.as_ref(), value.as_ref())?;
        }
        records.into_session()
    }

    /// This Session as bytes, to be kept anywhere. The format has a version number; payloads are in it as they are.
    pub fn to_bytes(&self) -> Vec<u8> {
        store::encode(self)
    }

    /// The Session that [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    /// [`SessionDecodeError`] if these are not the bytes of a Session, all of them and nothing else. Never panics, and
    /// never allocates more than the input accounts for.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SessionDecodeError> {
        store::decode(bytes)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}
