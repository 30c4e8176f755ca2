//! The shape of the configuration document, as serde reads it; nothing here is checked for sense.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use portcullis_core::pattern::PathMatch;
use serde::Deserialize;

use crate::{Record, State};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) directory: Directory,
    #[serde(default)]
    pub(crate) reserved: Vec<String>,
    pub(crate) sources: Vec<Source>,
    #[serde(default)]
    pub(crate) proofs: Vec<Proof>,
    #[serde(default)]
    pub(crate) issuers_share_tenants: bool,
    #[serde(default)]
    pub(crate) switching: Switching,
    pub(crate) switch: Option<Switch>,
    pub(crate) routes: Vec<Route>,
    #[serde(default)]
    pub(crate) forward: Forward,
    #[serde(default)]
    pub(crate) owned_headers: Vec<String>,
    pub(crate) owned_families: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) forwarded_headers: Forwarded,
    #[serde(default)]
    pub(crate) bypass_cors_preflight: bool,
    pub(crate) require_server_name: Option<bool>,
    #[serde(default)]
    pub(crate) refuse_as: RefuseAs,
    #[serde(default)]
    pub(crate) responses: crate::firewall::Firewall,
    pub(crate) quotas: Option<crate::quota::config::Raw>,
    pub(crate) concurrency: Option<crate::concurrency::config::Raw>,
    #[serde(default)]
    pub(crate) guards: BTreeMap<String, crate::inspect::config::Raw>,
    #[serde(default)]
    pub(crate) audit: crate::audit::Config,
    pub(crate) signed_context: Option<crate::context::Config>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Directory {
    /// Whatever the proofs name.
    #[default]
    Claims,
    Inline {
        tenants: Vec<Record>,
    },
    /// One that another server has.
    Fetched(super::fetched::Fetched),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) name: Option<String>,
    pub(crate) host: Option<Host>,
    pub(crate) path: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) by: Option<By>,
    #[serde(default)]
    pub(crate) r#use: Use,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    #[serde(default)]
    pub(crate) bases: Vec<String>,
    #[serde(default)]
    pub(crate) domains: bool,
    #[serde(default)]
    pub(crate) central: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Id,
    Slug,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Use {
    Required,
    #[default]
    Optional,
    Forbidden,
    Ignored,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    pub(crate) name: String,
    pub(crate) jwt_auth: Option<String>,
    pub(crate) jwt_authn: Option<String>,
    /// `iss`, where Istio's RequestAuthentication verified the token.
    pub(crate) istio: Option<String>,
    pub(crate) client_certificate: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) preset: Option<Preset>,
    pub(crate) subject: Option<Path>,
    pub(crate) tenant: Option<Path>,
    pub(crate) by: Option<By>,
    pub(crate) roles: Option<Path>,
    pub(crate) memberships: Option<Memberships>,
    pub(crate) namespace: Option<String>,
    #[serde(default)]
    pub(crate) membership: MembershipFrom,
    #[serde(default)]
    pub(crate) r#use: Use,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    Auth0,
    Keycloak,
    Zitadel,
    Clerk,
    Workos,
    Stytch,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memberships {
    pub(crate) claim: Path,
    pub(crate) shape: Shape,
    pub(crate) id: Option<Path>,
    pub(crate) roles: Option<Path>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    Names,
    Keys,
    Objects,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MembershipFrom {
    #[default]
    Claims,
    Directory,
    Both,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Switching {
    #[default]
    Required,
    Allowed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    pub(crate) path: String,
    pub(crate) query: String,
    /// The name of the cookie source that it sets.
    pub(crate) source: String,
    pub(crate) location: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    pub(crate) path: PathMatch,
    pub(crate) class: Class,
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, Use>,
    pub(crate) states: Option<Vec<State>>,
    #[serde(default)]
    pub(crate) writes_when_read_only: bool,
    #[serde(default)]
    pub(crate) serve_stale: bool,
    /// Why answers are the same for every tenant, where they are.
    pub(crate) shared: Option<String>,
    /// The name of the guard that looks at answers.
    pub(crate) guard: Option<String>,
    pub(crate) quota: Option<crate::quota::config::Weight>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Tenant,
    Central,
    Universal,
    Public,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    #[serde(default)]
    pub(crate) headers: ForwardHeaders,
    pub(crate) query: Option<String>,
    #[serde(default)]
    pub(crate) path: ForwardPath,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardHeaders {
    pub(crate) id: Option<String>,
    pub(crate) slug: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) plan: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) roles: Option<String>,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardPath {
    #[serde(default)]
    pub(crate) strip: bool,
    pub(crate) prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forwarded {
    #[default]
    Strip,
    Keep,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefuseAs {
    #[default]
    NotFound,
    Forbidden,
}

/// A claim: `"name"` or `["outer", "inner"]`.
#[derive(Clone, Debug)]
pub(crate) struct Path(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathVisitor;
        impl<'de> serde::de::Visitor<'de> for PathVisitor {
            type Value = Path;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a claim's name, or an array of the names on the way to it")
            }

            fn visit_str<E>(self, name: &str) -> Result<Path, E> {
                Ok(Path(alloc::vec![name.into()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Path, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Path(names))
            }
        }
        deserializer.deserialize_any(PathVisitor)
    }
}
