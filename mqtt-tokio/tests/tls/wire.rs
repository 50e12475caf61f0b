//! What is written: few records for many slices.

use std::io::IoSlice;
use std::sync::Arc;

use mqtt_tokio::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::Ca;
use crate::server::{connect_recorded, server};

#[tokio::test]
async fn a_hundred_slices_are_one_record_and_one_write() {
    let ca = Ca::new("ours");
    let server = Arc::new(server(&ca.issue("a.b")));
    let (client, accepted, record) = connect_recorded(&Tls::new().ca(ca.pem), &server, "a.b").await;
    let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap());
    let (records, writes) = {
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
    assert_eq!((record.records().len() - records, record.writes - writes), (1, 1));
}

/// Four records of 16 KiB are in one write as well.
#[tokio::test]
async fn large_messages_are_written_64_kib_at_a_time() {
    let ca = Ca::new("ours");
    let server = Arc::new(server(&ca.issue("a.b")));
    let (client, accepted, record) = connect_recorded(&Tls::new().ca(ca.pem), &server, "a.b").await;
    let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap());
    let writes = record.lock().unwrap().writes;
    let payload = vec![7; 256 << 10];
    client.write_all(&payload).await.unwrap();
    client.flush().await.unwrap();
    accepted.read_exact(&mut vec![0; payload.len()]).await.unwrap();
    let writes = record.lock().unwrap().writes - writes;
    assert!(writes <= 5, "{writes} writes for 256 KiB");
}
