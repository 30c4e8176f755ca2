//! The mint language: how people describe a token, honest or not, in a suite or in the corpus.
//!
//! A [`Mint`] says what differs from an honest token of a [`Scene`]; [`Scene::forge`] makes the
//! bytes. Nothing about it is checked for sense: tokens that lie are what it is for.

mod signature;
mod template;
mod time;

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::{
    template::{Lookup, Variables},
    time::TimeError,
};
use crate::{
    keys::{Alg, KeyError, SampleToken, SigningKey, base64url},
    mint::Raw,
};

/// What a token is like where it is not like the scene's honest one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Mint {
    /// Another token that this one is like, by its name.
    pub like: Option<String>,
    /// The key whose `kid` and algorithm the header names, and who signs.
    pub key: Option<String>,
    /// `alg` in the header, where it is not the key's own.
    pub alg: Option<String>,
    /// Header parameters to set.
    pub header: Map<String, Value>,
    /// Header parameters to leave out.
    pub without_header: Vec<String>,
    /// Claims to set; text such as `now + 5m` becomes a NumericDate.
    pub claims: Map<String, Value>,
    /// Claims given as JSON text, for numbers that no number type holds.
    pub claims_text: BTreeMap<String, String>,
    /// Claims to leave out.
    pub without: Vec<String>,
    /// The header's JSON text; `${json}`, `${open}` and `${rest}` are the text it takes the place
    /// of, whole, without its last brace and without its first.
    pub header_text: Option<String>,
    /// The same for the payload.
    pub payload_text: Option<String>,
    /// Who signs, where it is not `key`.
    pub signer: Option<String>,
    /// What the signature is made with, where it is not the header's `alg`.
    pub signer_alg: Option<String>,
    /// Signs with an HMAC whose secret is this: `pem`, `pem-trimmed`, `der`, `jwk`, `modulus`,
    /// `modulus-text`, `kid` of `key`, or `hex:…`.
    pub secret: Option<String>,
    /// The bytes of the salt of an RSASSA-PSS signature.
    pub salt: Option<usize>,
    /// The signature's bytes, put together from parts; an empty list is no signature.
    pub signature: Option<Vec<String>>,
    /// What is signed, in base64url: `${header}.${payload}` with changes.
    pub signing_input: Option<String>,
    /// The token as it is sent: `${header}.${payload}.${signature}` with changes.
    pub compact: Option<String>,
}

impl Mint {
    /// This mint where it says something, `base` where it does not.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let mut all = base.clone();
        all.header.extend(self.header.clone());
        all.claims.extend(self.claims.clone());
        all.claims_text.extend(self.claims_text.clone());
        // What is set again is no longer left out.
        all.without.retain(|name| !self.claims.contains_key(name));
        all.without_header.retain(|name| !self.header.contains_key(name));
        all.without.extend(self.without.clone());
        all.without_header.extend(self.without_header.clone());
        all.like.clone_from(&self.like);
        let Self { key, alg, header_text, payload_text, signer, signer_alg, secret, .. } = self.clone();
        let Self { salt, signature, signing_input, compact, .. } = self.clone();
        all.key = key.or(all.key);
        all.alg = alg.or(all.alg);
        all.header_text = header_text.or(all.header_text);
        all.payload_text = payload_text.or(all.payload_text);
        all.signer = signer.or(all.signer);
        all.signer_alg = signer_alg.or(all.signer_alg);
        all.secret = secret.or(all.secret);
        all.salt = salt.or(all.salt);
        all.signature = signature.or(all.signature);
        all.signing_input = signing_input.or(all.signing_input);
        all.compact = compact.or(all.compact);
        all
    }
}

