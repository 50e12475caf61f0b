//! Why no stream of bytes to the Server could be opened.

use std::io;
use std::sync::Arc;

/// Why the transport could not be opened, before anything was said on it.
///
/// What goes wrong above it has its own variant of [`ConnectionError`](crate::ConnectionError).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name of the host could not be resolved: it does not exist, or no name server answered.
    #[error("cannot resolve the name {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The name resolves to no address at all.
    #[error("the name {host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// There is a machine, and nothing listens on that port, at none of its addresses.
    #[error("{address} refused the connection: nothing listens there")]
    Refused {
        /// Host and port, or the path of the socket.
        address: String,
    },
    /// The machine could not be reached: no route, no answer in the time of the system, no such socket, no permission.
    /// Of several addresses, the first that failed in another way than by refusing.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// The address that was tried, or the path of the socket.
        address: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// A [`Connector`](crate::Connector) of the application failed.
    #[error(transparent)]
    Connector(Arc<io::Error>),
}

impl DialError {
    /// Why `address` did not answer.
    pub(crate) fn at(address: impl ToString, error: io::Error) -> Self {
        let address = address.to_string();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { address },
            _ => Self::Unreachable { address, source: Arc::new(error) },
        }
    }
}
