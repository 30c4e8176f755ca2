//! The line that is wrong, with what is wrong under it.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Refused;

/// Members whose values nobody shows.
const SECRET: [&str; 14] = [
    "secret",
    "password",
    "value",
    "salt",
    "token",
    "private_key",
    "k",
    "d",
    "p",
    "q",
    "dp",
    "dq",
    "qi",
    "oth",
];

/// A longer line (a whole file on one, say) would be all there is on the screen.
const MAX_LINE: usize = 400;

impl Refused {
    /// For a terminal, with colours; none where nothing of the text can be shown.
    pub(crate) fn picture(&self) -> Option<String> {
        let place = self.place?;
        let begin = self.text.get(..self.span.start)?.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(begin..)?.lines().next().unwrap_or_default();
        if line.len() > MAX_LINE {
            return None;
        }
        let start = (self.span.start - begin).min(line.len());
        let end = (self.span.end.saturating_sub(begin)).clamp(start, line.len());
        let mut shown = masked(line);
        let last = self.path.as_deref().and_then(|path| path.rsplit(['.', '[']).next());
        if last.is_some_and(|name| SECRET.contains(&name)) && self.place_is_value(line, start) {
            shown.replace_range(start..end, &"*".repeat(end - start));
        }
        let annotation = AnnotationKind::Primary.span(start..end);
        let snippet =
            Snippet::source(shown).path(self.name.as_str()).line_start(place.line).annotation(annotation);
        let title = Level::ERROR.primary_title(self.said());
        Some(Renderer::styled().render(&[title.element(snippet)]))
    }

    /// Whether the place is that of a value and not of a member's name.
    fn place_is_value(&self, line: &str, start: usize) -> bool {
        let name = self.path.as_deref().and_then(|path| path.rsplit('.').next()).unwrap_or_default();
        !line.get(start..).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(name))
            || !line.get(start + name.len()..).is_some_and(|rest| rest.contains(':'))
    }
}

/// The line with a star for each byte of a secret in it: of what follows a member's name. Every place
/// stays where it is.
fn masked(line: &str) -> String {
    let mut bytes = line.as_bytes().to_vec();
    for name in SECRET {
        for (at, _) in line.match_indices(name) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
                continue;
            }
            let after = line[at + name.len()..].trim_start_matches(['"', '\'']);
            let Some(value) = after.trim_start().strip_prefix(':') else { continue };
            let value = value.trim_start();
            let begin = line.len() - value.len();
            let end = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
                Some('{' | '[') | None => continue,
                Some(_) => value.find([',', '}']).unwrap_or(value.len()),
            };
            bytes[begin..begin + end].fill(b'*');
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Source;

    #[test]
    fn a_line_is_shown_with_what_is_wrong_under_it() {
        let text = "issuers:\n  - {name: main, algorithms: [none]}\n";
        let refused = Source::new("jwt.yaml", text.into())
            .refused("`issuers[0].algorithms[0]`: `none` is no signature");
        let picture = anstream::adapter::strip_str(&refused.picture().unwrap()).to_string();
        let expected = "\
error: `issuers[0].algorithms[0]`: `none` is no signature
 --> jwt.yaml:2:31
  |
2 |   - {name: main, algorithms: [none]}
  |                               ^^^^";
        assert_eq!(picture, expected);
    }

    #[test]
    fn a_secret_is_never_shown() {
        for (text, reason) in [
            ("keys: [{id: a, secret: hunter2}]", "`keys[0].secret`: not base64"),
            ("keys: [{id: a b, secret: 'hunter2'}]", "`keys[0].id`: not an id"),
            ("{\"keys\": [{\"id\": \"a\", \"secret\": \"hunter2\"}]}", "`keys[0].secret`: not base64"),
            ("keys:\n  - secret:\n      hunter2\n", "`keys[0].secret`: not base64"),
            ("keys:\n  - secret: |\n      hunter2\n", "`keys[0].secret`: not base64"),
            ("jwks: {inline: {keys: [{kty: oct, k: hunter2}]}}", "`jwks.inline`: no key"),
            ("key: {value: hunter2, other: 1}", "`key.other`: unknown field `other`"),
            ("a: {password : \"hunter2\", user: 1}", "`a.user`: not a text"),
        ] {
            let refused = Source::new("f", text.into()).refused(reason);
            let picture = refused.picture().unwrap_or_else(|| panic!("{text}"));
            assert!(!picture.contains("hunter2"), "{picture}");
        }
    }
}
