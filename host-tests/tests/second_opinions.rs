//! Generated tokens before the native policy, jsonwebtoken and PyJWT. Where they differ, the reason
//! is in `second_opinions/differences.yaml`; a difference without one fails, and so does a reason
//! that nothing needs any more.
//!
//! `PORTCULLIS_TOKENS=1000000` judges more tokens than usual, `PORTCULLIS_FIRST_SEED=7` others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use portcullis_host_tests::{
    generated::{AUDIENCE, Generated, Generator, ISSUER, SKEW},
    pyjwt::PyJwt,
    subject::Native,
};
use portcullis_issuer::opinion::Opinion;
use serde::Deserialize;

/// Tokens of an ordinary run.
const ORDINARY: usize = 4000;
/// Every reason must have been needed after so many.
const ENOUGH: usize = ORDINARY;
const BATCH: usize = 500;

/// Why somebody judges a kind of token otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// Who.
    who: String,
    /// The oddity that it is about.
    feature: String,
    /// What the policy says: a code, or `PERMIT`.
    ours: String,
    /// Why we are right to.
    reason: String,
}

fn count() -> Result<usize> {
    match std::env::var("PORTCULLIS_TOKENS") {
        Ok(text) => text.parse().context("PORTCULLIS_TOKENS"),
        Err(_) => Ok(ORDINARY),
    }
}

fn first_seed() -> Result<u64> {
    match std::env::var("PORTCULLIS_FIRST_SEED") {
        Ok(text) => text.parse().context("PORTCULLIS_FIRST_SEED"),
        Err(_) => Ok(1),
    }
}

fn present() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

/// What is found over a run.
#[derive(Default)]
struct Findings {
    needed: BTreeSet<usize>,
    unexplained: BTreeMap<String, (usize, String)>,
    accepted: usize,
}

impl Findings {
    fn compare(
        &mut self,
        known: &[Difference],
        who: &str,
        ours: &str,
        token: &Generated,
        theirs: Option<&str>,
    ) {
        if (ours == "PERMIT") == theirs.is_none() {
            return;
        }
        let explains = |difference: &Difference| {
            difference.who == who
                && difference.ours == ours
                && token.features.contains(&difference.feature.as_str())
        };
        let mut explained = false;
        for (index, _) in known.iter().enumerate().filter(|(_, difference)| explains(difference)) {
            self.needed.insert(index);
            explained = true;
        }
        if !explained {
            let what = format!("{who}: {}; we say {ours}, they say {theirs:?}", token.features.join(" + "));
            self.unexplained.entry(what).or_insert_with(|| (0, token.token.clone())).0 += 1;
        }
    }
}

#[test]
fn others_judge_generated_tokens_alike_or_the_reason_is_written_down() -> Result<()> {
    let known: Vec<Difference> = serde_saphyr::from_str(include_str!("second_opinions/differences.yaml"))?;
    assert!(known.iter().all(|difference| difference.reason.len() > 20));
    let start = present()?;
    let mut generator = Generator::new(first_seed()?, start)?;
    let jwks = generator.jwks();
    let native = Native::load(&generator.configuration(), start)?;
    let opinion = Opinion::new(&jwks, ISSUER, AUDIENCE, SKEW)?;
    let mut pyjwt = PyJwt::start(&jwks, ISSUER, AUDIENCE, SKEW)?;
    let mut findings = Findings::default();
    let total = count()?;
    let mut judged = 0;
    while judged < total {
        let now = present()?;
        generator.set_now(now);
        let batch =
            (0..BATCH.min(total - judged)).map(|_| generator.next_token()).collect::<Result<Vec<_>>>()?;
        judged += batch.len();
        let texts: Vec<_> = batch.iter().map(|token| token.token.as_str()).collect();
        let theirs = pyjwt.as_mut().map(|pyjwt| pyjwt.judge(&texts)).transpose()?;
        for (index, token) in batch.iter().enumerate() {
            let code = native.code(token.token.as_bytes(), now);
            let ours = code.map_or("PERMIT", |code| code.as_str());
            findings.accepted += usize::from(code.is_none());
            if token.features.is_empty() {
                assert_eq!(code, None, "an honest token: {}", token.token);
            }
            let jsonwebtoken = opinion.judge(&token.token);
            findings.compare(
                &known,
                "jsonwebtoken",
                ours,
                token,
                jsonwebtoken.as_ref().err().map(String::as_str),
            );
            if let Some(theirs) = &theirs {
                findings.compare(&known, "PyJWT", ours, token, theirs[index].as_deref());
            }
        }
    }
    let unexplained: Vec<_> = findings
        .unexplained
        .iter()
        .map(|(what, (times, token))| format!("{times} times: {what}\n    {token}"))
        .collect();
    assert!(unexplained.is_empty(), "{} unexplained:\n{}", unexplained.len(), unexplained.join("\n"));
    if judged >= ENOUGH && pyjwt.is_some() {
        let idle: Vec<_> = known
            .iter()
            .enumerate()
            .filter(|(index, _)| !findings.needed.contains(index))
            .map(|(_, difference)| difference)
            .collect();
        assert!(idle.is_empty(), "reasons that nothing needs: {idle:#?}");
    }
    eprintln!("{judged} tokens, {} accepted, {} reasons for differences", findings.accepted, known.len());
    Ok(())
}
