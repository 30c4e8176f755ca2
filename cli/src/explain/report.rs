//! An examination as people and programs read it. The token's third segment is never looked at.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use portcullis_core::Denial;
use portcullis_jwt::{Examination, Finding, Identity, Outcome, Permit};
use serde_json::{Value, json};

use crate::output::{self, styled};

/// Stands for a value that is not to be shown.
const HIDDEN: &str = "[redacted]";

/// An examination and what is shown with it.
pub(super) struct Report<'e> {
    examination: &'e Examination,
    header: Option<Value>,
    claims: Option<Value>,
    now: i64,
    redact: bool,
    /// Issuers whose keys would have to be fetched.
    missing: &'e [&'e str],
}

impl<'e> Report<'e> {
    pub(super) fn new(
        examination: &'e Examination,
        token: &[u8],
        now: i64,
        redact: bool,
        missing: &'e [&'e str],
    ) -> Self {
        let mut segments = token.split(|byte| *byte == b'.');
        let mut object = || {
            let decoded = BASE64URL.decode(segments.next()?).ok()?;
            serde_json::from_slice::<Value>(&decoded).ok().filter(Value::is_object)
        };
        let header = object();
        let mut claims = object();
        if redact {
            claims.iter_mut().for_each(hide);
        }
        Self { examination, header, claims, now, redact, missing }
    }

    pub(super) fn print(&self) {
        let part = |name: &str, value: &str| {
            anstream::println!("{} {}", styled(output::NAME, format!("{name:<10}")), visible(value));
        };
        let unreadable = || "not readable".to_owned();
        part("header", &self.header.as_ref().map_or_else(unreadable, Value::to_string));
        part("claims", &self.claims.as_ref().map_or_else(unreadable, Value::to_string));
        part("time", &self.time());
        part(
            "rule",
            &self.examination.rule().map_or_else(|| "none".into(), |index| format!("rules[{index}]")),
        );
        anstream::println!();
        self.print_checks();
        anstream::println!();
        for key in self.examination.keys() {
            let kid = key.kid.as_deref().map_or_else(|| "without a kid".into(), |kid| format!("`{kid}`"));
            let thumbprint = BASE64URL.encode(key.thumbprint);
            part(
                "key",
                &format!("{kid} of {}, {}, {} ({thumbprint})", key.issuer, key.key_type, key.algorithm),
            );
        }
        match self.examination.permit() {
            Some(permit) => self.print_permit(permit, &part),
            None => {
                if let Some((_, denial)) = self.examination.first_failure() {
                    let answer = format!("refused: {} {}", denial.status(), denial.code());
                    anstream::println!(
                        "{} {}",
                        styled(output::NAME, "answer    "),
                        styled(output::BAD, answer)
                    );
                    if let Some(challenge) = denial.www_authenticate() {
                        part("challenge", &challenge);
                    }
                }
            }
        }
        for issuer in self.missing {
            part("keys", &format!("none for `{issuer}`: give them with `--jwks {issuer}=FILE|URL`"));
        }
    }

    /// Padded before they are coloured: the width of a colour is nothing.
    fn print_checks(&self) {
        let name = |finding: &Finding| match &finding.issuer {
            Some(issuer) => format!("{} ({issuer})", finding.check),
            None => finding.check.to_string(),
        };
        let findings = self.examination.findings();
        let width = findings.iter().map(|finding| name(finding).chars().count()).max().unwrap_or(0);
        for finding in findings {
            let (style, outcome, detail) = match &finding.outcome {
                Outcome::Passed => (output::GOOD, "passed", finding.check.meaning().to_owned()),
                Outcome::Failed(denial) => (output::BAD, "failed", self.failure(denial)),
                Outcome::NotReached { failed } => {
                    (output::QUIET, "not reached", format!("it needs what `{failed}` would give"))
                }
            };
            let (name, outcome) = (name(finding), styled(style, format!("{outcome:<11}")));
            anstream::println!("{name:<width$}  {outcome}  {}", visible(&detail));
        }
    }

    fn print_permit(&self, permit: &Permit, part: &dyn Fn(&str, &str)) {
        let answer = match permit.reported() {
            None => "passes".to_owned(),
            Some(denial) => format!("passes: the rule only reports what it would refuse ({})", denial.code()),
        };
        anstream::println!("{} {}", styled(output::NAME, "answer    "), styled(output::GOOD, answer));
        for name in permit.remove() {
            part("removed", &String::from_utf8_lossy(name));
        }
        for (name, value) in permit.set() {
            part("set", &format!("{}: {}", String::from_utf8_lossy(name), self.value(value)));
        }
        for identity in permit.identities() {
            part("published", &format!("the claims, as those of `{}`", identity.issuer()));
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let checks = self.examination.findings().iter().map(|finding| {
            let mut entry = json!({ "check": finding.check.as_str() });
            if let Some(issuer) = &finding.issuer {
                entry["issuer"] = json!(issuer);
            }
            match &finding.outcome {
                Outcome::Passed => entry["outcome"] = json!("passed"),
                Outcome::Failed(denial) => {
                    entry["outcome"] = json!("failed");
                    entry["code"] = json!(denial.code().as_str());
                    entry["detail"] = json!(self.detail(denial));
                }
                Outcome::NotReached { failed } => {
                    entry["outcome"] = json!("not_reached");
                    entry["needs"] = json!(failed.as_str());
                }
            }
            entry
        });
        let keys = self.examination.keys().iter().map(|key| {
            json!({
                "issuer": key.issuer, "kid": key.kid, "type": key.key_type.to_string(),
                "algorithm": key.algorithm.to_string(), "thumbprint": BASE64URL.encode(key.thumbprint),
            })
        });
        let permit = self.examination.permit();
        let refusal = self.examination.first_failure().filter(|_| permit.is_none()).map(|(_, denial)| {
            json!({
                "status": denial.status(), "code": denial.code().as_str(),
                "www_authenticate": denial.www_authenticate(),
            })
        });
        let forwarded = permit.map(|permit| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            json!({
                "removed": permit.remove().iter().map(|name| text(name)).collect::<Vec<_>>(),
                "set": permit.set().iter().map(|(name, value)| [text(name), self.value(value)]).collect::<Vec<_>>(),
                "published": permit.identities().iter().map(Identity::issuer).collect::<Vec<_>>(),
            })
        });
        json!({
            "passes": permit.is_some(),
            "reported": permit.and_then(Permit::reported).map(|denial| denial.code().as_str()),
            "time": self.time(),
            "rule": self.examination.rule(),
            "header": self.header,
            "claims": self.claims,
            "checks": checks.collect::<Vec<_>>(),
            "keys": keys.collect::<Vec<_>>(),
            "refusal": refusal,
            "forwarded": forwarded,
            "issuers_without_keys": self.missing,
        })
    }

    fn failure(&self, denial: &Denial) -> String {
        format!("{}: {}", denial.code(), self.detail(denial))
    }

    /// Details hold values of claims, such as `exp`.
    fn detail<'d>(&self, denial: &'d Denial) -> &'d str {
        if self.redact { denial.code().message() } else { denial.detail() }
    }

    fn value(&self, value: &[u8]) -> String {
        if self.redact { HIDDEN.into() } else { String::from_utf8_lossy(value).into_owned() }
    }

    fn time(&self) -> String {
        let since = u64::try_from(self.now).ok().map(std::time::Duration::from_secs);
        let time = since.and_then(|since| std::time::UNIX_EPOCH.checked_add(since));
        // The year 9999 is the last that RFC 3339 writes.
        let written = time.filter(|_| self.now < 253_402_300_800);
        written
            .map_or_else(|| self.now.to_string(), |time| humantime::format_rfc3339_seconds(time).to_string())
    }
}

/// Hides every value and keeps every name.
fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(hide),
        hidden => *hidden = json!(HIDDEN),
    }
}

/// `text` without characters that a terminal obeys or that reorder what is read (CVE-2021-42574).
fn visible(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}
