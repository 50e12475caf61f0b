//! Spans and events, as a subscriber sees them.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt_tokio::testing::{Broker, Peer, TestBroker};
use mqtt_tokio::{
    Backoff, Builder, Client, Connector, Drain, Options, Oversize, PubSub, QoS, Session, Status, TopicName,
    Will,
};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

/// Writes down what comes, each event as `LEVEL span{fields} fields`.
#[derive(Clone)]
struct Recorder {
    max: LevelFilter,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    spans: Vec<String>,
    entered: Vec<usize>,
}

/// Fields as text.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        match field.name() {
            "message" => write!(self.0, "{space}{value:?}").unwrap(),
            name => write!(self.0, "{space}{name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max && metadata.target().starts_with("mqtt_tokio")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(String::new());
        span.record(&mut fields);
        let mut state = self.state.lock().unwrap();
        state.spans.push(fields.0);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut state = self.state.lock().unwrap();
        let index = span.into_u64() as usize - 1;
        let mut fields = Fields(std::mem::take(&mut state.spans[index]));
        values.record(&mut fields);
        state.spans[index] = fields.0;
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let mut state = self.state.lock().unwrap();
        let entered = state.entered.last().copied();
        let parent = event.parent().map(|id| id.into_u64() as usize - 1);
        let span = parent.or(entered).map_or("none", |index| state.spans[index].as_str());
        let line = format!("{} {{{span}}} {}", event.metadata().level(), fields.0);
        state.lines.push(line);
    }

    fn enter(&self, span: &Id) {
        self.state.lock().unwrap().entered.push(span.into_u64() as usize - 1);
    }

    fn exit(&self, _: &Id) {
        self.state.lock().unwrap().entered.pop();
    }
}

impl Recorder {
    /// For this thread: the runtime of each test has no other.
    fn start(max: LevelFilter) -> (Self, DefaultGuard) {
        let recorder = Self { max, state: Arc::default() };
        let guard = set_default(recorder.clone());
        (recorder, guard)
    }

    /// The events so far, without their spans.
    fn events(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.lines.iter().map(|line| line.replace(&span_of(line), "")).collect()
    }

    /// Those that begin so.
    fn beginning(&self, start: &str) -> Vec<String> {
        self.events().into_iter().filter(|event| event.starts_with(start)).collect()
    }
}

/// The span with the space behind it.
fn span_of(line: &str) -> String {
    let (begin, end) = (line.find('{').unwrap(), line.find("} ").unwrap());
    line[begin..end + 2].to_owned()
}

fn options(id: &str) -> Options {
    let backoff = Backoff::default().initial(Duration::from_millis(1)).max(Duration::from_millis(1));
    Options::new(id).clean_session(false).backoff(backoff)
}

async fn in_memory(options: Options) -> (TestBroker, Client<PubSub>) {
    let broker = TestBroker::in_memory(Broker::new());
    let client = Builder::with_connector(broker.connector(1024), options).connect().await.unwrap();
    (broker, client)
}

