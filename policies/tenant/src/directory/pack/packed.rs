//! Looking up in a packed directory, wherever its pages are.

use alloc::{borrow::Cow, vec::Vec};

use super::{
    Manifest, Pack,
    hash::Hash,
    item::{Item, Tenant},
    page::Page,
    part::Part,
};
use crate::directory::{Directory, Entry, Freshness, Member, Unreadable};

/// Where the pages of a directory are.
pub trait Pages {
    /// The page with this number.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] where it cannot be had, or is that of another edition.
    fn page(&self, number: u32) -> Result<Cow<'_, [u8]>, Unreadable>;
}

/// A packed directory.
#[derive(Clone, Copy, Debug)]
pub struct PackedDirectory<'d, P> {
    /// What names the parts that the pages are from, all of them checked.
    pub manifest: &'d Manifest,
    /// The pages.
    pub pages: P,
    /// Whether it may be relied on.
    pub freshness: Freshness,
}

/// Pages in the memory of whoever looks up.
#[derive(Clone, Debug)]
pub struct InMemory {
    manifest: Manifest,
    parts: Vec<Vec<u8>>,
}

impl InMemory {
    /// The pages of `pack`; nothing where a part is not the one that the manifest names.
    #[must_use]
    pub fn new(pack: Pack) -> Option<Self> {
        let Pack { manifest, parts } = pack;
        let mut named = parts.iter().enumerate();
        if parts.len() != manifest.parts().len()
            || !named.all(|(number, part)| Part::check(part, &manifest, number).is_ok())
        {
            return None;
        }
        Some(Self { manifest, parts })
    }

    pub(super) fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }

    /// The directory that they are.
    #[must_use]
    pub fn directory(&self) -> PackedDirectory<'_, &Self> {
        PackedDirectory { manifest: &self.manifest, pages: self, freshness: Freshness::Current }
    }
}

impl Pages for &InMemory {
    fn page(&self, number: u32) -> Result<Cow<'_, [u8]>, Unreadable> {
        let (part, page) = self.manifest.place(number);
        let part = self.parts.get(part).and_then(|part| Part::frame(part));
        part.and_then(|part| part.page(page)).map(Cow::Borrowed).ok_or(Unreadable)
    }
}

impl<P: Pages> PackedDirectory<'_, P> {
    fn page(&self, hash: Hash) -> Result<Cow<'_, [u8]>, Unreadable> {
        self.pages.page(hash.top(self.manifest.page_bits()))
    }

    /// The tenant under `hash` that `is` it.
    fn tenant(&self, hash: Hash, is: impl Fn(&Tenant<'_>) -> bool) -> Result<Option<Entry<'_>>, Unreadable> {
        let bytes = self.page(hash)?;
        let item = Page::read(&bytes).ok_or(Unreadable)?.item(hash);
        let Some(item) = item else { return Ok(None) };
        match Item::read(item, self.manifest.words().len()) {
            Some(Item::Tenant(tenant)) if is(&tenant) => Ok(Some(self.entry(&tenant))),
            Some(_) => Ok(None),
            None => Err(Unreadable),
        }
    }

    /// The tenant that the alias with the hash `alias` is for. A name that is no alias costs the
    /// look-up of a tenant as well: the one with the hash `otherwise`, which `is` not it.
    fn aliased(
        &self,
        alias: Hash,
        otherwise: Hash,
        is: impl Fn(&Tenant<'_>) -> bool,
    ) -> Result<Option<Entry<'_>>, Unreadable> {
        let bytes = self.page(alias)?;
        let target = Page::read(&bytes).ok_or(Unreadable)?.alias(alias);
        self.tenant(target.unwrap_or(otherwise), is)
    }

    fn word(&self, number: u16) -> Option<&str> {
        self.manifest.words().get(usize::from(number)).map(alloc::string::String::as_str)
    }

    fn entry(&self, tenant: &Tenant<'_>) -> Entry<'_> {
        let fields = tenant.fields.iter();
        Entry {
            id: Cow::Owned(tenant.id.into()),
            slug: tenant.slugs.first().map(|slug| Cow::Owned((*slug).into())),
            state: tenant.state,
            plan: self.word(tenant.plan),
            region: self.word(tenant.region),
            fields: fields
                .filter_map(|(name, value)| Some((self.word(*name)?, Cow::Owned((*value).into()))))
                .collect(),
            issuers: self.all(&tenant.issuers),
        }
    }

    fn all(&self, numbers: &[u16]) -> Vec<&str> {
        numbers.iter().filter_map(|number| self.word(*number)).collect()
    }
}

impl<P: Pages> Directory for PackedDirectory<'_, P> {
    fn by_id(&self, id: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        let seed = self.manifest.seed();
        // As many pages as for a slug.
        self.page(seed.slug(id))?;
        self.tenant(seed.id(id), |tenant| tenant.id == id)
    }

    fn by_slug(&self, slug: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        let seed = self.manifest.seed();
        self.aliased(seed.slug(slug), seed.id(slug), |tenant| tenant.slugs.contains(&slug))
    }

    fn by_domain(&self, domain: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        let seed = self.manifest.seed();
        self.aliased(seed.domain(domain), seed.id(domain), |tenant| tenant.domains.contains(&domain))
    }

    fn roles(&self, id: &str, member: Member<'_>) -> Result<Option<Vec<&str>>, Unreadable> {
        let hash = self.manifest.seed().member(id, member.issuer, member.subject);
        let bytes = self.page(hash)?;
        let item = Page::read(&bytes).ok_or(Unreadable)?.item(hash);
        let Some(item) = item else { return Ok(None) };
        match Item::read(item, self.manifest.words().len()) {
            Some(Item::Member(found)) => {
                let same = found.id == id
                    && found.subject == member.subject
                    && self.word(found.issuer) == Some(member.issuer);
                Ok(same.then(|| self.all(&found.roles)))
            }
            Some(Item::Tenant(_)) => Ok(None),
            None => Err(Unreadable),
        }
    }

    fn freshness(&self) -> Freshness {
        self.freshness
    }
}
