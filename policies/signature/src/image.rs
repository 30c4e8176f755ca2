//! The name of an image: where it is, and which of the things there is meant.

use std::fmt;

use crate::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// Longest text that is read: the registry's name (255, RFC 1035), the repository (255, the OCI
/// distribution specification's advice), a tag (128) and a digest.
const MAX_LENGTH: usize = 1024;

/// A reference to an image, in full: `nginx` is `docker.io/library/nginx:latest`, which is what a
/// container runtime makes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidImage {
    /// What is wrong with it.
    reason: &'static str,
}

impl fmt::Display for InvalidImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an image reference: {}", self.reason)
    }
}

impl std::error::Error for InvalidImage {}

const fn invalid(reason: &'static str) -> InvalidImage {
    InvalidImage { reason }
}

impl ImageRef {
    /// Reads `[registry/]repository[:tag][@sha256:digest]` by the rules of the distribution
    /// project's reference grammar: the first part is a registry where it has a dot or a colon, is
    /// `localhost`, or is not in lower case.
    ///
    /// # Errors
    ///
    /// A part that the grammar does not allow, an upper-case repository, a digest that is not
    /// SHA-256, or more than 1024 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidImage> {
        let image = Self::parse_as_written(text)?;
        let tag = match (image.tag, image.digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag,
        };
        Ok(Self { tag, ..image })
    }

    /// Reads a reference as [`ImageRef::parse`] does, without a tag where none is written: for the
    /// names in signatures, where no tag is no statement about one.
    ///
    /// # Errors
    ///
    /// As [`ImageRef::parse`].
    pub fn parse_as_written(text: &str) -> Result<Self, InvalidImage> {
        if text.len() > MAX_LENGTH {
            return Err(invalid("it is longer than 1024 bytes"));
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => {
                (named, Some(Digest::parse(digest).map_err(|_| invalid("its digest is not sha256"))?))
            }
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it belongs to a port.
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (named, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = canonical_registry(registry)?;
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !is_repository(&repository) {
            return Err(invalid("its repository is not lower-case letters, digits, `.`, `_`, `-` and `/`"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("its tag is malformed"));
        }
        Ok(Self { registry, repository, tag: tag.map(str::to_owned), digest })
    }

    /// The registry's host and port, in lower case; `docker.io` where none was named.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository, which is what patterns match.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag. `latest` where there is neither tag nor digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where the image is pinned.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same image pinned to `digest`. The tag stays, for people to read: a runtime ignores it.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_registry(part: &str) -> bool {
    part.contains(['.', ':'])
        || part == "localhost"
        || part.starts_with('[')
        || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// One spelling for one registry: names are compared byte by byte afterwards.
fn canonical_registry(text: &str) -> Result<String, InvalidImage> {
    let lower = text.to_ascii_lowercase();
    let (host, port) = match lower.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (lower.as_str(), None),
    };
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.[]:".contains(&byte);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(allowed) || host.ends_with('.') {
        return Err(invalid("its registry is not a host name"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(invalid("its registry is not a host name"));
    }
    if port.is_some_and(|port| port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(invalid("its registry's port is not a number"));
    }
    // Three names of one registry.
    Ok(match lower.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
        _ => lower,
    })
}

/// `path-component ["/" path-component]*` of the reference grammar.
fn is_repository(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    // Separators: one `.`, one or two `_`, any number of `-`.
    let mut separators = text.split(alphanumeric_char);
    separators.all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn alphanumeric_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// `[\w][\w.-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_is_completed_as_a_runtime_completes_it() {
        let cases = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("acme/app", "docker.io/acme/app:latest"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
            ("GHCR.io/acme/app:V1", "ghcr.io/acme/app:V1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x"),
            ("r.example:443/a__b/c---d", "r.example:443/a__b/c---d:latest"),
            ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app:latest"),
        ];
        for (text, full) in cases {
            assert_eq!(ImageRef::parse(text).unwrap().to_string(), full, "{text}");
        }
        let pinned = format!("r.example/app@sha256:{HEX}");
        assert_eq!(ImageRef::parse(&pinned).unwrap().to_string(), pinned);
        assert_eq!(ImageRef::parse(&pinned).unwrap().tag(), None);
        let both = format!("r.example/app:1@sha256:{HEX}");
        assert_eq!(ImageRef::parse(&both).unwrap().to_string(), both);
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        let long = format!("r.example/{}", "a".repeat(1100));
        for text in [
            "",
            " ",
            "app ",
            "App",
            "r.example/App",
            "r.example/",
            "/app",
            "r.example//app",
            "app:",
            "app:-x",
            "app@sha256:00",
            "app@md5:00",
            "a/../b",
            "a/./b",
            "-a/b",
            "r.example:x/app",
            "r.example./app",
            "r.example/app\n",
            "a___b",
            "a..b",
            "r.example/app:tag:tag",
            "http://r.example/app",
            "a?b",
            "é",
            long.as_str(),
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text:?}");
        }
    }
}
