//! What proves a caller, and presets for the identity providers of the field.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::{ConfigError, config::ClaimNames};

use super::{Resolved, Warning, indexed, raw};
use crate::{
    claims::ClaimPath,
    name::is_plain_id,
    proof::{Kind, MembershipFrom, Memberships, Origin, Proof, SanTemplate, Shape, TokenProof},
    source::By,
};

/// Where Istio's RequestAuthentication leaves the payload of every issuer.
const ISTIO_PAYLOAD: &str = "payload";

pub(super) fn resolve(raw: Vec<raw::Proof>, warnings: &mut Vec<Warning>) -> Resolved<Vec<Proof>> {
    indexed("proofs", raw, |path, raw| proof(path, raw, warnings))
}

fn proof(path: &str, raw: raw::Proof, warnings: &mut Vec<Warning>) -> Resolved<Proof> {
    let at = |member: &str| format!("{path}.{member}");
    if raw.name.is_empty() {
        return Err(ConfigError::new(at("name"), "empty"));
    }
    if let Some(namespace) = &raw.namespace
        && !is_plain_id(namespace.as_bytes())
    {
        return Err(ConfigError::new(
            at("namespace"),
            "1 to 64 ASCII letters, digits, `-` and `_`, and no dot",
        ));
    }
    let membership = match raw.membership {
        raw::MembershipFrom::Claims => MembershipFrom::Claims,
        raw::MembershipFrom::Directory => MembershipFrom::Directory,
        raw::MembershipFrom::Both => MembershipFrom::Both,
    };
    let (origin, kind) = match (&raw.jwt_auth, &raw.jwt_authn, &raw.istio, &raw.client_certificate) {
        (Some(name), None, None, None) => {
            (Origin::JwtAuth, Kind::Token(token(path, &raw, Some(name), None, membership)?))
        }
        (None, Some(key), None, None) => {
            let kind = Kind::Token(token(path, &raw, None, raw.issuer.as_ref(), membership)?);
            (Origin::JwtAuthn(key.clone()), kind)
        }
        (None, None, Some(issuer), None) => {
            let kind = Kind::Token(token(path, &raw, None, Some(issuer), membership)?);
            (Origin::JwtAuthn(ISTIO_PAYLOAD.into()), kind)
        }
        (None, None, None, Some(template)) => {
            (Origin::CertificateUri, certificate(path, &raw, template, warnings)?)
        }
        _ => {
            let reason = "exactly one of `jwt_auth` (the issuer's name there), `jwt_authn` (its `payload_in_metadata`), \
                          `istio` (the issuer), `client_certificate` (a URI with `{tenant}`)";
            return Err(ConfigError::new(path, reason));
        }
    };
    if raw.issuer.is_some() && raw.jwt_authn.is_none() {
        return Err(ConfigError::new(at("issuer"), "only with `jwt_authn`; the others name their issuer"));
    }
    Ok(Proof { origin, name: raw.name, kind, usage: raw.r#use.into(), namespace: raw.namespace, membership })
}

fn certificate(path: &str, raw: &raw::Proof, template: &str, warnings: &mut Vec<Warning>) -> Resolved<Kind> {
    let at = |member: &str| format!("{path}.{member}");
    let claims = [
        ("preset", raw.preset.is_some()),
        ("subject", raw.subject.is_some()),
        ("tenant", raw.tenant.is_some()),
        ("by", raw.by.is_some()),
        ("roles", raw.roles.is_some()),
        ("memberships", raw.memberships.is_some()),
    ];
    if let Some((member, _)) = claims.iter().find(|(_, is_there)| *is_there) {
        return Err(ConfigError::new(at(member), "only for tokens: a certificate has no claims"));
    }
    let template = SanTemplate::new(template).ok_or_else(|| {
        let reason =
            "not a URI with `{tenant}` as one whole segment, such as `spiffe://mesh/tenant/{tenant}/**`";
        ConfigError::new(at("client_certificate"), reason)
    })?;
    warnings.push(Warning {
        path: at("client_certificate"),
        message: "a second URI in a certificate is only seen where the proxy sets `x-forwarded-client-cert` \
                  (`forward_client_cert_details: SANITIZE_SET`, `set_current_client_cert_details.uri`)"
            .into(),
    });
    Ok(Kind::Certificate(template))
}

fn token(
    path: &str,
    raw: &raw::Proof,
    issuer_name: Option<&String>,
    issuer: Option<&String>,
    membership: MembershipFrom,
) -> Resolved<TokenProof> {
    let at = |member: &str| format!("{path}.{member}");
    let claim = |member: &str, claim: &Option<ClaimNames>| {
        claim.as_ref().map(|claim| claim_path(&at(member), claim)).transpose()
    };
    let own = [
        ("tenant", raw.tenant.is_some()),
        ("by", raw.by.is_some()),
        ("roles", raw.roles.is_some()),
        ("memberships", raw.memberships.is_some()),
    ];
    let where_said = match raw.preset {
        Some(preset) => {
            if let Some((member, _)) = own.iter().find(|(_, is_there)| *is_there) {
                return Err(ConfigError::new(at(member), "contradicts `preset`; keep one of them"));
            }
            said_by(preset)
        }
        None => Said {
            tenant: claim("tenant", &raw.tenant)?,
            by: raw.by.map_or(By::Id, Into::into),
            roles: claim("roles", &raw.roles)?,
            memberships: raw
                .memberships
                .as_ref()
                .map(|raw| memberships(&at("memberships"), raw))
                .transpose()?,
        },
    };
    let Said { tenant, by, roles, memberships } = where_said;
    if tenant.is_none() && memberships.is_none() && membership != MembershipFrom::Directory {
        let reason = "says nothing about tenants: add `preset`, `tenant`, `memberships`, or `membership`: \"directory\"";
        return Err(ConfigError::new(path, reason));
    }
    if by == By::Slug && raw.namespace.is_some() {
        return Err(ConfigError::new(
            at("namespace"),
            "only for ids: a slug is the directory's, not the issuer's",
        ));
    }
    Ok(TokenProof {
        issuer_name: issuer_name.cloned(),
        issuer: issuer.cloned(),
        subject: claim("subject", &raw.subject)?.unwrap_or_else(|| names(&["sub"])),
        tenant,
        by,
        roles,
        memberships,
    })
}

/// Where an identity provider says what.
struct Said {
    tenant: Option<ClaimPath>,
    by: By,
    roles: Option<ClaimPath>,
    memberships: Option<Memberships>,
}

/// The immutable ids, never the names that a tenant can change and another one can take.
fn said_by(preset: raw::Preset) -> Said {
    let active = |tenant: &[&str], roles: Option<&[&str]>| Said {
        tenant: Some(names(tenant)),
        by: By::Id,
        roles: roles.map(names),
        memberships: None,
    };
    match preset {
        // Organizations: `org_id` in tokens issued for one. Roles need an action to get there.
        raw::Preset::Auth0 => active(&["org_id"], None),
        // AuthKit session tokens.
        raw::Preset::Workos => active(&["org_id"], Some(&["role"])),
        // Session token version 2: the active organization is `o`.
        raw::Preset::Clerk => active(&["o", "id"], Some(&["o", "rol"])),
        // The scope `urn:zitadel:iam:user:resourceowner`.
        raw::Preset::Zitadel => active(&["urn:zitadel:iam:user:resourceowner:id"], None),
        // B2B session JWTs.
        raw::Preset::Stytch => active(&["https://stytch.com/organization", "organization_id"], None),
        // The mapper "Organization Membership" with "Add organization id": an object by alias. The
        // alias alone can be taken by another organization later.
        raw::Preset::Keycloak => Said {
            tenant: None,
            by: By::Id,
            roles: None,
            memberships: Some(Memberships {
                claim: names(&["organization"]),
                shape: Shape::Objects(names(&["id"])),
                roles: None,
            }),
        },
    }
}

fn names(path: &[&str]) -> ClaimPath {
    ClaimPath(path.iter().map(|name| (*name).into()).collect())
}

fn memberships(path: &str, raw: &raw::Memberships) -> Resolved<Memberships> {
    let at = |member: &str| format!("{path}.{member}");
    let shape = match (raw.shape, &raw.id) {
        (raw::Shape::Names, None) => Shape::Names,
        (raw::Shape::Keys, None) => Shape::Keys,
        (raw::Shape::Objects, Some(id)) => Shape::Objects(claim_path(&at("id"), id)?),
        (raw::Shape::Objects, None) => {
            return Err(ConfigError::new(at("id"), "missing: where do the objects hold the tenant's name?"));
        }
        (_, Some(_)) => return Err(ConfigError::new(at("id"), "only with `shape`: \"objects\"")),
    };
    if shape == Shape::Names && raw.roles.is_some() {
        return Err(ConfigError::new(at("roles"), "a list of names has no place for roles"));
    }
    Ok(Memberships {
        claim: claim_path(&at("claim"), &raw.claim)?,
        shape,
        roles: raw.roles.as_ref().map(|roles| claim_path(&at("roles"), roles)).transpose()?,
    })
}

fn claim_path(path: &str, ClaimNames(names): &ClaimNames) -> Resolved<ClaimPath> {
    let sound = !names.is_empty() && names.iter().all(|name| !name.is_empty());
    if sound {
        Ok(ClaimPath(names.clone()))
    } else {
        Err(ConfigError::new(path, "empty, or has an empty name"))
    }
}

/// Tenants of different issuers must not be taken for each other.
pub(super) fn check_together(proofs: &[Proof], has_directory: bool, shared: bool) -> Resolved<()> {
    let mut names = BTreeSet::new();
    let mut tokens = Vec::new();
    let mut namespaces = BTreeSet::new();
    for (at, proof) in proofs.iter().enumerate() {
        let path = |member: &str| format!("proofs[{at}].{member}");
        if !names.insert(proof.name.as_str()) {
            let reason = format!("`{}` is another proof's name already; give each its own", proof.name);
            return Err(ConfigError::new(path("name"), reason));
        }
        if proof.membership != MembershipFrom::Claims && !has_directory {
            return Err(ConfigError::new(path("membership"), "there is no directory; add `directory`"));
        }
        if let Kind::Token(token) = &proof.kind {
            if token.by == By::Slug && !has_directory {
                let reason = "without a directory a slug stands for nothing: use ids, or add `directory`";
                return Err(ConfigError::new(path("by"), reason));
            }
            let token = (proof.origin.clone(), token.issuer_name.clone(), token.issuer.clone());
            let alike = |other: &(Origin, Option<String>, Option<String>)| {
                other.0 == token.0
                    && other.1 == token.1
                    && (other.2 == token.2 || other.2.is_none() || token.2.is_none())
            };
            if tokens.iter().any(alike) {
                let reason = "another proof reads the same tokens; tell them apart by `issuer`".to_string();
                return Err(ConfigError::new(format!("proofs[{at}]"), reason));
            }
            tokens.push(token);
        }
        if proofs.len() > 1 && !has_directory && !shared && !namespaces.insert(proof.namespace.as_deref()) {
            let reason = "several proofs without a directory need a `namespace` each (their ids mean different \
                          tenants), or `issuers_share_tenants`: true";
            return Err(ConfigError::new(path("namespace"), reason));
        }
    }
    Ok(())
}
