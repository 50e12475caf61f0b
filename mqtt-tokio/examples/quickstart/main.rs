//! Publishes and receives with QoS 0, 1 and 2 while the wire is cut again and again, and counts what arrives.
//!
//! ```text
//! cargo run --example quickstart                                      a broker in memory, on a loopback port
//! cargo run --example quickstart -- mqtt://127.0.0.1:1883             a broker of yours
//! cargo run --example quickstart -- mqtt://127.0.0.1:1883 --v31       the same with MQTT 3.1
//! ```
//!
//! All packets go over TCP through a proxy (`wire.rs`) that shows them and loses those that it is told to lose,
//! together with the connection. Ends with 0 if nothing was lost and nothing doubled; whoever stops a broker of theirs
//! while QoS 0 and 1 are shown may see QoS 0 lost and QoS 1 doubled, which is what they promise.

mod tally;
mod wire;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt_codec::Direction::{ToClient, ToServer};
use mqtt_codec::PacketType;
use mqtt_tokio::testing::{Sessions, TestBroker};
use mqtt_tokio::{
    Backoff, Client, Drain, Options, ProtocolVersion, PubSub, PublishError, QoS, Status, Subscription, Uri,
};
use tokio::time::{Instant, interval, sleep, timeout};

use tally::Tally;
use wire::{Cut, Wire};

/// What becomes of eight QoS 2 messages: each time another one of the eight packets that carry a message is lost.
const CUTS_QOS_2: [Cut; 8] = [
    (PacketType::Publish, ToServer),
    (PacketType::Pubrec, ToClient),
    (PacketType::Pubrel, ToServer),
    (PacketType::Pubcomp, ToClient),
    (PacketType::Publish, ToClient),
    (PacketType::Pubrec, ToServer),
    (PacketType::Pubrel, ToClient),
    (PacketType::Pubcomp, ToServer),
];

/// The same for QoS 1. Only this one: if an acknowledgement is lost, a QoS 1 message comes twice ("at least once").
const CUT_QOS_1: Cut = (PacketType::Publish, ToServer);

/// How long to wait for a broker that has gone away; a sixth of it for a message while connected.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, Box<dyn Error>> {
    let (v31, uri): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument == "--v31");
    let version = if v31.is_empty() { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V3_1 };
    let own = if uri.is_empty() { Some(TestBroker::start().await?) } else { None };
    let uri = uri.first().cloned().or(own.as_ref().map(TestBroker::uri)).unwrap_or_default();
    let address: Uri = uri.parse()?;
    let broker = format!("{}:{}", address.host(), address.port());
    let wire = Wire::new(broker.clone(), version).await.map_err(|error| format!("{broker}: {error}"))?;
    let kind = if own.is_some() { "in memory, made for tests" } else { "yours" };
    println!("broker   {broker} ({kind})\nprotocol MQTT {version}");
    println!(
        "wire     a proxy on {}: \"-->\" and \"<--\" are packets, \"X\" is a packet lost by cutting",
        wire.addr()
    );
    println!("ids      client and broker number their packets each on their own\n");

    let user = uri.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    let uri = format!("mqtt://{}{}", user.map(|user| format!("{user}@")).unwrap_or_default(), wire.addr());
    let id = format!("quickstart-{:08x}", SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos());
    let backoff = Backoff::default().initial(Duration::from_millis(50)).max(Duration::from_millis(500));
    let options = Options::new(id.clone()).version(version).backoff(backoff.stable_after(Duration::ZERO));

    // With Clean Session off, client and broker both remember what is under way when the connection breaks.
    let client = Client::<PubSub>::connect(&uri, options.clone().clean_session(false)).await?;
    let topic = format!("{id}/greetings");
    let inbox = client.subscribe(topic.as_str(), QoS::ExactlyOnce).await?;
    let link = Link { version, ends: 0, attempts: 0 };
    let mut show = Show { client, inbox, topic, wire, tally: Tally::default(), link };

    show.part("QoS 0, at most once: one packet each way, and no acknowledgement");
    show.message(QoS::AtMostOnce, None).await?;
    show.part("QoS 1, at least once: each PUBLISH is acknowledged with a PUBACK");
    show.message(QoS::AtLeastOnce, None).await?;
    show.part("QoS 2, exactly once: PUBLISH, PUBREC, PUBREL, PUBCOMP");
    show.message(QoS::ExactlyOnce, None).await?;
    show.part("QoS 1 over a wire that is cut: what has no PUBACK is sent again, and says so (DUP)");
    show.message(QoS::AtLeastOnce, Some(CUT_QOS_1)).await?;
    show.part("QoS 2 over a wire that is cut at each of its eight packets: every message arrives once");
    for cut in CUTS_QOS_2 {
        show.message(QoS::ExactlyOnce, Some(cut)).await?;
    }
    let is_calm = show.link.ends == show.wire.cuts();
    match &own {
        Some(broker) => {
            show.part("QoS 2 while the broker stops and starts again (packets are not shown any more)");
            show.traffic(30, Duration::from_millis(40), Some(broker)).await?;
        }
        None => {
            show.part(
                "QoS 2 for ten seconds: stop your broker now and start it again (packets are not shown)",
            );
            show.traffic(100, Duration::from_millis(100), None).await?;
        }
    }
    let tally = show.end().await;

    // Leaves nothing behind: with Clean Session on, the broker forgets the session.
    if let Ok(cleaner) = Client::<PubSub>::connect(&uri, options).await {
        cleaner.disconnect(Drain::Now).await?;
    }
    Ok(tally.is_as_promised(is_calm))
}

