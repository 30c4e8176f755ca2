//! OpenSSL on the other side: it verifies the minter's timestamps, and the verifier takes those that
//! it makes, with fractions of a second.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{
    Content, Fault, Identity, Log, START, Signing, Sigstore, TimestampStyle, TokenFault, Version,
};
use portcullis_signature::{Artifact, Policy, Reason, verify_bundle};
use serde_json::{Value, json};

const ARTIFACT: &[u8] = b"an artifact\n";

fn sigstore() -> Sigstore {
    Sigstore::new([7; 32])
}

fn openssl(folder: &Path, arguments: &str) -> Output {
    Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("cannot start openssl: {error}; these tests need it"))
}

fn done(folder: &Path, arguments: &str) {
    let output = openssl(folder, arguments);
    assert!(output.status.success(), "openssl {arguments}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The authority's certificates, its own first.
fn chain(root: &Value) -> Vec<String> {
    let certificates = root["timestampAuthorities"][0]["certChain"]["certificates"].as_array().unwrap();
    certificates
        .iter()
        .map(|certificate| {
            let base64 = certificate["rawBytes"].as_str().unwrap();
            let lines: Vec<&str> =
                base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
        })
        .collect()
}

/// OpenSSL's verdict on a timestamp of [`ARTIFACT`].
fn verdict(folder: &Path, style: TimestampStyle, faults: &[Fault]) -> bool {
    fs::write(folder.join("token.tsr"), sigstore().stamp(ARTIFACT, START, style, faults)).unwrap();
    let command = format!(
        "ts -verify -in token.tsr -data artifact -CAfile root.pem -untrusted leaf.pem -attime {START}"
    );
    openssl(folder, &command).status.success()
}

#[test]
fn openssl_accepts_good_timestamps_and_refuses_forged_ones() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let chain = chain(&sigstore().trusted_root());
    fs::write(folder.join("artifact"), ARTIFACT).unwrap();
    fs::write(folder.join("leaf.pem"), &chain[0]).unwrap();
    fs::write(folder.join("root.pem"), &chain[1]).unwrap();
    for style in [
        TimestampStyle::Plain,
        TimestampStyle::Fraction(".5"),
        TimestampStyle::Fraction(".123456"),
        TimestampStyle::Sha384,
        TimestampStyle::Sha512Imprint,
        TimestampStyle::WithCertificate,
        TimestampStyle::Forged(TokenFault::NoneWithExtension),
    ] {
        assert!(verdict(folder, style, &[]), "{style:?}");
    }
    for fault in [Fault::ForeignTimestampAuthority, Fault::TimestampOfOther] {
        assert!(!verdict(folder, TimestampStyle::Fraction(".5"), &[fault]), "{fault:?}");
    }
    // It reads BER, and looks neither at what follows, nor at the content's type in what is signed,
    // nor at extensions.
    let unseen = [
        TokenFault::NoContentType,
        TokenFault::OtherContentType,
        TokenFault::CriticalExtension,
        TokenFault::TrailingByte,
        TokenFault::TrailingInInfo,
        TokenFault::LongLength,
        TokenFault::IndefiniteLength,
    ];
    let accepted: Vec<_> = TokenFault::ALL
        .into_iter()
        .filter(|fault| !unseen.contains(fault) && verdict(folder, TimestampStyle::Forged(*fault), &[]))
        .collect();
    assert!(accepted.is_empty(), "OpenSSL takes {accepted:?}");
}

/// An authority of OpenSSL's that counts microseconds, with a key of this kind.
fn authority(folder: &Path, key: &str, digest: &str) {
    let configuration = format!(
        "[tsa]\nserial = serial\ncrypto_device = builtin\nsigner_cert = leaf.pem\nsigner_key = leaf.key\n\
         signer_digest = {digest}\ndefault_policy = 1.2.3.4.1\ndigests = sha256, sha384, sha512\n\
         accuracy = secs:1, millisecs:500, microsecs:100\nclock_precision_digits = 6\nordering = yes\n\
         tsa_name = yes\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n"
    );
    fs::write(folder.join("tsa.cnf"), configuration).unwrap();
    let purpose = "keyUsage = critical, digitalSignature\nextendedKeyUsage = critical, timeStamping\n";
    fs::write(folder.join("leaf.ext"), purpose).unwrap();
    let request = format!("req -newkey {key} -nodes -subj");
    done(folder, &format!("{request} /CN=root -x509 -days 30 -keyout root.key -out root.pem"));
    done(folder, &format!("{request} /CN=leaf -keyout leaf.key -out leaf.csr"));
    let issue = "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile leaf.ext";
    done(folder, &format!("{issue} -days 20 -out leaf.pem"));
    for name in ["root", "leaf"] {
        done(folder, &format!("x509 -in {name}.pem -outform DER -out {name}.der"));
    }
}

/// The verdict on a signature of this moment with a timestamp by OpenSSL of `stamped`, or of the
/// signature where there is none.
fn judge(folder: &Path, imprint: &str, stamped: Option<&[u8]>) -> Result<Reason, Reason> {
    let sigstore = sigstore();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let identity = Identity::github("acme/shop", ".github/workflows/release.yml", "refs/heads/main");
    let signing = Signing::keyless(&sigstore, identity).log(Log::V2).at(now);
    let signature = signing.sign(&Content::Message(ARTIFACT.to_vec()));
    fs::write(folder.join("stamped"), stamped.unwrap_or(signature.bytes())).unwrap();
    done(folder, &format!("ts -query -data stamped -{imprint} -no_nonce -out query.tsq"));
    done(folder, "ts -reply -config tsa.cnf -section tsa -queryfile query.tsq -out token.tsr");
    let bundle = signature.stamped(fs::read(folder.join("token.tsr")).unwrap()).bundle(Version::V0_3);

    let certificates = ["leaf.der", "root.der"]
        .map(|name| json!({ "rawBytes": STANDARD.encode(fs::read(folder.join(name)).unwrap()) }));
    let mut root = sigstore.trusted_root();
    root["timestampAuthorities"][0]["certChain"]["certificates"] = json!(certificates);
    let document = json!({
        "roots": { "test": { "trusted_root": root } },
        "signers": { "ci": { "github": { "repository": "acme/shop" } } },
    });
    let policy = Policy::from_json(document.to_string().as_bytes()).unwrap();
    let later = UnixTime::from_secs(now).saturating_add(Duration::from_secs(60));
    verify_bundle(&bundle.json(), Artifact::Bytes(ARTIFACT), "ci", &policy, later)
}

#[test]
fn the_verifier_takes_openssl_s_timestamps_to_the_microsecond() {
    for (key, digest, imprint) in [
        ("ec -pkeyopt ec_paramgen_curve:P-256", "sha256", "sha256"),
        ("ec -pkeyopt ec_paramgen_curve:P-384", "sha384", "sha384"),
        ("rsa:2048", "sha512", "sha512"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        authority(folder.path(), key, digest);
        // One in a million is at a whole second.
        let fractional = (0..3).any(|_| {
            let reason =
                judge(folder.path(), imprint, None).unwrap_or_else(|reason| panic!("{key}: {reason}"));
            let (_, time) = reason.message.rsplit_once(" at ").unwrap();
            time.contains('.')
        });
        assert!(fractional, "{key}");
        let reason = judge(folder.path(), imprint, Some(b"something else")).unwrap_err();
        assert_eq!(reason.code.as_str(), "TIMESTAMP_INVALID", "{key}: {reason}");
    }
}
