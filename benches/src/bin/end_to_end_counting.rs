//! The same program as `end_to_end`, which starts it to count allocations.
//!
//! It is a program of its own because counting costs time on every allocation, which would be held against the
//! clients that allocate.

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    mqtt_benches::end_to_end::main(Some(|| {
        let stats = ALLOCATOR.stats();
        (stats.allocations + stats.reallocations) as u64
    }))
}
