//! Which fields of an answer name its tenant.

use alloc::{string::String, vec::Vec};

/// Names on the way to a field.
pub(crate) const MOST_SEGMENTS: usize = 12;
/// Paths, that of the records not among them: each is a bit.
pub(crate) const MOST_PATHS: usize = 16;

/// The bit of the path to a record.
const RECORD: u32 = 1 << 31;

/// One step on the way to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The member of this name.
    Name(Vec<u8>),
    /// Every member or element.
    Any,
}

/// The fields, and what may stand in them beside the tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Member names, at any depth.
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) paths: Vec<Vec<Segment>>,
    /// The way to a record.
    pub(crate) records: Option<Vec<Segment>>,
    /// Field numbers, for gRPC.
    pub(crate) numbers: Vec<Vec<u32>>,
    /// Owners of what is everybody's.
    pub(crate) shared: Vec<String>,
    pub(crate) null: bool,
}

impl Rules {
    pub(crate) fn guards(&self, name: &[u8]) -> bool {
        self.keys.iter().any(|key| key == name)
    }

    pub(crate) const fn allows_null(&self) -> bool {
        self.null
    }

    pub(crate) const fn has_records(&self) -> bool {
        self.records.is_some()
    }

    /// Whether the value that `paths` lead to, `length` names below the top, is a record.
    pub(crate) fn is_record(&self, paths: u32, length: usize) -> bool {
        paths & RECORD != 0 && self.records.as_ref().is_some_and(|records| records.len() == length)
    }

    /// The paths that lead to or below a child of the container that `paths` lead to, and whether
    /// one ends there.
    pub(crate) fn below(&self, paths: u32, length: usize, is: impl Fn(&[u8]) -> bool) -> (u32, bool) {
        let (mut below, mut complete) = (0, false);
        if paths == 0 {
            return (below, complete);
        }
        let leads = |path: &[Segment]| match path.get(length) {
            Some(Segment::Any) => true,
            Some(Segment::Name(name)) => is(name),
            None => false,
        };
        let mut own = 1_u32;
        for path in &self.paths {
            if paths & own != 0 && leads(path) {
                below |= own;
                complete |= path.len() == length.saturating_add(1);
            }
            own = own.wrapping_shl(1);
        }
        if paths & RECORD != 0 && self.records.as_deref().is_some_and(leads) {
            below |= RECORD;
        }
        (below, complete)
    }
}

/// What one answer is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check<'c> {
    pub(crate) rules: &'c Rules,
    /// What the tenant is called in the fields.
    pub(crate) own: &'c str,
    /// Whether every record and every document must have a field.
    pub(crate) required: bool,
}

impl Check<'_> {
    pub(crate) fn is_own(&self, value: &[u8]) -> bool {
        value == self.own.as_bytes() || self.rules.shared.iter().any(|shared| shared.as_bytes() == value)
    }
}
