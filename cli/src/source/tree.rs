//! A document as a tree of places: the parser's events, without their meaning.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle};

/// Deeper documents have no places; every reader refuses them far before.
const MAX_DEPTH: usize = 256;

/// Bytes of the text.
pub(super) type Span = Range<usize>;

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// The documents.
    roots: Vec<usize>,
}

#[derive(Debug)]
struct Node {
    span: Span,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A text, number, and so on, on one line or in several.
    Scalar(ScalarStyle, String),
    /// The elements' numbers.
    List(Vec<usize>),
    /// Names with their places, and the values' numbers.
    Map(Vec<(String, Span, usize)>),
    /// What stands elsewhere.
    Alias,
}

/// A container that is being read.
struct Open {
    node: usize,
    /// The name that waits for its value.
    name: Option<(String, Span)>,
}

impl Tree {
    /// The first document of `text`; none where it cannot be read to its end.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::of(text, false)
    }

    /// Every document of `text`.
    pub(super) fn read_all(text: &str) -> Option<Self> {
        Self::of(text, true)
    }

    fn of(text: &str, all: bool) -> Option<Self> {
        let mut tree = Self { nodes: Vec::new(), roots: Vec::new() };
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.ok()?;
            let span = span.start.byte_offset()?..span.end.byte_offset()?;
            let kind = match event {
                Event::DocumentEnd if !all => break,
                Event::SequenceEnd | Event::MappingEnd => {
                    let closed = open.pop()?;
                    tree.nodes.get_mut(closed.node)?.span.end = span.end;
                    continue;
                }
                Event::Scalar(value, style, ..) => {
                    // In a map a scalar may be a name.
                    let last = open.last_mut();
                    let waits = last.filter(|open| {
                        open.name.is_none() && matches!(tree.nodes[open.node].kind, Kind::Map(_))
                    });
                    if let Some(open) = waits {
                        open.name = Some((value.into_owned(), span));
                        continue;
                    }
                    Kind::Scalar(style, value.into_owned())
                }
                Event::SequenceStart(..) => Kind::List(Vec::new()),
                Event::MappingStart(..) => Kind::Map(Vec::new()),
                Event::Alias(_) => Kind::Alias,
                _ => continue,
            };
            let opens = matches!(kind, Kind::List(_) | Kind::Map(_));
            let number = tree.nodes.len();
            tree.nodes.push(Node { span, kind });
            if let Some(parent) = open.last_mut() {
                match &mut tree.nodes.get_mut(parent.node)?.kind {
                    Kind::List(elements) => elements.push(number),
                    Kind::Map(members) => match parent.name.take() {
                        Some((name, place)) => members.push((name, place, number)),
                        // A name that is no text: no path leads there.
                        None => parent.name = Some((String::new(), 0..0)),
                    },
                    Kind::Scalar(..) | Kind::Alias => return None,
                }
            }
            if open.is_empty() {
                tree.roots.push(number);
            }
            if opens {
                open.push(Open { node: number, name: None });
                if open.len() > MAX_DEPTH {
                    return None;
                }
            }
        }
        (open.is_empty() && !tree.nodes.is_empty()).then_some(tree)
    }

    /// Where the document begins.
    pub(super) fn root(&self) -> Span {
        let start = self.nodes.first().map_or(0, |root| root.span.start);
        self.head(0, start)
    }

    /// What `path` leads to, or what is nearest to it: the value where it is one text or number, else
    /// the name of its member.
    pub(super) fn find(&self, path: &str, reason: &str) -> Span {
        let (mut node, mut name, mut rest) = (0, None::<Span>, path.strip_prefix('.').unwrap_or(path));
        while !rest.is_empty() {
            let last = reason.starts_with("duplicate");
            let Some((next, place, left)) = self.step(node, rest, last) else { break };
            (node, rest) = (next, left);
            name = place;
        }
        let here = &self.nodes[node];
        let of_name = reason.starts_with("unknown field") || reason.starts_with("duplicate");
        let value = match here.kind {
            Kind::Scalar(style, _) => !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
            Kind::Alias => true,
            Kind::List(_) | Kind::Map(_) => false,
        };
        match name {
            Some(name) if !value || (of_name && rest.is_empty()) => name,
            _ if value => here.span.clone(),
            _ => self.head(node, here.span.start),
        }
    }

    /// One step along a path: the next node, the member's name, and what is left of the path.
    fn step<'p>(&self, node: usize, path: &'p str, last: bool) -> Option<(usize, Option<Span>, &'p str)> {
        match &self.nodes[node].kind {
            Kind::List(elements) => {
                let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
                let next = *elements.get(number.parse::<usize>().ok()?)?;
                Some((next, None, rest.strip_prefix('.').unwrap_or(rest)))
            }
            Kind::Map(members) => {
                // Names may have dots: the longest one that fits.
                let fits = |name: &str| {
                    let rest = path.strip_prefix(name)?;
                    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
                };
                let longest = members.iter().filter_map(|(name, ..)| fits(name).map(|_| name.len())).max()?;
                let mut found =
                    members.iter().filter(|(name, ..)| name.len() == longest && fits(name).is_some());
                let (name, place, next) = if last { found.next_back() } else { found.next() }?;
                let rest = fits(name)?;
                Some((*next, Some(place.clone()), rest.strip_prefix('.').unwrap_or(rest)))
            }
            Kind::Scalar(..) | Kind::Alias => None,
        }
    }

    /// The first thing of a container that can be pointed at.
    fn head(&self, node: usize, start: usize) -> Span {
        match self.nodes.get(node).map(|node| &node.kind) {
            Some(Kind::Map(members)) if members.first().is_some_and(|(_, name, _)| name.end > name.start) => {
                members[0].1.clone()
            }
            Some(Kind::Scalar(..) | Kind::Alias) => self.nodes[node].span.clone(),
            Some(_) => start..(start + 1).min(self.nodes[node].span.end.max(start)),
            None => 0..0,
        }
    }

    /// The documents that are maps.
    pub(super) fn roots(&self) -> impl Iterator<Item = Map<'_>> {
        let maps = self.roots.iter().filter(|root| matches!(self.nodes[**root].kind, Kind::Map(_)));
        maps.map(|root| Map { tree: self, node: *root })
    }

    /// Calls `look` with every map.
    pub(super) fn maps<'t>(&'t self, mut look: impl FnMut(Map<'t>)) {
        for (number, node) in self.nodes.iter().enumerate() {
            if matches!(node.kind, Kind::Map(_)) {
                look(Map { tree: self, node: number });
            }
        }
    }
}

