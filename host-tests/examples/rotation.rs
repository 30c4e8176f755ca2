//! A key rotation seen from the outside: jwt-auth and Envoy's own jwt_authn side by side in one
//! Envoy with two workers, under steady load, while their issuer replaces its only key.
//!
//! Prints a table of refused requests over time as Markdown, and draws it:
//! `cargo run --example rotation -- docs/images/rotation.svg`.

#[path = "../tests/rotation/scene.rs"]
mod scene;
#[path = "../tests/rotation/timeline.rs"]
mod timeline;

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use anyhow::Result;
use portcullis_host_tests::envoy;
use timeline::{Plan, Run, Sample};

const ROTATION: u64 = 5;
const NATIVE_CACHE: u64 = 20;
const END: u64 = 35;

fn main() -> Result<()> {
    let plan = Plan {
        native_cache: NATIVE_CACHE,
        rotate_after: Duration::from_secs(ROTATION),
        end: Duration::from_secs(END),
        clients: 4,
        every: Duration::from_millis(20),
    };
    let run = timeline::run(&envoy::binary()?, &plan)?;
    print!("{}", table(&run));
    if let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) {
        fs::write(&path, chart(&run))?;
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

/// Requests and refusals of the span `[from, to)` in seconds.
fn within(run: &Run, samples: &[Sample], from: u64, to: u64) -> (usize, usize) {
    let span = Duration::from_secs(from)..Duration::from_secs(to);
    run.refused(samples.iter().filter(|sample| span.contains(&sample.at)))
}

fn table(run: &Run) -> String {
    let mut text =
        String::from("| seconds | jwt-auth: requests | refused | jwt_authn: requests | refused |\n");
    text.push_str("|---|---|---|---|---|\n");
    let mut row = |name: String, ours: (usize, usize), native: (usize, usize)| {
        let _ = writeln!(text, "| {name} | {} | {} | {} | {} |", ours.0, ours.1, native.0, native.1);
    };
    for from in (0..END).step_by(5) {
        let to = from + 5;
        row(format!("{from} to {to}"), within(run, &run.ours, from, to), within(run, &run.native, from, to));
    }
    row("all".into(), run.refused(&run.ours), run.refused(&run.native));
    let longest = |samples: &[Sample]| samples.iter().map(|sample| sample.took).max().unwrap_or_default();
    let _ = writeln!(
        text,
        "\nThe issuer replaced its key after {:.1} s. Longest answer: jwt-auth {} ms, jwt_authn {} ms. \
         Fetches: jwt-auth {}, jwt_authn {}.",
        run.rotated_at.as_secs_f64(),
        longest(&run.ours).as_millis(),
        longest(&run.native).as_millis(),
        run.fetches.0,
        run.fetches.1,
    );
    text
}

/// Two step curves: the share of refused requests in each second.
fn chart(run: &Run) -> String {
    const WIDTH: u64 = 700;
    const HEIGHT: u64 = 120;
    let x = |second: u64| 60 + WIDTH * second / END;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" font-family="sans-serif" font-size="13">
<title>Share of valid tokens refused, each second, around a key rotation</title>
<rect width="800" height="400" fill="white"/>"#
    );
    for (index, (name, samples, colour)) in
        [("jwt-auth", &run.ours, "#1a7f37"), ("jwt_authn, cache_duration 20 s", &run.native, "#cf222e")]
            .into_iter()
            .enumerate()
    {
        let bottom = 160 + 180 * index as u64;
        let mut points = String::new();
        for second in 0..END {
            let (all, refused) = within(run, samples, second, second + 1);
            let height = HEIGHT * refused as u64 / (all as u64).max(1);
            for edge in [second, second + 1] {
                let _ = write!(points, "{},{} ", x(edge), bottom - height);
            }
        }
        let _ = writeln!(
            svg,
            r##"<text x="60" y="{title}" font-weight="bold">{name}: {refused} of {all} refused</text>
<text x="52" y="{top}" text-anchor="end">100 %</text><text x="52" y="{bottom}" text-anchor="end">0 %</text>
<rect x="60" y="{box_top}" width="{WIDTH}" height="{HEIGHT}" fill="#f6f8fa"/>
<polygon points="60,{bottom} {points}{end},{bottom}" fill="{colour}" fill-opacity="0.25"/>
<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>"##,
            title = bottom - HEIGHT - 8,
            top = bottom - HEIGHT + 10,
            box_top = bottom - HEIGHT,
            end = x(END),
            refused = run.refused(samples).1,
            all = run.refused(samples).0,
        );
    }
    let rotation = x(ROTATION);
    let _ = writeln!(
        svg,
        r##"<line x1="{rotation}" y1="30" x2="{rotation}" y2="346" stroke="#57606a" stroke-dasharray="4 3"/>
<text x="{label}" y="390" text-anchor="middle">the issuer replaces its only key</text>"##,
        label = rotation + 60,
    );
    for second in (0..=END).step_by(5) {
        let _ = writeln!(svg, r#"<text x="{}" y="362" text-anchor="middle">{second} s</text>"#, x(second));
    }
    svg.push_str("</svg>\n");
    svg
}
