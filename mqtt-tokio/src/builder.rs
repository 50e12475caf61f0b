//! How a client is made.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mqtt_client::{Inspector, Options, Profile, QoS, Session, TopicError, TopicFilter};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::defaults::PublishDefaults;
use crate::dialer::Dialer;
use crate::driver::{Driver, First};
use crate::error::{ConnectError, UriError};
use crate::login::{Hook, Login};
use crate::observe::Observer;
use crate::shared::{Core, Handle, Phase, Shared};
use crate::store::{BoxStore, SessionStore};
#[cfg(feature = "proxy")]
use crate::transport::Proxy;
#[cfg(feature = "ws")]
use crate::transport::WebSocket;
#[cfg(feature = "tls")]
use crate::transport::tls::Tls;
use crate::transport::{Connector, Network, Tcp};
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
    network: Network,
    hook: Option<Hook>,
    session: Option<Session>,
    store: Option<BoxStore>,
    defaults: PublishDefaults,
    pub(crate) inspector: Option<Inspector>,
    pub(crate) claim_within: Duration,
}

impl Builder {
    /// A client of the Server at `uri`: see [`Uri`]. User name, password and options in it replace those of `options`.
    ///
    /// # Errors
    /// [`ConnectError::Uri`]: it is no address, or one that this build cannot use.
    pub fn new(uri: &str, options: Options) -> Result<Self, ConnectError> {
        Self::with_servers([uri.parse()?], options)
    }

    pub(crate) fn with_servers(
        servers: impl IntoIterator<Item = Uri>,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let mut builder = Self::with_network(Network::default(), options);
        for uri in servers {
            builder = match builder.network.servers.is_empty() {
                true => builder.map_options(|options| uri.apply(options))?,
                false if uri.has_options() => return Err(UriError::UnknownOption.into()),
                false => builder,
            };
            builder = builder.with_server(uri)?;
        }
        Ok(builder)
    }

    /// One address more, if this build can use it.
    fn with_server(mut self, uri: Uri) -> Result<Self, ConnectError> {
        uri.scheme().check()?;
        self.network.servers.push(Arc::new(uri));
        Ok(self)
    }

    /// A client whose transports `connector` opens, and nothing on top of them: whatever address they lead to is the
    /// connector's business.
    pub fn with_connector(connector: Connector, options: Options) -> Self {
        Self::with_network(Network { connector: Some(connector), ..Network::default() }, options)
    }

    fn with_network(network: Network, options: Options) -> Self {
        Self {
            options,
            network,
            hook: None,
            session: None,
            store: None,
            defaults: PublishDefaults::default(),
            inspector: None,
            claim_within: CLAIM_WITHIN,
        }
    }

    pub(crate) fn map_options<E>(
        self,
        change: impl FnOnce(Options) -> Result<Options, E>,
    ) -> Result<Self, E> {
        Ok(Self { options: change(self.options)?, ..self })
    }

