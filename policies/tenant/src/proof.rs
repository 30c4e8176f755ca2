//! What is proven about the caller: by a verified token, or by a client certificate.

mod certificate;

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};

pub(crate) use certificate::SanTemplate;
use portcullis_core::{Code, Denial, Request};

use crate::{
    claims::{Claim, ClaimPath, Claims, Misshapen},
    name::is_plain_id,
    source::{By, Reference, Usage},
};

/// Something that another filter or the connection vouches for, and that is asked of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// What jwt-auth publishes: a JSON object of claims by the issuer's name.
    JwtAuth,
    /// The payload that Envoy's jwt_authn, also as Istio configures it, leaves in its dynamic
    /// metadata under this name, as a serialized map.
    JwtAuthn(String),
    /// The URI of the verified client certificate (its first one).
    CertificateUri,
    /// The host for which the TLS connection was made.
    ServerName,
    /// Whether the connection has a verified client certificate: one byte, 1 for yes.
    MutualTls,
}

/// What the host knows beside the request.
pub trait Evidence {
    /// What is behind `origin`; `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// [`Unknown`] where the host does not tell: the request is then refused.
    fn of(&self, origin: &Origin) -> Result<Option<Vec<u8>>, Unknown>;
}

/// The host could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

/// One configured proof.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// How records, reports and the log call it: the issuer of membership.
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
    pub(crate) usage: Usage,
    /// What stands before its tenants' ids: the ids of one issuer mean nothing to another.
    pub(crate) namespace: Option<String>,
    pub(crate) membership: MembershipFrom,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Token(TokenProof),
    Certificate(SanTemplate),
}

/// Who knows the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MembershipFrom {
    Claims,
    Directory,
    /// Both must say so.
    Both,
}

/// Where a token says what.
#[derive(Clone, Debug)]
pub(crate) struct TokenProof {
    /// jwt-auth's name of the issuer, where that filter verified the token.
    pub(crate) issuer_name: Option<String>,
    /// What `iss` must be, where another filter did.
    pub(crate) issuer: Option<String>,
    pub(crate) subject: ClaimPath,
    /// The tenant that the token is for.
    pub(crate) tenant: Option<ClaimPath>,
    /// Which of a tenant's names the claims hold.
    pub(crate) by: By,
    /// Its roles there.
    pub(crate) roles: Option<ClaimPath>,
    pub(crate) memberships: Option<Memberships>,
}

/// Where a token lists the tenants that the caller belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Memberships {
    pub(crate) claim: ClaimPath,
    pub(crate) shape: Shape,
    pub(crate) roles: Option<ClaimPath>,
}

/// How such a list is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An array of names.
    Names,
    /// An object whose member names are the tenants' names.
    Keys,
    /// An array of objects, or an object of objects, that hold the name at this path.
    Objects(ClaimPath),
}

/// A caller, as one proof shows it.
#[derive(Clone, Debug)]
pub(crate) struct Caller<'p> {
    pub(crate) proof: &'p Proof,
    pub(crate) subject: Option<String>,
    /// The tenant that the proof is for.
    pub(crate) active: Option<Belonging>,
    /// Every tenant that the proof says the caller belongs to, beside the active one.
    pub(crate) memberships: Vec<Belonging>,
}

/// One tenant that a caller is said to belong to.
#[derive(Clone, Debug)]
pub(crate) struct Belonging {
    pub(crate) tenant: Reference<'static>,
    pub(crate) roles: Vec<String>,
}

