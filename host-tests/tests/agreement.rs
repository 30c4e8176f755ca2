//! The attack catalogue through every subject: each case gets the answer that it names, and all
//! who answer agree.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_host_tests::{
    envoy,
    subject::{ArithmeticIn, Hosted, Judgement, Native, Real, Subject},
};
use portcullis_issuer::{Case, Class, Expect, Seed, Setup, catalogue};

/// 2026-01-01T00:00:00Z.
const FIXED: i64 = 1_767_225_600;

/// Cases that Envoy's clock or connection manager answers before the filter can, and what must
/// come of them there. Each must really differ from the catalogue, or it goes.
const OTHERWISE_IN_ENVOY: &[(&str, &str, Otherwise)] = &[
    ("exp-last-second", "time goes on between minting and judging", Otherwise::Refused),
    ("nbf-limit", "time goes on between minting and judging", Otherwise::Forwarded),
    ("path-parent", "normalize_path", Otherwise::Refused),
    ("path-parent-encoded", "normalize_path", Otherwise::Refused),
    ("path-backslash", "normalize_path", Otherwise::Refused),
    ("path-matrix", "Envoy drops path parameters", Otherwise::Refused),
    ("path-empty-segment", "merge_slashes", Otherwise::Forwarded),
    ("path-dot", "normalize_path", Otherwise::Forwarded),
    ("path-double-slash", "merge_slashes", Otherwise::Forwarded),
    ("path-letter", "normalize_path", Otherwise::Forwarded),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Otherwise {
    Refused,
    Forwarded,
}

fn setup(now: i64) -> Setup {
    Setup::new(&Seed::new([7; 32]), "https://issuer", "api", now).unwrap()
}

/// Why `judgement` is not what `case` demands.
fn objection(case: &Case, judgement: &Judgement) -> Option<String> {
    match (&case.expect, judgement) {
        (Expect::Allow, Judgement::Forwarded(_)) => case.upstream.iter().find_map(|header| {
            let seen = judgement.upstream(&header.name)?;
            (seen != header.values).then(|| format!("the upstream saw `{}` as {seen:?}", header.name))
        }),
        (Expect::Deny(codes), Judgement::Refused(refusal)) => {
            let code = refusal.code.as_deref();
            let expected = codes.iter().find(|expected| Some(expected.as_str()) == code);
            match expected {
                Some(expected) if expected.status() == refusal.status => None,
                _ => Some(format!("refused as {refusal:?}, not with one of {codes:?}")),
            }
        }
        (_, other) => Some(format!("{other:?}")),
    }
}

fn run(subject: &mut dyn Subject, cases: &[Case]) -> Vec<String> {
    cases
        .iter()
        .filter_map(|case| {
            let objection = match subject.judge(&case.request) {
                Ok(judgement) => objection(case, &judgement),
                Err(error) => Some(format!("{error:#}")),
            };
            objection.map(|why| format!("{} | {} ({}): {why}", subject.name(), case.id, case.origin))
        })
        .collect()
}

#[test]
fn the_native_policy_and_the_module_answer_every_case() -> Result<()> {
    let setup = setup(FIXED);
    let cases = catalogue(&setup)?;
    let configuration = setup.jwt_auth_config();
    let wasm = portcullis_modules::JWT_AUTH.wasm;
    let mut objections = run(&mut Native::load(&configuration, FIXED)?, &cases);
    for arithmetic in [ArithmeticIn::Host, ArithmeticIn::Module] {
        objections.extend(run(&mut Hosted::load(wasm, &configuration, FIXED, arithmetic)?, &cases));
    }
    assert!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
    Ok(())
}

#[test]
fn the_module_answers_every_case_in_the_real_envoy() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let setup = setup(now);
    let cases = catalogue(&setup)?;
    let mut real = Real::load(&binary, portcullis_modules::JWT_AUTH.wasm, &setup.jwt_auth_config())?;
    let mut judged = 0;
    let mut objections = Vec::new();
    for case in &cases {
        let judgement = match real.judge(&case.request) {
            // The connection manager refuses some requests before any filter sees them.
            Ok(Judgement::Refused(refusal))
                if refusal.code.is_none() && refusal.status == 400 && case.class == Class::Request =>
            {
                continue;
            }
            Ok(judgement) => judgement,
            Err(error) => {
                objections.push(format!("{}: {error:#}", case.id));
                continue;
            }
        };
        judged += 1;
        let objection = objection(case, &judgement);
        let otherwise = OTHERWISE_IN_ENVOY.iter().find(|(id, ..)| *id == case.id);
        let forwarded = matches!(judgement, Judgement::Forwarded(_));
        match (objection, otherwise) {
            (Some(_), Some((.., otherwise))) if (*otherwise == Otherwise::Forwarded) == forwarded => {}
            (None, None) => {}
            (None, Some((_, why, _))) => {
                objections.push(format!("{}: no longer answered otherwise ({why})", case.id));
            }
            (Some(why), _) => objections.push(format!("{}: {why}", case.id)),
        }
    }
    assert!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
    let refused = cases.iter().filter(|case| matches!(case.expect, Expect::Deny(_))).count();
    assert!(refused >= 350, "only {refused} kinds of bad token");
    assert!(judged * 10 >= cases.len() * 9, "the filter saw only {judged} of {} cases", cases.len());
    Ok(())
}