    /// Another address, to be tried when those before it fail.
    ///
    /// When an attempt fails, the next address follows at once; when all have failed one after the other, there is the
    /// pause of [`Options::backoff`], and its limit of attempts counts such rounds. When a connection is lost that the
    /// Server had accepted, the same address is tried first, as its Server has the Session. A refusal such as bad
    /// credentials is final when all addresses have refused in one round.
    ///
    /// User name and password in an address are for that one; for the others there are those of the first, or of the
    /// options. Other options can stand in the first address only.
    ///
    /// # Errors
    /// [`ConnectError::Uri`], as for [`new`](Self::new).
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Options, PubSub};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = Options::new("plant-7").clean_session(false);
    /// let client: Client<PubSub> =
    ///     Builder::new("mqtt://broker-a.local", options)?.server("mqtt://broker-b.local")?.start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn server(self, uri: &str) -> Result<Self, ConnectError> {
        let uri: Uri = uri.parse()?;
        if uri.has_options() {
            return Err(UriError::UnknownOption.into());
        }
        self.with_server(uri)
    }

    /// Opens streams of bytes in another way than by TCP or Unix domain sockets: see [`Connector`].
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.network.connector = Some(connector);
        self
    }

    /// The options of TCP connections.
    #[must_use]
    pub fn tcp(mut self, tcp: Tcp) -> Self {
        self.network.tcp = tcp;
        self
    }

    /// How connections are secured whose address says so (`mqtts://`, `wss://`). Unless it is given, the system's roots
    /// are trusted and no client certificate is shown: [`Tls::new`].
    ///
    /// The files that it names are read when the client starts, so that a mistake in them is
    /// [an error there](ConnectError::Tls); [`start`](Self::start) and [`build`](Self::build) read them in place.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.network.tls = tls;
        self
    }

    /// Path, headers and limits of connections whose address says `ws://` or `wss://`. Of several such addresses all get
    /// the headers.
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Options, PubSub, WebSocket};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let websocket = WebSocket::new().header("authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA")?;
    /// let client: Client<PubSub> =
    ///     Builder::new("ws://broker.local/mqtt", Options::new("plant-7"))?.websocket(websocket).start()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "ws")]
    #[must_use]
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.network.websocket = websocket;
        self
    }

    /// The proxy through which servers are reached. It takes the place of TCP: not of a
    /// [`connector`](Self::connector), nor of a Unix domain socket.
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Options, Proxy, PubSub};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let proxy = Proxy::new("http://plant:secret@proxy.local:3128")?;
    /// let client: Client<PubSub> =
    ///     Builder::new("mqtt://broker.example.com", Options::new("plant-7"))?.proxy(proxy).start()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.network.proxy = Some(proxy);
        self
    }

    /// Asks `hook` for user name and password before each attempt to connect, for those that run out, such as tokens.
    /// They replace those of the options and of the address, for whichever of [several](Self::server) is tried.
    ///
    /// The hook has 30 s, and an error of it counts as a failed attempt
    /// ([`Credentials`](crate::ConnectionError::Credentials)). As the next credentials may be better, a refusal of
    /// credentials (CONNACK codes 4 and 5, HTTP 401 and 403 for a WebSocket) does not make such a client give up: it tries
    /// again after the pauses of [`Options::backoff`].
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Login, Options, PubSub};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client: Client<PubSub> = Builder::new("mqtt://broker.local", Options::new("plant-7"))?
    ///     .credentials_from(|| async {
    ///         let token = std::fs::read("/run/token")?; // or ask a service for it
    ///         Ok::<_, std::io::Error>(Login::new("plant-7").password(token))
    ///     })
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn credentials_from<F, T, E>(mut self, hook: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<Login, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.hook = Some(Hook::new(hook));
        self
    }

    /// The QoS and RETAIN of what is [published](Client::publish) to topics that match `filter`, unless the publish says
    /// otherwise. Of several filters that match, the one that was given first counts; without any it is QoS 0, and not
    /// retained.
    ///
    /// A [`Message`](crate::Message) that was made before has its own QoS and RETAIN, and keeps them.
    ///
    /// # Errors
    /// [`TopicError`]: it is no Topic Filter.
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Options, Publisher, QoS};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client: Client<Publisher> = Builder::new("mqtt://broker.local", Options::new("plant-7"))?
    ///     .publish_default("plant/+/alarm", QoS::ExactlyOnce, false)?
    ///     .publish_default("plant/+/state", QoS::AtLeastOnce, true)?
    ///     .connect()
    ///     .await?;
    /// client.publish("plant/7/state", "running").await?; // QoS 1, retained
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_default<F>(self, filter: F, qos: QoS, retain: bool) -> Result<Self, TopicError>
    where
        F: TryInto<TopicFilter>,
        TopicError: From<F::Error>,
    {
        Ok(self.publish_default_of(filter.try_into()?, qos, retain))
    }

    pub(crate) fn publish_default_of(mut self, filter: TopicFilter, qos: QoS, retain: bool) -> Self {
        self.defaults.add(filter, qos, retain);
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
        self.network.check_elsewhere().await?;
        let (client, driver) = self.make(Some(sender))?;
        drop(tokio::spawn(driver));
        receiver.await.unwrap_or(Ok(())).map_err(ConnectError::Connection)?;
        let closed = client.handle.shared().lock().phase == Phase::Closed;
        if closed { Err(ConnectError::Closed) } else { Ok(client) }
    }

    /// Spawns the driver on the present tokio runtime and returns at once; the driver goes on trying to connect.
    ///
    /// # Errors
    /// [`ConnectError::Options`], [`Tls`](ConnectError::Tls), [`Store`](ConnectError::Store).
    pub fn start<P: Profile>(self) -> Result<Client<P>, ConnectError> {
        let (client, driver) = self.build()?;
        drop(tokio::spawn(driver));
        Ok(client)
    }

    /// The client and its driver, for you to run.
    ///
    /// # Errors
    /// [`ConnectError::Options`], [`Tls`](ConnectError::Tls), [`Store`](ConnectError::Store).
    pub fn build<P: Profile>(self) -> Result<(Client<P>, Driver), ConnectError> {
        self.network.check()?;
        self.make(None)
    }

    fn make<P: Profile>(mut self, first: Option<First>) -> Result<(Client<P>, Driver), ConnectError> {
        let dialer = Dialer::new(self.network, self.hook, &self.options);
        let observer = Observer::new(self.inspector, self.options.client_id());
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
        let shared = Arc::new(Shared::new(core, ack_mode, has_store, unclaimed, self.defaults));
        let client = Client::new(Handle::new(Arc::clone(&shared)));
        Ok((client, Driver::new(shared, dialer, self.store, first, observer)))
    }
}
