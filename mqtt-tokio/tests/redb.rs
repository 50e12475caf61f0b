//! The store in a file of redb.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{broker, builder, options, secs, topic, with_peer_of};
use mqtt_codec::{Delivery, OwnedPacket, OwnedPublish, PacketId};
use mqtt_tokio::redb::{self, Database, ReadableTableMetadata, TableDefinition, TableHandle};
use mqtt_tokio::{
    AckError, AckMode, Builder, Client, ConnectionError, Connector, Drain, Message, PubSub, PublishError,
    QoS, RedbStore, SessionStore, StoreError,
};
use tokio::io::DuplexStream;

/// A table of the application.
const READINGS: TableDefinition<'_, u64, &str> = TableDefinition::new("readings");

/// A file that is removed in the end.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("mqtt-tokio-redb-{}-{number}", std::process::id())))
    }

    fn open(&self) -> RedbStore {
        RedbStore::open(&self.0, "c").unwrap()
    }

    fn readings(&self) -> u64 {
        let database = Database::open(&self.0).unwrap();
        let transaction = database.begin_read().unwrap();
        transaction.open_table(READINGS).map_or(0, |table| table.len().unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A client that reaches nobody.
fn away(store: RedbStore) -> Client<PubSub> {
    let nobody = || std::future::ready(Err::<DuplexStream, _>(std::io::ErrorKind::NotFound.into()));
    Builder::with_connector(Connector::new(nobody), options()).store(store).start().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_client() {
    let file = File::new();
    let client = away(file.open());
    let mut receipts = Vec::new();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        receipts.push(client.publish("a", "kept").qos(qos).receipt().await.unwrap());
    }
    client.disconnect(Drain::Now).await.unwrap();
    for receipt in receipts {
        assert_eq!(receipt.await, Err(PublishError::Kept));
    }
    // The client that has ended holds the file no longer.
    let broker = broker();
    let client: Client<PubSub> = builder(&broker, 64, options()).store(file.open()).connect().await.unwrap();
    client.disconnect(Drain::Queue(secs(5))).await.unwrap();
    assert_eq!(client.stats().delivered, 2);
    assert!(file.open().load().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn clients_share_a_database() {
    let file = File::new();
    let database = Arc::new(Database::create(&file.0).unwrap());
    let store = |name| RedbStore::new(Arc::clone(&database), name);
    let one = away(store("one"));
    let two = away(store("two"));
    for (client, count) in [(one, 1), (two, 2)] {
        for _ in 0..count {
            client.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap().safe().await.unwrap();
        }
        client.disconnect(Drain::Now).await.unwrap();
    }
    assert_eq!(["one", "two", "three"].map(|name| store(name).load().unwrap().len()), [1, 2, 0]);
    // A Session that is new to a store takes the place of what it holds.
    let mut core = mqtt_client::Client::<PubSub>::new(options().journal(true)).unwrap();
    core.publish(Message::new(topic("a"), "").qos(QoS::AtLeastOnce)).unwrap();
    store("two").save(&core.poll_changes().unwrap()).unwrap();
    assert_eq!(["one", "two", "three"].map(|name| store(name).load().unwrap().len()), [1, 1, 0]);
    let tables = database.begin_read().unwrap();
    let mut names: Vec<_> = tables.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["mqtt session of one", "mqtt session of two"]);
}

#[test]
fn a_file_that_cannot_be_used_is_refused() {
    let file = File::new();
    let store = file.open();
    let error = RedbStore::open(&file.0, "other").unwrap_err();
    assert!(matches!(*error.0, redb::Error::DatabaseAlreadyOpen), "{error:?}");
    drop(store);
    std::fs::write(&file.0, "no database").unwrap();
    let error = RedbStore::open(&file.0, "c").unwrap_err();
    assert!(matches!(*error.0, redb::Error::Io(_)), "{error:?}");
}

/// A message with QoS 2 of the Server.
fn incoming(id: u16) -> OwnedPacket {
    let delivery = Delivery::ExactlyOnce { id: PacketId::new(id).unwrap(), dup: false };
    OwnedPacket::Publish(OwnedPublish { delivery, retain: false, topic: topic("in"), payload: "21".into() })
}

/// What the application makes of a message is there if and only if the acknowledgement is.
#[tokio::test(start_paused = true)]
async fn writes_go_together_with_acknowledgements() {
    let file = File::new();
    let store = file.open();
    let writes = store.writes();
    let (connector, peers) = common::peers(4096);
    let builder = Builder::with_connector(connector, options().ack_mode(AckMode::Manual)).store(store);
    let (client, mut driver, mut peer) = with_peer_of(builder, peers).await;
    let answer = async {
        let packet = peer.recv().await.unwrap();
        peer.answer(&packet).await.unwrap();
    };
    let subscribe = async { client.subscribe("in", QoS::ExactlyOnce).await };
    let (stream, ()) = tokio::join!(subscribe, answer);
    let mut stream = stream.unwrap();

    peer.send(incoming(7)).await.unwrap();
    let mut message = stream.next().await.unwrap();
    let write = |transaction: &redb::WriteTransaction| {
        transaction.open_table(READINGS)?.insert(7, "21")?;
        Ok(())
    };
    writes.acknowledge(&mut message, write).unwrap();
    assert_eq!(writes.acknowledge(&mut message, write), Err(AckError::NotDue));
    assert_eq!(peer.recv().await.unwrap(), OwnedPacket::Pubrec(PacketId::new(7).unwrap()));

    // One that fails takes the acknowledgement with it.
    peer.send(incoming(8)).await.unwrap();
    let mut message = stream.next().await.unwrap();
    let fails = |transaction: &redb::WriteTransaction| {
        transaction.open_table(READINGS)?.insert(8, "22")?;
        Err(redb::Error::Corrupted("as the test says".to_owned()).into())
    };
    writes.acknowledge(&mut message, fails).unwrap();
    let error = (&mut driver).await.unwrap().unwrap_err();
    assert!(matches!(&error, ConnectionError::Store(StoreError::Save(_))), "{error:?}");
    assert!(error.to_string().contains("as the test says"), "{error}");
    peer.expect_closed().await.unwrap();
    assert_eq!(file.readings(), 1);
    let mut kinds: Vec<_> = file.open().load().unwrap().iter().map(|(key, _)| (key[0], key[8])).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [(b'F', 1), (b'R', 7)]);
}
