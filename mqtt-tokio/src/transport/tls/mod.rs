//! TLS, by rustls, on top of any stream.

#[cfg(feature = "tls")]
mod classify;
#[cfg(feature = "tls")]
mod config;
mod error;
#[cfg(feature = "tls")]
mod options;
#[cfg(feature = "tls")]
mod stream;
#[cfg(feature = "tls")]
mod verify;

pub use error::{PemPlace, TlsConfigError, TlsError};
#[cfg(feature = "tls")]
pub use options::Tls;
