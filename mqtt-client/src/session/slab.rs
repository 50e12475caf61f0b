//! A vector whose places are used again, and lists that run through its entries.
//!
//! An entry keeps its place from when it comes to when it goes, whichever list it is in, so that moving a message from
//! the queue into flight and from one state to the next links two numbers and copies nothing.

use alloc::vec::Vec;

/// No place.
pub(crate) const NIL: u32 = u32::MAX;

/// Up to this many places are kept when the last entry goes; more are given back to the allocator.
const KEEP: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Slot<T> {
    Free { next: u32 },
    Used(T),
}

/// Entries at places that stay theirs. Every operation is O(1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: NIL, len: 0 }
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The place that the next entry gets.
    #[inline]
    pub(crate) fn next_place(&self) -> u32 {
        if self.free == NIL { self.slots.len() as u32 } else { self.free }
    }

    #[inline]
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        self.len += 1;
        let place = self.free;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            if let Slot::Free { next } = *slot {
                self.free = next;
            }
            *slot = Slot::Used(entry);
            return place;
        }
        // The limits of queue, window and requests keep the count far below `NIL`.
        let place = self.slots.len() as u32;
        self.slots.push(Slot::Used(entry));
        place
    }

    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        match self.slots.get(place as usize) {
            Some(Slot::Used(entry)) => Some(entry),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self.slots.get_mut(place as usize) {
            Some(Slot::Used(entry)) => Some(entry),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let slot = self.slots.get_mut(place as usize)?;
        if matches!(slot, Slot::Free { .. }) {
            return None;
        }
        let Slot::Used(entry) = core::mem::replace(slot, Slot::Free { next: self.free }) else {
            return None;
        };
        self.freed(place);
        Some(entry)
    }

    /// Drops an entry where it is.
    #[inline]
    pub(crate) fn discard(&mut self, place: u32) {
        if let Some(slot @ Slot::Used(_)) = self.slots.get_mut(place as usize) {
            *slot = Slot::Free { next: self.free };
            self.freed(place);
        }
    }

    #[inline]
    fn freed(&mut self, place: u32) {
        self.free = place;
        self.len -= 1;
        if self.len == 0 && self.slots.len() > KEEP {
            self.slots = Vec::new();
            self.free = NIL;
        }
    }
}

/// The neighbours of an entry in the one list that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Links {
    previous: u32,
    next: u32,
}

impl Links {
    pub(crate) const NONE: Self = Self { previous: NIL, next: NIL };

    /// The place behind, or [`NIL`].
    pub(crate) const fn next(self) -> u32 {
        self.next
    }
}

/// An entry that a [`List`] can run through.
pub(crate) trait Linked {
    fn links(&self) -> &Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// An order of some entries of a [`Slab`]. Every operation is O(1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct List {
    first: u32,
    last: u32,
    len: usize,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self { first: NIL, last: NIL, len: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The first place, or [`NIL`].
    pub(crate) const fn first(&self) -> u32 {
        self.first
    }

    /// The place behind `place`, or [`NIL`].
    #[inline]
    pub(crate) fn next<T: Linked>(slab: &Slab<T>, place: u32) -> u32 {
        slab.get(place).map_or(NIL, |entry| entry.links().next)
    }

    #[inline]
    pub(crate) fn push_back<T: Linked>(&mut self, slab: &mut Slab<T>, place: u32) {
        let last = self.last;
        if let Some(entry) = slab.get_mut(place) {
            *entry.links_mut() = Links { previous: last, next: NIL };
        }
        match slab.get_mut(last) {
            Some(entry) => entry.links_mut().next = place,
            None => self.first = place,
        }
        self.last = place;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn unlink<T: Linked>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some(entry) = slab.get_mut(place) else { return };
        let Links { previous, next } = core::mem::replace(entry.links_mut(), Links::NONE);
        match slab.get_mut(previous) {
            Some(entry) => entry.links_mut().next = next,
            None => self.first = next,
        }
        match slab.get_mut(next) {
            Some(entry) => entry.links_mut().previous = previous,
            None => self.last = previous,
        }
        self.len -= 1;
    }

    /// Puts the whole of `front` before this list.
    pub(crate) fn prepend<T: Linked>(&mut self, slab: &mut Slab<T>, front: Self) {
        if front.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = front;
            return;
        }
        if let Some(entry) = slab.get_mut(front.last) {
            entry.links_mut().next = self.first;
        }
        if let Some(entry) = slab.get_mut(self.first) {
            entry.links_mut().previous = front.last;
        }
        self.first = front.first;
        self.len += front.len;
    }

    /// The entries in order, with their places.
    pub(crate) fn iter<'s, T: Linked>(
        &self,
        slab: &'s Slab<T>,
    ) -> impl Iterator<Item = (u32, &'s T)> + use<'s, T> {
        let mut at = self.first;
        core::iter::from_fn(move || {
            let entry = slab.get(at)?;
            let place = at;
            at = entry.links().next;
            Some((place, entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(u8, Links);
    impl Linked for Item {
        fn links(&self) -> &Links {
            &self.1
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.1
        }
    }

    fn order(list: &List, slab: &Slab<Item>) -> Vec<u8> {
        list.iter(slab).map(|(_, item)| item.0).collect()
    }

    #[test]
    fn lists_keep_their_order_over_any_removal() {
        let mut slab = Slab::new();
        let mut list = List::new();
        let places: Vec<u32> = (0..5)
            .map(|n| {
                let place = slab.insert(Item(n, Links::NONE));
                list.push_back(&mut slab, place);
                place
            })
            .collect();
        list.unlink(&mut slab, places[2]);
        slab.remove(places[2]);
        assert_eq!(order(&list, &slab), [0, 1, 3, 4]);
        list.unlink(&mut slab, places[0]);
        list.unlink(&mut slab, places[4]);
        assert_eq!(order(&list, &slab), [1, 3]);
        let mut front = List::new();
        front.push_back(&mut slab, places[4]);
        front.push_back(&mut slab, places[0]);
        list.prepend(&mut slab, front);
        assert_eq!(order(&list, &slab), [4, 0, 1, 3]);
        assert_eq!(list.len(), 4);
        let mut empty = List::new();
        empty.prepend(&mut slab, list);
        assert_eq!(order(&empty, &slab), [4, 0, 1, 3]);
    }

    #[test]
    fn places_are_used_again_and_given_back() {
        let mut slab = Slab::new();
        for _ in 0..10 {
            let places: Vec<u32> = (0..200).map(|n| slab.insert(n)).collect();
            assert_eq!(places.iter().max(), Some(&199));
            for place in places {
                assert!(slab.remove(place).is_some());
                assert!(slab.remove(place).is_none());
            }
            assert_eq!(slab.len(), 0);
            assert_eq!(slab.slots.capacity(), 0, "many empty places are not kept");
        }
    }
}
