//! Signed contexts: what is refused, and the vectors that verifiers in other languages are checked
//! with (`docs/verifiers`).

use std::{fmt::Write as _, fs, path::Path};

use portcullis_core::UnixTime;
use portcullis_tenant::context::{Config, Context, ContextError, Key, Signing};

const NOW: i64 = 1_767_225_600;
const TARGET: &str = "/t/acme/invoices?page=2";
const SECRETS: [(&str, &str); 2] = [
    ("2026-01", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ("2025-07", "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="),
];

fn signing(keys: &str) -> Result<Signing, String> {
    let json = format!(r#"{{"lifetime": "60s", "keys": [{keys}]}}"#);
    let config: Config = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    config.resolve("signed_context").map_err(|error| error.to_string())
}

fn keys() -> Vec<Key> {
    let keys = SECRETS.map(|(id, secret)| format!(r#"{{"id": "{id}", "secret": "{secret}"}}"#)).join(",");
    signing(&keys).unwrap().keys().to_vec()
}

fn context() -> Context {
    Context {
        tenant: "org_01HXYZ".into(),
        subject: "auth0|user 7".into(),
        request_id: "6a0d6f0e-0d5a-4d3e-9a43-0d6a6f0e0d5a".into(),
        expires: u64::try_from(NOW).unwrap() + 60,
    }
}

fn verify(text: &str, method: &str, target: &str, now: i64) -> Result<Context, ContextError> {
    Context::verify(text, &keys(), (method, target), UnixTime::from_secs(now))
}

#[test]
fn a_context_is_good_for_its_request_and_its_time_only() {
    let text = context().sign(&keys()[0], "GET", TARGET);
    assert_eq!(verify(&text, "GET", TARGET, NOW), Ok(context()));
    assert_eq!(verify(&text, "GET", TARGET, NOW + 59), Ok(context()));
    assert_eq!(verify(&text, "GET", TARGET, NOW + 60), Err(ContextError::Expired));
    assert_eq!(verify(&text, "POST", TARGET, NOW), Err(ContextError::OtherRequest));
    assert_eq!(verify(&text, "GET", "/t/acme/invoices?page=3", NOW), Err(ContextError::OtherRequest));
}

#[test]
fn no_changed_byte_is_taken() {
    let text = context().sign(&keys()[0], "GET", TARGET);
    for at in 0..text.len() {
        for flip in [1, 2, 32] {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= flip;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(verify(&changed, "GET", TARGET, NOW).is_err(), "{changed}");
        }
        assert!(verify(&text[..at], "GET", TARGET, NOW).is_err());
    }
    assert_eq!(verify(&"v1.".repeat(1000), "GET", TARGET, NOW), Err(ContextError::Malformed));
}

#[test]
fn fields_cannot_run_into_each_other() {
    let sign = |tenant: &str, subject: &str| {
        Context { tenant: tenant.into(), subject: subject.into(), ..context() }.sign(
            &keys()[0],
            "GET",
            TARGET,
        )
    };
    assert_ne!(sign("ab", "c"), sign("a", "bc"));
    assert_ne!(sign("a.b", "c"), sign("a", "b.c"));
    let odd = Context { subject: "a.b\n\t\"€".into(), request_id: String::new(), ..context() };
    let text = odd.sign(&keys()[1], "GET", TARGET);
    assert!(text.is_ascii());
    assert_eq!(verify(&text, "GET", TARGET, NOW), Ok(odd));
}

#[test]
fn a_configuration_signs_with_its_first_key_and_never_shows_a_secret() {
    let keys = SECRETS.map(|(id, secret)| format!(r#"{{"id": "{id}", "secret": "{secret}"}}"#)).join(",");
    let signing_keys = signing(&keys).unwrap();
    let Context { tenant, subject, request_id, .. } = context();
    let text = signing_keys.sign((&tenant, &subject, &request_id), ("GET", TARGET), UnixTime::from_secs(NOW));
    assert_eq!(text, context().sign(&signing_keys.keys()[0], "GET", TARGET));
    assert_eq!(signing_keys.header().as_str(), "x-tenant-context");
    assert!(!format!("{signing_keys:?}").contains("AAEC") && !format!("{signing_keys:?}").contains("[0, 1"));
    for (keys, error) in [
        ("", "`signed_context.keys`: not 1 to 8 keys; the first one signs"),
        (
            r#"{"id": "a", "secret": "c2hvcnQ="}"#,
            "`signed_context.keys[0].secret`: not 32 to 128 bytes; make one: openssl rand -base64 32",
        ),
        (
            r#"{"id": "a", "secret": "c2hvcnQ"}"#,
            "`signed_context.keys[0].secret`: not base64 (RFC 4648 section 4)",
        ),
        (
            r#"{"id": "a.b", "secret": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#,
            "`signed_context.keys[0].id`: not 1 to 32 letters, digits, `-` and `_`",
        ),
    ] {
        assert_eq!(signing(keys).unwrap_err(), error);
    }
}

/// What every verifier must say; written anew with `PORTCULLIS_UPDATE=1`.
#[test]
fn the_vectors_are_what_this_code_makes() {
    let (good, keys) = (context(), keys());
    let text = good.sign(&keys[0], "GET", TARGET);
    let (signed, mac) = text.rsplit_once('.').unwrap();
    let unicode = Context { tenant: "acme".into(), subject: "zoë 株式会社".into(), ..context() };
    let nobody = Context { subject: String::new(), request_id: String::new(), ..context() };
    let with = |at: usize, value: &str| {
        let mut fields: Vec<&str> = text.split('.').collect();
        fields[at] = value;
        fields.join(".")
    };
    let cases: Vec<(&str, i64, &str, &str, String)> = vec![
        ("a good one", NOW, "GET", TARGET, text.clone()),
        ("its last second", NOW + 59, "GET", TARGET, text.clone()),
        ("the previous key", NOW, "GET", TARGET, good.sign(&keys[1], "GET", TARGET)),
        ("a subject beyond ASCII", NOW, "POST", "/", unicode.sign(&keys[0], "POST", "/")),
        ("no subject and no request id", NOW, "GET", TARGET, nobody.sign(&keys[0], "GET", TARGET)),
        ("expired", NOW + 60, "GET", TARGET, text.clone()),
        ("another method", NOW, "DELETE", TARGET, text.clone()),
        ("another path", NOW, "GET", "/t/globex/invoices?page=2", text.clone()),
        ("another query", NOW, "GET", "/t/acme/invoices?page=20", text.clone()),
        ("without the query", NOW, "GET", "/t/acme/invoices", text.clone()),
        ("another tenant", NOW, "GET", TARGET, with(3, "Z2xvYmV4")),
        ("another subject", NOW, "GET", TARGET, with(4, "YWRtaW4")),
        ("a later end", NOW, "GET", TARGET, with(2, "9999999999")),
        ("the other key's name", NOW, "GET", TARGET, with(1, "2025-07")),
        ("an unknown key", NOW, "GET", TARGET, with(1, "2024-01")),
        ("a name that every object has", NOW, "GET", TARGET, with(1, "__proto__")),
        ("another version", NOW, "GET", TARGET, with(0, "v2")),
        ("no MAC", NOW, "GET", TARGET, format!("{signed}.")),
        ("half a MAC", NOW, "GET", TARGET, format!("{signed}.{}", &mac[..20])),
        ("a padded MAC", NOW, "GET", TARGET, format!("{text}=")),
        ("a MAC with a blank", NOW, "GET", TARGET, format!("{text} ")),
        ("a field less", NOW, "GET", TARGET, text.replacen(".b3JnXzAxSFhZWg", "", 1)),
        ("a field more", NOW, "GET", TARGET, format!("v1.{text}")),
        ("nothing but dots", NOW, "GET", TARGET, ".......".into()),
        ("nothing", NOW, "GET", TARGET, String::new()),
    ];
    let mut file = String::from(
        "# The verifiers in this folder are checked against these lines; so can yours be.\n\
         # key, id, secret in base64\n\
         # case, note, tenant|subject|request id or `refused`, now, method, target, context\n",
    );
    for (id, secret) in SECRETS {
        writeln!(file, "key\t{id}\t{secret}").unwrap();
    }
    let mut good = 0;
    for (note, now, method, target, context) in &cases {
        let want = match verify(context, method, target, *now) {
            Ok(found) => {
                good += 1;
                [found.tenant, found.subject, found.request_id].join("|")
            }
            Err(_) => "refused".into(),
        };
        writeln!(file, "case\t{note}\t{want}\t{now}\t{method}\t{target}\t{context}").unwrap();
    }
    assert_eq!((good, cases.len()), (5, 25));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verifiers/vectors.tsv");
    if std::env::var_os("PORTCULLIS_UPDATE").is_some() {
        fs::write(&path, &file).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), file, "run again with PORTCULLIS_UPDATE=1");
}
