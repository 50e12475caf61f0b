//! SUBSCRIBE and UNSUBSCRIBE requests from their call to their answer.

use alloc::vec::Vec;

use mqtt_codec::{
    Packet, PacketId, QoS, Subscribe, SubscribeFilters, TopicFilter, Unsubscribe, UnsubscribeFilters,
};

use super::journal::Journal;
use super::slab::{Linked, Links, List, Slab};
use crate::message::RequestToken;

/// `sent_at` of what was not sent on the present connection.
const UNSENT: u64 = u64::MAX;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Subscribe(Vec<(TopicFilter, QoS)>),
    Unsubscribe(Vec<TopicFilter>),
    /// Subscriptions that the Server lost with the Session, asked for again by the core.
    Resubscribe(Vec<(TopicFilter, QoS)>),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    links: Links,
    /// Counts the requests of the Session.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// Its Packet Identifier, from when it is first sent.
    pub(crate) id: Option<PacketId>,
    /// Whether a transport took a byte of it on an earlier connection (MQTT 3.1 sets DUP then).
    pub(crate) dup: bool,
    sent_at: u64,
    /// Filters of it on which a later request was answered already on the present connection: what its own answer says
    /// of them is out of date.
    outdated: Vec<TopicFilter>,
}

impl Request {
    /// The filters that it is about.
    fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        let (subscribed, unsubscribed) = match &self.kind {
            Kind::Subscribe(filters) | Kind::Resubscribe(filters) => (filters.as_slice(), [].as_slice()),
            Kind::Unsubscribe(filters) => ([].as_slice(), filters.as_slice()),
        };
        subscribed.iter().map(|(filter, _)| filter).chain(unsubscribed)
    }

    #[cfg(test)]
    pub(crate) fn outdated(&self) -> &[TopicFilter] {
        &self.outdated
    }

    /// Whether its answer still says how things stand with `filter`.
    pub(crate) fn is_current(&self, filter: &TopicFilter) -> bool {
        !self.outdated.contains(filter)
    }

    const fn token(&self, place: u32) -> RequestToken {
        // Enough of the number to tell it from those that had this place before.
        RequestToken { index: place, generation: self.number as u32 }
    }

    pub(crate) const fn is_sent(&self) -> bool {
        self.sent_at != UNSENT
    }

    /// Where in the stream of the present connection it starts, for the search of all states.
    #[cfg(test)]
    pub(crate) const fn sent_at(&self) -> u64 {
        self.sent_at
    }

    /// The packet, or `None` if it cannot be built (it was checked when it was asked for).
    pub(crate) fn packet(&self, id: PacketId, dup: bool) -> Option<Packet<'_>> {
        Some(match &self.kind {
            Kind::Subscribe(filters) | Kind::Resubscribe(filters) => {
                Packet::Subscribe(Subscribe { id, dup, filters: SubscribeFilters::new(filters).ok()? })
            }
            Kind::Unsubscribe(filters) => {
                Packet::Unsubscribe(Unsubscribe { id, dup, filters: UnsubscribeFilters::new(filters).ok()? })
            }
        })
    }
}

impl Linked for Request {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The requests that wait for their answer, in the order of their calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Requests {
    slab: Slab<Request>,
    order: List,
    /// The number of the last request.
    last_number: u64,
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self { slab: Slab::new(), order: List::new(), last_number: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.order.len()
    }

