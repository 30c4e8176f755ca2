//! `portcullis schema`: the JSON Schemas of what people write, for editors and for CI.
//!
//! They are files in `schemas/`, so that editors find them without the command. What reads the
//! documents makes them: the tests hold the files to the types, and the types' judgement to theirs.

#[cfg(test)]
mod examples;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod laws;

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::output::{self, Answer};

/// The schema of one kind of document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    /// What it is about, for a list.
    about: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! schemas {
    ($($name:literal $about:literal)*) => {
        &[$(Schema {
            name: $name,
            about: $about,
            text: include_str!(concat!("../../schemas/", $name, ".schema.json")),
        }),*]
    };
}

/// Every schema. The files' names are [`Schema::file`].
pub(crate) const ALL: &[Schema] = schemas! {
    "jwt-auth" "the plugin's configuration"
    "tenant-guard" "the plugin's configuration"
    "llm-fanout" "the plugin's configuration"
    "image-admission" "the plugin's configuration"
    "image-kubewarden" "the policy's settings"
    "image-policy" "the policy of verify-image, in image-admission and image-kubewarden"
    "serve" "the gateway of portcullis serve"
    "suite" "a test suite of portcullis test"
    "probe" "a plan of portcullis probe"
    "xds-listener" "a listener of portcullis xds"
    "xds-cluster" "a cluster of portcullis xds"
    "tenants" "a directory of tenants as a document"
    "tenants-manifest" "the head of a packed directory"
};

impl Schema {
    pub(crate) fn file(self) -> String {
        format!("{}.schema.json", self.name)
    }
}

/// Prints the JSON Schema of a document, for editors and for CI.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis schema                                    # the names
  portcullis schema jwt-auth > jwt-auth.schema.json
  portcullis schema --out schemas                      # all of them

In an editor with the YAML language server (VS Code's YAML extension, Neovim, Helix, IntelliJ), the
first line of a YAML file names its schema:

  # yaml-language-server: $schema=./jwt-auth.schema.json

JSON has no comments, and an unknown member such as $schema is refused: name the files in the
editor's settings instead, as VS Code's json.schemas does. A schema knows members and types; what
they mean together, `portcullis check` says.")]
pub(crate) struct Arguments {
    /// The plugin or document; the names without one
    #[arg(value_parser = parse_name)]
    name: Option<Schema>,
    /// Write all of them into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    out: Option<PathBuf>,
}

fn parse_name(name: &str) -> Result<Schema, String> {
    let known = || ALL.iter().map(|schema| schema.name).collect::<Vec<_>>().join(", ");
    ALL.iter()
        .find(|schema| schema.name == name)
        .copied()
        .ok_or_else(|| format!("no schema of this name; there is: {}", known()))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    match (&arguments.name, &arguments.out) {
        (Some(schema), _) => anstream::print!("{}", schema.text),
        (None, Some(out)) => {
            fs::create_dir_all(out).with_context(|| format!("make the folder `{}`", out.display()))?;
            for schema in ALL {
                let path = out.join(schema.file());
                fs::write(&path, schema.text).with_context(|| format!("write `{}`", path.display()))?;
                anstream::println!("{}", path.display());
            }
        }
        (None, None) => {
            let rows = ALL.iter().map(|schema| [schema.name.to_owned(), schema.about.to_owned()]);
            anstream::println!("{}\n", output::table(["schema", "of"], rows));
            anstream::println!(
                "portcullis schema NAME prints one; `portcullis schema --help` says how an editor takes it."
            );
        }
    }
    Ok(Answer::Yes)
}
