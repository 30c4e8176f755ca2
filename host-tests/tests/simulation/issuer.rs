//! The issuer and the network to it: which keys are published when, which one signs, and what a
//! proxy gets that asks.

use std::{fmt::Write as _, time::Duration};

use portcullis_host::{CallResponse, OutgoingCall};
use serde_json::json;

use crate::{
    random::Random,
    tokens::{ISSUER, Key, Tokens},
};

/// Counted from the begin of the story.
pub type Time = Duration;

/// What is published from a time on.
#[derive(Clone, Debug)]
struct Step {
    from: Time,
    published: Vec<Key>,
    signs: Key,
    what: &'static str,
}

/// How the network or the issuer fails for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The connection is refused.
    Refused,
    /// The connection is reset.
    Cut,
    /// No answer at all.
    Silent,
    /// An answer, after 2 to 9 seconds.
    Slow,
    Error,
    TooManyRequests,
    Html,
    Truncated,
    EmptySet,
    /// Only keys of a kind that nobody knows.
    AlienSet,
    Oversized,
    Redirect,
}

impl Trouble {
    const ALL: [Self; 12] = [
        Self::Refused,
        Self::Cut,
        Self::Silent,
        Self::Slow,
        Self::Error,
        Self::TooManyRequests,
        Self::Html,
        Self::Truncated,
        Self::EmptySet,
        Self::AlienSet,
        Self::Oversized,
        Self::Redirect,
    ];
}

/// Larger than the configured limit.
const OVERSIZED: usize = 5000;

/// The issuer's part of a story.
#[derive(Debug)]
pub struct Issuer {
    steps: Vec<Step>,
    troubles: Vec<(Time, Time, Trouble)>,
    /// What its answers say about their life, if they do.
    pub max_age: Option<u64>,
    etag: bool,
    /// Its first address is gone, and nothing else is ever in trouble.
    gone: bool,
}

/// What a proxy gets, and when. No response is a reset.
pub struct Reply {
    pub after: Duration,
    pub response: Option<CallResponse>,
    /// It brings the keys, or says that they have not changed.
    pub good: bool,
}

impl Issuer {
    pub fn new(random: &mut Random, end: Time, gone: bool) -> Self {
        let first = Key("k0".into(), 0);
        let mut steps =
            vec![Step { from: Time::ZERO, published: vec![first.clone()], signs: first, what: "begins" }];
        let mut time = Time::ZERO;
        for number in 1.. {
            time += random.millis(70_000, 350_000);
            if time >= end {
                break;
            }
            rotate(random, &mut steps, time, number);
        }
        let troubles = if random.chance(60) { troubles(random, end) } else { Vec::new() };
        let max_age = random.chance(60).then(|| random.within(0, 500));
        let troubles = if gone { Vec::new() } else { troubles };
        Self { steps, troubles, max_age, etag: random.chance(50), gone }
    }

    fn at(&self, time: Time) -> &Step {
        self.steps.iter().rev().find(|step| step.from <= time).unwrap()
    }

    /// The key that signs at `time`.
    pub fn signs(&self, time: Time) -> Key {
        self.at(time).signs.clone()
    }

    /// The times at which something changes, and the keys that are no longer published then.
    pub fn changes(&self) -> Vec<(Time, Vec<Key>)> {
        let gone = |one: &Step, next: &Step| {
            one.published.iter().filter(|key| !next.published.contains(key)).cloned().collect()
        };
        self.steps.windows(2).map(|pair| (pair[1].from, gone(&pair[0], &pair[1]))).collect()
    }

    /// Since when `key` is published without a break, if it is at `time`.
    pub fn published_since(&self, key: &Key, time: Time) -> Option<Time> {
        let before = self.steps.iter().rev().filter(|step| step.from <= time);
        before.take_while(|step| step.published.contains(key)).last().map(|step| step.from)
    }

    /// When `key` was published for the last time, if it was before `time` and is no longer.
    pub fn removed_at(&self, key: &Key, time: Time) -> Option<Time> {
        let steps: Vec<&Step> = self.steps.iter().filter(|step| step.from <= time).collect();
        let last = steps.iter().rposition(|step| step.published.contains(key))?;
        steps.get(last + 1).map(|step| step.from)
    }

    /// Whether the name of `key` was another key's before.
    pub fn name_had_another_key(&self, key: &Key, time: Time) -> bool {
        let before = self.steps.iter().filter(|step| step.from <= time).flat_map(|step| &step.published);
        before.into_iter().any(|other| other.0 == key.0 && other.1 != key.1)
    }

    /// Whether `key` was published before it was published as it is at `time`.
    pub fn came_back(&self, key: &Key, time: Time) -> bool {
        let Some(since) = self.published_since(key, time) else { return false };
        self.steps.iter().any(|step| step.from < since && step.published.contains(key))
    }

    /// Whether everybody who asked between `from` and `to` got a good answer.
    pub fn was_well(&self, from: Time, to: Time) -> bool {
        self.troubles.iter().all(|(begin, end, _)| *end <= from || *begin > to)
    }

    /// Since when everybody who asks gets a good answer.
    pub fn well_since(&self, time: Time) -> Time {
        self.troubles
            .iter()
            .filter(|(from, ..)| *from <= time)
            .map(|(_, to, _)| *to)
            .max()
            .unwrap_or_default()
    }

    pub fn rotations(&self) -> usize {
        self.steps.len() - 1
    }

