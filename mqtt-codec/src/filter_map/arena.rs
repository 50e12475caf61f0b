use alloc::{boxed::Box, vec::Vec};
use core::slice;

/// The node that stands before the first level.
pub(super) const ROOT: usize = 0;

/// No node.
const NONE: usize = usize::MAX;

/// The number of children that marks a free node.
const FREE: usize = usize::MAX;

/// Fewer nodes than this are never worth moving together.
const MIN_COMPACTION: usize = 32;

/// The nodes of a trie of topic levels, in one `Vec`, linked by index.
///
/// The children of all nodes stand in one hash table, by parent and level, but for `+` and `#`, which every
/// parent knows. Dropping is flat, however deep the trie.
#[derive(Clone)]
pub(super) struct Arena<E> {
    /// The root first; empty until the first insertion.
    nodes: Vec<Node<E>>,
    /// Where the literal nodes stand: open addressing, a power of two, at most three quarters full, or empty.
    table: Vec<usize>,
    literals: usize,
    /// The first free node, which has the next one as its parent.
    free: usize,
    free_len: usize,
}

#[derive(Clone)]
pub(super) struct Node<E> {
    parent: usize,
    /// The text of the level. A copy, so that it does not keep the memory of a filter that is gone.
    level: Box<[u8]>,
    hash: usize,
    single_level: usize,
    multi_level: usize,
    /// How many children there are, the wildcards included.
    children: usize,
    entry: Option<E>,
}

impl<E> Node<E> {
    fn new(parent: usize, level: &[u8], hash: usize) -> Self {
        Self {
            parent,
            level: Box::from(level),
            hash,
            single_level: NONE,
            multi_level: NONE,
            children: 0,
            entry: None,
        }
    }

    #[inline]
    pub(super) fn entry(&self) -> Option<&E> {
        self.entry.as_ref()
    }

    #[inline]
    pub(super) fn parent(&self) -> Option<usize> {
        some(self.parent)
    }

    #[inline]
    pub(super) fn single_level(&self) -> Option<usize> {
        some(self.single_level)
    }

    #[inline]
    pub(super) fn multi_level(&self) -> Option<usize> {
        some(self.multi_level)
    }

    /// Whether there are children other than `+` and `#`.
    #[inline]
    pub(super) fn has_literals(&self) -> bool {
        self.children > usize::from(self.single_level != NONE) + usize::from(self.multi_level != NONE)
    }

    fn is_free(&self) -> bool {
        self.children == FREE
    }

    fn is_literal(&self) -> bool {
        !self.is_free() && self.parent != NONE && !matches!(*self.level, [b'+' | b'#'])
    }
}

