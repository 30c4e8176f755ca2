//! The request around the token: where it is, how often it is there, and what the client says
//! that only the gateway may say.

use portcullis_core::Code::{MalformedToken, MissingToken, MultipleTokens, RequestAmbiguous};

use super::{
    Cases,
    Class::Request as Class,
    Setup,
    case::{Request, UpstreamHeader},
};
use crate::keys::KeyError;

pub(super) fn cases(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    presence(s, to)?;
    repetition(s, to)?;
    spoofing(s, to)?;
    other_places(s, to)?;
    paths(s, to)
}

fn presence(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let good = s.honest()?;
    to.deny_request(Class, "no token", "RFC 6750 section 3", &[MissingToken], Request::get());
    for (name, origin, value, codes) in [
        ("the scheme alone", "RFC 6750 section 2.1", "Bearer".into(), [MalformedToken, MissingToken]),
        ("the scheme and a space", "RFC 6750 section 2.1", "Bearer ".into(), [MalformedToken, MissingToken]),
        (
            "an empty Authorization header",
            "RFC 9110 section 11.6.2",
            String::new(),
            [MalformedToken, MissingToken],
        ),
        ("the token without a scheme", "RFC 6750 section 2.1", good.clone(), [MalformedToken, MissingToken]),
        ("another scheme", "RFC 9110 section 11.1", format!("Basic {good}"), [MissingToken, MissingToken]),
        (
            "a scheme that begins alike",
            "RFC 9110 section 11.1",
            format!("BearerX {good}"),
            [MissingToken, MissingToken],
        ),
        (
            "no space after the scheme",
            "RFC 6750 section 2.1",
            format!("Bearer{good}"),
            [MalformedToken, MissingToken],
        ),
        (
            "a colon after the scheme",
            "RFC 6750 section 2.1",
            format!("Bearer: {good}"),
            [MalformedToken, MissingToken],
        ),
        (
            "a tab after the scheme",
            "RFC 9110 section 11.4",
            format!("Bearer\t{good}"),
            [MalformedToken, MissingToken],
        ),
        (
            "something after the token",
            "RFC 6750 section 2.1",
            format!("Bearer {good} x"),
            [MalformedToken, MissingToken],
        ),
    ] {
        to.deny_request(Class, name, origin, &codes, Request::get().header("authorization", value));
    }
    for (name, value) in [
        ("the scheme in lower case", format!("bearer {good}")),
        ("the scheme in upper case", format!("BEARER {good}")),
        ("two spaces after the scheme", format!("Bearer  {good}")),
    ] {
        let request = Request::get().header("authorization", value);
        to.allow_request(
            Class,
            name,
            "RFC 9110 sections 11.1 and 11.4; istio issue 22608",
            request,
            s.upstream_subject(),
        );
    }
    let bytes = [b"Bearer ", good.as_bytes(), b"\xff\xfe"].concat();
    let request = Request::get().header("authorization", bytes);
    to.deny_request(Class, "bytes that are not UTF-8", "RFC 9110 section 5.5", &[MalformedToken], request);
    let request = Request::get().method("OPTIONS").header("origin", "https://app.example");
    let origin = "Fetch standard section 3.2.2: not a preflight";
    to.deny_request(Class, "OPTIONS without Access-Control-Request-Method", origin, &[MissingToken], request);
    let request = Request::get().method("OPTIONS").header("access-control-request-method", "GET");
    to.deny_request(Class, "OPTIONS without Origin", origin, &[MissingToken], request);
    Ok(())
}

fn repetition(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let (good, expired) = (s.honest()?, s.token().claim("exp", 1).compact(&s.keys.rsa)?);
    let origin = "CVE-2025-64527; RFC 6750 section 2";
    for (name, first, second) in [
        ("the token in two headers", &good, &good),
        ("a good token and then a bad one", &good, &expired),
        ("a bad token and then a good one", &expired, &good),
    ] {
        to.deny_request(Class, name, origin, &[MultipleTokens], Request::get().bearer(first).bearer(second));
    }
    // What a proxy makes of two headers, and what a client may send itself.
    let joined = Request::get().bearer(format!("{good}, Bearer {good}"));
    to.deny_request(
        Class,
        "the token twice, separated by a comma",
        "RFC 9110 section 5.3",
        &[MultipleTokens],
        joined,
    );
    let request = Request::get().bearer(&good).header("authorization", "Basic eDp5");
    to.deny_request(
        Class,
        "a token and other credentials",
        "RFC 9110 section 5.3",
        &[MultipleTokens],
        request,
    );
    Ok(())
}

