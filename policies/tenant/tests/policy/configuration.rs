//! Documents that are refused, with the place and what would be right.

use portcullis_tenant::Policy;

fn refusal(json: &str) -> String {
    Policy::from_json(json.as_bytes()).map_or_else(|error| error.to_string(), |_| panic!("accepted: {json}"))
}

#[test]
fn a_contradiction_names_its_place() {
    let proof = r#""proofs": [{"name": "main", "jwt_auth": "main", "preset": "auth0"}]"#;
    let routes = r#""routes": [{"path": {"prefix": "/"}, "class": "tenant"}]"#;
    for (json, expected) in [
        (r#"{"sources": [], "routes": []}"#.into(), "`routes`: empty"),
        (format!(r#"{{"sources": [], {routes}}}"#), "`proofs`: empty"),
        (format!(r#"{{"sources": [{{}}], {proof}, {routes}}}"#), "`sources[0]`: exactly one of"),
        (
            format!(r#"{{"sources": [{{"path": "/t/{{x}}"}}], {proof}, {routes}}}"#),
            "`sources[0].path`: needs `{tenant}`",
        ),
        (
            format!(r#"{{"sources": [{{"header": "cookie"}}], {proof}, {routes}}}"#),
            "`sources[0].header`: `cookie` belongs",
        ),
        (
            format!(r#"{{"sources": [{{"host": {{}}}}], {proof}, {routes}}}"#),
            "`sources[0].host`: names no tenant",
        ),
        (
            format!(r#"{{"sources": [{{"host": {{"domains": true}}}}], {proof}, {routes}}}"#),
            "`sources[0].host.domains`: only a directory",
        ),
        (
            format!(r#"{{"sources": [{{"header": "x-t"}}, {{"header": "x-u"}}], {proof}, {routes}}}"#),
            "`sources[1].name`: `header` is another source's name already",
        ),
        (
            format!(
                r#"{{"sources": [], "proofs": [{{"name": "a", "jwt_auth": "a", "preset": "auth0", "tenant": "t"}}], {routes}}}"#
            ),
            "`proofs[0].tenant`: contradicts `preset`",
        ),
        (
            format!(r#"{{"sources": [], "proofs": [{{"name": "a", "jwt_auth": "a"}}], {routes}}}"#),
            "`proofs[0]`: says nothing about tenants",
        ),
        (
            format!(
                r#"{{"sources": [], "proofs": [{{"name": "a", "jwt_auth": "a", "preset": "auth0"}},
                {{"name": "b", "jwt_auth": "b", "preset": "auth0"}}], {routes}}}"#
            ),
            "`proofs[1].namespace`: several proofs without a directory",
        ),
        (
            format!(
                r#"{{"sources": [], "proofs": [{{"name": "a", "jwt_authn": "p", "preset": "auth0"}},
                {{"name": "b", "jwt_authn": "p", "issuer": "i", "preset": "auth0", "namespace": "b"}}], {routes}}}"#
            ),
            "`proofs[1]`: another proof reads the same tokens",
        ),
        (
            format!(
                r#"{{"sources": [], "proofs": [{{"name": "a", "jwt_auth": "a", "membership": "directory"}}], {routes}}}"#
            ),
            "`proofs[0].membership`: there is no directory",
        ),
        (
            format!(
                r#"{{"sources": [], {proof}, "routes": [{{"path": {{"prefix": "/"}}, "class": "tenant", "states": ["deleted"]}}]}}"#
            ),
            "`routes[0].states`: a deleted tenant is served nowhere",
        ),
        (
            format!(
                r#"{{"sources": [], {proof}, {routes}, "forward": {{"path": {{"prefix": "/tenants/"}}}}}}"#
            ),
            "`forward.path.prefix`: a path with",
        ),
        (
            format!(
                r#"{{"sources": [], {proof}, {routes}, "forward": {{"headers": {{"id": "x-a", "slug": "X_A"}}}}}}"#
            ),
            "`forward.headers.slug`: `x_a` is set already",
        ),
        (
            format!(
                r#"{{"sources": [], {proof}, {routes}, "directory": {{"inline": {{"tenants": [{{"id": "a", "slugs": ["www"]}}]}}}}}}"#
            ),
            "`directory.inline.tenants[0].slugs[0]`: `www` is reserved",
        ),
        (
            format!(
                r#"{{"sources": [], {proof}, {routes}, "directory": {{"inline": {{"tenants": [{{"id": "a", "issuers": ["x"]}}]}}}}}}"#
            ),
            "`directory.inline.tenants[0].issuers[0]`: `x` is not one of `main`",
        ),
        (
            format!(
                r#"{{"sources": [{{"cookie": "t"}}], {proof}, {routes}, "switch": {{"path": "/s", "query": "t", "source": "cookie"}}}}"#
            ),
            "`switch`: no proof knows more than one tenant",
        ),
        (format!(r#"{{"sources": [], {proof}, {routes}, "x": 1}}"#), "unknown field `x`"),
    ] {
        let refusal = refusal(&json);
        assert!(refusal.contains(expected), "{refusal}\n{json}");
    }
}
