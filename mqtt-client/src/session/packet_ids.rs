//! Which Packet Identifiers are in use, and by what.

use alloc::vec::Vec;

use mqtt_codec::PacketId;

/// What an identifier stands for: a place among the publishes or among the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Publish(u32),
    Request(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    id: PacketId,
    owner: Owner,
}

impl Slot {
    #[inline]
    fn home(&self, mask: usize) -> usize {
        usize::from(self.id.get()) & mask
    }

    /// How far from its home it is when it is at `at`.
    #[inline]
    fn distance(&self, at: usize, mask: usize) -> usize {
        at.wrapping_sub(self.home(mask)) & mask
    }
}

/// Up to this many slots are kept when no identifier is in use.
const KEEP: usize = 256;

/// The identifiers in use: a ring in which an identifier normally sits at its own number, with linear probing for the
/// few that stay behind while the rest moves on. It grows with what is in use, never beyond 128 Ki slots.
///
/// New identifiers come from the whole range in turn, so that one that was just freed is used again last: a late
/// second acknowledgement of it can then not acknowledge another message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PacketIds {
    slots: Vec<Option<Slot>>,
    len: usize,
    next: PacketId,
}

impl PacketIds {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0, next: PacketId::MIN }
    }

    /// Takes the next free identifier for `owner`; `None` when all 65 535 are in use. O(1) on average.
    #[inline]
    pub(crate) fn allocate(&mut self, owner: Owner) -> Option<PacketId> {
        if self.len >= usize::from(PacketId::MAX.get()) {
            return None;
        }
        let mut id = self.next;
        while self.get(id).is_some() {
            id = id.next();
        }
        self.next = id.next();
        self.occupy(id, owner);
        Some(id)
    }

    /// Marks `id` as in use; false if it is already.
    pub(crate) fn insert(&mut self, id: PacketId, owner: Owner) -> bool {
        if self.find(id).is_some() {
            return false;
        }
        self.occupy(id, owner);
        true
    }

    #[inline]
    fn occupy(&mut self, id: PacketId, owner: Owner) {
        // At most half full, so that a free slot ends every probe soon.
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.len += 1;
        self.put(Slot { id, owner });
    }

    /// Puts a slot as near to its home as it gets, where one that is nearer to its own gives way: so the slots behind
    /// one another are in the order of their homes.
    #[inline]
    fn put(&mut self, mut slot: Slot) {
        let Some(mask) = self.slots.len().checked_sub(1) else { return };
        let mut at = slot.home(mask);
        while let Some(place) = self.slots.get_mut(at) {
            let Some(there) = place else {
                *place = Some(slot);
                return;
            };
            if there.distance(at, mask) < slot.distance(at, mask) {
                core::mem::swap(there, &mut slot);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: PacketId) -> Option<Owner> {
        self.find(id).map(|(_, owner)| owner)
    }

    /// Frees `id`.
    #[inline]
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<Owner> {
        let (mut hole, owner) = self.find(id)?;
        let mask = self.slots.len() - 1;
        // Close the hole: what follows moves back by one, up to the first that is where it belongs.
        loop {
            let next = (hole + 1) & mask;
            let moved = self.slots.get(next).copied().flatten().filter(|slot| slot.distance(next, mask) > 0);
            if let Some(place) = self.slots.get_mut(hole) {
                *place = moved;
            }
            if moved.is_none() {
                break;
            }
            hole = next;
        }
        self.len -= 1;
        if self.len == 0 && self.slots.len() > KEEP {
            self.slots = Vec::new();
        }
        Some(owner)
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The identifier that will be tried first.
    pub(crate) const fn cursor(&self) -> PacketId {
        self.next
    }

    pub(crate) fn set_cursor(&mut self, next: PacketId) {
        self.next = next;
    }

    #[inline]
    fn find(&self, id: PacketId) -> Option<(usize, Owner)> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = usize::from(id.get()) & mask;
        let mut distance = 0;
        while let Some(Some(slot)) = self.slots.get(at) {
            if slot.id == id {
                return Some((at, slot.owner));
            }
            // It would have made this one give way.
            if slot.distance(at, mask) < distance {
                return None;
            }
            at = (at + 1) & mask;
            distance += 1;
        }
        None
    }

    #[cold]
    fn grow(&mut self) {
        let len = (self.slots.len() * 2).max(16);
        let old = core::mem::replace(&mut self.slots, alloc::vec![None; len]);
        for slot in old.into_iter().flatten() {
            self.put(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    #[test]
    fn every_identifier_is_handed_out_once_and_then_none() {
        let mut ids = PacketIds::new();
        let mut seen = alloc::vec![false; 65_536];
        for n in 0..65_535_u32 {
            let id = ids.allocate(Owner::Publish(n)).unwrap();
            assert!(!core::mem::replace(&mut seen[usize::from(id.get())], true));
        }
        assert_eq!(ids.allocate(Owner::Publish(0)), None);
        assert_eq!(ids.remove(id(777)), Some(Owner::Publish(776)));
        assert_eq!(ids.allocate(Owner::Request(5)), Some(id(777)));
        assert_eq!(ids.allocate(Owner::Publish(0)), None);
        assert!(ids.slots.len() <= 131_072);
    }

    #[test]
    fn a_freed_identifier_is_used_again_last() {
        let mut ids = PacketIds::new();
        assert_eq!(ids.allocate(Owner::Publish(0)), Some(id(1)));
        ids.remove(id(1));
        assert_eq!(ids.allocate(Owner::Publish(0)), Some(id(2)));
        ids.set_cursor(id(65_535));
        assert_eq!(ids.allocate(Owner::Publish(0)), Some(id(65_535)));
        assert_eq!(ids.allocate(Owner::Publish(0)), Some(id(1)), "zero is no identifier");
        assert_eq!(ids.allocate(Owner::Publish(0)), Some(id(3)), "2 is in use");
    }

    proptest::proptest! {
        /// Against a map, with identifiers that collide on purpose.
        #[test]
        fn behaves_as_a_map(steps in proptest::collection::vec((0_u8..3, 0_u16..8, 0_u16..6), 1..400)) {
            let mut ids = PacketIds::new();
            let mut model = BTreeMap::new();
            for (n, (step, low, high)) in steps.into_iter().enumerate() {
                let id = id(high * 64 + low + 1);
                let owner = Owner::Publish(n as u32);
                match step {
                    0 => {
                        let fresh = !model.contains_key(&id);
                        assert_eq!(ids.insert(id, owner), fresh);
                        if fresh { model.insert(id, owner); }
                    }
                    1 => assert_eq!(ids.remove(id), model.remove(&id)),
                    _ => {
                        let new = ids.allocate(owner).unwrap();
                        assert!(model.insert(new, owner).is_none(), "in use");
                    }
                }
                assert_eq!(ids.len(), model.len());
                for (id, owner) in &model {
                    assert_eq!(ids.get(*id), Some(*owner));
                }
            }
        }
    }
}
