//! Breadth first through all states, each once.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

use super::Config;
use super::world::{Action, World};

/// No state.
const NONE: u32 = u32::MAX;

/// The longest way that a fair continuation may take.
const MAX_STEPS: u32 = 300;

/// So many steps to a broken rule are shown; a breadth first search finds the fewest.
const MAX_SHOWN: usize = 100;

/// A state is known by 128 bits of hash: that two of ten million share them has a chance of 10^-25.
type Key = [u64; 2];

/// Takes what is hashed as bytes.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher.finish()
    }
}

fn key(world: &World) -> Key {
    let mut bytes = Bytes::default();
    world.hash(&mut bytes);
    let first = bytes.finish();
    bytes.write_u8(1);
    [first, bytes.finish()]
}

/// What is known of a state that was seen.
struct Node {
    /// From where it was first reached, and how.
    parent: u32,
    action: Action,
    /// Where its fair continuation leads.
    fair: u32,
}

/// How large the space was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) states: usize,
    pub(super) transitions: u64,
}

/// All states that were seen.
struct Search<'c> {
    config: &'c Config,
    known: HashMap<Key, u32>,
    nodes: Vec<Node>,
    transitions: u64,
}

/// Explores all states of a configuration, checks each transition, and that each state leads to an end where nothing is
/// missing.
///
/// # Panics
/// With the shortest way to a state in which a rule is broken.
pub(super) fn explore(config: &Config) -> Size {
    let begin = Instant::now();
    let mut search = Search { config, known: HashMap::new(), nodes: Vec::new(), transitions: 0 };
    let mut queue = VecDeque::new();
    let start = World::new(config);
    search.enter(key(&start), NONE, Action::Connect);
    queue.push_back((0, start));
    while let Some((at, world)) = queue.pop_front() {
        search.expand(at, &world, &mut queue);
    }
    let longest = search.continue_fairly();
    let size = Size { states: search.nodes.len(), transitions: search.transitions };
    println!(
        "{:<28} {:>9} states {:>10} transitions, at most {longest:>3} steps to the end, {:>6.1} s",
        config.name,
        size.states,
        size.transitions,
        begin.elapsed().as_secs_f64()
    );
    size
}

impl Search<'_> {
    /// The number of a state, and whether it is new.
    fn enter(&mut self, key: Key, parent: u32, action: Action) -> (u32, bool) {
        let next = self.nodes.len() as u32;
        let at = *self.known.entry(key).or_insert(next);
        if at == next {
            if self.nodes.len() >= self.config.max_states {
                self.fail(parent, Some(action), "more states than expected");
            }
            self.nodes.push(Node { parent, action, fair: NONE });
        }
        (at, at == next)
    }

    fn expand(&mut self, at: u32, world: &World, queue: &mut VecDeque<(u32, World)>) {
        let fair = world.fair();
        if fair.is_none() {
            if let Err(why) = world.quiescent(self.config) {
                self.fail(at, None, &why);
            }
        }
        let mut actions = world.actions(self.config);
        // What is fair is possible, even where the configuration has no such fault.
        actions.extend(fair.filter(|fair| !actions.contains(fair)));
        for action in actions {
            let mut next = world.clone();
            self.transitions += 1;
            if let Err(why) = next.apply(action, self.config) {
                self.fail(at, Some(action), &why);
            }
            let (to, new) = self.enter(key(&next), at, action);
            if Some(action) == fair {
                self.nodes[at as usize].fair = to;
            }
            if new {
                queue.push_back((to, next));
            }
        }
    }

    /// Every state has one fair continuation, which is among the transitions: none may lead in a circle. The length of
    /// the longest.
    fn continue_fairly(&self) -> u32 {
        // The steps from a state to its end; zero is not known yet.
        let mut steps = vec![0_u32; self.nodes.len()];
        let mut way = Vec::new();
        let mut longest = 0;
        for start in 0..self.nodes.len() as u32 {
            let mut at = start;
            while at != NONE && steps[at as usize] == 0 {
                way.push(at);
                at = self.nodes[at as usize].fair;
                if way.len() > MAX_STEPS as usize {
                    self.fail(start, None, "its fair continuation does not come to an end");
                }
            }
            let mut left = if at == NONE { 0 } else { steps[at as usize] };
            while let Some(before) = way.pop() {
                left += 1;
                steps[before as usize] = left;
            }
            longest = longest.max(left);
        }
        longest
    }

    /// Shows the way to a broken rule.
    fn fail(&self, at: u32, last: Option<Action>, why: &str) -> ! {
        let mut way: Vec<Action> = last.into_iter().collect();
        let mut at = at;
        while let Some(node) = self.nodes.get(at as usize).filter(|node| node.parent != NONE) {
            way.push(node.action);
            at = node.parent;
        }
        way.reverse();
        let shown = &way[..way.len().min(MAX_SHOWN)];
        panic!("{}: {why}\nafter {} steps: {shown:?}", self.config.name, way.len());
    }
}
