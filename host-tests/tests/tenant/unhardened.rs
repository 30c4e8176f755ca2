//! Without the connection manager's settings the policy stands alone: it refuses all the same, and
//! says which settings are missing.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_core::Code;
use portcullis_host_tests::{
    envoy,
    subject::{Judgement, Refusal},
    tenant::{Expect, Real, Transport},
};
use serde_json::json;

use crate::{MODULES, assert_none, corpus, objection};

/// Each setting as the files have it, and off.
const OFF: [(&str, &str); 6] = [
    ("normalize_path: true", "normalize_path: false"),
    ("merge_slashes: true", "merge_slashes: false"),
    ("path_with_escaped_slashes_action: REJECT_REQUEST", "path_with_escaped_slashes_action: KEEP_UNCHANGED"),
    ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    ("strip_trailing_host_dot: true", "strip_trailing_host_dot: false"),
    ("forward_client_cert_details: SANITIZE", "forward_client_cert_details: ALWAYS_FORWARD_ONLY"),
];

/// What the guard says where jwt-auth asks for nothing.
fn without_jwt_auth(expect: &Expect) -> Expect {
    match expect {
        Expect::Refuse(codes) if codes.contains(&Code::MissingToken) => {
            Expect::Refuse(vec![Code::AuthenticationRequired])
        }
        other => other.clone(),
    }
}

#[test]
fn without_the_settings_every_case_is_answered_all_the_same_and_the_missing_ones_are_counted() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let mut objections = Vec::new();
    let files = ["tenant-subdomain.yaml", "tenant-path.yaml"];
    let mut seen = std::collections::BTreeMap::<String, u64>::new();
    for (mut world, cases) in corpus(now)?.into_iter().filter(|(world, _)| files.contains(&world.file)) {
        // jwt-auth reads no path either: what it would refuse reaches the guard.
        world.jwt_auth["rules"] = json!([{"path": {"prefix": "/"}, "require": {"optional": ["main"]}}]);
        let mut real = Real::load_edited(&binary, &world, MODULES, |text| {
            OFF.iter().fold(text, |text, (on, off)| {
                assert_eq!(text.matches(on).count(), 1, "{on}");
                text.replace(on, off)
            })
        })?;
        for case in &cases {
            let objection = match real.judge(case, Transport::Http1) {
                // The codec refuses some requests whatever the settings.
                Ok(Some(Judgement::Refused(Refusal { code: None, status: 400.., .. })))
                    if matches!(case.expect, Expect::Refuse(_)) =>
                {
                    None
                }
                // Envoy takes these two out of every request itself.
                Ok(Some(Judgement::Forwarded(_))) if case.name.contains("| connection: ") => None,
                Ok(Some(judgement)) => objection(case, &without_jwt_auth(&case.expect), &judgement),
                Ok(None) => None,
                Err(error) => Some(format!("{error:#}")),
            };
            objections.extend(objection.map(|why| format!("{} | {}: {why}", world.file, case.name)));
        }
        for (name, value) in real.envoy().stats()? {
            if let Some(setting) = name.strip_prefix("wasmcustom.portcullis.tenant.missing_setting.") {
                *seen.entry(setting.to_owned()).or_default() += value;
            }
        }
    }
    assert_none(&objections);
    let silent: Vec<_> = seen.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
    assert!(seen.len() == OFF.len() && silent.is_empty(), "not noticed: {silent:?} of {seen:?}");
    Ok(())
}

#[test]
fn with_the_settings_no_request_shows_one_missing() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let worlds = corpus(now)?;
    let (world, cases) =
        worlds.iter().find(|(world, _)| world.file == "tenant-subdomain.yaml").expect("the file");
    let mut real = Real::load(&binary, world, MODULES)?;
    for case in cases {
        real.judge(case, Transport::Http1)?;
    }
    let missing: Vec<_> = real
        .envoy()
        .stats()?
        .into_iter()
        .filter(|(name, value)| name.contains("portcullis.tenant.missing_setting.") && *value > 0)
        .collect();
    assert_eq!(missing, []);
    Ok(())
}
