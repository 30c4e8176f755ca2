//! `portcullis policy`: what a signature policy lets in that nobody meant, and policies of other
//! verifiers as ours.

mod import;
mod lint;

use clap::{Args, Subcommand};

use crate::output::Answer;

/// Judge a signature policy, or bring one in from another verifier
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    Lint(lint::Arguments),
    Import(import::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    match &arguments.call {
        Call::Lint(arguments) => lint::run(arguments),
        Call::Import(arguments) => import::run(arguments),
    }
}
