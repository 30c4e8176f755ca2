//! The request as the policy sees it, and the one reading of its path that rules may rely on.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use crate::{Code, Denial, header};

/// A header's name and value as they came: any bytes, repeated names kept, in order.
pub type HeaderPair<'r> = (&'r [u8], &'r [u8]);

/// `headers` by reference, as a [`Request`] takes them.
pub fn borrowed<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Vec<HeaderPair<'_>> {
    headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect()
}

/// What a decision looks at: the header list with HTTP/2 pseudo headers, as Envoy gives it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    headers: &'r [HeaderPair<'r>],
    peer: Peer<'r>,
}

/// Names in the client's certificate, where the connection has one that the proxy verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer<'r> {
    /// The first subject alternative name that is a URI, such as a SPIFFE ID.
    pub uri_san: Option<&'r [u8]>,
    /// The first subject alternative name that is a DNS name.
    pub dns_san: Option<&'r [u8]>,
}

impl<'r> Request<'r> {
    /// A request with these headers, `:method`, `:path` and `:authority` among them.
    #[must_use]
    pub const fn new(headers: &'r [HeaderPair<'r>]) -> Self {
        Self { headers, peer: Peer { uri_san: None, dns_san: None } }
    }

    /// The same request from a client with this certificate.
    #[must_use]
    pub const fn with_peer(mut self, peer: Peer<'r>) -> Self {
        self.peer = peer;
        self
    }

    /// Names in the client's certificate.
    #[must_use]
    pub const fn peer(&self) -> Peer<'r> {
        self.peer
    }

    /// Every header, in order, repeated names kept.
    #[must_use]
    pub const fn headers(&self) -> &'r [HeaderPair<'r>] {
        self.headers
    }

    /// The value of a header that the request has exactly once.
    #[must_use]
    pub fn single(&self, name: &str) -> Option<&'r [u8]> {
        let mut values = header::values(self.headers, name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The text of a pseudo header; absent where it is missing.
    ///
    /// # Errors
    ///
    /// [`Code::RequestAmbiguous`] where it is repeated or not visible ASCII.
    pub fn pseudo(&self, name: &str) -> Result<Option<&'r str>, Denial> {
        let mut values = header::values(self.headers, name);
        let Some(value) = values.next() else { return Ok(None) };
        // All bytes are looked at, so that the compiler takes many at a time.
        let graphic = value.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
        let text = core::str::from_utf8(value).ok().filter(|_| graphic);
        match (text, values.next()) {
            (Some(text), None) => Ok(Some(text)),
            _ => Err(ambiguous(format!("`{name}` is repeated or has bytes that it cannot have"))),
        }
    }

    /// `:path` without the query, and the query.
    ///
    /// # Errors
    ///
    /// As [`Request::pseudo`].
    pub fn path_and_query(&self) -> Result<(&'r str, Option<&'r str>), Denial> {
        let target = self.pseudo(":path")?.unwrap_or_default();
        Ok(match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        })
    }

    /// A CORS preflight that a browser could have sent (Fetch standard, section 3.2.2): `OPTIONS`
    /// with one `Origin` and one `Access-Control-Request-Method`. Gives the method asked for.
    #[must_use]
    pub fn preflight_method(&self) -> Option<&'r str> {
        let asked = core::str::from_utf8(self.single("access-control-request-method")?).ok()?;
        let real = self.single(":method")? == b"OPTIONS"
            && self.single("origin").is_some_and(|origin| !origin.is_empty())
            && !asked.is_empty()
            && asked.bytes().all(|byte| byte.is_ascii_alphabetic());
        real.then_some(asked)
    }
}

/// The path's segments, percent-decoded once.
///
/// Paths that an upstream could read in another way than this are refused, because then a rule
/// for one path would decide about another (CVE-2023-27487, CVE-2020-8595): dot and empty
/// segments, path parameters (`;`), backslashes, fragments, encoded separators, dots, percent
/// signs and control bytes, broken encodings, and letters or digits that need no encoding.
///
/// # Errors
///
/// [`Code::RequestAmbiguous`] for such a path.
pub fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, Denial> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(ambiguous("the path does not begin with `/`"));
    };
    let segments: Vec<_> = rest.split('/').map(segment).collect::<Result<_, _>>()?;
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.iter().enumerate() {
        if matches!(segment.as_ref(), "." | "..") || (segment.is_empty() && at != last) {
            return Err(ambiguous("the path has a dot segment or an empty one"));
        }
    }
    Ok(segments)
}

fn segment(text: &str) -> Result<Cow<'_, str>, Denial> {
    if text.bytes().any(|byte| matches!(byte, b';' | b'\\' | b'#')) {
        return Err(ambiguous("the path has a path parameter, a backslash or a fragment"));
    }
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { escape(bytes.next(), bytes.next())? } else { byte });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| ambiguous("the decoded path is not UTF-8"))
}

fn escape(high: Option<u8>, low: Option<u8>) -> Result<u8, Denial> {
    let (Some(high), Some(low)) = (high.and_then(hex), low.and_then(hex)) else {
        return Err(ambiguous("the path has a broken percent-encoding"));
    };
    let byte = (high << 4) | low;
    let refused = byte.is_ascii_control()
        || byte.is_ascii_alphanumeric()
        || matches!(byte, b'/' | b'\\' | b'.' | b'%' | b'-' | b'_' | b';' | b'?' | b'#');
    if refused { Err(ambiguous(format!("the path encodes the byte {byte:#04x}"))) } else { Ok(byte) }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

/// The host of `:authority` in lower case, without the port. A trailing dot is refused: it names
/// the same host in DNS and another virtual host in many servers.
///
/// # Errors
///
/// [`Code::RequestAmbiguous`] where `authority` is not such a host.
pub fn host(authority: &str) -> Result<String, Denial> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    };
    if host.is_empty() || host.ends_with('.') || host.contains(['@', '/', ',']) {
        return Err(ambiguous("the host is empty, ends with a dot, or is not a host"));
    }
    Ok(host.to_ascii_lowercase())
}

fn ambiguous(detail: impl Into<Cow<'static, str>>) -> Denial {
    Denial::new(Code::RequestAmbiguous, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_path_is_read_segment_by_segment() {
        for (path, expected) in [
            ("/", &[""][..]),
            ("/orders/7", &["orders", "7"]),
            ("/orders/", &["orders", ""]),
            ("/a%20b/caf%C3%A9/x%40y~z", &["a b", "café", "x@y~z"]),
            ("/...", &["..."]),
        ] {
            assert_eq!(segments(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for path in [
            "",
            "*",
            "orders",
            "http://a/b",
            "//admin",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/../b",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;x=1/b",
            "/a#b",
            "/%61dmin",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%00",
            "/a%3bb",
            "/a%3Fb",
            "/a%23b",
            "/a%0d%0a",
            "/%ff",
            "/a%252fb",
            "/%2D",
            "/%5f",
        ] {
            assert_eq!(segments(path).map_err(|denial| denial.code()), Err(Code::RequestAmbiguous), "{path}");
        }
    }

    #[test]
    fn a_host_has_one_form() {
        for (authority, expected) in [
            ("API.example.com:8443", "api.example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a", "a"),
        ] {
            assert_eq!(host(authority).unwrap(), expected, "{authority}");
        }
        for authority in ["", ":80", "example.com.", "example.com.:80", "user@host", "a,b"] {
            assert!(host(authority).is_err(), "{authority}");
        }
    }
}
