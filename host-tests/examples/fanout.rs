//! Packed against split, for 1 to 20 questions of 200 tokens, in one run: the real Envoy with
//! jwt-auth, tenant-guard and llm-fanout, and a model whose batch is full at eight answers.
//!
//! Prints a table as Markdown, and draws it:
//! `cargo run --example fanout -- docs/images/fanout.svg`.

#[path = "../tests/fanout/gateway.rs"]
mod gateway;
#[path = "../tests/fanout/stage.rs"]
mod stage;

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gateway::Gateway;
use portcullis_host_tests::{envoy, model::Speed};
use serde_json::{Value, json};

const MOST: usize = 20;
const TOKENS: u64 = 200;

/// One number of questions.
struct Row {
    questions: usize,
    packed: Duration,
    split: Duration,
    /// The slowest call of the split request, as the model measured it.
    slowest: Duration,
    packed_input: u64,
    split_input: u64,
}

/// What a curve shows of a row.
type Pick = fn(&Row) -> Duration;

fn main() -> Result<()> {
    let change = json!({"limits": {"parallel": MOST, "questions": MOST}});
    let gateway = Gateway::start(&envoy::binary()?, &change, Speed::default(), 1)?;
    let rows: Vec<Row> = (1..=MOST).map(|questions| row(&gateway, questions)).collect::<Result<_>>()?;
    print!("{}", table(&rows));
    if let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) {
        fs::write(&path, chart(&rows))?;
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

fn row(gateway: &Gateway, questions: usize) -> Result<Row> {
    let asked = format!(
        "[[tokens {TOKENS}]] What is the difference between a lease and a lock in a distributed system?"
    );
    let asked = vec![asked.as_str(); questions];
    let ask = |strategy: &str| -> Result<(Duration, u64)> {
        let mut body = stage::body(&asked, &json!({"strategy": strategy}));
        body["messages"][0]["content"] = json!("Answer in one paragraph, for an engineer. ".repeat(40));
        let (reply, took) = gateway.ask("acme", &body)?;
        let reply: Value = reply.json()?;
        ensure!(reply["x_fanout"]["failed"] == 0, "{reply}");
        Ok((took, reply["usage"]["prompt_tokens"].as_u64().unwrap_or(0)))
    };
    let (packed, packed_input) = ask("pack")?;
    drop(gateway.model.take());
    let (split, split_input) = ask("split")?;
    let served = gateway.model.take();
    let slowest = served.iter().filter_map(|served| served.took).max().context("nothing was served")?;
    Ok(Row { questions, packed, split, slowest, packed_input, split_input })
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| questions | packed | split | packed / split | split / its slowest call | input tokens, split / packed |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in rows {
        let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        let _ = writeln!(
            text,
            "| {} | {:.0} ms | {:.0} ms | {:.1} | {:.2} | {:.1} |",
            row.questions,
            row.packed.as_secs_f64() * 1e3,
            row.split.as_secs_f64() * 1e3,
            ratio(row.packed, row.split),
            ratio(row.split, row.slowest),
            row.split_input as f64 / row.packed_input as f64,
        );
    }
    text
}

fn chart(rows: &[Row]) -> String {
    const WIDTH: f64 = 680.0;
    const HEIGHT: f64 = 280.0;
    const BOTTOM: f64 = 340.0;
    let most = rows.iter().map(|row| row.packed.max(row.split).as_secs_f64()).fold(0.0, f64::max);
    let most = (most / 2.0).ceil() * 2.0;
    let x = |questions: usize| 70.0 + WIDTH * (questions - 1) as f64 / (MOST - 1) as f64;
    let y = |seconds: f64| BOTTOM - HEIGHT * seconds / most;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" font-family="sans-serif" font-size="13">
<title>Seconds until the answers to 1 to {MOST} questions of {TOKENS} tokens are there: packed in one request, and split</title>
<rect width="800" height="400" fill="white"/>
<text x="70" y="24" font-weight="bold">Seconds until all answers are there, {TOKENS} tokens each</text>
<rect x="70" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="#f6f8fa"/>
"##,
        top = BOTTOM - HEIGHT,
    );
    for seconds in (0..=most as u32).step_by(2).map(f64::from) {
        let at = y(seconds);
        let _ = writeln!(
            svg,
            r##"<line x1="70" x2="750" y1="{at:.1}" y2="{at:.1}" stroke="#d0d7de"/><text x="62" y="{text:.1}" text-anchor="end">{seconds:.0} s</text>"##,
            text = at + 4.0,
        );
    }
    for row in rows {
        if row.questions == 1 || row.questions % 5 == 0 {
            let _ = writeln!(
                svg,
                r#"<text x="{:.1}" y="358" text-anchor="middle">{}</text>"#,
                x(row.questions),
                row.questions
            );
        }
    }
    let curves: [(&str, &str, Pick); 2] = [
        ("packed in one request", "#cf222e", |row| row.packed),
        ("split by llm-fanout", "#1a7f37", |row| row.split),
    ];
    for (name, colour, pick) in curves {
        let points: String = rows
            .iter()
            .map(|row| format!("{:.1},{:.1} ", x(row.questions), y(pick(row).as_secs_f64())))
            .collect();
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#,
            points.trim_end()
        );
        if let Some(row) = rows.get(MOST * 3 / 5) {
            let _ = writeln!(
                svg,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end" fill="{colour}">{name}</text>"#,
                x(row.questions) - 8.0,
                y(pick(row).as_secs_f64()) - 8.0
            );
        }
    }
    svg.push_str("<text x=\"410\" y=\"384\" text-anchor=\"middle\">questions; the model's batch is full at 8 answers</text>\n</svg>\n");
    svg
}
