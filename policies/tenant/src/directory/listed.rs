//! The directory that stands in the configuration itself.

use alloc::{
    borrow::{Cow, ToOwned},
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use portcullis_core::ConfigError;

use super::{Directory, Entry, Member, Unreadable};
use crate::Record;

/// A checked list of tenants.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    records: Vec<Record>,
    ids: BTreeMap<String, usize>,
    slugs: BTreeMap<String, usize>,
    domains: BTreeMap<String, usize>,
}

impl Listed {
    /// The directory of `records`, which stand at `path` in the document. No tenant may have one
    /// of the `reserved` labels as a slug.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where two tenants could be taken for each other: a name that two of them
    /// have, ids that differ in case only, or a reserved slug.
    pub fn new(path: &str, records: Vec<Record>, reserved: &BTreeSet<String>) -> Result<Self, ConfigError> {
        let mut listed = Self::default();
        let mut folded = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let place = |member: &str| format!("{path}[{at}].{member}");
            let id = record.id.as_str();
            if let Some(first) = folded.insert(id.to_ascii_lowercase(), at) {
                let reason = format!("`{id}` is the id of {path}[{first}], or differs from it in case only");
                return Err(ConfigError::new(place("id"), reason));
            }
            listed.ids.insert(id.to_owned(), at);
            for (n, slug) in record.slugs.iter().enumerate() {
                let place = place(&format!("slugs[{n}]"));
                if reserved.contains(slug.as_str()) {
                    return Err(ConfigError::new(place, format!("`{slug}` is reserved; choose another")));
                }
                take(&mut listed.slugs, slug.as_str(), at, path, place)?;
            }
            for (n, domain) in record.domains.iter().enumerate() {
                take(&mut listed.domains, domain.as_str(), at, path, place(&format!("domains[{n}]")))?;
            }
            let mut members = BTreeSet::new();
            for (n, member) in record.members.iter().enumerate() {
                if !members.insert((&member.issuer, &member.subject)) {
                    let reason = "this subject is a member already; give it all its roles in one place";
                    return Err(ConfigError::new(place(&format!("members[{n}]")), reason));
                }
            }
        }
        listed.records = records;
        Ok(listed)
    }

    /// The tenants in the order of the document.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    fn entry(&self, index: Option<&usize>) -> Option<Entry<'_>> {
        self.records.get(*index?).map(|record| Entry {
            id: record.id.as_str().into(),
            slug: record.slugs.first().map(|slug| slug.as_str().into()),
            state: record.state,
            plan: record.plan.as_deref(),
            region: record.region.as_deref(),
            fields: record
                .fields
                .iter()
                .map(|(name, value)| (name.as_str(), Cow::from(value.as_str())))
                .collect(),
            issuers: record.issuers.iter().map(String::as_str).collect(),
        })
    }
}

fn take(
    names: &mut BTreeMap<String, usize>,
    name: &str,
    at: usize,
    path: &str,
    place: String,
) -> Result<(), ConfigError> {
    match names.insert(name.to_owned(), at) {
        None => Ok(()),
        Some(first) => Err(ConfigError::new(place, format!("`{name}` already belongs to {path}[{first}]"))),
    }
}

impl Directory for Listed {
    fn by_id(&self, id: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        Ok(self.entry(self.ids.get(id)))
    }

    fn by_slug(&self, slug: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        Ok(self.entry(self.slugs.get(slug)))
    }

    fn by_domain(&self, domain: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        Ok(self.entry(self.domains.get(domain)))
    }

    fn roles(&self, id: &str, member: Member<'_>) -> Result<Option<Vec<&str>>, Unreadable> {
        let record = self.ids.get(id).and_then(|at| self.records.get(*at));
        let own = record.and_then(|record| {
            record.members.iter().find(|own| own.issuer == member.issuer && own.subject == member.subject)
        });
        Ok(own.map(|own| own.roles.iter().map(String::as_str).collect()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::State;

    fn listed(json: &str) -> Result<Listed, String> {
        let records = serde_json::from_str(json).map_err(|error| format!("{error}"))?;
        Listed::new("tenants", records, &BTreeSet::from(["www".into()])).map_err(|error| format!("{error}"))
    }

    #[test]
    fn a_tenant_is_found_under_each_of_its_names_and_no_other() {
        let json = r#"[{"id": "t1", "slugs": ["acme", "acme-old"], "domains": ["acme.example"], "state": "read-only",
            "members": [{"issuer": "main", "subject": "u1", "roles": ["owner"]}]}, {"id": "t2"}]"#;
        let listed = listed(json).unwrap();
        for entry in [listed.by_id("t1"), listed.by_slug("acme-old"), listed.by_domain("acme.example")] {
            let entry = entry.unwrap().unwrap();
            assert_eq!(
                (&*entry.id, entry.slug.as_deref(), entry.state),
                ("t1", Some("acme"), State::ReadOnly)
            );
        }
        for nobody in [listed.by_id("acme"), listed.by_slug("t1"), listed.by_id("T1")] {
            assert_eq!(nobody, Ok(None));
        }
        let member = |issuer, subject| Member { issuer, subject };
        assert_eq!(listed.roles("t1", member("main", "u1")), Ok(Some(vec!["owner"])));
        assert_eq!(listed.roles("t1", member("other", "u1")), Ok(None));
        assert_eq!(listed.roles("t2", member("main", "u1")), Ok(None));
    }

    #[test]
    fn tenants_that_could_be_taken_for_each_other_are_refused() {
        for (json, expected) in [
            (
                r#"[{"id": "a"}, {"id": "A"}]"#,
                "`tenants[1].id`: `A` is the id of tenants[0], or differs from it in case only",
            ),
            (
                r#"[{"id": "a", "slugs": ["x"]}, {"id": "b", "slugs": ["y", "x"]}]"#,
                "`tenants[1].slugs[1]`: `x` already belongs to tenants[0]",
            ),
            (
                r#"[{"id": "a", "domains": ["x.example"]}, {"id": "b", "domains": ["x.example"]}]"#,
                "`tenants[1].domains[0]`: `x.example` already belongs to tenants[0]",
            ),
            (
                r#"[{"id": "a", "slugs": ["www"]}]"#,
                "`tenants[0].slugs[0]`: `www` is reserved; choose another",
            ),
        ] {
            assert_eq!(listed(json).unwrap_err(), expected);
        }
        let twice =
            r#"[{"id": "a", "members": [{"issuer": "i", "subject": "s"}, {"issuer": "i", "subject": "s"}]}]"#;
        assert!(listed(twice).unwrap_err().starts_with("`tenants[0].members[1]`"));
    }
}
