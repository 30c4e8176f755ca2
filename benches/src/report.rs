//! Rounds of numbers as medians with their spread, and what each contender adds over the baseline.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use crate::load::Cost;

/// A median with the quartiles around it: half of the rounds lie between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter of the rounds were below.
    pub low: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters of them.
    pub high: f64,
}

impl Spread {
    /// The spread of `values`, interpolated between neighbours; all zero when there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let below = sorted.get(place.floor() as usize).copied().unwrap_or(0.0);
            let above = sorted.get(place.ceil() as usize).copied().unwrap_or(0.0);
            below + (above - below) * place.fract()
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    /// The three as JSON.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({"low": self.low, "median": self.median, "high": self.high})
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Small numbers are told apart by their second digit.
        let digits = if self.median.abs() < 10.0 { 2 } else { 1 };
        write!(f, "{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.low, self.high)
    }
}

/// One contender's rounds, in the same order as everybody's.
#[derive(Clone, Debug)]
pub struct Series {
    /// What is measured.
    pub name: String,
    /// What the requests of each round cost.
    pub rounds: Vec<Cost>,
}

impl Series {
    fn of(&self, part: impl Fn(&Cost) -> f64) -> Vec<f64> {
        self.rounds.iter().map(part).collect()
    }

    fn cpu(&self) -> Vec<f64> {
        self.of(|cost| cost.cpu)
    }

    /// The medians of the rounds' medians and 99th percentiles.
    fn latency(&self) -> [f64; 2] {
        [self.of(|cost| cost.median), self.of(|cost| cost.p99)].map(|rounds| Spread::of(&rounds).median)
    }
}

/// Contenders measured in turn under the same load. The first is the baseline.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the load was.
    pub title: String,
    /// The baseline, then the others.
    pub series: Vec<Series>,
    /// The name of the contender whose addition is 1.
    pub yardstick: String,
}

impl Comparison {
    /// What the contender of this name adds over the baseline: the differences within each round,
    /// so that what slows a whole round cancels out.
    #[must_use]
    pub fn added(&self, name: &str) -> Vec<f64> {
        let rounds = |series: Option<&Series>| series.map(Series::cpu).unwrap_or_default();
        let baseline = rounds(self.series.first());
        let own = rounds(self.series.iter().find(|series| series.name == name));
        own.iter().zip(&baseline).map(|(own, base)| own - base).collect()
    }

    /// What the contender adds as a multiple of what the yardstick adds, from the medians.
    #[must_use]
    pub fn ratio(&self, name: &str) -> f64 {
        Spread::of(&self.added(name)).median / Spread::of(&self.added(&self.yardstick)).median
    }

    /// A Markdown table.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut table = format!(
            "### {}\n\n| | CPU µs a request | adds µs | of what `{}` adds | median µs | p99 µs |\n\
             |---|--:|--:|--:|--:|--:|\n",
            self.title, self.yardstick
        );
        for (place, series) in self.series.iter().enumerate() {
            let total = Spread::of(&series.cpu());
            let [median, p99] = series.latency();
            // Writing into a string cannot fail.
            let _ = if place == 0 {
                writeln!(table, "| {} | {total} | | | {median:.0} | {p99:.0} |", series.name)
            } else {
                let (added, ratio) = (Spread::of(&self.added(&series.name)), self.ratio(&series.name));
                let name = &series.name;
                writeln!(table, "| {name} | {total} | {added} | {ratio:.2} | {median:.0} | {p99:.0} |")
            };
        }
        table
    }

    /// Everything, for other programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let series: Vec<_> = self
            .series
            .iter()
            .map(|series| {
                let [median, p99] = series.latency();
                json!({
                    "name": series.name,
                    "rounds": series.cpu(),
                    "latency_us": {"median": median, "p99": p99},
                    "cpu_us": Spread::of(&series.cpu()).to_json(),
                    "added_us": Spread::of(&self.added(&series.name)).to_json(),
                    "ratio": self.ratio(&series.name),
                })
            })
            .collect();
        json!({"title": self.title, "yardstick": self.yardstick, "series": series})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of so much CPU time, whose replies took ten times as long, and twenty times.
    fn series(name: &str, rounds: &[f64]) -> Series {
        let cost = |cpu: &f64| Cost { cpu: *cpu, median: cpu * 10.0, p99: cpu * 20.0 };
        Series { name: name.to_owned(), rounds: rounds.iter().map(cost).collect() }
    }

    #[test]
    fn a_spread_is_the_median_between_the_quartiles() {
        let spread = Spread::of(&[5.0, 1.0, 2.0, 4.0, 3.0]);

        assert_eq!(spread, Spread { low: 2.0, median: 3.0, high: 4.0 });
        assert_eq!(Spread::of(&[1.0, 2.0]).median, 1.5);
        assert_eq!(Spread::of(&[]).median, 0.0);
    }

    #[test]
    fn a_slow_round_cancels_out_of_what_is_added() {
        let comparison = Comparison {
            title: "load".to_owned(),
            series: vec![
                series("none", &[10.0, 110.0, 10.0]),
                series("native", &[30.0, 130.0, 30.0]),
                series("ours", &[20.0, 120.0, 20.0]),
            ],
            yardstick: "native".to_owned(),
        };

        assert_eq!(comparison.added("native"), [20.0, 20.0, 20.0]);
        assert_eq!(comparison.ratio("ours"), 0.5);
        let row = "| ours | 20.0 (20.0–70.0) | 10.0 (10.0–10.0) | 0.50 | 200 | 400 |";
        assert!(comparison.to_markdown().contains(row), "{}", comparison.to_markdown());
    }
}
