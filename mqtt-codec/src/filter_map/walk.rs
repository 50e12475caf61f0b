use crate::TopicNameRef;

use super::arena::{Arena, ROOT};

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
    MultiLevel,
    /// Yield the node itself, if the topic ends here.
    End,
    /// Go down to the level as the topic has it.
    Literal,
    /// Go down to `+`.
    SingleLevel,
    /// Go back up.
    Up,
}

impl<'t> Walk<'t> {
    #[inline]
    pub(super) fn new(topic: TopicNameRef<'t>) -> Self {
        Self { topic: topic.as_bytes(), node: ROOT, next_level: 0, step: Step::MultiLevel }
    }

    /// Goes on to the next node that has an entry and matches the topic.
    pub(super) fn next<E>(&mut self, arena: &Arena<E>) -> Option<usize> {
        loop {
            match self.step {
                Step::MultiLevel => {
                    self.step = Step::End;
                    if self.wildcards_match() {
                        if let Some(child) = arena.multi_level(self.node) {
                            return Some(child);
                        }
                    }
                }
                Step::End if self.next_level > self.topic.len() => {
                    self.step = Step::Up;
                    if arena.entry(self.node).is_some() {
                        return Some(self.node);
                    }
                }
                Step::End => self.step = Step::Literal,
                Step::Literal => {
                    self.step = Step::SingleLevel;
                    let level = self.level();
                    if let Some(child) = arena.literal(self.node, level) {
                        self.go_down(child, level.len());
                    }
                }
                Step::SingleLevel => {
                    self.step = Step::Up;
                    if self.wildcards_match() {
                        if let Some(child) = arena.single_level(self.node) {
                            self.go_down(child, self.level().len());
                        }
                    }
                }
                Step::Up => {
                    let parent = arena.parent(self.node)?;
                    let was_wildcard = arena.single_level(parent) == Some(self.node);
                    self.step = if was_wildcard { Step::Up } else { Step::SingleLevel };
                    self.node = parent;
                    self.next_level = self.previous_level();
                }
            }
        }
    }

    /// A wildcard in the first level does not match a topic that begins with `$` [MQTT-4.7.2-1].
    fn wildcards_match(&self) -> bool {
        self.node != ROOT || !self.topic.starts_with(b"$")
    }

    fn go_down(&mut self, child: usize, level_len: usize) {
        self.node = child;
        self.next_level += level_len + 1;
        self.step = Step::MultiLevel;
    }

    fn level(&self) -> &'t [u8] {
        let rest = self.topic.get(self.next_level..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn previous_level(&self) -> usize {
        let end = self.next_level.saturating_sub(1);
        let before = self.topic.get(..end).unwrap_or_default();
        before.iter().rposition(|&byte| byte == b'/').map_or(0, |separator| separator + 1)
    }
}
