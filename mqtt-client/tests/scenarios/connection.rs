use crate::common::{Pair, Q1, kept, secs};
use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{
    Client, ConnectReturnCode, ConnectionError, Options, OptionsError, PubSub, Session, State,
};
use mqtt_codec::{Decoded, Decoder, Direction, Packet, ProtocolVersion};

#[test]
fn connack_code_6() {
    for code in [6_u8, 128, 255] {
        let mut pair: Pair = Pair::new(kept());
        pair.dial();
        let error = pair.peer_error(&format!("CONNACK {code}"));
        assert_eq!(error, ConnectionError::Refused(ConnectReturnCode::from_u8(code)));
        assert!(error.to_string().contains(&code.to_string()), "{error}");
        assert!(error.is_retryable());
    }
    for (code, retryable) in [(1, false), (2, false), (3, true), (4, false), (5, false)] {
        let mut pair: Pair = Pair::new(kept());
        pair.publish("m", Q1);
        pair.dial();
        assert_eq!(pair.peer_error(&format!("CONNACK {code}")).is_retryable(), retryable, "{code}");
        pair.expect([]);
        pair.expect_events([]);
        pair.open(false);
        pair.expect(["PUBLISH 1 q1 m"]);
    }
}

#[test]
fn loss_while_connecting() {
    let mut pair: Pair = Pair::new(kept());
    pair.dial();
    pair.cut();
    assert_eq!(pair.client.state(), State::Disconnected);
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.timeout(), Ok(()));
    pair.open(false);
}

#[test]
fn unsolicited_pingresp() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.peer("PINGRESP");
    pair.expect_events([]);
    assert_eq!(pair.client.stats().unsolicited_pingresps, 1);
    assert_eq!(pair.client.state(), State::Connected);
}

#[test]
fn ping_without_keepalive() {
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(0)));
    pair.open(false);
    assert_eq!(pair.due_in(), None);
    pair.client.ping(pair.now).unwrap();
    pair.client.ping(pair.now).unwrap();
    pair.expect(["PINGREQ"]);
    pair.peer("PINGRESP");
    pair.expect_events(["pong"]);
    assert_eq!(pair.due_in(), None);
    pair.advance(secs(100_000));
    assert_eq!(pair.timeout(), Ok(()));
    pair.expect([]);
}

fn connect_packet(options: Options, check: impl FnOnce(mqtt_codec::Connect<'_>)) {
    let mut client = Client::<PubSub>::new(options).unwrap();
    let now = mqtt_client::Time::ZERO;
    client.connect(now).unwrap();
    let mut output = client.poll_output(now);
    let bytes = output.copy_to_bytes(output.remaining());
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToServer);
    match decoder.decode(&bytes).unwrap() {
        Decoded::Packet(Packet::Connect(connect), len) => {
            assert_eq!(len, bytes.len());
            check(connect);
        }
        other => panic!("{other:?}"),
    }
}

fn password(password: impl Into<Bytes>) {
    let password = password.into();
    connect_packet(Options::new("c").credentials("näme", Some(password.clone())), |connect| {
        let credentials = connect.credentials.unwrap();
        assert_eq!(credentials.username.as_str(), "näme");
        assert_eq!(credentials.password.unwrap().as_bytes(), password);
    });
}

#[test]
fn nonascii_password() {
    password("pässwörd € 🔑");
}

#[test]
fn binary_password() {
    password((0..=255).collect::<Vec<u8>>());
    password(Bytes::new());
    password(vec![0; 65_535]);
    let too_long = Options::new("c").credentials("n", Some(vec![0; 65_536]));
    assert_eq!(Client::<PubSub>::new(too_long).err(), Some(OptionsError::PasswordTooLong));
    connect_packet(Options::new("").credentials("n", None::<Bytes>), |connect| {
        assert_eq!(connect.credentials.unwrap().password, None);
    });
}

#[test]
fn slow_reader_is_not_a_dead_server() {
    let mut pair: Pair = Pair::new(kept().keep_alive(secs(30)).pingresp_timeout(secs(10)));
    pair.open(false);
    pair.client.ping(pair.now).unwrap();
    pair.expect(["PINGREQ"]);
    pair.client.pause_input(pair.now);
    for _ in 0..100 {
        pair.advance(pair.due_in().unwrap());
        assert_eq!(pair.timeout(), Ok(()), "the PINGRESP may be among what we do not read");
        pair.expect(["PINGREQ"]);
        assert!(pair.due_in() > Some(secs(0)), "time-outs move forward");
    }
    pair.client.resume_input(pair.now);
    pair.advance(secs(9));
    assert_eq!(pair.timeout(), Ok(()));
    // From here on it counts again.
    pair.advance(secs(1));
    assert_eq!(pair.timeout(), Err(ConnectionError::PingrespTimeout));
    assert_eq!(pair.client.state(), State::Disconnected);
}

#[test]
fn reset_not_fatal() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.publish("m", Q1);
    for _ in 0..5 {
        pair.take(3);
        pair.cut();
        pair.cut();
        pair.open(true);
    }
    pair.expect(["PUBLISH 1 q1 dup m"]);
}

#[test]
fn password_in_debug() {
    const SECRET: &str = "tr0ub4dor";
    let no_secret = |text: String, what: &str| {
        assert!(!text.contains(SECRET), "{what}: {text}");
        // Nor its bytes as numbers.
        assert!(!text.contains("116, 114, 48"), "{what}: {text}");
    };
    let will = mqtt_client::Will::new(crate::common::topic("w"), SECRET);
    let options = kept().credentials("user", Some(SECRET)).will(will);
    no_secret(format!("{options:?} {options:#?}"), "options");
    let mut pair: Pair = Pair::new(options.clone());
    no_secret(format!("{:?}", pair.client), "disconnected");
    pair.client.connect(pair.now).unwrap();
    no_secret(format!("{:?} {:?}", pair.client, pair.client.clone().poll_output(pair.now)), "connecting");
    pair.take(5);
    no_secret(format!("{:#?}", pair.client), "half a CONNECT");
    let sent = pair.sent();
    assert_eq!(sent, ["CONNECT kept"]);
    no_secret(format!("{:?}", pair.client), "after the CONNECT");
    let error = pair.peer_error("CONNACK 4");
    no_secret(format!("{error:?} {error}"), "the refusal");
    no_secret(format!("{:?}", pair.client.session()), "session");
    // Payloads are not shown either.
    pair.publish(SECRET, Q1);
    pair.open(false);
    no_secret(format!("{:?}", pair.client), "a payload");
    let full = pair.client.publish(crate::common::message(SECRET, Q1)).map_err(|error| format!("{error:?}"));
    no_secret(format!("{full:?}"), "an error with a message");
    for bad in [options.clone().client_id_for_test(), options.keep_alive(secs(70_000))] {
        let error = Client::<PubSub>::new(bad).unwrap_err();
        no_secret(format!("{error:?} {error}"), "an error of the options");
    }
    no_secret(format!("{:?}", Session::new()), "session");
}

trait ForTest {
    fn client_id_for_test(self) -> Self;
}

impl ForTest for Options {
    /// The same options with one that is wrong.
    fn client_id_for_test(self) -> Self {
        self.max_in_flight(0)
    }
}
