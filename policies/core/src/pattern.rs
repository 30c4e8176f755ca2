//! Hosts and paths as configurations name them, compared with the one reading of a request.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use serde::Deserialize;

use crate::ConfigError;

/// A host name, or `*.base` for exactly one label more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every host with one label before this base.
    OneLabelBelow(String),
}

impl HostPattern {
    /// The pattern that `text` is, which stands at `path` in the document.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where it is none.
    pub fn new(path: &str, text: &str) -> Result<Self, ConfigError> {
        let base = text.strip_prefix("*.").unwrap_or(text);
        let sound = !base.is_empty()
            && !base.ends_with('.')
            && base.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'[' | b']' | b':')
            });
        if !sound {
            let reason = format!("`{text}` is not a host in lower case without port, or `*.` and one");
            return Err(ConfigError::new(path, reason));
        }
        let base = base.into();
        Ok(if text.starts_with("*.") { Self::OneLabelBelow(base) } else { Self::Exact(base) })
    }

    /// Whether `host`, as [`crate::request::host`] gives it, is one of these.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(own) => own == host,
            Self::OneLabelBelow(base) => {
                label_below(host, base).is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
        }
    }
}

/// What stands before `.base` in `host`.
#[must_use]
pub fn label_below<'h>(host: &'h str, base: &str) -> Option<&'h str> {
    host.strip_suffix(base)?.strip_suffix('.')
}

/// A path, decoded and without query.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and every one below: `/a` is `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// Segments, `{names}` for one segment each, and `**` at the end for any number:
    /// `/t/{tenant}/**`.
    Template(String),
}

/// A path, compared segment by segment on the decoded path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Every path.
    Any,
    /// These segments.
    Exact(Vec<String>),
    /// These segments and whatever follows: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(Vec<String>),
    /// These parts.
    Template(Vec<Part>),
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This text.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Variable(String),
    /// `**` at the end: whatever follows.
    Rest,
}

impl PathPattern {
    /// The pattern that `raw` is, which stands at `path` in the document.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where no request could have such a path.
    pub fn new(path: &str, raw: &PathMatch) -> Result<Self, ConfigError> {
        let (kind, text) = match raw {
            PathMatch::Exact(text) => ("exact", text),
            PathMatch::Prefix(text) => ("prefix", text),
            PathMatch::Template(text) => ("template", text),
        };
        let segments = segments_of(&format!("{path}.{kind}"), text)?;
        match raw {
            PathMatch::Exact(_) => Ok(Self::Exact(segments)),
            PathMatch::Prefix(_) if text == "/" => Ok(Self::Any),
            PathMatch::Prefix(_) => {
                Ok(Self::Prefix(segments.into_iter().filter(|segment| !segment.is_empty()).collect()))
            }
            PathMatch::Template(_) => template(&format!("{path}.{kind}"), text).map(Self::Template),
        }
    }

    /// Whether the path with these `segments`, as [`crate::request::segments`] gives them, is one
    /// of these.
    #[must_use]
    pub fn matches(&self, segments: &[Cow<'_, str>]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => {
                own.len() == segments.len() && own.iter().zip(segments).all(|(own, theirs)| own == theirs)
            }
            Self::Prefix(own) => {
                segments.get(..own.len()).is_some_and(|head| own.iter().zip(head).all(|(a, b)| a == b))
            }
            Self::Template(parts) => matches_template(parts, segments, |own, theirs| own == theirs),
        }
    }
}

