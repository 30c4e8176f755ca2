//! Where a token may be, finding exactly one, and taking it out of the request again.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use portcullis_core::{Code, Denial, HeaderName, bytes};

use crate::request::Request;

/// One place that is searched for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// `Authorization: <scheme> <token>`, the scheme in any case (RFC 9110 section 11.1).
    Authorization { scheme: String },
    /// A header of its own, after a fixed prefix.
    Header { name: HeaderName, prefix: String },
    /// A cookie (RFC 6265).
    Cookie { name: String },
    /// A query parameter (RFC 6750 section 2.3, off by default).
    Query { name: String },
}

/// A token and the place it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<'r> {
    pub(crate) token: &'r [u8],
    pub(crate) location: &'r Location,
}

/// The only token in `locations`, or none.
///
/// Two tokens are refused even if they are equal or one is broken: which of them the upstream
/// would act on is not for an attacker to choose (CVE-2025-64527 is this path in jwt_authn).
pub(crate) fn find_one<'r>(
    locations: &'r [Location],
    request: &Request<'r>,
) -> Result<Option<Found<'r>>, Denial> {
    let mut found: Option<Found<'r>> = None;
    for location in locations {
        location.tokens(request, |token| {
            if found.is_some() {
                return Err(Denial::new(Code::MultipleTokens, "more than one token in the request"));
            }
            found = Some(Found { token, location });
            Ok(())
        })?;
    }
    Ok(found)
}

impl Location {
    /// Gives each token in this place to `take`.
    fn tokens<'r>(
        &self,
        request: &Request<'r>,
        take: impl FnMut(&'r [u8]) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        match self {
            Self::Authorization { scheme } => authorization(scheme, request)?.into_iter().try_for_each(take),
            Self::Header { name, prefix } => header(name, prefix, request)?.into_iter().try_for_each(take),
            Self::Cookie { name } => {
                cookies(request).filter_map(|cookie| value_of(cookie, name)).try_for_each(take)
            }
            Self::Query { name } => query_tokens(name, request)?.try_for_each(take),
        }
    }
}

/// How the request changes when the tokens in `locations` are taken out of it.
pub(crate) fn strip(locations: &[&Location], request: &Request<'_>, changes: &mut Changes) {
    let mut cookie_names = Vec::new();
    let mut parameter_names = Vec::new();
    for location in locations {
        match location {
            Location::Authorization { .. } => changes.remove("authorization"),
            Location::Header { name, .. } => {
                let spelled = request.headers().iter().filter(|(own, _)| name.is_spelled(own));
                changes.remove.extend(spelled.map(|(own, _)| own.to_vec()));
            }
            Location::Cookie { name } => cookie_names.push(name.as_str()),
            Location::Query { name } => parameter_names.push(name.as_str()),
        }
    }
    if !cookie_names.is_empty() {
        let ours = |cookie: &&[u8]| !cookie_names.iter().any(|name| value_of(cookie, name).is_some());
        let kept: Vec<_> = cookies(request).filter(ours).collect();
        changes.remove("cookie");
        if !kept.is_empty() {
            changes.set("cookie", kept.join(&b"; "[..]));
        }
    }
    if !parameter_names.is_empty()
        && let Ok((path, Some(query))) = request.path_and_query()
    {
        changes.set(":path", without_parameters(path, query, &parameter_names).into_bytes());
    }
}

/// Header changes in the order in which they are to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) remove: Vec<Vec<u8>>,
    pub(crate) set: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Changes {
    fn remove(&mut self, name: &str) {
        self.remove.push(name.into());
    }

    fn set(&mut self, name: &str, value: Vec<u8>) {
        self.set.push((name.into(), value));
    }
}

/// RFC 9110 section 11.4: the scheme, one or more spaces, the credentials. Another scheme is no
/// token; two headers are refused whatever they hold, also where a proxy has joined them with a
/// comma, as Envoy does: no token has one.
fn authorization<'r>(scheme: &str, request: &Request<'r>) -> Result<Option<&'r [u8]>, Denial> {
    let Some(value) = at_most_one("authorization", request)? else { return Ok(None) };
    if has_second(scheme, value) {
        return Err(Denial::new(Code::MultipleTokens, "`authorization` is repeated"));
    }
    let end = value.iter().position(|byte| !is_scheme_byte(*byte)).unwrap_or(value.len());
    let (name, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    if !name.eq_ignore_ascii_case(scheme.as_bytes()) {
        return Ok(None);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    match rest.get(spaces..) {
        Some(token) if spaces > 0 && !token.is_empty() => Ok(Some(token)),
        _ => Err(Denial::new(Code::MalformedToken, "the authorization scheme without a space and a token")),
    }
}

/// RFC 9110 section 5.6.2, as far as schemes in use have it.
const fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+')
}

