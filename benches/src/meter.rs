//! Counting what a process costs: CPU time from inside; instructions and system calls with whatever tool there is.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::Running;

/// CPU time, user and system, that this process has used so far; `None` where the system does not tell.
pub fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let micros = |time: nix::sys::time::TimeVal| {
            let seconds = u64::try_from(time.tv_sec()).ok()?;
            Some(seconds * 1_000_000 + u64::try_from(time.tv_usec()).ok()?)
        };
        Some(Duration::from_micros(micros(usage.user_time())? + micros(usage.system_time())?))
    }
    #[cfg(not(unix))]
    None
}

/// A program that runs another one and tells a count about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Instructions in user mode, by the processor's own counter.
    PerfInstructions,
    /// Instructions in user mode, by simulation: exact, but some 50 times slower.
    Valgrind,
    /// System calls, by the kernel's trace point.
    PerfSyscalls,
    /// System calls, by stopping the process at each: slower, so more is done between two of them.
    Strace,
}

impl Counter {
    /// The best way to count instructions on this machine.
    pub fn instructions() -> Option<Self> {
        [Self::PerfInstructions, Self::Valgrind].into_iter().find(|counter| counter.works())
    }

    /// The best way to count system calls on this machine.
    pub fn syscalls() -> Option<Self> {
        [Self::PerfSyscalls, Self::Strace].into_iter().find(|counter| counter.works())
    }

    /// What the report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerfInstructions | Self::PerfSyscalls => "perf stat",
            Self::Valgrind => "valgrind",
            Self::Strace => "strace",
        }
    }

    /// The command that runs `program` under this counter, its arguments still to be added.
    pub fn command(self, program: &Path) -> Command {
        let words: &[&str] = match self {
            Self::PerfInstructions => &["perf", "stat", "-x,", "-e", "instructions:u", "--"],
            Self::PerfSyscalls => &["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "--"],
            Self::Valgrind => {
                &["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
            }
            Self::Strace => &["strace", "-f", "-c"],
        };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// Finds the count in what the tool wrote to the standard error.
    pub fn read(self, stderr: &str) -> Option<u64> {
        let count = match self {
            Self::PerfInstructions | Self::PerfSyscalls => {
                let event = if self == Self::PerfSyscalls { "raw_syscalls" } else { "instructions" };
                let line = stderr.lines().find(|line| line.contains(event))?;
                line.split(',').next()?
            }
            Self::Valgrind => {
                let line = stderr.lines().find(|line| line.contains("refs:"))?;
                line.rsplit(' ').next()?
            }
            Self::Strace => return sum_of_strace(stderr),
        };
        count.replace(',', "").parse().ok()
    }

    /// What one more message adds to a count: the difference of a run of `messages` and one three times as long, so
    /// that start-up cancels out. Each is counted twice and the smaller count taken, because what a busy machine does to a
    /// run, such as making it wait once more, only ever adds.
    pub fn difference(messages: u64, count: impl Fn(u64) -> Option<u64>) -> Option<f64> {
        let smaller = |messages| Some(count(messages)?.min(count(messages)?));
        let (few, many) = (smaller(messages)?, smaller(3 * messages)?);
        Some((many as f64 - few as f64) / (2 * messages) as f64)
    }

    /// Whether the tool is there and may do what it is for.
    fn works(self) -> bool {
        let mut command = self.command(Path::new("true"));
        let output = Running::start(&mut command).and_then(|child| child.finish(Duration::from_secs(20)));
        output.is_ok_and(|output| self.read(&output.stderr).is_some_and(|count| count > 0))
    }
}

/// Adds up the column `calls`; the line of totals leaves columns out in some versions.
fn sum_of_strace(table: &str) -> Option<u64> {
    let calls = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_call = words.len() >= 5 && words[0].parse::<f64>().is_ok() && words.last() != Some(&"total");
        is_call.then(|| words[3].parse::<u64>().ok()).flatten()
    };
    let calls: Vec<_> = table.lines().filter_map(calls).collect();
    (!calls.is_empty()).then(|| calls.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::Counter;

    const STRACE: &str = "% time     seconds  usecs/call     calls    errors syscall
 60.00    0.000012           1         9         1 openat
 40.00    0.000008           2         3           mmap
100.00    0.000020                    12         1 total
";

    #[test]
    fn counts_are_found_in_what_the_tools_write() {
        let table = [
            (Counter::PerfSyscalls, "29,,raw_syscalls:sys_enter,681204,100.00,,\n", Some(29)),
            (Counter::PerfInstructions, "<not supported>,,instructions:u,0,100.00,,\n", None),
            (Counter::PerfInstructions, "1200,,instructions:u,99,100.00,,\n", Some(1200)),
            (
                Counter::Valgrind,
                "==12== Cachegrind\n==12== \n==12== I   refs:      1,215,063\n",
                Some(1_215_063),
            ),
            (Counter::Strace, STRACE, Some(12)),
            (Counter::Strace, "strace: not permitted\n", None),
        ];
        for (counter, stderr, count) in table {
            assert_eq!(counter.read(stderr), count, "{counter:?}: {stderr}");
        }
    }
}
