//! A document with its name: read, handed to whoever judges it, and shown where it is wrong.
//!
//! Whoever judges says a path (`issuers[0].audiences`) and a reason. [`Source::refused`] finds the
//! path in the text as it was written, YAML or JSON, also where it stands in a text inside another
//! document ([`embedded`]).

pub(crate) mod embedded;
mod picture;
mod tree;

use std::{fmt, path::Path, sync::Arc};

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use crate::document;
use tree::Tree;

/// A document that somebody wrote.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As it is shown: a path, or `-`.
    name: String,
    bytes: Vec<u8>,
    text: Arc<str>,
    /// Where the text begins in the file, if it is a text inside another document.
    inside: Option<embedded::Inside>,
}

/// A line and a column, both from one. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Why a document is refused, and where.
#[derive(Debug)]
pub(crate) struct Refused {
    name: String,
    /// The whole file.
    text: Arc<str>,
    /// The path in the document, if the reason has one.
    pub(crate) path: Option<String>,
    pub(crate) reason: String,
    pub(crate) place: Option<Place>,
    /// The bytes of the file that are wrong.
    span: std::ops::Range<usize>,
}

impl Source {
    /// Reads `path`; `-` is standard input.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(path.display().to_string(), document::read(path)?))
    }

    pub(crate) fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        // Text that is not UTF-8 is refused by whoever reads it; nothing in it has a place.
        let text = str::from_utf8(&bytes).unwrap_or_default().into();
        Self { name: name.into(), bytes, text, inside: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The document as a plugin gets it: see [`document::plugin_configuration`].
    pub(crate) fn json(&self) -> anyhow::Result<Vec<u8>> {
        document::plugin_configuration(self.bytes.clone()).context(self.name.clone())
    }

    /// The document as a `T`.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        document::parse(&self.bytes).map_err(|error| self.refused(&error.to_string()).into())
    }

    /// The error of a document that is refused for `reason`, which begins with the path where there
    /// is one: `` `issuers[0].name`: empty ``.
    pub(crate) fn refused(&self, reason: &str) -> Refused {
        let (path, reason) = path_of(reason);
        let (reason, own) = without_position(reason);
        let mut refused = Refused {
            name: self.name.clone(),
            text: self.inside.as_ref().map_or_else(|| Arc::clone(&self.text), embedded::Inside::text),
            path: path.map(str::to_owned),
            reason: reason.to_owned(),
            place: None,
            span: 0..0,
        };
        let tree = Tree::read(&self.text);
        let span = match (&tree, path) {
            // The root says nothing; a reader of JSON may have a place of its own.
            (_, None | Some(".")) => own
                .filter(|_| self.is_json())
                .and_then(|place| offset_of(&self.text, place))
                .map(|at| at..at + 1)
                .or_else(|| tree.as_ref().map(Tree::root)),
            (Some(tree), Some(path)) => Some(tree.find(path, reason)),
            (None, Some(_)) => None,
        };
        if let Some(span) = span {
            let span = match &self.inside {
                None => span,
                Some(inside) => inside.outer(&self.text, span),
            };
            refused.place = Some(place_of(&refused.text, span.start));
            refused.span = span;
        }
        refused
    }

    /// The same for a part of the document, which is at `base` in it and has paths of its own.
    pub(crate) fn refused_below(&self, base: &str, reason: &str) -> Refused {
        let (path, rest) = path_of(reason);
        match path.filter(|path| *path != ".") {
            _ if base.is_empty() => self.refused(reason),
            Some(path) => self.refused(&format!("`{base}.{path}`: {rest}")),
            None => self.refused(&format!("`{base}`: {rest}")),
        }
    }

    fn is_json(&self) -> bool {
        self.text.trim_start().starts_with('{')
    }
}

/// The path at the beginning of a reason, and the rest.
fn path_of(reason: &str) -> (Option<&str>, &str) {
    if let Some((path, rest)) = reason.strip_prefix('`').and_then(|rest| rest.split_once("`: ")) {
        return (Some(path), rest);
    }
    let sound = |path: &&str| !path.is_empty() && !path.contains([' ', '`', '"']);
    match reason.split_once(": ") {
        Some((path, rest)) if sound(&path) => (Some(path), rest),
        _ => (None, reason),
    }
}

/// A reason without the ` at line 1 column 2` that `serde_json` ends with, which is of the text that
/// the plugin got.
fn without_position(reason: &str) -> (&str, Option<Place>) {
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
    let split = reason.rsplit_once(" at line ").and_then(|(rest, place)| {
        let (line, column) = place.split_once(" column ")?;
        Some((rest, Place { line: number(line)?, column: number(column)? }))
    });
    split.map_or((reason, None), |(rest, place)| (rest, Some(place)))
}

