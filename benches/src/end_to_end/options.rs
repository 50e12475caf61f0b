//! The command line of the end-to-end bench.

use lexopt::prelude::*;

use crate::Failure;
use crate::clients::{self, Client};
use crate::workload::Case;

/// What `--help` prints.
pub const HELP: &str = "\
Measures MQTT clients over loopback TCP against a broker that costs next to nothing.

Every (client, case) runs in a process of its own, the broker in another. Reported are those of the client:
CPU seconds (user and system) per million messages and messages per second, of the best of several interleaved
rounds; instructions in user mode and system calls per message (counted by perf, valgrind or strace, whichever
there is, in runs of their own); allocations per message (if end_to_end_counting was built beside this program).
A message has a topic of 32 bytes and a payload of 64.

    cargo build --release -p mqtt-benches --bins --features peers
    target/release/end_to_end [options]

    --clients a,b     Only these clients. See --list.
    --cases a,b       Only these cases: publish-0, publish-1, publish-2, receive-0, receive-1, receive-2,
                      where the digit is the QoS.
    --messages n      Messages of a timed run. Default 300000.
    --rounds n        Timed rounds, of which the best counts. Default 5.
    --window n        Messages in flight with QoS 1 and 2. Default 100.
    --probe n         Messages of the shorter of two runs that count instructions and system calls;
                      the other is three times as long. 0 leaves these counts out. Default 10000.
    --list            Tells which clients this build knows, and exits.
    --help            This text.
";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The clients, in the order of the report.
    pub clients: Vec<Client>,
    /// The cases, in the order of the report.
    pub cases: Vec<Case>,
    /// Messages of a timed run.
    pub messages: u64,
    /// Timed rounds.
    pub rounds: u32,
    /// Messages in flight with QoS 1 and 2.
    pub window: u16,
    /// Messages of the shorter counting run; 0 for none.
    pub probe: u64,
}

impl Default for Options {
    fn default() -> Self {
        let (clients, cases) = (clients::ALL.to_vec(), Case::ALL.to_vec());
        Self { clients, cases, messages: 300_000, rounds: 5, window: 100, probe: 10_000 }
    }
}

impl Options {
    /// Reads the command line; `None` when it asks for the help text.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("clients") => {
                    let names = parser.value()?.string()?;
                    options.clients = names.split(',').map(clients::by_name).collect::<Result<_, _>>()?;
                }
                Long("cases") => {
                    let names = parser.value()?.string()?;
                    options.cases = names.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                Long("messages") => options.messages = at_least_one(parser.value()?.parse()?)?,
                Long("rounds") => options.rounds = at_least_one(parser.value()?.parse()?)?,
                Long("window") => options.window = at_least_one(parser.value()?.parse()?)?,
                Long("probe") => options.probe = parser.value()?.parse()?,
                Long("list") => {
                    clients::ALL.iter().for_each(|client| println!("{}", client.name));
                    options.cases.clear();
                }
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

fn at_least_one<T: PartialEq + Default>(value: T) -> Result<T, Failure> {
    if value == T::default() { Err("zero makes no sense here".into()) } else { Ok(value) }
}
