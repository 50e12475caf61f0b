//! How a client is made.

use std::sync::Arc;
use std::time::Duration;

use mqtt_client::{Options, Profile, Session};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::driver::{Driver, First};
use crate::error::ConnectError;
use crate::shared::{Core, Handle, Phase, Shared};
use crate::store::{BoxStore, SessionStore};
use crate::transport::Connector;
use crate::unclaimed::{CLAIM_WITHIN, Unclaimed};
use crate::uri::Uri;

/// Makes a client when [`Client::connect`] is not enough: another transport, a stored Session, a driver of your own.
///
/// ```no_run
/// use mqtt_tokio::{Builder, Client, Options, PubSub};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // Goes on trying even if the Server is not there yet.
/// let client: Client<PubSub> = Builder::new("mqtt://broker.local", Options::new("plant-7"))?.start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    options: Options,
    connector: Connector,
    session: Option<Session>,
    store: Option<BoxStore>,
    pub(crate) claim_within: Duration,
}

impl Builder {
    /// A client of the Server at `uri`. User name and password in it replace those of the options.
    ///
    /// # Errors
    /// [`ConnectError::Uri`].
    pub fn new(uri: &str, options: Options) -> Result<Self, ConnectError> {
        let uri: Uri = uri.parse()?;
        let options = match &uri.user {
            Some(user) => options.credentials(user.clone(), uri.password.clone()),
            None => options,
        };
        Ok(Self::with_connector(Connector::tcp(uri.host(), uri.port()), options))
    }

    /// A client whose transports `connector` opens.
    pub fn with_connector(connector: Connector, options: Options) -> Self {
        Self { options, connector, session: None, store: None, claim_within: CLAIM_WITHIN }
    }

    /// Opens transports in another way than by TCP to the address of the URI.
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// Continues a Session that was [taken out](Client::disconnect_keeping_session) of an earlier client, in this process
    /// or another one. What became of its messages is told to nobody: the futures that waited for them are gone.
    ///
    /// The options should have the same client identifier and `clean_session(false)`, or the Server knows nothing of what
    /// was in flight.
    #[must_use]
    pub fn session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }

    /// Keeps the Session in a store, over the end of the process: see
    /// [Messages that survive a crash](crate#messages-that-survive-a-crash). The client goes on with the Session that the
    /// store holds; a [`session`](Self::session) that is given too replaces it, so give one only once.
    ///
    /// [`connect`](Self::connect) reads the store on a thread that may block; [`start`](Self::start) and
    /// [`build`](Self::build) read it in place.
    #[must_use]
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = Some(BoxStore(Box::new(store)));
        self
    }

    /// Spawns the driver on the present tokio runtime, and waits for the first connection.
    ///
    /// # Errors
    /// [`ConnectError`]: a bad option, or why the first attempt failed; the driver ends then.
    pub async fn connect<P: Profile>(mut self) -> Result<Client<P>, ConnectError> {
        let (sender, receiver) = oneshot::channel();
        if self.session.is_none() {
            if let Some(store) = self.store.take() {
                let (store, session) = store.load_elsewhere().await?;
                (self.store, self.session) = (Some(store), Some(session));
            }
        }
        let (client, driver) = self.make(Some(sender))?;
        drop(tokio::spawn(driver));
        receiver.await.unwrap_or(Ok(())).map_err(ConnectError::Connection)?;
        let closed = client.handle.shared().lock().phase == Phase::Closed;
        if closed { Err(ConnectError::Closed) } else { Ok(client) }
    }

    /// Spawns the driver on the present tokio runtime and returns at once; the driver goes on trying to connect.
    ///
    /// # Errors
    /// [`ConnectError::Options`].
    pub fn start<P: Profile>(self) -> Result<Client<P>, ConnectError> {
        let (client, driver) = self.make(None)?;
        drop(tokio::spawn(driver));
        Ok(client)
    }

    /// The client and its driver, for you to run.
    ///
    /// # Errors
    /// [`ConnectError::Options`].
    pub fn build<P: Profile>(self) -> Result<(Client<P>, Driver), ConnectError> {
        self.make(None)
    }

    fn make<P: Profile>(mut self, first: Option<First>) -> Result<(Client<P>, Driver), ConnectError> {
        let backoff = self.options.backoff_settings().clone();
        let ack_mode = self.options.acknowledges();
        let has_store = self.store.is_some();
        let session = match (self.session, &mut self.store) {
            (Some(session), _) => session,
            (None, Some(store)) => store.load()?,
            (None, None) => Session::new(),
        };
        let unclaimed = Unclaimed::new(self.claim_within, !session.is_empty());
        // Without a store nobody would ever say that a change is saved.
        let core = Core::with_session(self.options.journal(has_store), session)?;
        let shared = Arc::new(Shared::new(core, ack_mode, has_store, unclaimed));
        let client = Client::new(Handle::new(Arc::clone(&shared)));
        Ok((client, Driver::new(shared, self.connector, backoff, self.store, first)))
    }
}
