//! The syntax: characters, classes, groups, alternatives and counts. What it does not understand
//! it refuses, so that nothing means less than it says.

use alloc::{boxed::Box, vec, vec::Vec};
use core::{iter::Peekable, str::Chars};

use super::Set;

/// Groups inside groups.
const MAX_DEPTH: usize = 16;
/// The largest count.
const MAX_COUNT: usize = 500;

const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[(char, char)] = &[('\t', '\r'), (' ', ' ')];

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Set(Set),
    Sequence(Vec<Self>),
    Alternatives(Vec<Self>),
    Repeated { node: Box<Self>, least: usize, most: Option<usize> },
}

type Parsed<T> = Result<T, &'static str>;

pub(super) fn parse(pattern: &str) -> Parsed<Node> {
    let mut parser = Parser { rest: pattern.chars().peekable() };
    let node = parser.alternatives(MAX_DEPTH)?;
    if parser.rest.next().is_some() {
        return Err("a `)` that closes no group; a parenthesis as such is `\\)`");
    }
    Ok(node)
}

struct Parser<'p> {
    rest: Peekable<Chars<'p>>,
}

impl Parser<'_> {
    fn alternatives(&mut self, depth: usize) -> Parsed<Node> {
        let mut ways = vec![self.sequence(depth)?];
        while self.rest.next_if_eq(&'|').is_some() {
            ways.push(self.sequence(depth)?);
        }
        Ok(match ways.pop() {
            Some(only) if ways.is_empty() => only,
            last => {
                ways.extend(last);
                Node::Alternatives(ways)
            }
        })
    }

    fn sequence(&mut self, depth: usize) -> Parsed<Node> {
        let mut parts = Vec::new();
        while let Some(next) = self.rest.next_if(|next| !matches!(next, '|' | ')')) {
            let node = self.atom(next, depth)?;
            parts.push(self.counted(node)?);
        }
        Ok(Node::Sequence(parts))
    }

    fn atom(&mut self, first: char, depth: usize) -> Parsed<Node> {
        Ok(Node::Set(match first {
            '(' => return self.group(depth),
            '[' => self.class()?,
            '.' => Set { ranges: vec![('\n', '\n')], negated: true },
            '\\' => self.escape()?,
            '*' | '+' | '?' | '{' => {
                return Err("a count that follows nothing; as such it has a `\\` before it");
            }
            '^' | '$' => return Err("`^` or `$`: the whole text is matched in any case; leave them out"),
            ']' | '}' => return Err("a bracket that closes nothing; as such it has a `\\` before it"),
            character => single(character),
        }))
    }

    fn group(&mut self, depth: usize) -> Parsed<Node> {
        let depth = depth.checked_sub(1).ok_or("more than 16 groups inside each other")?;
        if self.rest.next_if_eq(&'?').is_some() && self.rest.next() != Some(':') {
            return Err("`(?`: only `(?:…)`; there are no flags, names or look-around");
        }
        let node = self.alternatives(depth)?;
        if self.rest.next() == Some(')') { Ok(node) } else { Err("a `(` that is not closed") }
    }

    /// `node` with the count that may follow it.
    fn counted(&mut self, node: Node) -> Parsed<Node> {
        let (least, most) = match self.rest.next_if(|next| matches!(next, '*' | '+' | '?' | '{')) {
            None => return Ok(node),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some(_) => self.range()?,
        };
        if self.rest.next_if(|next| matches!(next, '*' | '+' | '?' | '{')).is_some() {
            return Err("two counts after each other; group what is counted first");
        }
        Ok(Node::Repeated { node: Box::new(node), least, most })
    }

    /// The rest of `{m}`, `{m,}` or `{m,n}`.
    fn range(&mut self) -> Parsed<(usize, Option<usize>)> {
        const WRONG: &str = "not a count: `{m}`, `{m,}` or `{m,n}` up to 500";
        let least = self.number().ok_or(WRONG)?;
        let most = match self.rest.next() {
            Some('}') => return Ok((least, Some(least))),
            Some(',') if self.rest.next_if_eq(&'}').is_some() => return Ok((least, None)),
            Some(',') => self.number().ok_or(WRONG)?,
            _ => return Err(WRONG),
        };
        if self.rest.next() == Some('}') && least <= most { Ok((least, Some(most))) } else { Err(WRONG) }
    }

    fn number(&mut self) -> Option<usize> {
        let mut value: Option<usize> = None;
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            let digit = usize::try_from(digit.to_digit(10)?).ok()?;
            let more = value.unwrap_or(0).saturating_mul(10).saturating_add(digit);
            value = Some(more);
            if more > MAX_COUNT {
                return None;
            }
        }
        value
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Parsed<Set> {
        let of = |ranges: &[(char, char)], negated| Set { ranges: ranges.to_vec(), negated };
        Ok(match self.rest.next() {
            Some('d') => of(DIGIT, false),
            Some('D') => of(DIGIT, true),
            Some('w') => of(WORD, false),
            Some('W') => of(WORD, true),
            Some('s') => of(SPACE, false),
            Some('S') => of(SPACE, true),
            Some('n') => single('\n'),
            Some('r') => single('\r'),
            Some('t') => single('\t'),
            Some(sign) if sign.is_ascii_punctuation() => single(sign),
            _ => {
                return Err(
                    "a `\\` before something that has no meaning there (no references, no Unicode classes)",
                );
            }
        })
    }

    /// The rest of a class, after `[`.
    fn class(&mut self) -> Parsed<Set> {
        const OPEN: &str = "a `[` that is not closed";
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            match self.rest.next().ok_or(OPEN)? {
                ']' if ranges.is_empty() => return Err("an empty class; a bracket as such is `\\]`"),
                ']' => return Ok(Set { ranges, negated }),
                '\\' => {
                    let set = self.escape()?;
                    match set.ranges.as_slice() {
                        [(first, last)] if first == last && !set.negated => {
                            self.range_from(*first, &mut ranges)?;
                        }
                        _ if set.negated => return Err("a negated class in a class"),
                        _ => ranges.extend(set.ranges),
                    }
                }
                '[' | '&' | '~' | '-' => {
                    return Err("`[`, `&`, `~` or `-` in a class: as such it has a `\\` before it");
                }
                first => self.range_from(first, &mut ranges)?,
            }
        }
    }

    /// `first` alone, or the range that it begins.
    fn range_from(&mut self, first: char, ranges: &mut Vec<(char, char)>) -> Parsed<()> {
        const WRONG: &str = "a range in a class needs two characters in their order; a `-` as such is `\\-`";
        if self.rest.next_if_eq(&'-').is_none() {
            ranges.push((first, first));
            return Ok(());
        }
        let last = match self.rest.next() {
            Some('\\') => match self.escape()? {
                Set { ranges, negated: false } => match ranges.as_slice() {
                    [(one, same)] if one == same => *one,
                    _ => return Err(WRONG),
                },
                Set { .. } => return Err(WRONG),
            },
            Some(']' | '[' | '-' | '&' | '~') | None => return Err(WRONG),
            Some(last) => last,
        };
        if first > last {
            return Err(WRONG);
        }
        ranges.push((first, last));
        Ok(())
    }
}

fn single(character: char) -> Set {
    Set { ranges: vec![(character, character)], negated: false }
}
