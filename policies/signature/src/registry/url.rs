//! The little of an address that a registry gives.

/// An `https` address, or `http` where the proxy's cluster decides how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Host and port, in lower case.
    pub(super) host: String,
    /// Path and query; begins with a slash.
    pub(super) path: String,
}

impl Url {
    pub(super) fn absolute(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(end)?;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(valid) {
            return None;
        }
        Some(Self { host: host.to_ascii_lowercase(), path: path_of(path)? })
    }

    /// An address, or a path at `host`.
    pub(super) fn within(text: &str, host: &str) -> Option<Self> {
        if text.starts_with('/') && !text.starts_with("//") {
            return Some(Self { host: host.to_owned(), path: path_of(text)? });
        }
        Self::absolute(text)
    }

    /// The path with these added to its query.
    pub(super) fn with_query(&self, pairs: &[(&str, &str)]) -> String {
        let mut path = self.path.clone();
        let mut separator = if path.contains('?') { '&' } else { '?' };
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            path.push(separator);
            path.push_str(name);
            path.push('=');
            path.extend(value.bytes().map(escaped));
            separator = '&';
        }
        path
    }
}

fn path_of(text: &str) -> Option<String> {
    let text = text.split('#').next().unwrap_or_default();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(if text.starts_with('/') { text.to_owned() } else { format!("/{text}") })
}

/// RFC 3986 section 2.3; `:` and `/` may stand in a query, and token services expect them so.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
