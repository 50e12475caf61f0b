//! The examples `mqtt_pub` and `mqtt_sub`, as processes, with a test broker on a loopback port.
//!
//! `cargo test` builds the examples; where only this test is run, `cargo build --examples` comes first.

use std::future::Future;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::{
    ConnectReturnCode, OwnedConnect, OwnedPacket, OwnedPublish, PacketType, TopicFilter, TopicName,
};
use mqtt_tokio::testing::{Broker, BrokerOptions, CloseReason, Faults, OnReceive, TestBroker, When};
use mqtt_tokio::{Client, Drain, Options, PubSub, QoS, Subscription};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// The program, which lies beside the tests.
fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "cargo build --examples builds {}", path.display());
    path
}

/// A tool with nothing from our environment but where the broker is.
fn tool(name: &str, broker: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command.env_clear().env("MQTT_URI", broker).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async {
        // It may end before it has read all.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let wait = async { child.wait_with_output().await.unwrap() };
    let ((), Output { status, stdout, stderr }) = at_last(async { tokio::join!(write, wait) }).await;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: status.code(), output: stdout, errors: text(&stderr) }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    output: Vec<u8>,
    errors: String,
}

impl Ended {
    /// What it printed, if all went well.
    fn ok(self) -> Vec<u8> {
        assert_eq!((self.code, self.errors.as_str()), (Some(0), ""));
        self.output
    }

    fn text(self) -> String {
        String::from_utf8(self.ok()).unwrap()
    }
}

async fn publish(broker: &TestBroker, arguments: &[&str], input: &[u8]) -> Ended {
    run(tool("mqtt_pub", &broker.uri(), arguments), input).await
}

async fn subscribe(broker: &TestBroker, arguments: &[&str]) -> Ended {
    run(tool("mqtt_sub", &broker.uri(), arguments), b"").await
}

async fn broker_with(options: BrokerOptions) -> TestBroker {
    TestBroker::start_with(Broker::with_options(options)).await.unwrap()
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A client of ours beside the tools.
async fn client(broker: &TestBroker, filter: &str) -> (Client<PubSub>, Subscription) {
    let client = Client::connect(&broker.uri(), Options::new("witness")).await.unwrap();
    let messages = client.subscribe(filter, QoS::ExactlyOnce).await.unwrap();
    (client, messages)
}

/// Makes the Session of a client that is away, with messages that wait for it.
async fn session(broker: &TestBroker, id: &str, qos: QoS, payloads: &[&str]) {
    let options = Options::new(id).clean_session(false);
    let client = Client::<PubSub>::connect(&broker.uri(), options).await.unwrap();
    let stream = client.subscribe("t/#", qos).await.unwrap();
    client.disconnect(Drain::Now).await.unwrap();
    drop(stream);
    for payload in payloads {
        broker.with(|it| it.publish(topic("t/a"), payload.to_string(), qos, false));
    }
}

/// The messages that the broker got.
fn published(broker: &TestBroker) -> Vec<OwnedPublish> {
    broker.with(|it| {
        it.log()
            .filter(|entry| entry.direction == mqtt_codec::Direction::ToServer)
            .filter_map(|entry| match &entry.packet {
                OwnedPacket::Publish(publish) => Some(publish.clone()),
                _ => None,
            })
            .collect()
    })
}

/// The latest CONNECT that the broker got.
fn connect_packet(broker: &TestBroker) -> OwnedConnect {
    broker.with(|it| {
        let connect = |packet: &OwnedPacket| match packet {
            OwnedPacket::Connect(connect) => Some(connect.clone()),
            _ => None,
        };
        it.log().rev().find_map(|entry| connect(&entry.packet)).unwrap()
    })
}

/// No test waits for ever for a tool that has ended.
async fn at_last<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing happens any more")
}

