//! `portcullis check`: would a proxy take this configuration?

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use portcullis_host::{Engine, HostError, LogLevel, Module, Plugin, Process, Worker};
use serde_json::json;

use crate::{
    document,
    output::{self, Answer, Format},
    stage,
};

/// Would a proxy take this plugin configuration?
///
/// Starts the very module that runs in production in the embedded host and gives it the
/// configuration. Nothing is fetched.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis check jwt-auth jwt-auth.json
  kubectl get wasmplugin jwt-auth -o json | jq .spec.pluginConfig | portcullis check jwt-auth -
  portcullis check jwt-auth jwt-auth.yaml --format json
  portcullis check tenant-guard tenant-guard.json

Exit codes: 0 it is accepted, 2 it is refused or cannot be read.")]
pub(crate) struct Arguments {
    /// The plugin's name, such as jwt-auth
    #[arg(value_parser = parse_plugin)]
    plugin: portcullis_modules::Module,
    /// The configuration, JSON or YAML; `-` reads standard input
    file: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A plugin of the bundle by its name.
fn parse_plugin(name: &str) -> Result<portcullis_modules::Module, String> {
    portcullis_modules::by_name(name).ok_or_else(|| {
        let known: Vec<_> = portcullis_modules::ALL.iter().map(|module| module.name).collect();
        format!("no plugin of this name; there is: {}", known.join(", "))
    })
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let Arguments { plugin, file, format } = arguments;
    let shown = file.display().to_string();
    let configuration = document::plugin_configuration(document::read(file)?).context(shown.clone())?;
    let (refusal, lines) = configure(plugin.name, plugin.wasm, &configuration)?;
    match format {
        Format::Text => match &refusal {
            None => {
                for line in &lines {
                    anstream::println!("{} {line}", output::styled(output::NAME, "warning:"));
                }
                anstream::println!(
                    "{} {shown}: {} accepts it",
                    output::styled(output::GOOD, "ok:"),
                    plugin.name
                );
            }
            Some(reason) => anyhow::bail!("{shown}: {reason}"),
        },
        Format::Json => {
            let document = json!({
                "plugin": plugin.name, "file": shown, "accepted": refusal.is_none(),
                "reason": refusal, "warnings": if refusal.is_none() { lines } else { Vec::new() },
            });
            anstream::println!("{document}");
            if refusal.is_some() {
                std::process::exit(2);
            }
        }
    }
    Ok(Answer::Yes)
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
