//! Where messages come from. Not more than a few of them are in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::ArgMatches;
use mqtt_tokio::bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::command_line::{Failure, code};
use crate::{OVERHEAD, TOO_LARGE};

/// The largest payload: what fits into a packet beside a short topic.
const MAX_PAYLOAD: usize = 268_435_455 - 3;

/// The longest line: what fits into the queue.
const MAX_LINE: usize = (16 << 20) - OVERHEAD;

/// Lines that are there at once are handed over together, but not more than these.
const BATCH_LINES: usize = 500;
const BATCH_SIZE: usize = 64 * 1024;

/// Batches that wait: the thread reads no further.
const BATCHES: usize = 2;

/// One payload after the other.
#[derive(Debug)]
pub(crate) enum Input {
    /// The same payload again and again.
    Same { payload: Bytes, left: u64, pause: Duration, next_at: Option<Instant> },
    /// The lines of standard input.
    Lines { batches: mpsc::Receiver<Batch>, ready: VecDeque<Bytes> },
}

type Batch = Result<Vec<Bytes>, Failure>;

impl Input {
    /// The input that the flags ask for. A file is read whole; lines are read as they are wanted.
    pub(crate) async fn open(matches: &ArgMatches) -> Result<Self, Failure> {
        if matches.get_flag("stdin-line") {
            let (sender, batches) = mpsc::channel(BATCHES);
            // Not one of the runtime's: nobody must wait for a line when the tool is done.
            thread::spawn(move || read_lines(io::stdin().lock(), &sender));
            return Ok(Self::Lines { batches, ready: VecDeque::new() });
        }
        let payload = match (matches.get_one::<String>("message"), matches.get_one::<PathBuf>("file")) {
            (Some(text), _) => text.clone().into(),
            (None, Some(path)) => read_file(path.clone()).await?,
            (None, None) if matches.get_flag("stdin-file") => {
                elsewhere(|| read_whole(io::stdin().lock(), "standard input")).await?
            }
            (None, None) => Bytes::new(),
        };
        let left = matches.get_one::<u64>("repeat").copied().unwrap_or(1);
        let pause = matches.get_one::<Duration>("repeat-delay").copied().unwrap_or_default();
        Ok(Self::Same { payload, left, pause, next_at: None })
    }

    /// The size of the payload, if that is known: 0 for lines.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Same { payload, .. } => payload.len(),
            Self::Lines { .. } => 0,
        }
    }

    /// The next payload; `None` after the last one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Same { left: 0, .. } => Ok(None),
            Self::Same { payload, left, pause, next_at } => {
                if let Some(at) = next_at {
                    sleep_until(*at).await;
                }
                *left -= 1;
                *next_at = (!pause.is_zero()).then(|| Instant::now() + *pause);
                Ok(Some(payload.clone()))
            }
            Self::Lines { batches, ready } => loop {
                if let Some(line) = ready.pop_front() {
                    return Ok(Some(line));
                }
                match batches.recv().await {
                    Some(batch) => ready.extend(batch?),
                    None => return Ok(None),
                }
            },
        }
    }
}

async fn read_file(path: PathBuf) -> Result<Bytes, Failure> {
    elsewhere(move || {
        let name = path.display().to_string();
        let file = File::open(&path).map_err(|error| Failure::file(format!("cannot open {name}"), &error))?;
        read_whole(file, &name)
    })
    .await
}

/// Runs what may block on a thread of its own.
async fn elsewhere<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(Failure::new(code::OTHER, error)))
}

fn read_whole(input: impl Read, name: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file(format!("cannot read {name}"), &error))?;
    if bytes.len() > MAX_PAYLOAD {
        return Err(Failure::new(TOO_LARGE, format!("{name} is larger than a message can be, 256 MiB")));
    }
    Ok(bytes.into())
}

/// Sends the lines in batches, until there are no more or nobody wants them. A line is sent as soon as it is there.
fn read_lines(input: impl Read, batches: &mpsc::Sender<Batch>) {
    let mut reader = BufReader::with_capacity(BATCH_SIZE, input);
    let (mut lines, mut size, mut number) = (Vec::new(), 0, 0_u64);
    loop {
        number += 1;
        let end = match read_line(&mut reader, number) {
            Ok(Some(line)) => {
                size += line.len();
                lines.push(line);
                None
            }
            Ok(None) => Some(None),
            Err(failure) => Some(Some(failure)),
        };
        let full = lines.len() >= BATCH_LINES || size >= BATCH_SIZE || !reader.buffer().contains(&b'\n');
        if (full || end.is_some()) && !lines.is_empty() {
            if batches.blocking_send(Ok(std::mem::take(&mut lines))).is_err() {
                return;
            }
            size = 0;
        }
        if let Some(failure) = end {
            if let Some(failure) = failure {
                let _ = batches.blocking_send(Err(failure));
            }
            return;
        }
    }
}

/// A line without its end; the last one may have none.
fn read_line(reader: &mut impl BufRead, number: u64) -> Result<Option<Bytes>, Failure> {
    let mut line = Vec::new();
    let read = reader.take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
    match read.map_err(|error| Failure::file("cannot read standard input", &error))? {
        0 => return Ok(None),
        _ if line.ends_with(b"\n") => {
            line.pop();
        }
        len if len > MAX_LINE => {
            let message = format!("line {number} is longer than {MAX_LINE} bytes");
            return Err(Failure::new(TOO_LARGE, message));
        }
        _ => {}
    }
    line.shrink_to_fit();
    Ok(Some(line.into()))
}
