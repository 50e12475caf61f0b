//! Credentials that change between two connections.

mod common;

use common::{Pair, kept, secs};
use mqtt_client::bytes::{Buf, Bytes};
use mqtt_client::{Client, Fallback, Options, ProtocolVersion, PubSub, State, Time};
use mqtt_codec::{Decoded, Decoder, Direction, Packet};

const NOW: Time = Time::ZERO;

/// User name and password of the CONNECT that the next connection begins with.
fn connect(client: &mut Client<PubSub>) -> (Option<String>, Option<Vec<u8>>) {
    client.connect(NOW).unwrap();
    let output = client.poll_output(NOW);
    let decoder = Decoder::new(ProtocolVersion::V3_1_1, Direction::ToServer);
    let Ok(Decoded::Packet(Packet::Connect(connect), _)) = decoder.decode(output.chunk()) else {
        panic!("no CONNECT");
    };
    let credentials = connect.credentials;
    let username = credentials.map(|credentials| credentials.username.as_str().to_owned());
    let password = credentials.and_then(|credentials| credentials.password);
    (username, password.map(|password| password.as_bytes().to_vec()))
}

fn set(client: &mut Client<PubSub>, username: &str, password: &'static str) {
    client.set_credentials(Some(username.into()), Some(Bytes::from_static(password.as_bytes()))).unwrap();
}

fn pair(username: &str, password: &str) -> (Option<String>, Option<Vec<u8>>) {
    (Some(username.into()), Some(password.into()))
}

#[test]
fn the_next_connect_has_the_new_credentials() {
    let mut client: Client<PubSub> = Client::new(Options::new("c").credentials("u", Some("old"))).unwrap();
    assert_eq!(connect(&mut client), pair("u", "old"));
    // While Connecting: the CONNECT that is about to go out stays as it is.
    let before: Vec<u8> = client.poll_output(NOW).chunk().to_vec();
    set(&mut client, "v", "new");
    assert!(*client.options() == Options::new("c").credentials("v", Some("new")));
    assert_eq!(client.poll_output(NOW).chunk(), before);
    client.handle_close();
    assert_eq!(connect(&mut client), pair("v", "new"));
    // While Connected.
    let len = client.poll_output(NOW).remaining();
    client.poll_output(NOW).advance(len);
    client.handle_input(&mut &b"\x20\x02\0\0"[..], NOW).unwrap();
    assert_eq!(client.state(), State::Connected);
    client.set_credentials(Some("w".into()), None).unwrap();
    assert_eq!((client.state(), client.has_output()), (State::Connected, false));
    client.handle_close();
    assert_eq!(connect(&mut client), (Some("w".into()), None));
    client.handle_close();
    client.set_credentials(None, None).unwrap();
    assert_eq!(connect(&mut client), (None, None));
}

#[test]
fn what_the_options_refuse_changes_nothing() {
    let mut client: Client<PubSub> = Client::new(Options::new("c").credentials("u", Some("old"))).unwrap();
    let before = client.clone();
    let long = Bytes::from(vec![b'x'; 65_536]);
    for (username, password, expected) in [
        (None, Some(Bytes::new()), "a password needs a user name"),
        (Some("u"), Some(long), "the password is longer"),
        (Some("u\0"), None, "user name: "),
        (Some(&"u".repeat(65_536)), None, "user name: "),
    ] {
        let error = client.set_credentials(username.map(String::from), password).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(client == before, "{error:?}");
    }
    assert_eq!(connect(&mut client), pair("u", "old"));
}

/// The packet that was prepared for MQTT 3.1 has them too.
#[test]
fn a_fallback_has_the_new_credentials() {
    let mut client: Client<PubSub> = Client::new(kept().credentials("u", Some("old"))).unwrap();
    set(&mut client, "v", "new");
    assert_eq!(connect(&mut client), pair("v", "new"));
    client.handle_input(&mut &b"\x20\x02\0\x01"[..], NOW).unwrap_err();
    assert_eq!(client.version(), ProtocolVersion::V3_1);
    assert_eq!(connect(&mut client), pair("v", "new"));
    // On 3.1 already.
    client.handle_close();
    set(&mut client, "w", "newer");
    assert_eq!(connect(&mut client), pair("w", "newer"));
}

/// Whether the Server saw the CONNECT before it closed follows from the one that was sent, not from a longer one later.
#[test]
fn a_longer_password_while_connecting_does_not_hide_a_closed_connection() {
    let options = kept().fallback(Fallback::RefusedOrClosed).keep_alive(secs(0));
    let mut pair: Pair = Pair::new(options.credentials("u", Some("old")));
    pair.client.connect(pair.now).unwrap();
    pair.take(usize::MAX);
    pair.client.set_credentials(Some("u".into()), Some(Bytes::from(vec![b'x'; 1000]))).unwrap();
    pair.cut();
    assert_eq!(pair.client.version(), ProtocolVersion::V3_1);
}

#[test]
fn no_credentials_in_debug() {
    let mut client: Client<PubSub> =
        Client::new(Options::new("c").credentials("u", Some("old-one"))).unwrap();
    set(&mut client, "u", "new-one");
    connect(&mut client);
    let mut shown = format!("{client:?} {:#?}", client.options());
    shown += &format!("{:?}", client.poll_output(NOW));
    assert!(shown.contains("redacted"));
    for secret in ["old-one", "new-one"] {
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(!shown.contains(secret) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