struct Show {
    client: Client<PubSub>,
    inbox: Subscription,
    topic: String,
    wire: Wire,
    tally: Tally,
    link: Link,
}

impl Show {
    fn part(&self, title: &str) {
        println!("\n{title}");
    }

    /// Publishes a message, with the wire cut at one of its packets, and waits until it is delivered and received.
    async fn message(&mut self, qos: QoS, cut: Option<Cut>) -> Result<(), Box<dyn Error>> {
        let mut status = self.client.status();
        let number = self.tally.sent(qos);
        if let Some(cut) = cut {
            println!();
            self.wire.cut_at(cut);
        }
        // To await a publish is to wait until the broker has confirmed it, over as many connections as that takes.
        let (client, wire, topic) = (&self.client, &self.wire, self.topic.as_str());
        let publish = async {
            loop {
                match client.publish(topic, Tally::text(number)).qos(qos).await {
                    // QoS 0 needs a connection; nothing was sent.
                    Err(PublishError::NotConnected(_)) => sleep(Duration::from_millis(20)).await,
                    outcome => return outcome,
                }
            }
        };
        let receive = async {
            while !self.tally.has_arrived(number) {
                let Some(message) = self.inbox.next().await else { break };
                let copies = self.tally.arrived(message.payload());
                let again = if copies == Some(1) { "" } else { "   AGAIN" };
                wire.say(&format!("client received    {:?}{again}", message.text().unwrap_or("?")));
            }
        };
        let link = &mut self.link;
        let watch = async {
            while let Some(status) = status.next().await {
                link.show(wire, &status);
            }
        };
        // A message with QoS 0 may be lost, if the broker goes away of itself.
        let patience = if qos == QoS::AtMostOnce { Duration::from_secs(2) } else { PATIENCE };
        let settled = async {
            let (outcome, ()) = tokio::join!(publish, receive);
            settle(client, wire).await;
            outcome
        };
        let outcome = tokio::select! {
            outcome = timeout(patience, settled) => outcome,
            () = watch => return Err("the client gave up".into()),
        };
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.wire.say(&format!("message {number}: {error}")),
            Err(_) => self.wire.say(&format!("message {number}: nothing heard of it any more")),
        }
        Ok(())
    }

    /// Publishes `count` messages at a steady pace, whatever the broker does, and waits until all have arrived.
    async fn traffic(
        &mut self,
        count: u32,
        pace: Duration,
        own: Option<&TestBroker>,
    ) -> Result<(), Box<dyn Error>> {
        self.wire.be_silent();
        let mut status = self.client.status();
        let mut ticks = interval(pace);
        let (mut published, mut left) = (0, count);
        let mut heard = Instant::now();
        while left > 0 && heard.elapsed() < if self.client.is_connected() { PATIENCE / 6 } else { PATIENCE } {
            tokio::select! {
                _ = ticks.tick() => {
                    if published == count {
                        continue;
                    }
                    if let Some(broker) = own {
                        if published == count / 3 {
                            broker.stop().await;
                        } else if published == count * 2 / 3 {
                            broker.restart(Sessions::Keep).await?;
                        }
                    }
                    published += 1;
                    heard = Instant::now();
                    let number = self.tally.sent(QoS::ExactlyOnce);
                    // To wait for a place in the queue only is to go on at once, connected or not.
                    let publish = self.client.publish(self.topic.as_str(), Tally::text(number));
                    publish.qos(QoS::ExactlyOnce).accepted().await?;
                }
                Some(message) = self.inbox.next() => {
                    heard = Instant::now();
                    let copies = self.tally.arrived(message.payload());
                    left -= u32::from(copies == Some(1));
                    let late = self.tally.age(message.payload()).unwrap_or_default();
                    let again = if copies == Some(1) { "" } else { "   AGAIN" };
                    let text = message.text().unwrap_or("?");
                    self.wire.say(&format!("client received    {text:?} {late:5} ms after it was published{again}"));
                }
                Some(status) = status.next() => {
                    if matches!(status, Status::Connected { .. }) {
                        heard = Instant::now();
                    }
                    self.link.show(&self.wire, &status);
                }
                else => return Err("the client gave up".into()),
            }
        }
        Ok(())
    }

    /// Says goodbye and tells what became of all messages.
    async fn end(mut self) -> Tally {
        // Whatever comes twice comes now.
        while let Ok(Some(message)) = timeout(Duration::from_millis(100), self.inbox.next()).await {
            self.tally.arrived(message.payload());
        }
        if let Err(error) = self.client.disconnect(Drain::Queue(Duration::from_secs(10))).await {
            self.wire.say(&error.to_string());
        }
        let (cuts, packets, ends) = (self.wire.cuts(), self.wire.packets(), self.link.ends);
        println!(
            "\n{packets} packets; the wire was cut {cuts} times; the connection was lost {ends} times\n"
        );
        self.tally.print();
        self.tally
    }
}

