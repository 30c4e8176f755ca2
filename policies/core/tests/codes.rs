//! `docs/codes.md` is the list of codes, written by this test where `PORTCULLIS_UPDATE` is set.

use std::{env, fmt::Write as _, fs, path::Path};

use portcullis_core::Code;

#[test]
fn the_docs_list_every_code() {
    let mut expected = String::from(
        "# Codes\n\n\
         Every refusal has one code. It is in the reply's body, in the metrics\n\
         `portcullis.jwt.denied.<code in lower case>`, `portcullis.tenant.denied.<code in lower case>` and\n\
         `portcullis.fanout.refused.<code in lower case>`\n\
         (`portcullis.jwt.reported.…` under a rule that only reports), in the response code details of\n\
         access logs (`portcullis_<code in lower case>`), and in the tests. A code never changes its\n\
         meaning; new ones may come. The order is that of the checks.\n\n\
         | code | status | meaning |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        writeln!(expected, "| `{code}` | {} | {} |", code.status(), code.meaning()).unwrap();
    }
    expected.push_str(
        "\nThe body is `{\"code\": …, \"message\": …}`; the message says no more than the code. 400, 401 and\n\
         403 about a token come with `WWW-Authenticate: Bearer` (RFC 6750 section 3), a request without a\n\
         token with the bare challenge. The challenge names the rule's scopes, except where a claim is what\n\
         is wrong. 503 comes with `Retry-After` where a time is known.\n",
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/codes.md");
    if env::var_os("PORTCULLIS_UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/codes.md is old; run `PORTCULLIS_UPDATE=1 cargo test -p portcullis-core`"
    );
}
