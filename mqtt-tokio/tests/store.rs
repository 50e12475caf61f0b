//! Clients with a store, over connections and clients that end in every way.

mod common;

use std::io;
use std::time::{Duration, SystemTime};

use common::{options, peers, poll_times, secs, settle, topic};
use mqtt_client::Time;
use mqtt_codec::{Connack, ConnectReturnCode, Delivery, OwnedPacket, OwnedPublish, PacketId};
use mqtt_tokio::testing::{MemoryStore, Peer};
use mqtt_tokio::{
    AckError, AckMode, Builder, Cause, Client, ConnectError, ConnectionError, Connector, DisconnectError,
    Drain, Message, Options, PubSub, PublishError, QoS, Receipt, SessionStore, Status, StoreError,
    SubscribeError,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, yield_now};

/// Lets everything happen that does not wait for the store: paused time stands still while that is held.
async fn spin() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// A client with a store, whose driver can be killed, and the Servers that it meets.
struct Life {
    client: Client<PubSub>,
    driver: JoinHandle<Result<(), ConnectionError>>,
    peers: UnboundedReceiver<Peer>,
}

impl Life {
    fn start(store: &MemoryStore, options: Options) -> Self {
        let (connector, peers) = peers(4096);
        let builder = Builder::with_connector(connector, options).store(store.clone());
        let (client, driver) = builder.build().unwrap();
        Self { client, driver: tokio::spawn(driver), peers }
    }

    /// A connection that the Server has accepted.
    async fn accepted(&mut self, session_present: bool) -> Peer {
        let mut peer = self.peers.recv().await.unwrap();
        peer.accept_with(Connack { session_present, code: ConnectReturnCode::Accepted }).await.unwrap();
        self.client.connected().await.unwrap();
        peer
    }

    async fn publish(&self, text: &'static str, qos: QoS) -> Receipt {
        self.client.publish("a", text).qos(qos).receipt().await.unwrap()
    }

    /// What is left when the process is killed: what the store has by then.
    async fn kill(self, store: &MemoryStore) -> MemoryStore {
        let left = store.after_crash();
        self.driver.abort();
        assert!(self.driver.await.unwrap_err().is_cancelled());
        left
    }
}

/// A client that reaches nobody.
fn away(store: &MemoryStore) -> Client<PubSub> {
    let nobody = || std::future::ready(Err::<DuplexStream, _>(io::ErrorKind::NotFound.into()));
    Builder::with_connector(Connector::new(nobody), options()).store(store.clone()).start().unwrap()
}

/// A client that dials for days.
fn dialling(store: &MemoryStore) -> Client<PubSub> {
    let dialling = Connector::new(std::future::pending::<io::Result<DuplexStream>>);
    let builder = Builder::with_connector(dialling, options().connack_timeout(secs(1_000_000)));
    builder.store(store.clone()).start().unwrap()
}

/// The next packet, which must be a PUBLISH.
async fn publish_at(peer: &mut Peer) -> OwnedPublish {
    match peer.recv().await.unwrap() {
        OwnedPacket::Publish(publish) => publish,
        packet => panic!("{packet:?}"),
    }
}

/// Receives a packet and answers that all goes well.
async fn confirm(peer: &mut Peer) -> OwnedPacket {
    let packet = peer.recv().await.unwrap();
    peer.answer(&packet).await.unwrap();
    packet
}

/// A message of the Server.
fn incoming(text: &'static str, qos: QoS, id: u16, dup: bool) -> OwnedPacket {
    let id = PacketId::new(id).unwrap();
    let delivery = match qos {
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        _ => Delivery::AtLeastOnce { id, dup },
    };
    OwnedPacket::Publish(OwnedPublish { delivery, retain: false, topic: topic("in"), payload: text.into() })
}

