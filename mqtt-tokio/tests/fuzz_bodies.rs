//! The bodies of the fuzz targets that concern this crate, as ordinary tests: over their seeds, the seeds cut and
//! changed, and random bytes. The others are in `mqtt-client/tests/fuzz_bodies.rs`.

#[cfg(any(feature = "ws", feature = "proxy"))]
#[path = "../../fuzz/bodies/adapter.rs"]
mod adapter;
#[path = "../../fuzz/bodies/address.rs"]
mod address;
#[path = "../../fuzz/bodies/input.rs"]
mod input;
#[path = "../../fuzz/bodies/options.rs"]
mod options;
#[cfg(feature = "proxy")]
#[path = "../../fuzz/bodies/proxy.rs"]
mod proxy;
#[path = "../../fuzz/bodies/seeds.rs"]
mod seeds;
#[path = "../../fuzz/bodies/split.rs"]
mod split;
#[cfg(feature = "ws")]
#[path = "../../fuzz/bodies/websocket.rs"]
mod websocket;
#[cfg(any(feature = "ws", feature = "proxy"))]
#[path = "../../fuzz/bodies/wire.rs"]
mod wire;

use proptest::{collection::vec, prelude::*};

#[test]
fn split_seeds() {
    seeds::run("split", split::run);
}

#[test]
fn options_seeds() {
    seeds::run("options", options::run);
}

#[test]
fn address_seeds() {
    seeds::run("address", address::run);
}

#[cfg(feature = "ws")]
#[test]
fn websocket_seeds() {
    seeds::run("websocket", websocket::run);
}

#[cfg(feature = "proxy")]
#[test]
fn proxy_seeds() {
    seeds::run("proxy", proxy::run);
}

proptest! {
    #[test]
    fn split_random_bytes(data in vec(any::<u8>(), 0..200)) {
        split::run(&data);
    }

    #[test]
    fn options_random_bytes(data in vec(any::<u8>(), 0..300)) {
        options::run(&data);
    }

    #[test]
    fn address_random_bytes(data in vec(any::<u8>(), 0..100)) {
        address::run(&data);
    }

    #[test]
    fn random_addresses(
        front in "\0(mqtts?|TCP|wss?|unix|x)://([a%4:0@]{0,6}@)?",
        place in "\\[?[2a-c:.%]{0,6}\\]?(:[0-9]{0,6})?",
        tail in "(/[a%4]{0,6})?(\\?[a=]{0,2})?([?#]pipeline=on)?",
    ) {
        address::run((front + &place + &tail).as_bytes());
    }
}

#[cfg(feature = "proxy")]
proptest! {
    #[test]
    fn random_proxies(text in "\x01(http|socks5h?)://([a%4:0@]{0,6}@)?\\[?[2a-c:.%]{0,6}\\]?(:[0-9]{0,6})?[/?#]?") {
        address::run(text.as_bytes());
    }

    #[test]
    fn proxy_random_bytes(data in vec(any::<u8>(), 0..200)) {
        proxy::run(&data);
    }
}

#[cfg(feature = "ws")]
proptest! {
    #[test]
    fn websocket_random_bytes(data in vec(any::<u8>(), 0..200)) {
        websocket::run(&data);
    }
}
