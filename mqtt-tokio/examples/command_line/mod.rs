//! What `mqtt_pub` and `mqtt_sub` share: the flags that lead to a Server, why a tool ends, and signals.

mod address;
mod connect;
mod debug;
mod exit;
mod flags;
mod interrupt;

pub(crate) use address::topic_of;
pub(crate) use connect::connect;
pub(crate) use exit::{Failure, code};
pub(crate) use flags::{Tool, command, flag, qos, seconds, value};
pub(crate) use interrupt::Interrupt;

use std::fmt::Display;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command};

/// Writes a line to standard error, if anybody reads that.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits until the time of `-W` is up: for ever, if there is none.
pub(crate) async fn deadline(matches: &ArgMatches) -> Failure {
    match matches.get_one::<Duration>("timeout") {
        Some(time) => tokio::time::sleep(*time).await,
        None => std::future::pending().await,
    }
    Failure::new(code::TIMED_OUT, "timed out")
}

/// Reads the command line, runs the tool, says why it failed, and returns its exit code.
pub(crate) fn run<F>(command: Command, tool: impl FnOnce(ArgMatches, Interrupt) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    let name = command.get_name().to_owned();
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { code::USAGE } else { 0 });
        }
    };
    let quiet = matches.get_flag("quiet");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("{name}: {error}"));
            return ExitCode::from(code::OTHER);
        }
    };
    let ended = runtime.block_on(async { tool(matches, Interrupt::listen()?).await });
    // A thread may still wait for a line, or for whoever reads what we write.
    runtime.shutdown_background();
    let Err(failure) = ended else { return ExitCode::SUCCESS };
    if !quiet && !failure.message().is_empty() {
        say(format_args!("{name}: {}", failure.message()));
    }
    ExitCode::from(failure.code())
}
