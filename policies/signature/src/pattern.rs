//! Patterns over names and identities. They always match the whole text: a substring match has let
//! other people's identities in at more than one verifier.

use std::fmt;

/// A pattern: `*` stands for any run of characters without a `/`, `**` for any run of characters.
/// Every other character stands for itself, and the whole text must match.
///
/// A `**` between slashes also stands for nothing with one slash: `a/**/b` matches `a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `*`
    Segment,
    /// `**`
    Anything,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidPattern {
    /// It is empty.
    Empty,
    /// It is longer than [`Pattern::MAX_LENGTH`], or has more than [`Pattern::MAX_WILDCARDS`].
    TooLong,
    /// It has three asterisks in a row.
    Asterisks,
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a pattern is not empty; `**` matches everything",
            Self::TooLong => "a pattern has at most 1024 bytes and 16 wildcards",
            Self::Asterisks => "`*` is any run without a slash and `**` any run; `***` is nothing",
        })
    }
}

impl std::error::Error for InvalidPattern {}

impl Pattern {
    /// Longest pattern in bytes.
    pub const MAX_LENGTH: usize = 1024;
    /// Most wildcards in one pattern: they bound the work of a match.
    pub const MAX_WILDCARDS: usize = 16;

    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`].
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidPattern::TooLong);
        }
        if text.contains("***") {
            return Err(InvalidPattern::Asterisks);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('*') {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            (rest, parts) = match after.strip_prefix('*') {
                Some(after) => (after, with(parts, Part::Anything)),
                None => (after, with(parts, Part::Segment)),
            };
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let wildcards = parts.iter().filter(|part| !matches!(part, Part::Literal(_))).count();
        if wildcards > Self::MAX_WILDCARDS {
            return Err(InvalidPattern::TooLong);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether the whole of `text` matches. The time is at most the product of the two lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // `reached[i]`: the parts so far match the first `i` bytes of the text.
        let bytes = text.as_bytes();
        let mut reached = vec![false; bytes.len().saturating_add(1)];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            let mut next = vec![false; reached.len()];
            match part {
                Part::Literal(literal) => {
                    for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
                        let matched =
                            bytes.get(at..).is_some_and(|rest| rest.starts_with(literal.as_bytes()));
                        if let (true, Some(end)) = (matched, next.get_mut(at.saturating_add(literal.len()))) {
                            *end = true;
                        }
                    }
                }
                Part::Segment | Part::Anything => {
                    let mut open = false;
                    for (at, (slot, reached)) in next.iter_mut().zip(&reached).enumerate() {
                        let previous = at.checked_sub(1).and_then(|before| bytes.get(before));
                        if *part == Part::Segment && previous == Some(&b'/') {
                            open = false;
                        }
                        open |= *reached;
                        *slot = open;
                    }
                    // `/**/` is also one slash.
                    if *part == Part::Anything
                        && let Some(Part::Literal(after)) = parts.peek()
                        && after.starts_with('/')
                    {
                        for at in 1..next.len() {
                            let slash = at.checked_sub(1);
                            let after_slash = slash.and_then(|before| bytes.get(before)) == Some(&b'/');
                            let begins = reached.get(at).copied().unwrap_or(false) && after_slash;
                            if let (true, Some(slot)) =
                                (begins, slash.and_then(|before| next.get_mut(before)))
                            {
                                *slot = true;
                            }
                        }
                    }
                }
            }
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one text that matches, where there is only one.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// A text that matches although nobody may have meant it: each wildcard becomes `filler`, or a
    /// path of two for `**`. For linters.
    #[must_use]
    pub fn example(&self, filler: &str) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.clone(),
                Part::Segment => filler.to_owned(),
                Part::Anything => format!("{filler}/{filler}"),
            })
            .collect()
    }
}

fn with(mut parts: Vec<Part>, part: Part) -> Vec<Part> {
    parts.push(part);
    parts
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_texts_only() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "xabc", false),
            ("abc", "abcx", false),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("**", "", true),
            ("ghcr.io/acme/*", "ghcr.io/acme/app", true),
            ("ghcr.io/acme/*", "ghcr.io/acme/app/x", false),
            ("ghcr.io/acme/**", "ghcr.io/acme/app/x", true),
            ("ghcr.io/acme/**", "ghcr.io/acme", false),
            ("ghcr.io/acme/**", "ghcr.io/acmeevil/x", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("a/**/b", "a/xb", false),
            ("*.example", "a.example", true),
            ("*.example", "a/b.example", false),
            ("refs/tags/v*", "refs/tags/v1.2", true),
            ("refs/tags/v*", "refs/tags/v1/evil", false),
            ("*a*a*a*", "aaa", true),
            ("*a*a*a*", "aa", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_the_product_of_the_lengths() {
        let pattern = Pattern::parse(&"*a".repeat(16)).unwrap();
        assert!(
            !pattern.matches(&"a".repeat(20_000).replace("aaaa", "aaab"))
                || pattern.matches("aaaaaaaaaaaaaaaa")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(Pattern::parse(""), Err(InvalidPattern::Empty));
        assert_eq!(Pattern::parse("a***b"), Err(InvalidPattern::Asterisks));
        assert_eq!(Pattern::parse(&"*a".repeat(17)), Err(InvalidPattern::TooLong));
        assert_eq!(Pattern::parse(&"a".repeat(1025)), Err(InvalidPattern::TooLong));
    }

    #[test]
    fn an_example_matches_its_pattern() {
        for text in ["a", "*", "**", "https://github.com/acme/*/.github/**@refs/*", "a/**/b"] {
            let pattern = Pattern::parse(text).unwrap();
            assert!(pattern.matches(&pattern.example("evil")), "{text}");
        }
    }
}
