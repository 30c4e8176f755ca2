//! What one filter needs of the one before it, which neither of the two can see by itself.

use serde_json::{Value, json};

/// jwt-auth, as far as a filter behind it depends on it.
pub(super) struct JwtAuth {
    /// Where its configuration begins.
    line: usize,
    publishes: bool,
    issuers: Vec<String>,
}

impl JwtAuth {
    /// Of its configuration; `None` where that is no JSON, which is refused elsewhere.
    pub(super) fn read(configuration: &[u8], line: usize) -> Option<Self> {
        let configuration: Value = serde_json::from_slice(configuration).ok()?;
        let issuers = configuration["issuers"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            line,
            publishes: configuration["publish_claims"] != json!(false),
            issuers: issuers.iter().filter_map(|issuer| issuer["name"].as_str()).map(str::to_owned).collect(),
        })
    }

    /// What tenant-guard, behind it with this `configuration`, waits for in vain.
    pub(super) fn warnings(&self, configuration: &[u8]) -> Vec<String> {
        let configuration: Value = serde_json::from_slice(configuration).unwrap_or_default();
        let proofs = configuration["proofs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named =
            proofs.iter().enumerate().filter_map(|(at, proof)| Some((at, proof["jwt_auth"].as_str()?)));
        named.filter_map(|(at, name)| self.warning(at, name)).collect()
    }

    fn warning(&self, at: usize, name: &str) -> Option<String> {
        let (line, proof) = (self.line, format!("`proofs[{at}].jwt_auth`"));
        if !self.publishes {
            return Some(format!(
                "{proof}: jwt-auth before it, at line {line}, has `publish_claims: false`, so nothing is ever \
                 proven; take that out"
            ));
        }
        if self.issuers.iter().any(|own| own == name) {
            return None;
        }
        let there = self.issuers.join(", ");
        Some(format!(
            "{proof}: jwt-auth before it, at line {line}, has no issuer called `{name}`; there is: {there}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: &[u8] =
        br#"{"proofs": [{"name": "a", "jwt_auth": "main"}, {"name": "b", "jwt_authn": "payload"}]}"#;

    fn warnings(jwt_auth: &str) -> Vec<String> {
        JwtAuth::read(jwt_auth.as_bytes(), 7).map(|own| own.warnings(GUARD)).unwrap_or_default()
    }

    #[test]
    fn a_proof_that_never_comes_is_told() {
        assert_eq!(warnings(r#"{"issuers": [{"name": "main"}]}"#), [""; 0]);
        assert_eq!(warnings(r#"{"issuers": [{"name": "main"}], "publish_claims": true}"#), [""; 0]);
        let silent = warnings(r#"{"issuers": [{"name": "main"}], "publish_claims": false}"#);
        assert!(silent[0].contains("`proofs[0].jwt_auth`: jwt-auth before it, at line 7"), "{silent:?}");
        let other = warnings(r#"{"issuers": [{"name": "staff"}, {"name": "partners"}]}"#);
        assert!(other[0].ends_with("no issuer called `main`; there is: staff, partners"), "{other:?}");
        assert_eq!((silent.len(), other.len()), (1, 1));
    }

    #[test]
    fn what_is_no_configuration_says_nothing() {
        assert_eq!(warnings("{"), [""; 0]);
        assert_eq!(JwtAuth::read(b"{}", 1).unwrap().warnings(b"{").len(), 0);
    }
}
