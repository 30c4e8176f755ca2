//! What a page holds under a key: a tenant, or what a member may do.
//!
//! Words that many tenants share (plans, regions, names of fields, issuers, roles) are numbers in
//! the manifest's list.

use alloc::vec::Vec;

use super::bytes::{self, Reader};
use crate::{Domain, Slug, State, TenantId};

const TENANT: u8 = b'T';
const MEMBER: u8 = b'M';
/// Stands for a plan or region that a tenant does not have.
pub(super) const NO_WORD: u16 = u16::MAX;

/// An item that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'p> {
    Tenant(Tenant<'p>),
    Member(Member<'p>),
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tenant<'p> {
    pub(super) id: &'p str,
    pub(super) state: State,
    pub(super) plan: u16,
    pub(super) region: u16,
    pub(super) slugs: Vec<&'p str>,
    pub(super) domains: Vec<&'p str>,
    pub(super) fields: Vec<(u16, &'p str)>,
    pub(super) issuers: Vec<u16>,
}

/// A member of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member<'p> {
    pub(super) id: &'p str,
    pub(super) issuer: u16,
    pub(super) subject: &'p str,
    pub(super) roles: Vec<u16>,
}

impl<'p> Item<'p> {
    /// The item that all of `bytes` is; none where it is not one, or its words are not among the
    /// first `words` of the list.
    pub(super) fn read(bytes: &'p [u8], words: usize) -> Option<Self> {
        let mut input = Reader(bytes);
        let item = match input.byte()? {
            TENANT => Self::Tenant(tenant(&mut input, words)?),
            MEMBER => Self::Member(member(&mut input, words)?),
            _ => return None,
        };
        input.0.is_empty().then_some(item)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Tenant(tenant) => {
                out.push(TENANT);
                bytes::short(out, tenant.id);
                out.push(tenant.state as u8);
                bytes::word(out, tenant.plan);
                bytes::word(out, tenant.region);
                for names in [&tenant.slugs, &tenant.domains] {
                    count(out, names.len());
                    names.iter().for_each(|name| bytes::short(out, name));
                }
                count(out, tenant.fields.len());
                for (name, value) in &tenant.fields {
                    bytes::word(out, *name);
                    bytes::long(out, value);
                }
                words_of(out, &tenant.issuers);
            }
            Self::Member(member) => {
                out.push(MEMBER);
                bytes::short(out, member.id);
                bytes::word(out, member.issuer);
                bytes::short(out, member.subject);
                words_of(out, &member.roles);
            }
        }
    }
}

fn count(out: &mut Vec<u8>, count: usize) {
    out.push(u8::try_from(count).unwrap_or(u8::MAX));
}

fn words_of(out: &mut Vec<u8>, words: &[u16]) {
    count(out, words.len());
    words.iter().for_each(|word| bytes::word(out, *word));
}

fn tenant<'p>(input: &mut Reader<'p>, words: usize) -> Option<Tenant<'p>> {
    let id = input.short().filter(|id| TenantId::is_valid(id.as_bytes()))?;
    let state = input.byte()?;
    let state = State::ALL.into_iter().find(|known| *known as u8 == state)?;
    let (plan, region) = (optional(input, words)?, optional(input, words)?);
    Some(Tenant {
        id,
        state,
        plan,
        region,
        slugs: several(input, |input| input.short().filter(|slug| Slug::is_valid(slug.as_bytes())))?,
        domains: several(input, |input| input.short().filter(|name| Domain::is_valid(name.as_bytes())))?,
        fields: several(input, |input| Some((known(input, words)?, input.long()?)))?,
        issuers: several(input, |input| known(input, words))?,
    })
}

fn member<'p>(input: &mut Reader<'p>, words: usize) -> Option<Member<'p>> {
    Some(Member {
        id: input.short().filter(|id| TenantId::is_valid(id.as_bytes()))?,
        issuer: known(input, words)?,
        subject: input.short()?,
        roles: several(input, |input| known(input, words))?,
    })
}

/// At most 255, each of at least one byte that is there: no count makes an allocation by itself.
fn several<'p, T>(
    input: &mut Reader<'p>,
    mut one: impl FnMut(&mut Reader<'p>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = input.byte()?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(one(input)?);
    }
    Some(all)
}

fn known(input: &mut Reader<'_>, words: usize) -> Option<u16> {
    input.word().filter(|word| usize::from(*word) < words)
}

fn optional(input: &mut Reader<'_>, words: usize) -> Option<u16> {
    input.word().filter(|word| *word == NO_WORD || usize::from(*word) < words)
}
