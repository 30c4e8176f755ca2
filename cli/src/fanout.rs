//! `portcullis fanout`: what a request of several questions gains and costs.

mod estimate;

use clap::{Args, Subcommand};

use crate::output::Answer;

/// Judge a request of several questions before it is sent
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    Estimate(estimate::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    match &arguments.call {
        Call::Estimate(arguments) => estimate::run(arguments),
    }
}
