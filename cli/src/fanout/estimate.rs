//! `portcullis fanout estimate`: one request for all questions, or one for each?

use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use portcullis_fanout::{Asked, Estimate, Latency, Plan, Policy, Settings, tokens_of};
use serde_json::json;

use crate::{
    document,
    output::{self, Answer, Format},
    source::Source,
};

/// One request for all questions, or one for each?
///
/// Reads a chat request with `x_fanout` as llm-fanout reads it, and says what splitting it saves in
/// time and costs in tokens, if every answer is as long as it may be (`max_tokens`).
///
/// A model takes `fixed + per_input × tokens of the prompt + per_output × tokens of the answer`
/// seconds. The presets are published fits of 2024: for the shape, not for today's figures. Tokens of
/// the prompt are counted as four bytes each.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis fanout estimate request.json --preset gpt-4o
  portcullis fanout estimate request.json --fixed 0.3 --per-input 0.00002 --per-output 0.008
  portcullis fanout estimate request.json --config llm-fanout.json --format json
  echo '{\"max_tokens\": 200, \"x_fanout\": {\"questions\": [\"One?\", \"Two?\"]}}' | portcullis fanout estimate -

Exit codes: 0 splitting is faster by what `--gain` asks for, 1 it is not, 2 the request or the
configuration is refused or cannot be read.")]
pub(crate) struct Arguments {
    /// The request's body, JSON; `-` reads standard input
    request: PathBuf,
    /// The configuration of llm-fanout, for its limits and its latency
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A published latency: gpt-4o or claude-3.5-sonnet
    #[arg(long, value_parser = parse_preset, conflicts_with_all = ["fixed", "per_input", "per_output"])]
    preset: Option<Preset>,
    /// Seconds that any request takes
    #[arg(long, value_name = "SECONDS", requires_all = ["per_input", "per_output"])]
    fixed: Option<f64>,
    /// Seconds for each token of the prompt
    #[arg(long, value_name = "SECONDS", requires = "fixed")]
    per_input: Option<f64>,
    /// Seconds for each token of the answer
    #[arg(long, value_name = "SECONDS", requires = "fixed")]
    per_output: Option<f64>,
    /// How many times faster splitting has to be
    #[arg(long, value_name = "TIMES", default_value_t = 1.5)]
    gain: f64,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug)]
struct Preset(Latency);

fn parse_preset(name: &str) -> Result<Preset, String> {
    Latency::preset(name).map(Preset).ok_or_else(|| {
        let known: Vec<_> = Latency::PRESETS.iter().map(|(name, _)| *name).collect();
        format!("no preset of this name; there is: {}", known.join(", "))
    })
}

impl Arguments {
    fn policy(&self) -> anyhow::Result<Policy> {
        let environment = |name: &str| std::env::var(name).ok();
        let Some(path) = &self.config else {
            // Nothing is sent: what is refused here is only what no configuration would take.
            let most = json!({
                "provider": {"cluster": "-", "authority": "-"},
                "isolation": {"key": {"value": "A".repeat(44)}},
                "limits": {"questions": 256, "parallel": 256, "question_tokens": 10_000_000, "tokens": 100_000_000,
                           "default_tokens": 1024, "request_bytes": 16_777_216, "upstream_bytes": 268_435_456},
                "streaming": "at_end",
            });
            return Ok(Policy::from_json(most.to_string().as_bytes(), &environment)?);
        };
        let source = Source::read(path)?.for_plugin("llm-fanout")?;
        let policy = Policy::from_json(&source.json()?, &environment);
        policy.map_err(|error| source.refused(&error.to_string()).into())
    }

    fn latency(&self, policy: &Policy) -> anyhow::Result<Latency> {
        if let (Some(fixed), Some(per_input), Some(per_output)) =
            (self.fixed, self.per_input, self.per_output)
        {
            let all = [fixed, per_input, per_output];
            ensure!(all.iter().all(|number| (0.0..=3600.0).contains(number)), "seconds are from 0 to 3600");
            return Ok(Latency { fixed, per_input, per_output });
        }
        match (self.preset, policy.latency) {
            (Some(Preset(latency)), _) | (None, Some(latency)) => Ok(latency),
            (None, None) if self.config.is_some() => {
                bail!(
                    "the configuration has no `latency`; say `--preset` or `--fixed`, `--per-input`, `--per-output`"
                )
            }
            (None, None) => Ok(Latency::PRESETS[0].1),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let policy = arguments.policy()?;
    let latency = arguments.latency(&policy)?;
    let shown = arguments.request.display();
    let (settings, plan) = match Asked::read(&document::read(&arguments.request)?, &policy) {
        Ok(Asked::Questions(settings, plan)) => (settings, plan),
        Ok(Asked::Plain) => bail!("{shown}: no `x_fanout` in it: it would go on as it is"),
        Err(refusal) => bail!("{shown}: {refusal}"),
    };
    let estimate = Estimate::of(latency, &plan, settings.parallel);
    let worth = estimate.gain() >= arguments.gain;
    match arguments.format {
        Format::Text => print(&estimate, &settings, &plan, worth),
        Format::Json => {
            let document = json!({
                "questions": plan.questions().len(), "parallel": parallel(&settings, &plan),
                "shared_tokens": tokens_of(plan.shared_bytes()),
                "packed": {"seconds": estimate.packed, "input_tokens": estimate.packed_input, "output_tokens": estimate.output},
                "split": {"seconds": estimate.split, "input_tokens": estimate.split_input, "output_tokens": estimate.output},
                "gain": estimate.gain(), "split_is_worth_it": worth,
            });
            anstream::println!("{document}");
        }
    }
    Ok(if worth { Answer::Yes } else { Answer::No })
}

fn parallel(settings: &Settings, plan: &Plan) -> usize {
    settings.parallel.min(plan.questions().len())
}

fn print(estimate: &Estimate, settings: &Settings, plan: &Plan, worth: bool) {
    let count = plan.questions().len();
    let row = |name: &str, calls: usize, seconds: f64, input: u64| {
        [
            name.into(),
            calls.to_string(),
            format!("{seconds:.2} s"),
            input.to_string(),
            estimate.output.to_string(),
        ]
    };
    anstream::println!("{count} questions, {} at a time", parallel(settings, plan));
    let table = output::table(
        ["", "requests", "time", "input tokens", "output tokens"],
        [
            row("packed", 1, estimate.packed, estimate.packed_input),
            row("split", count, estimate.split, estimate.split_input),
        ],
    );
    anstream::println!("\n{table}\n");
    let more = estimate.split_input.saturating_sub(estimate.packed_input);
    let (style, advice) = if worth { (output::GOOD, "split") } else { (output::BAD, "pack") };
    anstream::println!(
        "{}: splitting is {:.1} times as fast, for {more} more input tokens",
        output::styled(style, advice),
        estimate.gain()
    );
}
