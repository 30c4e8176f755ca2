//! The `portcullis` command: one binary that is the whole bundle.
//!
//! Each call is a module with its arguments and a `run`. This file reads the command line and
//! turns results into exit codes.

mod attack;
mod bundle;
mod check;
mod demo;
mod document;
mod explain;
mod fanout;
mod gateway;
mod init;
mod learn;
mod output;
mod policy;
mod probe;
mod registry;
mod rotation;
mod schema;
mod serve;
mod source;
mod stage;
mod stamp;
mod staple;
mod suite;
mod tenants;
mod tls;
mod token;
mod verify_image;
mod xds;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Answer;

/// Policy plugins for Envoy and Istio, and everything that is needed to try, check and ship them.
///
/// Without a call it runs the demo: an issuer, an upstream and a gateway with jwt-auth on
/// loopback, and curl lines with live tokens.
///
/// Exit codes: 0 it is so, 1 it is not, 2 it could not be found out (a wrong argument, a file that
/// cannot be read, a configuration that is refused).
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, styles = output::HELP_STYLES)]
struct Cli {
    #[command(subcommand)]
    call: Option<Call>,
}

#[derive(Debug, Subcommand)]
enum Call {
    Init(init::Arguments),
    Demo(demo::Arguments),
    Serve(serve::Arguments),
    Check(check::Arguments),
    Bundle(bundle::Arguments),
    Rotation(rotation::Arguments),
    Test(suite::Arguments),
    VerifyImage(verify_image::Arguments),
    Staple(staple::Arguments),
    Policy(policy::Arguments),
    Tenants(tenants::Arguments),
    Learn(learn::Arguments),
    Explain(explain::Arguments),
    Attack(attack::Arguments),
    Probe(probe::Arguments),
    Fanout(fanout::Arguments),
    Xds(xds::Arguments),
    Schema(schema::Arguments),
}

fn main() -> ExitCode {
    let call = Cli::parse().call.unwrap_or_else(|| Call::Demo(demo::Arguments::default()));
    let result = match &call {
        Call::Init(arguments) => init::run(arguments),
        Call::Demo(arguments) => demo::run(arguments),
        Call::Serve(arguments) => serve::run(arguments),
        Call::Check(arguments) => check::run(arguments),
        Call::Bundle(arguments) => bundle::run(arguments),
        Call::Rotation(arguments) => rotation::run(arguments),
        Call::Test(arguments) => suite::run(arguments),
        Call::VerifyImage(arguments) => verify_image::run(arguments),
        Call::Staple(arguments) => staple::run(arguments),
        Call::Policy(arguments) => policy::run(arguments),
        Call::Tenants(arguments) => tenants::run(arguments),
        Call::Learn(arguments) => learn::run(arguments),
        Call::Explain(arguments) => explain::run(arguments),
        Call::Attack(arguments) => attack::run(arguments),
        Call::Probe(arguments) => probe::run(arguments),
        Call::Fanout(arguments) => fanout::run(arguments),
        Call::Xds(arguments) => xds::run(arguments),
        Call::Schema(arguments) => schema::run(arguments),
    };
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
