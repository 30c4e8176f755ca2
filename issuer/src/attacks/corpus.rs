//! The corpus's files as they are written.

use std::{collections::BTreeMap, fmt};

use portcullis_core::Code;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Value};

use super::Class;
use crate::forge::Mint;

/// One entry of a class's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Unique in the corpus, and stable.
    pub id: String,
    /// What it is, for people.
    pub name: String,
    /// RFC section, CVE or test vector.
    pub origin: String,
    /// The codes of the refusal that is right.
    #[serde(default)]
    pub deny: Codes,
    /// The request must get through.
    #[serde(default)]
    pub allow: bool,
    /// What the gateway must have.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// What differs from an honest token.
    #[serde(default)]
    pub token: Mint,
    /// What is sent; the token in `Authorization`, where there is none.
    pub request: Option<RequestEntry>,
    /// What the upstream must see of a header.
    #[serde(default)]
    pub upstream: BTreeMap<String, Vec<String>>,
}

/// A request with templates in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestEntry {
    /// `GET`, where there is none.
    pub method: Option<String>,
    /// The path of an honest request, where there is none.
    pub path: Option<String>,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// What a gateway has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It looks for a token in a cookie.
    Cookie,
    /// It does not.
    NoCookie,
    /// It looks for a token in a query parameter.
    Query,
    /// It does not.
    NoQuery,
    /// Some path needs no token.
    Public,
    /// It tells the upstream the subject in a header.
    SubjectHeader,
    /// No time passes between minting and judging.
    ExactClock,
}

/// One code or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes(pub Vec<Code>);

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CodesVisitor;
        impl<'de> Visitor<'de> for CodesVisitor {
            type Value = Codes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a code, or a list of codes")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Codes, E> {
                let code = name.parse().map_err(|_| E::custom(format!("no code is called `{name}`")))?;
                Ok(Codes(vec![code]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Codes, A::Error> {
                let names = Vec::<String>::deserialize(SeqAccessDeserializer::new(list))?;
                let codes = names.iter().map(|name| {
                    name.parse().map_err(|_| A::Error::custom(format!("no code is called `{name}`")))
                });
                codes.collect::<Result<_, _>>().map(Codes)
            }
        }
        deserializer.deserialize_any(CodesVisitor)
    }
}

/// A key of the issuer's set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Published {
    /// One of the issuer's keys.
    pub key: Option<String>,
    /// Its name in the set.
    pub kid: Option<String>,
    /// Members to set.
    pub with: Map<String, Value>,
    /// Members to leave out.
    pub without: Vec<String>,
    /// A key as it is.
    pub jwk: Option<Value>,
}

macro_rules! files {
    ($($class:ident $file:literal)*) => {
        const FILES: &[(Class, &str)] =
            &[$((Class::$class, include_str!(concat!("../../corpus/", $file, ".yaml"))),)*];
    };
}

files! {
    Container "container"
    Header "header"
    Confusion "confusion"
    Primitive "primitive"
    KeySet "keyset"
    Claims "claims"
    Request "request"
}

/// Every entry, with the class of its file, in the order of the files.
///
/// # Errors
///
/// The place and the reason where a file cannot be read: a defect that this crate's tests find.
pub fn entries() -> Result<Vec<(Class, Entry)>, String> {
    let mut all = Vec::new();
    for (class, text) in FILES {
        let entries: Vec<Entry> =
            serde_saphyr::from_str(text).map_err(|error| format!("corpus/{class}.yaml: {error}"))?;
        all.extend(entries.into_iter().map(|entry| (*class, entry)));
    }
    Ok(all)
}

/// The issuer's key set.
///
/// # Errors
///
/// As [`entries`].
pub fn published() -> Result<Vec<Published>, String> {
    serde_saphyr::from_str(include_str!("../../corpus/keys.yaml"))
        .map_err(|error| format!("corpus/keys.yaml: {error}"))
}