    /// The number for the next one that is put back.
    pub(crate) const fn next_number(&self) -> u64 {
        self.last_number + 1
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The first place, or [`NIL`](super::slab::NIL).
    pub(crate) const fn first(&self) -> u32 {
        self.order.first()
    }

    pub(crate) fn next(&self, place: u32) -> u32 {
        List::next(&self.slab, place)
    }

    pub(crate) fn get(&self, place: u32) -> Option<&Request> {
        self.slab.get(place)
    }

    fn insert(&mut self, number: u64, kind: Kind, id: Option<PacketId>, dup: bool) -> (u32, RequestToken) {
        self.last_number = self.last_number.max(number);
        let request =
            Request { links: Links::NONE, number, kind, id, dup, sent_at: UNSENT, outdated: Vec::new() };
        let token = request.token(self.slab.next_place());
        (self.slab.insert(request), token)
    }

    pub(crate) fn push(&mut self, kind: Kind, journal: &mut Journal) -> (u32, RequestToken) {
        let number = self.last_number + 1;
        journal.requested(number, &kind);
        let (place, token) = self.insert(number, kind, None, false);
        self.order.push_back(&mut self.slab, place);
        (place, token)
    }

    /// Puts a request at the end, as it was stored.
    pub(super) fn restore(&mut self, number: u64, kind: Kind, id: Option<PacketId>, dup: bool) -> u32 {
        let (place, _) = self.insert(number, kind, id, dup);
        self.order.push_back(&mut self.slab, place);
        place
    }

    /// Puts requests before all others, in their order.
    pub(crate) fn push_front(&mut self, kinds: impl IntoIterator<Item = Kind>, journal: &mut Journal) {
        let mut front = List::new();
        for kind in kinds {
            let number = self.last_number + 1;
            journal.requested(number, &kind);
            let (place, _) = self.insert(number, kind, None, false);
            front.push_back(&mut self.slab, place);
        }
        self.order.prepend(&mut self.slab, front);
    }

    /// Notes that a request was encoded under `id`, at `offset` of the stream.
    pub(crate) fn sent(&mut self, place: u32, id: PacketId, offset: u64) {
        if let Some(request) = self.slab.get_mut(place) {
            request.id = Some(id);
            request.sent_at = offset;
        }
    }

    /// The request at `place` is answered. Servers may answer in any order, so that those before it can still be waiting
    /// for their answers: these mean nothing for the filters of this one.
    pub(crate) fn overtake(&mut self, place: u32) {
        if place == self.first() {
            return;
        }
        let Some(answered) = self.slab.get(place) else { return };
        let filters: Vec<_> = answered.filters().cloned().collect();
        let mut earlier = self.first();
        while let Some(request) = self.slab.get_mut(earlier).filter(|_| earlier != place) {
            let outdated: Vec<_> = request
                .filters()
                .filter(|filter| filters.contains(filter) && request.is_current(filter))
                .cloned()
                .collect();
            request.outdated.extend(outdated);
            earlier = request.links.next();
        }
    }

    /// Takes a request out for good.
    pub(crate) fn resolve(&mut self, place: u32, journal: &mut Journal) -> Option<(RequestToken, Request)> {
        let request = self.slab.get(place)?;
        let token = request.token(place);
        journal.answered(request.number);
        self.order.unlink(&mut self.slab, place);
        self.slab.remove(place).map(|request| (token, request))
    }

    /// Takes a request out whose end is to be reported later: until [`reported`](Self::reported), its token stays its
    /// own.
    pub(crate) fn retire(
        &mut self,
        place: u32,
        journal: &mut Journal,
    ) -> Option<(RequestToken, Kind, Option<PacketId>)> {
        let request = self.slab.get_mut(place)?;
        let token = request.token(place);
        journal.answered(request.number);
        let kind = core::mem::replace(&mut request.kind, Kind::Unsubscribe(Vec::new()));
        let id = request.id;
        self.order.unlink(&mut self.slab, place);
        Some((token, kind, id))
    }

    /// The end of a retired request was reported.
    pub(crate) fn reported(&mut self, token: RequestToken) {
        if self.slab.get(token.index).is_some_and(|request| request.token(token.index) == token) {
            self.slab.discard(token.index);
        }
    }

    /// The connection ended after `taken` bytes of its stream: all are to be sent again.
    pub(crate) fn connection_ended(&mut self, taken: u64) {
        let mut place = self.order.first();
        while let Some(request) = self.slab.get_mut(place) {
            request.dup |= request.sent_at < taken;
            request.sent_at = UNSENT;
            // It will be the last word on them.
            request.outdated.clear();
            place = request.links.next();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Request)> {
        self.order.iter(&self.slab)
    }
}
