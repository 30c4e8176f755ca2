use alloc::{
    format,
    string::{String, ToString},
};

use regex_automata::{Anchored, Input, dfa::regex::Regex, util::syntax};

use super::*;

#[test]
fn a_pattern_matches_the_whole_text_or_not_at_all() {
    for (pattern, text, expected) in [
        ("a|b", "a", true),
        ("a|b", "ab", false),
        ("a|b", "xb", false),
        ("admin", "admin", true),
        ("admin", "administrator", false),
        ("admin", "admin\n", false),
        ("admin", "root\nadmin", false),
        ("k", "\u{212a}", false),
        ("[a-z]+", "caf\u{e9}", false),
        ("caf\u{e9}", "caf\u{e9}", true),
        ("caf.", "caf\u{e9}", true),
        ("[\u{e0}-\u{ff}]+", "\u{e9}\u{e8}", true),
        (r"\w+", "\u{430}", false),
        (r"\d+", "\u{0661}", false),
        (r"team-[a-z0-9]{1,20}", "team-payments", true),
        (r"team-[a-z0-9]{1,20}", "team-", false),
        (".*", "a\nb", false),
        ("x*", "", true),
        ("(a|)b", "b", true),
        ("()*", "", true),
        ("(a*)*b", "aaab", true),
        (r"a\.b\-c", "a.b-c", true),
        ("a.b", "a.b.c", false),
        ("[^a]", "\n", true),
        ("a{0}b", "b", true),
        ("a{2,}", "aaaa", true),
        ("a{2,3}", "aaaa", false),
    ] {
        assert_eq!(Pattern::new(pattern).unwrap().matches(text), Some(expected), "{pattern} {text:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for pattern in [
        "",
        "a)|(b",
        ")",
        "(",
        "(a",
        "a)(?:b",
        r"a\",
        "[a",
        "[]",
        "[^]",
        "[b-a]",
        "[a-]",
        "[a--]",
        "[[:alpha:]]",
        "[a&&b]",
        r"[\D]",
        r"[a-\d]",
        "*",
        "+a",
        "?",
        "a**",
        "a*?",
        "a{1}{2}",
        "{2}",
        "a{",
        "a{}",
        "a{,2}",
        "a{3,2}",
        "a{501}",
        "a{99999999999999999999}",
        "a{1",
        "(?i)a",
        "(?=a)",
        "(?<n>a)",
        "^a",
        "a$",
        "^a|b$",
        r"\1",
        r"\b",
        r"\pL",
        r"\x41",
        r"\é",
        "a]",
        "a}",
    ] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn what_costs_too_much_is_refused_when_it_is_configured() {
    for pattern in [
        "(a{1,100}){1,100}",
        "((((a{1,50}){1,50}){1,50}){1,50}){1,50}",
        "((((((((){500}){500}){500}){500}){500}){500}){500}){500}",
        &"a".repeat(MAX_PATTERN_BYTES + 1),
        &format!("{}a{}", "(".repeat(17), ")".repeat(17)),
    ] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
    assert!(Pattern::new(&format!("{}a{}", "(".repeat(16), ")".repeat(16))).is_ok());
}

#[test]
fn a_text_beyond_the_limit_is_not_compared() {
    let pattern = Pattern::new("(a|aa)+").unwrap();
    let text = |length: usize| "a".repeat(length);
    assert_eq!(pattern.matches(&text(MAX_TEXT_BYTES)), Some(true));
    assert_eq!(pattern.matches(&text(MAX_TEXT_BYTES + 1)), None);
}

/// A small generator, so that a failure can be made again from its seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit as u64).unwrap()
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }

    fn pattern(&mut self, depth: usize) -> String {
        let atom = match self.below(if depth == 0 { 7 } else { 12 }) {
            0..=3 => self.pick(&["a", "b", "c", "é", "\\.", "\\-"]).to_string(),
            4 => ".".into(),
            5 => self.pick(&["[ab]", "[^ab]", "[a-c]", "[^\\n]", "[b-é]", "[\\-a]"]).into(),
            6 => self.pick(&["\\n", "[0-9]", ""]).into(),
            7 | 8 => format!("({})", self.pattern(depth - 1)),
            9 => format!("({}|{})", self.pattern(depth - 1), self.pattern(depth - 1)),
            _ => format!("{}{}", self.pattern(depth - 1), self.pattern(depth - 1)),
        };
        let count = self.pick(&["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{1,}"]);
        if count.is_empty() { atom } else { format!("({atom}){count}") }
    }

    fn text(&mut self) -> String {
        (0..self.below(7)).map(|_| self.pick(&["a", "b", "c", "é", ".", "-", "\n", "7", "ab"])).collect()
    }
}

#[test]
fn the_engine_answers_as_regex_automata_does() {
    let rounds = std::env::var("PORTCULLIS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400u64);
    let (mut matched, mut compared) = (0, 0);
    for seed in 1..=rounds {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let text = random.pattern(4);
        let Ok(pattern) = Pattern::new(&text) else { continue };
        let theirs = Regex::builder()
            .syntax(syntax::Config::new())
            .build(&format!(r"\A(?:{text})\z"))
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        for _ in 0..20 {
            let sample = random.text();
            let expected = theirs.is_match(Input::new(&sample).anchored(Anchored::Yes));
            assert_eq!(pattern.matches(&sample), Some(expected), "seed {seed}: {text} {sample:?}");
            compared += 1;
            matched += usize::from(expected);
        }
    }
    assert!(compared > 4000 && matched * 20 > compared, "{matched} of {compared} matched");
}
