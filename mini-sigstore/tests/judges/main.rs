//! What the minter makes is judged by verifiers that it shares no code with: sigstore-js and
//! sigstore-python accept the good signatures and refuse each forgery.
//!
//! They are installed from npm and PyPI into the target folder at the first run.

mod cases;
mod install;

use std::collections::BTreeMap;

use cases::{Case, all, document};

/// A judge's answers: why it refuses each case, if it does.
type Answers = BTreeMap<String, Option<String>>;

/// The judge says of every case that it judges what the case says of itself.
fn compare(judge: &str, answers: &Answers, reads: impl Fn(&Case) -> bool) {
    let cases = all();
    assert_eq!(answers.len(), cases.len(), "{judge} did not answer for each case");
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| reads(case)) {
        let refusal = &answers[&case.name];
        if refusal.is_none() != case.good {
            wrong.push(format!("{}: expected {}, got {refusal:?}", case.name, case.good));
        }
    }
    assert!(wrong.is_empty(), "{judge} disagrees:\n{}", wrong.join("\n"));
}

#[test]
fn sigstore_js_accepts_what_is_good_and_refuses_every_forgery() {
    let answers = install::javascript().judge(&document(&all()));
    // It takes no fraction of a second in a timestamp (which all forged tokens have), and looks
    // neither at what a certificate is for nor at the key in a log entry.
    let unseen = ["fraction(", "with the timestamp", "NotForCodeSigning", "OtherKeyInLog"];
    compare("sigstore-js", &answers, |case| !unseen.iter().any(|word| case.name.contains(word)));
}

#[test]
fn sigstore_python_accepts_what_is_good_and_refuses_every_forgery() {
    let answers = install::python().judge(&document(&all()));
    // It has neither managed keys nor Rekor v1's `intoto` entries, and of what a timestamp token
    // must be it looks at less than RFC 3161 and RFC 5652 ask for.
    let unread = [
        "managed",
        "intoto",
        "NoSignedAttributes",
        "NoContentType",
        "OtherContentType",
        "TwoDigests",
        "TwoValues",
        "TwoSigners",
        "timestamp Version",
        "CriticalExtension",
    ];
    compare("sigstore-python", &answers, |case| !unread.iter().any(|word| case.name.contains(word)));
}