/// Headers that the gateway owns never come from the client.
fn spoofing(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let own = s.subject_header.as_str();
    let origin = "identity headers are stripped before they are set (CWE-290)";
    let good = || Ok::<_, KeyError>(Request::get().bearer(s.honest()?));
    for (name, request) in [
        ("the subject header from the client", good()?.header(own, "admin")),
        ("the subject header from the client, twice", good()?.header(own, "admin").header(own, "root")),
        ("the subject header from the client, empty", good()?.header(own, "")),
        ("the subject header from the client, not UTF-8", good()?.header(own, *b"\xff")),
        ("the subject header before the token", Request::get().header(own, "admin").bearer(s.honest()?)),
    ] {
        to.allow_request(Class, name, origin, request, s.upstream_subject());
    }
    let underscored = own.replace('-', "_");
    let gone = UpstreamHeader { name: underscored.clone(), values: Vec::new() };
    let upstream = [s.upstream_subject(), vec![gone]].concat();
    let request = good()?.header(&underscored, "admin");
    let origin = "CGI and WSGI fold `_` and `-` (RFC 3875 section 4.1.18)";
    to.allow_request(Class, "the subject header with underscores", origin, request, upstream);
    let stripped = UpstreamHeader { name: "authorization".into(), values: Vec::new() };
    let origin = "a token is for the gateway, not for the upstream (RFC 8725 section 3.9)";
    to.allow_request(Class, "the token stops at the gateway", origin, good()?, vec![stripped]);
    Ok(())
}

/// Tokens in cookies and query parameters, where the gateway takes them, and where it does not.
fn other_places(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let good = s.honest()?;
    let origin = "CVE-2025-64527; RFC 6750 section 2";
    if let Some(cookie) = &s.cookie {
        let pair = format!("{cookie}={good}");
        let alone = Request::get().header("cookie", format!("a=1; {pair}; b=2"));
        let cleaned = vec![UpstreamHeader { name: "cookie".into(), values: vec!["a=1; b=2".into()] }];
        to.allow_request(Class, "the token in a cookie", "RFC 6265", alone, cleaned);
        let both = Request::get().bearer(&good).header("cookie", pair.clone());
        to.deny_request(Class, "a token in the header and one in a cookie", origin, &[MultipleTokens], both);
        let twice = Request::get().header("cookie", pair.clone()).header("cookie", pair);
        to.deny_request(Class, "a token in two cookies", origin, &[MultipleTokens], twice);
    } else {
        let request = Request::get().header("cookie", format!("token={good}; access_token={good}"));
        to.deny_request(
            Class,
            "the token in a cookie that nobody asked for",
            "RFC 6750 section 2",
            &[MissingToken],
            request,
        );
    }
    if let Some(query) = &s.query {
        let path = format!("/orders/7?a=1&{query}={good}");
        let both = Request::get().bearer(&good).path(path.clone());
        to.deny_request(Class, "a token in the header and one in the query", origin, &[MultipleTokens], both);
        let twice = Request::get().path(format!("{path}&{query}=x"));
        to.deny_request(Class, "two tokens in the query", origin, &[MultipleTokens], twice);
    } else {
        let request = Request::get().path(format!("/orders/7?access_token={good}"));
        to.deny_request(Class, "the token in the query", "RFC 6750 section 5.3", &[MissingToken], request);
    }
    Ok(())
}

/// Paths that a gateway and an upstream may read in two ways: where one reading needs a token and
/// the other does not, neither reading is right.
fn paths(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let Some(public) = s.public_prefix.as_deref() else { return Ok(()) };
    let origin = "CVE-2020-8595; CVE-2023-27487; RFC 3986 section 6";
    for (name, tail) in [
        ("out of the public part by a parent segment", "/../admin"),
        ("out of the public part by an encoded parent segment", "/%2e%2e/admin"),
        ("out of the public part by an encoded slash", "%2f..%2fadmin"),
        ("out of the public part by a backslash", "/..\\admin"),
        ("out of the public part by an encoded backslash", "/..%5cadmin"),
        ("out of the public part by a matrix parameter", "/..;/admin"),
        ("out of the public part by a double encoding", "/%252e%252e/admin"),
        ("a public path with a broken escape", "/%zz"),
        ("a public path with an encoded NUL", "/%00"),
        ("a public path with an empty segment", "//x"),
    ] {
        let request = Request::get().path(format!("{public}{tail}"));
        to.deny_request(Class, name, origin, &[RequestAmbiguous], request);
    }
    let good = s.honest()?;
    for (name, path) in [
        ("a dot segment, with a good token", "/./admin"),
        ("an empty segment, with a good token", "//admin"),
        ("an encoded letter, with a good token", "/%61dmin"),
    ] {
        to.deny_request(Class, name, origin, &[RequestAmbiguous], Request::get().path(path).bearer(&good));
    }
    let beside = Request::get().path(format!("{public}ity"));
    to.deny_request(Class, "a path that begins like the public part", origin, &[MissingToken], beside);
    let own = s.subject_header.as_str();
    let gone = vec![UpstreamHeader { name: own.into(), values: Vec::new() }];
    let spoofed = Request::get().path(format!("{public}/logo")).header(own, "admin");
    to.allow_request(Class, "the subject header on a public path", "CWE-290", spoofed, gone);
    Ok(())
}
