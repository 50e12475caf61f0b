//! What is to be known of publishes: whether they are resolved, safe, and sent. Messages are told apart by a number at
//! the beginning of their payload.

use std::collections::HashMap;

use mqtt_client::{Client, Mark, Message, PacketId, PubSub, PublishToken, QoS, Session};

use super::disk::{self, Disk};

#[derive(Default)]
pub(crate) struct Ledger {
    /// Not resolved, with their numbers. After a crash nobody knows the number of what the Server has.
    publishes: HashMap<PublishToken, Option<u32>>,
    count: u32,
    /// When each was accepted, and resolved, in the changes of the present client.
    accepted: HashMap<u32, Mark>,
    resolved: HashMap<u32, Mark>,
    /// Those that went out as a whole; with the identifier, unless the Server lost the Session since.
    sent_as: HashMap<u32, Option<PacketId>>,
}

impl Ledger {
    /// A payload with the next number.
    pub(crate) fn payload(&mut self, rest: &[u8]) -> Vec<u8> {
        self.count += 1;
        [&self.count.to_be_bytes(), rest].concat()
    }

    /// The last message was accepted.
    pub(crate) fn accept(&mut self, token: PublishToken, qos: QoS, mark: Mark) {
        assert_eq!(self.publishes.insert(token, Some(self.count)), None, "{token:?} is given twice");
        if qos != QoS::AtMostOnce {
            self.accepted.insert(self.count, mark);
        }
    }

    pub(crate) fn unresolved(&self) -> usize {
        self.publishes.len()
    }

    /// One that is not resolved.
    pub(crate) fn choose(&self, index: u8) -> Option<PublishToken> {
        let mut tokens: Vec<_> = self.publishes.keys().copied().collect();
        tokens.sort_unstable();
        tokens.get(usize::from(index) % tokens.len().max(1)).copied()
    }

    /// The outcome is there, or it was taken back.
    pub(crate) fn resolve(&mut self, token: PublishToken, not_sent: bool, mark: Mark) -> Option<u32> {
        let number = self.publishes.remove(&token);
        let number = number.unwrap_or_else(|| panic!("{token:?} is resolved twice, or never was"))?;
        assert!(!not_sent || !self.sent_as.contains_key(&number), "{number} was sent");
        self.accepted.remove(&number);
        self.resolved.insert(number, mark);
        Some(number)
    }

    /// What goes out again has the identifier that it had, and DUP; what goes out at all is in the store.
    pub(crate) fn sent(
        &mut self,
        published: &[(u32, PacketId, bool)],
        client: &Client<PubSub>,
        disk: Option<&Disk>,
    ) {
        for &(number, id, dup) in published {
            if let Some(Some(before)) = self.sent_as.insert(number, Some(id)) {
                assert!((before, true) == (id, dup), "{number} as {before:?}, and then as {id:?}");
            }
        }
        let Some(disk) = disk.filter(|_| !published.is_empty()) else { return };
        let stored = disk::messages(&disk.session());
        for message in disk::messages(client.session()).into_iter().flatten() {
            let was_sent = published.iter().any(|(sent, ..)| Some(*sent) == number(&message.payload));
            assert!(!was_sent || stored.contains(&Some(message)), "sent, and not in the store");
        }
    }

    /// The Server has a new Session: what is sent again is sent as new.
    pub(crate) fn session_lost(&mut self) {
        self.sent_as.values_mut().for_each(|id| *id = None);
    }

    /// Of the client, only this Session is left: it has what was safe or sent, and nothing whose end was safe.
    pub(crate) fn crash(&self, client: &Client<PubSub>, session: &Session) {
        let left = disk::messages(session);
        for message in disk::messages(client.session()).into_iter().flatten() {
            let number = number(&message.payload).expect("it has one");
            let is_safe = self.accepted.get(&number).is_some_and(|mark| client.is_saved(*mark));
            if is_safe || self.sent_as.contains_key(&number) {
                assert!(left.contains(&Some(message)), "{number} is lost");
            }
        }
        for number in numbers(&left) {
            let end = self.resolved.get(&number);
            assert!(end.is_none_or(|mark| !client.is_saved(*mark)), "{number} is back");
        }
    }

    /// Another client goes on with a Session, which its store holds.
    pub(crate) fn adopt(&mut self, session: &Session) {
        let publishes = session.pending_publishes();
        self.publishes =
            publishes.map(|(token, message)| (token, message.and_then(|it| number(&it.payload)))).collect();
        assert_eq!(self.publishes.len(), session.pending_publishes().count(), "each token is its own");
        self.accepted = numbers(&disk::messages(session)).map(|number| (number, Mark::default())).collect();
        self.resolved.clear();
    }
}

/// The number at the beginning of a payload.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|number| u32::from_be_bytes(*number))
}

fn numbers(messages: &[Option<Message>]) -> impl Iterator<Item = u32> {
    messages.iter().flatten().filter_map(|message| number(&message.payload))
}
