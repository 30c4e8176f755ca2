//! Trusted roots: whose certificates, logs and timestamps count.

use std::fmt;

use serde_json::{Value, json};
use sigstore_verify::{
    Verifier,
    trust_root::{SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
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
            TrustedRootSource::Builtin(Builtin::Sigstore) => {
                TrustedRoot::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT).map_err(|error| error.to_string())?
            }
            TrustedRootSource::Builtin(Builtin::Github) => {
                TrustedRoot::from_json(SIGSTORE_GITHUB_TRUSTED_ROOT).map_err(|error| error.to_string())?
            }
            TrustedRootSource::TrustedRoot(value) => from_value(value)?,
            TrustedRootSource::Authority { certificates, timestamp_authorities } => {
                from_value(&authority(certificates, timestamp_authorities)?)?
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

fn from_value(value: &Value) -> Result<TrustedRoot, String> {
    TrustedRoot::from_json(&value.to_string()).map_err(|error| error.to_string())
}

/// A `TrustedRoot` of PEM certificates. They count from the beginning of time: each certificate's
/// own life bounds what it can vouch for.
fn authority(certificates: &str, timestamp_authorities: &[String]) -> Result<Value, String> {
    let chain = |pem: &str| -> Result<Value, String> {
        let blocks = encoding::pem(pem, "CERTIFICATE").map_err(|reason| format!("certificates: {reason}"))?;
        let certificates: Vec<Value> =
            blocks.iter().map(|der| json!({ "rawBytes": encoding::encode(der) })).collect();
        Ok(json!({ "certificates": certificates }))
    };
    let always = json!({ "start": "1970-01-01T00:00:00Z" });
    let timestamp_authorities = timestamp_authorities
        .iter()
        .map(|pem| Ok(json!({ "subject": {}, "certChain": chain(pem)?, "validFor": always })))
        .collect::<Result<Vec<_>, String>>()?;
    Ok(json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [],
        "ctlogs": [],
        "certificateAuthorities": [
            { "subject": {}, "uri": "", "certChain": chain(certificates)?, "validFor": always }
        ],
        "timestampAuthorities": timestamp_authorities,
    }))
}
