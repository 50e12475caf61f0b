//! The bytes that wait for the transport.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_codec::{Delivery, Packet, PacketTooLarge, ProtocolVersion};

use crate::inspect::Hook;
use crate::machine::Core;
use crate::message::Message;
use crate::time::Time;

/// From this size on a payload goes out from where it lies instead of being copied beside its header.
const BY_REFERENCE: usize = 16 * 1024;

/// An empty buffer up to this size is kept; a larger one is given back.
const KEEP: usize = 1024;

/// At least so much is reserved when a buffer is made.
const MIN_RESERVE: usize = 64;

/// Publishes stop moving into the output at this many bytes; they wait in the queue instead.
const HIGH_WATER: usize = 64 * 1024;

/// The input is not read on while so many bytes of answers wait for the transport.
const MAX_REPLIES: usize = 64 * 1024;

/// The bytes of one Network Connection that no transport has taken yet, in order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Outbox {
    /// What is complete and not changed any more, first to be taken first.
    front: VecDeque<Bytes>,
    /// What packets are encoded into.
    tail: BytesMut,
    /// Bytes in `front` and `tail`.
    len: usize,
    /// Bytes taken since the connection began.
    taken: u64,
    replies: Backlog,
    /// PUBLISHes with QoS 1 and 2.
    publishes: Backlog,
    /// The most that waited since the buffer was last empty.
    peak: usize,
    /// How large the filling before this one became: what to reserve for the next.
    hint: usize,
    /// Is shown what is appended.
    hook: Hook,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            front: VecDeque::new(),
            tail: BytesMut::new(),
            len: 0,
            taken: 0,
            replies: Backlog::default(),
            publishes: Backlog::default(),
            peak: 0,
            hint: MIN_RESERVE,
            hook: Hook::default(),
        }
    }

    /// Forgets all bytes and starts to count anew.
    pub(crate) fn clear(&mut self) {
        *self = Self { hook: core::mem::take(&mut self.hook), ..Self::new() };
    }

    /// What is shown each packet.
    #[inline]
    pub(crate) const fn hook(&self) -> &Hook {
        &self.hook
    }

    pub(crate) fn set_hook(&mut self, hook: Hook) {
        self.hook = hook;
    }

    /// The offset in the stream of the connection that the next byte to be encoded gets.
    #[inline]
    pub(crate) const fn offset(&self) -> u64 {
        self.taken + self.len as u64
    }

    /// How many bytes of the stream a transport has taken.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// All bytes, whether they may go out or not, for the search of all states.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<u8> {
        let segments = self.front.iter().map(|segment| &segment[..]).chain([&self.tail[..]]);
        segments.collect::<Vec<_>>().concat()
    }

    /// Whether QoS 0 publishes that are queued should stay there.
    #[inline]
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= HIGH_WATER
    }

    /// Whether QoS 1 and 2 publishes should wait in the queue. Bytes of QoS 0 are no reason: an application that sends
    /// more of those than the transport takes would keep QoS 1 and 2 waiting for ever.
    #[inline]
    pub(crate) const fn is_full_of_publishes(&self) -> bool {
        self.len >= HIGH_WATER && self.publishes.len() >= HIGH_WATER
    }

    /// Whether so many answers wait that no more input should be read.
    pub(crate) const fn is_flooded(&self) -> bool {
        self.replies.len() >= MAX_REPLIES
    }

    /// Appends a PUBLISH; a large payload by reference.
    #[inline]
    pub(crate) fn publish(&mut self, message: &Message, delivery: Delivery) -> Result<(), PacketTooLarge> {
        let publish = message.as_publish(delivery);
        let before = self.len;
        if message.payload.len() < BY_REFERENCE {
            // A PUBLISH is the same in both versions.
            self.encode(ProtocolVersion::V3_1_1, |tail| publish.encode(tail))?;
        } else {
            self.encode(ProtocolVersion::V3_1_1, |tail| publish.encode_header(tail))?;
            self.freeze();
            self.len += message.payload.len();
            self.front.push_back(message.payload.clone());
            if self.hook.is_set() {
                self.hook.sent_publish(publish, self.len - before);
            }
        }
        if delivery != Delivery::AtMostOnce {
            self.publishes.after += self.len - before;
        }
        Ok(())
    }

    /// Appends a packet that was encoded before.
    pub(crate) fn bytes(&mut self, packet: Bytes, version: ProtocolVersion) {
        if self.hook.is_set() {
            self.hook.sent(&packet, version);
        }
        self.freeze();
        self.len += packet.len();
        self.front.push_back(packet);
    }

    /// Appends any other packet.
    pub(crate) fn packet(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
    ) -> Result<(), PacketTooLarge> {
        self.encode(version, |tail| packet.encode(version, tail))
    }

    /// Appends an answer to something that the Server sent.
    #[inline]
    pub(crate) fn reply(&mut self, packet: &Packet<'_>, version: ProtocolVersion) {
        let before = self.len;
        // A packet that is nothing but an identifier is never too large.
        let _ = self.packet(packet, version);
        self.replies.after += self.len - before;
    }

    #[inline]
    fn encode(
        &mut self,
        version: ProtocolVersion,
        write: impl FnOnce(&mut BytesMut) -> Result<(), PacketTooLarge>,
    ) -> Result<(), PacketTooLarge> {
        if self.tail.capacity() == 0 {
            self.tail.reserve(self.hint);
        }
        let before = self.tail.len();
        write(&mut self.tail)?;
        self.len += self.tail.len() - before;
        if self.hook.is_set() {
            self.hook.sent(self.tail.get(before..).unwrap_or_default(), version);
        }
        Ok(())
    }

    fn freeze(&mut self) {
        if !self.tail.is_empty() {
            self.front.push_back(self.tail.split().freeze());
        }
    }

    /// The transport took `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        let count = count.min(self.len);
        self.peak = self.peak.max(self.len);
        let (taken, offset) = (self.taken + count as u64, self.offset());
        self.replies.taken(taken, offset);
        self.publishes.taken(taken, offset);
        self.len -= count;
        self.taken += count as u64;
        let mut left = count;
        while let Some(segment) = self.front.front_mut() {
            if segment.len() > left {
                segment.advance(left);
                return;
            }
            left -= segment.len();
            self.front.pop_front();
        }
        self.tail.advance(left.min(self.tail.len()));
        if self.len == 0 {
            self.emptied();
        }
    }

    /// Gives large buffers back, so that an idle client holds none.
    fn emptied(&mut self) {
        if self.tail.capacity() > KEEP {
            self.tail = BytesMut::new();
        } else {
            self.tail.clear();
        }
        if self.front.capacity() > 16 {
            self.front = VecDeque::new();
        }
        self.replies = Backlog::default();
        self.publishes = Backlog::default();
        self.hint = self.peak.clamp(MIN_RESERVE, HIGH_WATER);
        self.peak = 0;
    }
}

