//! Timestamps: whose word counts, about what, and for which fraction of a second.

use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{
    Content, Fault, Identity, Log, Purpose, START, Signing, Sigstore, StampingCertificate, TimestampStyle,
    TokenFault, Version,
};
use portcullis_signature::{Artifact, Policy, Reason, ReasonCode, verify_bundle};
use serde_json::{Value, json};

const ARTIFACT: &[u8] = b"an artifact\n";
const NOW: UnixTime = UnixTime::from_secs(START + 86_400);
const HALF: TimestampStyle = TimestampStyle::Fraction(".5");

fn sigstore() -> Sigstore {
    Sigstore::new([7; 32])
}

/// A signature whose time is known by its timestamp alone.
fn signing(sigstore: &Sigstore) -> Signing<'_> {
    let identity = Identity::github("acme/app", ".github/workflows/release.yml", "refs/tags/v1");
    Signing::keyless(sigstore, identity).log(Log::V2)
}

/// The verdict of a policy that trusts `root`.
fn judged_by(root: &Value, signing: &Signing<'_>) -> Result<Reason, Reason> {
    let document = json!({
        "roots": { "test": { "trusted_root": root } },
        "signers": { "ci": { "github": { "repository": "acme/app" } } },
    });
    let policy = Policy::from_json(document.to_string().as_bytes()).unwrap();
    let bundle = signing.sign(&Content::Message(ARTIFACT.to_vec())).bundle(Version::V0_3);
    verify_bundle(&bundle.json(), Artifact::Bytes(ARTIFACT), "ci", &policy, NOW)
}

fn judge(sigstore: &Sigstore, signing: &Signing<'_>) -> Result<Reason, Reason> {
    judged_by(&sigstore.trusted_root(), signing)
}

fn code(result: Result<Reason, Reason>) -> ReasonCode {
    result.unwrap_or_else(|reason| reason).code
}

#[test]
fn a_time_counts_to_its_fraction() {
    let sigstore = sigstore();
    for (style, text) in [
        (TimestampStyle::Plain, "2026-01-01T00:00:00Z"),
        (TimestampStyle::Sha384, "2026-01-01T00:00:00Z"),
        (TimestampStyle::Sha512Imprint, "2026-01-01T00:00:00Z"),
        (TimestampStyle::WithCertificate, "2026-01-01T00:00:00Z"),
        (HALF, "2026-01-01T00:00:00.5Z"),
        (TimestampStyle::Fraction(".123456"), "2026-01-01T00:00:00.123456Z"),
        (TimestampStyle::Fraction(".000000001"), "2026-01-01T00:00:00.000000001Z"),
        (TimestampStyle::Fraction(".999999999"), "2026-01-01T00:00:00.999999999Z"),
        (TimestampStyle::Forged(TokenFault::NoneWithExtension), "2026-01-01T00:00:00.5Z"),
        (TimestampStyle::Forged(TokenFault::NoneWithoutResponse), "2026-01-01T00:00:00.5Z"),
    ] {
        let reason = judge(&sigstore, &signing(&sigstore).timestamp(style))
            .unwrap_or_else(|reason| panic!("{style:?}: {reason}"));
        assert!(reason.message.contains(text), "{style:?}: {reason}");
    }
}

#[test]
fn a_time_that_is_not_der_is_refused() {
    let sigstore = sigstore();
    for text in
        [".0", ".50", ".500000", ".", ",5", " 5", ".5.5", ".0000000001", ".5+0100", ".5Z", ".-5", ".5\n"]
    {
        let style = TimestampStyle::Fraction(text);
        let reason = judge(&sigstore, &signing(&sigstore).timestamp(style)).unwrap_err();
        assert_eq!(reason.code, ReasonCode::TimestampInvalid, "{text}: {reason}");
        assert!(reason.message.contains("which is not DER"), "{text}: {reason}");
    }
}

#[test]
fn no_forged_token_tells_a_time() {
    let sigstore = sigstore();
    for fault in TokenFault::ALL {
        let style = TimestampStyle::Forged(fault);
        let result = judge(&sigstore, &signing(&sigstore).timestamp(style));
        assert_eq!(code(result), ReasonCode::TimestampInvalid, "{fault:?}");
        // Nor where the log has told a time already.
        let logged = signing(&sigstore).log(Log::V1).timestamp(style);
        assert_eq!(code(judge(&sigstore, &logged)), ReasonCode::TimestampInvalid, "{fault:?}");
    }
    for fault in [Fault::ForeignTimestampAuthority, Fault::TimestampOfOther] {
        let result = judge(&sigstore, &signing(&sigstore).timestamp(HALF).fault(fault));
        assert_eq!(code(result), ReasonCode::TimestampInvalid, "{fault:?}");
    }
    let untimed = signing(&sigstore).fault(Fault::NoTimestamp);
    assert_eq!(code(judge(&sigstore, &untimed)), ReasonCode::TimeUnknown);
}

