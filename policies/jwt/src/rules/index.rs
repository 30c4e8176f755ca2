//! The rules by host and by the segments of their paths, so that finding the first one that matches
//! takes as many steps as the request's path has segments, however many rules there are.

use alloc::{borrow::Cow, boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use super::{HostPattern, Part, PathPattern, Rule};

/// Where rules are found. A rule that names several hosts is in several places.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    any_host: Node,
    exact: BTreeMap<String, Node>,
    one_label_below: BTreeMap<String, Node>,
}

/// One place in the tree of paths.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: BTreeMap<String, Node>,
    variable: Option<Box<Node>>,
    /// Rules whose path ends here, in ascending order.
    here: Vec<usize>,
    /// Rules for this path and every one below, in ascending order.
    below: Vec<usize>,
    /// The first rule of this place and all below it.
    first: Option<usize>,
}

/// A search for the first rule.
struct Search<'s> {
    rules: &'s [Rule],
    method: &'s str,
    found: Option<usize>,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            if rule.hosts.is_empty() {
                index.any_host.add(&rule.path, at);
            }
            for host in &rule.hosts {
                let (tree, name) = match host {
                    HostPattern::Exact(name) => (&mut index.exact, name),
                    HostPattern::OneLabelBelow(base) => (&mut index.one_label_below, base),
                };
                tree.entry(name.clone()).or_default().add(&rule.path, at);
            }
        }
        index
    }

    /// The index of the first of `rules` that matches.
    pub(super) fn find(
        &self,
        rules: &[Rule],
        method: &str,
        host: &str,
        path: &[Cow<'_, str>],
    ) -> Option<usize> {
        let mut search = Search { rules, method, found: None };
        search.below(&self.any_host, path);
        if let Some(node) = self.exact.get(host) {
            search.below(node, path);
        }
        if let Some((label, base)) = host.split_once('.')
            && !label.is_empty()
            && let Some(node) = self.one_label_below.get(base)
        {
            search.below(node, path);
        }
        search.found
    }
}

impl Node {
    fn add(&mut self, path: &PathPattern, rule: usize) {
        match path {
            PathPattern::Any => self.add_at(core::iter::empty(), true, rule),
            PathPattern::Exact(segments) => self.add_at(segments.iter().map(Some), false, rule),
            PathPattern::Prefix(segments) => self.add_at(segments.iter().map(Some), true, rule),
            PathPattern::Template(parts) => {
                let steps = parts.iter().map_while(|part| match part {
                    Part::Literal(own) => Some(Some(own)),
                    Part::Variable(_) => Some(None),
                    Part::Rest => None,
                });
                self.add_at(steps, parts.contains(&Part::Rest), rule);
            }
        }
    }

    /// `steps` are segments, and nothing for any one segment.
    fn add_at<'s>(&mut self, steps: impl Iterator<Item = Option<&'s String>>, goes_on: bool, rule: usize) {
        let mut node = self;
        node.first.get_or_insert(rule);
        for step in steps {
            node = match step {
                Some(literal) => node.literals.entry(literal.clone()).or_default(),
                None => node.variable.get_or_insert_default(),
            };
            node.first.get_or_insert(rule);
        }
        // A rule may name a host twice.
        let rules = if goes_on { &mut node.below } else { &mut node.here };
        if rules.last() != Some(&rule) {
            rules.push(rule);
        }
    }
}

impl Search<'_> {
    fn below(&mut self, node: &Node, path: &[Cow<'_, str>]) {
        if !node.first.is_some_and(|first| self.is_better(first)) {
            return;
        }
        self.take(&node.below);
        let Some((segment, rest)) = path.split_first() else { return self.take(&node.here) };
        if let Some(next) = node.literals.get(segment.as_ref()) {
            self.below(next, rest);
        }
        if let Some(next) = node.variable.as_deref().filter(|_| !segment.is_empty()) {
            self.below(next, rest);
        }
    }

    fn take(&mut self, rules: &[usize]) {
        let is_for =
            |rule: &Rule| rule.methods.is_empty() || rule.methods.iter().any(|own| own == self.method);
        let mut better = rules.iter().copied().take_while(|at| self.is_better(*at));
        if let Some(at) = better.find(|at| self.rules.get(*at).is_some_and(is_for)) {
            self.found = Some(at);
        }
    }

    fn is_better(&self, rule: usize) -> bool {
        self.found.is_none_or(|found| rule < found)
    }
}

#[cfg(test)]
mod tests;