/// What the client tells of its connection.
struct Link {
    version: ProtocolVersion,
    /// How often a connection ended.
    ends: u64,
    /// How many attempts failed since then.
    attempts: u64,
}

impl Link {
    fn show(&mut self, wire: &Wire, status: &Status) {
        match status {
            Status::Connected { session_present, .. } => {
                let memory = match (session_present, self.version) {
                    (true, _) => "the broker has kept the session",
                    (false, ProtocolVersion::V3_1_1) => "the broker has lost the session",
                    (false, ProtocolVersion::V3_1) => {
                        "whether the broker has kept the session, 3.1 does not tell"
                    }
                };
                let attempts = std::mem::take(&mut self.attempts);
                wire.say(&format!("client is back     at attempt {attempts}; {memory}"));
            }
            Status::Lost { error, retry_in } => {
                self.attempts += 1;
                if self.attempts == 1 {
                    self.ends += 1;
                    let pause = retry_in.as_millis();
                    wire.say(&format!("client is cut off  {error}; next attempt in {pause} ms"));
                }
            }
            _ => {}
        }
    }
}

/// Waits until the wire was cut as planned, the client is connected again, and no packet moves any more.
async fn settle(client: &Client<PubSub>, wire: &Wire) {
    loop {
        let before = wire.packets();
        sleep(Duration::from_millis(80)).await;
        if !wire.is_cut_due() && client.is_connected() && wire.packets() == before {
            return;
        }
    }
}
