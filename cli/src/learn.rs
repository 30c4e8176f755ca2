//! `portcullis learn`: from what a shadow run wrote down to a policy that could be enforced.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::output::{self, Answer, Format};

/// What would tenant-guard have refused, and which policy fits what it saw?
///
/// Reads the log of a proxy whose tenant-guard runs with `"audit": {"mode": "shadow"}`. Prints where
/// sources named different tenants, which callers were no members, and which paths no route was for;
/// then routes to start with. A person has to read them: a request that should not be possible is
/// in the log like any other.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kubectl logs deploy/gateway | portcullis learn -
  portcullis learn envoy.log --format json

Exit codes: 0 nothing would have been refused, 1 something would, 2 there is nothing to learn from.")]
pub(crate) struct Arguments {
    /// The log; `-` reads standard input
    file: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What tenant-guard writes; members that are not used here are left out.
#[derive(Deserialize)]
struct Event {
    event: String,
    code: Option<String>,
    reason: Option<String>,
    class: Option<String>,
    issuer: Option<String>,
    active: Option<String>,
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    named: Vec<(String, String)>,
}

/// Far more than one API has; what comes beyond is counted and not listed.
const MAX_PATHS: usize = 2000;

#[derive(Default)]
struct Report {
    events: u64,
    passed: u64,
    unreadable: u64,
    refusals: BTreeMap<(String, String), u64>,
    /// Pairs of sources that named different tenants.
    disagreements: BTreeMap<(String, String), u64>,
    paths: BTreeMap<String, Seen>,
    beyond: u64,
}

/// What was seen of requests to one kind of path.
#[derive(Default)]
struct Seen {
    methods: BTreeSet<String>,
    requests: u64,
    refused: u64,
    with_tenant: u64,
    with_caller: u64,
    sources: BTreeSet<String>,
    classes: BTreeSet<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let Arguments { file, format } = arguments;
    let shown = file.display();
    let mut report = Report::default();
    let reader: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("read `{shown}`"))?)
    };
    for line in BufReader::new(reader).split(b'\n') {
        report.line(&line.with_context(|| format!("read `{shown}`"))?);
    }
    if report.events == 0 {
        bail!("`{shown}` has no audit events; run tenant-guard with \"audit\": {{\"mode\": \"shadow\"}}");
    }
    match format {
        Format::Text => report.print(),
        Format::Json => anstream::println!("{}", report.json()),
    }
    Ok(if report.refusals.is_empty() { Answer::Yes } else { Answer::No })
}

impl Report {
    fn line(&mut self, line: &[u8]) {
        const MARK: &[u8] = b"portcullis_audit {";
        let Some(at) = line.windows(MARK.len()).position(|window| window == MARK) else { return };
        let text = &line[at + MARK.len() - 1..];
        // Envoy's log may have words after the line.
        let event = serde_json::Deserializer::from_slice(text).into_iter::<Event>().next();
        match event {
            Some(Ok(event)) => self.take(&event),
            _ => self.unreadable += 1,
        }
    }

