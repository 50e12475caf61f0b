//! Lays out the runs, each a broker and a client process, and collects the figures.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Options;
use crate::Failure;
use crate::clients::Client;
use crate::meter::Counter;
use crate::process::{Output, Running};
use crate::report::{self, Figures};
use crate::workload::{Case, Direction, Workload};

/// A run that takes longer is ended and reported as failed.
const PATIENCE: Duration = Duration::from_secs(300);
/// The program beside this one that counts allocations.
const COUNTING: &str = "end_to_end_counting";

/// What the runs are made with.
struct Bench<'a> {
    options: &'a Options,
    program: PathBuf,
    /// [`COUNTING`], if it was built.
    counting: Option<PathBuf>,
    instructions: Option<Counter>,
    syscalls: Option<Counter>,
}

/// Measures everything that is asked for and prints the report.
///
/// # Errors
///
/// When this program cannot find itself.
pub fn measure(options: &Options) -> Result<(), Failure> {
    if options.cases.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let counting = program.with_file_name(format!("{COUNTING}{}", std::env::consts::EXE_SUFFIX));
    let probing = options.probe > 0;
    let bench = Bench {
        options,
        counting: counting.exists().then_some(counting),
        program,
        instructions: Counter::instructions().filter(|_| probing),
        syscalls: Counter::syscalls().filter(|_| probing),
    };
    bench.print_heading();
    for &case in &options.cases {
        print!("{}", report::table(case, options.window, &bench.case(case)));
    }
    Ok(())
}

impl Bench<'_> {
    fn print_heading(&self) {
        let Options { messages, rounds, probe, .. } = self.options;
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let name = |counter: Option<Counter>| counter.map_or("n/a", Counter::name);
        println!("Best of {rounds} rounds of {messages} messages on {processors} processors.");
        println!(
            "Instructions: {}. System calls: {}. Both, and allocations, from runs of {probe} and {} messages.",
            name(self.instructions),
            name(self.syscalls),
            3 * probe
        );
        if self.counting.is_none() {
            println!("No allocations: build {COUNTING} beside this program (cargo build with --bins).");
        }
    }

    /// Measures one case: the timed rounds of all clients in turn, then the counts.
    fn case(&self, case: Case) -> Vec<Figures> {
        let clients = &self.options.clients;
        let mut rows: Vec<_> = clients.iter().map(empty_row).collect();
        for _ in 0..self.options.rounds {
            for (client, row) in clients.iter().zip(&mut rows).filter(|(_, row)| row.failure.is_none()) {
                if let Err(failure) = self.timed_round(client, case, row) {
                    row.failure = Some(failure.to_string());
                }
            }
        }
        if self.options.probe > 0 {
            for (client, row) in clients.iter().zip(&mut rows).filter(|(_, row)| row.failure.is_none()) {
                self.count(client, case, row);
            }
        }
        rows
    }

    fn timed_round(&self, client: &Client, case: Case, row: &mut Figures) -> Result<(), Failure> {
        let messages = self.options.messages;
        let output = self.run(client, case, messages, Command::new(&self.program))?;
        let rate = messages as f64 * 1e9 / output.number("wall_ns")? as f64;
        row.rate = Some(row.rate.map_or(rate, |best| best.max(rate)));
        // Nanoseconds for one message are seconds for 10^9, so a thousand times those for a million.
        let cpu = output.number("cpu_ns").ok().map(|cpu| cpu as f64 / messages as f64 / 1000.0);
        row.cpu = row.cpu.into_iter().chain(cpu).reduce(f64::min);
        Ok(())
    }

    /// Fills in what is counted rather than timed. What cannot be counted stays `None`.
    fn count(&self, client: &Client, case: Case, row: &mut Figures) {
        let probe = self.options.probe;
        let counted = |counter: Counter| {
            Counter::difference(probe, |messages| {
                let output = self.run(client, case, messages, counter.command(&self.program)).ok()?;
                counter.read(&output.stderr)
            })
        };
        row.instructions = self.instructions.and_then(counted);
        row.syscalls = self.syscalls.and_then(counted);
        row.allocations = self.counting.as_ref().and_then(|program| {
            Counter::difference(probe, |messages| {
                let output = self.run(client, case, messages, Command::new(program)).ok()?;
                output.number("allocations").ok()
            })
        });
    }

    /// Runs a broker and a client against it, and checks that both have seen every message.
    fn run(&self, client: &Client, case: Case, messages: u64, command: Command) -> Result<Output, Failure> {
        let window = self.options.window;
        let mut broker = start_broker(&self.program, case, messages, window)?;
        let line = broker.line()?;
        let port = line.trim().strip_prefix("port=").ok_or("the broker did not tell its port")?.parse()?;
        let workload = Workload { case, messages, window, port };
        let mut command = command;
        command.args(client_arguments(client, &workload));
        let output = Running::start(&mut command)?.finish(PATIENCE)?;
        let expected = match case.direction {
            Direction::Publish => workload.acknowledgements(),
            Direction::Receive => messages,
        };
        let completed = output.number("completed")?;
        let packets = broker.finish(PATIENCE)?.number("packets")?;
        if completed != expected || packets != workload.packets_at_broker() {
            return Err(
                format!("{completed} of {expected} completed, {packets} packets at the broker").into()
            );
        }
        Ok(output)
    }
}

fn empty_row(client: &Client) -> Figures {
    let name = format!("{} {}", client.name, report::version_of(client.package));
    Figures { client: name.trim_end().to_owned(), ..Figures::default() }
}

fn start_broker(program: &Path, case: Case, messages: u64, window: u16) -> Result<Running, Failure> {
    let arguments = ["broker".to_owned(), case.to_string(), messages.to_string(), window.to_string()];
    Running::start(Command::new(program).args(arguments))
}

fn client_arguments(client: &Client, workload: &Workload) -> [OsString; 6] {
    let Workload { case, messages, window, port } = workload;
    [
        "client".into(),
        client.name.into(),
        case.to_string().into(),
        messages.to_string().into(),
        window.to_string().into(),
        port.to_string().into(),
    ]
}
