//! The verifiers of `docs/verifiers`, each run by its language against the vectors that the policy
//! makes (`policies/tenant/tests/context.rs`).
//!
//! A language that is not installed is named in the output; with `PORTCULLIS_VERIFIERS=all` it is a
//! failure.

use std::{
    path::Path,
    process::{Command, Output},
};

/// The language's command before the file, and the package that has it in Debian.
const LANGUAGES: [(&str, &[&str], &str, &str); 6] = [
    ("Python", &["python3"], "verify.py", "python3"),
    ("Node", &["node"], "verify.mjs", "nodejs"),
    ("Java", &["java"], "Verify.java", "default-jdk-headless"),
    ("Go", &["go", "run"], "verify.go", "golang-go"),
    ("PHP", &["php"], "verify.php", "php-cli"),
    ("Ruby", &["ruby"], "verify.rb", "ruby"),
];

fn run(command: &[&str], file: &str, vectors: &Path) -> Option<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verifiers");
    let (program, arguments) = command.split_first()?;
    Command::new(program).args(arguments).arg(file).arg(vectors).current_dir(folder).output().ok()
}

#[test]
fn every_language_says_what_the_policy_says() {
    let must = std::env::var("PORTCULLIS_VERIFIERS").is_ok_and(|which| which == "all");
    let mut ran = 0;
    for (language, command, file, package) in LANGUAGES {
        let Some(output) = run(command, file, Path::new("vectors.tsv")) else {
            assert!(!must, "{language} is not installed: apt-get install {package}");
            eprintln!("did not run: the verifier in {language} (apt-get install {package})");
            continue;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{language}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.lines().last(), Some("25 of 25 agree"), "{language}");
        ran += 1;
    }
    assert!(ran > 0 || !must);
}

#[test]
fn a_verifier_that_disagrees_is_found_out() {
    // The expectations of two cases the other way round: what should be refused, and what should not.
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verifiers/vectors.tsv");
    let text = std::fs::read_to_string(vectors).unwrap();
    let text = text.replace("case\texpired\trefused", "case\texpired\ta|b|c");
    let text = text.replace("case\tits last second\torg", "case\tits last second\txorg");
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("vectors.tsv");
    std::fs::write(&changed, text).unwrap();
    for (language, command, file, _) in LANGUAGES {
        let Some(output) = run(command, file, &changed) else { continue };
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{language}: {said}");
        assert_eq!(said.lines().last(), Some("23 of 25 agree"), "{language}");
    }
}