    fn take(&mut self, event: &Event) {
        self.events += 1;
        let refused = matches!(event.event.as_str(), "would_refuse" | "refused");
        if refused {
            let word = |text: &Option<String>| text.clone().unwrap_or_default();
            *self.refusals.entry((word(&event.code), word(&event.reason))).or_default() += 1;
        } else {
            self.passed += 1;
        }
        let mut named: Vec<(&str, &str)> =
            event.named.iter().map(|(source, tenant)| (source.as_str(), tenant.as_str())).collect();
        named.extend(event.active.as_deref().map(|active| ("(proof)", active)));
        for (at, (one, tenant)) in named.iter().enumerate() {
            for (other, another) in named.iter().skip(at + 1) {
                if tenant != another {
                    *self.disagreements.entry(((*one).into(), (*other).into())).or_default() += 1;
                }
            }
        }
        let Some(path) = &event.path else { return };
        let kind = kind(path);
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&kind) {
            self.beyond += 1;
            return;
        }
        let seen = self.paths.entry(kind).or_default();
        seen.requests += 1;
        seen.refused += u64::from(refused);
        seen.with_tenant += u64::from(!event.named.is_empty() || event.active.is_some());
        seen.with_caller += u64::from(event.issuer.is_some());
        seen.methods.extend(event.method.clone());
        seen.sources.extend(event.named.iter().map(|(source, _)| source.clone()));
        seen.classes.extend(event.class.clone());
    }

    /// A route for each kind of path that would have been refused or had none.
    fn routes(&self) -> Vec<serde_json::Value> {
        let route = |(path, seen): (&String, &Seen)| {
            let matches = if path.contains('{') { json!({"template": path}) } else { json!({"exact": path}) };
            json!({"methods": seen.methods, "path": matches, "class": seen.class()})
        };
        self.paths.iter().map(route).collect()
    }

    fn json(&self) -> serde_json::Value {
        let refusals = self
            .refusals
            .iter()
            .map(|((code, reason), count)| json!({"code": code, "reason": reason, "requests": count}));
        let disagreements = self
            .disagreements
            .iter()
            .map(|((one, other), count)| json!({"sources": [one, other], "requests": count}));
        json!({
            "events": self.events, "passed": self.passed, "unreadable": self.unreadable,
            "refusals": refusals.collect::<Vec<_>>(), "disagreements": disagreements.collect::<Vec<_>>(),
            "paths_not_listed": self.beyond, "policy": {"routes": self.routes()},
        })
    }

    fn print(&self) {
        let Self { events, passed, unreadable, .. } = self;
        anstream::println!(
            "{events} decisions, {} of them refusals; {unreadable} lines could not be read\n",
            events - passed
        );
        if !self.refusals.is_empty() {
            let rows = self
                .refusals
                .iter()
                .map(|((code, reason), count)| [count.to_string(), code.clone(), reason.clone()]);
            anstream::println!("{}\n", output::table(["requests", "code", "reason"], rows));
        }
        if !self.disagreements.is_empty() {
            let rows = self
                .disagreements
                .iter()
                .map(|((one, other), count)| [count.to_string(), one.clone(), other.clone()]);
            anstream::println!("{}\n", output::table(["requests", "one names", "another than"], rows));
        }
        let doubtful = self.paths.iter().filter(|(_, seen)| seen.refused > 0);
        let rows: Vec<_> = doubtful
            .map(|(path, seen)| {
                [seen.refused.to_string(), seen.requests.to_string(), path.clone(), seen.why().to_string()]
            })
            .collect();
        if !rows.is_empty() {
            anstream::println!(
                "{}\n",
                output::table(["refused", "of", "path", "why it is worth a look"], rows)
            );
        }
        if self.beyond > 0 {
            anstream::println!("{} requests to further paths are not listed\n", self.beyond);
        }
        anstream::println!("{}", output::styled(output::NAME, "routes to start with:"));
        anstream::println!("{{\n  \"routes\": [");
        let routes = self.routes();
        let last = routes.len().saturating_sub(1);
        for (at, route) in routes.iter().enumerate() {
            anstream::println!("    {route}{}", if at == last { "" } else { "," });
        }
        anstream::println!("  ]\n}}");
    }
}

impl Seen {
    /// The strictest class under which what was seen would not be refused for its class.
    fn class(&self) -> &'static str {
        match (self.with_tenant, self.with_caller) {
            (0, 0) => "public",
            (0, _) => "central",
            (tenant, _) if tenant == self.requests => "tenant",
            _ => "universal",
        }
    }

    fn why(&self) -> &'static str {
        match (self.classes.is_empty(), self.with_caller, self.with_tenant) {
            (true, ..) => "no route is for it",
            (_, 0, _) => "nobody is proven to call",
            (.., 0) => "nothing names a tenant",
            _ => "sources disagree, or the caller is no member",
        }
    }
}

/// A path with what looks like somebody's own (numbers, ids, tokens) left open: `/t/{1}/orders/{2}`.
fn kind(path: &str) -> String {
    let mut variables = 0;
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| {
            let digits = segment.bytes().filter(u8::is_ascii_digit).count();
            let named = digits > 0 && segment.contains('_');
            let own =
                digits * 2 > segment.len() || named || segment.len() > 24 || segment.contains(['%', '@']);
            if segment.is_empty() || !own {
                return segment.to_owned();
            }
            variables += 1;
            format!("{{v{variables}}}")
        })
        .collect();
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_somebodys_own_is_left_open() {
        for (path, expected) in [
            ("/", "/"),
            ("/orders/7", "/orders/{v1}"),
            ("/t/org_12/orders/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/t/{v1}/orders/{v2}"),
            ("/v1/users", "/v1/users"),
            ("/reports/monthly", "/reports/monthly"),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }
}
