//! `portcullis policy import`: a policy of another verifier as ours, with what cannot be kept.

mod cluster_image_policy;
mod containers;
mod fields;
mod kyverno;
mod patterns;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use portcullis_signature::Policy;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    document,
    output::{self, Answer, Format},
};

/// Turn a policy of another verifier into one of ours, and say what cannot be kept.
///
/// Reads sigstore's ClusterImagePolicy, Kyverno's verifyImages (ClusterPolicy, Policy) and the
/// containers project's policy.json (Podman, CRI-O, OpenShift).
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis policy import cluster-image-policy.yaml > images.json
  kubectl get clusterpolicy verify-images -o yaml | portcullis policy import -
  portcullis policy import /etc/containers/policy.json --format json

The new policy goes to standard output, as JSON (which is YAML too); what could not be kept goes to
standard error. `stricter` says that the new policy refuses something that the old one let run; `weaker`
that it would let run what the old one refused. With something weaker there is no policy, unless
--accept-weaker asks for it. What was unanchored there is anchored here.

Exit codes: 0 everything is kept, 1 something is not, 2 the file cannot be read or is of no known kind.")]
pub(crate) struct Arguments {
    /// The other verifier's policy, YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the policy even where it is weaker than the original
    #[arg(long)]
    accept_weaker: bool,
    /// How the result is written: `json` puts the policy and what is lost in one document
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a loss does to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// Less runs than before.
    Stricter,
    /// More would run than before.
    Weaker,
    /// It has no counterpart and decides nothing.
    Nothing,
}

/// Something that is not in the new policy as it was in the old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Loss {
    path: String,
    effect: Effect,
    reason: String,
}

/// The new policy while it is made.
#[derive(Debug, Default)]
struct Draft {
    roots: Map<String, Value>,
    signers: Map<String, Value>,
    rules: Vec<Value>,
    unmatched_allowed: bool,
    tags_refused: bool,
    losses: Vec<Loss>,
}

impl Draft {
    fn lose(&mut self, path: &str, effect: Effect, reason: impl Into<String>) {
        self.losses.push(Loss { path: path.to_owned(), effect, reason: reason.into() });
    }

    /// Adds a signer and gives its name; one that is there already is used again.
    fn signer(&mut self, wanted: &str, signer: Value) -> String {
        insert(&mut self.signers, wanted, signer)
    }

    fn root(&mut self, wanted: &str, root: Value) -> String {
        insert(&mut self.roots, wanted, root)
    }

    fn document(&self) -> Value {
        let mut roots = self.roots.clone();
        // Naming any root leaves the built-in one out, and signers may stand on it.
        let uses_builtin = |signer: &Value| {
            signer
                .as_object()
                .into_iter()
                .flat_map(Map::values)
                .any(|inner| inner["root"] == json!("sigstore"))
        };
        if self.signers.values().any(uses_builtin) {
            roots.insert("sigstore".into(), json!({ "builtin": "sigstore" }));
        }
        let mut document = json!({ "signers": self.signers, "rules": self.rules });
        if !roots.is_empty() {
            document["roots"] = Value::Object(roots);
        }
        if self.unmatched_allowed {
            document["unmatched"] = json!("allow");
        }
        if self.tags_refused {
            document["tags"] = json!("refuse");
        }
        document
    }
}

fn insert(map: &mut Map<String, Value>, wanted: &str, value: Value) -> String {
    for number in 1_usize.. {
        let name = if number == 1 { wanted.to_owned() } else { format!("{wanted}-{number}") };
        match map.get(&name) {
            Some(existing) if *existing == value => return name,
            Some(_) => {}
            None => {
                map.insert(name.clone(), value);
                return name;
            }
        }
    }
    unreachable!("a map has no end of names")
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let shown = arguments.file.display().to_string();
    let source: Value = document::parse(&document::read(&arguments.file)?).context(shown.clone())?;
    let draft = convert(source).context(shown.clone())?;
    let document = draft.document();
    let checked = serde_json::to_vec(&document).map(|json| Policy::from_json(&json))?;
    checked.with_context(|| format!("{shown}: what it says makes no policy here"))?;
    let weaker = draft.losses.iter().any(|loss| loss.effect == Effect::Weaker);
    let kept = (!weaker || arguments.accept_weaker).then_some(document);
    match arguments.format {
        Format::Json => anstream::println!("{}", json!({ "policy": kept, "losses": draft.losses })),
        Format::Text => print(kept.as_ref(), &draft.losses)?,
    }
    let whole = draft.losses.iter().all(|loss| loss.effect == Effect::Nothing);
    Ok(if whole { Answer::Yes } else { Answer::No })
}

fn print(policy: Option<&Value>, losses: &[Loss]) -> anyhow::Result<()> {
    for Loss { path, effect, reason } in losses {
        let (style, word) = match effect {
            Effect::Stricter => (output::NAME, "stricter:"),
            Effect::Weaker => (output::BAD, "weaker:"),
            Effect::Nothing => (output::QUIET, "not needed:"),
        };
        anstream::eprintln!("{} {path}: {reason}", output::styled(style, word));
    }
    match policy {
        Some(policy) => anstream::println!("{}", serde_json::to_string_pretty(policy)?),
        None => anstream::eprintln!(
            "{} the policy would be weaker than the original; --accept-weaker writes it all the same",
            output::styled(output::BAD, "no policy:")
        ),
    }
    Ok(())
}

/// Finds out what `source` is and converts it.
fn convert(source: Value) -> anyhow::Result<Draft> {
    let text = |name: &str| source[name].as_str().unwrap_or_default().to_owned();
    let (group, kind) = (text("apiVersion"), text("kind"));
    if kind == "ClusterImagePolicy" && group.starts_with("policy.sigstore.dev/") {
        return cluster_image_policy::convert(source);
    }
    if matches!(kind.as_str(), "ClusterPolicy" | "Policy") && group.starts_with("kyverno.io/") {
        return kyverno::convert(source);
    }
    if source.get("default").is_some_and(Value::is_array) {
        return containers::convert(source);
    }
    bail!(
        "neither a ClusterImagePolicy (policy.sigstore.dev), nor a ClusterPolicy or Policy (kyverno.io), nor a \
         policy.json with a `default`{}",
        if kind.is_empty() { String::new() } else { format!(": it is a `{kind}` of `{group}`") }
    )
}
