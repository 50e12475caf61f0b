//! The end-to-end bench: a client process against a broker process over loopback TCP.
//!
//! One program plays three parts: started by hand it lays out the rounds and reports; it starts itself as `broker`
//! and as `client`, one pair for each measurement, so that the client's cost can be told apart.

mod options;
mod rounds;

use std::process::ExitCode;
use std::time::Instant;

use crate::broker::{self, Plan};
use crate::clients;
use crate::workload::{Case, Workload};
use crate::{Failure, meter};

pub use options::{HELP, Options};
pub use rounds::measure;

/// Does what the command line asks for. `allocations` tells how many allocations there have been, in a program
/// that counts them.
///
/// It fails when the command line makes no sense or the bench cannot be run at all; a client that fails is reported.
pub fn main(allocations: Option<fn() -> u64>) -> ExitCode {
    match play_part(allocations) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn play_part(allocations: Option<fn() -> u64>) -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["broker", case, messages, window] => {
            be_broker(Plan { case: case.parse()?, messages: messages.parse()?, window: window.parse()? })
        }
        ["client", name, case, messages, window, port] => {
            let case: Case = case.parse()?;
            let (messages, window) = (messages.parse()?, window.parse()?);
            be_client(name, &Workload { case, messages, window, port: port.parse()? }, allocations)
        }
        _ => match Options::parse(lexopt::Parser::from_args(arguments))? {
            Some(options) => measure(&options),
            None => {
                print!("{HELP}");
                Ok(())
            }
        },
    }
}

fn be_broker(plan: Plan) -> Result<(), Failure> {
    let packets = broker::serve(plan, |port| println!("port={port}"))?;
    println!("packets={packets}");
    Ok(())
}

fn be_client(name: &str, workload: &Workload, allocations: Option<fn() -> u64>) -> Result<(), Failure> {
    let client = clients::by_name(name)?;
    let (started, cpu_before) = (Instant::now(), meter::cpu_time());
    let allocations_before = allocations.map(|count| count());
    let completed = (client.run)(workload)?;
    let (wall, cpu_after) = (started.elapsed(), meter::cpu_time());
    let allocated = allocations.map(|count| count()).zip(allocations_before);
    println!("completed={completed} wall_ns={}", wall.as_nanos());
    if let Some((after, before)) = cpu_after.zip(cpu_before) {
        println!("cpu_ns={}", (after - before).as_nanos());
    }
    if let Some((after, before)) = allocated {
        println!("allocations={}", after - before);
    }
    Ok(())
}
