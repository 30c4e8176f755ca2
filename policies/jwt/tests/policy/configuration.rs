//! Every configuration that must be refused, with the path and the reason that a person gets.

use crate::common::{EVERYTHING, configuration};
use portcullis_jwt::Policy;

fn refusal(document: &str) -> String {
    Policy::from_json(document.as_bytes()).expect_err(document).to_string()
}

fn remote(remote: &str) -> String {
    format!(
        r#"{{"issuers": [{{"name": "main", "issuer": "https://issuer", "audiences": ["api"],
            "algorithms": ["RS256"], "jwks": {{"remote": {remote}}}}}], {EVERYTHING}}}"#
    )
}

#[test]
fn what_contradicts_itself_or_is_unsafe_is_refused_with_its_place() {
    let cases: &[(String, &str, &str)] = &[
        ("{".into(), ".", "EOF"),
        ("[]".into(), ".", "expected struct"),
        ("{} {}".into(), ".", "issuers"),
        (configuration("", r#""rules": []"#), "rules", "every request would be refused"),
        (
            configuration(r#", "audience": "api""#, EVERYTHING),
            "issuers[0].audience",
            "unknown field `audience`",
        ),
        (
            configuration(r#", "accept_any_audience": true"#, EVERYTHING),
            "issuers[0].accept_any_audience",
            "contradicts",
        ),
        (configuration(r#", "clock_skew": "11m""#, EVERYTHING), "issuers[0].clock_skew", "more than `10m`"),
        (
            configuration(r#", "clock_skew": "soon""#, EVERYTHING),
            "issuers[0].clock_skew",
            "write a number and a unit",
        ),
        (configuration(r#", "clock_skew": 60"#, EVERYTHING), "issuers[0].clock_skew", "expected a string"),
        (
            configuration(r#", "max_lifetime": "1h", "require_expiry": false"#, EVERYTHING),
            "issuers[0].require_expiry",
            "contradicts `max_lifetime`",
        ),
        (configuration(r#", "types": []"#, EVERYTHING), "issuers[0].types", "empty"),
        (
            configuration(r#", "claims": [{"claim": "a", "one_of": []}]"#, EVERYTHING),
            "issuers[0].claims[0].one_of",
            "empty",
        ),
        (
            configuration(r#", "claims": [{"claim": "a", "one_of": [1.5]}]"#, EVERYTHING),
            "issuers[0].claims[0].one_of[0]",
            "not a string",
        ),
        (
            configuration(r#", "claims": [{"claim": "a", "path": ["a"], "one_of": [1]}]"#, EVERYTHING),
            "issuers[0].claims[0]",
            "exactly one of",
        ),
        (configuration(r#", "required_claims": [""]"#, EVERYTHING), "issuers[0].required_claims[0]", "empty"),
        (
            configuration(r#", "forward": {"headers": [{"claim": "sub", "header": "Host"}]}"#, EVERYTHING),
            "issuers[0].forward.headers[0].header",
            "`host` steers the connection",
        ),
        (
            configuration(r#", "forward": {"headers": [{"claim": "sub", "header": ":path"}]}"#, EVERYTHING),
            "issuers[0].forward.headers[0].header",
            "not a header name",
        ),
        (
            configuration(
                r#", "forward": {"headers": [{"claim": "sub", "header": "x-a"}, {"claim": "b", "header": "X_A"}]}"#,
                EVERYTHING,
            ),
            "issuers[0].forward.headers[1].header",
            "already set",
        ),
        (
            configuration(
                r#", "from": {"headers": [{"name": "x-t"}]}, "forward": {"headers": [{"claim": "sub", "header": "x-t"}]}"#,
                EVERYTHING,
            ),
            "issuers[0].from.headers",
            "also set by `forward`",
        ),
        (
            configuration(r#", "from": {"headers": [{"name": "Cookie"}]}"#, EVERYTHING),
            "issuers[0].from.headers[0].name",
            "from.cookies",
        ),
        (
            configuration(r#", "from": {"query": ["a b"]}"#, EVERYTHING),
            "issuers[0].from.query[0]",
            "only letters",
        ),
        (
            configuration("", r#""rules": [{"path": {"prefix": "/"}, "require": {"any": ["other"]}}]"#),
            "rules[0].require.any[0]",
            "there are: main",
        ),
        (
            configuration("", r#""rules": [{"path": {"prefix": "/"}, "require": {"any": []}}]"#),
            "rules[0].require.any",
            "require `\"none\"`",
        ),
        (
            configuration("", r#""rules": [{"path": {"prefix": "a"}, "require": "none"}]"#),
            "rules[0].path.prefix",
            "does not begin with `/`",
        ),
        (
            configuration("", r#""rules": [{"path": {"exact": "/a%20b"}, "require": "none"}]"#),
            "rules[0].path.exact",
            "decoded path",
        ),
        (
            configuration("", r#""rules": [{"path": {"exact": "/a/../b"}, "require": "none"}]"#),
            "rules[0].path.exact",
            "dot segment",
        ),
        (
            configuration("", r#""rules": [{"path": {"template": "/a{x}"}, "require": "none"}]"#),
            "rules[0].path.template",
            "`a{x}`",
        ),
        (
            configuration("", r#""rules": [{"path": {"template": "/**/a"}, "require": "none"}]"#),
            "rules[0].path.template",
            "`**` at the end",
        ),
        (
            configuration(
                "",
                r#""rules": [{"path": {"prefix": "/"}, "methods": ["get"], "require": "none"}]"#,
            ),
            "rules[0].methods[0]",
            "upper case",
        ),
        (
            configuration(
                "",
                r#""rules": [{"path": {"prefix": "/"}, "hosts": ["A.example"], "require": "none"}]"#,
            ),
            "rules[0].hosts[0]",
            "lower case",
        ),
        (
            configuration(
                "",
                r#""rules": [{"path": {"prefix": "/"}, "scopes": ["a b"], "require": {"any": ["main"]}}]"#,
            ),
            "rules[0].scopes[0]",
            "RFC 6749",
        ),
        (
            configuration("", r#""rules": [{"path": {"prefix": "/"}, "scopes": ["a"], "require": "none"}]"#),
            "rules[0].scopes",
            "only with `any`",
        ),
        (
            configuration("", &format!(r#""limits": {{"token_bytes": 1}}, {EVERYTHING}"#)),
            "limits.token_bytes",
            "not in",
        ),
        (configuration("", &format!(r#""limits": {{"wait": "0s"}}, {EVERYTHING}"#)), "limits.wait", "not in"),
        (configuration("", &format!(r#""realm": "a\"b", {EVERYTHING}"#)), "realm", "visible ASCII"),
        (
            remote(r#"{"uri": "http://idp/jwks", "cluster": "idp"}"#),
            "issuers[0].jwks.remote.uri",
            "allow_insecure_http",
        ),
        (
            remote(r#"{"uri": "ftp://idp/jwks", "cluster": "idp"}"#),
            "issuers[0].jwks.remote.uri",
            "not an address",
        ),
        (
            remote(r#"{"uri": "https://user@idp/jwks", "cluster": "idp"}"#),
            "issuers[0].jwks.remote.uri",
            "not an address",
        ),
        (
            remote(r#"{"uri": "https://idp/jwks", "cluster": ""}"#),
            "issuers[0].jwks.remote.cluster",
            "Envoy cluster",
        ),
        (
            remote(r#"{"uri": "https://idp/jwks", "cluster": "idp", "timeout": "0s"}"#),
            "issuers[0].jwks.remote.life",
            "a timeout",
        ),
    ];
    for (document, path, reason) in cases {
        let refusal = refusal(document);
        assert!(refusal.starts_with(&format!("`{path}`: ")), "{refusal}\n{document}");
        assert!(refusal.contains(reason), "{refusal}\nshould say: {reason}");
    }
}

#[test]
fn keys_and_algorithms_that_cannot_work_are_refused() {
    let sound = configuration("", EVERYTHING);
    for (from, to, path, reason) in [
        (r#""HS256"], "#, r#""none"], "#, "issuers[0].algorithms[0]", "`none` is not one of"),
        (r#"["HS256"]"#, r#"["RS256"]"#, "issuers[0].jwks.inline", "no key fits"),
        (r#"["HS256"]"#, "[]", "issuers[0].algorithms", "empty"),
        (r#"["api"]"#, "[]", "issuers[0].audiences", "accept_any_audience"),
        (r#""name": "main""#, r#""name": """#, "issuers[0].name", "empty"),
        (r#""inline""#, r#""file""#, "issuers[0].jwks", "unknown variant `file`"),
        (r#""kty": "oct""#, r#""kty": "odd""#, "issuers[0].jwks.inline", ""),
    ] {
        let document = sound.replacen(from, to, 1);
        assert_ne!(document, sound, "{from}");
        let refusal = refusal(&document);
        assert!(refusal.starts_with(&format!("`{path}")), "{refusal}\n{document}");
        assert!(refusal.contains(reason), "{refusal}");
    }
    let empty = r#"{"issuers": [{"name": "main", "issuer": "https://issuer", "audiences": ["api"],
        "algorithms": ["RS256"], "jwks": {"inline": {"keys": []}}}], "rules": []}"#;
    assert!(refusal(empty).contains("empty") || refusal(empty).contains("no key"), "{}", refusal(empty));
    let hmac = remote(r#"{"uri": "https://idp/jwks", "cluster": "idp"}"#).replace("RS256", "HS256");
    assert!(refusal(&hmac).contains("never comes from a URL"), "{}", refusal(&hmac));
}

#[test]
fn issuers_are_told_apart_by_name_and_by_identifier() {
    let issuer = |name: &str, identifier: &str| {
        let one = configuration("", EVERYTHING);
        let start = one.find('[').unwrap() + 1;
        let end = one.find(r#""rules""#).unwrap();
        let text = one[start..end].trim_end().trim_end_matches(',').trim_end_matches(']').to_owned();
        text.replacen("main", name, 1).replacen("https://issuer", identifier, 1)
    };
    let both = |a: String, b: String| format!(r#"{{"issuers": [{a}, {b}], {EVERYTHING}}}"#);
    let same_name = both(issuer("main", "https://a"), issuer("main", "https://b"));
    assert!(refusal(&same_name).contains("already issuers[0].name"), "{}", refusal(&same_name));
    let same_issuer = both(issuer("main", "https://a"), issuer("other", "https://a"));
    assert!(refusal(&same_issuer).contains("already issuers[0].issuer"), "{}", refusal(&same_issuer));
    let all = both(issuer("main", "https://a"), issuer("other", "https://b"))
        .replace(r#"{"any": ["main"]}"#, r#"{"all": ["main", "other"]}"#);
    assert!(refusal(&all).contains("give each a `from` of its own"), "{}", refusal(&all));
}