    pub fn tell(&self) -> String {
        let mut story = String::new();
        for Step { from, published, signs, what } in &self.steps {
            let _ =
                writeln!(story, "{from:?} the issuer {what}: publishes {published:?}, signs with {signs:?}");
        }
        for (from, to, trouble) in &self.troubles {
            let _ = writeln!(story, "{from:?} to {to:?} the network: {trouble:?}");
        }
        if self.gone {
            let _ = writeln!(story, "its first address is gone");
        }
        let _ = writeln!(story, "answers with max-age {:?}, etag {}", self.max_age, self.etag);
        story
    }

    /// The answer to `call` at `time`; `spare` is the source that is never in trouble.
    pub fn reply(
        &self,
        random: &mut Random,
        time: Time,
        call: &OutgoingCall,
        spare: bool,
        tokens: &Tokens,
    ) -> Reply {
        let after = random.millis(1, 300);
        if self.gone && !spare {
            return Reply { after, response: Some(CallResponse::new(404, "")), good: false };
        }
        let trouble = self.troubles.iter().find(|(from, to, _)| (*from..*to).contains(&time) && !spare);
        let path = call.headers.text(":path").unwrap_or_default();
        let response = if path == "/jwks" { self.keys(time, call, tokens) } else { discovery() };
        let Some((.., trouble)) = trouble else {
            return Reply { after, response: Some(response), good: path == "/jwks" };
        };
        let bad = |response| Reply { after, response: Some(response), good: false };
        let body = response.body.clone();
        match trouble {
            Trouble::Refused => bad(CallResponse::no_connection()),
            Trouble::Cut => Reply { after, response: None, good: false },
            // Longer than any timeout: the proxy makes it a 504.
            Trouble::Silent => Reply { after: Duration::from_secs(600), response: None, good: false },
            Trouble::Slow => {
                Reply { after: random.millis(2000, 9000), response: Some(response), good: path == "/jwks" }
            }
            Trouble::Error => bad(CallResponse::new(500, "")),
            Trouble::TooManyRequests => bad(CallResponse::new(429, "").header("retry-after", "30")),
            Trouble::Html => bad(CallResponse::new(200, "<html>down for maintenance</html>")),
            Trouble::Truncated => bad(CallResponse::new(200, &body[..body.len() / 2])),
            Trouble::EmptySet => bad(CallResponse::new(200, r#"{"keys":[]}"#)),
            Trouble::AlienSet => bad(CallResponse::new(200, r#"{"keys":[{"kty":"XYZ","kid":"k0"}]}"#)),
            Trouble::Oversized => bad(CallResponse::new(200, [body, vec![b' '; OVERSIZED]].concat())),
            Trouble::Redirect => {
                bad(CallResponse::new(302, body).header("location", "http://169.254.169.254/"))
            }
        }
    }

    fn keys(&self, time: Time, call: &OutgoingCall, tokens: &Tokens) -> CallResponse {
        let step = self.at(time);
        let etag = format!("\"{:?}\"", step.from);
        let same = self.etag && call.headers.text("if-none-match") == Some(etag.as_str());
        let keys: Vec<_> = step.published.iter().map(|key| tokens.of(key).jwk.clone()).collect();
        let mut response = match same {
            true => CallResponse::new(304, ""),
            false => CallResponse::new(200, json!({"keys": keys}).to_string()),
        };
        if let Some(age) = self.max_age {
            response = response.header("cache-control", format!("public, max-age={age}"));
        }
        if self.etag { response.header("etag", etag) } else { response }
    }
}

fn discovery() -> CallResponse {
    let document = json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks")});
    CallResponse::new(200, document.to_string())
}

fn rotate(random: &mut Random, steps: &mut Vec<Step>, time: Time, number: u8) {
    let last = steps.last().unwrap().clone();
    let new = Key(format!("k{number}"), number);
    let later = |millis: u64| time + Duration::from_millis(millis);
    let mut step = |from, published: &[&Key], signs: &Key, what| {
        let published = published.iter().map(|key| (*key).clone()).collect();
        steps.push(Step { from, published, signs: signs.clone(), what });
    };
    match random.within(0, 6) {
        0 => step(time, &[&new], &new, "rotates without overlap"),
        1 => {
            let same = Key(last.signs.0.clone(), number);
            step(time, &[&same], &same, "rotates under the same name");
        }
        2 | 3 => {
            step(time, &[&last.signs, &new], &last.signs, "announces a key");
            step(later(random.within(1000, 30_000)), &[&last.signs, &new], &new, "signs with it");
            step(later(random.within(31_000, 60_000)), &[&new], &new, "drops the old one");
        }
        4 => {
            let spare = Key(format!("spare{number}"), 100 + number);
            step(time, &[&last.signs, &spare], &last.signs, "has a spare key");
            step(later(random.within(5000, 60_000)), &[&spare], &spare, "removes the stolen one");
        }
        _ => {
            step(time, &[&new], &new, "rotates without overlap");
            step(
                later(random.within(10_000, 60_000)),
                &[&last.signs],
                &last.signs,
                "takes the rotation back",
            );
        }
    }
}

fn troubles(random: &mut Random, end: Time) -> Vec<(Time, Time, Trouble)> {
    let mut found = Vec::new();
    let mut time = Time::ZERO;
    loop {
        time += random.millis(0, 400_000);
        if time >= end {
            return found;
        }
        let long =
            if random.chance(25) { random.millis(90_000, 400_000) } else { random.millis(500, 60_000) };
        let until = (time + long).min(end);
        found.push((time, until, random.pick(&Trouble::ALL)));
        time = until;
    }
}
