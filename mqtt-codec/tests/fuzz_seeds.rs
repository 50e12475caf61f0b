//! The seeds of the fuzz targets, made from the table of packets and the lists below. `UPDATE_SEEDS=1 cargo test -p mqtt-codec --test
//! fuzz_seeds` writes them; without it they are compared.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mqtt_codec::{Direction, ProtocolVersion};

/// Path below the folder of seeds, and content.
type Seeds = BTreeMap<PathBuf, Vec<u8>>;

/// Steps of the target `client`: connects, publishes with QoS 1 and 2, subscribes, and lets the Server answer twice.
const BEFORE: &[u8] = b"\x00\x0a\x0c\x02\x00\x01\x00\x02hi\x02\x01\x02\x00\x02yo\x04\x01\x01\x02\x0a\x0c\x0c";
/// The Server answers all, the connection is lost, and what is left is done on the next one.
const AFTER: &[u8] = b"\x0a\x0c\x0c\x0a\x0c\x11\x00\x0a\x0c\x0a\x0c\x0a\x0c\x0a\x0c";
/// The same with the Session stored in between, and time-outs.
const STORED: &[u8] = b"\x0a\x0c\x13\x01\x00\x0a\x0c\x0a\x0c\x10\xff\x0a\x10\xff";

/// The same with messages held, the queue paused, and the Session copied.
const HELD: &[u8] = b"\x0a\x0c\x0c\x0c\x14\x00\x08\x00\x16\x01\x02\x00\x01\x00\x01q\x17\x16\x00\x0a\x0c\x0c";

/// Steps of the target `client` with manual acknowledgement: messages that come on one connection are held and
/// acknowledged there and on the next one.
const STALE: &[u8] = b"\x00\x0a\x0c\x0e\x03\x01\x0e\x04\x02\x0e\x04\x03\x14\x01\x08\x01\x11\x00\x0a\x0c\x0e\x04\x04\x14\x00\x14\x01\x08\x00\x0a";

/// The same with a store: what is saved goes out, one publish is taken back and one expires; two crashes.
const CRASHED: &[u8] = b"\x1a\x01\x0a\x0c\x1a\xff\x02\x00\x01\x00\x01q\x19\x02\x05\x18\x01\x1b\x00\x0a\x0c\x0a\x0c\x1a\x02\x1b\x00\x0a\x0c\x10\x09\x0a\x0e\x26\x0a\x10\x14\x00\x0a";

/// Texts for the target `topic`: filters, and the names that they are to be tried with.
const TOPICS: &[(&[&str], &[&str])] = &[
    (&["sport/tennis/player1/#"], &["sport/tennis/player1", "sport/tennis/player1/score/wimbledon"]),
    (&["sport/#", "#"], &["sport", "sports", "sport/"]),
    (&["sport/tennis/+"], &["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/"]),
    (&["sport/+", "+"], &["sport", "sport/"]),
    (&["+/+", "/+", "+"], &["/finance", "/"]),
    (&["#", "+/monitor/Clients"], &["$SYS/monitor/Clients", "a/monitor/Clients"]),
    (&["$SYS/#", "$SYS/monitor/+"], &["$SYS/monitor/Clients", "$SYS"]),
    (&["sport/tennis#", "sport/tennis/#/ranking", "sport+", "a/+b"], &["sport+", "#"]),
    (&["a//b", "a/+/b", "+//+", "///"], &["a//b", "///", "//"]),
    (&["A", "a", "ä/ö", "ä/+"], &["a", "ä/ö", "a\0b"]),
];