impl Proof {
    /// The caller, where this proof is there; `evidence` is what the host knows of its origin.
    pub(crate) fn read(
        &self,
        evidence: Option<&[u8]>,
        request: &Request<'_>,
    ) -> Result<Option<Caller<'_>>, Denial> {
        let Some(evidence) = evidence.filter(|evidence| !evidence.is_empty()) else { return Ok(None) };
        match &self.kind {
            Kind::Token(token) => self.token(token, evidence).map_err(|Misshapen| {
                self.invalid("the claims about tenants are not of the configured shape")
            }),
            Kind::Certificate(template) => {
                let Some(name) = template.tenant(evidence, request).map_err(|why| self.invalid(why))? else {
                    return Ok(None);
                };
                let tenant = self.reference(By::Id, name).ok_or_else(|| self.invalid("not a tenant's id"))?;
                Ok(Some(Caller {
                    proof: self,
                    subject: Some(String::from_utf8_lossy(evidence).into_owned()),
                    active: Some(Belonging { tenant, roles: Vec::new() }),
                    memberships: Vec::new(),
                }))
            }
        }
    }

    /// Whether it can name several tenants of one caller.
    pub(crate) fn lists_memberships(&self) -> bool {
        matches!(&self.kind, Kind::Token(token) if token.memberships.is_some())
    }

    fn token(&self, token: &TokenProof, evidence: &[u8]) -> Result<Option<Caller<'_>>, Misshapen> {
        let claims = match &token.issuer_name {
            Some(name) => match Claims::published(evidence, name)? {
                Some(claims) => claims,
                None => return Ok(None),
            },
            None => Claims::from_pairs(evidence)?,
        };
        if let Some(issuer) = &token.issuer
            && claims.text(&ClaimPath(alloc::vec!["iss".into()]))?.as_ref() != Some(issuer)
        {
            // A good token of somebody else.
            return Ok(None);
        }
        let reference = |name: String| self.reference(token.by, &name).ok_or(Misshapen);
        let active = match &token.tenant {
            Some(path) => claims.text(path)?.map(reference).transpose()?,
            None => None,
        };
        let active = match active {
            Some(tenant) => {
                let roles = match &token.roles {
                    Some(path) => claims.find(path)?.map_or(Ok(Vec::new()), Claim::texts)?,
                    None => Vec::new(),
                };
                Some(Belonging { tenant, roles })
            }
            None => None,
        };
        let memberships = match &token.memberships {
            Some(memberships) => match claims.find(&memberships.claim)? {
                Some(claim) => self.memberships(token, memberships, claim)?,
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        Ok(Some(Caller { proof: self, subject: claims.text(&token.subject)?, active, memberships }))
    }

    fn memberships(
        &self,
        token: &TokenProof,
        memberships: &Memberships,
        claim: Claim<'_>,
    ) -> Result<Vec<Belonging>, Misshapen> {
        let belonging = |name: &str, of: Option<Claim<'_>>| {
            let roles = match (&memberships.roles, of) {
                (Some(path), Some(of)) => match of.find(&path.0)? {
                    Some(roles) => roles.texts()?,
                    None => Vec::new(),
                },
                _ => Vec::new(),
            };
            Ok(Belonging { tenant: self.reference(token.by, name).ok_or(Misshapen)?, roles })
        };
        match &memberships.shape {
            Shape::Names => {
                claim.elements()?.into_iter().map(|name| belonging(&name.text()?, None)).collect()
            }
            Shape::Keys => {
                claim.members()?.into_iter().map(|(name, value)| belonging(&name, Some(value))).collect()
            }
            Shape::Objects(path) => {
                let objects = match claim.elements() {
                    Ok(elements) => elements,
                    Err(Misshapen) => claim.members()?.into_iter().map(|(_, value)| value).collect(),
                };
                objects
                    .into_iter()
                    .map(|object| belonging(&object.find(&path.0)?.ok_or(Misshapen)?.text()?, Some(object)))
                    .collect()
            }
        }
    }

    /// What this issuer means by `name`.
    fn reference(&self, by: By, name: &str) -> Option<Reference<'static>> {
        match (by, &self.namespace) {
            // The issuer must not leave its namespace by naming another one.
            (By::Id, Some(namespace)) if is_plain_id(name.as_bytes()) => {
                Some(Reference::Id(Cow::Owned(format!("{namespace}.{name}"))))
            }
            (By::Id, None) if is_plain_id(name.as_bytes()) => {
                Some(Reference::Id(Cow::Owned(name.to_string())))
            }
            (By::Id, _) => None,
            (By::Slug, _) => match by.reference(name.as_bytes())? {
                Reference::Slug(slug) => Some(Reference::Slug(Cow::Owned(slug.into_owned()))),
                _ => None,
            },
        }
    }

    fn invalid(&self, why: &str) -> Denial {
        Denial::new(Code::TenantProofInvalid, format!("the proof `{}`: {why}", self.name))
    }
}
