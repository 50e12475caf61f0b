//! A broker in memory and a scripted peer, for tests of code that talks MQTT. **Not a broker for production.**
//!
//! Nothing here is meant to serve anybody: it keeps everything in memory, trusts its caller, and its best skill is
//! to misbehave on demand. Use it to test, and use a real broker to work.
//!
//! | what | use |
//! |---|---|
//! | [`TestBroker`] | a broker on a loopback TCP port, or on in-memory streams, for tests of whole programs |
//! | [`Broker`] | the same broker without sockets, clocks and tasks, for tests that drive both ends by hand |
//! | [`Faults`] | what shall go wrong: lost, late, doubled, swapped acknowledgements, cuts, refusals, nonsense |
//! | [`MemoryStore`] | a store whose content outlives a client, which can be told to fail and to be slow |
//! | [`Peer`] | one scripted end of a connection, packet by packet, for tests of one exchange |
//!
//! Everything is observable: the [packets](Broker::log), the [counters](Broker::counters), the
//! [sessions](Broker::sessions), the [retained messages](Broker::retained) and why a connection
//! [ended](Broker::close_reason).

mod broker;
mod faults;
mod listener;
mod log;
mod memory_store;
mod options;
mod peer;
mod serve;

pub use broker::{Broker, CloseReason, ConnectionId, SessionInfo};
pub use faults::{Faults, OnReceive, OnSend, When};
pub use listener::{Sessions, TestBroker};
pub use log::{Counters, LogEntry};
pub use memory_store::MemoryStore;
pub use options::{BrokerOptions, Overlapping};
pub use peer::{Peer, PeerError, Peers};
