//! Whether an answer to one tenant holds what is another's.
//!
//! Four kinds of signs, none of which needs to know the API: what the plan says is the other
//! tenant's (its id, its marks, the values that stand for its things), what stood in the other
//! tenant's own answer and not in this one's, the same body, the same entity tag. What the request
//! itself named may come back in a refusal without meaning anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{client::Answer, plan::Tenant};

/// What shows that an answer has another tenant's data. Never the data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// The tenant's id.
    Tenant,
    /// One of its marks, by its place in the plan.
    Mark(usize),
    /// The value that this parameter has for it.
    Parameter(String),
    /// What its own answer has at this place.
    Value(String),
    /// Its own answer, byte for byte.
    SameBody,
    /// Its own answer's entity tag.
    SameTag,
}

impl Sign {
    /// The sign in words.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Tenant => "names the tenant".into(),
            Self::Mark(n) => format!("has marks[{n}]"),
            Self::Parameter(name) => format!("has its `{name}`"),
            Self::Value(place) => format!("has what its own answer has at `{place}`"),
            Self::SameBody => "is its own answer".into(),
            Self::SameTag => "has its own answer's entity tag".into(),
        }
    }
}

/// Two answers to one question, apart in time: what is in both is no clock and no counter.
pub(super) struct Twice {
    pub(super) first: Answer,
    pub(super) second: Answer,
}

/// Shorter ones turn up by chance.
const LEAST_ID: usize = 4;
/// Texts that are compared as parts of others, the longest ones.
const MOST_PARTS: usize = 64;
/// Headers that are numbers and dates, and so could be anybody's id by chance.
const MEASURES: [&str; 6] =
    ["age", "content-length", "date", "expires", "last-modified", "x-envoy-upstream-service-time"];
/// Values of one answer.
const MOST_VALUES: usize = 20_000;

/// What is one tenant's and not the other's, for one operation.
pub(super) struct Belongings<'p> {
    tenant: &'p Tenant,
    /// Values of parameters that this tenant has and the other has not.
    ids: Vec<(&'p str, &'p str)>,
    /// Values of its own answers, and where they are.
    values: BTreeMap<String, String>,
    bodies: Vec<&'p [u8]>,
    tags: BTreeSet<&'p [u8]>,
}

impl<'p> Belongings<'p> {
    /// What `tenant` has that `other` has not, by their own answers where there are any.
    pub(super) fn new(tenant: &'p Tenant, other: &'p Tenant, own: Option<(&'p Twice, &'p Twice)>) -> Self {
        let is_others = |value: &str| other.id == value || other.parameters.values().any(|own| own == value);
        let ids = tenant
            .parameters
            .iter()
            .filter(|(_, value)| value.len() >= LEAST_ID && **value != tenant.id && !is_others(value))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut belongings =
            Self { tenant, ids, values: BTreeMap::new(), bodies: Vec::new(), tags: BTreeSet::new() };
        let Some((own, others)) = own else { return belongings };
        let same = [&others.first, &others.second]
            .iter()
            .any(|answer| answer.body == own.first.body || answer.body == own.second.body);
        if !same {
            belongings.bodies = [&own.first, &own.second]
                .map(|answer| answer.body.as_slice())
                .into_iter()
                .filter(|body| !body.is_empty())
                .collect();
            let again = leaves(&own.second.body);
            let (one, two) = (leaves(&others.first.body), leaves(&others.second.body));
            belongings.values = leaves(&own.first.body)
                .into_iter()
                .filter(|(text, _)| is_telling(text))
                .filter(|(text, _)| {
                    again.contains_key(text) && !one.contains_key(text) && !two.contains_key(text)
                })
                .collect();
        }
        let tag = |answer: &'p Answer| answer.header("etag");
        if let Some(own) = tag(&own.first)
            && tag(&others.first) != Some(own)
        {
            belongings.tags.insert(own);
        }
        belongings
    }

