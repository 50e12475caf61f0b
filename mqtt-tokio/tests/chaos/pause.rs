//! An application that does not read for a while.

use std::time::Duration;

use mqtt_tokio::{Client, Drain, Options, ProtocolVersion, PubSub, QoS, Status};
use tokio::time::{sleep, timeout};

/// Together they are more than the system holds for a connection.
const COUNT: u32 = 400;
const LEN: usize = 64 * 1024;

/// For so many PINGREQs nobody reads: the second is due when the PINGRESP deadline is long over.
const PINGS: u64 = 3;

const LIMIT: Duration = Duration::from_secs(30);

/// However long the application does not read, the connection to the server at `port` stays, and all messages come.
pub(crate) async fn ends_no_connection(port: u16, version: ProtocolVersion) {
    let uri = format!("mqtt://127.0.0.1:{port}");
    let options = Options::new("reader")
        .version(version)
        .keep_alive(Duration::from_secs(1))
        .pingresp_timeout(Duration::from_millis(300));
    let reader = Client::<PubSub>::connect(&uri, options).await.unwrap();
    let mut status = reader.status();
    let mut inbox = reader.subscribe("pause", QoS::AtLeastOnce).buffer(1).await.unwrap();
    let writer = Client::<PubSub>::connect(&uri, Options::new("writer").version(version)).await.unwrap();
    let all = async {
        for number in 0..COUNT {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(LEN, 0);
            writer.publish("pause", payload).qos(QoS::AtLeastOnce).await.unwrap();
        }
        let pings = reader.stats().pingreqs;
        while reader.stats().pingreqs < pings + PINGS {
            sleep(Duration::from_millis(20)).await;
        }
        for number in 0..COUNT {
            let message = inbox.next().await.unwrap();
            assert_eq!(message.payload().first_chunk(), Some(&number.to_be_bytes()));
        }
    };
    timeout(LIMIT, all).await.expect("the test ends in time");
    reader.disconnect(Drain::Now).await.unwrap();
    while let Some(status) = status.next().await {
        assert!(matches!(status, Status::Connected { .. } | Status::Disconnected), "{status:?}");
    }
    writer.disconnect(Drain::Now).await.unwrap();
}
