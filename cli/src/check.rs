//! `portcullis check`: would a proxy take this configuration?

mod chain;

use std::path::{Path, PathBuf};

use anyhow::bail;
use chain::JwtAuth;
use clap::Args;
use portcullis_host::{Engine, HostError, LogLevel, Module, Plugin, Process, Worker};
use serde_json::{Value, json};

use crate::{
    output::{self, Answer, Format},
    source::{Refused, Source},
    stage,
};

/// Would a proxy take this plugin configuration?
///
/// Starts the very module that runs in production in the embedded host and gives it the
/// configuration. Nothing is fetched.
///
/// FILE may also be a document with configurations in it: one of Envoy, a `WasmPlugin` of Istio or an
/// `EnvoyExtensionPolicy` of Envoy Gateway. Then every configuration in it for PLUGIN is checked, and
/// without PLUGIN for any plugin of the bundle. There is a warning where tenant-guard waits for what
/// jwt-auth before it does not prove.
#[derive(Args, Debug)]
#[command(
    override_usage = "portcullis check [PLUGIN] <FILE> [--format <FORMAT>]",
    after_long_help = "\
Examples:
  portcullis check jwt-auth jwt-auth.json
  portcullis check jwt-auth jwt-auth.yaml --format json
  portcullis check envoy.yaml
  kubectl get wasmplugin jwt-auth -o json | portcullis check -

What is refused is shown with its line; in JSON it has `path`, `line` and `column`.

Exit codes: 0 all are accepted, 2 one is refused or cannot be read."
)]
pub(crate) struct Arguments {
    /// The plugin's name, such as jwt-auth, and the configuration, JSON or YAML; `-` reads standard
    /// input
    #[arg(num_args = 1..=2, required = true, value_names = ["PLUGIN", "FILE"])]
    plugin_and_file: Vec<String>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What became of one configuration.
struct Checked {
    plugin: &'static str,
    /// Where it begins, inside another document.
    line: Option<usize>,
    refused: Option<Refused>,
    warnings: Vec<String>,
}

/// A plugin of the bundle by its name.
fn plugin_of(name: &str) -> anyhow::Result<portcullis_modules::Module> {
    match portcullis_modules::by_name(name) {
        Some(module) => Ok(module),
        None => {
            let known: Vec<_> = portcullis_modules::ALL.iter().map(|module| module.name).collect();
            bail!("no plugin is called `{name}`; there is: {}", known.join(", "))
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let (plugin, file) = match arguments.plugin_and_file.as_slice() {
        [file] => (None, PathBuf::from(file)),
        [plugin, file] => (Some(plugin_of(plugin)?), PathBuf::from(file)),
        _ => bail!("a plugin's name and a file"),
    };
    let source = Source::read(&file)?;
    let (all, embedded) = checked(plugin, &file, &source)?;
    match arguments.format {
        Format::Text => print(&source, all, embedded),
        Format::Json => {
            let accepted = all.iter().all(|checked| checked.refused.is_none());
            let mut reports = all.iter().map(|checked| checked.report(source.name()));
            let document = if embedded {
                json!({"file": source.name(), "accepted": accepted, "configurations": reports.collect::<Vec<_>>()})
            } else {
                reports.next().unwrap_or_default()
            };
            anstream::println!("{document}");
            if !accepted {
                std::process::exit(2);
            }
            Ok(Answer::Yes)
        }
    }
}

/// Every configuration in `source`, and whether it is a document around them.
fn checked(
    plugin: Option<portcullis_modules::Module>,
    file: &Path,
    source: &Source,
) -> anyhow::Result<(Vec<Checked>, bool)> {
    let Some(found) = source.embedded()? else {
        let Some(plugin) = plugin else {
            bail!("`{}` is no document of a proxy; name the plugin that it is for", file.display())
        };
        return Ok((vec![one(plugin, source, &source.json()?, None)?], false));
    };
    let mut all = Vec::new();
    // Filters stand in the order in which requests come to them.
    let mut before: Option<JwtAuth> = None;
    for embedded in found {
        let (name, line, source) = (embedded.plugin.name, embedded.line, embedded.source);
        let configuration = source.json();
        if name == "jwt-auth" {
            before = configuration.as_ref().ok().and_then(|own| JwtAuth::read(own, line));
        }
        if plugin.is_none_or(|plugin| plugin.name == name) {
            let configuration = configuration?;
            let mut checked = one(embedded.plugin, &source, &configuration, Some(line))?;
            if name == "tenant-guard" {
                checked.warnings.extend(before.iter().flat_map(|before| before.warnings(&configuration)));
            }
            all.push(checked);
        }
    }
    if all.is_empty() {
        let of = plugin.map_or("a plugin of the bundle", |plugin| plugin.name);
        bail!("`{}` has no configuration for {of}", file.display());
    }
    Ok((all, true))
}

/// The `configuration` of `plugin` that stands in `source`.
fn one(
    plugin: portcullis_modules::Module,
    source: &Source,
    configuration: &[u8],
    line: Option<usize>,
) -> anyhow::Result<Checked> {
    let (refusal, warnings) = configure(plugin.name, plugin.wasm, configuration)?;
    let refused = refusal.map(|reason| source.refused(&reason));
    Ok(Checked { plugin: plugin.name, line, refused, warnings })
}

/// All of them; the first one that is refused is the error, after those that are not.
fn print(source: &Source, all: Vec<Checked>, embedded: bool) -> anyhow::Result<Answer> {
    let shown = source.name();
    let mut refused = Vec::new();
    for checked in all {
        let at = checked.line.filter(|_| embedded).map(|line| format!(":{line}")).unwrap_or_default();
        for warning in &checked.warnings {
            anstream::println!("{} {warning}", output::styled(output::NAME, "warning:"));
        }
        match checked.refused {
            None => {
                let plugin = checked.plugin;
                anstream::println!(
                    "{} {shown}{at}: {plugin} accepts it",
                    output::styled(output::GOOD, "ok:")
                );
            }
            Some(error) => refused.push(anyhow::Error::from(error)),
        }
    }
    let Some(last) = refused.pop() else { return Ok(Answer::Yes) };
    refused.iter().for_each(output::error);
    Err(last)
}

impl Checked {
    fn report(&self, file: &str) -> Value {
        let mut report = json!({
            "plugin": self.plugin, "file": file, "accepted": self.refused.is_none(),
            "reason": null, "path": null, "line": self.line, "column": null, "warnings": self.warnings,
        });
        if let (Some(refused), Some(report)) = (&self.refused, report.as_object_mut()) {
            report.extend(refused.report());
        }
        report
    }
}

/// Why the module `wasm` refuses this configuration, if it does.
///
/// # Errors
///
/// It is no module, or it fails otherwise.
pub(crate) fn refusal(name: &str, wasm: &[u8], configuration: &[u8]) -> anyhow::Result<Option<String>> {
    Ok(configure(name, wasm, configuration)?.0)
}

/// Why the plugin refused, if it did, and what it had to say.
fn configure(name: &str, wasm: &[u8], configuration: &[u8]) -> anyhow::Result<(Option<String>, Vec<String>)> {
    let engine = Engine::new()?;
    let module = Module::compile(&engine, wasm)?;
    let process = Process::builder().log_level(LogLevel::Warn).build();
    let started = Worker::new(&process).add(&module, Plugin::new(name).configuration(configuration));
    match started {
        Ok(_) => Ok((None, process.log().into_iter().map(|line| line.text).collect())),
        Err(HostError::Refused { log }) => Ok((Some(stage::refusal(&log)), Vec::new())),
        Err(error) => Err(error.into()),
    }
}