/// Whether `segments` are `parts`, literals compared by `same`.
pub fn matches_template(
    parts: &[Part],
    segments: &[Cow<'_, str>],
    same: impl Fn(&str, &str) -> bool,
) -> bool {
    let mut rest = segments.iter();
    for part in parts {
        match (part, rest.next()) {
            (Part::Rest, _) => return true,
            (Part::Literal(own), Some(segment)) if same(own, segment) => {}
            (Part::Variable(_), Some(segment)) if !segment.is_empty() => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

/// The parts of a template that stands at `path` in the document.
///
/// # Errors
///
/// [`ConfigError`] where a segment is neither text, nor `{name}`, nor `**` at the end.
pub fn template(path: &str, text: &str) -> Result<Vec<Part>, ConfigError> {
    let segments = segments_of(path, text)?;
    let last = segments.len().saturating_sub(1);
    let part = |(at, segment): (usize, String)| match segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        Some(name) if !name.is_empty() && !name.contains(['{', '}', '*']) => Ok(Part::Variable(name.into())),
        None if segment == "**" && at == last => Ok(Part::Rest),
        None if !segment.contains(['{', '}', '*']) => Ok(Part::Literal(segment)),
        _ => Err(ConfigError::new(
            path,
            format!("`{segment}`: a segment is text, `{{name}}`, or `**` at the end"),
        )),
    };
    segments.into_iter().enumerate().map(part).collect()
}

fn segments_of(path: &str, text: &str) -> Result<Vec<String>, ConfigError> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(ConfigError::new(path, format!("`{text}` does not begin with `/`")));
    };
    if rest.contains(['%', '?', '#', ';', '\\']) {
        let reason = "has one of % ? # ; \\: write the decoded path, without query; requests are decoded \
                      once before they are compared";
        return Err(ConfigError::new(path, reason));
    }
    let segments: Vec<String> = rest.split('/').map(Into::into).collect();
    let last = segments.len().saturating_sub(1);
    let odd = segments
        .iter()
        .enumerate()
        .any(|(at, text)| matches!(text.as_str(), "." | "..") || (text.is_empty() && at != last));
    if odd {
        return Err(ConfigError::new(path, "has a dot segment or an empty one; such requests are refused"));
    }
    Ok(segments)
}

/// `method`, which stands at `path` in the document.
///
/// # Errors
///
/// [`ConfigError`] where it is not in upper case.
pub fn method(path: &str, method: String) -> Result<String, ConfigError> {
    let sound = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if sound {
        Ok(method)
    } else {
        Err(ConfigError::new(path, "not a method, such as `GET`; they are upper case"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request;

    fn path(raw: &PathMatch) -> PathPattern {
        PathPattern::new("path", raw).unwrap()
    }

    #[test]
    fn paths_are_compared_segment_by_segment() {
        for (pattern, yes, no) in [
            (path(&PathMatch::Exact("/a/b".into())), &["/a/b"][..], &["/a/b/", "/a", "/a/b/c"][..]),
            (path(&PathMatch::Prefix("/a".into())), &["/a", "/a/", "/a/b"], &["/ab", "/"]),
            (path(&PathMatch::Prefix("/".into())), &["/", "/a"], &[]),
            (
                path(&PathMatch::Template("/t/{tenant}/**".into())),
                &["/t/acme/", "/t/acme/x/y", "/t/acme"],
                &["/t", "/t/", "/T/acme/"],
            ),
            (path(&PathMatch::Template("/t/{tenant}".into())), &["/t/acme"], &["/t/acme/x", "/t/"]),
        ] {
            for (paths, expected) in [(yes, true), (no, false)] {
                for text in paths {
                    let segments = request::segments(text).unwrap();
                    assert_eq!(pattern.matches(&segments), expected, "{pattern:?} {text}");
                }
            }
        }
    }

    #[test]
    fn a_pattern_that_no_request_can_have_is_refused() {
        for text in ["a", "/a%2fb", "/a?b", "//", "/a/../b", "/{a", "/**/b", "/a*", "/{}"] {
            assert!(PathPattern::new("p", &PathMatch::Template(text.into())).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_is_one_label() {
        let pattern = HostPattern::new("h", "*.app.test").unwrap();
        assert!(pattern.matches("acme.app.test"));
        for host in ["app.test", ".app.test", "a.b.app.test", "acmeapp.test", "acme.app.test.evil"] {
            assert!(!pattern.matches(host), "{host}");
        }
        assert!(HostPattern::new("h", "App.test").is_err() && HostPattern::new("h", "app.test.").is_err());
    }
}
