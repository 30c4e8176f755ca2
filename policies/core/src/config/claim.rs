//! How a configuration names a claim.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

/// The names on the way to a claim, outermost first, as the document has them: `"name"` or
/// `["outer", "inner"]`. That there is one at all is for the reader to check.
#[derive(Clone, Debug)]
pub struct ClaimNames(pub Vec<String>);

impl<'de> Deserialize<'de> for ClaimNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = ClaimNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a claim's name, or an array of the names on the way to it")
            }

            fn visit_str<E>(self, name: &str) -> Result<ClaimNames, E> {
                Ok(ClaimNames(Vec::from([name.into()])))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ClaimNames, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(ClaimNames(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClaimNames {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A claim's name, or an array of the names on the way to it.",
            "type": ["string", "array"],
            "items": { "type": "string" },
        })
    }
}
