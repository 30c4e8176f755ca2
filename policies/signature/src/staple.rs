//! From what was read of a registry to what an object can bring along.

use std::collections::BTreeMap;

use crate::{
    Digest, Evidence, Policy, Request, Staple,
    gather::{Depth, Material, gather},
};

/// The signatures that `evidence` has for the image of `request`, by the digest that each is for. With
/// them an object needs no registry.
#[must_use]
pub fn staples(request: &Request, policy: &Policy, evidence: &Evidence) -> BTreeMap<Digest, Staple> {
    let rules = policy.rules_for(request);
    let mut staples: BTreeMap<Digest, Staple> = BTreeMap::new();
    for target in gather(request, policy, &rules, evidence, Depth::Candidates).targets {
        for candidate in target.candidates {
            let staple = staples.entry(target.digest).or_default();
            match candidate.material {
                Material::Bundle(text) => staple.bundles.push(text),
                Material::Signature(layer) => staple.signatures.push(layer),
                Material::Attestation(layer) => staple.attestations.push(layer),
            }
        }
    }
    staples
}
