//! A store of the changes of a Session: it writes them one by one, and a crash loses those that are not written.

use std::collections::{BTreeMap, VecDeque};

use mqtt_client::{Change, Client, Mark, Message, PubSub, Session};

/// By their keys.
pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) records: Records,
    /// What is left to write of each batch.
    writing: VecDeque<(VecDeque<Change>, Mark)>,
}

impl From<Records> for Disk {
    fn from(records: Records) -> Self {
        Self { records, writing: VecDeque::new() }
    }
}

impl Disk {
    /// Fetches changes, to be written later.
    pub(crate) fn fetch(&mut self, client: &mut Client<PubSub>) {
        if let Some(changes) = client.poll_changes() {
            assert!(!changes.changes.is_empty());
            self.writing.push_back((changes.changes.into(), changes.mark));
        }
    }

    /// Writes so many changes of the first batch; after the last one it is saved.
    pub(crate) fn write(&mut self, client: &mut Client<PubSub>, mut count: usize) {
        let Some((changes, mark)) = self.writing.front_mut() else { return };
        if changes.front() == Some(&Change::Clear) {
            // What follows it belongs to the same transaction.
            count = changes.len();
        }
        for change in changes.drain(..count.min(changes.len())) {
            match change {
                Change::Put(key, record) => drop(self.records.insert(key.as_ref().into(), record.to_bytes())),
                Change::Remove(key) => drop(self.records.remove(key.as_ref())),
                Change::Clear => self.records.clear(),
            }
        }
        if changes.is_empty() {
            client.changes_saved(*mark);
            assert!(client.is_saved(*mark));
            self.writing.pop_front();
        }
    }

    /// Fetches and writes all.
    pub(crate) fn save(&mut self, client: &mut Client<PubSub>) {
        self.fetch(client);
        while !self.writing.is_empty() {
            self.write(client, usize::MAX);
        }
        assert!(!client.has_changes() && client.is_saved(client.mark()));
    }

    /// How many changes were fetched and are not written.
    pub(crate) fn unwritten(&self) -> usize {
        self.writing.iter().map(|(changes, _)| changes.len()).sum()
    }

    /// The Session that a crash leaves: that of the records, in whatever order.
    pub(crate) fn session(&self) -> Session {
        Session::from_records(self.records.iter().rev()).expect("the records are a Session at any time")
    }

    /// Forgets what is not written.
    pub(crate) fn crash(&mut self) {
        self.writing.clear();
    }
}

/// The messages of a Session that a store keeps, in their order.
pub(crate) fn messages(session: &Session) -> Vec<Option<Message>> {
    let all = session.pending_publishes().map(|(_, message)| message.cloned());
    all.filter(|message| message.as_ref().is_none_or(|message| message.qos as u8 > 0)).collect()
}
