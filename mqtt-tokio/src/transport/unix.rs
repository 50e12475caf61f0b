//! Unix domain sockets: a Server on the same machine, without TCP.

use tokio::net::UnixStream;

use super::error::DialError;

/// Connects to the socket at `path`.
pub(crate) async fn dial(path: &str) -> Result<UnixStream, DialError> {
    UnixStream::connect(path).await.map_err(|error| DialError::at(path, error))
}
