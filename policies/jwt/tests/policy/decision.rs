//! Decisions about whole requests: which check answers, and what a permit does to the request.

use crate::common::{
    EVERYTHING, NOW, claims, code, configuration, decide, headers, outcome, policy, token, token_with,
};
use portcullis_jwt::{Decision, Permit, Request};

fn permit(decision: Decision) -> Permit {
    match decision {
        Decision::Permit(permit) => permit,
        other => panic!("not permitted: {other:?}"),
    }
}

#[test]
fn the_first_failing_check_answers() {
    let policy = policy(&configuration(
        r#", "max_lifetime": "1h", "required_claims": ["sub", ["realm", "roles"]],
           "claims": [{"claim": "plan", "one_of": ["gold", 7, true]}]"#,
        r#""rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}, "scopes": ["read"]}]"#,
    ));
    let rest = r#","realm":{"roles":["a"]},"plan":"gold","scope":"read write""#;
    let good = claims(rest);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let exp = format!(r#""exp":{}"#, NOW + 300);
    let cases = [
        (token(&good), "PERMIT"),
        ("a.b".into(), "MALFORMED_TOKEN"),
        (format!("{}=", token(&good)), "MALFORMED_TOKEN"),
        (format!("{}.", token(&good)), "MALFORMED_TOKEN"),
        ("x".repeat(17_000), "TOKEN_TOO_LARGE"),
        (token(&with(r#""iss":"https://issuer""#, r#""iss":"https://issuer/""#)), "ISSUER_MISMATCH"),
        (token(&with(r#""iss":"https://issuer","#, "")), "ISSUER_MISMATCH"),
        (token(&with(r#""iss":"https://issuer""#, r#""iss":["https://issuer"]"#)), "MALFORMED_TOKEN"),
        (token(&with(r#""sub":"alice""#, r#""sub":"alice","sub":"bob""#)), "MALFORMED_TOKEN"),
        (token(&with(r#""sub":"alice""#, r#""sub":7"#)), "MALFORMED_TOKEN"),
        (
            token_with(r#"{"alg":"HS256","kid":"one","crit":["exp"],"exp":1}"#, &good),
            "CRITICAL_HEADER_UNKNOWN",
        ),
        (token_with(r#"{"alg":"HS256","kid":"one","b64":true}"#, &good), "CRITICAL_HEADER_UNKNOWN"),
        (token_with(r#"{"alg":"none"}"#, &good), "ALGORITHM_NOT_ALLOWED"),
        (token_with(r#"{"alg":"hs256","kid":"one"}"#, &good), "ALGORITHM_NOT_ALLOWED"),
        (token_with(r#"{"kid":"one"}"#, &good), "MALFORMED_TOKEN"),
        (token_with(r#"{"alg":"HS256","kid":"one","typ":"dpop+jwt"}"#, &good), "TYPE_MISMATCH"),
        (token_with(r#"{"alg":"HS256","kid":"one","cty":"JWT"}"#, &good), "TYPE_MISMATCH"),
        (token_with(r#"{"alg":"HS256","kid":"one","typ":"application/AT+JWT"}"#, &good), "PERMIT"),
        (token_with(r#"{"alg":"HS256","kid":"two"}"#, &good), "KID_NOT_FOUND"),
        (token_with(r#"{"alg":"HS256","kid":""}"#, &good), "KID_NOT_FOUND"),
        (token_with(r#"{"alg":"HS256"}"#, &good), "PERMIT"),
        (token_with(r#"{"alg":"HS256","kid":"one","private":{"a":[1]}}"#, &good), "PERMIT"),
        (token(&with(r#""aud":"api""#, r#""aud":"API""#)), "AUDIENCE_MISMATCH"),
        (token(&with(r#""aud":"api","#, "")), "AUDIENCE_MISMATCH"),
        (token(&with(r#""aud":"api""#, r#""aud":["other","api"]"#)), "PERMIT"),
        (token(&with(r#""aud":"api""#, r#""aud":[]"#)), "AUDIENCE_MISMATCH"),
        (token(&with(&exp, r#""exp":0"#)), "TOKEN_EXPIRED"),
        (token(&with(&exp, r#""exp":-1"#)), "TOKEN_EXPIRED"),
        (token(&with(&exp, &format!(r#""exp":{}"#, NOW - 60))), "TOKEN_EXPIRED"),
        (token(&with(&exp, &format!(r#""exp":{}.000000001"#, NOW - 60))), "PERMIT"),
        (token(&with(&exp, r#""exp":"4102444800""#)), "MALFORMED_TOKEN"),
        (token(&with(&exp, r#""exp":null"#)), "MALFORMED_TOKEN"),
        (token(&with(&format!(",{exp}"), "")), "MISSING_CLAIM"),
        (token(&with(&exp, r#""exp":1e400"#)), "LIFETIME_TOO_LONG"),
        (token(&claims(&format!(r#"{rest},"nbf":{}"#, NOW + 61))), "TOKEN_NOT_YET_VALID"),
        (token(&claims(&format!(r#"{rest},"nbf":{}"#, NOW + 60))), "PERMIT"),
        (token(&claims(&format!(r#"{rest},"iat":{}"#, NOW + 61))), "TOKEN_NOT_YET_VALID"),
        (token(&claims(&format!(r#"{rest},"iat":{}"#, NOW + 300 - 3601))), "LIFETIME_TOO_LONG"),
        (token(&claims(&format!(r#"{rest},"iat":{}"#, NOW + 300 - 3600))), "PERMIT"),
        (token(&with(r#""sub":"alice","#, "")), "MISSING_CLAIM"),
        (token(&with(r#""sub":"alice","#, r#""sub":null,"#)), "MALFORMED_TOKEN"),
        (token(&with(r#"{"roles":["a"]}"#, r#"{"roles":null}"#)), "MISSING_CLAIM"),
        (token(&with(r#""plan":"gold""#, r#""plan":"lead""#)), "CLAIM_MISMATCH"),
        (token(&with(r#""plan":"gold""#, r#""plan":"7""#)), "CLAIM_MISMATCH"),
        (token(&with(r#""plan":"gold""#, r#""plan":7"#)), "PERMIT"),
        (token(&with(r#""plan":"gold""#, r#""plan":["lead",true]"#)), "PERMIT"),
        (token(&with(r#""plan":"gold","#, "")), "MISSING_CLAIM"),
        (token(&with("read write", "readall")), "INSUFFICIENT_SCOPE"),
        (token(&with(r#""scope":"read write""#, r#""scp":["read"]"#)), "PERMIT"),
    ];
    for (token, expected) in cases {
        assert_eq!(code(&policy, "/", &token), expected, "{token}");
    }
}

#[test]
fn a_changed_character_anywhere_denies() {
    let policy = policy(&configuration("", EVERYTHING));
    let good = token(&claims(""));
    assert_eq!(code(&policy, "/", &good), "PERMIT");
    for at in 0..good.len() {
        let old = good.as_bytes()[at];
        for new in [if old == b'A' { b'B' } else { b'A' }, b'.', b'=', b'+', b' ', 0xff] {
            if old == new {
                continue;
            }
            let mut bytes = good.clone().into_bytes();
            bytes[at] = new;
            let mut pairs = headers(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
            let authorization = [b"Bearer ", bytes.as_slice()].concat();
            pairs.push((b"authorization", &authorization));
            let decision = policy.decide(
                &Request::new(&pairs),
                &crate::common::NoKeys,
                &portcullis_crypto::Software,
                portcullis_core::UnixTime::from_secs(NOW),
            );
            assert_ne!(outcome(&decision), "PERMIT", "byte {at} as {new:#04x}");
        }
    }
}

#[test]
fn a_permit_replaces_what_the_client_pretended() {
    let policy = policy(&configuration(
        r#", "forward": {"headers": [{"claim": "sub", "header": "x-sub"}, {"path": ["realm", "roles"], "header": "x-roles"}],
             "payload_header": "x-payload"}"#,
        EVERYTHING,
    ));
    let authorization = format!("Bearer {}", token(&claims(r#","realm":{"roles":["a","b"]}"#)));
    let permit = permit(decide(
        &policy,
        &[
            (":method", "GET"),
            (":path", "/"),
            ("X-Sub", "mallory"),
            ("x_roles", "root"),
            ("x-other", "kept"),
            ("authorization", &authorization),
        ],
    ));
    assert_eq!(permit.remove(), [b"X-Sub".to_vec(), b"x_roles".to_vec(), b"authorization".to_vec()]);
    let set: Vec<_> = permit.set().iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    assert_eq!(set[..2], [(&b"x-sub"[..], &b"alice"[..]), (b"x-roles", b"a,b")]);
    assert_eq!(set[2].0, b"x-payload");
    let published = String::from_utf8(permit.published()).unwrap();
    assert!(published.starts_with(r#"{"main":{"iss":"https://issuer""#), "{published}");
}

#[test]
fn spoofed_headers_are_removed_where_no_token_is_asked_for() {
    let policy = policy(&configuration(
        r#", "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]}"#,
        r#""bypass_cors_preflight": true,
           "rules": [{"path": {"exact": "/public"}, "require": "none"},
                     {"path": {"prefix": "/maybe"}, "require": {"optional": ["main"]}},
                     {"path": {"prefix": "/"}, "methods": ["GET"], "require": {"any": ["main"]}}]"#,
    ));
    let spoof = ("x-sub", "mallory");
    for pairs in [
        vec![(":method", "GET"), (":path", "/public"), spoof],
        vec![(":method", "GET"), (":path", "/maybe/x"), spoof],
        vec![
            (":method", "OPTIONS"),
            (":path", "/x"),
            ("origin", "https://a"),
            ("access-control-request-method", "GET"),
            spoof,
        ],
    ] {
        let permit = permit(decide(&policy, &pairs));
        assert_eq!(permit.remove(), [b"x-sub".to_vec()]);
        assert!(permit.identities().is_empty());
    }
    let denied = headers(&[(":method", "GET"), (":path", "/x"), spoof]);
    assert_eq!(policy.spoofed(&Request::new(&denied)), [b"x-sub".to_vec()]);
}

#[test]
fn the_first_matching_rule_decides_and_no_match_is_a_denial() {
    let policy = policy(&configuration(
        "",
        r#""bypass_cors_preflight": true,
           "rules": [{"hosts": ["*.open.example", "open.example"], "path": {"prefix": "/"}, "require": "none"},
                     {"path": {"exact": "/health"}, "methods": ["GET", "HEAD"], "require": "none"},
                     {"path": {"template": "/t/{tenant}/**"}, "require": {"optional": ["main"]}},
                     {"path": {"prefix": "/api"}, "require": {"any": ["main"]}}]"#,
    ));
    let preflight = [("origin", "https://a"), ("access-control-request-method", "GET")];
    for (method, host, path, extra, expected) in [
        ("GET", "a", "/health", &[][..], "PERMIT"),
        ("POST", "a", "/health", &[], "NO_RULE_MATCHED"),
        ("GET", "a", "/health/", &[], "NO_RULE_MATCHED"),
        ("GET", "a", "/health?x=/api", &[], "PERMIT"),
        ("GET", "a", "/api", &[], "MISSING_TOKEN"),
        ("GET", "a", "/api/x", &[], "MISSING_TOKEN"),
        ("GET", "a", "/apix", &[], "NO_RULE_MATCHED"),
        ("GET", "a", "/t/acme/x/y", &[], "PERMIT"),
        ("GET", "a", "/t/acme", &[], "PERMIT"),
        ("GET", "a", "/t//x", &[], "REQUEST_AMBIGUOUS"),
        ("GET", "a", "/t/", &[], "NO_RULE_MATCHED"),
        ("GET", "a", "/%61pi", &[], "REQUEST_AMBIGUOUS"),
        ("GET", "a", "/health;x", &[], "REQUEST_AMBIGUOUS"),
        ("GET", "a", "/health/../api", &[], "REQUEST_AMBIGUOUS"),
        ("GET", "OPEN.example:8443", "/", &[], "PERMIT"),
        ("GET", "x.open.example", "/", &[], "PERMIT"),
        ("GET", "x.y.open.example", "/", &[], "NO_RULE_MATCHED"),
        ("GET", "xopen.example", "/", &[], "NO_RULE_MATCHED"),
        ("GET", "open.example.", "/", &[], "REQUEST_AMBIGUOUS"),
        ("CONNECT", "a", "", &[], "REQUEST_AMBIGUOUS"),
        ("OPTIONS", "a", "*", &[], "REQUEST_AMBIGUOUS"),
        ("OPTIONS", "a", "/api", &preflight, "PERMIT"),
        ("OPTIONS", "a", "/api", &preflight[..1], "MISSING_TOKEN"),
        ("OPTIONS", "a", "/other", &preflight, "NO_RULE_MATCHED"),
        ("GET", "a", "/api", &preflight, "MISSING_TOKEN"),
        ("GET", "a", "/health", &[(":path", "/api")], "REQUEST_AMBIGUOUS"),
        ("GET", "a", "/health", &[(":method", "POST")], "REQUEST_AMBIGUOUS"),
    ] {
        let pairs = [&[(":method", method), (":path", path), (":authority", host)], extra].concat();
        assert_eq!(outcome(&decide(&policy, &pairs)), expected, "{method} {host} {path} {extra:?}");
    }
}

#[test]
fn an_optional_token_that_is_there_must_be_good() {
    let policy = policy(&configuration(
        "",
        r#""rules": [{"path": {"prefix": "/"}, "require": {"optional": ["main"]}}]"#,
    ));
    assert_eq!(code(&policy, "/", &token(&claims(""))), "PERMIT");
    assert_eq!(code(&policy, "/", "a.b.c"), "MALFORMED_TOKEN");
    assert_eq!(outcome(&decide(&policy, &[(":method", "GET"), (":path", "/")])), "PERMIT");
}

#[test]
fn a_missing_remote_key_set_is_a_need_that_ends_in_503() {
    let document = configuration("", EVERYTHING);
    let inline = &document[document.find(r#""jwks""#).unwrap()..document.find("]}}").unwrap() + 3];
    let remote = document
        .replace(inline, r#""jwks": {"remote": {"uri": "https://idp/jwks", "cluster": "idp"}}"#)
        .replace("HS256", "RS256");
    let policy = policy(&remote);
    let authorization = format!("Bearer {}", token_with(r#"{"alg":"RS256","kid":"k"}"#, &claims("")));
    let decision = decide(&policy, &[(":method", "GET"), (":path", "/"), ("authorization", &authorization)]);
    let Decision::Need(need) = decision else { panic!("{decision:?}") };
    assert_eq!((need.issuer, need.kid.as_deref(), need.otherwise.status()), (0, Some("k"), 503));
}

#[test]
fn a_rule_that_only_reports_lets_pass_and_proves_nothing() {
    let policy = policy(&configuration(
        r#", "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]}"#,
        r#""rules": [{"path": {"prefix": "/told"}, "require": {"any": ["main"]}, "scopes": ["read"],
                      "report_only": {"header": "x-verdict"}},
                     {"path": {"prefix": "/quiet"}, "require": {"any": ["main"]}, "report_only": {}},
                     {"path": {"prefix": "/enforced"}, "require": {"any": ["main"]}}]"#,
    ));
    assert!(policy.reports());
    let good = token(&claims(r#","scope":"read""#));
    let unscoped = token(&claims(""));
    let expired = token(&claims("").replace(&(NOW + 300).to_string(), "0"));
    for (path, token, verdict) in [
        ("/told", good.as_str(), "allow"),
        ("/told", &unscoped, "INSUFFICIENT_SCOPE"),
        ("/told", &expired, "TOKEN_EXPIRED"),
        ("/told", "a.b", "MALFORMED_TOKEN"),
        ("/quiet", &expired, ""),
    ] {
        let authorization = format!("Bearer {token}");
        let spoofs = [("X_Sub", "mallory"), ("x.verdict", "allow"), ("X-Verdict", "allow")];
        let usual = [(":method", "GET"), (":path", path), ("authorization", authorization.as_str())];
        let permit = permit(decide(&policy, &[&usual[..], &spoofs].concat()));
        let removed: Vec<_> = permit.remove().iter().map(|name| String::from_utf8_lossy(name)).collect();
        assert_eq!(removed[..3], ["X_Sub", "x.verdict", "X-Verdict"], "{path} {verdict}");
        let set: Vec<_> =
            permit.set().iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        match permit.reported() {
            None => {
                assert_eq!(set, [(&b"x-sub"[..], &b"alice"[..]), (b"x-verdict", b"allow")]);
                assert_eq!((removed.len(), permit.identities().len(), verdict), (4, 1, "allow"));
            }
            Some(denial) => {
                // The token stays: who it is for may judge it.
                assert_eq!((removed.len(), permit.identities().len()), (3, 0), "{verdict}");
                let told = [(&b"x-verdict"[..], verdict.as_bytes())];
                assert_eq!(set, told[..usize::from(path == "/told")], "{denial}");
            }
        }
    }
    assert_eq!(code(&policy, "/enforced", &expired), "TOKEN_EXPIRED");
    assert_eq!(code(&policy, "/other", &expired), "NO_RULE_MATCHED");
    assert_eq!(code(&policy, "/told/%2e", &good), "REQUEST_AMBIGUOUS");
}

#[test]
fn an_access_token_has_what_its_profile_asks_for() {
    let rest = r#","client_id":"web","iat":1767225600,"jti":"1""#;
    let at = |claims: &str| token_with(r#"{"alg":"HS256","kid":"one","typ":"at+jwt"}"#, claims);
    let document = configuration(
        r#", "profile": "oauth-access-token", "departs_from_profile": ["algorithms", "jti"]"#,
        EVERYTHING,
    );
    let policy = policy(&document);
    let good = claims(rest);
    for (token, expected) in [
        (at(&good), "PERMIT"),
        (token(&good), "TYPE_MISMATCH"),
        (token_with(r#"{"alg":"HS256","kid":"one","typ":"application/AT+jwt"}"#, &good), "PERMIT"),
        (token_with(r#"{"alg":"HS256","kid":"one","typ":"JWT"}"#, &good), "TYPE_MISMATCH"),
        (at(&good.replace(r#""client_id":"web","#, "")), "MISSING_CLAIM"),
        (at(&good.replace(r#""web""#, r#"{"a":1}"#)), "CLAIM_MISMATCH"),
        (at(&good.replace(r#""web""#, r#""""#)), "CLAIM_MISMATCH"),
        (at(&good.replace(r#""web""#, r#"["web"]"#)), "CLAIM_MISMATCH"),
        (at(&good.replace(r#""sub":"alice","#, "")), "MISSING_CLAIM"),
        (at(&good.replace(r#","iat":1767225600"#, "")), "MISSING_CLAIM"),
        (at(&good.replace(r#","jti":"1""#, "")), "PERMIT"),
        (at(&good.replace(r#""aud":"api","#, "")), "AUDIENCE_MISMATCH"),
    ] {
        assert_eq!(code(&policy, "/", &token), expected, "{token}");
    }
}
