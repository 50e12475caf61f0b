//! How an application tests its own handler: a thermostat, in memory, in paused time. The chapter on testing
//! (`mqtt-tokio/guide/testing.md`) explains it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::{Direction, OwnedPacket, PacketType};
use mqtt_tokio::testing::{Broker, Faults, OnSend, Peer, Sessions, TestBroker, When};
use mqtt_tokio::{
    AckMode, Builder, Client, Drain, Options, PubSub, PublishError, QoS, ReceivedMessage, TopicName,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

// --- The application --------------------------------------------------------------------------------------------------

/// Where the wanted temperatures are kept. It can fail.
trait Settings: Send {
    fn save(&mut self, room: &str, wanted: f64) -> impl Future<Output = Result<(), fmt::Error>> + Send;
}

/// How often a valve is told before it counts as broken, and how long each attempt may take.
const ATTEMPTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads `home/ROOM/wanted`, saves it, and tells the valve of the room, `home/ROOM/valve`, until the broker has confirmed
/// that. A message is acknowledged when its work is done: what was not done comes again.
async fn thermostat(client: Client<PubSub>, mut settings: impl Settings) {
    let Ok(mut wanted) = client.subscribe("home/+/wanted", QoS::AtLeastOnce).await else { return };
    while let Some(mut message) = wanted.next().await {
        let Some((room, degrees)) = parse(&message) else {
            message.ack(); // It will not get better by coming again.
            continue;
        };
        if settings.save(&room, degrees).await.is_ok() && tell_valve(&client, &room, degrees).await.is_ok() {
            message.ack();
        }
    }
}

fn parse(message: &ReceivedMessage) -> Option<(String, f64)> {
    let room = message.topic().split('/').nth(1)?;
    Some((room.to_owned(), message.text().ok()?.parse().ok()?))
}

async fn tell_valve(client: &Client<PubSub>, room: &str, degrees: f64) -> Result<(), PublishError> {
    let topic = format!("home/{room}/valve");
    let mut outcome = Err(PublishError::Closed);
    for _ in 0..ATTEMPTS {
        let open = if degrees > 20.0 { "open" } else { "shut" };
        let publish = client.publish(topic.as_str(), open).qos(QoS::AtLeastOnce).expires_after(PATIENCE);
        outcome = publish.await;
        if !matches!(outcome, Err(PublishError::NotSent(_))) {
            return outcome;
        }
    }
    outcome
}

// --- What its tests share ---------------------------------------------------------------------------------------------

/// Settings that fail as often, and take as long, as they are told to.
#[derive(Default)]
struct Flaky {
    failures: u32,
    time: Duration,
}

impl Settings for Flaky {
    async fn save(&mut self, _: &str, _: f64) -> Result<(), fmt::Error> {
        tokio::time::sleep(self.time).await;
        let failed = self.failures > 0;
        self.failures = self.failures.saturating_sub(1);
        if failed { Err(fmt::Error) } else { Ok(()) }
    }
}

struct Plant {
    broker: TestBroker,
    client: Client<PubSub>,
    handler: JoinHandle<()>,
}

fn options() -> Options {
    Options::new("thermostat").clean_session(false).ack_mode(AckMode::Manual)
}

impl Plant {
    async fn new(settings: Flaky) -> Self {
        let broker = TestBroker::in_memory(Broker::new());
        let builder = Builder::with_connector(broker.connector(4096), options());
        let client: Client<PubSub> = builder.connect().await.unwrap();
        let handler = tokio::spawn(thermostat(client.clone(), settings));
        let plant = Self { broker, client, handler };
        plant.settle().await; // it has subscribed
        plant
    }

    /// Lets everything happen that needs no waiting.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Someone turns the knob.
    fn want(&self, room: &str, degrees: &str) {
        let topic = TopicName::new(format!("home/{room}/wanted")).unwrap();
        let payload = Bytes::copy_from_slice(degrees.as_bytes());
        self.broker.with(|it| it.publish(topic, payload, QoS::AtLeastOnce, false));
    }

    /// What the broker does with its first PUBACK.
    fn first_confirmation(&self, action: OnSend) {
        let faults = Faults::none().on_send(PacketType::Puback, When::Nth(1), action);
        self.broker.with(|it| it.set_faults(faults));
    }

    /// What the valves were told, as the broker received it, repetitions included.
    fn told(&self) -> Vec<String> {
        let log: Vec<_> = self.broker.with(|it| it.log().cloned().collect());
        let received = log.into_iter().filter(|entry| entry.direction == Direction::ToServer);
        let told = received.filter_map(|entry| match entry.packet {
            OwnedPacket::Publish(it) => {
                Some(format!("{}={}", it.topic, String::from_utf8_lossy(&it.payload)))
            }
            _ => None,
        });
        told.collect()
    }

    /// How many messages to the thermostat it has not acknowledged.
    fn unfinished(&self) -> usize {
        self.broker.with(|it| it.session("thermostat").unwrap().in_flight)
    }

    async fn finish(self) {
        self.client.disconnect(Drain::Queue(Duration::from_secs(60))).await.unwrap();
        timeout(Duration::from_secs(60), self.handler).await.unwrap().unwrap();
    }
}

// --- The tests --------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_wish_becomes_a_command() {
    let plant = Plant::new(Flaky::default()).await;
    plant.want("kitchen", "21.5");
    plant.want("attic", "12");
    plant.want("attic", "warm");
    plant.settle().await;
    assert_eq!(plant.told(), ["home/kitchen/valve=open", "home/attic/valve=shut"]);
    assert_eq!(plant.unfinished(), 0, "nonsense is acknowledged too");
    plant.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_broker_goes_away_in_the_middle() {
    let plant = Plant::new(Flaky::default()).await;
    // The command reaches the broker; its confirmation, and the connection, are lost.
    plant.first_confirmation(OnSend::CutBefore);
    plant.want("kitchen", "21.5");
    plant.settle().await;
    plant.broker.stop().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    plant.broker.restart(Sessions::Keep).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    // The client sent the command again, on the kept Session. The wish was not acknowledged, so it came again as well, and
    // caused a second command: at least once.
    assert_eq!(plant.told(), ["home/kitchen/valve=open"; 3]);
    assert_eq!(plant.unfinished(), 0);
    plant.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_lost_and_nothing_else() {
    let plant = Plant::new(Flaky::default()).await;
    plant.first_confirmation(OnSend::Drop);
    plant.want("kitchen", "21.5");
    // A broker that loses a PUBACK on a connection that lives breaks its promise. Without an `ack_timeout` the command
    // is sent again when the connection is made anew, not before.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((plant.told().len(), plant.unfinished()), (1, 1));
    plant.broker.cut_all();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(plant.told().len() > 1);
    assert_eq!(plant.unfinished(), 0);
    plant.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_an_hour() {
    let plant = Plant::new(Flaky::default()).await;
    let hour = Duration::from_secs(3600);
    plant.first_confirmation(OnSend::Delay(hour));
    plant.want("kitchen", "21.5");
    let start = Instant::now();
    tokio::time::sleep(hour - Duration::from_secs(1)).await;
    assert_eq!(plant.unfinished(), 1, "the handler waits");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((plant.told().len(), plant.unfinished()), (1, 0), "one command, however long it took");
    assert!(start.elapsed() > hour, "an hour has passed, for everybody but the one who waits for the test");
    plant.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_gets_the_wish_again() {
    let plant = Plant::new(Flaky { failures: 1, ..Flaky::default() }).await;
    plant.want("kitchen", "21.5");
    plant.settle().await;
    assert!(plant.told().is_empty(), "what could not be saved is not done");
    assert_eq!(plant.unfinished(), 1);
    // It comes again on the next connection, and not before.
    plant.broker.cut_all();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(plant.told(), ["home/kitchen/valve=open"]);
    assert_eq!(plant.unfinished(), 0);
    plant.finish().await;
}

#[tokio::test(start_paused = true)]
async fn commands_that_are_too_old_are_not_sent() {
    let plant = Plant::new(Flaky { time: Duration::from_secs(1), ..Flaky::default() }).await;
    plant.want("kitchen", "21.5");
    plant.settle().await;
    // The wish is there and being saved, and now the broker goes: no attempt leaves the queue in time.
    plant.broker.stop().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // The wish was not acknowledged: it comes again, and is acted on.
    plant.broker.restart(Sessions::Keep).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(plant.told(), ["home/kitchen/valve=open"]);
    assert_eq!(plant.unfinished(), 0);
    plant.finish().await;
}

#[tokio::test(start_paused = true)]
async fn packet_by_packet() {
    let (connector, mut peers) = Peer::listen(4096);
    let client: Client<PubSub> = Builder::with_connector(connector, options()).start().unwrap();
    let handler = tokio::spawn(thermostat(client.clone(), Flaky::default()));

    let mut server = peers.next().await.unwrap();
    let connect = server.accept().await.unwrap();
    assert!(!connect.clean_session, "or a wish that it did not act on would be forgotten");
    let subscribe = server.expect(|it| matches!(it, OwnedPacket::Subscribe { .. })).await.unwrap();
    server.answer(&subscribe).await.unwrap();
    // A server that is gone without a word, seen when nothing answers the ping.
    server.expect(|it| *it == OwnedPacket::Pingreq).await.unwrap();
    server.expect_closed().await.unwrap();
    peers.next().await.unwrap().accept().await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    handler.await.unwrap();
}
