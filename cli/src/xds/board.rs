//! Who has which version: a table that is drawn anew on a terminal, a line for each change in a pipe.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{published::Published, wire::Kind};
use crate::output;

/// An Envoy's stream and what it follows in it; clusters and listeners have no name, it takes all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) stream: u64,
    pub(super) kind: Kind,
    pub(super) name: String,
}

struct Row {
    node: String,
    /// The names of what was sent.
    names: String,
    offered: Option<(String, Instant)>,
    in_force: Option<(String, Duration)>,
    refused: Option<(String, String)>,
}

/// The lines that are remembered beside the table.
const LINES: usize = 5;

#[derive(Default)]
struct State {
    rows: BTreeMap<Place, Row>,
    lines: Vec<String>,
    /// The version of everything that is served.
    served: BTreeMap<(Kind, String), String>,
    /// When the last change was served, until every Envoy has it.
    changed: Option<Instant>,
}

impl State {
    fn served(&self, place: &Place) -> Option<&String> {
        self.served.get(&(place.kind, place.name.clone()))
    }

    /// Whether every Envoy has what is served, and how many there are.
    fn converged(&self) -> Option<usize> {
        let all = self.rows.iter().all(|(place, row)| {
            let served = self.served(place);
            served.is_none() || row.in_force.as_ref().map(|(version, _)| version) == served
        });
        let envoys: BTreeSet<_> = self.rows.keys().map(|place| place.stream).collect();
        (all && !envoys.is_empty()).then_some(envoys.len())
    }
}

pub(super) struct Board {
    state: Mutex<State>,
    terminal: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), terminal: std::io::stdout().is_terminal() }
    }

    /// Something that is of no Envoy.
    pub(super) fn say(&self, line: &str) {
        self.change(|_| vec![line.to_owned()]);
    }

    /// This is what every Envoy should have from now on.
    pub(super) fn served(&self, published: &Published) {
        self.change(|state| {
            // What there is at the start is no change.
            state.changed = (!state.served.is_empty()).then(Instant::now);
            let filters = published.all(Kind::Filter);
            state.served =
                filters.map(|(name, offer)| ((Kind::Filter, name.clone()), offer.version.clone())).collect();
            for kind in [Kind::Cluster, Kind::Listener] {
                state.served.insert((kind, String::new()), published.set(kind).0);
            }
            Vec::new()
        });
    }

    /// `version` of `names` was sent to `node`.
    pub(super) fn offered(&self, place: &Place, node: &str, version: &str, names: &str) {
        self.change(|state| {
            let row = state.rows.entry(place.clone()).or_insert_with(|| Row {
                node: node.to_owned(),
                names: String::new(),
                offered: None,
                in_force: None,
                refused: None,
            });
            names.clone_into(&mut row.names);
            row.offered = Some((version.to_owned(), Instant::now()));
            Vec::new()
        });
    }

    /// What was sent last is in force there, or was refused for a reason.
    pub(super) fn answered(&self, place: &Place, refusal: Option<&str>) {
        self.change(|state| {
            let Some(row) = state.rows.get_mut(place) else { return Vec::new() };
            let Some((version, since)) = row.offered.take() else { return Vec::new() };
            let (node, service, took) = (&row.node, place.kind.service(), since.elapsed());
            let what = format!("{node} {service} {} {version}", or_none(&row.names));
            let mut lines = Vec::new();
            match refusal {
                None => {
                    lines.push(format!("{what} taken after {} ms", took.as_millis()));
                    row.in_force = Some((version, took));
                    row.refused = None;
                }
                Some(reason) => {
                    let reason = one_line(reason);
                    lines.push(format!("{what} refused: {reason}"));
                    row.refused = Some((version, reason));
                }
            }
            if let (Some(envoys), Some(since)) = (state.converged(), state.changed) {
                state.changed = None;
                let took = since.elapsed().as_millis();
                lines.push(format!("every Envoy ({envoys}) has the change after {took} ms"));
            }
            lines
        });
    }

    /// The stream has ended.
    pub(super) fn gone(&self, stream: u64) {
        self.change(|state| {
            let node = state.rows.iter().find(|(place, _)| place.stream == stream);
            let line = node.map(|(_, row)| format!("{} is gone", row.node));
            state.rows.retain(|place, _| place.stream != stream);
            line.into_iter().collect()
        });
    }

    /// Makes a change; what it tells goes below the table or to the pipe.
    fn change(&self, change: impl FnOnce(&mut State) -> Vec<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = change(&mut state);
        if !self.terminal {
            for line in lines {
                anstream::println!("{line}");
            }
            return;
        }
        state.lines.extend(lines);
        let more = state.lines.len().saturating_sub(LINES);
        state.lines.drain(..more);
        anstream::print!("\u{1b}[2J\u{1b}[H{}\n\n{}\n", table(&state), state.lines.join("\n"));
    }
}

fn table(state: &State) -> String {
    let rows = state.rows.iter().map(|(place, row)| {
        let in_force = row.in_force.as_ref();
        let status = match (&row.offered, &row.refused) {
            (Some((version, _)), _) => format!("{version} sent"),
            (None, Some((version, reason))) => {
                output::styled(output::BAD, format!("{version} refused: {reason}"))
            }
            (None, None) if state.served(place).is_none() => "no longer in the folder; kept".into(),
            (None, None) => output::styled(output::GOOD, "up to date"),
        };
        [
            row.node.clone(),
            place.kind.service().into(),
            or_none(&row.names).into(),
            in_force.map_or("none".into(), |(version, _)| version.clone()),
            in_force.map_or(String::new(), |(_, took)| format!("{} ms", took.as_millis())),
            status,
        ]
    });
    output::table(["ENVOY", "BY", "WHAT", "IN FORCE", "AFTER", "STATE"], rows)
}

const fn or_none(names: &str) -> &str {
    if names.is_empty() { "none" } else { names }
}

/// Envoy's text, without what would draw over the table.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