#[test]
fn a_forged_token_is_refused_for_what_is_wrong_with_it() {
    let sigstore = sigstore();
    for (fault, text) in [
        (TokenFault::ImprintOfOtherHash, "of another signature"),
        (TokenFault::NoImprint, "of another signature"),
        (TokenFault::OtherTime, "is of something else"),
        (TokenFault::FractionCutOff, "is of something else"),
        (TokenFault::SignatureOverOther, "signature does not hold"),
        (TokenFault::NoSignedAttributes, "no signed attributes"),
        (TokenFault::UnsignedAttributes, "signature does not hold"),
        (TokenFault::NoContentType, "1.2.840.113549.1.9.3 is not there once"),
        (TokenFault::OtherContentType, "1.2.840.113549.1.9.3 is of something else"),
        (TokenFault::NoDigest, "1.2.840.113549.1.9.4 is not there once"),
        (TokenFault::TwoValues, "1.2.840.113549.1.9.4 is of something else"),
        (TokenFault::TwoSigners, "more than one signer"),
        (TokenFault::OtherContent, "is not a TSTInfo"),
        (TokenFault::Version, "version 1"),
        (TokenFault::Rejected, "did not grant"),
        (TokenFault::CriticalExtension, "is critical"),
        (TokenFault::TrailingByte, "cannot be read"),
        (TokenFault::TrailingInInfo, "cannot be read"),
    ] {
        let style = TimestampStyle::Forged(fault);
        let reason = judge(&sigstore, &signing(&sigstore).timestamp(style)).unwrap_err();
        assert!(reason.message.contains(text), "{fault:?}: {reason}");
    }
}

#[test]
fn an_authority_s_certificate_must_be_for_time_stamping() {
    for (purpose, expected) in [
        (Purpose::TimeStamping, ReasonCode::Verified),
        (Purpose::CodeSigning, ReasonCode::TimestampInvalid),
        (Purpose::Unsaid, ReasonCode::TimestampInvalid),
    ] {
        let sigstore = sigstore().stamping(StampingCertificate { purpose, ..Default::default() });
        for style in [TimestampStyle::Plain, HALF] {
            let result = judge(&sigstore, &signing(&sigstore).timestamp(style));
            assert_eq!(code(result), expected, "{purpose:?} {style:?}");
        }
    }
}

#[test]
fn an_authority_s_chain_is_valid_to_the_fraction() {
    let plain = TimestampStyle::Plain;
    let last = TimestampStyle::Fraction(".999999999");
    for intermediate in [false, true] {
        for (from, to, style, expected) in [
            (START, START, plain, ReasonCode::Verified),
            (START, START + 1, HALF, ReasonCode::Verified),
            (START, START + 1, last, ReasonCode::Verified),
            // It ended half a second before.
            (START - 60, START, HALF, ReasonCode::TimestampInvalid),
            (START - 60, START, TimestampStyle::Fraction(".000000001"), ReasonCode::TimestampInvalid),
            // It begins half a second after, or a nanosecond.
            (START + 1, START + 60, HALF, ReasonCode::TimestampInvalid),
            (START + 1, START + 60, last, ReasonCode::TimestampInvalid),
            // It ended long before.
            (START - 120, START - 60, plain, ReasonCode::TimestampInvalid),
            (START - 120, START - 60, HALF, ReasonCode::TimestampInvalid),
        ] {
            let certificate = StampingCertificate { from, to, intermediate, ..Default::default() };
            let sigstore = sigstore().stamping(certificate);
            let result = judge(&sigstore, &signing(&sigstore).timestamp(style));
            assert_eq!(code(result), expected, "{certificate:?} {style:?}");
        }
    }
}

#[test]
fn an_authority_s_window_is_held_to_the_fraction() {
    let sigstore = sigstore();
    for (start, end, style, expected) in [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", TimestampStyle::Plain, ReasonCode::Verified),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", HALF, ReasonCode::Verified),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.5Z", HALF, ReasonCode::Verified),
        ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", HALF, ReasonCode::TimestampOutsideAuthority),
        ("2026-01-01T00:00:01Z", "2026-02-01T00:00:00Z", HALF, ReasonCode::TimestampOutsideAuthority),
    ] {
        let mut root = sigstore.trusted_root();
        root["timestampAuthorities"][0]["validFor"] = json!({ "start": start, "end": end });
        let result = judged_by(&root, &signing(&sigstore).timestamp(style));
        assert_eq!(code(result), expected, "{start} to {end} {style:?}");
    }
}

#[test]
fn a_signer_s_certificate_is_valid_to_the_fraction() {
    let sigstore = sigstore();
    // It lasts ten minutes.
    for (stamped_at, style, expected) in [
        (START + 600, TimestampStyle::Plain, ReasonCode::Verified),
        (START + 599, TimestampStyle::Fraction(".999999999"), ReasonCode::Verified),
        (START + 600, HALF, ReasonCode::CertificateExpired),
        (START + 600, TimestampStyle::Fraction(".000000001"), ReasonCode::CertificateExpired),
        (START, TimestampStyle::Fraction(".000000001"), ReasonCode::Verified),
        (START - 1, TimestampStyle::Fraction(".999999999"), ReasonCode::CertificateExpired),
    ] {
        let signing = signing(&sigstore).timestamp(style).stamped_at(stamped_at);
        assert_eq!(code(judge(&sigstore, &signing)), expected, "{stamped_at} {style:?}");
    }
}

#[test]
fn of_two_authorities_the_one_that_signed_counts() {
    let (one, two) = (sigstore(), Sigstore::new([8; 32]));
    let theirs = two.trusted_root()["timestampAuthorities"][0].clone();
    let mut root = one.trusted_root();
    root["timestampAuthorities"].as_array_mut().unwrap().insert(0, theirs);
    assert_eq!(code(judged_by(&root, &signing(&one).timestamp(HALF))), ReasonCode::Verified);
    // The other one's window lends nothing.
    root["timestampAuthorities"][1]["validFor"]["end"] = json!("2026-01-01T00:00:00Z");
    let result = judged_by(&root, &signing(&one).timestamp(HALF));
    assert_eq!(code(result), ReasonCode::TimestampOutsideAuthority);
}