impl<E> Arena<E> {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), table: Vec::new(), literals: 0, free: NONE, free_len: 0 }
    }

    #[inline]
    pub(super) fn node(&self, node: usize) -> Option<&Node<E>> {
        self.nodes.get(node)
    }

    pub(super) fn entry(&self, node: usize) -> Option<&E> {
        self.node(node)?.entry()
    }

    pub(super) fn entry_mut(&mut self, node: usize) -> Option<&mut Option<E>> {
        Some(&mut self.nodes.get_mut(node)?.entry)
    }

    pub(super) fn entries(&self) -> Entries<'_, E> {
        Entries(self.nodes.iter())
    }

    /// Finds the child that stands for this text and no other.
    #[inline]
    pub(super) fn literal(&self, parent: usize, level: &[u8]) -> Option<usize> {
        let hash = hash(parent, level);
        self.probe(hash).map(|(_, node)| node).find(|&node| {
            self.nodes
                .get(node)
                .is_some_and(|it| it.hash == hash && it.parent == parent && *it.level == *level)
        })
    }

    /// Finds the child of a level of a Topic Filter.
    pub(super) fn child(&self, parent: usize, level: &[u8]) -> Option<usize> {
        match level {
            b"+" => self.node(parent)?.single_level(),
            b"#" => self.node(parent)?.multi_level(),
            _ => self.literal(parent, level),
        }
    }

    pub(super) fn child_or_insert(&mut self, parent: usize, level: &[u8]) -> usize {
        if let Some(child) = self.child(parent, level) {
            return child;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::new(NONE, b"", 0));
        }
        let hash = hash(parent, level);
        let child = self.allocate(Node::new(parent, level, hash));
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children += 1;
            match level {
                b"+" => parent.single_level = child,
                b"#" => parent.multi_level = child,
                _ => self.add_literal(hash, child),
            }
        }
        child
    }

    /// Frees `node` and its ancestors as far as they have neither an entry nor children.
    pub(super) fn prune(&mut self, mut node: usize) {
        while let Some(it) = self.nodes.get_mut(node) {
            if node == ROOT || it.entry.is_some() || it.children > 0 {
                break;
            }
            let (parent, hash) = (it.parent, it.hash);
            *it = Node::new(self.free, b"", 0);
            it.children = FREE;
            self.free = node;
            self.free_len += 1;
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.children -= 1;
                if parent.single_level == node {
                    parent.single_level = NONE;
                } else if parent.multi_level == node {
                    parent.multi_level = NONE;
                } else {
                    self.remove_literal(hash, node);
                }
            }
            node = parent;
        }
        self.compact_if_sparse();
    }

    fn allocate(&mut self, node: Node<E>) -> usize {
        let index = self.free;
        if let Some(slot) = self.nodes.get_mut(index) {
            self.free = slot.parent;
            self.free_len -= 1;
            *slot = node;
            index
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        }
    }

    /// The table's nodes from where one with this hash would stand up to the first gap, with their places.
    fn probe(&self, hash: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mask = self.table.len().wrapping_sub(1);
        (0..self.table.len())
            .map(move |distance| hash.wrapping_add(distance) & mask)
            .map_while(|place| Some((place, some(*self.table.get(place)?)?)))
    }

    fn add_literal(&mut self, hash: usize, node: usize) {
        self.literals += 1;
        if self.literals * 4 > self.table.len() * 3 {
            // The new node is among those that are placed again.
            self.rebuild_table(self.table.len() * 2);
        } else {
            self.place(hash, node);
        }
    }

    fn place(&mut self, hash: usize, node: usize) {
        let mask = self.table.len().wrapping_sub(1);
        let taken = self.probe(hash).count();
        if let Some(slot) = self.table.get_mut(hash.wrapping_add(taken) & mask) {
            *slot = node;
        }
    }

    /// Removes a node and closes the gap, so that no probe ends too early.
    fn remove_literal(&mut self, hash: usize, node: usize) {
        let Some((mut gap, _)) = self.probe(hash).find(|&(_, it)| it == node) else {
            return;
        };
        self.literals -= 1;
        let mask = self.table.len().wrapping_sub(1);
        let mut place = gap;
        loop {
            place = place.wrapping_add(1) & mask;
            let candidate = self.table.get(place).copied().unwrap_or(NONE);
            let Some(home) = self.nodes.get(candidate).map(|it| it.hash) else {
                break;
            };
            // It may move into the gap unless its own place lies behind the gap.
            let distance = place.wrapping_sub(home) & mask;
            if distance >= (place.wrapping_sub(gap) & mask) {
                if let Some(slot) = self.table.get_mut(gap) {
                    *slot = candidate;
                }
                gap = place;
            }
        }
        if let Some(slot) = self.table.get_mut(gap) {
            *slot = NONE;
        }
    }

    /// Makes a table of at least `len` places and puts all literal nodes into it.
    fn rebuild_table(&mut self, len: usize) {
        let len = len.max(self.literals * 4 / 3 + 1).next_power_of_two().max(8);
        self.table = Vec::new();
        self.table.resize(len, NONE);
        for index in 1..self.nodes.len() {
            let Some(node) = self.nodes.get(index) else { continue };
            if node.is_literal() {
                self.place(node.hash, index);
            }
        }
    }

    /// Moves the nodes together when most are free, so that memory follows the number of filters down.
    fn compact_if_sparse(&mut self) {
        if self.nodes.len() < MIN_COMPACTION || self.free_len * 4 < self.nodes.len() * 3 {
            return;
        }
        self.compact();
    }

    fn compact(&mut self) {
        let mut live = 0;
        let new_index: Vec<usize> = self
            .nodes
            .iter()
            .map(|node| {
                if node.is_free() {
                    return NONE;
                }
                live += 1;
                live - 1
            })
            .collect();
        let moved = |old: usize| new_index.get(old).copied().unwrap_or(NONE);
        let mut nodes = Vec::with_capacity(live);
        for mut node in core::mem::take(&mut self.nodes).into_iter().filter(|node| !node.is_free()) {
            node.parent = moved(node.parent);
            node.single_level = moved(node.single_level);
            node.multi_level = moved(node.multi_level);
            node.hash = hash(node.parent, &node.level);
            nodes.push(node);
        }
        self.nodes = nodes;
        self.free = NONE;
        self.free_len = 0;
        self.rebuild_table(0);
    }
}

/// The entries of all nodes, in the order of the arena.
pub(super) struct Entries<'m, E>(slice::Iter<'m, Node<E>>);

impl<'m, E> Iterator for Entries<'m, E> {
    type Item = &'m E;

    fn next(&mut self) -> Option<&'m E> {
        self.0.find_map(|node| node.entry.as_ref())
    }
}

impl<E> Clone for Entries<'_, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[inline]
fn some(node: usize) -> Option<usize> {
    (node != NONE).then_some(node)
}

/// Mixes the parent and the text of a level, a word at a time; the last words may overlap.
#[inline]
fn hash(parent: usize, level: &[u8]) -> usize {
    let seed = parent as u64 ^ (level.len() as u64) << 40;
    if let Some(last) = level.last_chunk::<8>() {
        let mut hash = seed;
        let mut rest = level;
        while let Some((word, tail)) = rest.split_first_chunk::<8>() {
            hash = mix(hash ^ u64::from_le_bytes(*word));
            rest = tail;
        }
        return mix(hash ^ u64::from_le_bytes(*last)) as usize;
    }
    let text = match (level.first_chunk::<4>(), level.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => level.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    mix(mix(seed) ^ text) as usize
}

/// Both halves of a product with an odd constant (the golden ratio): every bit of the input reaches every bit.
#[inline]
fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}
