//! The run loop of a board: one call does what can be done without waiting. A main loop calls it when the link has
//! something to say, and when the time that it returns has come; in between the board can sleep.

use mqtt_client::bytes::Buf;
use mqtt_client::{Client, ConnectError, ConnectionError, Event, PubSub, Time};

/// The largest packet that can be received: a whole one must fit in.
pub(crate) const BUFFER: usize = 256;

/// What the board brings: a modem, a TCP stack, a serial line. Neither method waits.
pub(crate) trait Link {
    /// Takes as many bytes as there is room for.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost>;

    /// Copies what has arrived, as far as it fits; 0 is nothing for now.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Lost>;
}

/// The link is gone, or the client has given it up: close it, wait a while, and connect again.
#[derive(Debug)]
pub(crate) struct Lost;

impl From<ConnectionError> for Lost {
    fn from(_: ConnectionError) -> Self {
        Self
    }
}

/// A client with the memory for what it receives.
pub(crate) struct Station {
    pub(crate) client: Client<PubSub>,
    buffer: [u8; BUFFER],
    filled: usize,
}

impl Station {
    pub(crate) const fn new(client: Client<PubSub>) -> Self {
        Self { client, buffer: [0; BUFFER], filled: 0 }
    }

    /// Begins a connection, on a link that is new.
    pub(crate) fn connect(&mut self, now: Time) -> Result<(), ConnectError> {
        // The rest of a packet of the connection before is of no use on this one.
        self.filled = 0;
        self.client.connect(now)
    }

    /// Does what can be done now. Returns when the next turn is due even if the link has nothing to say.
    pub(crate) fn turn(
        &mut self,
        link: &mut impl Link,
        now: Time,
        on_event: impl FnMut(Event<'_>),
    ) -> Result<Option<Time>, Lost> {
        let turned = self.exchange(link, now, on_event);
        if turned.is_err() {
            // The Session is still there; only the connection is gone.
            self.client.handle_close();
        }
        turned
    }

    fn exchange(
        &mut self,
        link: &mut impl Link,
        now: Time,
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<Option<Time>, Lost> {
        self.client.handle_timeout(now)?;
        loop {
            let mut output = self.client.poll_output(now);
            while output.has_remaining() {
                match link.write(output.chunk())? {
                    0 => break,
                    // Only what was taken: DUP depends on it.
                    count => output.advance(count),
                }
            }
            // There is room: what the buffer cannot hold is above `max_packet_size`.
            let read = match self.buffer.get_mut(self.filled..) {
                Some(room) if self.client.wants_input() => link.read(room)?,
                _ => 0,
            };
            self.filled += read;
            let received = self.buffer.get(..self.filled).unwrap_or_default();
            let mut input = received;
            while let Some(event) = self.client.handle_input(&mut input, now)? {
                on_event(event);
            }
            let used = received.len() - input.len();
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
            if read == 0 {
                return Ok(self.client.poll_timeout());
            }
        }
    }
}
