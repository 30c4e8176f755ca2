//! The tenant in a header of its own.

use portcullis_core::{Denial, HeaderName};

use super::{Reading, Reference, Source};
use crate::hygiene::binary_form;

/// Every spelling that an upstream could take for `name` counts: two of them are two values, and
/// gRPC's binary form (`-bin`) is refused, as another hop may decode it into the same name.
pub(super) fn read<'r>(
    source: &Source,
    name: &HeaderName,
    reading: &'r Reading<'_>,
) -> Result<Option<Reference<'r>>, Denial> {
    let mut found = None;
    for (own, value) in reading.request.headers() {
        if binary_form(own).is_some_and(|own| name.is_spelled(own)) {
            return Err(source.invalid("has a binary form"));
        }
        if name.is_spelled(own) && found.replace(value).is_some() {
            return Err(source.invalid("is repeated"));
        }
    }
    found.map(|value| source.reference(value)).transpose()
}
