//! How broad a pattern is: the part of a name that its first wildcard leaves to others.

use std::collections::BTreeMap;

use portcullis_signature::Pattern;
use serde::Serialize;

use super::Severity;

/// What stands for a wildcard: a name that nobody chooses by chance.
const STRANGER: &str = "evil";

/// Somebody or something that a policy lets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Example(BTreeMap<&'static str, String>);

impl Example {
    pub(super) fn new<const N: usize>(parts: [(&'static str, String); N]) -> Self {
        Self(parts.into())
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// A text that `pattern` matches although it names a stranger. Only what really matches is shown.
pub(super) fn example(pattern: &str) -> Option<String> {
    let parsed = Pattern::parse(pattern).ok()?;
    let text = parsed.example(STRANGER);
    (parsed.literal().is_none() && parsed.matches(&text)).then_some(text)
}

/// What a pattern for a certificate's subject leaves open, if anything.
pub(super) fn subject(pattern: &str) -> Option<(Severity, &'static str)> {
    let wildcard = pattern.find('*')?;
    match pattern.split_once("://") {
        Some((_, _)) => Some(address(pattern, wildcard)),
        None => Some(mail(pattern, wildcard)),
    }
}

/// `scheme://server/owner/repository/path@ref`, where the first wildcard is at `wildcard`.
fn address(pattern: &str, wildcard: usize) -> (Severity, &'static str) {
    let before = pattern.get(..wildcard).unwrap_or_default();
    let Some((_, after_scheme)) = before.split_once("://") else {
        return (Severity::Error, "the wildcard is in the scheme: any server's identities match");
    };
    if before.contains('@') {
        return (Severity::Note, "any branch or tag matches, also one that nobody has reviewed");
    }
    match after_scheme.matches('/').count() {
        0 => (Severity::Error, "the wildcard is in the server's name: anybody can have such a server"),
        1 => (Severity::Error, "the wildcard is in the owner's name: anybody can register such an owner"),
        2 => (Severity::Warning, "any repository of the owner matches, also one that is made tomorrow"),
        _ => (Severity::Warning, "any workflow of the repository matches, also one in a branch"),
    }
}

fn mail(pattern: &str, wildcard: usize) -> (Severity, &'static str) {
    match pattern.rsplit_once('@') {
        // A `**` before the at sign matches one too, but the end of the pattern still holds.
        Some((local, domain)) if !domain.contains('*') && wildcard < local.len() => {
            (Severity::Warning, "anybody with an address of this domain matches")
        }
        _ => (Severity::Error, "the wildcard is in the domain: anybody can have such an address"),
    }
}

/// What a pattern for `owner/repository` leaves open.
pub(super) fn repository(pattern: &str) -> Option<(Severity, &'static str)> {
    let wildcard = pattern.find('*')?;
    let before = pattern.get(..wildcard).unwrap_or_default();
    Some(if before.contains('/') {
        (Severity::Warning, "any repository of the owner matches, also one that is made tomorrow")
    } else {
        (Severity::Error, "the wildcard is in the owner's name: anybody can register such an owner")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_wildcard_says_how_bad_it_is() {
        let cases = [
            ("https://github.com/acme/shop/.github/workflows/r.yml@refs/heads/main", None),
            ("https://github.com/acme/shop/.github/workflows/r.yml@refs/tags/v*", Some(Severity::Note)),
            ("https://github.com/acme/shop/.github/workflows/*@refs/heads/main", Some(Severity::Warning)),
            ("https://github.com/acme/**", Some(Severity::Warning)),
            ("https://github.com/acme*/shop/**", Some(Severity::Error)),
            ("https://github.com/**", Some(Severity::Error)),
            ("https://*.github.com/acme/shop", Some(Severity::Error)),
            ("**", Some(Severity::Error)),
            ("dev@acme.test", None),
            ("*@acme.test", Some(Severity::Warning)),
            ("**@acme.test", Some(Severity::Warning)),
            ("*acme.test", Some(Severity::Error)),
            ("*@*.acme.test", Some(Severity::Error)),
        ];
        for (pattern, expected) in cases {
            assert_eq!(subject(pattern).map(|(severity, _)| severity), expected, "{pattern}");
            assert_eq!(example(pattern).is_some(), expected.is_some(), "{pattern}");
        }
    }
}
