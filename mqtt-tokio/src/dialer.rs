//! Which Server is tried next, with which credentials, and after which pause.

use std::sync::Arc;
use std::time::Duration;

use mqtt_client::{Backoff, ConnectReturnCode, Options, ProtocolVersion, Time};

use crate::error::ConnectionError;
use crate::login::{Hook, Login};
use crate::transport::{Dial, Network, ProxyError, WebSocketError};
use crate::uri::Uri;

/// After so many connections to one Server that did not last, the next one has its turn.
const MANY_SHORT: u32 = 3;

/// Attempts to connect, one after the other.
pub(crate) struct Dialer {
    network: Arc<Network>,
    backoff: Backoff,
    /// Who is asked for credentials before each attempt.
    pub(crate) hook: Option<Hook>,
    /// The credentials of each Server; none if all have those of the options.
    logins: Vec<Login>,
    /// The Server to try next.
    at: usize,
    /// How many attempts failed since a Server last accepted a connection, or since the last pause.
    failed: usize,
    /// Those of them after which the same Server need not be asked again.
    refusals: Vec<ConnectionError>,
    /// A Server has accepted the present connection.
    accepted: bool,
    /// How many connections in a row a Server has accepted that did not last.
    short: u32,
}

impl Dialer {
    pub(crate) fn new(network: Network, hook: Option<Hook>, options: &Options) -> Self {
        // Those of the first address are in the options, with what the environment has put in their place.
        let login_of = |(at, server): (usize, &Arc<Uri>)| match server.username() {
            Some(user) if at > 0 => Login {
                username: Some(user.to_owned()),
                password: server.password().map(|password| password.to_vec().into()),
                headers: Vec::new(),
            },
            _ => Login {
                username: options.username().map(str::to_owned),
                password: options.password().cloned(),
                headers: Vec::new(),
            },
        };
        let logins = match network.servers.len() {
            0 | 1 => Vec::new(),
            _ => network.servers.iter().enumerate().map(login_of).collect(),
        };
        let backoff = options.backoff_settings().clone();
        Self {
            network: Arc::new(network),
            backoff,
            hook,
            logins,
            at: 0,
            failed: 0,
            refusals: Vec::new(),
            accepted: false,
            short: 0,
        }
    }

    /// The Server to try next, if the client knows its address.
    pub(crate) fn server(&self) -> Option<Arc<Uri>> {
        self.network.servers.get(self.at).map(Arc::clone)
    }

    /// Its credentials, if they may differ from those of the last attempt.
    pub(crate) fn login(&self) -> Option<Login> {
        self.logins.get(self.at).cloned()
    }

    /// Opens a transport to it.
    pub(crate) fn dial(&self, version: ProtocolVersion, headers: Vec<(String, String)>) -> Dial {
        self.network.dial(self.at, version, headers)
    }

    /// The Server has accepted the connection.
    pub(crate) fn connected(&mut self, now: Time) {
        self.accepted = true;
        self.backoff.connected(now);
    }

    /// The connection is lost, or was not made. Returns the pause before the next attempt, or none if there is to be no
    /// other.
    ///
    /// `once`: somebody waits for how the first attempt ends, and wants no second one with the same Server.
    pub(crate) fn lost(&mut self, error: &ConnectionError, now: Time, once: bool) -> Option<Duration> {
        let stable = self.backoff.lost(now);
        let retry = self.should_retry(error);
        if std::mem::take(&mut self.accepted) || matches!(error, ConnectionError::Store(_)) {
            self.refusals.clear();
            if !retry {
                return None;
            }
            self.short = if stable { 0 } else { self.short + 1 };
            if self.short >= MANY_SHORT {
                // It accepts, and does not keep what it accepts.
                self.short = 0;
                self.at = (self.at + 1) % self.network.len();
            }
        } else {
            self.failed += 1;
            self.at = (self.at + 1) % self.network.len();
            if !retry {
                self.refusals.push(error.clone());
            }
            // What one Server refuses, the next may allow.
            if self.failed < self.network.len() {
                return Some(Duration::ZERO);
            }
            if once || self.refusals.len() == self.failed {
                return None;
            }
            self.refusals.clear();
        }
        self.failed = 0;
        self.backoff.next_delay(fastrand::u32(..))
    }

    /// Why there is no other attempt: a refusal says more than that another Server is not there.
    pub(crate) fn reason(&mut self, last: ConnectionError) -> ConnectionError {
        self.refusals.pop().unwrap_or(last)
    }

    fn should_retry(&self, error: &ConnectionError) -> bool {
        const REFUSED: mqtt_client::ConnectionError =
            mqtt_client::ConnectionError::Refused(ConnectReturnCode::NotAuthorized);
        match error {
            // The next credentials may be better.
            ConnectionError::Protocol(mqtt_client::ConnectionError::Refused(
                ConnectReturnCode::BadUserNameOrPassword | ConnectReturnCode::NotAuthorized,
            ))
            | ConnectionError::WebSocket(
                WebSocketError::Status(401 | 403)
                | WebSocketError::InvalidHeader(_)
                | WebSocketError::ReservedHeader(_),
            ) if self.hook.is_some() => true,
            ConnectionError::Protocol(error) => self.backoff.should_retry(error),
            // The same refusals, one layer below.
            ConnectionError::WebSocket(WebSocketError::Status(_))
            | ConnectionError::Proxy(
                ProxyError::Status(_) | ProxyError::AuthenticationRefused | ProxyError::NotAllowed,
            ) if self.backoff.should_retry(&REFUSED) => true,
            error => error.is_retryable(),
        }
    }
}