/// Why there is no such token.
#[derive(Debug)]
pub enum ForgeError {
    /// Its key is not there: a case that needs it has to be left out.
    NoKey(String),
    /// The description makes no sense.
    Wrong(String),
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(name) => write!(f, "there is no key `{name}`"),
            Self::Wrong(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ForgeError {}

impl From<KeyError> for ForgeError {
    fn from(error: KeyError) -> Self {
        if error.is_withheld() {
            return Self::NoKey("of the sample token".into());
        }
        Self::Wrong(error.to_string())
    }
}

impl From<TimeError> for ForgeError {
    fn from(error: TimeError) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// What honest tokens are like, and what a mint may refer to.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The keys by their names.
    pub keys: BTreeMap<String, SigningKey>,
    /// The key of a mint that names none.
    pub key: Option<String>,
    /// Header parameters of every token beside `alg` and `kid`.
    pub header: Map<String, Value>,
    /// Claims of every token.
    pub claims: Map<String, Value>,
    /// Seconds since 1970: what `now` is.
    pub now: i64,
    /// Seconds: what `skew` is in a time.
    pub skew: i64,
    /// Text for `${name}`.
    pub variables: Variables,
    /// The honest token's own bytes, where it is somebody else's.
    pub verbatim: Option<Raw>,
}

impl Scene {
    /// A scene whose honest token is `sample`, of a key called `name`.
    #[must_use]
    pub fn of_sample(name: &str, sample: &SampleToken, now: i64, skew: i64) -> Self {
        let SampleToken { key, raw, header, claims } = sample.clone();
        Self {
            keys: [(name.to_owned(), key)].into(),
            key: Some(name.into()),
            header,
            claims,
            now,
            skew,
            verbatim: Some(raw),
            ..Self::default()
        }
    }

    /// The token that `mint` describes, as it is sent.
    ///
    /// # Errors
    ///
    /// [`ForgeError`].
    pub fn forge(&self, mint: &Mint) -> Result<Vec<u8>, ForgeError> {
        let name = mint
            .key
            .as_deref()
            .or(self.key.as_deref())
            .ok_or_else(|| ForgeError::Wrong("`key` is missing".into()))?;
        let key = self.key(name)?;
        let header = self.header_bytes(mint, key)?;
        let payload = self.payload_bytes(mint)?;
        let mut local = self.variables.clone();
        local.set("header-unclean", unclean(&header));
        local.set("payload-unclean", unclean(&payload));
        local.set("payload-odd", odd(&payload));
        local.set("header", base64url(&header));
        local.set("payload", base64url(&payload));
        let input = match &mint.signing_input {
            Some(text) => local.expand(text)?,
            None => local.expand("${header}.${payload}")?,
        };
        let signature = self.signature(mint, key, &header, &input)?;
        let encoded = base64url(&signature);
        let Some(text) = &mint.compact else {
            return Ok([&input, b".".as_slice(), encoded.as_bytes()].concat());
        };
        let (left, right) = encoded.split_at(encoded.len() / 2);
        local.set("signature-left", left);
        local.set("signature-right", right);
        local.set("signature-unclean", unclean(&signature));
        local.set("signature", encoded.clone());
        local.expand(text)
    }

    /// A value with its variables filled in.
    ///
    /// # Errors
    ///
    /// [`ForgeError::Wrong`] for a variable that is not there.
    pub fn fill(&self, value: &Value) -> Result<Value, ForgeError> {
        self.value(value, Dates::AsText)
    }

    fn key(&self, name: &str) -> Result<&SigningKey, ForgeError> {
        self.keys.get(name).ok_or_else(|| ForgeError::NoKey(name.into()))
    }

    fn header_bytes(&self, mint: &Mint, key: &SigningKey) -> Result<Vec<u8>, ForgeError> {
        let honest_key = mint.key.is_none() || mint.key == self.key;
        let unchanged = mint.alg.is_none() && mint.header.is_empty() && mint.without_header.is_empty();
        if let Some(raw) = self.verbatim.as_ref().filter(|_| honest_key && unchanged) {
            return self.text(&String::from_utf8_lossy(&raw.header), mint.header_text.as_deref());
        }
        let mut header = self.header.clone();
        let alg = mint.alg.clone().unwrap_or_else(|| key.natural_alg().as_str().into());
        header.insert("alg".into(), alg.into());
        header.insert("kid".into(), key.kid().into());
        for (name, value) in &mint.header {
            header.insert(name.clone(), self.value(value, Dates::AsText)?);
        }
        for name in &mint.without_header {
            header.remove(name);
        }
        self.text(&Value::Object(header).to_string(), mint.header_text.as_deref())
    }

    fn payload_bytes(&self, mint: &Mint) -> Result<Vec<u8>, ForgeError> {
        let unchanged = mint.claims.is_empty() && mint.claims_text.is_empty() && mint.without.is_empty();
        if let Some(raw) = self.verbatim.as_ref().filter(|_| unchanged) {
            return self.text(&String::from_utf8_lossy(&raw.payload), mint.payload_text.as_deref());
        }
        let mut claims = Map::new();
        for (name, value) in self.claims.iter().chain(&mint.claims) {
            claims.insert(name.clone(), self.value(value, Dates::AsNumbers)?);
        }
        for name in &mint.without {
            claims.remove(name);
        }
        // Text that a number cannot hold takes the place of a value that occurs nowhere else.
        let mark = |name: &str| Value::String(format!("\u{1}{name}\u{1}"));
        for name in mint.claims_text.keys() {
            claims.insert(name.clone(), mark(name));
        }
        let mut json = Value::Object(claims).to_string();
        for (name, text) in &mint.claims_text {
            json = json.replace(&mark(name).to_string(), &self.numeric_text(text)?);
        }
        self.text(&json, mint.payload_text.as_deref())
    }

    fn text(&self, json: &str, template: Option<&str>) -> Result<Vec<u8>, ForgeError> {
        let Some(template) = template else { return Ok(json.into()) };
        let mut local = self.variables.clone();
        local.set("json", json);
        local.set("open", json.strip_suffix('}').unwrap_or(json));
        local.set("rest", json.strip_prefix('{').unwrap_or(json));
        local.expand(template)
    }

    /// `${now - 1m}` as a number within JSON text.
    fn numeric_text(&self, text: &str) -> Result<String, ForgeError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (inner, after) = after
                .split_once('}')
                .ok_or_else(|| ForgeError::Wrong(format!("`{text}`: `${{` is not closed")))?;
            out.push_str(before);
            out.push_str(&time::expression(inner, self.now, self.skew)?.to_string());
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// A value with its variables filled in, and its times.
    fn value(&self, value: &Value, dates: Dates) -> Result<Value, ForgeError> {
        Ok(match value {
            Value::String(text) => {
                if matches!(dates, Dates::AsNumbers) && time::is_expression(text) {
                    return Ok(time::expression(text, self.now, self.skew)?.into());
                }
                let bytes = self.variables.expand(text)?;
                Value::String(String::from_utf8(bytes).map_err(|_| {
                    ForgeError::Wrong(format!("`{text}` is not text; use `payload_text` or `header_text`"))
                })?)
            }
            Value::Array(elements) => Value::Array(
                elements.iter().map(|element| self.value(element, dates)).collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => {
                let mut object = Map::new();
                for (name, member) in members {
                    let name = String::from_utf8(self.variables.expand(name)?)
                        .map_err(|_| ForgeError::Wrong(format!("the name `{name}` is not text")))?;
                    object.insert(name, self.value(member, dates)?);
                }
                Value::Object(object)
            }
            other => other.clone(),
        })
    }
}

/// The bytes in base64url with an unused bit set (RFC 4648 section 3.5). JSON text whose length
/// leaves no bit unused gets a space behind.
fn unclean(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    if bytes.len().is_multiple_of(3) {
        bytes.push(b' ');
    }
    let mut text = base64url(&bytes);
    // The alphabet runs from A; a last character with unused bits of zero is never its end.
    if let Some(last) = text.pop() {
        text.push(match last {
            'Z' => 'a',
            'z' => '0',
            '9' => '-',
            other => char::from(u8::try_from(other).map_or(b'B', |other| other.wrapping_add(1))),
        });
    }
    text
}

/// The bytes in base64url with as many characters behind as make 4n+1 of them, which no bytes have.
fn odd(bytes: &[u8]) -> String {
    let mut text = base64url(bytes);
    while text.len() % 4 != 1 {
        text.push('A');
    }
    text
}

#[derive(Clone, Copy)]
enum Dates {
    AsNumbers,
    AsText,
}

impl std::str::FromStr for Alg {
    type Err = ForgeError;

    fn from_str(name: &str) -> Result<Self, ForgeError> {
        Self::ALL.iter().copied().find(|alg| alg.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|alg| alg.as_str()).collect();
            ForgeError::Wrong(format!("nothing signs with `{name}`; there is: {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests;
