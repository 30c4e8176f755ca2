//! Verified claims in the two forms in which filters hand them on: JSON text, and Envoy's
//! metadata as serialized pairs.

mod pairs;

use alloc::{string::String, vec::Vec};

use portcullis_core::json::{self, JsonError, Object, Value};

/// The claims of one token.
pub(crate) enum Claims<'c> {
    Json(Object<'c>),
    /// A map in Envoy's serialized form: numbers and booleans are bytes that look like nothing
    /// else, and everything below is in the same form again.
    Pairs(Vec<(&'c [u8], &'c [u8])>),
}

/// What is there is not of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misshapen;

impl From<JsonError> for Misshapen {
    fn from(_: JsonError) -> Self {
        Self
    }
}

/// The way to a claim: member names from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimPath(pub(crate) Vec<String>);

/// A claim.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim<'c> {
    Json(&'c Value<'c>),
    Pairs(&'c [u8]),
}

impl<'c> Claims<'c> {
    /// The claims that jwt-auth publishes under the name of an issuer; `None` where there are none.
    pub(crate) fn published(text: &'c [u8], issuer: &str) -> Result<Option<Self>, Misshapen> {
        match json::parse_wrapped(text)?.take(issuer) {
            None => Ok(None),
            Some(Value::Object(claims)) => Ok(Some(Self::Json(claims))),
            Some(_) => Err(Misshapen),
        }
    }

    pub(crate) fn from_pairs(bytes: &'c [u8]) -> Result<Self, Misshapen> {
        let pairs = bounded(pairs::read(bytes).ok_or(Misshapen)?)?;
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|pair| pair.first() == pair.last());
        if twice { Err(Misshapen) } else { Ok(Self::Pairs(pairs)) }
    }

    /// The claim at `path`; `None` where it is absent or null.
    pub(crate) fn find(&self, ClaimPath(path): &ClaimPath) -> Result<Option<Claim<'_>>, Misshapen> {
        let Some((first, rest)) = path.split_first() else { return Ok(None) };
        let first = match self {
            Self::Json(object) => object.get(first).filter(|value| **value != Value::Null).map(Claim::Json),
            Self::Pairs(pairs) => {
                let member = pairs.iter().find(|(name, _)| *name == first.as_bytes());
                member.map(|(_, value)| Claim::Pairs(value))
            }
        };
        first.map_or(Ok(None), |claim| claim.find(rest))
    }

    /// The text at `path`.
    pub(crate) fn text(&self, path: &ClaimPath) -> Result<Option<String>, Misshapen> {
        self.find(path)?.map(Claim::text).transpose()
    }
}

impl<'c> Claim<'c> {
    fn member(self, name: &str) -> Result<Option<Self>, Misshapen> {
        match self {
            Self::Json(Value::Object(object)) => {
                Ok(object.get(name).filter(|value| **value != Value::Null).map(Self::Json))
            }
            Self::Json(_) => Err(Misshapen),
            Self::Pairs(bytes) => {
                let pairs = pairs::read(bytes).ok_or(Misshapen)?;
                let mut found = pairs.into_iter().filter(|(own, _)| *own == name.as_bytes());
                match (found.next(), found.next()) {
                    (found, None) => Ok(found.map(|(_, value)| Self::Pairs(value))),
                    _ => Err(Misshapen),
                }
            }
        }
    }

    /// The claim at `path` below this one.
    pub(crate) fn find(self, path: &[String]) -> Result<Option<Self>, Misshapen> {
        let mut claim = self;
        for name in path {
            match claim.member(name)? {
                Some(inner) => claim = inner,
                None => return Ok(None),
            }
        }
        Ok(Some(claim))
    }

    /// The text that this is.
    pub(crate) fn text(self) -> Result<String, Misshapen> {
        match self {
            Self::Json(Value::String(text)) => Ok(text.clone().into_owned()),
            Self::Json(_) => Err(Misshapen),
            Self::Pairs(bytes) => core::str::from_utf8(bytes).map(Into::into).map_err(|_| Misshapen),
        }
    }

    /// The elements of the array that this is.
    pub(crate) fn elements(self) -> Result<Vec<Self>, Misshapen> {
        match self {
            Self::Json(Value::Array(elements)) => Ok(elements.iter().map(Self::Json).collect()),
            Self::Json(_) => Err(Misshapen),
            // A list is a map whose names are the elements.
            Self::Pairs(bytes) => {
                let pairs = bounded(pairs::read(bytes).ok_or(Misshapen)?)?;
                pairs
                    .into_iter()
                    .map(
                        |(element, empty)| {
                            if empty.is_empty() { Ok(Self::Pairs(element)) } else { Err(Misshapen) }
                        },
                    )
                    .collect()
            }
        }
    }

