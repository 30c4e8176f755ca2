//! Other verifiers' globs and regular expressions as our patterns, which are anchored at both ends.

/// Longest list that an alternation may become.
const MAX_ALTERNATIVES: usize = 16;

/// Patterns for the same texts, or fewer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Patterns {
    pub(super) patterns: Vec<String>,
    /// What the original would have matched and these do not, in words.
    pub(super) stricter: Option<&'static str>,
}

/// A regular expression of the usual simple kind: literals, `.`, `.*`, `[^/]+`, groups of
/// alternatives. None for anything else.
pub(super) fn from_regex(text: &str) -> Option<Patterns> {
    let (anchored_start, rest) = strip(text.strip_prefix('^'), text);
    let (anchored_end, body) = strip(rest.strip_suffix('$').filter(|body| !body.ends_with('\\')), rest);
    let mut parser = Parser { rest: body, loose: false };
    let patterns = parser.alternatives(0)?;
    if !parser.rest.is_empty() || patterns.iter().any(|pattern| pattern.is_empty() || pattern.contains("***"))
    {
        return None;
    }
    let stricter = if !(anchored_start && anchored_end) {
        Some("the expression is not anchored there, and matched anything around it")
    } else if parser.loose {
        Some("an unescaped dot matched any character there")
    } else {
        None
    };
    Some(Patterns { patterns, stricter })
}

fn strip<'a>(stripped: Option<&'a str>, whole: &'a str) -> (bool, &'a str) {
    (stripped.is_some(), stripped.unwrap_or(whole))
}

struct Parser<'a> {
    rest: &'a str,
    /// A dot was taken for itself.
    loose: bool,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        let stripped = self.rest.strip_prefix(token);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    /// `a|b|c` until a closing parenthesis or the end.
    fn alternatives(&mut self, depth: usize) -> Option<Vec<String>> {
        let mut all = self.sequence(depth)?;
        while self.eat("|") {
            all.extend(self.sequence(depth)?);
        }
        (all.len() <= MAX_ALTERNATIVES).then_some(all)
    }

    fn sequence(&mut self, depth: usize) -> Option<Vec<String>> {
        let mut all = vec![String::new()];
        while let Some(next) = self.rest.chars().next().filter(|next| !matches!(next, '|' | ')')) {
            if self.eat(".*") || self.eat(".+") {
                push(&mut all, "**");
            } else if self.eat("[^/]*") || self.eat("[^/]+") || self.eat("[0-9]+") || self.eat("\\d+") {
                push(&mut all, "*");
            } else if next == '(' {
                self.rest = &self.rest[1..];
                // Captures and plain groups; flags and look-around are not simple.
                if !self.eat("?:") && self.rest.starts_with('?') || depth == 4 {
                    return None;
                }
                let inner = self.alternatives(depth + 1)?;
                if !self.eat(")") {
                    return None;
                }
                all = all
                    .iter()
                    .flat_map(|head| inner.iter().map(move |tail| format!("{head}{tail}")))
                    .collect();
            } else {
                let literal = self.literal(next)?;
                push(&mut all, &literal.to_string());
            }
            if self.rest.starts_with(['*', '+', '?', '{']) || all.len() > MAX_ALTERNATIVES {
                return None;
            }
        }
        Some(all)
    }

    fn literal(&mut self, next: char) -> Option<char> {
        self.rest = &self.rest[next.len_utf8()..];
        match next {
            '\\' => {
                let escaped = self.rest.chars().next().filter(char::is_ascii_punctuation)?;
                self.rest = &self.rest[1..];
                // A star that means itself has no pattern.
                (escaped != '*').then_some(escaped)
            }
            '.' => {
                self.loose = true;
                Some('.')
            }
            '[' | ']' | '{' | '}' | '^' | '$' | '*' | '+' | '?' => None,
            other => Some(other),
        }
    }
}

