//! Messages that a kept Session brings before the application has subscribed: they wait for their stream, for a time.

mod claimed;
#[path = "../common/mod.rs"]
mod common;
mod dropped;
mod lost;
mod support;
