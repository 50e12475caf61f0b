//! How should many handles hand messages to the one task that owns the connection: through a lock, or a channel?
//!
//! A publisher hands small messages to an owner, which ends up with their encoded bytes in a buffer it could write
//! to a socket. With the lock the publisher encodes into a shared buffer, which the owner swaps for an empty one;
//! with the channel (tokio's, bounded, emptied with `recv_many`) the publisher sends a command and the owner
//! encodes. Run it without arguments; it starts itself once for each line of the table.

use std::future::poll_fn;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_benches::Failure;
use mqtt_benches::meter::Counter;
use mqtt_benches::process::{Output, Running};
use mqtt_benches::report::number;
use mqtt_benches::workload::{PAYLOAD, TOPIC};
use tokio::sync::mpsc;

/// Commands the channel holds, and takes out at once.
const CAPACITY: usize = 1000;
/// How full the shared buffer may be before publishers wait: about as many messages.
const HIGH_WATER: usize = CAPACITY * (4 + TOPIC.len() + PAYLOAD.len());
/// A run that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(300);

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Setup {
    /// 0 is the current-thread runtime.
    workers: usize,
    publishers: u64,
    /// Whether a publisher gives way after each message, so that the owner wakes for every one.
    sparse: bool,
}

const SETUPS: [Setup; 5] = [
    Setup { workers: 0, publishers: 1, sparse: false },
    Setup { workers: 0, publishers: 1, sparse: true },
    Setup { workers: 2, publishers: 1, sparse: false },
    Setup { workers: 2, publishers: 1, sparse: true },
    Setup { workers: 2, publishers: 4, sparse: false },
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => compare(1_000_000, 5, 30_000),
        ["run", way, setup, messages] => {
            let setup = *SETUPS.get(setup.parse::<usize>()?).ok_or("no such setup")?;
            run(way, setup, messages.parse()?)
        }
        _ => {
            println!("Compares a lock and a channel between publishers and the owner of a connection.");
            println!("It takes no arguments.");
            Ok(())
        }
    }
}

/// Prints the table: the best of `rounds`, and instructions from runs of `probe` and three times as many messages.
fn compare(messages: u64, rounds: u32, probe: u64) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let counter = Counter::instructions();
    println!("{messages} messages of {} bytes, best of {rounds} rounds.\n", 4 + TOPIC.len() + PAYLOAD.len());
    println!("| runtime | publishers | gives way | lock ns | channel ns | lock instr. | channel instr. |");
    println!("|---|--:|---|--:|--:|--:|--:|");
    for (index, setup) in SETUPS.iter().enumerate() {
        let (mut times, mut counts) = ([None::<f64>; 2], [None; 2]);
        for _ in 0..rounds {
            for (time, way) in times.iter_mut().zip(["lock", "channel"]) {
                let output = start(Command::new(&program), way, index, messages)?;
                let nanos = output.number("wall_ns")? as f64 / messages as f64;
                *time = Some(time.map_or(nanos, |best| best.min(nanos)));
            }
        }
        for (count, way) in counts.iter_mut().zip(["lock", "channel"]) {
            *count = counter.and_then(|counter| instructions(counter, &program, way, index, probe));
        }
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            if setup.workers == 0 { "current thread".into() } else { format!("{} workers", setup.workers) },
            setup.publishers,
            if setup.sparse { "after each" } else { "when full" },
            number(times[0], 0),
            number(times[1], 0),
            number(counts[0], 0),
            number(counts[1], 0),
        );
    }
    Ok(())
}

fn start(mut command: Command, way: &str, setup: usize, messages: u64) -> Result<Output, Failure> {
    command.args(["run", way, &setup.to_string(), &messages.to_string()]);
    Running::start(&mut command)?.finish(PATIENCE)
}

fn instructions(counter: Counter, program: &Path, way: &str, setup: usize, probe: u64) -> Option<f64> {
    Counter::difference(probe, |messages| {
        let output = start(counter.command(program), way, setup, messages).ok()?;
        counter.read(&output.stderr)
    })
}

/// Runs one line once, in this process.
fn run(way: &str, setup: Setup, messages: u64) -> Result<(), Failure> {
    let runtime = match setup.workers {
        0 => tokio::runtime::Builder::new_current_thread().build()?,
        workers => tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build()?,
    };
    let each = messages / setup.publishers;
    let started = Instant::now();
    let bytes = runtime.block_on(async move {
        if way == "lock" { through_lock(setup, each).await } else { through_channel(setup, each).await }
    })?;
    println!("wall_ns={}", started.elapsed().as_nanos());
    let expected = each * setup.publishers * (4 + TOPIC.len() + PAYLOAD.len()) as u64;
    if bytes == expected { Ok(()) } else { Err(format!("{bytes} of {expected} bytes arrived").into()) }
}