fn scratch(name: &str, content: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mqtt-command-line-{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

async fn signal(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
}

type Payloads<'p> = &'p [&'p [u8]];

#[tokio::test]
async fn each_input_with_each_qos() {
    let file = scratch("input", b"from\na file\0\xff");
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &[u8], Payloads<'_>); 9] = [
        (&["-m", "text"], b"", &[b"text"]),
        (&["-m", "-5"], b"", &[b"-5"]),
        (&["-n"], b"", &[b""]),
        (&["-f", file], b"", &[b"from\na file\0\xff"]),
        (&["-s"], b"all\nof it\n", &[b"all\nof it\n"]),
        (&["-l"], b"one\n\nthree\r\nlast", &[b"one", b"", b"three\r", b"last"]),
        (&["-l"], b"", &[]),
        (&["-m", "again", "--repeat", "3"], b"", &[b"again", b"again", b"again"]),
        (&["-m", "x", "--repeat", "2", "--repeat-delay", "0.01", "-r"], b"", &[b"x", b"x"]),
    ];
    for qos in QOS {
        for (flags, input, expected) in cases {
            let broker = TestBroker::start().await.unwrap();
            let qos_text = u8::from(qos).to_string();
            let arguments = [&["-t", "t/a", "-q", &qos_text], flags].concat();
            publish(&broker, &arguments, input).await.ok();
            let messages = published(&broker);
            let payloads: Vec<_> = messages.iter().map(|message| &message.payload[..]).collect();
            assert_eq!(payloads, expected, "{flags:?}");
            for message in messages {
                assert_eq!(message.topic.as_str(), "t/a");
                assert_eq!(message.delivery.qos(), qos);
                assert_eq!(message.retain, flags.contains(&"-r"));
            }
            let reasons = broker.with(|it| it.counters().received(PacketType::Disconnect));
            assert_eq!(reasons, 1, "{flags:?}");
        }
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn formats() {
    let cases: [(&[&str], &str); 18] = [
        (&[], "{\"a\":1}\n"),
        (&["-N"], "{\"a\":1}"),
        (&["-v"], "t/a {\"a\":1}\n"),
        (&["-F", "%t|%p|%l|%q|%r"], "t/a|{\"a\":1}|7|1|1\n"),
        (&["-F", "%x %X"], "7b2261223a317d 7B2261223A317D\n"),
        (
            &["-F", "[%6t] [%-6t] [%.2t] [%-4.1t] [%03l] [%3l] [%-3l]"],
            "[   t/a] [t/a   ] [t/] [t   ] [007] [  7] [7  ]\n",
        ),
        (&["-F", r"%%@@\\\t\n\0\e", "-N"], "%@\\\t\n\0\x1b"),
        (&["-F", "-%q"], "-1\n"),
        (&["-F", "%9p"], "  {\"a\":1}\n"),
        (&["-F", "%q%J"], "J"),
        (&["-F", "%j"], "j"),
        (&["-F", "%I"], "I"),
        (&["-F", "%U"], "U"),
        (&["-F", "@Y-@m-@dT@H:@M:@S@z|%I"], "same"),
        (&["-F", "@s.@N|%U"], "same"),
        (&["-F", "@F @T"], "F"),
        (&["-v", "-F", "%p"], "{\"a\":1}\n"),
        (&["--quiet"], "{\"a\":1}\n"),
    ];
    let broker = TestBroker::start().await.unwrap();
    broker.with(|it| it.publish(topic("t/a"), "{\"a\":1}", QoS::AtLeastOnce, true));
    for (flags, expected) in cases {
        let output = subscribe(&broker, &[&["-t", "t/#", "-q", "1", "-C", "1"], flags].concat()).await.text();
        let line = output.trim_end();
        match expected {
            "j" | "J" => {
                let (start, rest) = line.split_at(if expected == "J" { 9 } else { 8 });
                assert!(start.ends_with("{\"tst\":\""), "{line}");
                let payload = if expected == "J" { "{\"a\":1}" } else { "\"{\\\"a\\\":1}\"" };
                let end = format!(
                    "\",\"topic\":\"t/a\",\"qos\":1,\"retain\":1,\"payloadlen\":7,\"payload\":{payload}}}"
                );
                assert!(rest.ends_with(&end), "{line}");
                assert_eq!(rest.len() - end.len(), "2016-08-10T09:47:38.786368Z+0000".len());
            }
            "I" => assert_eq!(line.len(), "2016-08-10T09:47:38+0000".len()),
            "F" => assert_eq!(line.len(), "2016-08-10 09:47:38".len()),
            "U" => assert!(line.parse::<f64>().unwrap() > 1.7e9, "{line}"),
            "same" => {
                let (left, right) = line.split_once('|').unwrap();
                assert_eq!(left, right);
            }
            expected => assert_eq!(output, expected, "{flags:?}"),
        }
    }
    for format in ["%", "%z", "@", "@!", "\\", "\\q", "%m", "%A", "%100001t"] {
        let ended = subscribe(&broker, &["-t", "t", "-F", format]).await;
        assert_eq!(ended.code, Some(2), "{format}: {}", ended.errors);
        assert!(ended.errors.starts_with("mqtt_sub: format of -F: "), "{}", ended.errors);
    }
}

#[tokio::test]
async fn json() {
    let broker = TestBroker::start().await.unwrap();
    let good = ["1", "-0.5e+3", " [1, {\"k\": [true, false, null]}]\n", "\"\\u00e9\\n\"", "{}", "[]"];
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    let bad =
        ["", "01", "1.", "-", "[1,]", "{\"k\" 1}", "{1:2}", "\"\t\"", "\"\\x\"", "tru", "1 2", "\"", &deep];
    for (index, payload) in good.iter().chain(&bad).enumerate() {
        let is_good = index < good.len() || payload.is_empty();
        let name = format!("t/{index}");
        let flags = ["-t", &name, "-C", "1", "-N", "-F", "%J"];
        if payload.is_empty() {
            // Not retained by the broker: nothing is there.
            continue;
        }
        broker.with(|it| it.publish(topic(&name), payload.to_string(), QoS::AtMostOnce, true));
        let ended = subscribe(&broker, &flags).await;
        let end = format!("\"payload\":{}}}", payload.trim());
        assert_eq!(String::from_utf8(ended.output).unwrap().ends_with(&end), is_good, "{payload:?}");
        assert_eq!(ended.errors.contains("not valid JSON"), !is_good, "{payload:?}");
    }
    broker.with(|it| it.publish(topic("q/\"\u{7f}"), "\u{1}\"\\\n\u{fc}", QoS::AtMostOnce, true));
    let output = subscribe(&broker, &["-t", "q/#", "-C", "1", "-F", "%j"]).await.text();
    assert!(output.contains(r#""topic":"q/\"\u007f""#), "{output}");
    assert!(output.contains(r#""payload":"\u0001\"\\\nü"}"#), "{output}");
}

#[tokio::test]
async fn what_is_left_out() {
    let broker = TestBroker::start().await.unwrap();
    session(&broker, "s", QoS::AtLeastOnce, &["1", "2"]).await;
    broker.with(|it| {
        it.publish(topic("t/b"), "b", QoS::AtLeastOnce, false);
        it.publish(topic("t/r"), "old", QoS::AtLeastOnce, true);
        it.publish(topic("t/a"), "3", QoS::AtLeastOnce, false);
    });
    let keep = ["-c", "-i", "s", "-t", "t/#", "-q", "1"];
    let flags = ["-C", "4", "-T", "t/b", "-T", "x/#", "-v"];
    let output = subscribe(&broker, &[&keep[..], &flags].concat()).await.text();
    assert_eq!(output, "t/a 1\nt/a 2\nt/r old\nt/a 3\n");
    let stale = subscribe(&broker, &["-t", "t/#", "-R", "-W", "0.3"]).await;
    assert_eq!((stale.code, stale.output), (Some(27), Vec::new()));
    let retained = subscribe(&broker, &["-t", "t/#", "--retained-only", "-C", "1"]).await.text();
    assert_eq!(retained, "old\n");
    session(&broker, "u", QoS::AtLeastOnce, &["new"]).await;
    let output = subscribe(&broker, &["-c", "-i", "u", "-t", "t/#", "-q", "1", "--retained-only"]).await;
    assert_eq!(output.text(), "", "a message that is not retained ends it");
}

#[tokio::test]
async fn sessions_are_made_and_unmade() {
    let broker = TestBroker::start().await.unwrap();
    let keep = ["-c", "-i", "s"];
    subscribe(&broker, &[&keep[..], &["-t", "t/a", "-t", "t/b", "-q", "2", "-E"]].concat()).await.ok();
    let filters = || broker.with(|it| it.session("s").unwrap().subscriptions);
    let filter = |text: &str| (TopicFilter::new(text).unwrap(), QoS::ExactlyOnce);
    assert_eq!(filters(), [filter("t/a"), filter("t/b")]);
    subscribe(&broker, &[&keep[..], &["-U", "t/a"]].concat()).await.ok();
    assert_eq!(filters(), [filter("t/b")]);
    let ended = subscribe(&broker, &["-c", "-t", "t"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.errors);
}

#[tokio::test]
async fn the_count_is_exact() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = TestBroker::start().await.unwrap();
        let text = ["1", "2", "3", "4", "5"];
        session(&broker, "s", qos, &text).await;
        let qos_text = u8::from(qos).to_string();
        for (count, expected) in [("2", "1\n2\n"), ("1", "3\n"), ("2", "4\n5\n")] {
            let flags = ["-c", "-i", "s", "-t", "t/#", "-q", &qos_text, "-C", count];
            assert_eq!(subscribe(&broker, &flags).await.text(), expected, "{qos:?}");
        }
        let session = broker.with(|it| it.session("s").unwrap());
        // The PUBREL of the last ones has no answer yet, and that is all.
        let released = if qos == QoS::ExactlyOnce { 2 } else { 0 };
        assert_eq!((session.in_flight, session.queued), (released, 0), "{qos:?}");
    }
}

/// A failure: its exit code and a part of what is said.
async fn fails(command: Command, input: &[u8], code: i32, message: &str) {
    let shown = format!("{command:?}");
    let ended = run(command, input).await;
    assert_eq!(ended.code, Some(code), "{shown}: {}", ended.errors);
    assert!(ended.errors.contains(message), "{shown}: {}", ended.errors);
}

#[tokio::test]
async fn exit_codes_of_connections() {
    let name = format!("mqtt://{}", "a".repeat(64));
    fails(tool("mqtt_pub", &name, &["-t", "t", "-m", "x"]), b"", 15, "cannot resolve").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let flags = ["-h", "127.0.0.1", "-p", &closed.port().to_string(), "-t", "t"];
    fails(tool("mqtt_sub", "", &flags), b"", 14, "nothing listens there").await;

    for (code, exit) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (77, 13)] {
        let broker = TestBroker::start().await.unwrap();
        broker.with(|it| it.set_faults(Faults::none().refuse_connects(2, ConnectReturnCode::from_u8(code))));
        fails(tool("mqtt_pub", &broker.uri(), &["-t", "t", "-m", "x"]), b"", exit, "refused the connection")
            .await;
    }
    let broker = TestBroker::start().await.unwrap();
    broker.with(|it| it.set_faults(Faults::none().close_before_connack(1)));
    fails(tool("mqtt_sub", &broker.uri(), &["-t", "t"]), b"", 7, "closed the network connection").await;
    broker.with(|it| it.set_faults(Faults::none().no_connack()));
    let mut command = tool("mqtt_sub", &broker.uri(), &["-t", "t"]);
    command.env("MQTT_CONNACK_TIMEOUT", "0.1");
    fails(command, b"", 14, "no CONNACK in time").await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("mqtt://{}", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 100]).await;
    };
    tokio::join!(serve, fails(tool("mqtt_sub", &address, &["-t", "t"]), b"", 21, "malformed"));
}

#[tokio::test]
async fn exit_codes_of_work() {
    let refused = BrokerOptions::new().refuse_filter(TopicFilter::new("no/#").unwrap());
    let broker = broker_with(refused).await;
    let uri = broker.uri();
    fails(tool("mqtt_sub", &uri, &["-t", "yes", "-t", "no/#"]), b"", 12, "subscription of no/#").await;
    fails(tool("mqtt_sub", &uri, &["-t", "t", "-W", "0.1"]), b"", 27, "timed out").await;
    fails(tool("mqtt_pub", &uri, &["-t", "t", "-f", "/no/such/file"]), b"", 74, "cannot open /no/such/file")
        .await;
    let long = vec![b'x'; 17 << 20];
    fails(tool("mqtt_pub", &uri, &["-t", "t", "-l"]), &long, 9, "line 1 is longer").await;
    fails(
        tool("mqtt_pub", &uri, &["-t", "t", "-m", "x", "-u", "u", "--password-file", "/no"]),
        b"",
        11,
        "/no",
    )
    .await;

    // Nobody confirms QoS 0, but it has to be written.
    let large = scratch("large", &vec![b'x'; 24 << 20]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("mqtt://{}", listener.local_addr().unwrap());
    let accept_and_read_no_more = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"\x20\x02\x00\x00").await.unwrap();
        stream
    };
    let flags = ["-t", "t", "-W", "0.5", "-f", large.to_str().unwrap()];
    let command = tool("mqtt_pub", &address, &flags);
    tokio::join!(fails(command, b"", 27, "timed out"), accept_and_read_no_more);
    std::fs::remove_file(large).unwrap();

    // Of a message with QoS 2 that was on its way when a clean session ended nobody knows what became of it.
    let faults = Faults::none().on_receive(PacketType::Publish, When::Nth(2), OnReceive::CutAfter);
    broker.with(|it| it.set_faults(faults));
    let mut command = tool("mqtt_pub", &uri, &["-t", "t", "-q", "2", "-l", "-M", "1"]);
    command.env("MQTT_BACKOFF_MAX", "0.01").env("MQTT_BACKOFF_INITIAL", "0.01");
    fails(command, b"1\n2\n3\n", 75, "1 of 3 messages not delivered").await;

    // Its connection is not accepted any more.
    let faults = Faults::none().on_receive(PacketType::Publish, When::Nth(1), OnReceive::CutBefore);
    broker.with(|it| {
        it.set_faults(faults);
        it.set_options(|options| options.authenticate(|_| ConnectReturnCode::NotAuthorized));
    });
    let broker = TestBroker::start().await.unwrap();
    let mut command = tool("mqtt_pub", &broker.uri(), &["-t", "t", "-q", "1", "-l"]);
    command.env("MQTT_BACKOFF_MAX", "0.01").env("MQTT_BACKOFF_INITIAL", "0.01");
    let (witness, mut messages) = client(&broker, "t").await;
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n").await.unwrap();
    messages.next().await.unwrap();
    broker.with(|it| it.set_options(|options| options.authenticate(|_| ConnectReturnCode::NotAuthorized)));
    broker.cut_all();
    assert_eq!(at_last(child.wait()).await.unwrap().code(), Some(5));
    drop((witness, stdin));
}

#[tokio::test]
async fn exit_codes_of_command_lines() {
    let uri = "mqtt://127.0.0.1:1";
    let cases: [(&str, &[&str], &str); 16] = [
        ("mqtt_pub", &["-t", "t"], "required"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "-l"], "cannot be used with"),
        ("mqtt_pub", &["-m", "x"], "no topic"),
        ("mqtt_pub", &["-t", "a/#", "-m", "x"], "topic \"a/#\""),
        ("mqtt_pub", &["-t", "t", "-m", "x", "-q", "3"], "0, 1 or 2"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "--insecure"], "anybody can be the server"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "-D", "publish", "x", "y"], "MQTT 5"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "-V", "mqttv5"], "does not speak MQTT 5"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "-P", "p"], "needs a user name"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "--will-qos", "1"], "--will-topic"),
        ("mqtt_pub", &["-t", "t", "-m", "x", "-c"], "-i ID"),
        ("mqtt_pub", &["-t", "t", "-l", "--repeat", "2"], "cannot be used with"),
        ("mqtt_sub", &[], "no topic"),
        ("mqtt_sub", &["-t", "#/a"], "topic filter \"#/a\""),
        ("mqtt_sub", &["-t", "t", "-L", "mqtt://h:99999"], "invalid port"),
        ("mqtt_sub", &["-t", "t", "-L", "mqtt://h", "--tls-alpn", "mqtt"], "should be mqtts://"),
    ];
    for (name, flags, message) in cases {
        fails(tool(name, uri, flags), b"", 2, message).await;
    }
    let help = run(tool("mqtt_sub", uri, &["--help"]), b"").await.text();
    assert!(help.contains("Exit codes:") && help.contains("MQTT_URI"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    assert!(!help.contains("--insecure"));
    if cfg!(not(feature = "tls")) {
        fails(tool("mqtt_sub", uri, &["-h", "h", "-t", "t", "--cafile", "x"]), b"", 10, "tls-ring").await;
        fails(tool("mqtt_sub", uri, &["-L", "mqtts://h/t"]), b"", 10, "tls-ring").await;
    }
    if cfg!(any(feature = "tls-ring", feature = "tls-aws-lc-rs")) {
        fails(tool("mqtt_sub", uri, &["-h", "h", "-t", "t", "--cafile", "/no"]), b"", 8, "cannot read /no")
            .await;
    }
    if cfg!(not(feature = "ws")) {
        fails(tool("mqtt_sub", uri, &["-t", "t", "--ws=/x"]), b"", 10, "feature ws").await;
    }
    if cfg!(not(feature = "proxy")) {
        fails(tool("mqtt_sub", uri, &["-t", "t", "--proxy", "socks5h://h"]), b"", 10, "feature proxy").await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn signals() {
    let broker = TestBroker::start().await.unwrap();
    broker.with(|it| it.publish(topic("t/r"), "old", QoS::AtMostOnce, true));
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = tool("mqtt_sub", &broker.uri(), &["-t", "t/#", "-i", "sub"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("old"));
        let connection = broker.with(|it| it.connection_of("sub")).unwrap();
        signal(&child, name).await;
        let ended = at_last(child.wait_with_output()).await.unwrap();
        assert_eq!((ended.status.code(), ended.stderr), (Some(code), Vec::new()));
        assert_eq!(broker.with(|it| it.close_reason(connection)), Some(CloseReason::Disconnect));
    }
    // Standard input stays open, and a confirmation never comes.
    let (_witness, mut messages) = client(&broker, "t/a").await;
    let faults = Faults::none().on_send(PacketType::Puback, When::Always, mqtt_tokio::testing::OnSend::Drop);
    broker.with(|it| it.set_faults(faults));
    let mut child =
        tool("mqtt_pub", &broker.uri(), &["-t", "t/a", "-l", "-q", "1", "-i", "pub"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").await.unwrap();
    assert_eq!(messages.next().await.unwrap().payload(), b"one", "a line leaves as soon as it is there");
    let connection = broker.with(|it| it.connection_of("pub")).unwrap();
    signal(&child, "-INT").await;
    assert_eq!(at_last(child.wait()).await.unwrap().code(), Some(130));
    assert_eq!(broker.with(|it| it.close_reason(connection)), Some(CloseReason::Disconnect));
    // While nobody listens at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("mqtt://{}", listener.local_addr().unwrap());
    let child = tool("mqtt_sub", &address, &["-t", "t"]).spawn().unwrap();
    let _stream = listener.accept().await.unwrap();
    signal(&child, "-INT").await;
    assert_eq!(at_last(child.wait_with_output()).await.unwrap().status.code(), Some(130));
}

#[cfg(unix)]
#[tokio::test]
async fn a_closed_pipe_is_no_error_and_nothing_is_lost() {
    let broker = TestBroker::start().await.unwrap();
    session(&broker, "s", QoS::AtLeastOnce, &["1", "2", "3"]).await;
    let flags = ["-c", "-i", "s", "-t", "t/#", "-q", "1"];
    // Closed before the tool begins. (A pipe of its own could live on for a moment in a process that another test spawns.)
    let (output, reader) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reader);
    let mut command = tool("mqtt_sub", &broker.uri(), &flags);
    command.stdout(std::os::fd::OwnedFd::from(output));
    let ended = at_last(command.spawn().unwrap().wait_with_output()).await.unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
    let output = subscribe(&broker, &[&flags[..], &["-C", "3"]].concat()).await.text();
    assert_eq!(output, "1\n2\n3\n", "what nobody read was not acknowledged");
}

#[tokio::test]
async fn what_is_secret_is_not_shown() {
    let broker = broker_with(BrokerOptions::new().user("u", "right")).await;
    let address = broker.addr();
    let url = |path: &str| format!("mqtt://u:s3cret@{address}{path}");
    let file = scratch("password", b"s3cret\n");
    let file = file.to_str().unwrap();
    let pub_flags = ["-t", "t", "-m", "hidden", "-d", "-q", "1"];
    for flags in [
        &["-u", "u", "-P", "s3cret"][..],
        &["-u", "u", "--password-file", file],
        &["-L", &url("")],
        &["-L", &url("?keep_alive=s3cret")],
        &["-L", &format!("{}x", url(""))],
        &["-u", "u", "-P", "right", "--will-topic", "w", "--will-payload", "s3cret"],
    ] {
        let ended = publish(&broker, &[&pub_flags[..], flags].concat(), b"").await;
        assert!(!ended.errors.contains("s3cret") && !ended.errors.contains("hidden"), "{}", ended.errors);
        assert!(!ended.errors.is_empty());
    }
    let mut command = tool("mqtt_pub", &url(""), &pub_flags);
    command.env("MQTT_PASSWORD", "s3cret").env("MQTT_USERNAME", "u").env("MQTT_KEEP_ALIVE", "s3cret");
    let ended = run(command, b"").await;
    assert!(!ended.errors.contains("s3cret"), "{}", ended.errors);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn the_environment() {
    let broker = TestBroker::start().await.unwrap();
    let run_with = async |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = tool("mqtt_pub", &broker.uri(), &[&["-t", "t", "-m", "x"], flags].concat());
        command.envs(variables.iter().copied());
        run(command, b"").await.ok();
        let connect = connect_packet(&broker);
        let credentials = connect.credentials.as_ref().map(|it| {
            let password = it.password.as_ref().map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
            (it.username.as_str().to_owned(), password)
        });
        (connect.client_id.as_str().to_owned(), connect.keep_alive, credentials)
    };
    let login = |name: &str, password: Option<&str>| Some((name.to_owned(), password.map(str::to_owned)));
    let file = scratch("environment", b"filed\n");
    let variables = [
        ("MQTT_CLIENT_ID", "env"),
        ("MQTT_KEEP_ALIVE", "33"),
        ("MQTT_USERNAME", "name"),
        ("MQTT_PASSWORD", "word"),
        // What a cluster sets.
        ("MQTT_PORT", "tcp://10.0.0.1:1883"),
        ("MQTT_SERVICE_HOST", "10.0.0.1"),
    ];
    let env = |text: &str| text.to_owned();
    assert_eq!(run_with(&variables, &[]).await, (env("env"), 33, login("name", Some("word"))));
    let flags = ["-i", "flag", "-k", "44", "-u", "other", "-P", "pass"];
    assert_eq!(run_with(&variables, &flags).await, (env("flag"), 44, login("other", Some("pass"))));
    let url = format!("mqtt://url:part@{}?keep_alive=55", broker.addr());
    assert_eq!(run_with(&variables, &["-L", &url]).await, (env("env"), 55, login("url", Some("part"))));
    let flags = ["-L", &url, "-k", "66", "-P", "mine"];
    assert_eq!(run_with(&variables, &flags).await, (env("env"), 66, login("url", Some("mine"))));
    let url = format!("mqtt://url@{}", broker.addr());
    let filed = [("MQTT_PASSWORD_FILE", file.to_str().unwrap())];
    let (_, keep_alive, credentials) = run_with(&filed, &["-L", &url]).await;
    assert_eq!((keep_alive, credentials), (60, login("url", Some("filed"))));
    let (_, _, credentials) = run_with(&filed, &["-u", "u"]).await;
    assert_eq!(credentials, login("u", Some("filed")));
    let servers = format!("mqtt://127.0.0.1:1 {}", broker.uri());
    let (id, _, credentials) = run_with(&[("MQTT_URI", &servers)], &[]).await;
    assert!(id.starts_with("mqtt_pub-") && credentials.is_none(), "{id}");
    let (prefixed, ..) = run_with(&[], &["-I", "p-"]).await;
    assert!(prefixed.strip_prefix("p-").unwrap().parse::<u32>().is_ok(), "{prefixed}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn what_the_server_is_told() {
    let broker = TestBroker::start().await.unwrap();
    let (host, port) = ("127.0.0.1", broker.addr().port().to_string());
    let address = ["-h", host, "-p", &port, "-A", "127.0.0.1"];
    let will = ["--will-topic", "w/&=", "--will-payload", "a b&c=d%", "--will-qos", "2", "--will-retain"];
    let flags = ["-t", "t", "-n", "-V", "31", "-i", "id&=%", "-c", "-k", "0"];
    publish(&broker, &[&address[..], &will, &flags].concat(), b"").await.ok();
    let connect = connect_packet(&broker);
    let sent_will = connect.will.unwrap();
    assert_eq!((sent_will.topic.as_str(), sent_will.payload.as_bytes()), ("w/&=", &b"a b&c=d%"[..]));
    assert_eq!((sent_will.qos, sent_will.retain), (QoS::ExactlyOnce, true));
    assert_eq!(connect.version, mqtt_codec::ProtocolVersion::V3_1);
    assert_eq!((connect.client_id.as_str(), connect.clean_session, connect.keep_alive), ("id&=%", false, 0));
    publish(&broker, &["-t", "t", "-n", "-V", "mqttv31"], b"").await.ok();
    assert!(connect_packet(&broker).client_id.as_str().starts_with("mqtt_pub-"));
    // The topic may stand in the address, wildcards too.
    broker.with(|it| it.publish(topic("a/b/c"), "x", QoS::AtMostOnce, true));
    let url = format!("mqtt://{host}:{port}/a/+/#");
    assert_eq!(subscribe(&broker, &["-L", &url, "-C", "1", "-v"]).await.text(), "a/b/c x\n");
}

#[tokio::test]
async fn nothing_is_lost_over_lost_connections() {
    let lines: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let input = lines.join("\n");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = TestBroker::start().await.unwrap();
        let (_witness, mut messages) = client(&broker, "t").await;
        let faults = Faults::none()
            .on_receive(PacketType::Publish, When::Nth(500), OnReceive::CutAfter)
            .on_receive(PacketType::Publish, When::Nth(1500), OnReceive::CutBefore)
            .on_receive(PacketType::Pubrel, When::Nth(700), OnReceive::CutAfter);
        let connection_faults = faults.clone();
        broker.with(|it| it.set_faults(connection_faults));
        let qos_text = u8::from(qos).to_string();
        let mut command =
            tool("mqtt_pub", &broker.uri(), &["-t", "t", "-l", "-q", &qos_text, "-c", "-i", "p", "--quiet"]);
        command.env("MQTT_BACKOFF_MAX", "0.01").env("MQTT_BACKOFF_INITIAL", "0.01");
        let read = async {
            let mut received: Vec<Bytes> = Vec::new();
            while received.last().is_none_or(|last| last != lines.last().unwrap()) {
                let payload = messages.next().await.unwrap().into_payload();
                // With QoS 1 some come twice.
                if qos == QoS::ExactlyOnce || !received.contains(&payload) {
                    received.push(payload);
                }
            }
            received
        };
        let (ended, received) = at_last(async { tokio::join!(run(command, input.as_bytes()), read) }).await;
        ended.ok();
        assert!(received.iter().eq(lines.iter()), "{qos:?}");
        assert!(broker.with(|it| it.counters().connections) >= 3);
    }
}

#[tokio::test]
async fn debug_output() {
    let broker = TestBroker::start().await.unwrap();
    let flags =
        ["-d", "-i", "p", "-t", "t", "-m", "12345", "-q", "2", "-u", "u", "-P", "w", "--will-topic", "w"];
    assert_eq!(
        publish(&broker, &flags, b"").await.errors,
        "Client p sending CONNECT (MQTT 3.1.1, c1, k60, will 'w' (0 bytes))\n\
         Client p received CONNACK (0, session present: 0)\n\
         Client p sending PUBLISH (d0, q2, r0, m1, 't', ... (5 bytes))\n\
         Client p received PUBREC (m1)\n\
         Client p sending PUBREL (m1)\n\
         Client p received PUBCOMP (m1)\n\
         Client p sending DISCONNECT\n"
    );
    broker.with(|it| it.publish(topic("t/\u{7f}"), "x", QoS::AtLeastOnce, true));
    let flags = ["-d", "-i", "s", "-t", "t/#", "-t", "u", "-q", "1", "-U", "v", "-C", "1"];
    assert_eq!(
        subscribe(&broker, &flags).await.errors,
        "Client s sending CONNECT (MQTT 3.1.1, c1, k60)\n\
         Client s received CONNACK (0, session present: 0)\n\
         Client s sending UNSUBSCRIBE (m1, 'v')\n\
         Client s received UNSUBACK (m1)\n\
         Client s sending SUBSCRIBE (m2, 't/#' q1, 'u' q1)\n\
         Client s received SUBACK (m2, q1, q1)\n\
         Client s received PUBLISH (d0, q1, r1, m1, 't/\\u{7f}', ... (1 bytes))\n\
         Client s sending PUBACK (m1)\n\
         Client s sending DISCONNECT\n"
    );
}

/// The most memory that a process had, in bytes.
#[cfg(target_os = "linux")]
fn peak(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_is_bounded_however_long_the_input_is() {
    const LINES: usize = 100_000;
    let broker = broker_with(BrokerOptions::new().max_log_len(0)).await;
    let (_witness, mut messages) = client(&broker, "t").await;
    let mut child = tool("mqtt_pub", &broker.uri(), &["-t", "t", "-l", "-q", "1"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async {
        let mut line = vec![b'x'; 500];
        line.push(b'\n');
        let block = line.repeat(100);
        for _ in 0..LINES / 100 {
            stdin.write_all(&block).await.unwrap();
        }
        stdin
    };
    let read = async {
        for _ in 0..LINES {
            messages.next().await.unwrap();
        }
    };
    let (stdin, ()) = at_last(async { tokio::join!(write, read) }).await;
    let peak = peak(&child);
    assert!(peak < 24 << 20, "{} KiB for {} KiB of input", peak >> 10, (LINES * 501) >> 10);
    drop(stdin);
    assert_eq!(at_last(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_slow_reader_does_not_cost_the_connection() {
    let broker = TestBroker::start().await.unwrap();
    let payload = "x".repeat(50_000);
    session(&broker, "s", QoS::AtLeastOnce, &vec![payload.as_str(); 50]).await;
    // More than a pipe holds, and a keep alive that is soon over.
    let flags = ["-c", "-i", "s", "-t", "t/#", "-q", "1", "-k", "1", "-C", "50"];
    let mut child = tool("mqtt_sub", &broker.uri(), &flags).spawn().unwrap();
    at_last(async {
        while broker.with(|it| it.counters().received(PacketType::Pingreq)) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).await.unwrap();
    assert_eq!(output.len(), 50 * 50_001);
    assert_eq!(at_last(child.wait()).await.unwrap().code(), Some(0));
    assert_eq!(broker.with(|it| it.counters().connections), 2);
}