    /// What of this is in `answer`; `sent` are the values that the request itself had.
    pub(super) fn signs_in(&self, answer: &Answer, sent: &BTreeMap<String, String>) -> BTreeSet<Sign> {
        let mut signs = BTreeSet::new();
        let texts = texts(answer);
        let is_there = |what: &str| texts.iter().any(|text| has_word(text, what.as_bytes()));
        let was_sent = |what: &str| sent.values().any(|value| value == what);
        // A refusal may say what it refuses.
        let counts = |what: &str| answer.is_success() || !was_sent(what);
        let id = self.tenant.id.as_str();
        if id.len() >= LEAST_ID && counts(id) && is_there(id) {
            signs.insert(Sign::Tenant);
        }
        for (name, value) in &self.ids {
            if counts(value) && is_there(value) {
                signs.insert(Sign::Parameter((*name).to_owned()));
            }
        }
        for (n, mark) in self.tenant.marks.iter().enumerate() {
            if texts.iter().any(|text| find(text, mark.as_bytes()).is_some()) {
                signs.insert(Sign::Mark(n));
            }
        }
        let own: BTreeMap<String, String> = leaves(&answer.body);
        let mut parts: Vec<_> = self.values.iter().collect();
        parts.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        for (n, (text, place)) in parts.into_iter().enumerate() {
            let inside = n < MOST_PARTS && is_there(text);
            if (own.contains_key(text) || inside) && !was_sent(text) {
                signs.insert(Sign::Value(place.clone()));
            }
        }
        if answer.is_success() && self.bodies.contains(&answer.body.as_slice()) {
            signs.insert(Sign::SameBody);
        }
        if answer.header("etag").is_some_and(|tag| self.tags.contains(tag)) {
            signs.insert(Sign::SameTag);
        }
        signs
    }
}

/// Whether signs may be no more than what the request named, said back: then both tenants' answers are
/// the same as well.
pub(super) fn is_echo(signs: &BTreeSet<Sign>, sent: &BTreeMap<String, String>, tenant: &Tenant) -> bool {
    let named = |value: Option<&String>| value.is_some_and(|value| sent.values().any(|one| one == value));
    let mut names = false;
    signs.iter().all(|sign| match sign {
        Sign::SameBody => true,
        Sign::Tenant | Sign::Parameter(_) => {
            names = true;
            match sign {
                Sign::Parameter(name) => named(tenant.parameters.get(name)),
                _ => named(Some(&tenant.id)),
            }
        }
        _ => false,
    }) && names
}

/// A value of the same shape that is another one: what says this back says anything back. Nothing
/// where there is no such value.
pub(super) fn made_up(value: &str) -> Option<String> {
    // Each letter and digit becomes the next one of its kind; of a hexadecimal one, another such.
    let turned = |character: char| match character {
        '9' => '0',
        'f' => 'a',
        'F' => 'A',
        'z' => 'g',
        'Z' => 'G',
        '0'..='8' | 'a'..='e' | 'g'..='y' | 'A'..='E' | 'G'..='Y' => char::from(character as u8 + 1),
        other => other,
    };
    let other: String = value.chars().map(turned).collect();
    (other != value).then_some(other)
}

/// Whether an answer says back this value.
pub(super) fn says(answer: &Answer, value: &str) -> bool {
    texts(answer).iter().any(|text| has_word(text, value.as_bytes()))
}

/// The strings and numbers of a JSON body, of each of its lines or events, and where they are.
fn leaves(body: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (value, place) in documents(body) {
        collect(&value, &place, &mut found);
    }
    found
}

fn documents(body: &[u8]) -> Vec<(Value, String)> {
    if let Ok(value) = serde_json::from_slice(body) {
        return vec![(value, String::new())];
    }
    let lines = body.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate();
    let line = |(n, line): (usize, &[u8])| {
        let data = line.strip_prefix(b"data:").unwrap_or(line);
        Some((serde_json::from_slice(data).ok()?, format!("line {}:", n + 1)))
    };
    lines.filter_map(line).collect()
}

