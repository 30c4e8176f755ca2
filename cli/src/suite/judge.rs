//! What a check expects, and where the answer differs.

use std::collections::BTreeMap;

use portcullis_host::Headers;
use serde_json::Value;

use super::{
    document::{Check, Decision, Expect},
    place::{self, Place, Wrong},
};
use crate::stage::Observed;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What differs.
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) got: String,
}

/// What a check expects.
#[derive(Debug)]
pub(super) struct Expected {
    /// Exactly these; `None` where the check says nothing of them.
    codes: Option<Vec<String>>,
    expect: Expect,
}

impl Expected {
    pub(super) fn new(check: &Check) -> Result<Self, Wrong> {
        let expect = check.expect.as_ref().map(|expect| expect.value.clone()).unwrap_or_default();
        let place = check.expect.as_ref().map(place::of).unwrap_or_default();
        let mut codes = None;
        for code in check.expected_failure_codes.iter().flatten() {
            known(&code.value, place::of(code))?;
            codes.get_or_insert_with(Vec::new).push(code.value.clone());
        }
        if let Some(code) = &expect.code {
            known(code, place)?;
        }
        let refusal = expect.decision == Some(Decision::Deny) || expect.code.is_some();
        if expect.decision == Some(Decision::Allow) && expect.code.is_some() {
            return Err(Wrong::new(place, "a request that is allowed has no code"));
        }
        if refusal && check.expected_failure_codes.as_ref().is_some_and(Vec::is_empty) {
            return Err(Wrong::new(place, "`expected_failure_codes: []` is success, `expect` is a refusal"));
        }
        // A check that says nothing of a refusal expects success.
        if codes.is_none() && !refusal && expect.status.is_none_or(|status| status < 400) {
            codes = Some(Vec::new());
        }
        let expect = match &codes {
            Some(codes) if expect.decision.is_none() => {
                let decision = if codes.is_empty() { Decision::Allow } else { Decision::Deny };
                Expect { decision: Some(decision), ..expect }
            }
            _ => expect,
        };
        for (name, value) in expect.upstream_headers.iter().chain(&expect.headers) {
            values(value).map_err(|reason| Wrong::new(place, format!("`{name}`: {reason}")))?;
        }
        Ok(Self { codes, expect })
    }

    /// Where what was seen is not what is expected. `findings` are all codes that the policy
    /// found; `ours` is whether the policy found them all, not only the module's answer.
    pub(super) fn differences(&self, seen: &Observed, findings: &[String]) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut differ = |what: &str, expected: String, got: String| {
            if expected != got {
                all.push(Difference { what: what.into(), expected, got });
            }
        };
        if let Some(trap) = &seen.trap {
            differ("the module", "an answer".into(), trap.clone());
        }
        if let Some(decision) = self.expect.decision {
            let got = if seen.refused { Decision::Deny } else { Decision::Allow };
            differ("decision", decision.to_string(), got.to_string());
        }
        if let Some(codes) = &self.codes {
            let (mut expected, mut got) = (codes.clone(), findings.to_vec());
            for list in [&mut expected, &mut got] {
                list.sort();
                list.dedup();
            }
            differ("failure codes", shown(&expected), shown(&got));
        }
        if let Some(status) = self.expect.status {
            differ("status", status.to_string(), seen.status().to_string());
        }
        if let Some(code) = &self.expect.code {
            differ("code", code.clone(), seen.code().unwrap_or_else(|| "none".into()));
        }
        let nothing = Headers::new();
        let reached = seen.upstream.is_some();
        if !self.expect.upstream_headers.is_empty() && !reached {
            differ("the upstream", "a request".into(), "none".into());
        } else {
            let upstream = seen.upstream.as_ref().unwrap_or(&nothing);
            compare("upstream", &self.expect.upstream_headers, upstream, &mut differ);
        }
        compare("reply", &self.expect.headers, &seen.reply, &mut differ);
        if let Some(body) = &self.expect.body {
            differ("body", body.clone(), String::from_utf8_lossy(&seen.body).into_owned());
        }
        all
    }

    /// The expectation in a few words.
    pub(super) fn summary(&self) -> String {
        match (&self.codes, &self.expect) {
            (Some(codes), _) if !codes.is_empty() => codes.join(", "),
            (_, Expect { code: Some(code), .. }) => code.clone(),
            (_, Expect { status: Some(status), decision, .. }) if *decision != Some(Decision::Allow) => {
                format!("status {status}")
            }
            (_, Expect { decision: Some(decision), .. }) => decision.to_string(),
            _ => "-".into(),
        }
    }
}

fn compare(
    side: &str,
    expected: &BTreeMap<String, Value>,
    headers: &Headers,
    differ: &mut impl FnMut(&str, String, String),
) {
    for (name, value) in expected {
        let expected = values(value).unwrap_or_default();
        let got: Vec<_> = headers
            .all(name.to_ascii_lowercase())
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        differ(&format!("{side} header `{name}`"), shown(&expected), shown(&got));
    }
}

/// Every value of a header: none for `null`.
pub(super) fn values(value: &Value) -> Result<Vec<String>, &'static str> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) => all.iter().map(text).collect::<Option<_>>().ok_or("a header's values are text"),
        one => text(one).map(|text| vec![text]).ok_or("a header's value is text, a list of texts, or `null`"),
    }
}

fn shown(list: &[String]) -> String {
    if list.is_empty() { "none".into() } else { list.join(", ") }
}

fn known(code: &str, place: Place) -> Result<(), Wrong> {
    match code.parse::<portcullis_core::Code>() {
        Ok(_) => Ok(()),
        Err(_) => {
            let letters = |a: &str| {
                a.bytes().zip(code.to_ascii_uppercase().bytes()).take_while(|(a, b)| a == b).count()
            };
            let near = portcullis_core::Code::ALL.iter().max_by_key(|own| letters(own.as_str()));
            let near = near.map(|near| format!("; is it `{near}`?")).unwrap_or_default();
            Err(Wrong::new(place, format!("no code is called `{code}`{near} (docs/codes.md lists them)")))
        }
    }
}
