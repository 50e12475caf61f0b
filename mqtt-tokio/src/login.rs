//! User names and passwords that are asked for before each attempt to connect.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_client::OptionsError;
use tokio::time::timeout;

/// A hook has so much time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client shows to a Server to be let in, for one attempt to connect: see
/// [`Builder::credentials_from`](crate::Builder::credentials_from). `Debug` shows no part of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Bytes>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Login {
    /// Neither user name nor password, for a Server that looks at [headers](Self::header) or at the client's certificate.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A user name without a password.
    pub fn new(username: impl Into<String>) -> Self {
        Self { username: Some(username.into()), ..Self::default() }
    }

    /// The password: up to 65 535 bytes of any kind.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A header of the WebSocket handshake, such as `authorization`, beside those that are always sent. Without effect
    /// on other transports.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// Why there are no credentials for an attempt to connect.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The hook failed: its error.
    #[error("no credentials: {0}")]
    Hook(#[source] Arc<dyn Error + Send + Sync>),
    /// The hook took too long.
    #[error("no credentials within {0:?}")]
    TimedOut(Duration),
    /// They cannot be sent, for example a password without a user name.
    #[error("unusable credentials: {0}")]
    Unusable(#[from] OptionsError),
}

type Asked = Pin<Box<dyn Future<Output = Result<Login, CredentialsError>> + Send>>;

/// Where credentials come from.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn() -> Asked + Send + Sync>);

impl Hook {
    pub(crate) fn new<F, T, E>(hook: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<Login, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self(Arc::new(move || {
            let login = hook();
            Box::pin(async move {
                let login =
                    timeout(PATIENCE, login).await.map_err(|_| CredentialsError::TimedOut(PATIENCE))?;
                login.map_err(|error| CredentialsError::Hook(error.into().into()))
            })
        }))
    }

    pub(crate) fn ask(&self) -> Asked {
        (self.0)()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}