    /// The members of the object that this is.
    pub(crate) fn members(self) -> Result<Vec<(String, Self)>, Misshapen> {
        match self {
            Self::Json(Value::Object(object)) => {
                Ok(object.iter().map(|(name, value)| (name.into(), Self::Json(value))).collect())
            }
            Self::Json(_) => Err(Misshapen),
            Self::Pairs(bytes) => bounded(pairs::read(bytes).ok_or(Misshapen)?)?
                .into_iter()
                .map(|(name, value)| {
                    let name = core::str::from_utf8(name).map_err(|_| Misshapen)?;
                    Ok((name.into(), Self::Pairs(value)))
                })
                .collect(),
        }
    }

    /// One text, or an array of texts: what roles come as.
    pub(crate) fn texts(self) -> Result<Vec<String>, Misshapen> {
        match self {
            Self::Json(Value::Array(_)) => self.elements()?.into_iter().map(Self::text).collect(),
            Self::Json(_) => self.text().map(|text| alloc::vec![text]),
            // A text cannot hold the zero bytes that every list of this form has.
            Self::Pairs(bytes) if bytes.contains(&0) => {
                self.elements()?.into_iter().map(Self::text).collect()
            }
            Self::Pairs(_) => self.text().map(|text| alloc::vec![text]),
        }
    }
}

fn bounded<T>(items: Vec<T>) -> Result<Vec<T>, Misshapen> {
    if items.len() <= json::MAX_MEMBERS { Ok(items) } else { Err(Misshapen) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn path(names: &[&str]) -> ClaimPath {
        ClaimPath(names.iter().map(|name| (*name).into()).collect())
    }

    #[test]
    fn both_forms_read_alike() {
        let json = br#"{"main":{"sub":"u1","o":{"id":"acme","rol":"admin"},"orgs":["acme","initech"]}}"#;
        let inner = pairs::tests::write(&[(b"id", b"acme"), (b"rol", b"admin")]);
        let list = pairs::tests::write(&[(b"acme", b""), (b"initech", b"")]);
        let map = pairs::tests::write(&[(b"sub", b"u1"), (b"o", &inner), (b"orgs", &list)]);
        for claims in [Claims::published(json, "main").unwrap().unwrap(), Claims::from_pairs(&map).unwrap()] {
            assert_eq!(claims.text(&path(&["sub"])), Ok(Some("u1".into())));
            assert_eq!(claims.text(&path(&["o", "id"])), Ok(Some("acme".into())));
            assert_eq!(claims.text(&path(&["o", "x"])), Ok(None));
            assert_eq!(claims.text(&path(&["x", "y"])), Ok(None));
            let orgs = claims.find(&path(&["orgs"])).unwrap().unwrap();
            assert_eq!(orgs.texts(), Ok(vec!["acme".into(), "initech".into()]));
            assert_eq!(claims.find(&path(&["o", "rol"])).unwrap().unwrap().texts(), Ok(vec!["admin".into()]));
            assert_eq!(claims.find(&path(&["o"])).unwrap().unwrap().members().unwrap().len(), 2);
        }
    }

    #[test]
    fn another_type_is_no_text() {
        let json = br#"{"main":{"a":7,"b":true,"c":["x"],"d":{"e":"f"},"n":null,"s":""}}"#;
        let claims = Claims::published(json, "main").unwrap().unwrap();
        for name in ["a", "b", "c", "d"] {
            assert_eq!(claims.text(&path(&[name])), Err(Misshapen), "{name}");
        }
        assert_eq!(claims.text(&path(&["n"])), Ok(None));
        assert_eq!(claims.text(&path(&["n", "x"])), Ok(None));
        assert_eq!(claims.text(&path(&["a", "x"])), Err(Misshapen));
        assert_eq!(claims.text(&path(&["s"])), Ok(Some(String::new())));
    }

    #[test]
    fn the_same_claim_twice_is_refused_in_both_forms() {
        assert!(Claims::published(br#"{"main":{"a":"x","a":"y"}}"#, "main").is_err());
        assert!(Claims::from_pairs(&pairs::tests::write(&[(b"a", b"x"), (b"a", b"y")])).is_err());
    }
}
