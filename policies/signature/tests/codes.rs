//! `docs/image-codes.md` is the list of reason codes, written by this test where `PORTCULLIS_UPDATE` is
//! set.

use std::{env, fmt::Write as _, fs, path::Path};

use portcullis_signature::{Class, ReasonCode};

#[test]
fn the_docs_list_every_code() {
    let mut expected = String::from(
        "# Why an image may not run\n\n\
         Every verdict on an image is a tree of reasons, and each reason has one code. The code of the\n\
         first branch that does not hold is the cause: it is in the message that a developer reads, in\n\
         the audit annotation, and in the metric `portcullis.image.denied.<code in lower case>`. A code\n\
         never changes its meaning; new ones may come.\n\n\
         The class says what can be done. `good` holds. `missing`: sign the image, or wait for its\n\
         signature. `invalid`: what is there is broken and stays so. `untrusted`: nobody whom the policy\n\
         trusts stands behind it. `policy`: the policy asks for something else. `transient`: nothing is\n\
         known at the moment, so it is denied, never remembered, and worth another try.\n\n\
         | code | class | meaning |\n|---|---|---|\n",
    );
    for code in ReasonCode::ALL {
        let class = match code.class() {
            Class::Good => "good",
            Class::Missing => "missing",
            Class::Invalid => "invalid",
            Class::Untrusted => "untrusted",
            Class::Policy => "policy",
            Class::Transient => "transient",
        };
        writeln!(expected, "| `{code}` | {class} | {} |", code.meaning()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/image-codes.md");
    if env::var_os("PORTCULLIS_UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/image-codes.md is old; run `PORTCULLIS_UPDATE=1 cargo test -p portcullis-signature --test codes`"
    );
}
