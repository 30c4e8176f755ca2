//! The picture of the dashboard in docs/operations.md: its panels asked of a real Prometheus, which
//! watched the real Envoy through three minutes of ordinary and less ordinary traffic.
//!
//! `cargo run --example dashboard -- docs/images/dashboard.svg`, with `prometheus` on the path
//! (Debian's package of that name has it). With `--quick` half a minute is enough, which shows that
//! Prometheus can answer every question of the dashboard and of the alerts.

mod panel;
mod prometheus;
mod traffic;

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use panel::{Line, Panel, Place};
use portcullis_host_tests::envoy;
use prometheus::Prometheus;
use serde_json::Value;

/// Prometheus scrapes once a second here: what Grafana makes of `$__rate_interval` then, which is four
/// scrapes, and what stands for the usual time between two of them.
const SCRAPES: [(&str, &str); 2] = [("$__rate_interval", "4s"), (":15s]", ":1s]")];

fn main() -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let file = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(monitoring.join("dashboard.json"))?)?;
    let alerts: Value = serde_saphyr::from_str(&fs::read_to_string(monitoring.join("alerts.yaml"))?)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut scene = traffic::Scene::start(&envoy::binary()?)?;
    let prometheus = Prometheus::start(scene.envoy())?;
    let span = scene.play(Duration::from_secs(if quick { 30 } else { 180 }))?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let panels = panels.iter().map(|panel| read(panel, &prometheus, span)).collect::<Result<Vec<_>>>()?;
    for panel in &panels {
        println!("{}: {} lines", panel.title, panel.lines.len());
        ensure!(!panel.lines.is_empty(), "nothing answers to `{}`", panel.title);
    }
    for rule in alerts["groups"][0]["rules"].as_array().context("no alerts")? {
        let expression = rule["expr"].as_str().context("no expression")?;
        prometheus.range(expression, span).with_context(|| format!("the alert {}", rule["alert"]))?;
    }
    if let Some(path) = file {
        fs::write(&path, panel::picture(&panels, span))?;
        println!("written: {path}");
    }
    Ok(())
}

/// A panel of the dashboard, with what Prometheus answers to its questions.
fn read(panel: &Value, prometheus: &Prometheus, span: (f64, f64)) -> Result<Panel> {
    let mut lines = Vec::new();
    for target in panel["targets"].as_array().context("no targets")? {
        let expression = target["expr"].as_str().context("no expression")?;
        let expression = SCRAPES
            .into_iter()
            .fold(expression.to_owned(), |expression, (usual, here)| expression.replace(usual, here));
        for series in prometheus.range(&expression, span)? {
            let name = legend(target["legendFormat"].as_str().unwrap_or_default(), &series.labels);
            lines.push(Line { name, points: series.points });
        }
    }
    let place = &panel["gridPos"];
    let at = |name: &str| place[name].as_f64().context("no place");
    Ok(Panel {
        title: panel["title"].as_str().unwrap_or_default().to_owned(),
        unit: panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default().to_owned(),
        place: Place { x: at("x")?, y: at("y")?, width: at("w")?, height: at("h")? },
        lines,
    })
}

/// `{{label}}` in a legend's form, as Grafana fills it in.
fn legend(form: &str, labels: &Value) -> String {
    let mut text = String::new();
    let mut rest = form;
    while let Some((before, after)) = rest.split_once("{{") {
        let (label, after) = after.split_once("}}").unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(labels[label.trim()].as_str().unwrap_or_default());
        rest = after;
    }
    text.push_str(rest);
    text
}
