//! The Session in a file of the embedded database redb.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mqtt_client::{Change, Changes, Mark};
use redb::{Database, Durability, ReadableTable, TableDefinition, TableError, WriteTransaction};

use crate::error::AckError;
use crate::message::ReceivedMessage;
use crate::store::SessionStore;

/// A [`SessionStore`] in a file of the embedded database [`redb`]: one table for each client identifier, one transaction
/// for each batch, which is on the disk when it counts as saved.
///
/// The database is yours to use too: for other clients, for tables of your own, and for writes that
/// [go together](Self::writes) with an acknowledgement.
pub struct RedbStore {
    database: Arc<Database>,
    table: String,
    writes: Writes,
}

impl RedbStore {
    /// Opens the database in the file at `path`, which is made if there is none, for the client with this identifier.
    /// Blocks; after a crash it can take a while, as the file is checked then.
    ///
    /// # Errors
    /// [`RedbError`]: the file cannot be read or made, is no database, or is in use
    /// ([`DatabaseAlreadyOpen`](redb::Error::DatabaseAlreadyOpen)) by this process or another.
    pub fn open(path: impl AsRef<Path>, client_id: &str) -> Result<Self, RedbError> {
        Ok(Self::new(Arc::new(Database::create(path)?), client_id))
    }

    /// Uses a database that is open already. Only one client at a time may use it under this identifier.
    pub fn new(database: Arc<Database>, client_id: &str) -> Self {
        let table = format!("mqtt session of {client_id}");
        Self { database, table, writes: Writes::default() }
    }

    /// The database.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// For writes of your own in the transactions of the client that gets this store.
    pub fn writes(&self) -> Writes {
        self.writes.clone()
    }

    fn table(&self) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
        TableDefinition::new(&self.table)
    }

    fn read(&self) -> Result<Records, RedbError> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(self.table()) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut records = Vec::new();
        for record in table.iter()? {
            let (key, value) = record?;
            records.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(records)
    }

    fn write(&self, batch: &Changes) -> Result<(), RedbError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate);
        // What is needed to open the file after a crash is saved with each transaction. Otherwise redb works it out then,
        // which takes longer the larger the file is; and with version 2.6.4, after some of thousands of kills, what it
        // had worked out failed an assertion of its own.
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(self.table())?;
            for change in &batch.changes {
                match change {
                    Change::Clear => table.retain(|_, _| false)?,
                    Change::Put(key, record) => {
                        table.insert(&key.as_bytes()[..], &record.to_bytes()[..])?;
                    }
                    Change::Remove(key) => {
                        table.remove(&key.as_bytes()[..])?;
                    }
                }
            }
        }
        for write in self.writes.take(batch.mark) {
            write(&transaction)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

impl SessionStore for RedbStore {
    fn load(&mut self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.read().map_err(into_io)
    }

    fn save(&mut self, batch: &Changes) -> io::Result<()> {
        self.write(batch).map_err(into_io)
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Keys and values.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn into_io(error: RedbError) -> io::Error {
    match *error.0 {
        redb::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// Why redb could not do what it should: any error of it, behind a pointer since they are large.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RedbError(pub Box<redb::Error>);

macro_rules! from_errors_of_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for RedbError {
            fn from(error: redb::$error) -> Self {
                Self(Box::new(error.into()))
            }
        }
    )*};
}

from_errors_of_redb!(Error, DatabaseError, TransactionError, TableError, StorageError, CommitError);

type Write = Box<dyn FnOnce(&WriteTransaction) -> Result<(), RedbError> + Send>;

/// Writes of the application that are saved in the same transaction as an acknowledgement, so that a message with QoS 2
/// is processed exactly once over any crash. Cheap to clone.
///
/// ```no_run
/// use mqtt_tokio::redb::TableDefinition;
/// use mqtt_tokio::{AckMode, Builder, Client, Options, QoS, RedbStore, Subscriber};
///
/// const READINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("readings");
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedbStore::open("plant-7.redb", "plant-7")?;
/// let writes = store.writes();
/// let options = Options::new("plant-7").clean_session(false).ack_mode(AckMode::Manual);
/// let client: Client<Subscriber> = Builder::new("mqtt://localhost", options)?.store(store).start()?;
/// let mut messages = client.subscribe("plant/#", QoS::ExactlyOnce).await?;
/// while let Some(mut message) = messages.next().await {
///     let (topic, payload) = (message.topic().to_owned(), message.payload().to_vec());
///     let written = writes.acknowledge(&mut message, move |transaction| {
///         transaction.open_table(READINGS)?.insert(&*topic, &*payload)?;
///         Ok(())
///     });
///     if let Err(error) = written {
///         println!("{error}: it comes again");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Writes {
    queue: Arc<Mutex<VecDeque<(Mark, Write)>>>,
}

impl Writes {
    /// Acknowledges a message, with [`AckMode::Manual`](mqtt_client::AckMode::Manual), and has `write` called in the
    /// transaction that saves the acknowledgement: both are saved or neither is, and the Server is told afterwards. So
    /// too for QoS 1, where the message can come again all the same.
    ///
    /// `write` is called on a thread that may block, and should be short: all that is sent waits for it. If it fails,
    /// nothing of the transaction is saved and the client ends with that error.
    ///
    /// # Errors
    /// [`AckError`]; `write` is not called then.
    pub fn acknowledge(
        &self,
        message: &mut ReceivedMessage,
        write: impl FnOnce(&WriteTransaction) -> Result<(), RedbError> + Send + 'static,
    ) -> Result<(), AckError> {
        // A batch with the acknowledgement can be on its way before `write` is in the queue: it waits for this lock.
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = message.ack_marked()?;
        queue.push_back((mark, Box::new(write)));
        Ok(())
    }

    /// Those that go with the changes up to `mark`.
    fn take(&self, mark: Mark) -> Vec<Write> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.iter().take_while(|(at, _)| *at <= mark).count();
        queue.drain(..count).map(|(_, write)| write).collect()
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mqtt_client::{Client, Options, PubSub};

    use super::*;

    #[test]
    fn a_write_waits_for_the_batch_with_its_acknowledgement() {
        let mut core = Client::<PubSub>::new(Options::new("c").journal(true)).unwrap();
        core.poll_changes();
        let [before, first] = [core.mark(), core.barrier()];
        core.poll_changes();
        let second = core.barrier();
        let writes = Writes::default();
        for mark in [first, second] {
            writes.queue.lock().unwrap().push_back((mark, Box::new(|_| Ok(()))));
        }
        assert_eq!([before, first, first, second].map(|mark| writes.take(mark).len()), [0, 1, 0, 1]);
    }
}
