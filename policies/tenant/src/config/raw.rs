//! The shape of the configuration document, as serde reads it; nothing here is checked for sense.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use portcullis_core::{config::ClaimNames, pattern::PathMatch};
use serde::Deserialize;

use crate::{Record, State};

/// The configuration of tenant-guard: where requests name their tenant, what proves that the
/// caller belongs to it, and what each route demands.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Which tenants there are. Default: `claims`.
    #[serde(default)]
    pub(crate) directory: Directory,
    /// Labels that no tenant may have as a slug, beside the built-in ones such as `www` and
    /// `api`.
    #[serde(default)]
    pub(crate) reserved: Vec<String>,
    /// Where a request names its tenant. All that do must name the same one.
    pub(crate) sources: Vec<Source>,
    /// What proves the caller. May be missing only where every route is public.
    #[serde(default)]
    pub(crate) proofs: Vec<Proof>,
    /// Several proofs mean the same tenants by the same ids. Default: `false`.
    #[serde(default)]
    pub(crate) issuers_share_tenants: bool,
    /// What becomes of a request that names another tenant of the caller than its token is for.
    /// Default: `required`.
    #[serde(default)]
    pub(crate) switching: Switching,
    /// A request that sets the cookie with the tenant. Default: none.
    pub(crate) switch: Option<Switch>,
    /// What each route demands. The first that matches decides; a request that none matches is
    /// refused.
    pub(crate) routes: Vec<Route>,
    /// What the upstream is told.
    #[serde(default)]
    pub(crate) forward: Forward,
    /// More headers that no client may bring.
    #[serde(default)]
    pub(crate) owned_headers: Vec<String>,
    /// Beginnings of header names that no client may bring. Default: `["x-tenant-"]`.
    pub(crate) owned_families: Option<Vec<String>>,
    /// What becomes of `Forwarded`, `X-Forwarded-Host`, `X-Original-URL` and their kin. Default:
    /// `strip`.
    #[serde(default)]
    pub(crate) forwarded_headers: Forwarded,
    /// A real CORS preflight passes without proof and without a tenant. Default: `false`.
    #[serde(default)]
    pub(crate) bypass_cors_preflight: bool,
    /// A client certificate counts only on a TLS connection that was made for the request's host;
    /// otherwise 421. By default where a proof is a certificate.
    pub(crate) require_server_name: Option<bool>,
    /// How a tenant that is not the caller's is refused. Default: `not_found`.
    #[serde(default)]
    pub(crate) refuse_as: RefuseAs,
    /// What an answer's headers must not do on their way out.
    #[serde(default)]
    pub(crate) responses: crate::firewall::Firewall,
    /// How much each tenant may ask. Default: none.
    pub(crate) quotas: Option<crate::quota::config::Raw>,
    /// How many requests each tenant may have under way. Default: none.
    pub(crate) concurrency: Option<crate::concurrency::config::Raw>,
    /// By name, what looks at answers, for `guard` of a route.
    #[serde(default)]
    pub(crate) guards: BTreeMap<String, crate::inspect::config::Raw>,
    /// What is written down about decisions.
    #[serde(default)]
    pub(crate) audit: crate::audit::Config,
    /// A header that services can check: who the tenant and the caller are. Default: none.
    pub(crate) signed_context: Option<crate::context::Config>,
}

/// Which tenants there are.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Directory {
    /// Whatever the proofs name.
    #[default]
    Claims,
    /// These.
    Inline {
        /// The tenants.
        tenants: Vec<Record>,
    },
    /// Those that another server lists, up to a million.
    Fetched(super::fetched::Fetched),
}

/// Where a request may name its tenant: one of `host`, `path`, `header`, `query` and `cookie`.
/// One that is there and unusable is a refusal, never absent.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// How routes and reports call it. By default its kind, such as `header`.
    pub(crate) name: Option<String>,
    /// A host name.
    pub(crate) host: Option<Host>,
    /// A template with `{tenant}` once, such as `/t/{tenant}/**`.
    pub(crate) path: Option<String>,
    /// A header by its name.
    pub(crate) header: Option<String>,
    /// A query parameter by its name.
    pub(crate) query: Option<String>,
    /// A cookie by its name.
    pub(crate) cookie: Option<String>,
    /// Which of a tenant's names it holds. By default `slug` for host and path, else `id`.
    pub(crate) by: Option<By>,
    /// What it means where a route says nothing else. Default: `optional`.
    #[serde(default)]
    pub(crate) r#use: Use,
}

