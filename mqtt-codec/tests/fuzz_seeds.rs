//! The seeds of the fuzz targets, made from the table of packets. `UPDATE_SEEDS=1 cargo test -p mqtt-codec --test
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

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (number, vector) in table::vectors().iter().enumerate() {
        let packet_type = vector.packet.as_packet().unwrap().packet_type();
        let name = format!("{number:02}-{packet_type}").to_lowercase();
        let mut add = |target, content: &[&[u8]]| {
            seeds.insert(Path::new(target).join(&name), content.concat());
        };
        let old = u8::from(vector.versions[0] == ProtocolVersion::V3_1);
        let to_server = u8::from(vector.directions[0] == Direction::ToServer);
        add("decode", &[&[old | to_server << 1], vector.bytes]);
        // The fields of the packet are made of its bytes: not the same packet, but one with much in it.
        add("roundtrip", &[&[old, packet_type as u8 - 1], &vector.bytes[2..]]);
        if to_server == 0 {
            let after = if number % 2 == 0 { AFTER } else { STORED };
            let len = vector.bytes.len() as u8;
            add("client", &[&[old, 0xfc], BEFORE, &[15, len], vector.bytes, after]);
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
