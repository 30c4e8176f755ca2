//! `oauth-access-token`: what RFC 9068 and the current practice of RFC 8725 and RFC 9700 ask of an
//! access token, in one line of configuration.
//!
//! A setting that asks for less must be named in `departs_from_profile`, and a departure that
//! nothing departs with is refused too: the list says the whole distance to the profile.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::config::ClaimNames;

use super::{ConfigError, raw, resolve::Resolved};
use crate::{
    claims::ClaimPath,
    conditions::{Condition, Demand},
    token::media_type,
};

const NAME: &str = "oauth-access-token";
/// RFC 9068 section 2.1 recommends asymmetric algorithms and demands RS256; each of these is in use,
/// and a key has its own (RFC 8725 section 3.1).
const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
/// RFC 9068 section 2.2, beside those that have settings of their own.
const CLAIMS: [&str; 4] = ["sub", "client_id", "iat", "jti"];
const SETTINGS: [&str; 6] =
    ["algorithms", "types", "require_type", "require_expiry", "accept_any_audience", "from.query"];

/// Gives `issuer` what its profile asks for, and the conditions that no setting can say.
pub(super) fn apply(path: &str, issuer: &mut raw::Issuer<'_>) -> Resolved<Vec<Condition>> {
    let departures = core::mem::take(&mut issuer.departs_from_profile);
    let at = format!("{path}.departs_from_profile");
    match (&issuer.profile, departures.is_empty()) {
        (None, true) => return Ok(Vec::new()),
        (None, false) => return Err(ConfigError::new(at, "there is no `profile` to depart from")),
        (Some(raw::Profile::OauthAccessToken), _) => {}
    }
    let departures = Departures::new(at, departures)?;
    let refused = |text: &String| text.starts_with("HS") || text == "none";
    let symmetric = issuer.algorithms.as_ref().and_then(|own| own.iter().position(refused));
    departures.setting(path, "algorithms", symmetric.map(|at| format!("[{at}]")))?;
    issuer.algorithms.get_or_insert_with(|| ALGORITHMS.map(Into::into).into());

    let other = |typ: &String| media_type(typ) != "at+jwt";
    let other = issuer.types.as_ref().and_then(|own| own.iter().position(other));
    departures.setting(path, "types", other.map(|at| format!("[{at}]")))?;
    issuer.types.get_or_insert_with(|| Vec::from(["at+jwt".into()]));
    departures.setting(path, "require_type", (issuer.require_type == Some(false)).then(String::new))?;
    issuer.require_type.get_or_insert(true);

    departures.setting(path, "require_expiry", (issuer.require_expiry == Some(false)).then(String::new))?;
    departures.setting(path, "accept_any_audience", issuer.accept_any_audience.then(String::new))?;
    let query = issuer.from.as_ref().is_some_and(|from| !from.query.is_empty());
    departures.setting(path, "from.query", query.then(String::new))?;

    let mut conditions = Vec::new();
    for claim in CLAIMS {
        let required = issuer.required_claims.iter().any(|own| own.0 == [claim]);
        if departures.claim(claim, required)? || required {
            continue;
        }
        issuer.required_claims.push(ClaimNames(Vec::from([claim.to_string()])));
        if claim == "client_id" {
            // The others have their types from RFC 7519 in every token.
            conditions.push(Condition::Claim(ClaimPath(Vec::from([claim.to_string()])), Demand::Text));
        }
    }
    Ok(conditions)
}

struct Departures {
    path: String,
    named: Vec<String>,
}

impl Departures {
    fn new(path: String, named: Vec<String>) -> Resolved<Self> {
        for (at, name) in named.iter().enumerate() {
            let path = format!("{path}[{at}]");
            if !SETTINGS.iter().chain(&CLAIMS).any(|known| known == name) {
                let known = SETTINGS.iter().chain(&CLAIMS).copied().collect::<Vec<_>>().join(", ");
                let reason = format!("`{name}` is nothing that `{NAME}` asks for; it asks for: {known}");
                return Err(ConfigError::new(path, reason));
            }
            if named.iter().take(at).any(|other| other == name) {
                return Err(ConfigError::new(path, format!("`{name}` twice")));
            }
        }
        Ok(Self { path, named })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.named.iter().position(|own| own == name)
    }

    /// Holds a setting to the profile; `departs` is where in it the configuration departs.
    fn setting(&self, path: &str, name: &str, departs: Option<String>) -> Resolved<()> {
        match (departs, self.position(name)) {
            (None, None) | (Some(_), Some(_)) => Ok(()),
            (Some(place), None) => {
                let reason = format!(
                    "departs from the profile `{NAME}`; say so with `{name}` in `departs_from_profile`"
                );
                Err(ConfigError::new(format!("{path}.{name}{place}"), reason))
            }
            (None, Some(at)) => {
                let reason = format!("`{name}` is as `{NAME}` asks for it; nothing departs");
                Err(ConfigError::new(format!("{}[{at}]", self.path), reason))
            }
        }
    }

    /// Whether the configuration departs from requiring `claim`, which it does not require itself.
    fn claim(&self, claim: &str, required: bool) -> Resolved<bool> {
        match self.position(claim) {
            None => Ok(false),
            Some(_) if !required => Ok(true),
            Some(at) => {
                let reason = format!("contradicts `required_claims`, which has `{claim}`");
                Err(ConfigError::new(format!("{}[{at}]", self.path), reason))
            }
        }
    }
}