/// Whether `value` is several credentials joined by commas, of which one is of `scheme`.
///
/// Parameters (`Digest a="b", c="d"`) and JSON have commas too, but nothing after them that looks
/// like a scheme.
fn has_second(scheme: &str, value: &[u8]) -> bool {
    if !bytes::has(value, b',') {
        return false;
    }
    let mut parts = value.split(|byte| *byte == b',').map(scheme_of);
    let ours = |own: Option<&[u8]>| own.is_some_and(|own| own.eq_ignore_ascii_case(scheme.as_bytes()));
    let first = parts.next().flatten();
    parts.any(|other| other.is_some() && (ours(first) || ours(other)))
}

/// The word before the first space, or the only word, if it is made of letters.
fn scheme_of(part: &[u8]) -> Option<&[u8]> {
    let word = part.trim_ascii().split(|byte| *byte == b' ').next()?;
    (!word.is_empty() && word.iter().all(u8::is_ascii_alphabetic)).then_some(word)
}

/// A header of its own, in any spelling that an upstream could take for it.
fn header<'r>(name: &HeaderName, prefix: &str, request: &Request<'r>) -> Result<Option<&'r [u8]>, Denial> {
    let mut values =
        request.headers().iter().filter(|(own, _)| name.is_spelled(own)).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.and_then(|value| value.strip_prefix(prefix.as_bytes()))),
        _ => Err(Denial::new(Code::MultipleTokens, format!("`{name}` is repeated"))),
    }
}

fn at_most_one<'r>(name: &str, request: &Request<'r>) -> Result<Option<&'r [u8]>, Denial> {
    let mut values = portcullis_core::header::values(request.headers(), name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Denial::new(Code::MultipleTokens, format!("`{name}` is repeated"))),
    }
}

/// Every cookie pair of every `Cookie` header: HTTP/2 may split them (RFC 9113 section 8.2.3).
fn cookies<'r>(request: &Request<'r>) -> impl Iterator<Item = &'r [u8]> {
    portcullis_core::header::values(request.headers(), "cookie")
        .flat_map(|header| header.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| !cookie.is_empty())
}

fn value_of<'r>(cookie: &'r [u8], name: &str) -> Option<&'r [u8]> {
    let equals = cookie.iter().position(|byte| *byte == b'=')?;
    let (own, value) = cookie.split_at_checked(equals)?;
    (own.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
}

fn query_tokens<'r>(name: &str, request: &Request<'r>) -> Result<impl Iterator<Item = &'r [u8]>, Denial> {
    let (_, query) = request.path_and_query()?;
    let parameters = query.unwrap_or_default().split(['&', ';']).filter(move |pair| names(pair, name));
    Ok(parameters.map(|pair| pair.split_once('=').map_or("", |(_, value)| value).as_bytes()))
}

/// Whether `pair` is a parameter called `name` for any upstream: names are compared decoded.
fn names(pair: &str, name: &str) -> bool {
    decode(pair.split_once('=').map_or(pair, |(name, _)| name)) == name.as_bytes()
}

fn without_parameters(path: &str, query: &str, parameters: &[&str]) -> String {
    let ours = |part: &str| parameters.iter().any(|name| names(part, name));
    let kept: Vec<_> = query.split('&').filter(|pair| !pair.split(';').any(ours)).collect();
    if kept.is_empty() { path.into() } else { format!("{path}?{}", kept.join("&")) }
}

/// Percent-decoding that never fails: what is not an escape stands for itself.
pub(crate) fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(hex_pair);
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(out)
}

