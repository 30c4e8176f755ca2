//! Where an issuer's keys are, and what they sign with.

use std::{fs, path::Path};

use anyhow::{Context as _, bail, ensure};
use portcullis_jwt::{
    jwks::{KeySet, Limits, Origin},
    life::{Address, Allow, discovery_addresses},
};
use serde_json::Value;

use super::Arguments;
use crate::{output, rotation::source::fetch};

/// What is accepted where nobody says what the issuer signs with.
const USUAL: [&str; 3] = ["RS256", "ES256", "EdDSA"];
/// What an issuer with an address may sign with.
const ASYMMETRIC: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/// Where the keys are.
#[derive(Debug)]
pub(super) enum Keys {
    /// In the configuration.
    Inline(Value),
    /// At an address.
    Remote(Address),
    /// Where the issuer's discovery document says.
    Discovery(Address),
}

impl Keys {
    /// The address of the server that has them.
    pub(super) fn server(&self) -> Option<&Address> {
        match self {
            Self::Inline(_) => None,
            Self::Remote(address) | Self::Discovery(address) => Some(address),
        }
    }
}

/// The keys of `issuer`, and the algorithms that are accepted.
///
/// # Errors
///
/// A file has no usable key, an address is none, or the issuer's own document says that it is somebody
/// else. An issuer that does not answer is no error: it may not be reachable from here.
pub(super) fn find(issuer: &str, arguments: &Arguments) -> anyhow::Result<(Keys, Vec<String>)> {
    let allow = Allow { insecure_http: true, ..Allow::default() };
    match arguments.jwks.as_deref() {
        Some(text) if text.contains("://") => {
            let address =
                Address::parse(text, allow).map_err(|error| anyhow::anyhow!("`--jwks`: {error}"))?;
            let algorithms = if arguments.offline { None } else { of_address(&address, arguments) };
            Ok((Keys::Remote(address), algorithms.unwrap_or_else(usual)))
        }
        Some(file) => inline(Path::new(file)),
        None => {
            let addresses = discovery_addresses(issuer, allow).map_err(|error| {
                anyhow::anyhow!("`--issuer`: {error}; say with `--jwks` where its keys are")
            })?;
            discovered(issuer, &addresses, arguments)
        }
    }
}

fn inline(file: &Path) -> anyhow::Result<(Keys, Vec<String>)> {
    let shown = file.display();
    let bytes = fs::read(file).with_context(|| format!("`--jwks`: read `{shown}`"))?;
    KeySet::parse(&bytes, Origin::Inline, &Limits::default())
        .with_context(|| format!("`--jwks`: {shown}"))?;
    let set: Value = serde_json::from_slice(&bytes).with_context(|| format!("`--jwks`: {shown}"))?;
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let private = ["d", "p", "q", "dp", "dq", "qi"];
    ensure!(
        !keys.iter().any(|key| private.iter().any(|member| key.get(member).is_some())),
        "`--jwks`: `{shown}` has a private key: the gateway needs the public ones only"
    );
    let algorithms = algorithms(&set, &["HS256", "HS384", "HS512"]);
    Ok((Keys::Inline(set), if algorithms.is_empty() { usual() } else { algorithms }))
}

fn discovered(
    issuer: &str,
    addresses: &[Address],
    arguments: &Arguments,
) -> anyhow::Result<(Keys, Vec<String>)> {
    let first = addresses.first().context("no address")?.clone();
    if arguments.offline {
        return Ok((Keys::Discovery(first), usual()));
    }
    let mut failed = None;
    for address in addresses {
        let document = fetch(address.as_str(), arguments.ca_file.as_deref())
            .and_then(|bytes| Ok(serde_json::from_slice::<Value>(&bytes)?));
        match document {
            Ok(document) => return from_document(issuer, &document, arguments),
            Err(error) => {
                failed.get_or_insert_with(|| format!("{}: {error:#}", address.as_str()));
            }
        }
    }
    warn(&format!(
        "the issuer did not say where its keys are ({}); Envoy will ask it, and {} are accepted",
        failed.unwrap_or_default(),
        USUAL.join(", ")
    ));
    Ok((Keys::Discovery(first), usual()))
}

