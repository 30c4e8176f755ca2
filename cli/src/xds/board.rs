//! Who has which version: a table that is drawn anew on a terminal, a line for each change in a pipe.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::output;

/// An Envoy's stream and a filter in it.
pub(super) type Place = (u64, String);

struct Row {
    node: String,
    offered: Option<(String, Instant)>,
    in_force: Option<(String, Duration)>,
    refused: Option<(String, String)>,
}

/// The lines that are remembered beside the table.
const LINES: usize = 5;

struct State {
    rows: BTreeMap<Place, Row>,
    lines: Vec<String>,
}

pub(super) struct Board {
    state: Mutex<State>,
    terminal: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        let state = State { rows: BTreeMap::new(), lines: Vec::new() };
        Self { state: Mutex::new(state), terminal: std::io::stdout().is_terminal() }
    }

    /// Something that is of no Envoy.
    pub(super) fn say(&self, line: &str) {
        self.change(|state| {
            state.lines.push(line.to_owned());
            let more = state.lines.len().saturating_sub(LINES);
            state.lines.drain(..more);
            Some(line.to_owned())
        });
    }

    /// `version` was sent to `node`.
    pub(super) fn offered(&self, place: &Place, node: &str, version: &str) {
        self.change(|state| {
            let row = state.rows.entry(place.clone()).or_insert_with(|| Row {
                node: node.to_owned(),
                offered: None,
                in_force: None,
                refused: None,
            });
            row.offered = Some((version.to_owned(), Instant::now()));
            None
        });
    }

    /// What was sent last is in force there, or was refused for a reason.
    pub(super) fn answered(&self, place: &Place, refusal: Option<&str>) {
        self.change(|state| {
            let row = state.rows.get_mut(place)?;
            let (version, since) = row.offered.take()?;
            let (node, filter, took) = (&row.node, &place.1, since.elapsed());
            Some(match refusal {
                None => {
                    let line = format!("{node} {filter} {version} taken after {} ms", took.as_millis());
                    row.in_force = Some((version, took));
                    row.refused = None;
                    line
                }
                Some(reason) => {
                    let reason = one_line(reason);
                    let line = format!("{node} {filter} {version} refused: {reason}");
                    row.refused = Some((version, reason));
                    line
                }
            })
        });
    }

    /// The stream has ended.
    pub(super) fn gone(&self, stream: u64) {
        self.change(|state| {
            let node = state.rows.range((stream, String::new())..).next().map(|(_, row)| row.node.clone());
            let before = state.rows.len();
            state.rows.retain(|(own, _), _| *own != stream);
            (state.rows.len() < before).then(|| format!("{} is gone", node.unwrap_or_default()))
        });
    }

    fn change(&self, change: impl FnOnce(&mut State) -> Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = change(&mut state);
        if self.terminal {
            anstream::print!("\u{1b}[2J\u{1b}[H{}\n\n{}\n", table(&state), state.lines.join("\n"));
        } else if let Some(line) = line {
            anstream::println!("{line}");
        }
    }
}

fn table(state: &State) -> String {
    let rows = state.rows.iter().map(|((_, filter), row)| {
        let in_force = row.in_force.as_ref();
        let state = match (&row.offered, &row.refused) {
            (Some((version, _)), _) => format!("{version} sent"),
            (None, Some((version, reason))) => {
                output::styled(output::BAD, format!("{version} refused: {reason}"))
            }
            (None, None) => output::styled(output::GOOD, "up to date"),
        };
        [
            row.node.clone(),
            filter.clone(),
            in_force.map_or("none".into(), |(version, _)| version.clone()),
            in_force.map_or(String::new(), |(_, took)| format!("{} ms", took.as_millis())),
            state,
        ]
    });
    output::table(["ENVOY", "FILTER", "IN FORCE", "AFTER", "STATE"], rows)
}

/// Envoy's text, without what would draw over the table.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