/// Hosts that name tenants.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    /// One label before one of these is a tenant's slug: `app.example.com`.
    #[serde(default)]
    pub(crate) bases: Vec<String>,
    /// Every other host is looked up in the directory. Default: `false`.
    #[serde(default)]
    pub(crate) domains: bool,
    /// Hosts of the product itself, which name no tenant.
    #[serde(default)]
    pub(crate) central: Vec<String>,
}

/// One of a tenant's names.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// The id, which never changes.
    Id,
    /// What people call it.
    Slug,
}

/// What a source or a proof means.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Use {
    /// It must be there.
    Required,
    /// It may be there, and must agree if it is.
    #[default]
    Optional,
    /// It must not be there.
    Forbidden,
    /// It is not looked at; proofs cannot be ignored.
    Ignored,
}

/// What proves the caller and the tenants of the caller: one of `jwt_auth`, `jwt_authn`, `istio`
/// and `client_certificate`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    /// How the directory's `issuers` and `members` call it.
    pub(crate) name: String,
    /// The issuer's name in jwt-auth, which stands before this filter.
    pub(crate) jwt_auth: Option<String>,
    /// `payload_in_metadata` of the provider in Envoy's jwt_authn filter.
    pub(crate) jwt_authn: Option<String>,
    /// `iss`, where Istio's RequestAuthentication verified the token.
    pub(crate) istio: Option<String>,
    /// A URI in the client's certificate with `{tenant}` as one segment, such as
    /// `spiffe://mesh/tenant/{tenant}/**`.
    pub(crate) client_certificate: Option<String>,
    /// With `jwt_authn`: `iss`, where several providers share the metadata.
    pub(crate) issuer: Option<String>,
    /// Where this provider says which tenant the token is for, always by its immutable id.
    /// Instead of `tenant` and `memberships`.
    pub(crate) preset: Option<Preset>,
    /// The claim with the caller, for the directory and the upstream. Default: `sub`.
    pub(crate) subject: Option<ClaimNames>,
    /// The claim with the tenant that the token is for.
    pub(crate) tenant: Option<ClaimNames>,
    /// Which of a tenant's names the claims hold; `slug` needs a directory. Default: `id`.
    pub(crate) by: Option<By>,
    /// The claim with the caller's roles there: a text or an array of them. Default: none.
    pub(crate) roles: Option<ClaimNames>,
    /// Every tenant of the caller. Default: none.
    pub(crate) memberships: Option<Memberships>,
    /// Stands before the ids of this issuer: `partner` makes `acme` the tenant `partner.acme`.
    /// Default: none.
    pub(crate) namespace: Option<String>,
    /// Who knows the members. Default: `claims`.
    #[serde(default)]
    pub(crate) membership: MembershipFrom,
    /// Whether it must be there. Default: `optional`.
    #[serde(default)]
    pub(crate) r#use: Use,
}

/// A provider of identities.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// Auth0 Organizations.
    Auth0,
    /// Keycloak organizations; the token needs the organization's id.
    Keycloak,
    /// Zitadel organizations.
    Zitadel,
    /// Clerk organizations.
    Clerk,
    /// WorkOS organizations.
    Workos,
    /// Stytch B2B organizations.
    Stytch,
}

/// A claim with every tenant of the caller.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Memberships {
    /// The claim.
    pub(crate) claim: ClaimNames,
    /// How it lists them.
    pub(crate) shape: Shape,
    /// In objects, where the id is.
    pub(crate) id: Option<ClaimNames>,
    /// In objects, where the roles are.
    pub(crate) roles: Option<ClaimNames>,
}

/// How a claim lists tenants.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// An array of ids.
    Names,
    /// An object by id.
    Keys,
    /// An array of objects, with the id at `id`.
    Objects,
}