/// Behind the five bytes of a stored Session's beginning; for the target `store`.
const SESSIONS: &[(&str, &[u8])] = &[
    ("empty", b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("queued-qos0", b"\0\x01\0\0\0\x01\x08\0\x01t\0\0\0\x01p\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("queued-qos1", b"\0\x01\0\0\0\x01\xb8\0\x01t\0\0\0\x01p\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("queued-expiring", b"\0\x01\0\0\0\x01\x2c\0\0\0\0\0\0\x01\0\0\x01t\0\0\0\x01p\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("queued-qos2", b"\xff\xff\0\0\0\x01\x48\0\x01t\0\0\0\x01p\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("awaiting-puback", b"\0\x09\0\0\0\x01\x2d\0\x08\0\x01t\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("awaiting-pubrec", b"\0\x09\0\0\0\x01\x4a\0\x08\0\x01t\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("awaiting-pubcomp", b"\0\x09\0\0\0\x02\x03\0\x08\x4f\0\x09\0\x01t\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("received", b"\0\x01\0\0\0\0\0\0\0\x02\0\x05\xff\xff\0\0\0\0\0\0\0\0"),
    ("subscribe", b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x0c\0\x03\0\0\0\x01\0\x03a/#\x02\0\0\0\0"),
    ("unsubscribe", b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x01\0\0\0\x01\0\x03a/#\0\0\0\0\0"),
    ("resubscribe", b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x02\0\0\0\x01\0\x01+\x01\0\0\0\0"),
    ("subscriptions", b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x01a\x01\0\x01#\0"),
];

/// Records for the target `store`: letter and number of a key, and a value.
const RECORDS: &[(&str, &[u8])] = &[
    ("message", b"M\x01\x09\x20\0\x01t\0\0\0\x01p"),
    ("in-flight", b"M\x01\x09\x20\0\x01t\0\0\0\x01pS\x01\x0b\x01\0\x07\0\0\0\0\0\0\0\0"),
    ("released", b"S\x02\x0b\x03\0\x07\0\0\0\0\0\0\0\x01S\x01\x0b\x03\0\x08\0\0\0\0\0\0\0\x02"),
    ("expiring", b"M\x01\x08\xb0\0\x01t\0\0\0\0E\x01\x08\0\0\0\0\0\0\x01\0E\x02\x08\0\0\0\0\0\0\x01\0"),
    (
        "subscribed",
        b"F\x01\x05\0\x02a/\x01Q\x01\x09\x01\0\0\0\x01\0\x01#\0Q\x02\x09\x02\0\0\0\x01\0\x01a\x02C\0\0",
    ),
    ("received", b"R\x01\0R\x02\x08\0\0\0\0\0\0\0\x05"),
];

/// Changes of records for the target `store`: what, which, where, and more of it.
const CHANGES: &[(&str, &[u8])] = &[
    ("none", b""),
    ("removed", b"\0\x0a\0\0\x03\0"),
    ("other", b"\x03\x04\x05\x02\x04\x02\0\x0c\x01\x01\x03"),
];

/// Addresses of Servers for the target `address`.
const ADDRESSES: &[&str] = &[
    "mqtt://localhost",
    "tcp://10.0.0.1:1884/",
    "MQTT://user:p%40ss@[::1]:2000",
    "mqtt://only@host",
    "mqtt://%zz@host",
    "mqtt://host/topic",
    "mqtts://host:8883",
    "mqtt://host:65536",
    "mqtt://host:+80",
    "mqtt://h%C3%B6st-1.example.:1883",
    "mqtt://h%20h",
    "mqtt://[zz]",
    "ssl://h?client_id=a%26b&keep_alive=30",
    "ws://user:pass@h/mqtt?token=x#version=3.1",
    "wss://[::1]/#",
    "unix://u:p@/run/m%3fqtt?ack_timeout=none",
    "unix://host/run",
    "mqtt://h?will_payload=p&will_qos=1&will_retain=on&will_topic=t",
    "mqtt://h?will_payload=p",
    "mqtt://h?backoff_initial=.5&backoff_max=10&backoff_max_attempts=3&retry_refused=true",
    "mqtt://h?ack_mode=manual&oversize=skip&fallback=never&session_loss=republish_all",
];

/// Addresses of proxies for the target `address`.
const PROXIES: &[&str] = &[
    "http://proxy.local:3128",
    "http://plant:p%40ss@[::1]:80/",
    "http://proxy.local",
    "http://a%3Ab:p@h:80",
    "socks5://10.0.0.1",
    "socks5h://u:p@h:1081",
    "socks5://u@h",
    "https://h:443",
];

/// For the target `websocket`: settings, what the stream holds, pieces, and frames.
const FRAMES: &[(&str, &[u8])] = &[
    ("message", b"\0\x04\0\x82\x06\x30\x04\0\x01tp"),
    ("fragments", b"\0\x01\x02\0\x02\x02\x02\x30\x04\x89\x01a\x00\x03\0\x01t\x8a\x01b\x80\x01p"),
    ("acknowledged", b"\0\x03\0\x82\x04\x50\x02\0\x02\x82\x00\x82\x04\x70\x02\0\x02"),
    ("pings", b"\0\0\0\x89\x00\x89\x03abc\x82\x02\xd0\0\x89\x01d"),
    ("pings-unread", b"\x08\0\0\x89\x00\x89\x03abc\x82\x06\x30\x04\0\x01tp\x89\x01d"),
    ("text", b"\0\x04\0\x82\x06\x30\x04\0\x01tp\x81\x01a"),
    ("close", b"\0\x04\0\x88\x05\x03\xe9bye\x82\x02\xd0\0"),
    ("close-invalid", b"\0\x04\0\x88\x02\x03\xed"),
    ("reserved-bit", b"\0\x04\0\xc2\x00"),
    ("long-message", b"\x01\x02\x01\xff\x82\x7e\0\x83\x30\x80\x01\0\x01t"),
    ("too-large", b"\x04\x04\0\x82\x7e\0\x83"),
    ("length-too-long", b"\0\x04\0\x82\x7f\0\0\0\0\0\0\0\x80\x30\x04\0\x01tp"),
    ("huge", b"\0\x04\0\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff\x30\x04\0\x01tp"),
    ("malformed-packet", b"\0\x04\0\x82\x02\0\0"),
    ("refused", b"\x10\x04\0\x82\x04\x20\x02\0\x05"),
    ("handshake", b"\x02\x04\0HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $A\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n\x82\x04\x20\x02\0\0"),
    ("preliminary", b"\x02\x02\x01\x05HTTP/1.1 103 x\r\n\r\nHTTP/1.1 404 x\r\n\r\n"),
    ("no-http", b"\x02\x04\0\x20\x02\0\0"),
];

/// For the target `proxy`: settings, pieces, and the answers of the proxy and a Server.
const TUNNELS: &[(&str, &[u8])] = &[
    ("http", b"\x01\0HTTP/1.1 200 OK\r\nVia: x\r\n\r\n\x20\x02\0\0\x30\x04\0\x01tp"),
    ("http-password", b"\x03\x02\0\x06HTTP/1.0 200\r\n\r\n\x20\x02\0\0"),
    ("http-preliminary", b"\x01\0HTTP/1.1 100 x\r\n\r\nHTTP/1.1 299 x\r\n\r\n\x20\x02\0\x05"),
    ("http-407", b"\x01\0HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"),
    ("http-502", b"\x03\0HTTP/1.1 502 Bad Gateway\r\n\r\n"),
    ("http-line-end", b"\x01\0HTTP/1.1 200 OK\n\n"),
    ("http-carriage-return", b"\x01\0HTTP/1.1 200 OK\r\nVia: x\r\r\n\r\n\x20\x02\0\0"),
    ("socks5", b"\0\0\x05\0\x05\0\0\x01\x0a\0\0\x01\0\x50\x20\x02\0\0\x30\x04\0\x01tp"),
    ("socks5-password", b"\x02\x01\0\x05\x02\x01\0\x05\0\0\x03\x01h\0\x50\x20\x02\0\0"),
    ("socks5-ipv6", b"\x02\0\x05\0\x05\0\0\x040123456789abcdef\0\x50\x20\x02\0\0"),
    ("socks5-wrong-password", b"\x02\0\x05\x02\x01\x01"),
    ("socks5-no-way", b"\0\0\x05\xff"),
    ("socks5-refused", b"\0\0\x05\0\x05\x05\0\x01\0\0\0\0\0\0"),
    ("socks4", b"\0\0\0\x5a"),
];

/// Settings for the target `options`: flags, Will Topic, identifier, keep alive; Will, user, password; limits;
/// time-outs; back-off.
const SETTINGS: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("plain", b"\x02\0\0\0\x01c\x07\0\x3c\x10\x07\0\x64\x07\0\x10\x04\x04\x04\x04\0\x07\0\x0a\x10\x07\0\x0a\x10"),
    ("v3-1", b"\x03\0\0\0\x01c\x07\0\x3c\x10\x07\0\x64\x07\0\x10\x04\x04\x04\x04\0\x07\0\x0a\x10\x07\0\x0a\x10"),
    ("queued-and-pipelined", b"\xc2\0\0\0\x01c\x07\0\x3c\x10\x07\0\x64\x07\0\x10\x04\x04\x04\x04\0\x07\0\x0a\x10\x07\0\x0a\x10"),
    (
        "all",
        b"\x7e\0\x01w\0\x06client\0\x10\x01\0\x03bye\0\x04user\0\x04pass\x03\x03\x02\x02\x05\x02\x02\x02\x10\x02\0\x02\x02\x10\x01\x10",
    ),
    (
        "no-ack-timeout",
        b"\x02\0\0\0\x01c\x07\0\x3c\x10\x07\0\x64\x07\0\x10\x04\x04\x04\x04\0\x07\0\x0a\x10\x07\0\x0a\x10\
            \x07\0\x01\x10\x07\0\x3c\x10\x01\x01\x01\x01\x10\0\x10",
    ),
    (
        "timed",
        b"\x02\0\0\0\x01c\x07\0\x3c\x10\x07\0\x64\x07\0\x10\x04\x04\x04\x04\0\x07\0\x0a\x10\x07\0\x0a\x10\
            \x07\0\x01\x10\x07\0\x3c\x10\x01\x01\x01\x01\x53\x07\0\x1e\x10\x07\0\x04\x10\x07\0\x40\x10\x07\0\x02\x07\x27\x10\x0a",
    ),
    ("fraction", b"\x02\0\0\0\x01c\x07\0\x3c\0\x01\x07\0\x64\x07\0\x10\x04\x04\x04\x04\0\x07\0\x0a\x10\x07\0\x0a\x10"),
    ("v3-1-too-long", b"\x01\0\0\0\x18abcdefghijklmnopqrstuvwx\0\x10"),
    ("password-too-long", b"\x36\0\x01w\0\x01c\0\x10\0\xff\x01p\0\x01u\xff\xff"),
];

fn add_lists(seeds: &mut Seeds) {
    // To a Server that expects 3.1.1: a CONNECT of 3.1, and a SUBSCRIBE with DUP, which only that has.
    let old = b"\x02\x00\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a\x8a\x06\x00\x01\x00\x01a\x00";
    seeds.insert("split/connect-v3-1".into(), old.to_vec());
    seeds.insert("client/stale".into(), [b"\x04\xfc\x07", STALE].concat());
    for (number, (filters, names)) in TOPICS.iter().enumerate() {
        let kinds = filters.iter().map(|text| (1_u8, text)).chain(names.iter().map(|text| (3, text)));
        let texts = kinds.flat_map(|(kind, text)| [&[kind, text.len() as u8], text.as_bytes()].concat());
        // And the first filter taken out, spelled with few letters.
        let content: Vec<u8> = texts.chain(*b"\x00\x03\0\x02\x04\x04\x03\0\x02\x04").collect();
        seeds.insert(format!("topic/{number:02}").into(), content);
    }
    for (number, (name, session)) in SESSIONS.iter().enumerate() {
        // All but a clean Session, with which the rest means little.
        let settings = (number as u8).wrapping_mul(0x25) & !2;
        seeds.insert(format!("store/{name}").into(), [&[settings], &b"MQS\x02\0"[..], session].concat());
    }
    for (kind, lists) in [("MQR", RECORDS), ("MQX", CHANGES)] {
        for (name, content) in lists {
            seeds
                .insert(format!("store/{kind}-{name}").into(), [b"\x20", kind.as_bytes(), *content].concat());
        }
    }
    for (number, address) in ADDRESSES.iter().enumerate() {
        seeds.insert(format!("address/server-{number:02}").into(), [b"\0", address.as_bytes()].concat());
    }
    for (number, address) in PROXIES.iter().enumerate() {
        seeds.insert(format!("address/proxy-{number}").into(), [b"\x01", address.as_bytes()].concat());
    }
    for (target, lists) in [("websocket", FRAMES), ("proxy", TUNNELS)] {
        for (name, content) in lists {
            seeds.insert(Path::new(target).join(name), content.to_vec());
        }
    }
    // The names are numbered in the order of the README: identifier, version, Will, pause.
    let settings = b"\x02\x00\x01c\x03\x033.1\x13\x01t\x15\x011\x17\x030.5";
    seeds.insert("address/settings".into(), settings.to_vec());
    for (name, settings) in SETTINGS {
        seeds.insert(format!("options/{name}").into(), settings.to_vec());
    }
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    add_lists(&mut seeds);
    for (number, vector) in table::vectors().iter().enumerate() {
        let packet_type = vector.packet.as_packet().unwrap().packet_type();
        let name = format!("{number:02}-{packet_type}").to_lowercase();
        let mut add = |target, content: &[&[u8]]| {
            seeds.insert(Path::new(target).join(&name), content.concat());
        };
        let old = u8::from(vector.versions[0] == ProtocolVersion::V3_1);
        let to_server = u8::from(vector.directions[0] == Direction::ToServer);
        add("decode", &[&[old | to_server << 1], vector.bytes]);
        // Twice, byte by byte or in pieces of three and five bytes.
        let pieces = if number % 2 == 0 { &[2, 2, 4][..] } else { &[0] };
        add("split", &[&[old | to_server << 1], pieces, vector.bytes, vector.bytes]);
        // The fields of the packet are made of its bytes: not the same packet, but one with much in it.
        add("roundtrip", &[&[old, packet_type as u8 - 1], &vector.bytes[2..]]);
        if to_server == 0 {
            let after = [AFTER, STORED, HELD, CRASHED][number % 4];
            // Each setting that there is, with a journal where there is something for it.
            let more = (number as u8 & 0x1f) | if number % 4 == 3 { 0x20 } else { 0 };
            let len = vector.bytes.len() as u8;
            add(
                "hostile",
                &[
                    &[old | (number as u8 % 16) << 4, if number == 32 { 0xf0 } else { number as u8 % 8 }],
                    vector.bytes,
                    b"\xd0\x00",
                ],
            );
            add("client", &[&[old, 0xfc, more], BEFORE, &[15, len], vector.bytes, after]);
        }
    }
    seeds
}

fn read(folder: &Path, below: &Path, into: &mut Seeds) {
    let Ok(entries) = std::fs::read_dir(folder.join(below)) else { return };
    for entry in entries.map(Result::unwrap) {
        let below = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            read(folder, &below, into);
        } else {
            into.insert(below.clone(), std::fs::read(folder.join(below)).unwrap());
        }
    }
}

#[test]
fn seeds_are_those_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        for (path, content) in seeds() {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
    let mut found = Seeds::new();
    read(&folder, Path::new(""), &mut found);
    assert_eq!(found, seeds(), "UPDATE_SEEDS=1 writes the seeds; delete those that are too many");
}
