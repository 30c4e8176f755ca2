//! The catalogue: hostile requests, and honest ones that look like them, with the answer that a
//! gateway which enforces the [`Setup`] must give.
//!
//! Each class is a file; a case is one call of `deny` or `allow` there. The origin names the rule
//! or the incident behind a case, so that a gateway which fails it can be told why.

pub(crate) mod bytes;
mod case;
mod claims;
mod confusion;
mod container;
mod header;
mod primitives;
mod request;
mod setup;

use case::Cases;
pub use case::{Case, Class, Expect, Request, UpstreamHeader};
pub use setup::{Keys, Setup, SkewSeconds};

use crate::keys::KeyError;

/// Every case for `setup`, in a fixed order with unique names.
///
/// # Errors
///
/// A key of the setup cannot sign what a case needs.
pub fn catalogue(setup: &Setup) -> Result<Vec<Case>, KeyError> {
    let mut cases = Cases::default();
    container::cases(setup, &mut cases)?;
    header::cases(setup, &mut cases)?;
    confusion::cases(setup, &mut cases)?;
    primitives::cases(setup, &mut cases)?;
    claims::cases(setup, &mut cases)?;
    request::cases(setup, &mut cases)?;
    Ok(cases.into_vec())
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
        assert!(hostile >= 120, "{hostile}");
        for class in Class::ALL {
            assert!(cases.iter().any(|case| case.class == *class), "{class}");
        }
        assert!(cases.iter().filter(|case| matches!(case.expect, Expect::Allow)).count() >= 15);
    }

    #[test]
    fn every_case_has_a_name_of_its_own_and_an_origin() {
        let cases = catalogue(&setup()).unwrap();
        let mut names = BTreeSet::new();
        let repeated: Vec<_> =
            cases.iter().map(|case| case.name).filter(|name| !names.insert(*name)).collect();
        assert!(repeated.is_empty(), "{repeated:?}");
        assert!(cases.iter().all(|case| !case.origin.is_empty()));
    }

    #[test]
    fn a_seed_makes_the_same_hostile_requests_again() {
        let [first, second] = [(); 2].map(|()| catalogue(&setup()).unwrap());
        let different = first.iter().zip(&second).filter(|(a, b)| a.request != b.request);
        // RSASSA-PSS is the one scheme here that draws a salt.
        let names: Vec<_> = different.map(|(a, _)| a.name).filter(|name| !name.contains("PS")).collect();
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn what_a_wrong_algorithm_is_refused_with_depends_on_what_is_allowed() {
        let mut setup = setup();
        let code = |setup: &Setup| {
            let cases = catalogue(setup).unwrap();
            let case =
                cases.iter().find(|case| case.name == "HS256 keyed with the public key as PEM").unwrap();
            case.expect.clone()
        };
        assert_eq!(code(&setup), Expect::Deny(vec![portcullis_core::Code::AlgorithmNotAllowed]));
        setup.algorithms.push(Alg::Hs256);
        assert_eq!(code(&setup), Expect::Deny(vec![portcullis_core::Code::KeyUnusable]));
    }
}