/// Who knows the members of a tenant.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum MembershipFrom {
    /// The token.
    #[default]
    Claims,
    /// The directory.
    Directory,
    /// Both must say so: somebody who was removed is out before the token ends.
    Both,
}

/// What becomes of a request that names another tenant of the caller than its token is for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Switching {
    /// 403 `TENANT_SWITCH_REQUIRED`.
    #[default]
    Required,
    /// It passes.
    Allowed,
}

/// A POST of the same origin that sets the tenant's cookie, once the caller is proven to belong
/// to it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    /// Its path.
    pub(crate) path: String,
    /// The query parameter with the tenant.
    pub(crate) query: String,
    /// The name of the cookie source that it sets.
    pub(crate) source: String,
    /// Where the answer leads with 303; 204 where there is none.
    pub(crate) location: Option<String>,
}

/// What some requests need.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// Hosts in lower case without port, `*.example` for one label before. Default: all.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Methods in upper case. Default: all.
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    /// The paths.
    pub(crate) path: PathMatch,
    /// What is demanded.
    pub(crate) class: Class,
    /// What a source means here, by its name: `{"header": "required"}`.
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, Use>,
    /// Tenants in these states are served. Default: `["active", "read-only"]`.
    pub(crate) states: Option<Vec<State>>,
    /// Other methods than GET, HEAD and OPTIONS as well while the tenant is read-only. Default:
    /// `false`.
    #[serde(default)]
    pub(crate) writes_when_read_only: bool,
    /// Also while the directory is older than it may be. Default: `false`.
    #[serde(default)]
    pub(crate) serve_stale: bool,
    /// Why answers are the same for every tenant, where they are.
    pub(crate) shared: Option<String>,
    /// The name of the guard that looks at answers.
    pub(crate) guard: Option<String>,
    /// What a request takes from its tenant's quota. By default 1 of the plan's own rate.
    pub(crate) quota: Option<crate::quota::config::Weight>,
}

/// What a route demands.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// One tenant, proven.
    Tenant,
    /// The product's own: a proven caller, and no tenant may be named.
    Central,
    /// As `tenant` where the request or the token names one, open where not.
    Universal,
    /// Nothing is asked for.
    Public,
}

/// What the upstream is told. The headers are removed from every request first, in every
/// spelling.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    /// A header for each thing.
    #[serde(default)]
    pub(crate) headers: ForwardHeaders,
    /// A parameter that gets the id, in place of every form of it. Default: none.
    pub(crate) query: Option<String>,
    /// What becomes of the path.
    #[serde(default)]
    pub(crate) path: ForwardPath,
}

/// The header for each thing; what has none is not told.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardHeaders {
    /// The tenant's id, such as `x-tenant-id`.
    pub(crate) id: Option<String>,
    /// Its slug.
    pub(crate) slug: Option<String>,
    /// Its state.
    pub(crate) state: Option<String>,
    /// Its plan.
    pub(crate) plan: Option<String>,
    /// Its region.
    pub(crate) region: Option<String>,
    /// The caller.
    pub(crate) subject: Option<String>,
    /// The proof's name.
    pub(crate) issuer: Option<String>,
    /// The caller's roles there.
    pub(crate) roles: Option<String>,
    /// Profile fields of the tenant by name, and the header for each.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
}

/// What becomes of the path.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardPath {
    /// Drop the path source's segments: `/t/acme/x` becomes `/x`. Default: `false`.
    #[serde(default)]
    pub(crate) strip: bool,
    /// Put this before the path, such as `/tenants/{id}` or `/tenants/{slug}`. Default: none.
    pub(crate) prefix: Option<String>,
}

/// What becomes of headers that say where a request came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forwarded {
    /// They are removed.
    #[default]
    Strip,
    /// They stay: a proxy of yours before this one sets them, and nothing else reaches this one.
    Keep,
}

/// How a tenant that is not the caller's is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefuseAs {
    /// 404 `TENANT_NOT_FOUND`, as one that does not exist.
    #[default]
    NotFound,
    /// 403 `TENANT_FORBIDDEN`.
    Forbidden,
}