fn push(all: &mut [String], text: &str) {
    for one in all {
        one.push_str(text);
    }
}

/// A wildcard text in which a star matches slashes too and a question mark one character: Kyverno's.
pub(super) fn from_wildcards(text: &str) -> Patterns {
    let mut pattern = String::new();
    for character in text.chars() {
        match character {
            '*' if pattern.ends_with("**") => {}
            '*' => pattern.push_str("**"),
            '?' if pattern.ends_with('*') => {}
            // Broader by what else a star matches; the caller says whether that is stricter.
            '?' => pattern.push('*'),
            other => pattern.push(other),
        }
    }
    Patterns { patterns: vec![pattern], stricter: None }
}

/// An image pattern without its tag or digest, which rules are not about, and with the name of Docker
/// Hub that images here have. The flag says whether a tag was dropped that meant something.
pub(super) fn image(pattern: &str) -> (String, bool) {
    let (name, digest) = pattern.split_once('@').map_or((pattern, false), |(name, _)| (name, true));
    let (name, tag) = match name.rsplit_once(':') {
        Some((head, tag)) if !tag.contains('/') && head.contains('/') => (head, Some(tag)),
        _ => (name, None),
    };
    let dropped = digest || tag.is_some_and(|tag| !matches!(tag, "*" | "**"));
    let name = ["index.docker.io/", "registry-1.docker.io/"]
        .iter()
        .find_map(|hub| name.strip_prefix(hub))
        .map_or_else(|| name.to_owned(), |rest| format!("docker.io/{rest}"));
    (name, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_expressions_become_patterns() {
        let cases: [(&str, &[&str], bool); 7] = [
            (r"^https://github\.com/acme/.*$", &["https://github.com/acme/**"], false),
            (r"https://github\.com/acme/.*", &["https://github.com/acme/**"], true),
            (r"^https://github.com/acme/shop@.+$", &["https://github.com/acme/shop@**"], true),
            (r"^refs/tags/v[^/]+$", &["refs/tags/v*"], false),
            (r"^(a|b)@x\.test$", &["a@x.test", "b@x.test"], false),
            (r"^a$", &["a"], false),
            (r"^x(?:1|2(3|4))$", &["x1", "x23", "x24"], false),
        ];
        for (regex, patterns, stricter) in cases {
            let found = from_regex(regex).unwrap_or_else(|| panic!("{regex}"));
            assert_eq!(found.patterns, patterns, "{regex}");
            assert_eq!(found.stricter.is_some(), stricter, "{regex}");
        }
    }

    #[test]
    fn an_expression_that_has_no_pattern_is_refused() {
        for regex in
            ["a?", "[a-z]+", "a{2}", "(?i)a", "(a", "a)", r"\w+", r"a\*b", "", "^$", "a**", "(a|)b*", "a+"]
        {
            assert_eq!(from_regex(regex), None, "{regex}");
        }
    }

    #[test]
    fn wildcards_that_cross_slashes_stay_so() {
        assert_eq!(from_wildcards("ghcr.io/acme/*").patterns, ["ghcr.io/acme/**"]);
        assert_eq!(from_wildcards("*").patterns, ["**"]);
        assert_eq!(from_wildcards("**").patterns, ["**"]);
        assert_eq!(from_wildcards("a?c").patterns, ["a*c"]);
    }

    #[test]
    fn an_image_pattern_loses_its_tag_and_the_hubs_other_names() {
        assert_eq!(image("ghcr.io/acme/*:v1"), ("ghcr.io/acme/*".into(), true));
        assert_eq!(image("ghcr.io/acme/*:*"), ("ghcr.io/acme/*".into(), false));
        assert_eq!(image("index.docker.io/library/*"), ("docker.io/library/*".into(), false));
        assert_eq!(image("localhost:5000/a"), ("localhost:5000/a".into(), false));
        assert_eq!(image("**"), ("**".into(), false));
    }
}
