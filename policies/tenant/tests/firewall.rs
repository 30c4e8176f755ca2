//! The response side: what may leave with an answer to a tenant's request.

use portcullis_core::{Code, HeaderPair, request::borrowed};
use portcullis_tenant::firewall::{Cleaned, Finding, Firewall, Ownership, Whose};

/// A request to `acme.app.test`; tenants are below `app.test`, and `/t/{tenant}/` names them as well.
struct Acme;

impl Ownership for Acme {
    fn host(&self, host: &str) -> Whose {
        match host.strip_suffix(".app.test") {
            Some("acme") => Whose::Own,
            Some("www" | "login") => Whose::Central,
            Some(_) => Whose::Other,
            None if host == "shop.globex.example" => Whose::Other,
            None => Whose::Outside,
        }
    }

    fn names_other(&self, path: &str) -> bool {
        let odd = path.contains("..") || path.to_ascii_lowercase().contains("%2e");
        odd || path.strip_prefix("/t/").is_some_and(|rest| rest.split('/').next() != Some("acme"))
    }

    fn shares_cookies(&self, domain: &str) -> bool {
        domain == "app.test" || "app.test".ends_with(&format!(".{domain}"))
    }

    fn owns_header(&self, name: &[u8]) -> bool {
        name.to_ascii_lowercase().starts_with(b"x-tenant-")
    }
}

fn pairs<'h>(headers: &[(&'h str, &'h str)]) -> Vec<HeaderPair<'h>> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn firewall(json: &str) -> Firewall {
    serde_json::from_str(json).unwrap()
}

/// The headers after cleaning, or the code of the denial.
fn cleaned(json: &str, shared: bool, headers: &[(&str, &str)]) -> Result<(Vec<String>, Vec<Finding>), Code> {
    let headers = pairs(headers);
    let Cleaned { remove, add, findings } =
        firewall(json).clean(&headers, shared, &Acme).map_err(|denial| denial.code())?;
    let removed = |name: &[u8]| remove.iter().any(|own| own.eq_ignore_ascii_case(name));
    let text = |(name, value): HeaderPair<'_>| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    let add = borrowed(&add);
    let kept = headers.into_iter().filter(|(name, _)| !removed(name)).chain(add).map(text).collect();
    Ok((kept, findings))
}

const UNCACHED: &str = "cache-control: private, no-store";

#[test]
fn no_cache_keeps_an_answer_that_is_one_tenants() {
    for headers in [
        &[][..],
        &[("cache-control", "public, s-maxage=60")],
        &[("Cache-Control", "max-age=60")],
        &[("cache-control", "private, max-age=60")],
        &[("cache-control", "no-store"), ("cache-control", "public")],
        &[("cache-control", "no-store, public")],
        &[("cache-control", "no-cache")],
        &[("CDN-Cache-Control", "max-age=60")],
        &[("surrogate-control", "max-age=60"), ("vercel-cdn-cache-control", "max-age=1")],
        &[
            ("edge-control", "!no-store"),
            ("x-accel-expires", "60"),
            ("expires", "Thu, 01 Jan 2037 00:00:00 GMT"),
        ],
    ] {
        let (kept, findings) = cleaned("{}", false, headers).unwrap();
        assert_eq!((kept, findings), (vec![UNCACHED.into()], vec![Finding::Cacheable]), "{headers:?}");
    }
    for said in ["no-store", "private, no-store", "no-cache, no-store, must-revalidate"] {
        let (kept, findings) = cleaned("{}", false, &[("cache-control", said)]).unwrap();
        assert_eq!((kept, findings), (vec![format!("cache-control: {said}")], vec![]));
    }
}

#[test]
fn a_shared_answer_may_be_kept_unless_it_sets_a_cookie() {
    let said = [("cache-control", "public, max-age=60"), ("cdn-cache-control", "max-age=600")];
    let (kept, findings) = cleaned("{}", true, &said).unwrap();
    assert_eq!(kept, ["cache-control: public, max-age=60", "cdn-cache-control: max-age=600"]);
    assert_eq!(findings, []);
    let (kept, _) = cleaned("{}", true, &[said[0], said[1], ("set-cookie", "sid=1")]).unwrap();
    assert_eq!(kept, ["set-cookie: sid=1", UNCACHED]);
}

