//! What splitting saves in time and costs in tokens, before anything is sent.

use crate::Plan;

/// How long a model takes, in seconds: `fixed + per_input · in + per_output · out`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// For any request.
    pub fixed: f64,
    /// For each token of the prompt.
    pub per_input: f64,
    /// For each token of the answer.
    pub per_output: f64,
}

impl Latency {
    /// Fits by minusx.ai of August 2024, r² 0.81 and 0.72: for the shape, not for today's figures.
    pub const PRESETS: [(&'static str, Self); 2] = [
        ("gpt-4o", Self { fixed: 0.468, per_input: 4.41e-5, per_output: 1.09e-2 }),
        ("claude-3.5-sonnet", Self { fixed: 1.82, per_input: 1.16e-4, per_output: 1.34e-2 }),
    ];

    /// The preset of this name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        Self::PRESETS.iter().find(|(own, _)| *own == name).map(|(_, latency)| *latency)
    }

    /// Seconds for one request.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate; tokens are far below 2^52")]
    pub fn seconds(&self, input: u64, output: u64) -> f64 {
        self.fixed + self.per_input * input as f64 + self.per_output * output as f64
    }
}

/// One request against as many as there are questions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Seconds for all questions in one request.
    pub packed: f64,
    /// Seconds for a request per question, in parallel.
    pub split: f64,
    /// Tokens of prompt in one request.
    pub packed_input: u64,
    /// Tokens of all prompts together.
    pub split_input: u64,
    /// Tokens of all answers, which are the same either way.
    pub output: u64,
}

impl Estimate {
    /// Of `questions` of (prompt, answer) tokens after `shared` tokens, `parallel` at a time.
    #[must_use]
    pub fn new(latency: Latency, shared: u64, questions: &[(u64, u64)], parallel: usize) -> Self {
        let sum = |pick: fn(&(u64, u64)) -> u64| questions.iter().map(pick).fold(0_u64, u64::saturating_add);
        let (input, output) = (sum(|question| question.0), sum(|question| question.1));
        let packed_input = shared.saturating_add(input);
        let count = u64::try_from(questions.len()).unwrap_or(u64::MAX);
        // Each place takes the next question as it comes free.
        let mut places = alloc::vec![0.0_f64; parallel.clamp(1, questions.len().max(1))];
        for (prompt, answer) in questions {
            let took = latency.seconds(shared.saturating_add(*prompt), *answer);
            if let Some(place) = places.iter_mut().min_by(|one, other| one.total_cmp(other)) {
                *place += took;
            }
        }
        Self {
            packed: latency.seconds(packed_input, output),
            split: places.into_iter().fold(0.0, f64::max),
            packed_input,
            split_input: shared.saturating_mul(count).saturating_add(input),
            output,
        }
    }

    /// Of `plan`, if every answer is as long as it may be.
    #[must_use]
    pub fn of(latency: Latency, plan: &Plan, parallel: usize) -> Self {
        let questions: alloc::vec::Vec<_> = plan
            .questions()
            .iter()
            .map(|question| (tokens_of(question.bytes()), question.max_tokens()))
            .collect();
        Self::new(latency, tokens_of(plan.shared_bytes()), &questions, parallel)
    }

    /// How many times faster it is to split; below one it is slower.
    #[must_use]
    pub fn gain(&self) -> f64 {
        if self.split > 0.0 { self.packed / self.split } else { 1.0 }
    }
}

/// About how many tokens there are in this many bytes: four bytes of English are one. Other languages
/// and code have more.
#[must_use]
pub fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published fits, applied to 500 shared tokens and 60 a question: packed seconds, split
    /// seconds, times faster.
    #[test]
    fn the_presets_give_the_published_figures() {
        let gpt = Latency::preset("gpt-4o").unwrap();
        let sonnet = Latency::preset("claude-3.5-sonnet").unwrap();
        for (latency, count, answer, packed, split, gain) in [
            (gpt, 5, 10, 1.05, 0.60, 1.7),
            (gpt, 5, 200, 11.40, 2.67, 4.3),
            (sonnet, 5, 200, 15.31, 4.56, 3.4),
            (gpt, 10, 200, 22.32, 2.67, 8.4),
        ] {
            let questions = alloc::vec![(60, answer); count];
            let found = Estimate::new(latency, 500, &questions, count);
            assert!((found.packed - packed).abs() < 0.01, "{found:?}");
            assert!((found.split - split).abs() < 0.01, "{found:?}");
            assert!((found.gain() - gain).abs() < 0.06, "{found:?}");
        }
    }

    #[test]
    fn fewer_places_take_more_rounds() {
        let latency = Latency { fixed: 1.0, per_input: 0.0, per_output: 0.0 };
        let split = |parallel| Estimate::new(latency, 0, &[(1, 1); 5], parallel).split;
        assert_eq!([split(0), split(1), split(2), split(5), split(9)], [5.0, 5.0, 3.0, 1.0, 1.0]);
        assert_eq!(Estimate::new(latency, 0, &[], 3).split, 0.0);
    }
}
