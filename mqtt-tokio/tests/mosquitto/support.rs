//! What the tests have in common.

use std::future::Future;
use std::time::Duration;

use mqtt_tokio::{Backoff, Drain, Options, ProtocolVersion, QoS, ReceivedMessage, Subscription};
use tokio::time::timeout;

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// What a client gets in the end for what it has accepted.
pub(crate) const DRAIN: Drain = Drain::Queue(Duration::from_secs(10));

/// Makes a test of each function, for each version.
macro_rules! in_both_versions {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod v3_1 {
            $(#[tokio::test]
            $(#[$attribute])*
            async fn $name() {
                crate::support::bounded(super::$name(mqtt_tokio::ProtocolVersion::V3_1)).await;
            })*
        }
        mod v3_1_1 {
            $(#[tokio::test]
            $(#[$attribute])*
            async fn $name() {
                crate::support::bounded(super::$name(mqtt_tokio::ProtocolVersion::V3_1_1)).await;
            })*
        }
    };
}
pub(crate) use in_both_versions;

/// Nothing hangs.
pub(crate) async fn bounded(test: impl Future<Output = ()>) {
    timeout(LIMIT, test).await.expect("the test ends in time");
}

/// Short pauses before an attempt to connect; all else is the default.
pub(crate) fn options(client_id: &str, version: ProtocolVersion) -> Options {
    let backoff = Backoff::default().initial(Duration::from_millis(10)).max(Duration::from_millis(100));
    Options::new(client_id).version(version).backoff(backoff.stable_after(Duration::ZERO))
}

/// The next message, which must come.
pub(crate) async fn next(stream: &mut Subscription) -> ReceivedMessage {
    timeout(Duration::from_secs(20), stream.next()).await.expect("a message").expect("an open stream")
}

/// Nothing comes any more.
pub(crate) async fn silent(stream: &mut Subscription) {
    if let Ok(message) = timeout(SILENCE, stream.next()).await {
        panic!("{message:?} comes too much");
    }
}
