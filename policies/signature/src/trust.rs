//! Trusted roots: whose certificates, logs and timestamps count.

use std::fmt;

use sigstore_verify::{
    Verifier,
    trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
};

use crate::{
    encoding,
    policy::{Builtin, TrustedRootSource},
};

/// A trusted root that is ready to verify with.
pub(crate) struct Root {
    pub(crate) verifier: Verifier,
    /// Whether it has certificate transparency logs: then a certificate must be in one.
    pub(crate) has_ct: bool,
    logs: Vec<Vec<u8>>,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("logs", &self.logs.len()).field("has_ct", &self.has_ct).finish()
    }
}

impl Root {
    /// Reads and checks every key and certificate, so that what is broken is refused when the policy
    /// is loaded and not when an image is.
    pub(crate) fn new(source: &TrustedRootSource) -> Result<Self, String> {
        let parsed = match source {
            TrustedRootSource::Builtin(Builtin::Sigstore) => from_text(SIGSTORE_PRODUCTION_TRUSTED_ROOT)?,
            TrustedRootSource::Builtin(Builtin::Github) => github()?,
            TrustedRootSource::TrustedRoot(value) => from_text(&value.to_string())?,
            TrustedRootSource::Authority { certificates, timestamp_authorities } => {
                from_text(&authority(certificates, timestamp_authorities)?)?
            }
        };
        Self::of(&parsed)
    }

    fn of(parsed: &TrustedRoot) -> Result<Self, String> {
        Ok(Self {
            verifier: Verifier::new(parsed).map_err(|error| error.to_string())?,
            has_ct: !parsed.ctlogs.is_empty(),
            logs: parsed.tlogs.iter().map(|log| log.log_id.key_id.as_bytes().to_vec()).collect(),
        })
    }

    pub(crate) const fn has_log(&self) -> bool {
        !self.logs.is_empty()
    }

    pub(crate) fn knows_log(&self, id: &[u8]) -> bool {
        self.logs.iter().any(|log| log == id)
    }
}

/// The trusted root of GitHub's instance, as it is built in: a `TrustedRoot` as JSON.
#[cfg(feature = "github-root")]
pub const GITHUB_TRUSTED_ROOT: &str = sigstore_verify::trust_root::SIGSTORE_GITHUB_TRUSTED_ROOT;

#[cfg(feature = "github-root")]
fn github() -> Result<TrustedRoot, String> {
    from_text(GITHUB_TRUSTED_ROOT)
}

#[cfg(not(feature = "github-root"))]
fn github() -> Result<TrustedRoot, String> {
    Err("GitHub's root is not built in here: name its document as `trusted_root`".into())
}

fn from_text(json: &str) -> Result<TrustedRoot, String> {
    TrustedRoot::from_json(json).map_err(|error| error.to_string())
}

/// A `TrustedRoot` of PEM certificates. They count from the beginning of time: each certificate's
/// own life bounds what it can vouch for.
fn authority(certificates: &str, timestamp_authorities: &[String]) -> Result<String, String> {
    let signing = party(certificates)?;
    let stamping: Vec<String> =
        timestamp_authorities.iter().map(|pem| party(pem)).collect::<Result<_, String>>()?;
    Ok(format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"ctlogs":[],"certificateAuthorities":[{signing}],"timestampAuthorities":[{}]}}"#,
        stamping.join(",")
    ))
}

/// An authority with this chain. Base64 needs no escapes.
fn party(pem: &str) -> Result<String, String> {
    let blocks = encoding::pem(pem, "CERTIFICATE").map_err(|reason| format!("certificates: {reason}"))?;
    let certificate = |der: &Vec<u8>| format!(r#"{{"rawBytes":"{}"}}"#, encoding::encode(der));
    let certificates: Vec<String> = blocks.iter().map(certificate).collect();
    Ok(format!(
        r#"{{"subject":{{}},"uri":"","certChain":{{"certificates":[{}]}},"validFor":{{"start":"1970-01-01T00:00:00Z"}}}}"#,
        certificates.join(",")
    ))
}
