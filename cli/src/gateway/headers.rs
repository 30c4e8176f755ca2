//! Headers between hyper and the host, as Envoy has them: lower case, pseudo headers, bytes above
//! 0x7f kept, repeated ones kept, hop-by-hop ones removed.

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING},
    http::{request, response},
};
use portcullis_host::Headers;

/// About this connection only (RFC 9110 section 7.6.1). `expect` is answered here, by reading on.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
];

/// Why a request never gets to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// `CONNECT` and upgrades make a tunnel that no plugin looks into.
    Tunnel,
    /// No host, more than one, or two that differ (RFC 9112 section 3.2).
    Host,
}

/// A request as plugins see it.
pub(super) fn from_request(head: &request::Parts) -> Result<Headers, Refused> {
    if head.method == Method::CONNECT || head.headers.contains_key("upgrade") {
        return Err(Refused::Tunnel);
    }
    let authority = authority(head)?;
    let mut headers = Headers::new();
    headers.add(":method", head.method.as_str());
    headers.add(":path", head.uri.path_and_query().map_or("/", |target| target.as_str()));
    headers.add(":authority", authority);
    headers.add(":scheme", "http");
    add_end_to_end(&head.headers, &mut headers);
    Ok(headers)
}

/// The one host that the request is for. An absolute target overrides the header for some servers
/// and not for others, so the two must agree.
fn authority(head: &request::Parts) -> Result<Vec<u8>, Refused> {
    let mut named = head.headers.get_all(HOST).iter();
    let (header, more) = (named.next(), named.next());
    let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (target, header.map(HeaderValue::as_bytes), more) {
        (None, Some(host), None) if !host.is_empty() => Ok(host.to_vec()),
        (Some(target), None, None) => Ok(target.to_vec()),
        (Some(target), Some(host), None) if target.eq_ignore_ascii_case(host) => Ok(target.to_vec()),
        _ => Err(Refused::Host),
    }
}

/// A response as plugins see it.
pub(super) fn from_response(head: &response::Parts) -> Headers {
    let mut headers = Headers::new();
    headers.add(":status", head.status.as_str());
    add_end_to_end(&head.headers, &mut headers);
    headers
}

fn add_end_to_end(map: &HeaderMap, headers: &mut Headers) {
    let nominated: Vec<String> = map
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    // Where both are there the encoding counts (RFC 9112 section 6.3).
    let chunked = map.contains_key(TRANSFER_ENCODING);
    let dropped = |name: &HeaderName| {
        HOP_BY_HOP.contains(&name.as_str())
            || name == HOST
            || (chunked && name == CONTENT_LENGTH)
            || nominated.iter().any(|own| own == name.as_str())
    };
    for (name, value) in map {
        if !dropped(name) {
            headers.add(name.as_str(), value.as_bytes());
        }
    }
    if map.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.add("te", "trailers");
    }
}

/// Trailers as plugins see them.
pub(super) fn to_host(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        headers.add(name.as_str(), value.as_bytes());
    }
    headers
}

/// Trailers from plugins. `None` where one cannot be written to the wire.
pub(super) fn to_map(headers: &Headers) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        map.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(map)
}

