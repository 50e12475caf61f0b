//! A client with a store that is killed (SIGKILL) again and again, at random moments, and started anew from its file.
//!
//! It publishes numbered messages and says of each when it is safe; it receives numbered messages and records them in
//! the transaction that saves the acknowledgement. In the end everything that was safe has arrived, QoS 2 once, and
//! everything that was sent to it is recorded, QoS 2 once. `MQTT_KILL_ROUNDS` sets how often; `MQTT_TEST_SEED` the seed.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mqtt_tokio::redb::{Database, ReadableTable, TableDefinition};
use mqtt_tokio::{
    AckMode, Builder, Client, ProtocolVersion, PubSub, Publisher, QoS, RedbStore, Subscriber, Subscription,
};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::broker::Mosquitto;
use crate::support::{DRAIN, options};

/// How often it is killed unless told otherwise.
const ROUNDS: u64 = 20;

/// Half of the lives end within so many milliseconds, the others after so many lines of output.
const LIFE_MILLIS: u64 = 80;
const LIFE_LINES: u64 = 300;

/// Each life publishes numbers of its own: after a crash nobody can know which of the last ones were accepted.
const NUMBERS_PER_LIFE: u64 = 1 << 20;

/// The messages of one kind that a life has on their way to the store together.
const TOGETHER: usize = 8;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the child is told: where the broker and its file are, its first number, and what the last messages that it gets
/// will be (zero: there is no last one).
const URI: &str = "MQTT_KILL_URI";
const FILE: &str = "MQTT_KILL_FILE";
const FIRST: &str = "MQTT_KILL_FIRST";
const LAST: &str = "MQTT_KILL_LAST";

const OUT: [(&str, QoS); 2] = [("out/1", QoS::AtLeastOnce), ("out/2", QoS::ExactlyOnce)];
const IN: [(&str, QoS); 2] = [("in/1", QoS::AtLeastOnce), ("in/2", QoS::ExactlyOnce)];

/// How often each message of each topic was recorded.
const RECORDED: TableDefinition<'_, (u8, u64), u64> = TableDefinition::new("recorded");

// --- The child --------------------------------------------------------------------------------------------------------

#[tokio::test]
#[ignore = "it is what the other test starts, with its environment set"]
async fn child() {
    let Ok(uri) = std::env::var(URI) else { return };
    let (first, last) = (from_environment(FIRST).unwrap(), from_environment(LAST).unwrap());

    let store = RedbStore::open(std::env::var_os(FILE).unwrap(), "child").unwrap();
    let writes = store.writes();
    let settings = options("child", ProtocolVersion::V3_1_1).clean_session(false).ack_mode(AckMode::Manual);
    let (client, driver) = Builder::new(&uri, settings).unwrap().store(store).build::<PubSub>().unwrap();
    for (topic, qos) in OUT {
        tokio::spawn(publish(client.clone(), topic, qos, first));
    }
    // What waits at the broker comes right after the CONNACK: the stream must be there before.
    let drive = async { drop(tokio::spawn(driver)) };
    let (stream, ()) = tokio::join!(biased; async { client.subscribe_all(IN).await }, drive);
    let mut stream: Subscription = stream.unwrap();
    println!("READY.");

    let mut missing = HashSet::from([1_u8, 2]);
    while !missing.is_empty() {
        let mut message = stream.next().await.unwrap();
        let at = if message.topic() == "in/2" { 2 } else { 1 };
        let number = number_of(message.payload());
        let recorded = writes.acknowledge(&mut message, move |transaction| {
            let mut table = transaction.open_table(RECORDED)?;
            let before = table.get((at, number))?.map_or(0, |count| count.value());
            table.insert((at, number), before + 1)?;
            Ok(())
        });
        if recorded.is_ok() && number == last {
            missing.remove(&at);
        }
        println!("GOT {at} {number}.");
    }
    client.disconnect(DRAIN).await.unwrap();
}

