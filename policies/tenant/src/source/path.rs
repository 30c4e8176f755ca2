//! The tenant in a segment of the path.

use portcullis_core::{
    Denial,
    pattern::{Part, matches_template},
};

use super::{Reading, Reference, Source};

/// A path that fits the template names the tenant; one that would fit in another case is refused:
/// some upstreams fold it.
pub(super) fn read<'r>(
    source: &Source,
    parts: &[Part],
    reading: &'r Reading<'_>,
) -> Result<Option<Reference<'r>>, Denial> {
    if matches_template(parts, &reading.segments, |own, theirs| own == theirs) {
        let segment = tenant_at(parts).and_then(|at| reading.segments.get(at));
        return segment.map(|segment| source.reference(segment.as_bytes())).transpose();
    }
    if matches_template(parts, &reading.segments, str::eq_ignore_ascii_case) {
        return Err(source.invalid("is there in another case"));
    }
    Ok(None)
}

/// Which segment of the template names the tenant.
pub(crate) fn tenant_at(parts: &[Part]) -> Option<usize> {
    parts.iter().position(|part| matches!(part, Part::Variable(name) if name == "tenant"))
}