/// Encodes a PUBLISH with QoS 0.
fn encode(topic: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    let topic_len = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    let body_len = u8::try_from(2 + topic.len() + payload.len()).unwrap_or(127);
    out.extend_from_slice(&[0x30, body_len]);
    out.extend_from_slice(&topic_len.to_be_bytes());
    out.extend_from_slice(topic);
    out.extend_from_slice(payload);
}

/// What handles and owner share under the lock.
#[derive(Default)]
struct Shared {
    buffer: Vec<u8>,
    /// Present while the owner sleeps.
    owner: Option<Waker>,
    /// Publishers that wait for the buffer to be taken.
    waiting: Vec<Waker>,
    publishers_left: u64,
}

type Lock = Arc<Mutex<Shared>>;

async fn through_lock(setup: Setup, each: u64) -> Result<u64, Failure> {
    let shared = Shared { publishers_left: setup.publishers, ..Shared::default() };
    let lock = Arc::new(Mutex::new(shared));
    let owner = tokio::spawn(own_behind_lock(lock.clone()));
    for _ in 0..setup.publishers {
        let lock = lock.clone();
        tokio::spawn(async move {
            let (topic, payload) = (Bytes::from_static(TOPIC.as_bytes()), Bytes::from_static(PAYLOAD));
            for _ in 0..each {
                publish_behind_lock(&lock, &topic, &payload).await;
                if setup.sparse {
                    tokio::task::yield_now().await;
                }
            }
            let mut shared = lock.lock().unwrap_or_else(PoisonError::into_inner);
            shared.publishers_left -= 1;
            shared.owner.take().into_iter().for_each(Waker::wake);
        });
    }
    Ok(owner.await?)
}

async fn publish_behind_lock(lock: &Lock, topic: &Bytes, payload: &Bytes) {
    poll_fn(|context| {
        let owner = {
            let mut shared = lock.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.buffer.len() >= HIGH_WATER {
                shared.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            encode(topic, payload, &mut shared.buffer);
            shared.owner.take()
        };
        // Outside the lock: waking takes longer than everything above.
        if let Some(owner) = owner {
            owner.wake();
        }
        Poll::Ready(())
    })
    .await;
}

async fn own_behind_lock(lock: Lock) -> u64 {
    let (mut taken, mut waiting) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    loop {
        let more = poll_fn(|context| {
            let mut shared = lock.lock().unwrap_or_else(PoisonError::into_inner);
            if !shared.buffer.is_empty() {
                std::mem::swap(&mut shared.buffer, &mut taken);
                std::mem::swap(&mut shared.waiting, &mut waiting);
                return Poll::Ready(true);
            }
            if shared.publishers_left == 0 {
                return Poll::Ready(false);
            }
            shared.owner = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        if !more {
            return bytes;
        }
        waiting.drain(..).for_each(Waker::wake);
        bytes += black_box(&taken).len() as u64;
        taken.clear();
    }
}

/// What a handle sends to the owner.
struct Publish {
    topic: Bytes,
    payload: Bytes,
}

async fn through_channel(setup: Setup, each: u64) -> Result<u64, Failure> {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let owner = tokio::spawn(own_behind_channel(receiver));
    for _ in 0..setup.publishers {
        let sender = sender.clone();
        tokio::spawn(async move {
            let (topic, payload) = (Bytes::from_static(TOPIC.as_bytes()), Bytes::from_static(PAYLOAD));
            for _ in 0..each {
                if sender.send(Publish { topic: topic.clone(), payload: payload.clone() }).await.is_err() {
                    return;
                }
                if setup.sparse {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    drop(sender);
    Ok(owner.await?)
}

async fn own_behind_channel(mut receiver: mpsc::Receiver<Publish>) -> u64 {
    let (mut commands, mut buffer) = (Vec::with_capacity(CAPACITY), Vec::new());
    let mut bytes = 0;
    while receiver.recv_many(&mut commands, CAPACITY).await > 0 {
        for command in commands.drain(..) {
            encode(&command.topic, &command.payload, &mut buffer);
        }
        bytes += black_box(&buffer).len() as u64;
        buffer.clear();
    }
    bytes
}