/// The kinds of the records in the store.
fn kinds(store: &MemoryStore) -> String {
    store.records().keys().map(|key| char::from(key[0])).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_on_the_wire_before_it_is_saved() {
    let store = MemoryStore::new();
    let mut life = Life::start(&store, options());
    let mut peer = life.accepted(false).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        store.hold();
        let mut receipt = life.publish("1", qos).await;
        assert!(poll_times(receipt.safe(), 100).await.is_none());
        assert!(poll_times(peer.recv(), 100).await.is_none());
        assert_eq!(kinds(&store), "");
        store.release();
        receipt.safe().await.unwrap();
        assert_eq!(kinds(&store), "MS");
        confirm(&mut peer).await;
        if qos == QoS::ExactlyOnce {
            confirm(&mut peer).await;
        }
        receipt.await.unwrap();
        settle().await;
        assert_eq!(kinds(&store), "", "what is delivered is removed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_saved_forms_the_next() {
    let store = MemoryStore::new();
    let mut life = Life::start(&store, options());
    let mut peer = life.accepted(false).await;
    settle().await;
    let before = store.batches();
    store.hold();
    let mut receipts = Vec::new();
    for _ in 0..50 {
        receipts.push(life.publish("x", QoS::AtLeastOnce).await);
        spin().await;
    }
    store.release();
    for receipt in &mut receipts {
        receipt.safe().await.unwrap();
    }
    assert_eq!(store.batches(), before + 2, "one for the first, one for all others");
    for receipt in receipts {
        confirm(&mut peer).await;
        receipt.await.unwrap();
    }
}

/// The publishes of other tasks wake the driver, though there is nothing to send before they are saved: connected,
/// while dialling, and in the pause before the next attempt.
#[tokio::test(start_paused = true)]
async fn messages_are_saved_in_every_state() {
    let store = MemoryStore::new();
    let mut life = Life::start(&store, options());
    let _peer = life.accepted(false).await;
    settle().await;
    life.publish("1", QoS::AtLeastOnce).await.safe().await.unwrap();

    let store = MemoryStore::new();
    let client = dialling(&store);
    settle().await;
    let before = tokio::time::Instant::now();
    client.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap().safe().await.unwrap();
    assert_eq!(kinds(&store), "M");
    client.disconnect(Drain::Now).await.unwrap();

    let store = MemoryStore::new();
    let client = away(&store);
    let mut status = client.status();
    assert!(matches!(status.next().await, Some(Status::Lost { .. })));
    client.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap().safe().await.unwrap();
    assert_eq!(kinds(&store), "M");
    assert!(before.elapsed() < secs(1), "no timer was waited for");
}

#[tokio::test(start_paused = true)]
async fn without_a_store_safe_is_delivered() {
    let (connector, mut peers) = peers(4096);
    // Changes that nobody would save hold nothing back.
    let builder = Builder::with_connector(connector, options().journal(true));
    let client: Client<PubSub> = builder.start().unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await.unwrap();
    let mut receipt = client.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    let packet = peer.recv().await.unwrap();
    assert!(poll_times(receipt.safe(), 100).await.is_none());
    peer.answer(&packet).await.unwrap();
    receipt.safe().await.unwrap();
    receipt.await.unwrap();
    // With QoS 0 nothing is kept in any case.
    client.publish("a", "").receipt().await.unwrap().safe().await.unwrap();
    // An error that comes first is told, and is there for the receipt too.
    let mut receipt = client.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    settle().await;
    client.disconnect(Drain::Now).await.unwrap();
    let error = receipt.safe().await;
    assert_eq!(error, Err(PublishError::Ambiguous(Cause::Discarded)));
    assert_eq!(receipt.await, error);
}

/// What was sent and not confirmed goes out again, with DUP and its identifier, then the rest, in order.
#[tokio::test(start_paused = true)]
async fn the_next_client_goes_on() {
    let store = MemoryStore::new();
    let options = options().max_in_flight(2);
    let mut life = Life::start(&store, options.clone());
    let mut peer = life.accepted(false).await;
    let mut receipts = Vec::new();
    for (text, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::AtLeastOnce)] {
        receipts.push(life.publish(text, qos).await);
    }
    let sent = [publish_at(&mut peer).await, publish_at(&mut peer).await];
    for receipt in &mut receipts {
        receipt.safe().await.unwrap();
    }
    let store = life.kill(&store).await;
    for receipt in receipts {
        assert_eq!(receipt.await, Err(PublishError::Kept));
    }

    let mut life = Life::start(&store, options);
    let mut peer = life.accepted(true).await;
    for before in sent {
        let packet = confirm(&mut peer).await;
        let OwnedPacket::Publish(publish) = packet else { panic!("{packet:?}") };
        assert!(publish.delivery.dup() && !before.delivery.dup());
        assert_eq!((publish.delivery.id(), publish.payload), (before.delivery.id(), before.payload));
    }
    let mut rest = [confirm(&mut peer).await, confirm(&mut peer).await];
    rest.sort_by_key(|packet| matches!(packet, OwnedPacket::Publish(_)));
    assert!(matches!(rest[0], OwnedPacket::Pubrel { .. }));
    let OwnedPacket::Publish(third) = &rest[1] else { panic!("{rest:?}") };
    assert!(!third.delivery.dup() && third.payload == "3");
    settle().await;
    assert_eq!((life.client.stats().delivered, kinds(&store).as_str()), (3, ""));
}

/// After a PUBREC that is saved only the PUBREL goes out again; and a message that we have is acknowledged and not
/// handed over again.
#[tokio::test(start_paused = true)]
async fn qos_2_is_doubled_in_no_direction() {
    let store = MemoryStore::new();
    let options = options().ack_mode(AckMode::Manual);
    let mut life = Life::start(&store, options.clone());
    let mut peer = life.accepted(false).await;
    drop(life.publish("1", QoS::ExactlyOnce).await);
    confirm(&mut peer).await;
    let pubrel = peer.recv().await.unwrap();
    let (stream, _) = tokio::join!(life.client.subscribe("in", QoS::ExactlyOnce), confirm(&mut peer));
    let mut stream = stream.unwrap();
    settle().await;
    peer.send(incoming("in", QoS::ExactlyOnce, 7, false)).await.unwrap();
    let mut message = stream.next().await.unwrap();
    store.hold();
    message.ack();
    assert!(poll_times(peer.recv(), 100).await.is_none(), "the PUBREC waits for the store");
    store.release();
    assert_eq!(peer.recv().await.unwrap(), OwnedPacket::Pubrec(PacketId::new(7).unwrap()));
    assert_eq!(kinds(&store), "FRS");
    let store = life.kill(&store).await;

    let (connector, peers) = peers(4096);
    let builder = Builder::with_connector(connector, options).store(store.clone());
    let (client, driver) = builder.build().unwrap();
    let subscribing = tokio::spawn({
        let client: Client<PubSub> = client.clone();
        async move { client.subscribe("in", QoS::ExactlyOnce).await }
    });
    yield_now().await;
    let mut life = Life { client, driver: tokio::spawn(driver), peers };
    let mut peer = life.accepted(true).await;
    assert_eq!(peer.recv().await.unwrap(), pubrel);
    peer.answer(&pubrel).await.unwrap();
    confirm(&mut peer).await;
    let mut stream = subscribing.await.unwrap().unwrap();
    peer.send(incoming("in", QoS::ExactlyOnce, 7, true)).await.unwrap();
    peer.answer(&OwnedPacket::Pubrec(PacketId::new(7).unwrap())).await.unwrap();
    assert_eq!(peer.recv().await.unwrap(), OwnedPacket::Pubrec(PacketId::new(7).unwrap()));
    assert_eq!(peer.recv().await.unwrap(), OwnedPacket::Pubcomp(PacketId::new(7).unwrap()));
    assert!(stream.try_next().is_none());
    settle().await;
    assert_eq!(kinds(&store), "F");
}

/// An acknowledgement is saved at a known point, with QoS 1 too, and goes out afterwards.
#[tokio::test(start_paused = true)]
async fn acknowledgements_have_their_point() {
    let store = MemoryStore::new();
    let mut life = Life::start(&store, options().ack_mode(AckMode::Manual));
    let mut peer = life.accepted(false).await;
    let (stream, _) = tokio::join!(life.client.subscribe("in", QoS::ExactlyOnce), confirm(&mut peer));
    let mut stream = stream.unwrap();
    settle().await;
    let mut marks = Vec::new();
    for (id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        let before = store.batches();
        peer.send(incoming("in", qos, id, false)).await.unwrap();
        let mut message = stream.next().await.unwrap();
        store.hold();
        marks.push(message.ack_marked().unwrap());
        assert_eq!(message.ack_marked(), Err(AckError::NotDue));
        assert!(poll_times(peer.recv(), 100).await.is_none());
        store.release();
        let packet = peer.recv().await.unwrap();
        assert!(matches!(packet, OwnedPacket::Puback(_) | OwnedPacket::Pubrec(_)), "{packet:?}");
        assert_eq!(store.batches(), before + 1);
    }
    assert!(marks[0] < marks[1]);

    // Two streams share one acknowledgement; and one of an earlier connection is none.
    let (other, _) = tokio::join!(life.client.subscribe("+", QoS::ExactlyOnce), confirm(&mut peer));
    let mut other = other.unwrap();
    peer.send(incoming("in", QoS::AtLeastOnce, 3, false)).await.unwrap();
    let mut message = stream.next().await.unwrap();
    assert_eq!(message.ack_marked(), Err(AckError::Shared));
    other.next().await.unwrap().ack();
    drop(peer);
    let _peer = life.accepted(true).await;
    assert_eq!(message.ack_marked(), Err(AckError::NotDue));
}

#[tokio::test(start_paused = true)]
async fn closing_saves_what_is_left_and_keeps_it() {
    // Away, and connected to a Server that answers nothing.
    for connected in [false, true] {
        let store = MemoryStore::new();
        let mut life = Life::start(&store, options());
        let mut peer = if connected { Some(life.accepted(false).await) } else { None };
        settle().await;
        store.hold();
        let mut receipt = life.publish("1", QoS::ExactlyOnce).await;
        let subscribed = life.client.subscribe("in", QoS::AtLeastOnce);
        let mut closing = Box::pin(async { tokio::join!(life.client.disconnect(Drain::Now), subscribed) });
        assert!(poll_times(&mut closing, 300).await.is_none());
        assert_eq!(kinds(&store), "");
        store.release();
        let (closed, subscribed) = closing.await;
        closed.unwrap();
        assert_eq!(kinds(&store), if connected { "MS" } else { "M" });
        receipt.safe().await.unwrap();
        assert_eq!(receipt.await, Err(PublishError::Kept));
        assert_eq!(subscribed.unwrap_err(), SubscribeError::Closed, "it came after the closing");
        life.driver.await.unwrap().unwrap();
        if let Some(peer) = &mut peer {
            publish_at(peer).await;
            assert_eq!(peer.recv().await.unwrap(), OwnedPacket::Disconnect, "it waited for the store");
        }
        // The next one goes on.
        let mut life = Life::start(&store, options());
        let mut peer = life.accepted(connected).await;
        assert_eq!(publish_at(&mut peer).await.delivery.dup(), connected);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_kept_too() {
    let store = MemoryStore::new();
    let mut life = Life::start(&store, options());
    let mut peer = life.accepted(false).await;
    let client = life.client.clone();
    let subscribing = tokio::spawn(async move { client.subscribe("in", QoS::AtLeastOnce).await });
    peer.expect(|packet| matches!(packet, OwnedPacket::Subscribe { .. })).await.unwrap();
    life.client.disconnect(Drain::Now).await.unwrap();
    assert_eq!(subscribing.await.unwrap().unwrap_err(), SubscribeError::Kept);
    assert_eq!(kinds(&store), "Q");
    let mut life = Life::start(&store, options());
    let mut peer = life.accepted(true).await;
    confirm(&mut peer).await;
    settle().await;
    assert_eq!(kinds(&store), "F");
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_leaves_the_store_full() {
    let store = MemoryStore::new();
    let client = away(&store);
    client.publish("a", "1").qos(QoS::AtLeastOnce).accepted().await.unwrap();
    drop(client);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(kinds(&store), "M");
    let mut life = Life::start(&store, options());
    let mut peer = life.accepted(false).await;
    confirm(&mut peer).await;
    settle().await;
    drop(life);
    settle().await;
    assert_eq!(kinds(&store), "");
}

/// The client ends with the error; what was not saved was not sent, and what was saved stays.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_client() {
    for (panics, away) in [(false, false), (true, false), (false, true)] {
        let store = MemoryStore::new();
        let mut life = Life::start(&store, options());
        let mut status = life.client.status();
        let mut peer = if away { None } else { Some(life.accepted(false).await) };
        settle().await;
        let mut kept = life.publish("kept", QoS::AtLeastOnce).await;
        kept.safe().await.unwrap();
        settle().await;
        if panics {
            store.panic_in_save(1);
        } else {
            store.fail_save(1);
        }
        store.hold();
        let mut doubtful = life.publish("doubtful", QoS::AtLeastOnce).await;
        spin().await;
        let lost = life.publish("lost", QoS::ExactlyOnce).await;
        store.release();
        let error = life.driver.await.unwrap().unwrap_err();
        assert!(matches!(&error, ConnectionError::Store(StoreError::Save(_))), "{error:?}");
        assert!(!error.is_retryable());
        assert_eq!(doubtful.safe().await, Err(PublishError::Ambiguous(Cause::Discarded)));
        assert_eq!(lost.await, Err(PublishError::NotSent(Cause::Discarded)));
        assert_eq!(kept.await, Err(PublishError::Kept));
        let last = loop {
            match status.next().await {
                Some(Status::GaveUp { error }) => break error,
                Some(_) => {}
                None => panic!("an error"),
            }
        };
        assert_eq!(last.to_string(), error.to_string());
        if let Some(peer) = &mut peer {
            assert_eq!(publish_at(peer).await.payload, "kept");
            peer.expect_closed().await.unwrap();
        }
        assert!(kinds(&store).starts_with('M') && store.records().len() <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_the_end_is_told() {
    let store = MemoryStore::new();
    let client = away(&store);
    settle().await;
    store.fail_save(1);
    let receipt = client.publish("a", "").qos(QoS::AtLeastOnce).receipt().await.unwrap();
    assert_eq!(client.disconnect(Drain::Now).await, Err(DisconnectError::Store));
    assert_eq!(receipt.await, Err(PublishError::Ambiguous(Cause::Discarded)));
    assert_eq!(client.disconnect(Drain::Now).await, Err(DisconnectError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_ends_the_client_before_it_begins() {
    let store = MemoryStore::new();
    store.fail_load();
    let builder = || Builder::with_connector(peers(64).0, options()).store(store.clone());
    let error = builder().connect::<PubSub>().await.unwrap_err();
    assert!(matches!(error, ConnectError::Store(StoreError::Load(_))), "{error:?}");
    let error = builder().build::<PubSub>().unwrap_err();
    assert!(matches!(error, ConnectError::Store(StoreError::Load(_))), "{error:?}");

    /// Holds what is no Session.
    struct Nonsense;
    impl SessionStore for Nonsense {
        fn load(&mut self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
            Ok(vec![(b"nonsense".to_vec(), Vec::new())])
        }
        fn save(&mut self, _: &mqtt_tokio::Changes) -> io::Result<()> {
            unreachable!("nothing was loaded")
        }
    }
    let builder = Builder::with_connector(peers(64).0, options()).store(Nonsense);
    let error = builder.connect::<PubSub>().await.unwrap_err();
    assert!(matches!(error, ConnectError::Store(StoreError::Decode(_))), "{error:?}");
}

/// The times in a store are those of UNIX, so that messages go on to expire while there is no client.
#[tokio::test(start_paused = true)]
async fn messages_expire_over_a_restart() {
    let now = Time::from_epoch(SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let mut store = MemoryStore::new();
    let mut core = mqtt_client::Client::<PubSub>::new(options().journal(true)).unwrap();
    for (text, end) in [("past", Time::from_epoch(now.since_epoch() - secs(1))), ("soon", now + secs(3600))] {
        let message = Message::new(topic("a"), text).qos(QoS::AtLeastOnce);
        let token = core.publish(message).unwrap().unwrap();
        core.expire(token, end).unwrap();
    }
    store.save(&core.poll_changes().unwrap()).unwrap();
    assert_eq!(kinds(&store), "EEMM");
    let client = dialling(&store);
    settle().await;
    assert_eq!(kinds(&store), "EM", "one has expired in between");
    tokio::time::sleep(secs(3500)).await;
    assert_eq!(kinds(&store), "EM");
    tokio::time::sleep(secs(101)).await;
    assert_eq!(kinds(&store), "");
    // And so do those of a client that lives.
    let publish = client.publish("a", "").qos(QoS::AtLeastOnce).expires_after(Duration::from_secs(5));
    assert_eq!(publish.await, Err(PublishError::NotSent(Cause::Expired)));
}

/// A Session that is given replaces the one in the store.
#[tokio::test(start_paused = true)]
async fn a_session_moves_into_the_store() {
    let store = MemoryStore::new();
    let client = away(&store);
    client.publish("a", "old").qos(QoS::AtLeastOnce).receipt().await.unwrap().safe().await.unwrap();
    drop(client);
    tokio::time::sleep(secs(1)).await;
    let mut core = mqtt_client::Client::<PubSub>::new(options()).unwrap();
    core.publish(Message::new(topic("a"), "new").qos(QoS::AtLeastOnce)).unwrap();
    for start in [true, false] {
        let (connector, mut peers) = peers(4096);
        let builder = Builder::with_connector(connector, options()).session(core.session().clone());
        let builder = builder.store(store.clone());
        let connecting =
            tokio::spawn(
                async move { if start { builder.start::<PubSub>() } else { builder.connect().await } },
            );
        let mut peer = peers.recv().await.unwrap();
        peer.accept().await.unwrap();
        assert_eq!(publish_at(&mut peer).await.payload, "new");
        assert_eq!(kinds(&store), "MS");
        connecting.await.unwrap().unwrap().disconnect(Drain::Now).await.unwrap();
    }
}
