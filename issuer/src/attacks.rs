//! The corpus: hostile requests, and honest ones that look like them, with the answer that a
//! gateway must give.
//!
//! The cases are data: `corpus/*.yaml`, whose `README.md` says how to add one. A [`Target`] builds
//! them for one gateway; a [`Setup`] is a whole world that is made for them.

pub(crate) mod bytes;
mod case;
mod corpus;
mod setup;
mod target;
mod verdict;

pub use case::{Case, Class, Expect, Request, UpstreamHeader};
pub use corpus::{Codes, Condition, Entry, Published, RequestEntry, entries, published};
pub use setup::{Keys, Setup, SkewSeconds};
pub use target::{LeftOut, Target};
pub use verdict::{Seen, Verdict};

use crate::keys::KeyError;

/// Every case for `setup`, in a fixed order with unique ids. Cases about what the setup has not
/// (a cookie, say) are left out.
///
/// # Errors
///
/// A key of the setup cannot sign what a case needs, or an entry of the corpus is wrong.
pub fn catalogue(setup: &Setup) -> Result<Vec<Case>, KeyError> {
    let target = setup.target();
    let mut cases = Vec::new();
    for (class, entry) in entries().map_err(KeyError::new)? {
        match target.build(class, &entry) {
            Ok(case) => cases.push(case),
            Err(LeftOut::Condition(_)) => {}
            Err(error) => return Err(KeyError::new(format!("{}: {error}", entry.id))),
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::keys::{Alg, Seed};

    fn setup() -> Setup {
        Setup::new(&Seed::new([9; 32]), "https://issuer", "api", 1_767_225_600).unwrap()
    }

    #[test]
    fn the_catalogue_covers_every_class_with_hostile_and_honest_requests() {
        let cases = catalogue(&setup()).unwrap();
        let hostile = cases.iter().filter(|case| matches!(case.expect, Expect::Deny(_))).count();
        assert!(hostile >= 350, "{hostile}");
        for class in Class::ALL {
            assert!(cases.iter().any(|case| case.class == *class), "{class}");
        }
        assert!(cases.iter().filter(|case| matches!(case.expect, Expect::Allow)).count() >= 30);
    }

    #[test]
    fn every_case_has_an_id_and_a_name_of_its_own_and_an_origin() {
        let mut all = setup();
        let entries = entries().unwrap();
        for name in [|entry: &Entry| entry.id.clone(), |entry: &Entry| entry.name.clone()] {
            let mut seen = BTreeSet::new();
            let repeated: Vec<_> = entries
                .iter()
                .map(|(_, entry)| name(entry))
                .filter(|name| !seen.insert(name.clone()))
                .collect();
            assert!(repeated.is_empty(), "{repeated:?}");
        }
        for (_, entry) in &entries {
            // RFC, CVE, CWE or vector: what is behind a case can be looked up.
            let known = ["RFC ", "CVE-", "CWE-", "Wycheproof ", "Fetch standard"];
            assert!(known.iter().any(|start| entry.origin.contains(start)), "{}: {}", entry.id, entry.origin);
            assert!(entry.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
        all.cookie = Some("session".into());
        let with_cookie: BTreeSet<_> = catalogue(&all).unwrap().into_iter().map(|case| case.id).collect();
        assert!(with_cookie.contains("two-cookies") && !with_cookie.contains("cookie-unasked"));
    }

    #[test]
    fn every_published_key_is_asked_for_and_every_key_that_is_asked_for_is_published() {
        let published: BTreeSet<_> = published()
            .unwrap()
            .into_iter()
            .filter_map(|key| key.kid.or_else(|| Some(key.jwk?["kid"].as_str()?.to_owned())))
            .collect();
        let entries = entries().unwrap();
        let tokens = || entries.iter().map(|(_, entry)| &entry.token);
        let named: BTreeSet<_> = tokens()
            .filter_map(|token| token.header.get("kid")?.as_str().map(str::to_owned))
            .chain(setup().target().scene.keys.values().map(|key| key.kid().to_owned()))
            .collect();
        let unused: Vec<_> = published.difference(&named).collect();
        assert!(unused.is_empty(), "{unused:?}");
        let keyset = entries.iter().filter(|(class, _)| *class == Class::KeySet);
        for (_, entry) in keyset {
            if let Some(kid) = entry.token.header.get("kid").and_then(|kid| kid.as_str()) {
                assert!(published.contains(kid), "{}: {kid}", entry.id);
            }
        }
    }

    #[test]
    fn a_seed_makes_the_same_hostile_requests_again() {
        let [first, second] = [(); 2].map(|()| catalogue(&setup()).unwrap());
        let different = first.iter().zip(&second).filter(|(a, b)| a.request != b.request);
        // RSASSA-PSS is the one scheme here that draws a salt.
        let ids: Vec<_> = different.map(|(a, _)| a.id.as_str()).filter(|id| !id.contains("ps")).collect();
        assert!(ids.is_empty(), "{ids:?}");
    }

    #[test]
    fn what_a_wrong_algorithm_is_refused_with_depends_on_what_is_allowed() {
        let mut setup = setup();
        let code = |setup: &Setup| {
            let cases = catalogue(setup).unwrap();
            cases.iter().find(|case| case.id == "hs256-pem").unwrap().expect.clone()
        };
        assert_eq!(code(&setup), Expect::Deny(vec![portcullis_core::Code::AlgorithmNotAllowed]));
        setup.algorithms.push(Alg::Hs256);
        assert_eq!(code(&setup), Expect::Deny(vec![portcullis_core::Code::KeyUnusable]));
    }

    #[test]
    fn a_target_without_the_issuer_s_keys_still_gets_what_needs_none() {
        let mut target = setup().target();
        target.scene.keys.retain(|name, _| name == "ec" || name.starts_with("mallory"));
        target.own_key_set = false;
        let built = entries().unwrap().into_iter().map(|(class, entry)| target.build(class, &entry));
        let (built, left_out): (Vec<_>, Vec<_>) = built.partition(Result::is_ok);
        assert!(built.len() >= 250, "{}", built.len());
        assert!(left_out.contains(&Err(LeftOut::KeySet)));
        assert!(left_out.contains(&Err(LeftOut::NoKey("rsa".into()))));
        assert!(left_out.iter().all(|case| !matches!(case, Err(LeftOut::Wrong(_)))), "{left_out:?}");
    }
}
