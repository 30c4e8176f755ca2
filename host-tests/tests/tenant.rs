//! The tenant corpus through everybody who answers: each request gets the verdict that its case
//! names, and none harms the next one.

#[path = "tenant/beside.rs"]
mod beside;
#[path = "tenant/refused_calls.rs"]
mod refused_calls;
#[path = "tenant/trailers.rs"]
mod trailers;
#[path = "tenant/unhardened.rs"]
mod unhardened;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use portcullis_host_tests::{
    envoy,
    subject::{Judgement, Refusal},
    tenant::{Case, Class, Expect, Hosted, Native, Real, Transport, World, cases},
};

/// 2026-01-01T00:00:00Z.
const FIXED: i64 = 1_767_225_600;

const MODULES: [&[u8]; 2] = [portcullis_modules::JWT_AUTH.wasm, portcullis_modules::TENANT_GUARD.wasm];

/// Every file with its cases, their tokens minted.
fn corpus(now: i64) -> Result<Vec<(World, Vec<Case>)>> {
    let mut by_file: BTreeMap<&'static str, Vec<Case>> = BTreeMap::new();
    for case in cases() {
        by_file.entry(case.file).or_default().push(case);
    }
    by_file
        .into_iter()
        .map(|(file, mut cases)| {
            let world = World::load(file, now)?;
            for case in &mut cases {
                case.token = case.claims.as_ref().map(|claims| world.token(claims)).transpose()?;
            }
            Ok((world, cases))
        })
        .collect()
}

/// Why `judgement` is not what is expected.
fn objection(case: &Case, expect: &Expect, judgement: &Judgement) -> Option<String> {
    match (expect, judgement) {
        (Expect::Forward(headers), Judgement::Forwarded(_)) => headers.iter().find_map(|(name, values)| {
            let seen = judgement.upstream(name)?;
            // Nobody but this test asks for the path where it does not change.
            (seen != *values).then(|| format!("the upstream saw `{name}` as {seen:?}"))
        }),
        (Expect::Refuse(codes), Judgement::Refused(refusal))
            if refusal.status >= 400 || refusal.code.is_some() =>
        {
            let code = refusal.code.as_deref();
            let right = codes.iter().any(|expected| {
                Some(expected.as_str()) == code || (!case.has_body && expected.status() == refusal.status)
            });
            (!right && !codes.is_empty())
                .then(|| format!("refused as {refusal:?}, not with one of {codes:?}"))
        }
        (Expect::Answer(status, cookie), Judgement::Refused(refusal)) => {
            let right = refusal.status == *status && refusal.challenge.as_deref() == Some(*cookie);
            (!right).then(|| format!("answered {refusal:?}"))
        }
        (_, other) => Some(format!("{other:?}")),
    }
}

/// An ordinary request of the file that `cases` are for, to send after hostile ones.
fn ordinary(cases: &[Case]) -> Case {
    let first = cases.iter().find(|case| case.class == Class::Ordinary && case.claims.is_some());
    first.cloned().expect("every file has an ordinary request with a token")
}

fn assert_none(objections: &[String]) {
    assert!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
}

#[test]
fn the_corpus_is_as_large_as_it_claims() -> Result<()> {
    let all = cases();
    let mut names = BTreeSet::new();
    for case in &all {
        assert!(names.insert((case.file, &case.name)), "{}: {} is there twice", case.file, case.name);
    }
    let refused = all.iter().filter(|case| matches!(case.expect, Expect::Refuse(_))).count();
    let ordinary = all.iter().filter(|case| case.class == Class::Ordinary).count();
    assert!(refused >= 150, "only {refused} requests that must be refused");
    assert!(ordinary >= 40, "only {ordinary} ordinary requests");
    Ok(())
}

#[test]
fn the_native_policies_and_the_modules_answer_every_case() -> Result<()> {
    let mut objections = Vec::new();
    for (world, cases) in corpus(FIXED)? {
        let native = Native::load(&world, FIXED)?;
        let mut hosted = Hosted::load(&world, MODULES, FIXED)?;
        let sentinel = ordinary(&cases);
        for case in &cases {
            for (who, judgement) in [("native", native.judge(case)), ("hosted", hosted.judge(case))] {
                let objection = match judgement {
                    Ok(judgement) => objection(case, &case.expect, &judgement),
                    Err(error) => Some(format!("{error:#}")),
                };
                objections
                    .extend(objection.map(|why| format!("{} | {who} | {}: {why}", world.file, case.name)));
            }
            let harmed = objection(&sentinel, &sentinel.expect, &hosted.judge(&sentinel)?);
            objections.extend(harmed.map(|why| format!("after {}: {why}", case.name)));
        }
    }
    assert_none(&objections);
    Ok(())
}

#[test]
fn the_files_answer_every_case_in_the_real_envoy() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let (mut objections, mut judged, mut by_filter) = (Vec::new(), 0, 0);
    for (world, cases) in corpus(now)? {
        let mut real = Real::load(&binary, &world, MODULES)?;
        let sentinel = ordinary(&cases);
        for case in &cases {
            for transport in [Transport::Http1, Transport::Http2] {
                let expect = case.in_envoy.as_ref().unwrap_or(&case.expect);
                let objection = match real.judge(case, transport) {
                    // HTTP/2 has fewer ways to say something wrong.
                    Ok(None) => continue,
                    // The connection manager refuses some requests before any filter sees them.
                    Ok(Some(Judgement::Refused(Refusal { code: None, status: 400.., .. })))
                        if matches!(case.expect, Expect::Refuse(_)) =>
                    {
                        None
                    }
                    Ok(Some(judgement)) => {
                        by_filter += 1;
                        objection(case, expect, &judgement)
                    }
                    Err(error) => Some(format!("{error:#}")),
                };
                judged += 1;
                let next = real.judge(&sentinel, transport)?;
                let harmed = next.and_then(|next| self::objection(&sentinel, &sentinel.expect, &next));
                objections.extend(harmed.map(|why| format!("after {}: {why}", case.name)));
                objections.extend(
                    objection.map(|why| format!("{} | {transport:?} | {}: {why}", world.file, case.name)),
                );
            }
        }
        // A worker tells once a second.
        let permitted = "wasmcustom.portcullis.tenant.permitted";
        real.envoy().wait_for_stat(permitted, Duration::from_secs(20), |count| count > 0)?;
    }
    assert_none(&objections);
    assert!(by_filter * 10 >= judged * 8, "the filters saw only {by_filter} of {judged} requests");
    Ok(())
}