pub(crate) fn hex_pair(pair: &[u8]) -> Option<u8> {
    // `from_str_radix` takes a sign as well.
    pair.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;
    use portcullis_core::HeaderPair;

    fn bearer() -> Location {
        Location::Authorization { scheme: "Bearer".into() }
    }

    fn headers<'p>(pairs: &[(&'p str, &'p str)]) -> Vec<HeaderPair<'p>> {
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    fn find(location: &Location, pairs: &[(&str, &str)]) -> Result<Option<String>, Code> {
        let headers = headers(pairs);
        find_one(core::slice::from_ref(location), &Request::new(&headers))
            .map(|found| found.map(|found| core::str::from_utf8(found.token).unwrap().to_string()))
            .map_err(|denial| denial.code())
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_exactly() {
        for (value, expected) in [
            ("Bearer a.b.c", Ok(Some("a.b.c"))),
            ("bearer  a.b.c", Ok(Some("a.b.c"))),
            ("BEARER a.b.c", Ok(Some("a.b.c"))),
            ("Basic YQ==", Ok(None)),
            ("Bearerx a.b.c", Ok(None)),
            ("xBearer a.b.c", Ok(None)),
            ("Bearer\ta.b.c", Err(Code::MalformedToken)),
            ("Bearer,a.b.c", Err(Code::MalformedToken)),
            ("Bearer:a.b.c", Err(Code::MalformedToken)),
            ("a.b.c", Ok(None)),
            ("", Ok(None)),
            ("Bearer", Err(Code::MalformedToken)),
            ("Bearer ", Err(Code::MalformedToken)),
            ("Bearer a.b.c, Bearer d.e.f", Err(Code::MultipleTokens)),
            ("Bearer a.b.c,Basic YQ==", Err(Code::MultipleTokens)),
            ("Basic YQ==,bearer a.b.c", Err(Code::MultipleTokens)),
            ("Digest username=\"a\", realm=\"bearer b\"", Ok(None)),
        ] {
            let expected = expected.map(|token| token.map(ToString::to_string));
            assert_eq!(find(&bearer(), &[("authorization", value)]), expected, "{value}");
        }
    }

    #[test]
    fn a_repeated_authorization_header_is_refused_whatever_it_holds() {
        for second in ["Bearer a.b.c", "Basic YQ==", ""] {
            let pairs = [("authorization", "Bearer a.b.c"), ("Authorization", second)];
            assert_eq!(find(&bearer(), &pairs), Err(Code::MultipleTokens), "{second}");
        }
    }

    #[test]
    fn a_query_token_is_found_under_every_encoding_of_its_name_and_stripped() {
        let location = Location::Query { name: "access_token".into() };
        let path = "/a?x=1&%61ccess_token=a.b.c&y=2";
        assert_eq!(find(&location, &[(":path", path)]), Ok(Some("a.b.c".into())));
        let twice = "/a?access_token=a.b.c&access%5Ftoken=d.e.f";
        assert_eq!(find(&location, &[(":path", twice)]), Err(Code::MultipleTokens));
        let mut changes = Changes::default();
        strip(&[&location], &Request::new(&headers(&[(":path", path)])), &mut changes);
        assert_eq!(changes.set, [(b":path".to_vec(), b"/a?x=1&y=2".to_vec())]);
    }

    #[test]
    fn a_cookie_is_taken_out_and_the_others_stay() {
        let location = Location::Cookie { name: "session".into() };
        let pairs = [("cookie", "a=1; session=a.b.c;b=2"), ("cookie", "c=3")];
        assert_eq!(find(&location, &pairs), Ok(Some("a.b.c".into())));
        let mut changes = Changes::default();
        strip(&[&location], &Request::new(&headers(&pairs)), &mut changes);
        assert_eq!(changes.set, vec![(b"cookie".to_vec(), b"a=1; b=2; c=3".to_vec())]);
        let twice = [("cookie", "session=a.b.c"), ("cookie", "session=d.e.f")];
        assert_eq!(find(&location, &twice), Err(Code::MultipleTokens));
    }

    #[test]
    fn tokens_in_two_places_are_refused() {
        let headers = headers(&[("authorization", "Bearer a.b.c"), ("x-token", "a.b.c")]);
        let other = Location::Header { name: HeaderName::new("x-token").unwrap(), prefix: String::new() };
        let locations = [bearer(), other];
        let found = find_one(&locations, &Request::new(&headers));
        assert_eq!(found.map_err(|denial| denial.code()), Err(Code::MultipleTokens));
    }
}
