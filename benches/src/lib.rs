#![doc = include_str!("../README.md")]

pub mod broker;
pub mod clients;
pub mod core;
pub mod end_to_end;
pub mod meter;
pub mod process;
pub mod report;
pub mod workload;

/// Why a bench could not be run; it is only ever shown to a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
