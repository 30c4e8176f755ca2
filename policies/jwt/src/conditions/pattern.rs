//! Regular expressions that match a whole text, in time that grows with the text and no faster.
//!
//! A small engine of our own: the least that the field's crates need (parser, compiler, tables) is
//! 313 KB of a module of 1.1 MB, and the small one of them needs std. What it understands is what
//! names are made of; the tests hold it to regex-automata over generated patterns and texts.

mod parse;

use alloc::{vec, vec::Vec};
use core::fmt;

use parse::Node;

/// A longer pattern is refused.
const MAX_PATTERN_BYTES: usize = 256;
/// A longer text is not compared: nothing that names somebody or something is longer.
const MAX_TEXT_BYTES: usize = 1024;
/// States of one pattern, repetitions written out. Each one may cost a step for each character.
const MAX_STATES: usize = 1024;

/// A pattern as a nondeterministic automaton, whose states are followed all at once (Thompson): no
/// backtracking, so no catastrophic one (CVE-2016-4055 and its kin).
#[derive(Clone)]
pub(crate) struct Pattern {
    states: Vec<State>,
    start: usize,
}

#[derive(Clone, Debug)]
enum State {
    /// Takes one character of the set.
    Take(Set, usize),
    /// Goes on in each of these.
    Fork(Vec<usize>),
    /// The end of the pattern.
    End,
}

/// Characters by their ranges, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Set {
    fn has(&self, character: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != self.negated
    }
}

impl Pattern {
    /// The automaton of `pattern`.
    ///
    /// # Errors
    ///
    /// Why there is none, for people.
    pub(crate) fn new(pattern: &str) -> Result<Self, &'static str> {
        if pattern.is_empty() {
            return Err("empty: only an empty text would match");
        }
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err("longer than 256 bytes; compare with several shorter ones");
        }
        let node = parse::parse(pattern)?;
        let mut builder = Builder { states: vec![State::End], left: MAX_STATES };
        let start = builder.add(&node, 0).ok_or("too complex: more than 1024 states; use smaller counts")?;
        Ok(Self { states: builder.states, start })
    }

    /// Whether all of `text` matches; `None` where it is too long to be compared.
    pub(crate) fn matches(&self, text: &str) -> Option<bool> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let mut now = Active::new(self.states.len());
        now.enter(self.start, &self.states);
        let mut next = Active::new(self.states.len());
        for character in text.chars() {
            for state in now.members.drain(..) {
                if let Some(State::Take(set, then)) = self.states.get(state)
                    && set.has(character)
                {
                    next.enter(*then, &self.states);
                }
            }
            now.seen.fill(false);
            now.ended = false;
            core::mem::swap(&mut now, &mut next);
        }
        Some(now.ended)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} states)", self.states.len())
    }
}

/// The states that the text so far leads to.
struct Active {
    members: Vec<usize>,
    seen: Vec<bool>,
    ended: bool,
    /// Forks still to be followed; kept for its memory.
    ahead: Vec<usize>,
}

impl Active {
    fn new(states: usize) -> Self {
        Self { members: Vec::new(), seen: vec![false; states], ended: false, ahead: Vec::new() }
    }

    /// Adds `state` and all that it leads to without a character.
    fn enter(&mut self, state: usize, states: &[State]) {
        self.ahead.push(state);
        while let Some(state) = self.ahead.pop() {
            let Some(seen) = self.seen.get_mut(state).filter(|seen| !**seen) else { continue };
            *seen = true;
            match states.get(state) {
                Some(State::Take(..)) => self.members.push(state),
                Some(State::Fork(ways)) => self.ahead.extend(ways),
                Some(State::End) => self.ended = true,
                None => {}
            }
        }
    }
}

/// Writes an automaton from its end to its start.
struct Builder {
    states: Vec<State>,
    left: usize,
}

impl Builder {
    /// The state that begins `node` and goes on in `next`; `None` where that is too much.
    fn add(&mut self, node: &Node, next: usize) -> Option<usize> {
        // Also counts nodes without a state, so that empty groups cannot be repeated for ever.
        self.left = self.left.checked_sub(1)?;
        match node {
            Node::Set(set) => Some(self.push(State::Take(set.clone(), next))),
            Node::Sequence(parts) => parts.iter().rev().try_fold(next, |next, part| self.add(part, next)),
            Node::Alternatives(parts) => {
                let ways = parts.iter().map(|part| self.add(part, next)).collect::<Option<Vec<_>>>()?;
                Some(self.push(State::Fork(ways)))
            }
            Node::Repeated { node, least, most } => {
                let mut entry = next;
                match most {
                    None => {
                        entry = self.push(State::Fork(Vec::new()));
                        let body = self.add(node, entry)?;
                        *self.states.get_mut(entry)? = State::Fork(vec![body, next]);
                    }
                    Some(most) => {
                        for _ in *least..*most {
                            let body = self.add(node, entry)?;
                            entry = self.push(State::Fork(vec![body, next]));
                        }
                    }
                }
                (0..*least).try_fold(entry, |entry, _| self.add(node, entry))
            }
        }
    }

    fn push(&mut self, state: State) -> usize {
        self.states.push(state);
        self.states.len().saturating_sub(1)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test's own")]
mod tests;