#[tokio::test]
async fn every_event_is_in_the_span_of_its_client() {
    let (recorder, _guard) = Recorder::start(LevelFilter::TRACE);
    let broker = TestBroker::start().await.unwrap();
    let uri = broker.uri().replace("mqtt://", "mqtt://operator:hush-hush@");
    let client: Client<PubSub> = Builder::new(&uri, options("plant-7")).unwrap().connect().await.unwrap();
    let mut status = client.status();
    broker.cut_all();
    while !matches!(status.next().await, Some(Status::Connected { .. })) {}
    client.publish("t", "x").qos(QoS::ExactlyOnce).await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    let span = format!("{{client_id=\"plant-7\" server={}}} ", broker.uri());
    let lines = recorder.state.lock().unwrap().lines.clone();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert_eq!(span_of(&line), span, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_connection() {
    let (recorder, _guard) = Recorder::start(LevelFilter::INFO);
    let (broker, client) = in_memory(options("c")).await;
    assert_eq!(recorder.events(), ["INFO connected session_present=false version=3.1.1"]);
    let mut status = client.status();
    broker.cut_all();
    while !matches!(status.next().await, Some(Status::Connected { .. })) {}
    let lost = recorder.beginning("WARN").concat();
    assert!(lost.starts_with("WARN connection lost error=") && lost.contains(" retry_in="), "{lost}");
    client.disconnect(Drain::Now).await.unwrap();
    let last = ["INFO connected session_present=true version=3.1.1", "INFO disconnected"];
    assert_eq!(recorder.events()[2..], last);
}

#[tokio::test(start_paused = true)]
async fn giving_up() {
    let (recorder, _guard) = Recorder::start(LevelFilter::INFO);
    let connector =
        Connector::new(|| async { Err::<tokio::io::DuplexStream, _>(std::io::ErrorKind::NotFound.into()) });
    let options = options("c").backoff(Backoff::default().max_attempts(Some(1)));
    let client: Client<PubSub> = Builder::with_connector(connector, options).start().unwrap();
    client.connected().await.unwrap_err();
    let events = recorder.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].starts_with("WARN connection lost error="), "{events:?}");
    assert!(events[1].starts_with("ERROR gave up error="), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_that_nobody_gets() {
    let (recorder, _guard) = Recorder::start(LevelFilter::WARN);
    let (broker, client) = in_memory(options("c").max_packet_size(50).oversize(Oversize::Skip)).await;
    let mut stream = client.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    client.publish("t", vec![b'x'; 100]).qos(QoS::AtLeastOnce).await.unwrap();
    client.publish("t", "small").qos(QoS::AtLeastOnce).await.unwrap();
    stream.next().await.unwrap();
    assert_eq!(recorder.events(), ["WARN message skipped payload_len=100 qos=1"]);
    let session: Session = client.disconnect_keeping_session(Drain::Now).await.unwrap();
    let other: Client<PubSub> =
        Builder::with_connector(broker.connector(1024), options("d")).connect().await.unwrap();
    other.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
    let builder = Builder::with_connector(broker.connector(1024), options("c")).session(session);
    let client: Client<PubSub> = builder.claim_within(Duration::from_secs(1)).connect().await.unwrap();
    let mut status = client.status();
    while !matches!(status.next().await, Some(Status::Unclaimed { .. })) {}
    assert_eq!(recorder.events()[1..], ["WARN messages unclaimed count=1"]);
}

#[tokio::test(start_paused = true)]
async fn packets() {
    let (recorder, _guard) = Recorder::start(LevelFilter::TRACE);
    let (_broker, client) = in_memory(options("c").keep_alive(Duration::from_secs(10))).await;
    let mut stream = client.subscribe("t", QoS::ExactlyOnce).await.unwrap();
    client.publish("t", "x").qos(QoS::ExactlyOnce).retain(true).await.unwrap();
    stream.next().await.unwrap();
    client.unsubscribe("t").await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    client.disconnect(Drain::Now).await.unwrap();
    let mut events = recorder.events();
    // Those of the two directions go past each other in an order of their own.
    events.sort();
    assert_eq!(
        events,
        [
            "DEBUG connecting",
            r#"DEBUG way="in" packet=CONNACK code=0 session_present=false len=4"#,
            r#"DEBUG way="in" packet=PINGRESP len=2"#,
            r#"DEBUG way="in" packet=PUBCOMP id=2 len=4"#,
            r#"DEBUG way="in" packet=PUBLISH id=1 qos=2 dup=false retain=false len=8"#,
            r#"DEBUG way="in" packet=PUBREC id=2 len=4"#,
            r#"DEBUG way="in" packet=PUBREL id=1 dup=false len=4"#,
            r#"DEBUG way="in" packet=SUBACK id=1 codes=[Granted(ExactlyOnce)] len=5"#,
            r#"DEBUG way="in" packet=UNSUBACK id=3 len=4"#,
            r#"DEBUG way="out" packet=CONNECT len=15"#,
            r#"DEBUG way="out" packet=DISCONNECT len=2"#,
            r#"DEBUG way="out" packet=PINGREQ len=2"#,
            r#"DEBUG way="out" packet=PUBCOMP id=1 len=4"#,
            r#"DEBUG way="out" packet=PUBLISH id=2 qos=2 dup=false retain=true len=8"#,
            r#"DEBUG way="out" packet=PUBREC id=1 len=4"#,
            r#"DEBUG way="out" packet=PUBREL id=2 dup=false len=4"#,
            r#"DEBUG way="out" packet=SUBSCRIBE id=1 dup=false len=8"#,
            r#"DEBUG way="out" packet=UNSUBSCRIBE id=3 dup=false len=7"#,
            "INFO connected session_present=false version=3.1.1",
            "INFO disconnected",
            r#"TRACE way="in" packet=PUBLISH id=1 topic="t""#,
            r#"TRACE way="out" packet=PUBLISH id=2 topic="t""#,
            r#"TRACE way="out" packet=SUBSCRIBE id=1 filters=[(TopicFilterRef("t"), ExactlyOnce)]"#,
            r#"TRACE way="out" packet=UNSUBSCRIBE id=3 filters=[TopicFilterRef("t")]"#,
        ]
    );
}

/// At any level; and no topic above TRACE.
#[tokio::test(start_paused = true)]
async fn no_secret_and_no_payload() {
    let (recorder, _guard) = Recorder::start(LevelFilter::TRACE);
    let will = Will::new(TopicName::try_from("topic/will").unwrap(), "hush-will");
    let options = options("c").credentials("hush-user", Some("hush-password")).will(will);
    let (broker, client) = in_memory(options).await;
    let mut status = client.status();
    let mut stream = client.subscribe("topic/#", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish("topic/x", "hush-payload").qos(qos).retain(true).await.unwrap();
        stream.next().await.unwrap();
    }
    broker.cut_all();
    while !matches!(status.next().await, Some(Status::Connected { .. })) {}
    client.disconnect(Drain::Now).await.unwrap();
    let lines = recorder.state.lock().unwrap().lines.clone();
    for line in &lines {
        // As text, and as bytes in the two ways in which they can be written.
        for secret in ["hush-", "104, 117, 115, 104, 45", "68 75 73 68 2d"] {
            assert!(!line.contains(secret), "{line}");
        }
        assert!(line.starts_with("TRACE") || !line.contains("topic/"), "{line}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("packet=CONNECT")).count(), 2);
    assert!(lines.iter().filter(|line| line.contains("topic/x")).count() >= 6);
}

/// And an inspector beside it, or without it.
#[tokio::test(start_paused = true)]
async fn packets_are_for_those_who_ask_for_them() {
    for max in [LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE] {
        let (recorder, _guard) = Recorder::start(max);
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let into = Arc::clone(&seen);
        let broker = TestBroker::in_memory(Broker::new());
        let builder = Builder::with_connector(broker.connector(1024), options("c"));
        let builder = builder.inspect(move |direction, packet, len| {
            into.lock().unwrap().push(format!("{direction:?} {} {len}", packet.packet_type()));
        });
        let client: Client<PubSub> = builder.connect().await.unwrap();
        client.publish("t", "x").qos(QoS::AtLeastOnce).await.unwrap();
        client.disconnect(Drain::Now).await.unwrap();
        let expected = [
            "ToServer CONNECT 15",
            "ToClient CONNACK 4",
            "ToServer PUBLISH 8",
            "ToClient PUBACK 4",
            "ToServer DISCONNECT 2",
        ];
        assert_eq!(*seen.lock().unwrap(), expected);
        let packets = if max >= LevelFilter::DEBUG { 5 } else { 0 };
        assert_eq!(recorder.beginning("DEBUG way").len(), packets);
        assert_eq!(recorder.beginning("TRACE").len(), usize::from(max == LevelFilter::TRACE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_the_server_takes_back() {
    let (recorder, _guard) = Recorder::start(LevelFilter::WARN);
    let (connector, mut peers) = Peer::listen(1024);
    let client: Client<PubSub> = Builder::with_connector(connector, options("c")).start().unwrap();
    let mut status = client.status();
    let subscribe = client.subscribe("t", QoS::AtMostOnce);
    let server = async {
        for granted in [true, false] {
            let mut peer = peers.next().await.unwrap();
            peer.accept().await.unwrap();
            peer.recv().await.unwrap();
            peer.send_raw(&[0x90, 3, 0, if granted { 1 } else { 2 }, if granted { 0 } else { 0x80 }])
                .await
                .unwrap();
            if !granted {
                return peer;
            }
        }
        unreachable!()
    };
    let (stream, _peer) = tokio::join!(async { subscribe.await.unwrap() }, server);
    while !matches!(status.next().await, Some(Status::SubscriptionLost { .. })) {}
    assert_eq!(recorder.events()[1..], ["WARN subscription lost filter=\"t\""]);
    drop(stream);
}