fn offset_of(text: &str, place: Place) -> Option<usize> {
    let line = text.split_inclusive('\n').nth(place.line - 1)?;
    let before: usize = text.split_inclusive('\n').take(place.line - 1).map(str::len).sum();
    // `serde_json` counts bytes.
    let within = (place.column - 1).min(line.trim_end().len().saturating_sub(1));
    (0..=within).rev().find(|at| line.is_char_boundary(*at)).map(|at| before + at)
}

fn place_of(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.said())
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// The document's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The path and the reason.
    fn said(&self) -> String {
        match self.path.as_deref().filter(|path| *path != ".") {
            Some(path) => format!("`{path}`: {}", self.reason),
            None => self.reason.clone(),
        }
    }

    /// The members of a JSON report.
    pub(crate) fn report(&self) -> serde_json::Map<String, serde_json::Value> {
        let place = |of: fn(Place) -> usize| self.place.map(of);
        let members = serde_json::json!({
            "reason": self.said(), "path": self.path,
            "line": place(|place| place.line), "column": place(|place| place.column),
        });
        members.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
issuers:
  - name: main
    issuer: https://login.example.com
    algorithms: [RS256, none]
    jwks:
      remote: {uri: x, clustr: idp}
    audiences: []
clusters:
  ghcr.io: {address: x}
";

    fn place(text: &str, reason: &str) -> Option<(usize, usize)> {
        let refused = Source::new("f", text.into()).refused(reason);
        refused.place.map(|place| (place.line, place.column))
    }

    #[test]
    fn a_path_is_found_in_what_was_written() {
        for (reason, expected) in [
            // The value, where it is on its line.
            ("`issuers[0].algorithms[1]`: not one of", (4, 25)),
            ("`issuers[0].issuer`: not an address", (3, 13)),
            // The member's name for what is a whole list or map, and for a member that nobody knows.
            ("`issuers[0].audiences`: empty", (7, 5)),
            ("`issuers[0].jwks.remote.clustr`: unknown field `clustr`, expected", (6, 24)),
            // What it is missing in.
            ("`issuers[0]`: missing field `rules`", (2, 5)),
            ("`issuers[0].jwks.remote.cluster`: missing", (6, 7)),
            ("`rules`: missing", (1, 1)),
            // A name with dots in it, and paths as other readers write them.
            ("clusters.ghcr.io.address: no port", (9, 22)),
            ("`.`: missing field `rules`", (1, 1)),
            ("nothing of a path", (1, 1)),
        ] {
            assert_eq!(place(YAML, reason), Some(expected), "{reason}");
        }
    }

    #[test]
    fn json_has_the_place_that_its_reader_says() {
        let text = "{\n  \"a\": [1, 2,, 3]\n}";
        assert_eq!(place(text, "`.`: expected value at line 2 column 14"), Some((2, 14)));
        let twice = "{\n  \"a\": 1,\n  \"b\": {\"c\": 1},\n  \"a\": 2\n}";
        assert_eq!(place(twice, "`a`: duplicate field `a` at line 4 column 5"), Some((4, 3)));
        assert_eq!(place(twice, "`b.c`: not a text"), Some((3, 14)));
        // The position is that of a translation, and this is not what was translated.
        let refused = Source::new("f", b"a: 1\n".to_vec()).refused("`a`: no at line 1 column 9");
        assert_eq!(refused.to_string(), "f:1:4: `a`: no");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(place("{ümläut: 1, b: x}", "`b`: no"), Some((1, 16)));
    }

    #[test]
    fn what_cannot_be_read_has_no_place_and_an_error_all_the_same() {
        for text in ["", "a: [", "\u{0}", "- &a [*a]", &"[".repeat(100_000), &"{a: ".repeat(5000)] {
            let refused = Source::new("f", text.into()).refused("`a[0].b`: no");
            assert!(refused.to_string().ends_with("`a[0].b`: no"), "{refused}");
        }
        let bytes = Source::new("f", vec![0xff, 0xfe]);
        assert_eq!(bytes.refused("`a`: no").to_string(), "f: `a`: no");
    }

    #[test]
    fn every_prefix_of_a_path_has_a_place_in_every_prefix_of_a_text() {
        let path = "issuers[0].jwks.remote.clustr";
        for end in (0..YAML.len()).filter(|end| YAML.is_char_boundary(*end)) {
            let source = Source::new("f", YAML[..end].into());
            for cut in 1..path.len() {
                let refused = source.refused(&format!("`{}`: no", &path[..cut]));
                assert!(refused.span.end <= end && refused.span.start <= refused.span.end, "{refused:?}");
                refused.picture();
            }
        }
    }
}
