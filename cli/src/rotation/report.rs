//! The judgement as people and programs read it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::Code;
use portcullis_jwt::rotation::{Finding, KeyId, Rotation, RotationState, Severity, Times};
use serde_json::{Value, json};

use super::{
    sample::{Kind, Sample},
    source::Snapshot,
};
use crate::output;

/// Everything that is known about a change.
pub(super) struct Report<'r> {
    pub(super) old: &'r Snapshot,
    pub(super) new: &'r Snapshot,
    pub(super) times: Times,
    pub(super) rotation: &'r Rotation,
    pub(super) samples: &'r [Sample],
}

impl Report<'_> {
    /// For people: tables with the worst first, and what would be right.
    pub(super) fn print_table(&self) {
        let Rotation { state, findings, .. } = self.rotation;
        let style = if state.is_safe() { output::GOOD } else { output::BAD };
        anstream::println!("rotation_state: {}", output::styled(style, state));
        self.print_keys();
        if !findings.is_empty() {
            let rows = findings.iter().map(|finding| {
                let Finding { code, set, message, .. } = finding;
                [code.severity().as_str().into(), code.to_string(), set.as_str().into(), message.clone()]
            });
            print_rows(&output::table(["severity", "code", "set", "what"], rows));
        }
        if !self.samples.is_empty() {
            let rows = self.samples.iter().map(|sample| self.sample_row(sample));
            print_rows(&output::table(["severity", "sample", "old set", "new set", "what"], rows));
        }
        if *state != RotationState::NoChange {
            let shown = humantime::format_duration;
            let Rotation { publish_before_use, keep_after_use, overlap, .. } = self.rotation;
            anstream::println!(
                "\nright: publish a key {} before it signs, and keep it {} after it signed last: old and new together \
                 for {}",
                shown(*publish_before_use),
                shown(*keep_after_use),
                output::styled(output::NAME, shown(*overlap))
            );
        }
    }

    fn print_keys(&self) {
        let Rotation { stayed, added, removed, .. } = self.rotation;
        let row = |id: &KeyId, change: &str| {
            let algorithm = id.algorithm.map_or_else(|| "-".into(), |algorithm| algorithm.to_string());
            [change.to_owned(), id.to_string(), algorithm, thumbprint(id)]
        };
        let rows = [("stayed", stayed), ("added", added), ("removed", removed)];
        let rows = rows.into_iter().flat_map(|(change, ids)| ids.iter().map(move |id| row(id, change)));
        for (name, snapshot) in [("old", self.old), ("new", self.new)] {
            let (keys, left_out) = (snapshot.set.keys().len(), snapshot.set.left_out().len());
            anstream::println!("{name}: {}: {keys} usable, {left_out} left out", snapshot.shown);
        }
        print_rows(&output::table(["", "key", "alg", "thumbprint"], rows));
    }

    fn sample_row(&self, sample: &Sample) -> [String; 5] {
        let meaning = sample.meaning(self.times);
        let outcome = |outcome: &Result<KeyId, Code>| match outcome {
            Ok(key) => key.to_string(),
            Err(code) => code.to_string(),
        };
        [
            meaning.severity.as_str().into(),
            sample.kind.flag().into(),
            outcome(&sample.old),
            outcome(&sample.new),
            meaning.message,
        ]
    }

    /// For programs. Durations are in seconds, rounded up; members are added, never renamed.
    pub(super) fn to_json(&self) -> Value {
        let Self { old, new, times, rotation, samples } = self;
        let keys = |ids: &[KeyId]| ids.iter().map(key).collect::<Vec<_>>();
        json!({
            "rotation_state": rotation.state.as_str(),
            "safe": rotation.state.is_safe(),
            "old": snapshot(old),
            "new": snapshot(new),
            "max_token_ttl_seconds": seconds(times.max_token_ttl),
            "cache_ttl_seconds": seconds(times.cache_ttl),
            "publish_before_use_seconds": seconds(rotation.publish_before_use),
            "keep_after_use_seconds": seconds(rotation.keep_after_use),
            "overlap_seconds": seconds(rotation.overlap),
            "stayed": keys(&rotation.stayed),
            "added": keys(&rotation.added),
            "removed": keys(&rotation.removed),
            "findings": rotation.findings.iter().map(finding).collect::<Vec<_>>(),
            "samples": samples.iter().map(|sample| self.sample(sample)).collect::<Vec<_>>(),
        })
    }

    fn sample(&self, sample: &Sample) -> Value {
        let meaning = sample.meaning(self.times);
        let outcome = |outcome: &Result<KeyId, Code>| match outcome {
            Ok(id) => json!({ "verified": true, "key": key(id) }),
            Err(code) => json!({ "verified": false, "code": code.to_string() }),
        };
        let name = match sample.kind {
            Kind::Any => "token",
            Kind::Old => "old_token",
            Kind::New => "new_token",
        };
        json!({
            "sample": name,
            "old": outcome(&sample.old),
            "new": outcome(&sample.new),
            "as_promised": sample.keeps_its_promise().is_ok(),
            "severity": meaning.severity.as_str(),
            "message": meaning.message,
            "refused_for_seconds": meaning.refused_for.map(seconds),
        })
    }
}

fn snapshot(snapshot: &Snapshot) -> Value {
    let Snapshot { shown, set } = snapshot;
    json!({ "source": shown, "usable": set.keys().len(), "left_out": set.left_out().len() })
}

fn key(id: &KeyId) -> Value {
    let algorithm = id.algorithm.map(|algorithm| algorithm.to_string());
    json!({ "kid": id.kid, "alg": algorithm, "thumbprint": thumbprint(id) })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "code": finding.code.as_str(),
        "severity": finding.code.severity().as_str(),
        "set": finding.set.as_str(),
        "kid": finding.kid,
        "message": finding.message,
        "refused_for_seconds": finding.refused_for.map(seconds),
    })
}

/// As RFC 7638 section 3.1 writes it.
fn thumbprint(id: &KeyId) -> String {
    URL_SAFE_NO_PAD.encode(id.thumbprint)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// A table below an empty line; rows that begin with a severity are in its style.
fn print_rows(table: &str) {
    anstream::println!();
    for (at, line) in table.lines().enumerate() {
        let style = match line.split_whitespace().next() {
            _ if at == 0 => output::QUIET,
            Some(first) if first == Severity::Error.as_str() => output::BAD,
            Some(first) if first == Severity::Warning.as_str() => output::NAME,
            _ => {
                anstream::println!("{line}");
                continue;
            }
        };
        anstream::println!("{}", output::styled(style, line));
    }
}
