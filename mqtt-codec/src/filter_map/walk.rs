use core::ops::ControlFlow;

use crate::TopicNameRef;

use super::arena::{Arena, Node, ROOT};

/// A walk over all nodes of the trie whose levels match a topic.
///
/// Depth first, and without a stack: nodes know their parent, and where the level of a parent begins in the
/// topic is found by looking back for the separator. So a walk needs no memory, and no depth can overflow it.
#[derive(Clone, Debug)]
pub(super) struct Walk<'t> {
    topic: &'t [u8],
    node: usize,
    /// Where the level below `node` begins in the topic; behind its end when `node` stands for the last level.
    next_level: usize,
    step: Step,
}

/// What is to be done at a node, in this order.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Yield `#` below the node: it matches this level and everything below.
    Arrive,
    /// Yield the node itself if the topic ends here; go down to the level as the topic has it, or to `+`.
    Descend,
    /// Go back up to the next node whose `+` was not tried, from so many levels below the place in the topic.
    Ascend { climbed: usize },
}

impl<'t> Walk<'t> {
    #[inline]
    pub(super) fn new(topic: TopicNameRef<'t>) -> Self {
        Self { topic: topic.as_bytes(), node: ROOT, next_level: 0, step: Step::Arrive }
    }

    /// Goes on to the next node that has an entry and matches the topic.
    #[inline]
    pub(super) fn next<E>(&mut self, arena: &Arena<E>) -> Option<usize> {
        loop {
            if let ControlFlow::Break(node) = self.step(arena) {
                return node;
            }
        }
    }

    /// Takes one step; breaks with a node that matches, or with `None` at the end.
    #[inline]
    fn step<E>(&mut self, arena: &Arena<E>) -> ControlFlow<Option<usize>> {
        let Some(node) = arena.node(self.node) else {
            return ControlFlow::Break(None);
        };
        match self.step {
            Step::Arrive => {
                self.step = Step::Descend;
                match node.multi_level() {
                    Some(child) if self.wildcards_match() => ControlFlow::Break(Some(child)),
                    _ => ControlFlow::Continue(()),
                }
            }
            Step::Descend if self.next_level > self.topic.len() => {
                self.step = Step::Ascend { climbed: 0 };
                if node.entry().is_some() {
                    return ControlFlow::Break(Some(self.node));
                }
                ControlFlow::Continue(())
            }
            Step::Descend => {
                let level = self.level();
                let literal = if node.has_literals() { arena.literal(self.node, level) } else { None };
                match literal.or_else(|| node.single_level().filter(|_| self.wildcards_match())) {
                    Some(child) => self.go_down(child, level.len()),
                    None => self.step = Step::Ascend { climbed: 0 },
                }
                ControlFlow::Continue(())
            }
            Step::Ascend { climbed } => {
                let Some(parent) = node.parent() else {
                    return ControlFlow::Break(None);
                };
                let untried =
                    arena.node(parent).and_then(Node::single_level).filter(|&child| child != self.node);
                self.node = parent;
                self.step = Step::Ascend { climbed: climbed + 1 };
                if let Some(child) = untried.filter(|_| self.wildcards_match()) {
                    self.go_back(climbed + 1);
                    self.go_down(child, self.level().len());
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// A wildcard in the first level does not match a topic that begins with `$` [MQTT-4.7.2-1].
    #[inline]
    fn wildcards_match(&self) -> bool {
        self.node != ROOT || !self.topic.starts_with(b"$")
    }

    #[inline]
    fn go_down(&mut self, child: usize, level_len: usize) {
        self.node = child;
        self.next_level += level_len + 1;
        self.step = Step::Arrive;
    }

    #[inline]
    fn level(&self) -> &'t [u8] {
        let rest = self.topic.get(self.next_level..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Puts the place in the topic back by so many levels.
    fn go_back(&mut self, levels: usize) {
        for _ in 0..levels {
            let end = self.next_level.saturating_sub(1);
            let before = self.topic.get(..end).unwrap_or_default();
            self.next_level =
                before.iter().rposition(|&byte| byte == b'/').map_or(0, |separator| separator + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn steps(arena: &Arena<()>, topic: &str) -> usize {
        let mut walk = Walk::new(TopicNameRef::new(topic).unwrap());
        let mut steps = 0;
        while walk.step(arena) != ControlFlow::Break(None) {
            steps += 1;
        }
        steps
    }

    fn insert(arena: &mut Arena<()>, filter: &str) {
        let node = filter.split('/').fold(ROOT, |node, level| arena.child_or_insert(node, level.as_bytes()));
        *arena.entry_mut(node).unwrap() = Some(());
    }

    #[test]
    fn the_steps_do_not_depend_on_the_number_of_filters() {
        let mut arena = Arena::new();
        insert(&mut arena, "plant/+/temperature");
        let before = steps(&arena, "plant/7/temperature");
        for number in 0..1000 {
            insert(&mut arena, &format!("plant/{number}x/temperature"));
            insert(&mut arena, &format!("office/{number}"));
        }
        assert_eq!(steps(&arena, "plant/7/temperature"), before);
    }

    #[test]
    fn the_steps_grow_with_the_levels_and_not_faster() {
        let mut arena = Arena::new();
        let slashes = "/".repeat(65_535);
        insert(&mut arena, &slashes);
        insert(&mut arena, &"+/".repeat(32_767));
        assert!(steps(&arena, &slashes) <= 6 * 2 * 65_536);
    }
}