fn collect(value: &Value, place: &str, found: &mut BTreeMap<String, String>) {
    if found.len() >= MOST_VALUES {
        return;
    }
    let mut add = |text: String| {
        found.entry(text).or_insert_with(|| place.to_owned());
    };
    match value {
        Value::String(text) => add(text.clone()),
        Value::Number(number) => add(number.to_string()),
        Value::Array(elements) => {
            for element in elements {
                // Where in a list is nobody's business in a report.
                collect(element, &format!("{place}/*"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, &format!("{place}/{}", shown(name)), found);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A member's name as a report can have it: names can be data too, and long.
fn shown(name: &str) -> String {
    if name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    {
        name.to_owned()
    } else {
        "?".into()
    }
}

/// Whether a value is somebody's: long enough, and no word out of a list of states.
fn is_telling(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let mixed = text.bytes().any(|byte| !byte.is_ascii_alphabetic() && !matches!(byte, b'_' | b'-'));
    match text.len() {
        0..5 => false,
        5..8 => digits == text.len(),
        8..16 => mixed,
        _ => true,
    }
}

/// Everything of an answer that can be read: headers, the body as it is, and its strings after their
/// escapes.
fn texts(answer: &Answer) -> Vec<Vec<u8>> {
    let told = answer.headers.iter().filter(|(name, _)| !MEASURES.contains(&name.as_str()));
    let mut texts: Vec<Vec<u8>> = told.map(|(_, value)| value.clone()).collect();
    texts.push(answer.body.clone());
    // Without escapes the body says the same.
    if answer.body.contains(&b'\\') {
        for (value, _) in documents(&answer.body) {
            strings(&value, &mut texts);
        }
    }
    texts
}

fn strings(value: &Value, texts: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => texts.push(text.clone().into_bytes()),
        Value::Array(elements) => elements.iter().for_each(|element| strings(element, texts)),
        Value::Object(members) => {
            for (name, member) in members {
                texts.push(name.clone().into_bytes());
                strings(member, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether `what` is in `text` as a word: `o-17` is not in `o-170`.
fn has_word(text: &[u8], what: &[u8]) -> bool {
    let is_inside = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| find(rest, what)) {
        let (start, end) = (from + at, from + at + what.len());
        let before = start.checked_sub(1).and_then(|at| text.get(at));
        if !is_inside(before) && !is_inside(text.get(end)) {
            return true;
        }
        from = start + 1;
    }
    false
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text.get(at..)?.starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::client::End;

    fn tenant(id: &str, order: &str, marks: &[&str]) -> Tenant {
        let parameters = [("tenant", id), ("order", order), ("page", "1")];
        Tenant {
            id: id.into(),
            slug: None,
            headers: Vec::new(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            marks: marks.iter().map(|mark| (*mark).to_owned()).collect(),
        }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into(), end: End::Whole }
    }

    fn twice(first: &str, second: &str) -> Twice {
        Twice { first: answer(200, first), second: answer(200, second) }
    }

    const OWN: &str =
        r#"{"id":"o-1001","to":"Globex GmbH, Ring 5","state":"shipped","at":"2026-01-01T00:00:01Z","n":7}"#;
    const OWN_LATER: &str =
        r#"{"id":"o-1001","to":"Globex GmbH, Ring 5","state":"shipped","at":"2026-01-01T00:00:09Z","n":7}"#;
    const OTHERS: &str =
        r#"{"id":"o-2002","to":"Acme Inc., Main St 1","state":"open","at":"2026-01-01T00:00:02Z","n":8}"#;

    fn signs(status: u16, body: &str, sent: &[(&str, &str)]) -> Vec<Sign> {
        let (globex, acme) = (tenant("globex", "o-1001", &["Zebra-77"]), tenant("acme", "o-2002", &[]));
        let (own, others) = (twice(OWN, OWN_LATER), twice(OTHERS, OTHERS));
        let belongings = Belongings::new(&globex, &acme, Some((&own, &others)));
        let sent = sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        belongings.signs_in(&answer(status, body), &sent).into_iter().collect()
    }

    #[test]
    fn anothers_data_is_known_by_each_sign_alone() {
        let parameter = Sign::Parameter("order".into());
        let value = Sign::Value("/to".into());
        for (status, body, expected) in [
            (200, r#"{"owner":"globex"}"#, vec![Sign::Tenant]),
            (200, r#"{"owner":"glob\u0065x"}"#, vec![Sign::Tenant]),
            (403, r#"<p>order of globex</p>"#, vec![Sign::Tenant]),
            (200, r#"{"next":"o-1001"}"#, vec![parameter.clone()]),
            (500, "at zZebra-77z", vec![Sign::Mark(0)]),
            (404, r#"{"error":"not yours","to":"Globex GmbH, Ring 5"}"#, vec![value.clone()]),
            (404, r#"{"error":"ask Globex GmbH, Ring 5 for it"}"#, vec![value.clone()]),
            (200, OWN_LATER, vec![parameter.clone(), value.clone(), Sign::SameBody]),
        ] {
            assert_eq!(signs(status, body, &[]), expected, "{body}");
        }
    }

    #[test]
    fn what_is_nobodys_is_no_sign() {
        for (status, body) in [
            (200, OTHERS),
            (200, r#"{"id":"o-10011","x":"globex-2","y":"xo-1001"}"#),
            // A state that both may have, a clock, a small number.
            (200, r#"{"state":"shipped","at":"2026-01-01T00:00:09Z","n":7}"#),
            (404, ""),
            (404, r#"{"code": "TENANT_NOT_FOUND", "message": "There is nothing here."}"#),
        ] {
            assert_eq!(signs(status, body, &[]), [], "{body}");
        }
    }

    #[test]
    fn a_refusal_may_name_what_it_refuses_and_nothing_more() {
        let sent = [("order", "o-1001"), ("tenant", "globex")];
        assert_eq!(signs(404, "no order o-1001 in globex", &sent), []);
        assert_eq!(signs(404, "no order o-1001, Zebra-77", &sent), [Sign::Mark(0)]);
        assert_eq!(signs(200, r#"{"id":"o-1001"}"#, &sent), [Sign::Parameter("order".into())]);
    }

    #[test]
    fn what_says_anything_back_is_an_echo() {
        let globex = tenant("globex", "o-1001", &[]);
        let sent = [("order".to_owned(), "o-1001".to_owned())].into();
        let parameter = BTreeSet::from([Sign::Parameter("order".into())]);
        assert!(is_echo(&parameter, &sent, &globex));
        assert!(!is_echo(&parameter, &BTreeMap::new(), &globex));
        assert!(is_echo(&BTreeSet::from([Sign::Parameter("order".into()), Sign::SameBody]), &sent, &globex));
        for signs in [vec![], vec![Sign::SameBody], vec![Sign::Parameter("order".into()), Sign::Mark(0)]] {
            assert!(!is_echo(&signs.into_iter().collect(), &sent, &globex));
        }
        for value in ["o-1001", "7", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "globex"] {
            let other = made_up(value).unwrap();
            assert!(other != value && other.len() == value.len(), "{value}: {other}");
        }
        assert_eq!(made_up("--"), None);
    }

    #[test]
    fn answers_that_are_alike_belong_to_nobody() {
        let (globex, acme) = (tenant("globex", "o-1001", &[]), tenant("acme", "o-2002", &[]));
        let prices = r#"{"prices":["100000 for a thousand"]}"#;
        let (own, others) = (twice(prices, prices), twice(prices, prices));
        let belongings = Belongings::new(&globex, &acme, Some((&own, &others)));
        assert!(belongings.signs_in(&answer(200, prices), &BTreeMap::new()).is_empty());
    }
}
