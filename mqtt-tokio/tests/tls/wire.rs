//! What a client writes: TLS records only, and few of them.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use mqtt_tokio::testing::{Broker, TestBroker};
use mqtt_tokio::{Builder, Client, Connector, Drain, Options, PubSub, QoS, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Ca;
use crate::server::{Record, Recorded, connect_recorded, server};

const HANDSHAKE_OR_DATA: [u8; 3] = [20, 22, 23];

#[tokio::test]
async fn a_hundred_slices_are_one_record_and_one_write() {
    let ca = Ca::new("ours");
    let server = Arc::new(server(&ca.issue("a.b")));
    let (client, accepted, record) = connect_recorded(&Tls::new().ca(ca.pem), &server, "a.b").await;
    let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap());
    let (before, writes) = {
        let record = record.lock().unwrap();
        (record.records().len(), record.writes)
    };
    let packet = [7; 100];
    let slices = [IoSlice::new(&packet); 100];
    assert!(client.is_write_vectored());
    assert_eq!(client.write_vectored(&slices).await.unwrap(), 10_000);
    client.flush().await.unwrap();
    accepted.read_exact(&mut [0; 10_000]).await.unwrap();
    let record = record.lock().unwrap();
    assert_eq!((record.records().len() - before, record.writes - writes), (1, 1));
}

/// A whole client over TLS: what it has to say is encrypted, and a batch of messages is a few writes.
#[tokio::test]
async fn a_client_writes_nothing_but_records_and_batches_them() {
    let ca = Ca::new("ours");
    let broker = Arc::new(TestBroker::in_memory(Broker::new()));
    let acceptor = TlsAcceptor::from(Arc::new(server(&ca.issue("a.b"))));
    let tls = Tls::new().ca(ca.pem);
    let record = Arc::new(Mutex::new(Record::default()));
    let connector = {
        let (broker, record) = (broker.clone(), record.clone());
        Connector::new(move || {
            let (tls, acceptor, broker, record) =
                (tls.clone(), acceptor.clone(), broker.clone(), record.clone());
            async move {
                let (near, far) = tokio::io::duplex(1 << 20);
                let stream = Recorded { stream: near, record };
                let (client, accepted) =
                    tokio::join!(tls.handshake(Box::new(stream), "a.b"), acceptor.accept(far));
                broker.serve(accepted?);
                Ok(client?)
            }
        })
    };
    let options = Options::new("top-secret").credentials("top-secret", Some("top-secret"));
    let client: Client<PubSub> = Builder::with_connector(connector, options).connect().await.unwrap();
    let mut stream = client.subscribe("top-secret/#", QoS::ExactlyOnce).await.unwrap();
    let writes = record.lock().unwrap().writes;
    let receipts: Vec<_> = (0..100)
        .map(|_| {
            client.try_publish(mqtt_tokio::Message::new("top-secret/a".try_into().unwrap(), "top-secret"))
        })
        .collect();
    for _ in receipts {
        assert_eq!(stream.next().await.unwrap().payload(), b"top-secret");
    }
    let written = record.lock().unwrap().writes - writes;
    assert!(written <= 4, "{written} writes for 100 messages");
    client.disconnect(Drain::Now).await.unwrap();

    let record = record.lock().unwrap();
    let kinds = record.records();
    assert!(kinds.iter().all(|kind| HANDSHAKE_OR_DATA.contains(kind)), "{kinds:?}");
    assert!(!record.bytes.windows(10).any(|bytes| bytes == b"top-secret"));
}