impl fmt::Debug for Outbox {
    /// Shows counts only: the bytes can contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("len", &self.len).field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// How many bytes of one kind wait, within a factor: counted in two halves, the older of which is forgotten when the
/// transport has taken all that was there when it was closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Backlog {
    before: usize,
    after: usize,
    mark: u64,
}

impl Backlog {
    const fn len(&self) -> usize {
        self.before + self.after
    }

    /// Once the transport has taken all up to `mark`, only the newer half is left: everything up to `offset`.
    fn taken(&mut self, taken: u64, offset: u64) {
        if taken >= self.mark {
            *self = Self { before: self.after, after: 0, mark: offset };
        }
    }
}

/// The bytes that the core has for the transport, as a [`Buf`]: write [`chunk`](Buf::chunk) (or
/// `chunks_vectored`, with the feature `std`) and [`advance`](Buf::advance) by what the transport took, no more and no
/// less. Bytes leave the core only so; what was not taken is still there at the next call.
///
/// `advance` beyond [`remaining`](Buf::remaining) is the same as advancing by all that remains; it does not panic.
/// With a [journal](crate::Options::journal) it ends where bytes begin that depend on changes which are not saved.
///
/// It also makes room for what waits in the queue, which then is part of the output: write until nothing
/// [remains](Buf::has_remaining).
#[derive(Debug)]
pub struct Output<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) now: Time,
}

impl Output<'_> {
    /// Hands the bytes to `write`, chunk by chunk, until all are taken, or it takes none, or fails; and accounts what it
    /// took, also before it failed. For a transport that is at hand:
    ///
    /// ```
    /// use std::io::Write;
    /// # use mqtt_client::{Client, Options, PubSub, Time};
    /// # let mut client = Client::<PubSub>::new(Options::new("plant-7"))?;
    /// # let (mut stream, now) = (Vec::new(), Time::ZERO);
    /// client.connect(now)?;
    /// client.poll_output(now).write_with(|bytes| stream.write(bytes))?;
    /// assert!(!client.has_output());
    /// # assert_eq!(stream[0], 0x10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// That of `write`. What it did not take is still there.
    pub fn write_with<E>(&mut self, mut write: impl FnMut(&[u8]) -> Result<usize, E>) -> Result<(), E> {
        while self.has_remaining() {
            match write(self.chunk())? {
                0 => break,
                count => self.advance(count),
            }
        }
        Ok(())
    }

    /// Lends the bytes themselves, by reference count and without copying: appends segments to `into`, in order, until
    /// they hold at least `max` bytes or all is lent. The bytes stay in the core until [`advance`](Buf::advance).
    ///
    /// For an embedder that shares the core under a lock: take segments, release the lock, write, lock, advance.
    pub fn segments(&mut self, max: usize, into: &mut Vec<Bytes>) {
        let mut open = self.core.open_len();
        let outbox = self.core.outbox_mut();
        outbox.freeze();
        let mut lent = 0;
        for segment in &outbox.front {
            if lent >= max || open == 0 {
                break;
            }
            let len = segment.len().min(open);
            open -= len;
            lent += len;
            into.push(if len == segment.len() { segment.clone() } else { segment.slice(..len) });
        }
    }
}

impl Buf for Output<'_> {
    fn remaining(&self) -> usize {
        self.core.open_len()
    }

    fn chunk(&self) -> &[u8] {
        let outbox = self.core.outbox();
        let chunk: &[u8] = outbox.front.front().map_or(&outbox.tail, |segment| segment);
        chunk.get(..self.core.open_len()).unwrap_or(chunk)
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'b>(&'b self, into: &mut [std::io::IoSlice<'b>]) -> usize {
        let outbox = self.core.outbox();
        let segments = outbox.front.iter().map(|segment| &segment[..]);
        let tail = Some(&outbox.tail[..]).filter(|tail| !tail.is_empty());
        let mut open = self.core.open_len();
        into.iter_mut()
            .zip(segments.chain(tail))
            .map_while(|(slice, bytes)| {
                let bytes = bytes.get(..open).unwrap_or(bytes);
                open -= bytes.len();
                *slice = std::io::IoSlice::new(bytes);
                (!bytes.is_empty()).then_some(())
            })
            .count()
    }

    fn advance(&mut self, count: usize) {
        let count = count.min(self.core.open_len());
        if count > 0 {
            self.core.output_taken(count, self.now);
        }
    }
}
