//! Claims as header values: what the upstream may rely on.

use alloc::vec::Vec;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::{HeaderName, bytes, header::encode_value};

use crate::{
    claims::ClaimPath,
    json::{Object, Value},
};

/// Which claims go to which headers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forward {
    pub(crate) headers: Vec<(ClaimPath, HeaderName)>,
    /// Gets the whole payload as base64url, as Envoy's `forward_payload_header` does.
    pub(crate) payload_header: Option<HeaderName>,
    /// Whether the token itself stays in the request.
    pub(crate) token: bool,
}

impl Forward {
    /// Every header that this sets, and that no client may set.
    pub(crate) fn owned(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(_, header)| header).chain(&self.payload_header)
    }

    /// The headers for one token's verified claims. An absent claim sets nothing.
    pub(crate) fn render(&self, payload: &[u8], claims: &Object<'_>) -> Vec<(&HeaderName, Vec<u8>)> {
        let mut rendered = Vec::with_capacity(self.headers.len().saturating_add(1));
        let from_claims = self
            .headers
            .iter()
            .filter_map(|(path, header)| Some((header, header_value(path.find(claims)?)?)));
        rendered.extend(from_claims);
        rendered.extend(self.payload_header.iter().map(|own| (own, URL_SAFE_NO_PAD.encode(payload).into())));
        rendered
    }
}

/// A scalar as its text, an array of scalars separated by commas (a comma inside a text is `%2C`), anything deeper as base64url of its JSON. `None` for `null`.
fn header_value(value: &Value<'_>) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::Array(elements) => Some(match elements.iter().map(scalar).collect::<Option<Vec<_>>>() {
            Some(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| encode_element(text)).collect();
                texts.join(&b","[..])
            }
            None => URL_SAFE_NO_PAD.encode(value.to_json()).into(),
        }),
        Value::Object(_) => Some(URL_SAFE_NO_PAD.encode(value.to_json()).into()),
        // A string must not pose as a list.
        single => scalar(single).map(encode_element),
    }
}

fn scalar<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Number(text) | Value::String(text) => Some(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn encode_element(text: &str) -> Vec<u8> {
    if !bytes::has(text.as_bytes(), b',') {
        return encode_value(text);
    }
    let parts: Vec<_> = text.split(',').map(encode_value).collect();
    parts.join(&b"%2C"[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn values_cannot_break_out_of_their_header() {
        for (json, expected) in [
            (r#""alice""#, Some("alice")),
            (r#""a\r\nx-admin: 1""#, Some("a%0D%0Ax-admin: 1")),
            (r#""50%,\u0000é""#, Some("50%25%2C%00%C3%A9")),
            ("12.50", Some("12.50")),
            ("true", Some("true")),
            ("null", None),
            (r#"["a","b,c",3]"#, Some("a,b%2Cc,3")),
            ("[]", Some("")),
            (r#"[["a"]]"#, Some("W1siYSJdXQ")),
            (r#"{"a":1}"#, Some("eyJhIjoxfQ")),
        ] {
            let value = header_value(&parse(json).unwrap());
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{json}");
        }
    }
}
