//! Stores: where a Session outlives the process.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mqtt_client::{Changes, Mark, Session, SessionDecodeError};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::shared::Shared;

/// A place that keeps the records of a Session: keys and values, of which neither means anything to it.
///
/// A client that is given one ([`Builder::store`](crate::Builder::store)) writes each change of its Session there, and
/// sends nothing that depends on a change before it is safe. Calls come one at a time, from threads that may block. While
/// one batch is being saved, what happens meanwhile forms the next.
///
/// ```
/// use mqtt_tokio::{Change, Changes, SessionStore};
/// use std::{collections::BTreeMap, fs, io, path::PathBuf};
///
/// /// All records in one file, which is written anew each time: good for little more than an example.
/// struct File { path: PathBuf, records: BTreeMap<Vec<u8>, Vec<u8>> }
///
/// # fn encode(_: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> { Vec::new() }
/// # fn decode(_: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> { Ok(BTreeMap::new()) }
/// impl SessionStore for File {
///     fn load(&mut self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
///         if self.path.exists() {
///             self.records = decode(&fs::read(&self.path)?)?;
///         }
///         Ok(self.records.clone().into_iter().collect())
///     }
///
///     fn save(&mut self, batch: &Changes) -> io::Result<()> {
///         for change in &batch.changes {
///             match change {
///                 Change::Clear => self.records.clear(),
///                 Change::Put(key, record) => drop(self.records.insert(key.as_bytes().to_vec(), record.to_bytes())),
///                 Change::Remove(key) => drop(self.records.remove(&key.as_bytes()[..])),
///             }
///         }
///         let new = self.path.with_extension("new");
///         fs::write(&new, encode(&self.records))?;
///         fs::File::open(&new)?.sync_all()?; // on the disk, or it is not safe
///         fs::rename(&new, &self.path)       // all or nothing
///     }
/// }
/// ```
pub trait SessionStore: Send + 'static {
    /// All records, in any order. Called once, before anything else.
    ///
    /// # Errors
    /// Any; the client does not start then.
    fn load(&mut self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Makes the changes, all or none of them, in their order, and returns when no crash can undo them. The
    /// [mark](Changes::mark) is that of the last change, for those who save something of their own together with an
    /// acknowledgement: see [`ReceivedMessage::ack_marked`](crate::ReceivedMessage::ack_marked).
    ///
    /// # Errors
    /// Any; the client ends with it, and whatever waits for these changes is not confirmed.
    fn save(&mut self, batch: &Changes) -> io::Result<()>;
}

/// Why a store let its client down.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The records could not be read.
    #[error("cannot read the session from its store: {0}")]
    Load(#[source] Arc<io::Error>),
    /// What was read is no Session.
    #[error("the store does not hold a session: {0}")]
    Decode(#[from] SessionDecodeError),
    /// Changes could not be saved, or the store panicked. All that was saved before is in the store.
    #[error("cannot save the session: {0}")]
    Save(#[source] Arc<io::Error>),
}

/// A store of whatever type.
pub(crate) struct BoxStore(pub(crate) Box<dyn SessionStore>);

impl BoxStore {
    /// Reads the Session. Blocks.
    pub(crate) fn load(&mut self) -> Result<Session, StoreError> {
        let records = self.0.load().map_err(|error| StoreError::Load(Arc::new(error)))?;
        Ok(Session::from_records(records)?)
    }

    /// Reads the Session on a thread that may block.
    pub(crate) async fn load_elsewhere(mut self) -> Result<(Self, Session), StoreError> {
        let loading = spawn_blocking(move || self.load().map(|session| (self, session)));
        loading.await.unwrap_or_else(|error| Err(StoreError::Load(Arc::new(error.into()))))
    }
}

impl fmt::Debug for BoxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxStore").finish_non_exhaustive()
    }
}

/// A batch on its way to the store.
type Saving = JoinHandle<(BoxStore, io::Result<()>)>;

/// Saves the changes of the Session, one batch after the other. It belongs to the driver.
pub(crate) struct Saver {
    /// Gone while a batch is being saved, and when that failed.
    store: Option<BoxStore>,
    saving: Option<(Saving, Mark)>,
}

impl Saver {
    pub(crate) fn new(store: BoxStore) -> Self {
        Self { store: Some(store), saving: None }
    }

    /// Begins and ends batches until there is nothing to do without waiting. True if something was saved, so that output
    /// may have become free. After an error it is not to be called again.
    pub(crate) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Result<bool, StoreError> {
        let mut progress = false;
        loop {
            let mut saved = None;
            if let Some((saving, mark)) = &mut self.saving {
                let Poll::Ready(done) = Pin::new(saving).poll(cx) else { return Ok(progress) };
                saved = Some(*mark);
                self.saving = None;
                let (store, result) = done.map_err(|error| StoreError::Save(Arc::new(error.into())))?;
                self.store = Some(store);
                result.map_err(|error| StoreError::Save(Arc::new(error)))?;
                progress = true;
            }
            let Some(changes) = next_batch(shared, saved) else { return Ok(progress) };
            let Some(mut store) = self.store.take() else { return Ok(progress) };
            let mark = changes.mark;
            let save = move || {
                let result = store.0.save(&changes);
                (store, result)
            };
            self.saving = Some((spawn_blocking(save), mark));
        }
    }

    /// Saves all that there is.
    pub(crate) fn poll_flush(
        &mut self,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StoreError>> {
        match self.poll(shared, cx) {
            Ok(_) if self.saving.is_some() => Poll::Pending,
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Gives up the store, which may take its time to close.
    pub(crate) async fn end(self) {
        // If it panics, it is gone all the same.
        let _ = spawn_blocking(move || drop(self.store)).await;
    }
}

/// Notes that all up to `saved` is safe, and takes what is to be saved next.
fn next_batch(shared: &Shared, saved: Option<Mark>) -> Option<Changes> {
    let mut wakers = Vec::new();
    let changes = {
        let mut inner = shared.lock();
        if let Some(mark) = saved {
            inner.core.changes_saved(mark);
            inner.savers.take_all(&mut wakers);
        }
        let changes = inner.core.poll_changes();
        inner.in_doubt = changes.as_ref().map(|changes| changes.mark);
        inner.saver_sleeps = changes.is_none();
        changes
    };
    wakers.into_iter().for_each(Waker::wake);
    changes
}
