//! Strict JSON for documents that somebody else wrote: no duplicate members, bounded depth, and
//! numbers as the text that was sent.
//!
//! RFC 7515 section 4 and RFC 7519 section 4 let a parser keep the last of two members with one
//! name; a token that two parsers read differently is refused here instead.

mod parse;

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

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
    Number(Cow<'a, str>),
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
    parse::document(text, MAX_DEPTH)
}

/// The object that `document` holds, one level deeper than [`parse_object`]: for one that wraps
/// another, which was within the bounds by itself.
///
/// # Errors
///
/// As [`parse_object`].
pub fn parse_wrapped(document: &[u8]) -> Result<Object<'_>, JsonError> {
    parse_object_within(document, MAX_DEPTH.saturating_add(1))
}

/// The object that `document` holds, with at most `depth` containers inside each other: for documents
/// that are deeper by nature than what [`MAX_DEPTH`] is made for. The parser's stack grows with it.
///
/// # Errors
///
/// As [`parse_object`]; [`JsonError::TooDeep`] then names [`MAX_DEPTH`] all the same.
pub fn parse_object_within(document: &[u8], depth: usize) -> Result<Object<'_>, JsonError> {
    let text = core::str::from_utf8(document).map_err(|_| JsonError::NotUtf8)?;
    match parse::document(text, depth)? {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

impl<'a> Object<'a> {
    /// The member called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The member called `name`, out of the object.
    pub fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The object with another member at its end. Whoever adds one has seen that the name is free.
    #[must_use]
    pub fn with(mut self, name: Cow<'a, str>, value: Value<'a>) -> Self {
        self.0.push((name, value));
        self
    }

    /// The members in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Gives back the room that the parser left at every depth, which [`Object::heap_bytes`] does not
    /// count.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
        self.0.iter_mut().for_each(|(_, value)| value.shrink_to_fit());
    }

    /// Bytes on the heap beside the document; what an allocator adds to a text is rounded up.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let member = |(name, value): &(Cow<'a, str>, Value<'a>)| {
            let own = size_of::<(Cow<'a, str>, Value<'a>)>().saturating_add(text_bytes(name));
            own.saturating_add(value.heap_bytes())
        };
        self.0.iter().map(member).fold(0, usize::saturating_add)
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

    fn shrink_to_fit(&mut self) {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => {}
            Self::Array(elements) => {
                elements.shrink_to_fit();
                elements.iter_mut().for_each(Self::shrink_to_fit);
            }
            Self::Object(object) => object.shrink_to_fit(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Number(text) | Self::String(text) => text_bytes(text),
            Self::Array(elements) => {
                let element = |value: &Value<'a>| size_of::<Value<'a>>().saturating_add(value.heap_bytes());
                elements.iter().map(element).fold(0, usize::saturating_add)
            }
            Self::Object(object) => object.heap_bytes(),
        }
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

/// Bytes of `text` on the heap: none where it is borrowed; what an allocator adds is rounded up.
#[must_use]
#[expect(clippy::ptr_arg, reason = "whether it is borrowed is what is asked")]
pub fn text_bytes(text: &Cow<'_, str>) -> usize {
    const ALLOCATION: usize = 16;
    match text {
        Cow::Borrowed(_) => 0,
        Cow::Owned(text) => text.capacity().saturating_add(ALLOCATION),
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    // Writing a str into a String cannot fail; an error would leave the member empty, not wrong.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let text = r#"{"a":[1,2.50,1e3,true,null],"b":{"c\n":"d\u00e9"}}"#;
        let object = parse_object(text.as_bytes()).unwrap();
        assert_eq!(object.get("a").unwrap().as_array().unwrap()[1], Value::Number("2.50".into()));
        assert_eq!(Value::Object(object).to_json(), r#"{"a":[1,2.50,1e3,true,null],"b":{"c\n":"dé"}}"#);
    }

    #[test]
    fn what_is_not_in_the_document_is_counted() {
        let text = r#"{"a":[1,2.50,null],"b":{"c\n":"d"}}"#;
        let object = parse_object(text.as_bytes()).unwrap();
        let mut small = object.clone();
        small.shrink_to_fit();
        assert_eq!(small, object);
        let (member, element) = (size_of::<(Cow<'_, str>, Value<'_>)>(), size_of::<Value<'_>>());
        // Only a text with an escape is not in the document as it is.
        let (_, Value::Object(inner)) = &small.0[1] else { panic!("{small:?}") };
        let (Cow::Owned(name), _) = &inner.0[0] else { panic!("{small:?}") };
        assert_eq!(small.heap_bytes(), 3 * member + 3 * element + name.capacity() + 16);
    }

    #[test]
    fn no_room_is_left_over() {
        let text = r#"{"a":[1,2,3,4,5],"b":{"c":[{"d":1}]}}"#;
        let mut object = parse_object(text.as_bytes()).unwrap();
        object.shrink_to_fit();
        let Value::Array(elements) = &object.0[0].1 else { panic!("{object:?}") };
        let Value::Object(inner) = &object.0[1].1 else { panic!("{object:?}") };
        let Value::Array(objects) = &inner.0[0].1 else { panic!("{object:?}") };
        let Value::Object(innermost) = &objects[0] else { panic!("{object:?}") };
        let room = [object.0.capacity(), elements.capacity(), inner.0.capacity(), objects.capacity()];
        assert_eq!((room, innermost.0.capacity()), ([2, 5, 1, 1], 1));
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
        let wrapped = |levels| format!("{{\"a\":{}}}", deep(levels));
        assert!(parse_wrapped(wrapped(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse_wrapped(wrapped(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        assert!(parse(&deep(100_000)).is_err());
        let wide = format!("[{}0]", "0,".repeat(MAX_MEMBERS));
        assert_eq!(parse(&wide), Err(JsonError::TooManyMembers));
    }
}
