use alloc::{format, string::ToString, vec};

use super::*;
use crate::rules::Requirement;

/// What a rule matches, said without an index.
fn matches(rule: &Rule, method: &str, host: &str, path: &[Cow<'_, str>]) -> bool {
    let of_host = |own: &HostPattern| match own {
        HostPattern::Exact(own) => own == host,
        HostPattern::OneLabelBelow(base) => host
            .strip_suffix(base.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|label| !label.is_empty() && !label.contains('.')),
    };
    let of_path = match &rule.path {
        PathPattern::Any => true,
        PathPattern::Exact(own) => own == path,
        PathPattern::Prefix(own) => path.get(..own.len()).is_some_and(|head| own == head),
        PathPattern::Template(parts) => of_template(parts, path),
    };
    (rule.methods.is_empty() || rule.methods.iter().any(|own| own == method))
        && (rule.hosts.is_empty() || rule.hosts.iter().any(of_host))
        && of_path
}

fn of_template(parts: &[Part], path: &[Cow<'_, str>]) -> bool {
    let mut rest = path.iter();
    for part in parts {
        match (part, rest.next()) {
            (Part::Rest, _) => return true,
            (Part::Literal(own), Some(segment)) if own == segment => {}
            (Part::Variable(_), Some(segment)) if !segment.is_empty() => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

/// Numbers that look like chance and are the same every time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed.checked_rem(u64::try_from(limit).unwrap()).unwrap()).unwrap()
    }

    fn one_of<'s>(&mut self, texts: &[&'s str]) -> &'s str {
        texts[self.below(texts.len())]
    }

    fn segments(&mut self) -> Vec<String> {
        let count = self.below(4);
        (0..count).map(|_| self.one_of(&["", "a", "b", "ab"]).to_string()).collect()
    }

    fn host(&mut self) -> HostPattern {
        let name = self.one_of(&["a.test", "b.a.test", "test"]).to_string();
        if self.below(2) == 0 { HostPattern::Exact(name) } else { HostPattern::OneLabelBelow(name) }
    }

    fn path(&mut self) -> PathPattern {
        match self.below(5) {
            0 => PathPattern::Any,
            1 => PathPattern::Exact(self.segments()),
            2 => PathPattern::Prefix(self.segments()),
            _ => {
                let literal_or_variable = |(at, text): (usize, String)| {
                    if text.len() == 2 { Part::Variable(format!("v{at}")) } else { Part::Literal(text) }
                };
                let mut parts: Vec<_> =
                    self.segments().into_iter().enumerate().map(literal_or_variable).collect();
                if self.below(2) == 0 {
                    parts.push(Part::Rest);
                }
                PathPattern::Template(parts)
            }
        }
    }

    fn rule(&mut self) -> Rule {
        let hosts = self.below(3);
        Rule {
            hosts: (0..hosts).map(|_| self.host()).collect(),
            methods: if self.below(2) == 0 { Vec::new() } else { vec![self.one_of(&["GET", "PUT"]).into()] },
            path: self.path(),
            requirement: Requirement::Nothing,
            scopes: Vec::new(),
            any_scopes: Vec::new(),
            conditions: Vec::new(),
            report: None,
        }
    }
}

#[test]
fn the_index_finds_what_looking_at_every_rule_finds() {
    let mut dice = Dice(1);
    let (mut found, mut missed) = (0, 0);
    for _ in 0..3000 {
        let count = dice.below(12);
        let rules: Vec<Rule> = (0..count).map(|_| dice.rule()).collect();
        let index = Index::new(&rules);
        for _ in 0..20 {
            let method = dice.one_of(&["GET", "PUT", ""]);
            let host = dice.one_of(&["a.test", "b.a.test", "c.b.a.test", ".test", "test", ""]);
            let path: Vec<Cow<'_, str>> = dice.segments().into_iter().map(Cow::Owned).collect();
            let first = rules.iter().position(|rule| matches(rule, method, host, &path));
            assert_eq!(index.find(&rules, method, host, &path), first, "{method} {host} {path:?} {rules:?}");
            *if first.is_some() { &mut found } else { &mut missed } += 1;
        }
    }
    assert!(found > 10_000 && missed > 10_000, "{found} found, {missed} not");
}
