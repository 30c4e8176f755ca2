//! Where a `Location` leads, as browsers read it (WHATWG URL): what they could read in another way
//! than this is not read at all.

/// Where a reference leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'v> {
    /// To a path of the same host.
    Path(&'v str),
    /// To a path of this host, in lower case and without port.
    Host(alloc::string::String, &'v str),
    /// Nobody knows.
    Unreadable,
}

/// Where `value` leads; nothing where it leads to no web page.
pub(super) fn target(value: &[u8]) -> Option<Target<'_>> {
    let Ok(text) = core::str::from_utf8(value.trim_ascii()) else { return Some(Target::Unreadable) };
    // Browsers drop tabs and line feeds, and take a backslash for a slash.
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
        return Some(Target::Unreadable);
    }
    let (scheme, rest) = match text.find([':', '/', '?', '#']).and_then(|at| text.split_at_checked(at)) {
        Some((scheme, rest)) => match rest.strip_prefix(':') {
            Some(rest) => (Some(scheme), rest),
            None => (None, text),
        },
        None => (None, text),
    };
    match scheme {
        Some(scheme) if ["http", "https", "ws", "wss"].iter().any(|web| scheme.eq_ignore_ascii_case(web)) => {
            // Any number of slashes, none among them, begins the host.
            Some(authority(rest.trim_start_matches('/')))
        }
        // An application's own scheme leads out of the browser.
        Some(_) => None,
        None if rest.starts_with("//") => Some(authority(rest.trim_start_matches('/'))),
        None if rest.starts_with('/') => Some(Target::Path(path(rest))),
        // Relative to the request's path, which is its tenant's, unless it climbs: then as it is.
        None => path(rest).split('/').any(is_climbing).then(|| Target::Path(path(rest))),
    }
}

/// The address in a `Refresh` header: `0; url=…`.
pub(super) fn refresh(value: &[u8]) -> Option<&[u8]> {
    let start = value.iter().position(|byte| matches!(byte, b';' | b','))?;
    let rest = value.get(start.checked_add(1)?..)?.trim_ascii();
    let rest = match rest.split_at_checked(3) {
        Some((url, rest)) if url.eq_ignore_ascii_case(b"url") => {
            rest.trim_ascii_start().strip_prefix(b"=").unwrap_or(rest).trim_ascii()
        }
        _ => rest,
    };
    let unquoted = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'"));
    Some(
        unquoted.map_or(rest, |rest| {
            rest.strip_suffix(b"\"").or_else(|| rest.strip_suffix(b"'")).unwrap_or(rest)
        }),
    )
}

fn authority(rest: &str) -> Target<'_> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((authority, rest)) = rest.split_at_checked(end) else { return Target::Unreadable };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
    // Browsers decode and fold the rest: percent signs, full-width letters.
    if host.is_empty() || !host.bytes().all(plain) {
        return Target::Unreadable;
    }
    Target::Host(host.to_ascii_lowercase(), path(rest))
}

/// The path without what follows it.
fn path(rest: &str) -> &str {
    rest.split(['?', '#']).next().unwrap_or_default()
}

/// A dot segment, in the spellings that browsers take for one.
fn is_climbing(segment: &str) -> bool {
    ["..", ".%2e", "%2e.", "%2e%2e"].iter().any(|dots| segment.eq_ignore_ascii_case(dots))
}