/// Publishes as many as the store takes, and says of each when it is safe.
async fn publish(client: Client<PubSub>, topic: &'static str, qos: QoS, first: u64) {
    let mut number = first;
    loop {
        let mut receipts = Vec::new();
        for _ in 0..TOGETHER {
            let publish = client.publish(topic, number.to_be_bytes().to_vec()).qos(qos);
            // It ends with the client.
            let Ok(receipt) = publish.receipt().await else { return };
            receipts.push((number, receipt));
            number += 1;
        }
        for (number, mut receipt) in receipts {
            if receipt.safe().await.is_ok() {
                println!("SAFE {} {number}.", qos as u8);
            }
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn number_of(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload.try_into().unwrap())
}

// --- The parent -------------------------------------------------------------------------------------------------------

/// What is known of all lives together.
#[derive(Default)]
struct Record {
    /// The numbers that were safe, with each QoS.
    safe: [Vec<u64>; 2],
    ready: u64,
}

impl Record {
    /// Notes a line of the child. One that was cut off has no full stop.
    fn note(&mut self, line: &str) {
        let Some(line) = line.strip_suffix('.') else { return };
        self.ready += u64::from(line.ends_with("READY"));
        // The harness may have begun the line.
        if let Some((_, safe)) = line.split_once("SAFE ") {
            let (qos, number) = safe.split_once(' ').unwrap();
            self.safe[usize::from(qos == "2")].push(number.parse().unwrap());
        }
    }
}

/// One life of the child.
struct Life {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Life {
    fn start(uri: &str, file: &Path, life: u64, last: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kill::child", "--ignored", "--nocapture"]);
        command.env(URI, uri).env(FILE, file);
        command.env(FIRST, (life * NUMBERS_PER_LIFE).to_string()).env(LAST, last.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads up to `count` lines; fewer if it ends.
    async fn read(&mut self, record: &mut Record, count: u64) {
        for _ in 0..count {
            let Some(line) = self.lines.next_line().await.unwrap() else { return };
            record.note(&line);
        }
    }

    async fn kill(mut self, record: &mut Record) {
        self.child.start_kill().unwrap();
        let status = self.child.wait().await.unwrap();
        assert_eq!(status.signal(), Some(9), "it lives until it is killed");
        // What it had said by then holds.
        self.read(record, u64::MAX).await;
    }
}

/// Everything that arrives at the reference subscriber.
type Arrived = Arc<Mutex<[Vec<u64>; 2]>>;

async fn collect(mut stream: Subscription, arrived: Arrived) {
    while let Some(message) = stream.next().await {
        let at = usize::from(message.topic() == "out/2");
        arrived.lock().unwrap()[at].push(number_of(message.payload()));
    }
}

/// Publishes the next numbers to the child.
async fn send(writer: &Client<Publisher>, sent: &mut u64, count: u64) {
    for _ in 0..count {
        *sent += 1;
        for (topic, qos) in IN {
            writer.publish(topic, sent.to_be_bytes().to_vec()).qos(qos).accepted().await.unwrap();
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_nothing_is_lost_or_doubled() {
    let rounds = from_environment("MQTT_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = from_environment("MQTT_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("MQTT_TEST_SEED={seed}");
    let start = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let broker = Mosquitto::without_window().await;
    let uri = broker.uri();
    let file = std::env::temp_dir().join(format!("mqtt-tokio-kill-{}.redb", std::process::id()));
    let file = TemporaryFile(file);
    let reader = options("reader", ProtocolVersion::V3_1_1);
    let reader = Client::<Subscriber>::connect(&uri, reader).await.unwrap();
    let stream = reader.subscribe_all(OUT).await.unwrap();
    let arrived = Arrived::default();
    let collecting = tokio::spawn(collect(stream, Arc::clone(&arrived)));
    let writer = options("writer", ProtocolVersion::V3_1_1);
    let writer = Client::<Publisher>::connect(&uri, writer).await.unwrap();

    let (mut record, mut sent) = (Record::default(), 0);
    // The first life lasts until the subscription is there, to which all later messages go.
    let mut first = Life::start(&uri, &file.0, 1, 0);
    while record.ready == 0 {
        timeout(PATIENCE, first.read(&mut record, 1)).await.unwrap();
    }
    first.kill(&mut record).await;
    for round in 0..rounds {
        send(&writer, &mut sent, random.u64(0..5)).await;
        let mut life = Life::start(&uri, &file.0, round + 2, 0);
        if random.bool() {
            sleep(Duration::from_millis(random.u64(0..LIFE_MILLIS))).await;
            send(&writer, &mut sent, random.u64(0..5)).await;
        } else {
            let lines = random.u64(1..LIFE_LINES);
            send(&writer, &mut sent, random.u64(0..5)).await;
            timeout(PATIENCE, life.read(&mut record, lines)).await.unwrap();
        }
        life.kill(&mut record).await;
    }
    let last = sent + 1;
    let mut life = Life::start(&uri, &file.0, rounds + 2, last);
    send(&writer, &mut sent, 1).await;
    timeout(PATIENCE * 3, life.read(&mut record, u64::MAX)).await.expect("the last life ends by itself");
    assert!(life.child.wait().await.unwrap().success());

    // What was delivered to the broker is on its way to us.
    let mut left = PATIENCE.as_millis() / 20;
    while left > 0 && !missing(&record, &arrived.lock().unwrap()).is_empty() {
        sleep(Duration::from_millis(20)).await;
        left -= 1;
    }
    collecting.abort();
    let arrived = std::mem::take(&mut *arrived.lock().unwrap());
    let again = check(&record, &arrived, &recorded(&file.0), sent);
    println!(
        "{rounds} kills, {} lives came to subscribe; safe: {:?}, arrived: {:?}, of QoS 1 again: {}; sent: {sent} each, \
         of QoS 1 recorded again: {}; {} ms; seed {seed}",
        record.ready,
        record.safe.each_ref().map(Vec::len),
        arrived.each_ref().map(Vec::len),
        again[0],
        again[1],
        start.elapsed().as_millis(),
    );
    assert!(record.safe.iter().all(|safe| safe.len() as u64 > rounds), "something went on");
}

/// What was safe and has not arrived.
fn missing(record: &Record, arrived: &[Vec<u64>; 2]) -> Vec<(usize, u64)> {
    let lost = |at: usize| {
        let arrived: HashSet<_> = arrived[at].iter().collect();
        record.safe[at]
            .iter()
            .filter(move |number| !arrived.contains(number))
            .map(move |number| (at + 1, *number))
    };
    (0..2).flat_map(lost).collect()
}

fn recorded(file: &Path) -> [BTreeMap<u64, u64>; 2] {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = transaction.open_table(RECORDED).unwrap();
    [1, 2].map(|at| {
        let rows = table.range((at, 0)..=(at, u64::MAX)).unwrap();
        rows.map(|row| row.map(|(key, count)| (key.value().1, count.value())).unwrap()).collect()
    })
}

/// Nothing is lost, QoS 2 is not doubled, and the order is kept. How many messages with QoS 1 came again, each way.
fn check(
    record: &Record,
    arrived: &[Vec<u64>; 2],
    recorded: &[BTreeMap<u64, u64>; 2],
    sent: u64,
) -> [u64; 2] {
    assert_eq!(missing(record, arrived), [], "safe and lost");
    let mut again = [0; 2];
    for (at, numbers) in arrived.iter().enumerate() {
        let mut seen = HashSet::new();
        let firsts: Vec<_> = numbers.iter().filter(|number| seen.insert(**number)).collect();
        assert!(firsts.is_sorted(), "out of order with QoS {}", at + 1);
        if at == 1 {
            assert_eq!(firsts.len(), numbers.len(), "QoS 2 arrived twice");
        } else {
            again[0] = (numbers.len() - firsts.len()) as u64;
        }
    }
    for (at, counts) in recorded.iter().enumerate() {
        let lost: Vec<_> = (1..=sent).filter(|number| !counts.contains_key(number)).collect();
        assert_eq!(lost, [0; 0], "sent with QoS {} and not recorded", at + 1);
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        if at == 1 {
            assert_eq!(twice, [], "QoS 2 recorded twice");
        } else {
            again[1] = twice.len() as u64;
        }
    }
    again
}

/// A file that is removed in the end.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
