//! Sigstore's own conformance cases: each is accepted or refused as its folder's name says, and
//! refused for the reason that it is about.
//!
//! The cases are read from `$PORTCULLIS_VECTORS/sigstore-conformance`.

mod common;

use common::conformance::{self, Case};
use portcullis_core::UnixTime;
use portcullis_signature::{Artifact, Digest, Policy, ReasonCode, verify_bundle};

/// After every signature of the cases.
const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

fn code(case: &Case, artifact: Artifact<'_>) -> ReasonCode {
    let policy = match Policy::from_json(case.policy.to_string().as_bytes()) {
        Ok(policy) => policy,
        // A broken root is refused when the policy is loaded.
        Err(error) if error.path().starts_with("roots") => return ReasonCode::TrustRootInvalid,
        Err(error) => panic!("{}: {error}", case.name),
    };
    match verify_bundle(&case.bundle, artifact, "signer", &policy, NOW) {
        Ok(reason) => reason.code,
        Err(reason) => {
            if std::env::var_os("DBG").is_some() {
                println!("{}: {reason}", case.name);
            }
            reason.code
        }
    }
}

#[test]
fn every_case_is_judged_for_the_reason_that_it_is_about() {
    let Some(cases) = conformance::cases() else { return };
    let mut wrong = Vec::new();
    for case in &cases {
        for artifact in [Artifact::Bytes(&case.artifact), Artifact::Digest(Digest::of(&case.artifact))] {
            let found = code(case, artifact);
            if found != case.expected {
                wrong.push(format!("{}: {found}, and {} is expected", case.name, case.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 45, "{} cases are there", cases.len());
}
