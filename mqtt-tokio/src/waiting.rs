//! Tasks that wait: for the outcome of something accepted, and for room.

use std::task::{Context, Poll, Waker};

/// No slot.
const NIL: u32 = u32::MAX;

#[derive(Debug)]
enum Slot<T> {
    Free(u32),
    Waiting(Option<Waker>),
    Done(T),
}

/// The outcomes of things that the core knows by the small number of a token, for whoever waits for them.
///
/// A token's number is used again as soon as the core has reported the outcome, the waiter may come later: hence slots
/// of our own, and a table from the one to the other.
#[derive(Debug)]
pub(crate) struct Completions<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    by_token: Vec<u32>,
    /// How many tasks wait here for an outcome that has not come.
    waiting: usize,
}

impl<T> Completions<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: NIL, by_token: Vec::new(), waiting: 0 }
    }

    /// A slot for the outcome of the thing with this token number.
    pub(crate) fn open(&mut self, token: usize) -> u32 {
        let slot = match self.slots.get_mut(self.free as usize) {
            Some(place) => {
                let slot = self.free;
                self.free = if let Slot::Free(next) = *place { next } else { NIL };
                *place = Slot::Waiting(None);
                slot
            }
            None => {
                self.slots.push(Slot::Waiting(None));
                // One for each future or receipt that is alive: they do not fit into memory in such numbers.
                (self.slots.len() - 1) as u32
            }
        };
        if self.by_token.len() <= token {
            self.by_token.resize(token + 1, NIL);
        }
        self.by_token[token] = slot;
        slot
    }

    /// Stores the outcome, if anybody wants it, and returns whom to wake.
    pub(crate) fn complete(&mut self, token: usize, value: T) -> Option<Waker> {
        let slot = std::mem::replace(self.by_token.get_mut(token)?, NIL);
        let place = self.slots.get_mut(slot as usize)?;
        match std::mem::replace(place, Slot::Done(value)) {
            Slot::Waiting(waker) => {
                self.waiting -= usize::from(waker.is_some());
                waker
            }
            Slot::Free(_) | Slot::Done(_) => None,
        }
    }

    /// The outcome, once; registers the task if it is not there yet.
    pub(crate) fn poll(&mut self, slot: u32, cx: &Context<'_>) -> Poll<T> {
        match self.slots.get_mut(slot as usize) {
            Some(Slot::Waiting(waker)) => {
                self.waiting += usize::from(waker.is_none());
                register(waker, cx);
                Poll::Pending
            }
            Some(Slot::Done(_)) => match self.release(slot) {
                Slot::Done(value) => Poll::Ready(value),
                Slot::Free(_) | Slot::Waiting(_) => Poll::Pending,
            },
            Some(Slot::Free(_)) | None => Poll::Pending,
        }
    }

    /// Whether a task waits for an outcome that has not come.
    pub(crate) const fn has_waiters(&self) -> bool {
        self.waiting > 0
    }

    /// How many slots are in use.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot, Slot::Free(_))).count()
    }

    /// Nobody wants the outcome any more.
    pub(crate) fn abandon(&mut self, slot: u32, token: usize) {
        if let Some(entry) = self.by_token.get_mut(token).filter(|entry| **entry == slot) {
            *entry = NIL;
        }
        self.release(slot);
    }

    fn release(&mut self, slot: u32) -> Slot<T> {
        let free = self.free;
        match self.slots.get_mut(slot as usize) {
            Some(place) if !matches!(place, Slot::Free(_)) => {
                self.waiting -= usize::from(matches!(place, Slot::Waiting(Some(_))));
                self.free = slot;
                std::mem::replace(place, Slot::Free(free))
            }
            _ => Slot::Free(NIL),
        }
    }
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *waker = Some(cx.waker().clone()),
    }
}

/// A place in a [`Crowd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    round: u64,
    place: usize,
}

/// Tasks that wait for the same thing and are all woken when it may have come: each tries again, and waits again if it
/// was not for it. So no wake-up is lost with a task that is dropped in between.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    round: u64,
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Crowd {
    /// Registers the task, or renews its registration.
    pub(crate) fn wait(&mut self, ticket: &mut Option<Ticket>, cx: &Context<'_>) {
        if let Some(ticket) = ticket.filter(|ticket| ticket.round == self.round) {
            if let Some(waker) = self.wakers.get_mut(ticket.place) {
                register(waker, cx);
                return;
            }
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.wakers[place] = Some(cx.waker().clone());
                place
            }
            None => {
                self.wakers.push(Some(cx.waker().clone()));
                self.wakers.len() - 1
            }
        };
        *ticket = Some(Ticket { round: self.round, place });
    }

    /// Takes a registration back.
    pub(crate) fn leave(&mut self, ticket: &mut Option<Ticket>) {
        if let Some(ticket) = ticket.take().filter(|ticket| ticket.round == self.round) {
            if self.wakers.get_mut(ticket.place).is_some_and(|waker| waker.take().is_some()) {
                self.free.push(ticket.place);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.len() == self.free.len()
    }

    /// Everybody who waits, to be woken.
    pub(crate) fn take_all(&mut self, into: &mut Vec<Waker>) {
        self.round += 1;
        self.free.clear();
        into.extend(self.wakers.drain(..).flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_waits_for_its_waiter_though_the_token_is_used_again() {
        let mut completions = Completions::new();
        let cx = Context::from_waker(Waker::noop());
        let first = completions.open(0);
        assert!(completions.poll(first, &cx).is_pending());
        assert!(completions.complete(0, 'a').is_some());
        let second = completions.open(0);
        assert!(completions.complete(0, 'b').is_none(), "nobody has polled it");
        assert_eq!(completions.poll(first, &cx), Poll::Ready('a'));
        assert_eq!(completions.poll(second, &cx), Poll::Ready('b'));
        assert!(completions.complete(0, 'c').is_none());
        assert_eq!(completions.slots.len(), 2);
    }

    #[test]
    fn an_abandoned_slot_is_used_again() {
        let mut completions = Completions::new();
        for _ in 0..100 {
            let slot = completions.open(3);
            completions.abandon(slot, 3);
            assert!(completions.complete(3, ()).is_none());
        }
        let slot = completions.open(3);
        completions.complete(3, ());
        completions.abandon(slot, 3);
        assert_eq!(completions.slots.len(), 1);
    }

    #[test]
    fn a_crowd_does_not_grow_by_coming_and_going() {
        let mut crowd = Crowd::default();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            let mut ticket = None;
            crowd.wait(&mut ticket, &cx);
            crowd.wait(&mut ticket, &cx);
            crowd.leave(&mut ticket);
        }
        assert!(crowd.is_empty() && crowd.wakers.len() == 1);
        let (mut one, mut two) = (None, None);
        crowd.wait(&mut one, &cx);
        crowd.wait(&mut two, &cx);
        let mut woken = Vec::new();
        crowd.take_all(&mut woken);
        assert_eq!(woken.len(), 2);
        crowd.wait(&mut one, &cx);
        crowd.leave(&mut two);
        assert!(!crowd.is_empty(), "a ticket of an earlier round removes nobody");
    }
}