#[test]
fn a_cookie_that_sibling_tenants_would_get_stays_with_its_host() {
    let none = ("cache-control", "no-store");
    let cookies = [
        ("set-cookie", "a=1; Path=/; Domain=.app.test; Secure"),
        ("Set-Cookie", "b=2; domain = APP.test"),
        ("set-cookie", "c=3; Domain=acme.app.test; HttpOnly"),
        ("set-cookie", "d=4; Domain=globex.app.test"),
        ("set-cookie", "e=5; Domain=acme.app.test; Domain=test"),
        ("set-cookie", "f=Domain=app.test; Secure"),
    ];
    let headers: Vec<_> = std::iter::once(none).chain(cookies).collect();
    let (kept, findings) = cleaned("{}", false, &headers).unwrap();
    assert_eq!(
        kept,
        [
            "cache-control: no-store",
            "set-cookie: a=1; Path=/; Secure",
            "set-cookie: b=2",
            "set-cookie: c=3; Domain=acme.app.test; HttpOnly",
            "set-cookie: d=4",
            "set-cookie: e=5",
            "set-cookie: f=Domain=app.test; Secure",
        ]
    );
    assert_eq!(findings, [Finding::CookieDomain]);
    assert_eq!(cleaned(r#"{"cookie_domain": "refuse"}"#, false, &headers), Err(Code::TenantResponseRefused));
    let (kept, findings) = cleaned(r#"{"cookie_domain": "report"}"#, false, &headers[..2]).unwrap();
    assert_eq!((kept.len(), findings), (2, vec![Finding::CookieDomain]));
}

#[test]
fn a_redirect_to_another_tenant_is_refused_however_it_is_spelled() {
    for location in [
        "https://globex.app.test/x",
        "HTTPS://GLOBEX.APP.TEST./x",
        "https://globex.app.test:8443",
        "https://globex.app.test?x",
        "//globex.app.test/x",
        "///globex.app.test/x",
        "https:globex.app.test/x",
        "https:/globex.app.test/x",
        "http:////globex.app.test/x",
        "https:\\\\globex.app.test/x",
        "/\\globex.app.test",
        "https://acme.app.test@globex.app.test/",
        "https://globex%2eapp.test/",
        "https://ｇlobex.app.test/",
        "ht\ttps://globex.app.test/",
        " https://globex.app.test/ ",
        "https://globex.acme.app.test/",
        "https://shop.globex.example/",
        "/t/globex/x",
        "https://acme.app.test/t/globex/x",
        "https://acme.app.test/t/acme/../globex",
        "../globex/x",
        "x/%2E./%2e%2E/globex",
    ] {
        assert_eq!(
            cleaned("{}", false, &[("location", location)]),
            Err(Code::TenantResponseRefused),
            "{location}"
        );
        let refresh = format!("0; URL='{location}'");
        assert_eq!(
            cleaned("{}", false, &[("refresh", &refresh)]),
            Err(Code::TenantResponseRefused),
            "{refresh}"
        );
    }
    let two = [("location", "/ok"), ("Location", "https://globex.app.test/")];
    assert_eq!(cleaned("{}", false, &two), Err(Code::TenantResponseRefused));
    let (kept, _) = cleaned(r#"{"location": "remove"}"#, false, &two).unwrap();
    assert_eq!(kept, [UNCACHED]);
}

#[test]
fn ordinary_redirects_pass() {
    for location in [
        "/",
        "/invoices?next=/t/globex/x",
        "/t/acme/invoices",
        "invoices/7",
        "?page=2",
        "https://acme.app.test/t/acme/x",
        "https://login.app.test/authorize?redirect_uri=https://globex.app.test/",
        "https://www.example.org/t/globex/x..y",
        "myapp:callback",
        "mailto:a@globex.app.test",
    ] {
        let (kept, findings) =
            cleaned("{}", false, &[("cache-control", "no-store"), ("location", location)]).unwrap();
        assert_eq!(kept.last(), Some(&format!("location: {location}")));
        assert_eq!(findings, []);
    }
}

#[test]
fn another_tenants_pages_may_not_read_the_answer() {
    let said = [("access-control-allow-origin", "https://globex.app.test"), ("cache-control", "no-store")];
    let (kept, findings) = cleaned("{}", false, &said).unwrap();
    assert_eq!((kept, findings), (vec!["cache-control: no-store".into()], vec![Finding::AllowOrigin]));
    for origin in ["*", "null", "https://acme.app.test", "https://partner.example"] {
        let (kept, _) = cleaned("{}", false, &[("access-control-allow-origin", origin)]).unwrap();
        assert_eq!(kept[0], format!("access-control-allow-origin: {origin}"));
    }
}

#[test]
fn owned_headers_never_leave() {
    let said = [
        ("X-Tenant-Id", "acme"),
        ("x-tenant-context", "v1"),
        ("etag", "\"1\""),
        ("cache-control", "no-store"),
    ];
    let (kept, findings) = cleaned("{}", true, &said).unwrap();
    assert_eq!(
        (kept, findings),
        (vec!["etag: \"1\"".into(), "cache-control: no-store".into()], vec![Finding::OwnedHeader])
    );
    let trailers = Cleaned::of_trailers(&pairs(&[("x-tenant-id", "acme"), ("grpc-status", "0")]), &Acme);
    assert_eq!(trailers.remove, [b"x-tenant-id".to_vec()]);
}

#[test]
fn bytes_that_are_no_text_pass_or_are_refused_and_never_panic() {
    let bytes: Vec<Vec<u8>> = (0..=255_u8)
        .map(|byte| vec![byte])
        .chain((0..=255).map(|byte| vec![b'/', byte, b';', b'=', byte]))
        .collect();
    for value in bytes {
        for name in ["location", "refresh", "set-cookie", "cache-control", "access-control-allow-origin"] {
            let headers = vec![(name.as_bytes().to_vec(), value.clone())];
            let _ = firewall("{}").clean(&borrowed(&headers), false, &Acme);
        }
    }
    let domain = [("set-cookie", b"a=1; Domain=\xff".to_vec())];
    let Cleaned { add, .. } = firewall("{}").clean(&borrowed(&domain), false, &Acme).unwrap();
    assert!(add.contains(&(b"set-cookie".to_vec(), b"a=1".to_vec())));
}