/// What goes to the server at `address`. `None` where the plugins left something that is not HTTP:
/// sending a part of it would not be what they decided.
pub(super) fn to_request<B>(headers: &Headers, address: &str, body: B) -> Option<Request<B>> {
    let single = |name: &str| {
        let mut values = headers.all(name);
        values.next().filter(|_| values.next().is_none())
    };
    let path = str::from_utf8(single(":path")?).ok()?;
    let uri = Uri::builder().scheme("http").authority(address).path_and_query(path).build().ok()?;
    // A target that the URI type reads in another way would not be what was judged.
    if uri.path_and_query()?.as_str() != path {
        return None;
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(single(":method")?).ok()?;
    *request.uri_mut() = uri;
    *request.headers_mut() = to_map(headers)?;
    request.headers_mut().insert(HOST, HeaderValue::from_bytes(single(":authority")?).ok()?);
    Some(request)
}

/// What goes to the client. `None` as for [`to_request`].
pub(super) fn to_response<B>(headers: &Headers, body: B) -> Option<Response<B>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_bytes(headers.first(":status")?).ok()?;
    *response.headers_mut() = to_map(headers)?;
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(build: impl FnOnce(request::Builder) -> request::Builder) -> Result<Headers, Refused> {
        from_request(&build(Request::builder()).body(()).unwrap().into_parts().0)
    }

    #[test]
    fn plugins_see_pseudo_headers_and_every_end_to_end_header_as_it_came() {
        let headers = seen(|request| {
            request
                .uri("/a//b?c=%2f")
                .header("host", "api.example")
                .header("X-Two", "1")
                .header("x-two", HeaderValue::from_bytes(b"\xff").unwrap())
        });
        let headers = headers.unwrap();
        let pairs: Vec<_> = headers.iter().collect();
        assert_eq!(
            pairs,
            [
                (&b":method"[..], &b"GET"[..]),
                (b":path", b"/a//b?c=%2f"),
                (b":authority", b"api.example"),
                (b":scheme", b"http"),
                (b"x-two", b"1"),
                (b"x-two", b"\xff"),
            ]
        );
    }

    #[test]
    fn hop_by_hop_headers_stay_behind_and_so_do_those_that_connection_names() {
        let headers = seen(|request| {
            request
                .header("host", "x")
                .header("connection", "close, X-Mine")
                .header("x-mine", "1")
                .header("te", "trailers")
                .header("transfer-encoding", "chunked")
                .header("content-length", "3")
                .header("expect", "100-continue")
        });
        let headers = headers.unwrap();
        let names: Vec<_> = headers.iter().skip(4).map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [b"te".to_vec()]);
    }

    #[test]
    fn a_request_is_for_exactly_one_host() {
        for (uri, hosts, expected) in [
            ("/", &["a"][..], Ok("a")),
            ("http://a/", &["A"], Ok("a")),
            ("http://a/", &[], Ok("a")),
            ("http://a/", &["b"], Err(Refused::Host)),
            ("/", &["a", "a"], Err(Refused::Host)),
            ("/", &[""], Err(Refused::Host)),
            ("/", &[], Err(Refused::Host)),
        ] {
            let request = |builder: request::Builder| {
                hosts.iter().fold(builder.uri(uri), |b, host| b.header("host", *host))
            };
            let got = seen(request).map(|headers| headers.text(":authority").unwrap().to_owned());
            assert_eq!(got.as_deref().map_err(|refused| *refused), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn no_tunnel_goes_around_the_plugins() {
        let connect = seen(|request| request.method("CONNECT").uri("a:443").header("host", "a:443"));
        assert_eq!(connect, Err(Refused::Tunnel));
        let upgrade = seen(|request| request.header("host", "a").header("upgrade", "websocket"));
        assert_eq!(upgrade, Err(Refused::Tunnel));
    }

    #[test]
    fn what_is_not_http_is_not_sent() {
        let base = [(":method", "GET"), (":path", "/a?b"), (":authority", "api.example"), ("x", "1")];
        let with = |name: &str, value: &[u8]| {
            let mut headers = Headers::from(base);
            headers.replace(name, value);
            to_request(&headers, "127.0.0.1:1", ())
        };
        let sent = with("x", b"\xff").unwrap();
        assert_eq!(sent.uri(), "http://127.0.0.1:1/a?b");
        assert_eq!(sent.headers()["host"], "api.example");
        assert_eq!(sent.headers()["x"].as_bytes(), b"\xff");
        for (name, value) in [
            ("x", &b"a\nb"[..]),
            (":path", b"/a#b"),
            (":path", b"/a b"),
            (":path", b"http://x/"),
            (":method", b""),
        ] {
            assert!(with(name, value).is_none(), "{name}: {value:?}");
        }
        let mut twice = Headers::from(base);
        twice.add(":path", "/other");
        assert!(to_request(&twice, "127.0.0.1:1", ()).is_none());
    }
}
