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
            configuration(r#", "claims": [{"claim": "a", "one_of": [1.5, [1]]}]"#, EVERYTHING),
            "issuers[0].claims[0].one_of[1]",
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
        (
            configuration("", &format!(r#""limits": {{"verified_tokens_bytes": 2000000000}}, {EVERYTHING}"#)),
            "limits.verified_tokens_bytes",
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

#[test]
fn a_condition_that_could_not_mean_anything_is_refused_with_its_place() {
    let deep = r#"{"any": [{"any": [{"any": [{"any": [{"any": [{"claim": "a", "equals": 1}]}]}]}]}]}"#;
    let many = [r#"{"claim": "a", "equals": 1}"#; 65].join(",");
    let values = ["1"; 257].join(",");
    for (condition, place, reason) in [
        ("{}", "", "exactly one of `claim`"),
        (r#"{"claim": "a"}"#, "", "no comparison; say one of `equals`, `one_of`"),
        (r#"{"claim": "a", "equals": null}"#, "", "no comparison"),
        (r#"{"claim": "a", "equals": 1, "prefix": "x"}"#, "", "`equals` and `prefix`: one comparison"),
        (r#"{"claim": "a", "path": ["b"], "equals": 1}"#, "", "exactly one of `claim`"),
        (r#"{"claim": "", "equals": 1}"#, "", "a claim's name is empty"),
        (r#"{"claim": "a", "equal": 1}"#, ".equal", "unknown field `equal`"),
        (r#"{"claim": "a", "equals": {"b": 1}}"#, ".equals", "not a string, a boolean or a number"),
        (r#"{"claim": "a", "equals": 1e2000}"#, ".equals", "more than a thousand digits"),
        (r#"{"claim": "a", "one_of": []}"#, ".one_of", "empty"),
        (&format!(r#"{{"claim": "a", "one_of": [{values}]}}"#), ".one_of", "more than 256 values"),
        (r#"{"claim": "a", "contains": ["x", ["y"]]}"#, ".contains[1]", "not a string"),
        (
            r#"{"claim": "a", "elements": "all", "contains": ["x"]}"#,
            ".elements",
            "no meaning with `contains`",
        ),
        (r#"{"claim": "a", "elements": "some", "equals": 1}"#, ".elements", "unknown variant `some`"),
        (r#"{"claim": "a", "prefix": ""}"#, ".prefix", "every text would pass"),
        (r#"{"claim": "a", "suffix": ""}"#, ".suffix", "every text would pass"),
        (r#"{"claim": "a", "matches": ""}"#, ".matches", "empty"),
        (r#"{"claim": "a", "matches": "a)|(b"}"#, ".matches", "closes no group"),
        (r#"{"claim": "a", "matches": "(a)\\1"}"#, ".matches", "has no meaning there"),
        (r#"{"claim": "a", "matches": "(a{1,99}){99}"}"#, ".matches", "too complex"),
        (r#"{"claim": "a", "at_least": "1"}"#, ".at_least", "not a number"),
        (r#"{"any": []}"#, ".any", "empty"),
        (
            r#"{"any": [{"claim": "a", "equals": 1}], "claim": "a"}"#,
            "",
            "`any` groups conditions and stands alone",
        ),
        (
            r#"{"any": [{"claim": "a", "equals": 1}], "none": [{"claim": "a", "equals": 1}]}"#,
            "",
            "stands alone",
        ),
        (r#"{"none": [{"claim": "a", "equals": 1}, {"claim": "b"}]}"#, ".none[1]", "no comparison"),
        (deep, ".any[0].any[0].any[0].any[0].any", "more than 4 groups"),
        (&format!(r#"{{"any": [{many}]}}"#), ".any[63]", "more than 64 conditions"),
        (
            r#"{"claim": "a", "equals_request": {"header": "x y"}}"#,
            ".equals_request.header",
            "not a header name",
        ),
        (
            r#"{"claim": "a", "equals_request": {"header": "Host"}}"#,
            ".equals_request.header",
            "say `\"host\"`",
        ),
        (r#"{"claim": "a", "equals_request": {"header": "x_own"}}"#, "", "is set by `forward`"),
        (
            r#"{"claim": "a", "equals_request": {"label_below": "A.example"}}"#,
            ".equals_request.label_below",
            "lower case",
        ),
        (r#"{"claim": "a", "equals_request": {"query": "a b"}}"#, ".equals_request.query", "only letters"),
        (
            r#"{"claim": "a", "equals_request": {"path_variable": "user"}}"#,
            ".equals_request.path_variable",
            "there are: tenant, item",
        ),
        (
            r#"{"claim": "a", "equals_request": {"peer_san": "email"}}"#,
            ".equals_request.peer_san",
            "unknown variant",
        ),
        (r#"{"claim": "a", "equals_request": "body"}"#, ".equals_request", "unknown variant `body`"),
    ] {
        let own = r#", "forward": {"headers": [{"claim": "sub", "header": "x-own"}]}"#;
        let rule = r#"{"path": {"template": "/t/{tenant}/{item}"}, "require": {"any": ["main"]}, "claims":"#;
        let document = configuration(own, &format!(r#""rules": [{rule} [{condition}]}}]"#));
        let refusal = refusal(&document);
        let list = if reason.starts_with("is set") { "rules[0].claims" } else { "rules[0].claims[0]" };
        assert!(refusal.starts_with(&format!("`{list}{place}`: ")), "{refusal}\n{condition}");
        assert!(refusal.contains(reason), "{refusal}\nshould say: {reason}");
    }
}

#[test]
fn a_rule_without_a_token_or_with_a_variable_twice_is_refused() {
    for (rule, path, reason) in [
        (
            r#""path": {"prefix": "/"}, "require": {"optional": ["main"]}, "claims": [{"claim": "a", "equals": 1}]"#,
            "claims",
            "only with `any` or `all`",
        ),
        (
            r#""path": {"prefix": "/"}, "require": "none", "any_scopes": ["a"]"#,
            "any_scopes",
            "only with `any` or `all`",
        ),
        (
            r#""path": {"prefix": "/"}, "require": {"any": ["main"]}, "any_scopes": ["a b"]"#,
            "any_scopes[0]",
            "RFC 6749",
        ),
        (r#""path": {"template": "/{a}/{a}"}, "require": {"any": ["main"]}"#, "path.template", "`{a}` twice"),
        (
            r#""path": {"prefix": "/"}, "require": {"any": ["main"]}, "claims": [{"claim": "a", "equals_request": {"path_variable": "a"}}]"#,
            "claims[0].equals_request.path_variable",
            "there are: none",
        ),
    ] {
        let refusal = refusal(&configuration("", &format!(r#""rules": [{{{rule}}}]"#)));
        assert!(refusal.starts_with(&format!("`rules[0].{path}`: ")), "{refusal}");
        assert!(refusal.contains(reason), "{refusal}");
    }
}

/// An issuer with the profile for access tokens, and `more` members.
fn profiled(more: &str) -> String {
    let document = configuration(&format!(r#", "profile": "oauth-access-token"{more}"#), EVERYTHING);
    let secret = &document[document.find(r#"{"kty""#).unwrap()..document.find("]}}").unwrap()];
    let public = r#"{"kty": "EC", "crv": "P-256", "kid": "ec", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    document.replace(secret, &format!("{secret}, {public}")).replace(r#""algorithms": ["HS256"], "#, "")
}

#[test]
fn a_profile_needs_one_line_and_names_every_departure() {
    assert!(Policy::from_json(profiled("").as_bytes()).is_ok());
    for (more, departure, path) in [
        (r#", "algorithms": ["ES256", "HS256"]"#, "algorithms", "algorithms[1]"),
        (r#", "types": ["at+jwt", "JWT"]"#, "types", "types[1]"),
        (r#", "require_type": false"#, "require_type", "require_type"),
        (r#", "require_expiry": false"#, "require_expiry", "require_expiry"),
        (r#", "from": {"query": ["access_token"]}"#, "from.query", "from.query"),
    ] {
        let refusal = refusal(&profiled(more));
        let reason = format!("say so with `{departure}` in `departs_from_profile`");
        assert!(refusal.starts_with(&format!("`issuers[0].{path}`: departs from the profile")), "{refusal}");
        assert!(refusal.ends_with(&reason), "{refusal}");
        let named = profiled(&format!(r#"{more}, "departs_from_profile": ["{departure}"]"#));
        assert!(Policy::from_json(named.as_bytes()).is_ok(), "{named}");
    }
    let any = profiled(r#", "accept_any_audience": true"#).replace(r#""audiences": ["api"], "#, "");
    assert!(refusal(&any).starts_with("`issuers[0].accept_any_audience`: departs"), "{}", refusal(&any));
}

#[test]
fn a_departure_that_is_none_is_refused() {
    for (more, path, reason) in [
        (r#", "departs_from_profile": ["types"]"#, "[0]", "nothing departs"),
        (r#", "departs_from_profile": ["sub", "sub"]"#, "[1]", "`sub` twice"),
        (r#", "departs_from_profile": ["jti", "nbf"]"#, "[1]", "it asks for: algorithms, types"),
        (
            r#", "required_claims": ["sub"], "departs_from_profile": ["sub"]"#,
            "[0]",
            "contradicts `required_claims`",
        ),
    ] {
        let refusal = refusal(&profiled(more));
        assert!(refusal.starts_with(&format!("`issuers[0].departs_from_profile{path}`: ")), "{refusal}");
        assert!(refusal.contains(reason), "{refusal}");
    }
    let without = configuration(r#", "departs_from_profile": ["sub"]"#, EVERYTHING);
    assert!(refusal(&without).contains("there is no `profile`"), "{}", refusal(&without));
    let unknown = configuration(r#", "profile": "oidc""#, EVERYTHING);
    assert!(
        refusal(&unknown).starts_with("`issuers[0].profile`: unknown variant `oidc`"),
        "{}",
        refusal(&unknown)
    );
    let neither = configuration("", EVERYTHING).replace(r#""algorithms": ["HS256"], "#, "");
    assert!(refusal(&neither).starts_with("`issuers[0].algorithms`: missing"), "{}", refusal(&neither));
}

#[test]
fn a_report_that_could_not_be_made_is_refused() {
    let rule = |require: &str, report: &str| {
        let own = r#", "forward": {"headers": [{"claim": "sub", "header": "x-own"}]}"#;
        let rule = format!(r#"{{"path": {{"prefix": "/"}}, "require": {require}, "report_only": {report}}}"#);
        refusal(&configuration(own, &format!(r#""rules": [{rule}]"#)))
    };
    for (require, report, path, reason) in [
        (r#""none""#, "{}", "", "refuses nothing"),
        (r#"{"any": ["main"]}"#, r#"{"head": "x"}"#, ".head", "unknown field"),
        (r#"{"any": ["main"]}"#, r#"{"header": "a b"}"#, ".header", "not a header name"),
        (r#"{"any": ["main"]}"#, r#"{"header": "Host"}"#, ".header", "steers the connection"),
        (r#"{"any": ["main"]}"#, r#"{"header": "X_Own"}"#, ".header", "also set by `forward`"),
    ] {
        let refusal = rule(require, report);
        assert!(refusal.starts_with(&format!("`rules[0].report_only{path}`: ")), "{refusal}");
        assert!(refusal.contains(reason), "{refusal}");
    }
}
