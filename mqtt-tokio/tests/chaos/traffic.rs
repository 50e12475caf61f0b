//! Messages with QoS 1 and 2, both ways at once, over wires that go bad; and what must come of them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mqtt_tokio::{Backoff, Builder, Client, Drain, Options, ProtocolVersion, PubSub, QoS, Subscription};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::proxy::Proxy;

/// How many messages with each QoS in each direction, unless `MQTT_CHAOS_MESSAGES` says otherwise.
const COUNT: u32 = 5_000;

/// How long nothing may come, while some is still to come. Most is needed when one attempt after the other ends at a
/// deadline.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many messages may be on their way with one QoS in one direction. A server that does not limit what is in flight
/// sends all of it again over each new connection.
const ON_THE_WAY: usize = 2_000;

const BOTH: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Makes a test with each version of a function.
macro_rules! in_each_version {
    ($through_chaos:ident) => {
        #[tokio::test]
        async fn nothing_is_lost_or_doubled_v3_1() {
            $through_chaos(mqtt_tokio::ProtocolVersion::V3_1).await;
        }

        #[tokio::test]
        async fn nothing_is_lost_or_doubled_v3_1_1() {
            $through_chaos(mqtt_tokio::ProtocolVersion::V3_1_1).await;
        }
    };
}
pub(crate) use in_each_version;

/// One of the two clients, with a wire of its own.
struct Side {
    name: &'static str,
    client: Client<PubSub>,
    inbox: Subscription,
    proxy: Proxy,
}

/// Two clients send each other messages, through proxies to the server at `port`. Nothing is lost, with QoS 2 nothing is
/// doubled, and the order is kept: with QoS 1 that in which messages come for the first time. Returns how many messages
/// with QoS 2 the server has sent again against the rules.
pub(crate) async fn both_ways(port: u16, version: ProtocolVersion) -> usize {
    let count = from_environment("MQTT_CHAOS_MESSAGES").unwrap_or(COUNT);
    let seed = from_environment("MQTT_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{version:?}: MQTT_TEST_SEED={seed}, {count} messages with each QoS each way");
    let start = Instant::now();
    let (mut a, mut b) = tokio::join!(
        Side::new("a", "b", port, version, seed),
        Side::new("b", "a", port, version, seed.wrapping_add(1))
    );
    let (client_a, client_b) = (a.client.clone(), b.client.clone());
    let [from_a, from_b] = [(); 2].map(|()| BOTH.map(|_| Semaphore::new(ON_THE_WAY)));
    tokio::join!(
        publish(&client_a, a.name, BOTH[0], count, &from_a[0]),
        publish(&client_a, a.name, BOTH[1], count, &from_a[1]),
        publish(&client_b, b.name, BOTH[0], count, &from_b[0]),
        publish(&client_b, b.name, BOTH[1], count, &from_b[1]),
        receive(&mut a, count, &from_b),
        receive(&mut b, count, &from_a),
    );
    println!("{version:?}: {} ms", start.elapsed().as_millis());
    a.end(count).await + b.end(count).await
}

impl Side {
    /// A client that gets what `from` sends.
    async fn new(name: &'static str, from: &str, port: u16, version: ProtocolVersion, seed: u64) -> Self {
        let proxy = Proxy::start(port, version, seed).await;
        let backoff = Backoff::default().initial(Duration::from_millis(10)).max(Duration::from_millis(100));
        // A connection that is dead without saying so is noticed after little more than a second.
        let options = Options::new(name)
            .version(version)
            .clean_session(false)
            .keep_alive(Duration::from_secs(1))
            .pingresp_timeout(Duration::from_millis(300))
            .connack_timeout(Duration::from_millis(500))
            .backoff(backoff.stable_after(Duration::ZERO));
        let client = Builder::new(&proxy.uri(), options).unwrap().start::<PubSub>().unwrap();
        let filters = BOTH.map(|qos| (topic(from, qos), qos));
        // What a server repeats at the end has room, though nobody reads it: a full stream would hold up what this client
        // still publishes.
        let subscribe = client.subscribe_all(filters).buffer(1_000_000).buffer_size(1 << 30);
        let inbox = subscribe.await.unwrap();
        Self { name, client, inbox, proxy }
    }

    async fn end(self, count: u32) -> usize {
        let (stats, record) = (self.client.stats(), self.proxy.record());
        println!("{}: {record}; {} sent again, {} came again", self.name, stats.resent, stats.duplicates);
        assert_eq!(stats.delivered, 2 * u64::from(count + 1));
        assert!(stats.resent > 0, "something was in flight when a connection ended");
        for kind in [&record.cuts, &record.half_opens, &record.one_ways, &record.stalls] {
            assert!(kind.load(Ordering::Relaxed) > 0, "every kind of fault has happened");
        }
        self.client.disconnect(Drain::Queue(PATIENCE)).await.unwrap();
        self.proxy.witness().repeated()
    }
}

/// Publishes the messages, and one more when all of them are delivered: behind it none of them can come again.
async fn publish(client: &Client<PubSub>, from: &str, qos: QoS, count: u32, places: &Semaphore) {
    let topic = topic(from, qos);
    let mut receipts = Vec::new();
    for number in 0..count {
        places.acquire().await.unwrap().forget();
        receipts.push(client.publish(topic.as_str(), payload(number)).qos(qos).receipt().await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    client.publish(topic.as_str(), payload(count)).qos(qos).await.unwrap();
}

/// Takes messages until the last ones are there.
async fn receive(side: &mut Side, count: u32, places: &[Semaphore; 2]) {
    let mut expected = [0; 2];
    let mut again = [0_u32; 2];
    while expected.iter().any(|expected| *expected <= count) {
        let message = timeout(PATIENCE, side.inbox.next()).await;
        let message = message.unwrap_or_else(|_| panic!("{expected:?} are lost")).expect("an open stream");
        let qos = message.qos();
        let at = usize::from(qos == QoS::ExactlyOnce);
        assert!(message.topic().ends_with(suffix(qos)));
        let number = u32::from_be_bytes(*message.payload().first_chunk().unwrap());
        assert_eq!(message.payload(), payload(number));
        assert!(number <= expected[at], "{qos:?}: {expected:?} is lost or overtaken: {number} comes");
        if number == expected[at] {
            expected[at] += 1;
            places[at].add_permits(1);
        } else {
            // The server may do wrong, and the wire has seen it.
            let is_ours = qos == QoS::ExactlyOnce && !side.proxy.witness().has_repeated(message.payload());
            assert!(!is_ours, "{number} comes again");
            again[at] += 1;
        }
    }
    println!("{}: {again:?} came again with QoS 1, and with QoS 2 against the rules", side.name);
}

/// The topic of all messages with this QoS from a client.
fn topic(from: &str, qos: QoS) -> String {
    format!("{from}{}", suffix(qos))
}

fn suffix(qos: QoS) -> &'static str {
    if qos == QoS::ExactlyOnce { "/2" } else { "/1" }
}

/// The number of a message, and some bytes more.
fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + number as usize % 97, number.to_le_bytes()[0]);
    payload
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
