//! A store in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mqtt_client::{Change, Changes};

use crate::store::SessionStore;

/// A [`SessionStore`] in memory, for tests. Clones share the records: give one to the client and keep the other, and
/// give that to the next client, as if the process had been restarted. It can be told to fail and to be slow.
///
/// ```
/// use mqtt_tokio::testing::{MemoryStore, TestBroker};
/// use mqtt_tokio::{Builder, Client, Drain, Options, PubSub, PublishError, QoS};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let options = Options::new("under-test").clean_session(false);
/// // Nobody is there: it can only be kept.
/// let builder = Builder::new("mqtt://127.0.0.1:1", options.clone())?;
/// let client: Client<PubSub> = builder.store(store.clone()).start()?;
/// let receipt = client.publish("a", "kept").qos(QoS::AtLeastOnce).receipt().await?;
/// client.disconnect(Drain::Now).await?;
/// assert_eq!(receipt.await, Err(PublishError::Kept));
///
/// let broker = TestBroker::start().await?;
/// let builder = Builder::new(&broker.uri(), options)?;
/// let client: Client<PubSub> = builder.store(store.clone()).connect().await?;
/// client.disconnect(Drain::Queue(std::time::Duration::from_secs(5))).await?;
/// assert_eq!(client.stats().delivered, 1);
/// assert!(store.records().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    batches: usize,
    fail_load: bool,
    fail_at: Option<usize>,
    panic_at: Option<usize>,
    held: bool,
}

impl MemoryStore {
    /// A store that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with the records that this one has now, and that shares nothing with it: what is left after a crash.
    #[must_use]
    pub fn after_crash(&self) -> Self {
        let store = Self::new();
        store.lock().records.clone_from(&self.lock().records);
        store
    }

    /// The records, by key.
    pub fn records(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.lock().records.clone()
    }

    /// How many batches were saved, or failed.
    pub fn batches(&self) -> usize {
        self.lock().batches
    }

    /// Has the `nth` batch from now on fail (1 is the next).
    pub fn fail_save(&self, nth: usize) {
        let mut state = self.lock();
        state.fail_at = Some(state.batches + nth);
    }

    /// Has the `nth` batch from now on panic (1 is the next).
    pub fn panic_in_save(&self, nth: usize) {
        let mut state = self.lock();
        state.panic_at = Some(state.batches + nth);
    }

    /// Has reading fail.
    pub fn fail_load(&self) {
        self.lock().fail_load = true;
    }

    /// Lets the next batch, and all after it, wait for [`release`](Self::release). With tokio's time paused, it does not
    /// go on by itself meanwhile.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Lets the batches go that [`hold`](Self::hold) made wait.
    pub fn release(&self) {
        self.lock().held = false;
        self.shared.released.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemoryStore {
    fn load(&mut self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if self.lock().fail_load {
            return Err(io::Error::other("a fault of the test"));
        }
        Ok(self.records().into_iter().collect())
    }

    fn save(&mut self, batch: &Changes) -> io::Result<()> {
        let state = self.lock();
        let waited = self.shared.released.wait_while(state, |state| state.held);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.batches += 1;
        if state.fail_at == Some(state.batches) {
            return Err(io::Error::other("a fault of the test"));
        }
        assert!(state.panic_at != Some(state.batches), "a fault of the test");
        for change in &batch.changes {
            match change {
                Change::Clear => state.records.clear(),
                Change::Put(key, record) => {
                    state.records.insert(key.as_bytes().to_vec(), record.to_bytes());
                }
                Change::Remove(key) => {
                    state.records.remove(&key.as_bytes()[..]);
                }
            }
        }
        Ok(())
    }
}