/// A map of a tree.
#[derive(Clone, Copy)]
pub(super) struct Map<'t> {
    tree: &'t Tree,
    node: usize,
}

/// A value of a map.
#[derive(Clone, Copy)]
pub(super) enum Member<'t> {
    Text(&'t str, ScalarStyle, &'t Span),
    Map(Map<'t>),
    Other,
}

impl<'t> Map<'t> {
    /// The member `name`.
    pub(super) fn get(self, name: &str) -> Option<Member<'t>> {
        let Kind::Map(members) = &self.tree.nodes[self.node].kind else { return None };
        let (.., value) = members.iter().find(|(own, ..)| own == name)?;
        let node = &self.tree.nodes[*value];
        Some(match &node.kind {
            Kind::Scalar(style, text) => Member::Text(text, *style, &node.span),
            Kind::Map(_) => Member::Map(Self { tree: self.tree, node: *value }),
            Kind::List(_) | Kind::Alias => Member::Other,
        })
    }

    pub(super) fn text(self, name: &str) -> Option<&'t str> {
        match self.get(name)? {
            Member::Text(text, ..) => Some(text),
            Member::Map(_) | Member::Other => None,
        }
    }

    /// Where the map is.
    pub(super) fn span(self) -> &'t Span {
        &self.tree.nodes[self.node].span
    }
}
