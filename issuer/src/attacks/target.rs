//! Who is attacked: what a case needs to know of a gateway to be built for it.

use std::fmt;

use portcullis_core::Code;
use serde_json::Value;

use super::{
    Case, Class, Expect, Request, UpstreamHeader,
    corpus::{Condition, Entry, Published, RequestEntry},
};
use crate::forge::{ForgeError, Mint, Scene};

/// A gateway, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The keys, and what honest tokens are like.
    pub scene: Scene,
    /// The algorithms that it allows for the issuer, where that is known.
    pub algorithms: Option<Vec<String>>,
    /// The path of an honest request.
    pub path: String,
    /// The header that it sets to the verified subject, where it does.
    pub subject_header: Option<String>,
    /// A cookie that may carry the token, where it looks for one.
    pub cookie: Option<String>,
    /// A query parameter that may carry the token, where it looks for one.
    pub query: Option<String>,
    /// A path prefix that needs no token, where it has one.
    pub public_prefix: Option<String>,
    /// The issuer's key set is the corpus's own.
    pub own_key_set: bool,
    /// Its clock stands still between minting and judging.
    pub exact_clock: bool,
}

/// Why a case cannot be built for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It needs a key of the issuer that is not there.
    NoKey(String),
    /// It needs the issuer to publish a key of the corpus.
    KeySet,
    /// The gateway has not what the case is about.
    Condition(Condition),
    /// The gateway does not allow the algorithm of an honest token.
    Algorithm(String),
    /// The entry makes no sense: a defect of the corpus.
    Wrong(String),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(name) => write!(f, "needs the issuer's private key `{name}`"),
            Self::KeySet => f.write_str("needs the issuer's key set"),
            Self::Condition(condition) => f.write_str(match condition {
                Condition::Cookie => "needs a gateway that takes tokens from a cookie",
                Condition::NoCookie => "needs a gateway that takes no tokens from cookies",
                Condition::Query => "needs a gateway that takes tokens from the query",
                Condition::NoQuery => "needs a gateway that takes no tokens from the query",
                Condition::Public => "needs a path without a token",
                Condition::ExactClock => "needs a clock that stands still",
                Condition::SubjectHeader => "needs a gateway that tells the upstream the subject",
            }),
            Self::Algorithm(alg) => write!(f, "needs a gateway that allows `{alg}`"),
            Self::Wrong(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for LeftOut {}

impl From<ForgeError> for LeftOut {
    fn from(error: ForgeError) -> Self {
        match error {
            ForgeError::NoKey(name) => Self::NoKey(name),
            ForgeError::Wrong(reason) => Self::Wrong(reason),
        }
    }
}

impl Target {
    /// The case that an entry of the corpus is for this target.
    ///
    /// # Errors
    ///
    /// [`LeftOut`].
    pub fn build(&self, class: Class, entry: &Entry) -> Result<Case, LeftOut> {
        if class == Class::KeySet && !self.own_key_set {
            return Err(LeftOut::KeySet);
        }
        if let Some(condition) = entry.when.iter().find(|condition| !self.has(**condition)) {
            return Err(LeftOut::Condition(*condition));
        }
        let scene = self.scene();
        let entry_error = |reason: &str| LeftOut::Wrong(format!("`{}`: {reason}", entry.id));
        let expect = match (entry.allow, entry.deny.0.is_empty()) {
            (true, true) => match self.alg(&entry.token) {
                Some(alg) if !self.allows(&alg) => return Err(LeftOut::Algorithm(alg)),
                _ => Expect::Allow,
            },
            (false, false) => Expect::Deny(self.codes(&entry.token, &entry.deny.0)),
            _ => return Err(entry_error("an entry has `deny` or `allow: true`")),
        };
        let request = match &entry.request {
            None => Request::get().path(self.path.clone()).bearer(scene.forge(&entry.token)?),
            Some(request) => self.request(&scene, &entry.token, request)?,
        };
        let mut upstream = Vec::new();
        for (name, values) in &entry.upstream {
            let text = |text: &String| {
                String::from_utf8(scene.variables.expand(text)?).map_err(|_| entry_error("not text"))
            };
            let values = values.iter().map(text).collect::<Result<_, _>>()?;
            upstream.push(UpstreamHeader { name: text(name)?, values });
        }
        let Entry { id, name, origin, .. } = entry.clone();
        Ok(Case { id, name, class, origin, request, expect, upstream })
    }

    /// The honest request that every attack differs from.
    ///
    /// # Errors
    ///
    /// As [`Target::build`].
    pub fn honest(&self) -> Result<Request, LeftOut> {
        Ok(Request::get().path(self.path.clone()).bearer(self.scene().forge(&Mint::default())?))
    }

    fn has(&self, condition: Condition) -> bool {
        match condition {
            Condition::Cookie => self.cookie.is_some(),
            Condition::NoCookie => self.cookie.is_none(),
            Condition::Query => self.query.is_some(),
            Condition::NoQuery => self.query.is_none(),
            Condition::Public => self.public_prefix.is_some(),
            Condition::ExactClock => self.exact_clock,
            Condition::SubjectHeader => self.subject_header.is_some(),
        }
    }

    /// The codes, where the gateway allows the algorithm; if not, it never gets as far as the
    /// checks that come after that one.
    fn codes(&self, mint: &Mint, codes: &[Code]) -> Vec<Code> {
        let Some(alg) = self.alg(mint) else { return codes.to_vec() };
        let later = [Code::TypeMismatch, Code::KidNotFound, Code::KeyUnusable, Code::SignatureInvalid];
        if !self.allows(&alg) && codes.iter().all(|code| later.contains(code)) {
            return vec![Code::AlgorithmNotAllowed];
        }
        codes.to_vec()
    }

    /// What the header of a token says that its algorithm is.
    fn alg(&self, mint: &Mint) -> Option<String> {
        let key = mint.key.as_ref().or(self.scene.key.as_ref()).and_then(|name| self.scene.keys.get(name));
        let in_header = mint.header.get("alg").and_then(Value::as_str).filter(|alg| !alg.contains("${"));
        in_header.or(mint.alg.as_deref()).or(key.map(|key| key.natural_alg().as_str())).map(str::to_owned)
    }

    fn allows(&self, alg: &str) -> bool {
        self.algorithms.as_ref().is_none_or(|allowed| allowed.iter().any(|own| own == alg))
    }

    fn request(&self, scene: &Scene, token: &Mint, entry: &RequestEntry) -> Result<Request, LeftOut> {
        let mut variables = scene.variables.clone();
        let mentions = |name: &str| {
            let texts = entry.headers.iter().map(|(_, value)| value).chain(&entry.path);
            texts.clone().any(|text| text.contains(name))
        };
        if mentions("${token}") {
            variables.set("token", scene.forge(token)?);
        }
        if mentions("${honest}") {
            variables.set("honest", scene.forge(&Mint::default())?);
        }
        if mentions("${expired}") {
            let mut expired = Mint::default();
            expired.claims.insert("exp".into(), 1.into());
            variables.set("expired", scene.forge(&expired)?);
        }
        let wrong = |text: &str| LeftOut::Wrong(format!("`{text}` is not text"));
        let text = |text: &str| String::from_utf8(variables.expand(text)?).map_err(|_| wrong(text));
        let mut request = Request::get().path(match &entry.path {
            Some(path) => text(path)?,
            None => self.path.clone(),
        });
        if let Some(method) = &entry.method {
            request = request.method(method);
        }
        for (name, value) in &entry.headers {
            request = request.header(&text(name)?.to_ascii_lowercase(), variables.expand(value)?);
        }
        Ok(request)
    }

    /// The scene with the variables that entries may use.
    fn scene(&self) -> Scene {
        let mut scene = self.scene.clone();
        let variables = &mut scene.variables;
        let claim = |name: &str| match self.scene.claims.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Array(elements)) => elements.first().and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let both = [("issuer", "ISSUER", "iss"), ("audience", "AUDIENCE", "aud")];
        for (lower, upper, name) in both {
            if let Some(text) = claim(name) {
                variables.set(upper, text.to_uppercase());
                variables.set(lower, text);
            }
        }
        variables.set("subject", claim("sub").unwrap_or_default());
        variables.set("path", self.path.clone());
        if let Some(key) = self.scene.key.as_ref().and_then(|name| self.scene.keys.get(name)) {
            variables.set("kid", key.kid());
            variables.set("KID", key.kid().to_uppercase());
            variables.set("alg", key.natural_alg().as_str());
            variables.set("alg-lower", key.natural_alg().as_str().to_lowercase());
        }
        for (name, key) in &self.scene.keys {
            let jwk = key.bare_jwk();
            for member in ["n", "x", "y"] {
                if let Some(text) = jwk[member].as_str() {
                    variables.set(&format!("{name}-{member}"), text);
                }
            }
        }
        let optional = [
            ("subject-header", &self.subject_header),
            ("cookie", &self.cookie),
            ("query", &self.query),
            ("public", &self.public_prefix),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                variables.set(name, value.clone());
            }
        }
        if let Some(name) = &self.subject_header {
            variables.set("subject-header_", name.replace('-', "_"));
        }
        if let Some(prefix) = &self.public_prefix {
            variables.set("PUBLIC", prefix.to_uppercase());
        }
        scene
    }

    /// The JWK of an entry of the corpus's key set.
    ///
    /// # Errors
    ///
    /// As [`Target::build`].
    pub fn publish(&self, entry: &Published) -> Result<Value, LeftOut> {
        if let Some(jwk) = &entry.jwk {
            return Ok(jwk.clone());
        }
        let name = entry.key.clone().unwrap_or_default();
        let key = self.scene.keys.get(&name).ok_or(LeftOut::NoKey(name))?;
        let mut jwk = key.jwk();
        if let Some(kid) = &entry.kid {
            jwk["kid"] = kid.as_str().into();
        }
        let scene = self.scene();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| !entry.without.contains(name));
            for (name, value) in &entry.with {
                members.insert(name.clone(), scene.fill(value)?);
            }
        }
        Ok(jwk)
    }
}
