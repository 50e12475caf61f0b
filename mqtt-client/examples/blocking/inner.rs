//! What the threads of the facade share under their lock.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::TcpStream;

use mqtt_client::bytes::Buf;
use mqtt_client::{
    Backoff, Client, ConnectionError, Event, Message, Outcome, PubSub, PublishToken, RequestToken,
    SubackCode, Time,
};

/// When so many messages wait to be received, the thread stops reading, so that the Server must wait.
const UNREAD: usize = 100;

pub(crate) struct Inner {
    pub(crate) client: Client<PubSub>,
    /// Whoever changes the client writes its output, under the lock.
    pub(crate) stream: Option<TcpStream>,
    pub(crate) messages: VecDeque<Message>,
    /// The answers to those who wait; each takes its own out.
    pub(crate) published: HashMap<PublishToken, Outcome>,
    pub(crate) subscribed: HashMap<RequestToken, bool>,
    /// No other connection follows.
    pub(crate) closing: bool,
}

impl Inner {
    pub(crate) fn new(client: Client<PubSub>) -> Self {
        let (messages, published, subscribed) = (VecDeque::new(), HashMap::new(), HashMap::new());
        Self { client, stream: None, messages, published, subscribed, closing: false }
    }

    /// Whether the application must take a message before another one is read.
    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() >= UNREAD
    }

    /// Hands bytes to the client, and its events to those who wait.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut Vec<u8>,
        now: Time,
        backoff: &mut Backoff,
    ) -> Result<(), ConnectionError> {
        let mut input = &bytes[..];
        while !self.is_full() {
            match self.client.handle_input(&mut input, now)? {
                None => break,
                Some(Event::Connected { .. }) => backoff.connected(now),
                Some(Event::Message(message)) => self.messages.push_back(message.to_message()),
                Some(Event::Published { token, outcome }) => drop(self.published.insert(token, outcome)),
                Some(Event::Subscribed { token, codes }) => {
                    let granted = codes.iter().all(|code| matches!(code, SubackCode::Granted(_)));
                    self.subscribed.insert(token, granted);
                }
                Some(_) => {}
            }
        }
        let used = bytes.len() - input.len();
        bytes.drain(..used);
        Ok(())
    }

    /// Writes what the transport takes, and tells the client how much that was.
    pub(crate) fn write(&mut self, now: Time) {
        let Some(mut stream) = self.stream.as_ref() else { return };
        let mut output = self.client.poll_output(now);
        while output.has_remaining() {
            match stream.write(output.chunk()) {
                // It takes nothing for now, or never will again: the thread that reads finds out which.
                Ok(0) | Err(_) => return,
                Ok(count) => output.advance(count),
            }
        }
    }
}
