//! The broker for tests, tested: without I/O by its packets, then over loopback and streams in memory.

mod connect;
mod delivery;
mod faults;
mod hostile;
mod listener;
mod peer;
mod sessions;
mod subscriptions;
mod support;
