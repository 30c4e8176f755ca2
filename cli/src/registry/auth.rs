//! What a registry asks for before it answers: a token of its token service (the distribution
//! project's token authentication), or a password.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::Uri;
use portcullis_signature::ReasonCode;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::Failure;

/// Longest token that is sent on: far above the tokens of Docker Hub (about 3 KiB).
const MAX_TOKEN: usize = 16 << 10;

/// A registry and what is asked of it.
type Scope = (String, String);

/// Tokens by registry and scope. A token that many reads need is fetched once: whoever comes
/// meanwhile waits for it.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Scope, Arc<OnceCell<String>>>>);

impl Tokens {
    /// The `Authorization` for this scope, if somebody has fetched it.
    pub(super) fn known(&self, host: &str, scope: &str) -> Option<String> {
        self.cell(host, scope).get().cloned()
    }

    /// The `Authorization` for this scope, fetched if nobody has yet.
    pub(super) async fn fetch(
        &self,
        host: &str,
        scope: &str,
        fetch: impl AsyncFnOnce() -> Result<String, Failure>,
    ) -> Result<String, Failure> {
        let cell = self.cell(host, scope);
        cell.get_or_try_init(async || Ok(format!("Bearer {}", fetch().await?))).await.cloned()
    }

    fn cell(&self, host: &str, scope: &str) -> Arc<OnceCell<String>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((host.to_owned(), scope.to_owned())).or_default().clone()
    }
}

/// A `WWW-Authenticate` challenge (RFC 9110 section 11.6.1) of a kind that registries use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where a token is to be had.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    realm: String,
    service: String,
    scope: String,
}

impl Challenge {
    /// The best of what is offered: a token rather than a password.
    pub(super) fn choose(headers: &[&str]) -> Option<Self> {
        let mut challenges: Vec<_> = headers.iter().filter_map(|header| Self::parse(header)).collect();
        let bearer = challenges.iter().position(|challenge| matches!(challenge, Self::Bearer(_)));
        if challenges.is_empty() { None } else { Some(challenges.swap_remove(bearer.unwrap_or(0))) }
    }

    fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut bearer = Bearer::default();
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => bearer.realm = value,
                "service" => bearer.service = value,
                "scope" => bearer.scope = value,
                _ => {}
            }
        }
        (!bearer.realm.is_empty()).then_some(Self::Bearer(bearer))
    }
}

/// `name="value"` pairs; a value may have commas (a scope's actions do) and escaped quotes.
fn parameters(mut text: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',']);
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted),
            None => {
                let (value, after) = rest.split_once(',').unwrap_or((rest, ""));
                (value.trim().to_owned(), after)
            }
        };
        pairs.push((name, value));
        text = after;
    }
    pairs
}

fn quoted_text(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

impl Bearer {
    /// The token service's address with the question in it.
    pub(super) fn address(&self, scope: &str) -> Result<Uri, Failure> {
        let scope = if self.scope.is_empty() { scope } else { &self.scope };
        let separator = if self.realm.contains('?') { '&' } else { '?' };
        let mut address = format!("{}{separator}scope={}", self.realm, encoded(scope));
        if !self.service.is_empty() {
            address.push_str(&format!("&service={}", encoded(&self.service)));
        }
        address.parse().map_err(|_| Failure::unavailable("its token service has no address"))
    }
}

/// Percent-encoding of everything but RFC 3986's unreserved characters and what scopes are made of.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The token in a token service's answer.
pub(super) fn token(body: &[u8]) -> Result<String, Failure> {
    // Services add members of their own, so unknown ones are no mistake here.
    #[derive(Deserialize)]
    struct Body {
        token: Option<String>,
        access_token: Option<String>,
    }
    let bad = |detail: &str| Failure::new(ReasonCode::RegistryUnauthorized, detail);
    let body: Body =
        serde_json::from_slice(body).map_err(|_| bad("its token service answers with no JSON object"))?;
    let token = body.token.or(body.access_token).ok_or_else(|| bad("its token service gives no token"))?;
    let fits = token.len() <= MAX_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(token) } else { Err(bad("its token service gives a token that no header can carry")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_its_commas() {
        let header =
            r#"Bearer realm="https://auth.test/token",service="r.test",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer(bearer)) = Challenge::choose(&["Basic realm=\"x\"", header]) else {
            panic!()
        };
        assert_eq!(bearer.scope, "repository:a/b:pull,push");
        assert_eq!(
            bearer.address("").unwrap(),
            "https://auth.test/token?scope=repository:a/b:pull,push&service=r.test"
        );
    }

    #[test]
    fn a_scope_that_is_not_named_is_the_reads_own() {
        let Some(Challenge::Bearer(bearer)) = Challenge::choose(&["bearer realm=\"https://a.test/t?x=1\""])
        else {
            panic!()
        };
        assert_eq!(
            bearer.address("repository:a b:pull").unwrap(),
            "https://a.test/t?x=1&scope=repository:a%20b:pull"
        );
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for header in ["", "Bearer", "Bearer service=\"x\"", "Negotiate abc", "Bearer realm"] {
            assert_eq!(Challenge::choose(&[header]), None, "{header}");
        }
    }

    #[test]
    fn a_token_that_would_break_a_header_is_refused() {
        assert_eq!(token(br#"{"token":"abc","expires_in":60}"#).unwrap(), "abc");
        assert_eq!(token(br#"{"access_token":"abc"}"#).unwrap(), "abc");
        for body in [&b"{}"[..], b"[]", br#"{"token":"a\r\nb"}"#, br#"{"token":"a b"}"#] {
            assert!(token(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