fn from_document(
    issuer: &str,
    document: &Value,
    arguments: &Arguments,
) -> anyhow::Result<(Keys, Vec<String>)> {
    let own = document["issuer"].as_str().unwrap_or_default();
    if own != issuer {
        bail!(
            "the issuer calls itself `{}`, and not `{issuer}`; tokens have the one that it says: --issuer {}",
            own.escape_debug(),
            own.escape_debug()
        );
    }
    let uri = document["jwks_uri"].as_str().context("the issuer's document has no `jwks_uri`")?;
    let allow = Allow { insecure_http: issuer.starts_with("http:"), ..Allow::default() };
    let address = Address::parse(uri, allow).map_err(|error| anyhow::anyhow!("`jwks_uri` is {error}"))?;
    let algorithms = of_address(&address, arguments).unwrap_or_else(usual);
    Ok((Keys::Remote(address), algorithms))
}

/// What the keys at an address sign with.
fn of_address(address: &Address, arguments: &Arguments) -> Option<Vec<String>> {
    let read = || -> anyhow::Result<Vec<String>> {
        let bytes = fetch(address.as_str(), arguments.ca_file.as_deref())?;
        KeySet::parse(&bytes, Origin::Remote, &Limits::default())?;
        Ok(algorithms(&serde_json::from_slice(&bytes)?, &[]))
    };
    match read() {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => None,
        Err(error) => {
            let usual = USUAL.join(", ");
            warn(&format!("no keys from {}: {error:#}; {usual} are accepted", address.as_str()));
            None
        }
    }
}

/// The algorithms of a set's keys, each once: what a key says, or what its type usually signs with.
fn algorithms(set: &Value, more: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in set["keys"].as_array().into_iter().flatten() {
        let text = |member: &str| key[member].as_str().unwrap_or_default();
        let algorithm = match (text("alg"), text("kty"), text("crv")) {
            (alg, ..) if !alg.is_empty() => alg,
            (_, "RSA", _) => "RS256",
            (_, "EC", "P-256") => "ES256",
            (_, "EC", "P-384") => "ES384",
            (_, "EC", "P-521") => "ES512",
            (_, "OKP", "Ed25519") => "EdDSA",
            (_, "oct", _) => "HS256",
            _ => continue,
        };
        // RFC 9864 has a name for the one curve.
        let algorithm = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
        let known = ASYMMETRIC.contains(&algorithm) || more.contains(&algorithm);
        if known && text("use") != "enc" && !found.iter().any(|own| own == algorithm) {
            found.push(algorithm.to_owned());
        }
    }
    found
}

fn usual() -> Vec<String> {
    USUAL.map(str::to_owned).into()
}

fn warn(text: &str) {
    anstream::eprintln!("{} {text}", output::styled(output::NAME, "warning:"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn algorithms_are_those_of_the_keys() {
        let set = json!({"keys": [
            {"kty": "RSA"}, {"kty": "RSA", "alg": "PS256"}, {"kty": "RSA", "alg": "RSA-OAEP"},
            {"kty": "EC", "crv": "P-384"}, {"kty": "OKP", "crv": "Ed25519", "alg": "Ed25519"},
            {"kty": "RSA", "use": "enc", "alg": "RS512"}, {"kty": "oct"}, {"kty": "EC", "crv": "P-384"},
        ]});
        assert_eq!(algorithms(&set, &[]), ["RS256", "PS256", "ES384", "EdDSA"]);
        assert_eq!(algorithms(&set, &["HS256"]), ["RS256", "PS256", "ES384", "EdDSA", "HS256"]);
    }
}
