//! Strict JSON for documents that somebody else wrote: no duplicate members, bounded depth, and
//! numbers as the text that was sent.
//!
//! The grammar is serde_json's; this module adds what a security decision needs on top. RFC 7515
//! section 4 and RFC 7519 section 4 let a parser keep the last of two members with one name; a
//! token that two parsers read differently is refused here instead.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Containers inside containers that a document may have. Tokens in the field nest three or four
/// deep (Keycloak's `resource_access.<client>.roles`).
pub const MAX_DEPTH: usize = 16;
/// Members of one object, elements of one array. Bounds the search for duplicates.
pub const MAX_MEMBERS: usize = 2048;

/// A JSON value that borrows from its document where it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was written, so that nothing is lost to a float.
    Number(&'a str),
    /// A string with its escapes resolved.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// An object whose member names are unique, in the order of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// Not UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// Not JSON (RFC 8259); where it went wrong.
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The document is JSON but not an object.
    NotAnObject,
    /// The same member name twice in one object.
    DuplicateMember,
    /// More than [`MAX_DEPTH`] containers inside each other.
    TooDeep,
    /// More than [`MAX_MEMBERS`] members or elements in one container.
    TooManyMembers,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::Syntax { line, column } => write!(f, "not JSON at line {line}, column {column}"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::DuplicateMember => f.write_str("the same member name twice in one object"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::TooManyMembers => write!(f, "more than {MAX_MEMBERS} members in one container"),
        }
    }
}

impl core::error::Error for JsonError {}

/// The object that `document` holds.
///
/// # Errors
///
/// [`JsonError`] where the document is not UTF-8, not JSON, not an object, or breaks one of this
/// module's bounds.
pub fn parse_object(document: &[u8]) -> Result<Object<'_>, JsonError> {
    let text = core::str::from_utf8(document).map_err(|_| JsonError::NotUtf8)?;
    match parse(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// The value that `text` holds.
///
/// # Errors
///
/// As [`parse_object`], except that any value will do.
pub fn parse(text: &str) -> Result<Value<'_>, JsonError> {
    value(text, MAX_DEPTH)
}

impl<'a> Object<'a> {
    /// The member called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The members in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many members there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Value<'a> {
    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    /// The members of an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The value as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => write_string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    element.write_json(out);
                }
                out.push(']');
            }
            Self::Object(object) => {
                out.push('{');
                for (at, (name, value)) in object.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    // Writing a str into a String cannot fail; an error would leave the member empty, not wrong.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn value(text: &str, depth: usize) -> Result<Value<'_>, JsonError> {
    // The first byte tells the kind; serde_json judges the rest.
    let Some(first) = text.trim_start_matches([' ', '\t', '\r', '\n']).bytes().next() else {
        return Err(JsonError::Syntax { line: 1, column: 1 });
    };
    match first {
        b'{' => container::<Members<'_>>(text, depth)?.into_object(depth),
        b'[' => {
            let Elements(raw) = container(text, depth)?;
            let elements = raw.into_iter().map(|raw| value(raw.get(), below(depth)));
            Ok(Value::Array(elements.collect::<Result<_, _>>()?))
        }
        b'"' => Ok(Value::String(from_str::<Text<'_>>(text)?.0)),
        b't' | b'f' => Ok(Value::Bool(from_str(text)?)),
        b'n' => from_str::<()>(text).map(|()| Value::Null),
        _ => Ok(Value::Number(from_str::<&RawValue>(text)?.get())),
    }
}

fn container<'a, T: Deserialize<'a>>(text: &'a str, depth: usize) -> Result<T, JsonError> {
    if depth == 0 {
        return Err(JsonError::TooDeep);
    }
    from_str(text)
}

const fn below(depth: usize) -> usize {
    depth.saturating_sub(1)
}

fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, JsonError> {
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            // The only data error that our visitors raise.
            JsonError::TooManyMembers
        } else {
            JsonError::Syntax { line: error.line(), column: error.column() }
        }
    })
}

/// A string that borrows where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The members of an object with their values still as text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn into_object(self, depth: usize) -> Result<Value<'a>, JsonError> {
        refuse_duplicates(&self.0)?;
        let members = self.0.into_iter().map(|(name, raw)| Ok((name, value(raw.get(), below(depth))?)));
        Ok(Value::Object(Object(members.collect::<Result<_, _>>()?)))
    }
}

/// Small objects are compared pair by pair, large ones sorted: a client that sends many members
/// pays n log n, not n².
fn refuse_duplicates(members: &[(Cow<'_, str>, &RawValue)]) -> Result<(), JsonError> {
    const SMALL: usize = 24;
    let duplicate = if members.len() <= SMALL {
        members
            .iter()
            .enumerate()
            .any(|(at, (name, _))| members.iter().take(at).any(|(other, _)| other == name))
    } else {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    };
    if duplicate { Err(JsonError::DuplicateMember) } else { Ok(()) }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    bounded(members.len())?;
                    members.push((name, raw));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The elements of an array, still as text.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;
        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(raw) = sequence.next_element()? {
                    bounded(elements.len())?;
                    elements.push(raw);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

fn bounded<E: serde::de::Error>(length: usize) -> Result<(), E> {
    if length < MAX_MEMBERS { Ok(()) } else { Err(E::custom("too many members")) }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let text = r#"{"a":[1,2.50,1e3,true,null],"b":{"c\n":"d\u00e9"}}"#;
        let object = parse_object(text.as_bytes()).unwrap();
        assert_eq!(object.get("a").unwrap().as_array().unwrap()[1], Value::Number("2.50"));
        assert_eq!(Value::Object(object).to_json(), r#"{"a":[1,2.50,1e3,true,null],"b":{"c\n":"dé"}}"#);
    }

    #[test]
    fn duplicate_members_are_refused_at_every_depth_and_size() {
        let many: Vec<String> = (0..100).map(|n| format!("\"m{n}\":0")).collect();
        for text in [
            r#"{"a":1,"a":1}"#.to_string(),
            r#"{"x":[{"a":1,"a":2}]}"#.to_string(),
            r#"{"a":1,"\u0061":2}"#.to_string(),
            format!("{{{},\"m7\":1}}", many.join(",")),
        ] {
            assert_eq!(parse_object(text.as_bytes()), Err(JsonError::DuplicateMember), "{text}");
        }
    }

    #[test]
    fn what_is_not_strict_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "{\"a\":.5}",
            "{\"a\":1}x",
            "{\"a\":/**/1}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"\\ud800\":1}",
            "{\"a\":+1}",
            "{\"a\":nulll}",
            "{\"a\":\"\\x\"}",
            "\u{feff}{}",
        ] {
            assert!(matches!(parse_object(text.as_bytes()), Err(JsonError::Syntax { .. })), "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(JsonError::NotUtf8));
        for text in ["[]", "1", "\"a\"", "null", "true"] {
            assert_eq!(parse_object(text.as_bytes()), Err(JsonError::NotAnObject), "{text}");
        }
    }

    #[test]
    fn depth_and_width_are_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&deep(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
        assert!(parse(&deep(100_000)).is_err());
        let wide = format!("[{}0]", "0,".repeat(MAX_MEMBERS));
        assert_eq!(parse(&wide), Err(JsonError::TooManyMembers));
    }
}
