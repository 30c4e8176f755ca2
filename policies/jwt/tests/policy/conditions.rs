//! Conditions on claims: what holds, what does not, and what an attacker would try.

use crate::common::{NOW, claims, configuration, decide, outcome, policy, token};
use portcullis_core::UnixTime;
use portcullis_crypto::Software;
use portcullis_jwt::{Decision, Policy, Request, request::Peer};

/// A policy whose one rule has `condition`.
fn of_rule(condition: &str) -> Policy {
    let rule = r#"{"path": {"template": "/t/{tenant}/**"}, "require": {"any": ["main"]}, "claims": ["#;
    policy(&configuration("", &format!(r#""rules": [{rule}{condition}]}}]"#)))
}

/// The answer to a request for `path` with `more` headers and a token with `more_claims`.
fn answer_to(policy: &Policy, path: &str, more: &[(&str, &str)], more_claims: &str) -> &'static str {
    let authorization = format!("Bearer {}", token(&claims(more_claims)));
    let usual = [
        (":method", "GET"),
        (":path", path),
        (":authority", "ACME.example:8443"),
        ("authorization", authorization.as_str()),
    ];
    outcome(&decide(policy, &[&usual, more].concat()))
}

fn answer(policy: &Policy, more_claims: &str) -> &'static str {
    answer_to(policy, "/t/acme/x", &[], more_claims)
}

const YES: &str = "PERMIT";
const NO: &str = "INSUFFICIENT_CLAIMS";
const TWO_READINGS: &str = "REQUEST_AMBIGUOUS";

#[test]
fn each_comparison_accepts_its_values_and_types_only() {
    for (condition, rows) in [
        (
            r#"{"claim": "c", "equals": "1"}"#,
            &[(r#""1""#, YES), ("1", NO), (r#"["1"]"#, YES), (r#"[["1"]]"#, NO), ("null", NO), (r#""""#, NO)]
                [..],
        ),
        (
            r#"{"claim": "c", "equals": 1}"#,
            &[
                ("1", YES),
                ("1.0", YES),
                ("10e-1", YES),
                (r#""1""#, NO),
                ("true", NO),
                ("1.0000000000000000000001", NO),
            ],
        ),
        (
            r#"{"claim": "c", "equals": 9007199254740993}"#,
            &[("9007199254740993", YES), ("9007199254740992", NO), ("9007199254740993.0", YES)],
        ),
        (r#"{"claim": "c", "equals": true}"#, &[("true", YES), ("false", NO), (r#""true""#, NO), ("1", NO)]),
        (
            r#"{"claim": "c", "one_of": ["a", "b", 7]}"#,
            &[
                (r#""b""#, YES),
                ("7", YES),
                (r#""7""#, NO),
                (r#""A""#, NO),
                (r#"["x","a"]"#, YES),
                ("[]", NO),
                (r#"{"a":1}"#, NO),
            ],
        ),
        (
            r#"{"claim": "c", "elements": "all", "one_of": ["a", "b"]}"#,
            &[
                (r#"["a","b","a"]"#, YES),
                (r#"["a","c"]"#, NO),
                ("[]", NO),
                (r#"["a",["b"]]"#, NO),
                (r#""a""#, YES),
                (r#"["a",null]"#, NO),
            ],
        ),
        (
            r#"{"claim": "c", "elements": "none", "one_of": ["root", "ops"]}"#,
            &[
                (r#"["a","b"]"#, YES),
                ("[]", YES),
                (r#"["a","ops"]"#, NO),
                (r#""root""#, NO),
                (r#"[["root"]]"#, NO),
                ("7", NO),
                ("null", NO),
            ],
        ),
        (
            r#"{"claim": "c", "contains": ["a", "b"]}"#,
            &[
                (r#"["b","x","a"]"#, YES),
                (r#"["a"]"#, NO),
                ("[]", NO),
                (r#""a""#, NO),
                (r#"["a b"]"#, NO),
                (r#"[["a","b"]]"#, NO),
            ],
        ),
        (
            r#"{"claim": "c", "prefix": "team-"}"#,
            &[
                (r#""team-a""#, YES),
                (r#""team-""#, YES),
                (r#""Team-a""#, NO),
                (r#""xteam-a""#, NO),
                ("7", NO),
                (r#"["x","team-b"]"#, YES),
            ],
        ),
        (
            r#"{"claim": "c", "suffix": "@corp.example"}"#,
            &[
                (r#""a@corp.example""#, YES),
                (r#""a@corp.example.evil""#, NO),
                (r#""a@CORP.example""#, NO),
                (r#""@corp.example\n""#, NO),
            ],
        ),
        (
            r#"{"claim": "c", "matches": "a|b[0-9]+"}"#,
            &[
                (r#""a""#, YES),
                (r#""b77""#, YES),
                (r#""ab7""#, NO),
                (r#""xa""#, NO),
                (r#""a\n""#, NO),
                (r#""b٧""#, NO),
                ("7", NO),
                (r#""""#, NO),
            ],
        ),
        (
            r#"{"claim": "c", "at_least": 2.5}"#,
            &[
                ("2.5", YES),
                ("2.50", YES),
                ("25e-1", YES),
                ("2.49999999999999999999999", NO),
                ("1e400", YES),
                ("-1e400", NO),
                (r#""3""#, NO),
                ("true", NO),
                ("[2,3]", YES),
                ("[[3]]", NO),
            ],
        ),
        (
            r#"{"claim": "c", "at_most": 3}"#,
            &[("3", YES), ("3.0000000000000000001", NO), ("-1e999999999999999999999", YES)],
        ),
        (
            r#"{"claim": "c", "more_than": 0}"#,
            &[("0", NO), ("-0", NO), ("0e9", NO), ("1e-999999999999999999999999", YES)],
        ),
        (
            r#"{"claim": "c", "elements": "all", "less_than": 10}"#,
            &[("[1,9.9]", YES), ("[1,10]", NO), (r#"[1,"9"]"#, NO)],
        ),
        (r#"{"path": ["https://a.example/x.y", "list", "1", "z"], "equals": "q"}"#, &[("0", NO)]),
    ] {
        let policy = of_rule(condition);
        for (value, expected) in rows {
            assert_eq!(answer(&policy, &format!(r#","c":{value}"#)), *expected, "{condition} {value}");
        }
        assert_eq!(answer(&policy, ""), NO, "{condition} without the claim");
    }
}

#[test]
fn a_path_finds_names_with_dots_and_elements_of_arrays() {
    let policy = of_rule(r#"{"path": ["https://a.example/x.y", "list", "1", "z"], "equals": "q"}"#);
    for (value, expected) in [
        (r#","https://a.example/x.y":{"list":[0,{"z":"q"}]}"#, YES),
        (r#","https://a.example/x.y":{"list":[{"z":"q"}]}"#, NO),
        (r#","https://a.example/x.y":{"list":{"1":{"z":"q"}}}"#, YES),
        (r#","https://a":{"example/x":{"y":{"list":[0,{"z":"q"}]}}}"#, NO),
        (r#","https://a.example/x.y":"list""#, NO),
        (r#","https://a.example/x.y":{"list":[0,{"z":"p","z":"q"}]}"#, "MALFORMED_TOKEN"),
    ] {
        assert_eq!(answer(&policy, value), expected, "{value}");
    }
}

#[test]
fn groups_need_what_they_say_and_absence_satisfies_none_of_them() {
    for (condition, rows) in [
        (
            r#"{"any": [{"claim": "a", "equals": 1}, {"claim": "b", "equals": 1}]}"#,
            &[
                ("", NO),
                (r#","a":1"#, YES),
                (r#","b":1"#, YES),
                (r#","a":2,"b":1"#, YES),
                (r#","a":2,"b":2"#, NO),
                (r#","a":2"#, NO),
            ][..],
        ),
        (
            r#"{"none": [{"claim": "a", "equals": 1}, {"claim": "b", "prefix": "x"}]}"#,
            &[
                ("", NO),
                (r#","a":2,"b":"y""#, YES),
                (r#","a":1,"b":"y""#, NO),
                (r#","a":2"#, NO),
                (r#","a":"1","b":"y""#, NO),
                (r#","a":2,"b":7"#, NO),
                (r#","a":2,"b":"xy""#, NO),
            ],
        ),
        (
            r#"{"all": [{"claim": "a", "equals": 1}, {"any": [{"claim": "b", "equals": 1}, {"none": [{"claim": "c", "equals": 1}]}]}]}"#,
            &[
                (r#","a":1,"b":1"#, YES),
                (r#","a":1,"b":2,"c":2"#, YES),
                (r#","a":1,"b":2,"c":1"#, NO),
                (r#","a":1,"b":2"#, NO),
                (r#","b":1"#, NO),
            ],
        ),
    ] {
        let policy = of_rule(condition);
        for (more, expected) in rows {
            assert_eq!(answer(&policy, more), *expected, "{condition} {more}");
        }
    }
}

#[test]
fn a_claim_is_compared_with_one_reading_of_the_request() {
    let header = of_rule(r#"{"claim": "c", "equals_request": {"header": "X-Tenant"}}"#);
    let acme = r#","c":"acme""#;
    for (headers, claims, expected) in [
        (&[("x-tenant", "acme")][..], acme, YES),
        (&[("X_Tenant", "acme")], acme, YES),
        (&[("x-tenant", "ACME")], acme, NO),
        (&[("x-tenant", "acme,acme")], acme, NO),
        (&[("x-tenant", "acme"), ("x-tenant", "acme")], acme, TWO_READINGS),
        (&[("x-tenant", "acme"), ("x_tenant", "evil")], acme, TWO_READINGS),
        (&[("x-tenant", "acme"), ("x-tenant", "acme")], "", TWO_READINGS),
        (&[("x-tenant", "")], acme, NO),
        (&[("x-tenant", "")], r#","c":"""#, NO),
        (&[], acme, NO),
        (&[("x-tenant", "7")], r#","c":7"#, YES),
        (&[("x-tenant", "7")], r#","c":7.0"#, NO),
        (&[("x-tenant", "7e0")], r#","c":7e0"#, NO),
        (&[("x-tenant", "true")], r#","c":true"#, NO),
        (&[("x-tenant", "null")], r#","c":null"#, NO),
        (&[("x-tenant", "acme")], r#","c":["other","acme"]"#, YES),
        (&[("x-tenant", "acme")], r#","c":[["acme"]]"#, NO),
    ] {
        assert_eq!(answer_to(&header, "/t/acme/x", headers, claims), expected, "{headers:?} {claims}");
    }
    let variable = of_rule(r#"{"claim": "c", "equals_request": {"path_variable": "tenant"}}"#);
    for (path, claim, expected) in [
        ("/t/acme/x", "acme", YES),
        ("/t/acme", "acme", YES),
        ("/t/acme?/t/evil", "acme", YES),
        ("/t/evil/acme", "acme", NO),
        ("/t/a%20b/x", "a b", YES),
        ("/t/a%20b/x", "a%20b", NO),
        ("/t/caf%C3%A9", "café", YES),
        ("/t/%61cme", "acme", TWO_READINGS),
        ("/t/acme%2fx", "acme/x", TWO_READINGS),
        ("/t/acme/../evil", "acme", TWO_READINGS),
        ("/t/acme;v=1", "acme", TWO_READINGS),
    ] {
        assert_eq!(
            answer_to(&variable, path, &[], &format!(r#","c":"{claim}""#)),
            expected,
            "{path} {claim}"
        );
    }
    let query = of_rule(r#"{"claim": "c", "equals_request": {"query": "tenant"}}"#);
    for (target, claim, expected) in [
        ("?tenant=acme", "acme", YES),
        ("?a=1&tenant=acme&b=2", "acme", YES),
        ("?tenant=a%2Fb", "a/b", YES),
        ("?tenant=acme", "Acme", NO),
        ("?tenant=acme&tenant=acme", "acme", TWO_READINGS),
        ("?tenant=acme&tenant=evil", "acme", TWO_READINGS),
        ("?tenant=acme&%74enant=evil", "acme", TWO_READINGS),
        ("?%74enant=acme", "acme", TWO_READINGS),
        ("?tenant=acme&tenant[]=evil", "acme", TWO_READINGS),
        ("?tenant=acme&tenant%5B0%5D=evil", "acme", TWO_READINGS),
        ("?tenant=acme;tenant=evil", "acme", TWO_READINGS),
        ("?a=1;tenant=acme", "acme", TWO_READINGS),
        ("?tenant=acme;x", "acme", TWO_READINGS),
        ("?tenant=a+b", "a b", TWO_READINGS),
        ("?tenant=a%2Bb", "a+b", YES),
        ("?tenant=a%2", "a%2", TWO_READINGS),
        ("?tenant=a%2541", "aA", TWO_READINGS),
        ("?tenant=acme%00", "acme", TWO_READINGS),
        ("?tenant=%ff", "acme", TWO_READINGS),
        ("?tenant", "acme", TWO_READINGS),
        ("?tenant=", "", NO),
        ("?tenants=acme", "acme", NO),
        ("?Tenant=acme", "acme", TWO_READINGS),
        ("?tenant=acme&TENANT=evil", "acme", TWO_READINGS),
        ("?tenant=acme&+tenant=evil", "acme", TWO_READINGS),
        ("?tenant=acme&tenant%00x=evil", "acme", TWO_READINGS),
        ("?tenant=acme&tenantx=evil", "acme", YES),
        ("?tenant=acme&xtenant=evil", "acme", YES),
        ("", "acme", NO),
    ] {
        let path = format!("/t/x/{target}");
        assert_eq!(
            answer_to(&query, &path, &[], &format!(r#","c":"{claim}""#)),
            expected,
            "{target} {claim}"
        );
    }
}

#[test]
fn a_parameter_has_no_second_spelling_of_its_signs() {
    let query = of_rule(r#"{"claim": "c", "equals_request": {"query": "tenant_id"}}"#);
    for (target, expected) in [
        ("?tenant_id=acme", YES),
        ("?tenant_id=acme&tenant.id=evil", TWO_READINGS),
        ("?tenant_id=acme&tenant%20id=evil", TWO_READINGS),
        ("?tenant_id=acme&tenant-id=evil", TWO_READINGS),
        ("?tenant_id=acme&tenantid=evil", YES),
    ] {
        assert_eq!(answer_to(&query, &format!("/t/x{target}"), &[], r#","c":"acme""#), expected, "{target}");
    }
}

#[test]
fn a_claim_is_compared_with_the_host_without_case_and_port() {
    let host = of_rule(r#"{"claim": "c", "equals_request": "host"}"#);
    let label = of_rule(r#"{"claim": "c", "equals_request": {"label_below": "example"}}"#);
    for (claim, whole, one_label) in [
        ("acme.example", YES, NO),
        ("Acme.Example", YES, NO),
        ("acme", NO, YES),
        ("acme.example:8443", NO, NO),
        ("acme.example.", NO, NO),
        ("\u{0430}cme", NO, NO),
        ("", NO, NO),
    ] {
        let claim = format!(r#","c":"{claim}""#);
        assert_eq!((answer(&host, &claim), answer(&label, &claim)), (whole, one_label), "{claim}");
    }
    let authorization = format!("Bearer {}", token(&claims(r#","c":"x.acme""#)));
    for authority in ["x.acme.example", "example", "xexample", ".example", "acme.example.evil"] {
        let pairs = [
            (":method", "GET"),
            (":path", "/t/a"),
            (":authority", authority),
            ("authorization", &authorization),
        ];
        assert_eq!(outcome(&decide(&label, &pairs)), NO, "{authority}");
    }
}

#[test]
fn a_claim_is_compared_with_the_certificate_of_the_client() {
    let uri = of_rule(r#"{"claim": "c", "equals_request": {"peer_san": "uri"}}"#);
    let dns = of_rule(r#"{"path": ["cnf", "names"], "equals_request": {"peer_san": "dns"}}"#);
    assert!(uri.compares_peer() && dns.compares_peer());
    assert!(!of_rule(r#"{"claim": "c", "equals": 1}"#).compares_peer());
    let token = token(&claims(r#","c":"spiffe://a/b","cnf":{"names":["a.example","b.example"]}"#));
    let authorization = format!("Bearer {token}");
    let headers = crate::common::headers(&[
        (":method", "GET"),
        (":path", "/t/a"),
        (":authority", "a"),
        ("authorization", &authorization),
        ("x-forwarded-client-cert", "URI=spiffe://a/b"),
    ]);
    let answer = |policy: &Policy, peer: Peer<'_>| {
        let request = Request::new(&headers).with_peer(peer);
        let now = UnixTime::from_secs(NOW);
        outcome(&policy.decide(&request, &crate::common::NoKeys, &Software, now))
    };
    let none = Peer::default();
    let of = |uri_san: &'static [u8], dns_san: &'static [u8]| Peer {
        uri_san: Some(uri_san),
        dns_san: Some(dns_san),
    };
    assert_eq!((answer(&uri, none), answer(&dns, none)), (NO, NO));
    let right = of(b"spiffe://a/b", b"B.example");
    assert_eq!((answer(&uri, right), answer(&dns, right)), (YES, YES));
    let wrong = of(b"spiffe://a/B", b"c.example");
    assert_eq!((answer(&uri, wrong), answer(&dns, wrong)), (NO, NO));
    let odd = of(b"\xff", b"");
    assert_eq!((answer(&uri, odd), answer(&dns, odd)), (NO, NO));
}

#[test]
fn an_issuer_refuses_absence_as_401_and_another_value_as_403() {
    let rules = crate::common::EVERYTHING;
    let policy = policy(&configuration(r#", "claims": [{"claim": "c", "prefix": "a"}]"#, rules));
    for (more, expected) in [
        ("", "MISSING_CLAIM"),
        (r#","c":null"#, "MISSING_CLAIM"),
        (r#","c":7"#, "CLAIM_MISMATCH"),
        (r#","c":"b""#, "CLAIM_MISMATCH"),
        (r#","c":"ab""#, YES),
    ] {
        assert_eq!(answer(&policy, more), expected, "{more}");
    }
}

#[test]
fn a_rule_refuses_with_403_and_names_scopes_only_where_scopes_are_missing() {
    let policy = policy(&configuration(
        "",
        r#""realm": "r", "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}, "scopes": ["read"],
            "any_scopes": ["x", "y"], "claims": [{"claim": "plan", "equals": "gold"}]}]"#,
    ));
    let challenge = |more: &str| {
        let authorization = format!("Bearer {}", token(&claims(more)));
        match decide(&policy, &[(":method", "GET"), (":path", "/"), ("authorization", &authorization)]) {
            Decision::Deny(denial) => (denial.status(), denial.www_authenticate().unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let insufficient = |description: &str, scope: &str| {
        let error = r#"Bearer realm="r", error="insufficient_scope", error_description="#;
        (403, format!("{error}\"{description}\"{scope}"))
    };
    let lacks_scope = insufficient("The token does not grant the required scope.", r#", scope="read x y""#);
    assert_eq!(challenge(r#","plan":"gold","scope":"x""#), lacks_scope);
    assert_eq!(challenge(r#","plan":"gold","scope":"read xy""#), lacks_scope);
    assert_eq!(challenge(r#","plan":"gold","scp":["read"]"#), lacks_scope);
    let lacks_claim = insufficient("The token's claims do not allow this request.", "");
    assert_eq!(challenge(r#","plan":"lead","scp":["read","y"]"#), lacks_claim);
    assert_eq!(challenge(r#","scope":"y read""#), lacks_claim);
}

#[test]
fn a_log_line_names_the_claim_and_never_its_value() {
    let policy = of_rule(r#"{"path": ["a", "b"], "one_of": ["gold"]}"#);
    let authorization = format!("Bearer {}", token(&claims(r#","a":{"b":"s3cr3t"}"#)));
    let pairs = [(":method", "GET"), (":path", "/t/a"), ("authorization", authorization.as_str())];
    let Decision::Deny(denial) = decide(&policy, &pairs) else { panic!("permitted") };
    assert_eq!(denial.to_string(), "INSUFFICIENT_CLAIMS: `a > b` has another value");
}

/// A small generator, so that a failure can be made again from its seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit as u64).unwrap()
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }
}

const VALUES: &[&str] = &[
    "1",
    "2",
    "1.0",
    "-3",
    "1e400",
    "true",
    "null",
    r#""1""#,
    r#""a""#,
    r#""ab""#,
    r#""""#,
    "[]",
    r#"["a","b"]"#,
    "[1,2]",
    r#"[["a"]]"#,
    r#"{"a":1}"#,
    r#"["a",null]"#,
    r#""acme""#,
];
const TESTS: &[&str] = &[
    r#""equals": 1"#,
    r#""equals": "1""#,
    r#""one_of": ["a", 2, true]"#,
    r#""contains": ["a", "b"]"#,
    r#""prefix": "a""#,
    r#""suffix": "b""#,
    r#""matches": "a|b.*""#,
    r#""at_least": 1"#,
    r#""less_than": 2"#,
    r#""elements": "all", "one_of": ["a", "b", 1, 2]"#,
    r#""elements": "none", "one_of": ["a", 1]"#,
    r#""elements": "none", "at_most": 1"#,
    r#""equals_request": {"path_variable": "tenant"}"#,
];

fn condition(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.below(3) == 0 {
        let parts: Vec<_> = (0..=random.below(3)).map(|_| condition(random, depth - 1)).collect();
        return format!(r#"{{"{}": [{}]}}"#, random.pick(&["any", "all", "none"]), parts.join(","));
    }
    format!(r#"{{"claim": "{}", {}}}"#, random.pick(&["a", "b", "c"]), random.pick(TESTS))
}

fn rounds() -> u64 {
    std::env::var("PORTCULLIS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

#[test]
fn a_claim_that_no_condition_names_changes_no_decision() {
    for seed in 1..=rounds() {
        let mut random = Random(seed);
        let condition = condition(&mut random, 3);
        let policy = of_rule(&condition);
        for _ in 0..8 {
            let mut some = String::new();
            for name in ["a", "b", "c"] {
                if random.below(3) > 0 {
                    some += &format!(r#","{name}":{}"#, random.pick(VALUES));
                }
            }
            let before = answer(&policy, &some);
            let name = random.pick(&["d", "A", "a.b", "tenant", "scope", "roles", "\\u0430"]);
            let more = format!(r#"{some},"{name}":{}"#, random.pick(VALUES));
            assert_eq!(answer(&policy, &more), before, "seed {seed}: {condition} {more}");
        }
    }
}

#[test]
fn leaving_a_claim_out_never_opens_what_was_closed() {
    for seed in 1..=rounds() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let condition = condition(&mut random, 3);
        let policy = of_rule(&condition);
        for _ in 0..8 {
            let values = [(); 3].map(|()| random.pick(VALUES));
            let with = |left_out: usize| {
                let names = ["a", "b", "c"].iter().zip(values).enumerate();
                let kept = names.filter(|(at, _)| *at != left_out);
                kept.map(|(_, (name, value))| format!(r#","{name}":{value}"#)).collect::<String>()
            };
            let whole = answer(&policy, &with(3));
            for left_out in 0..3 {
                let part = answer(&policy, &with(left_out));
                assert!(part != YES || whole == YES, "seed {seed}: {condition} {}", with(left_out));
            }
        }
    }
}

#[test]
fn decisions_turn_once_on_each_side_of_the_time_in_which_a_token_is_valid() {
    let policy = policy(&configuration(r#", "max_lifetime": "1h""#, crate::common::EVERYTHING));
    let mut random = Random(7);
    for _ in 0..50 {
        let start = NOW + i64::try_from(random.below(200)).unwrap();
        let end = start + 1 + i64::try_from(random.below(3599)).unwrap();
        let authorization = format!(
            "Bearer {}",
            token(&format!(
                r#"{{"iss":"https://issuer","aud":"api","iat":{start},"nbf":{start},"exp":{end}}}"#
            ))
        );
        let headers =
            crate::common::headers(&[(":method", "GET"), (":path", "/"), ("authorization", &authorization)]);
        let at = |seconds: i64| {
            let now = UnixTime::from_secs(seconds);
            outcome(&policy.decide(&Request::new(&headers), &crate::common::NoKeys, &Software, now))
        };
        let times = (start - 200..end + 200).step_by(13).chain([start - 61, start - 60, end + 59, end + 60]);
        for seconds in times {
            let expected = if seconds < start - 60 {
                "TOKEN_NOT_YET_VALID"
            } else if seconds < end + 60 {
                YES
            } else {
                "TOKEN_EXPIRED"
            };
            assert_eq!(at(seconds), expected, "{start}..{end} at {seconds}");
        }
    }
}
