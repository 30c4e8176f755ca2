//! What a request costs with more of everything: issuers, keys, rules and remembered tokens, in
//! WebAssembly instructions of jwt-auth.
//!
//! `cargo run --example growth -- docs/images/growth.svg`.

use std::{env, fmt::Write as _, fs, hint::black_box};

use anyhow::Result;
use portcullis_host::{Engine, Module};
use portcullis_host_tests::counted::{Counted, median};
use portcullis_issuer::{Kind, Seed, SigningKey, jwk_set};
use serde_json::{Value, json};

/// Tokens of which the median is taken.
const TOKENS: usize = 15;
/// Decades on the axis.
const DECADES: f64 = 4.0;

/// How many there are of what grows, and what a request costs: a token's first and third time.
struct Point {
    count: usize,
    first: u64,
    third: u64,
}

struct Curve {
    name: &'static str,
    colour: &'static str,
    points: Vec<Point>,
}

fn main() -> Result<()> {
    let module = Module::compile(&Engine::counting()?, portcullis_modules::JWT_AUTH.wasm)?;
    let keys = (0..100).map(key).collect::<Result<Vec<_>>>()?;
    let of = |measured: &[usize], point: &dyn Fn(usize) -> Result<Point>| {
        measured.iter().map(|count| point(*count)).collect::<Result<Vec<_>>>()
    };
    let curves = [
        Curve {
            name: "rules",
            colour: "#0969da",
            points: of(&[1, 10, 100, 1000, 10_000], &|count| point(&module, &keys, 1, 1, count, 0))?,
        },
        Curve {
            name: "issuers",
            colour: "#1a7f37",
            points: of(&[1, 10, 100, 1000], &|count| point(&module, &keys, count, 1, 1, 0))?,
        },
        Curve {
            name: "keys of the issuer",
            colour: "#bf8700",
            points: of(&[1, 10, 100], &|count| point(&module, &keys, 1, count, 1, 0))?,
        },
        Curve {
            name: "remembered tokens",
            colour: "#cf222e",
            points: of(&[1, 10, 100, 1000], &|count| point(&module, &keys, 1, 1, 1, count))?,
        },
    ];
    print!("{}", table(&curves));
    if let Some(path) = env::args().nth(1) {
        fs::write(&path, chart(&curves))?;
        println!("written: {path}");
    }
    Ok(())
}

fn key(number: usize) -> Result<SigningKey> {
    let mut seed = [7; 32];
    seed[0] = u8::try_from(number)?;
    Ok(SigningKey::generate(&Seed::new(seed), format!("key-{number}"), Kind::P256)?)
}

fn issuer(number: usize, jwks: &Value) -> Value {
    json!({
        "name": format!("issuer-{number}"),
        "issuer": format!("https://issuer-{number}"),
        "audiences": ["api"],
        "algorithms": ["ES256"],
        "jwks": {"inline": jwks},
        "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]},
    })
}

/// The last issuer's tokens, signed with its last key, for the path of the last rule.
fn point(
    module: &Module,
    keys: &[SigningKey],
    issuers: usize,
    keys_of_issuer: usize,
    rules: usize,
    remembered: usize,
) -> Result<Point> {
    let jwks = jwk_set(keys.iter().take(keys_of_issuer).map(SigningKey::jwk));
    let all: Vec<Value> = (0..issuers).map(|number| issuer(number, &jwks)).collect();
    let names: Vec<String> = (0..issuers).map(|number| format!("issuer-{number}")).collect();
    let rule = |number| json!({"path": {"prefix": format!("/v1/part-{number}")}, "require": {"any": names}});
    let configuration = json!({"issuers": all, "rules": (0..rules).map(rule).collect::<Vec<_>>()});
    let mut counted = Counted::new(module, &configuration)?;
    let (issuer, path) = (format!("https://issuer-{}", issuers - 1), format!("/v1/part-{}/7", rules - 1));
    let signer = &keys[keys_of_issuer - 1];
    for _ in 0..8.max(remembered) {
        let token = counted.token(&issuer, signer)?;
        // From its second time on it is remembered.
        for _ in 0..2 {
            black_box(counted.serve(&path, &token)?);
        }
    }
    let tokens = (0..TOKENS).map(|_| counted.token(&issuer, signer)).collect::<Result<Vec<_>>>()?;
    let mut times = Vec::new();
    for _ in 0..3 {
        let counts = tokens.iter().map(|token| counted.serve(&path, token)).collect::<Result<Vec<_>>>()?;
        times.push(median(counts));
    }
    let count = issuers.max(keys_of_issuer).max(rules).max(remembered);
    Ok(Point { count, first: times[0], third: times[2] })
}

fn table(curves: &[Curve]) -> String {
    let mut text = String::from("| how many | of | first time | third time |\n|--:|---|--:|--:|\n");
    for curve in curves {
        for Point { count, first, third } in &curve.points {
            let _ = writeln!(text, "| {count} | {} | {first} | {third} |", curve.name);
        }
    }
    text
}

fn chart(curves: &[Curve]) -> String {
    const LEFT: f64 = 80.0;
    const WIDTH: f64 = 520.0;
    const HEIGHT: f64 = 280.0;
    const BOTTOM: f64 = 340.0;
    let all = curves.iter().flat_map(|curve| &curve.points);
    let most = all.map(|point| point.first.max(point.third)).max().unwrap_or(1);
    let most = (most as f64 / 10_000.0).ceil() * 10_000.0;
    let x = |count: usize| LEFT + WIDTH * (count as f64).log10() / DECADES;
    let y = |instructions: f64| BOTTOM - HEIGHT * instructions / most;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 400" font-family="sans-serif" font-size="13">
<title>WebAssembly instructions of a request with one to ten thousand rules, issuers, keys and remembered tokens</title>
<rect width="800" height="400" fill="white"/>
<text x="{LEFT}" y="24" font-weight="bold">Instructions of a request, with more of everything</text>
<text x="{LEFT}" y="44">solid: a token's first time, without the signature's arithmetic in the host; dashed: from its third time on</text>
<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="#f6f8fa"/>
"##,
        top = BOTTOM - HEIGHT,
    );
    for step in 0..=(most / 10_000.0) as u32 {
        let instructions = f64::from(step) * 10_000.0;
        let at = y(instructions);
        let _ = writeln!(
            svg,
            r##"<line x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}" stroke="#d0d7de"/><text x="{label}" y="{text:.1}" text-anchor="end">{thousands} 000</text>"##,
            right = LEFT + WIDTH,
            label = LEFT - 8.0,
            text = at + 4.0,
            thousands = step * 10,
        );
    }
    for count in [1, 10, 100, 1000, 10_000] {
        let _ = writeln!(svg, r#"<text x="{:.1}" y="358" text-anchor="middle">{count}</text>"#, x(count));
    }
    for (place, curve) in curves.iter().enumerate() {
        for (dashes, pick) in [("none", 0), ("5 4", 1)] {
            let height = |point: &Point| y(if pick == 0 { point.first } else { point.third } as f64);
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", x(point.count), height(point)))
                .collect();
            let _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{}" stroke-width="2.5" stroke-dasharray="{dashes}"/>"#,
                points.join(" "),
                curve.colour
            );
        }
        let _ = writeln!(
            svg,
            r#"<text x="616" y="{}" fill="{}">{}</text>"#,
            80 + 22 * place,
            curve.colour,
            curve.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}
