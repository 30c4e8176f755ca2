//! The `TrustedRoot` v0.1 document.

use serde_json::{Value, json};

use crate::{
    Certificate, Key, base64, note,
    sigstore::{REKOR, REKOR_2, Services},
};

/// All services begin with the authorities: 2025-01-01.
const FROM: &str = "2025-01-01T00:00:00Z";

pub(crate) fn document(services: &Services) -> Value {
    let Services { authority, certificate_log, rekor, rekor_2, witnesses: _, stamping } = services;
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [
            log(REKOR, rekor, rekor.id()),
            log(REKOR_2, rekor_2, note::log_id(REKOR_2, rekor_2)),
        ],
        "certificateAuthorities": [
            issuer("fulcio", "sigstore-root", &[&authority.intermediate, &authority.root])
        ],
        "ctlogs": [log("ctfe.sigstore.test/2026", certificate_log, certificate_log.id())],
        "timestampAuthorities": [
            issuer("timestamp", "sigstore-tsa-root", &stamping.chain.iter().collect::<Vec<_>>())
        ],
    })
}

fn log(name: &str, key: &Key, id: [u8; 32]) -> Value {
    json!({
        "baseUrl": format!("https://{name}"),
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": base64(key.public_der()),
            "keyDetails": key.details(),
            "validFor": { "start": FROM },
        },
        "logId": { "keyId": base64(id) },
    })
}

fn issuer(host: &str, common_name: &str, chain: &[&Certificate]) -> Value {
    let certificates: Vec<_> =
        chain.iter().map(|certificate| json!({ "rawBytes": base64(certificate.der()) })).collect();
    json!({
        "subject": { "organization": "sigstore.test", "commonName": common_name },
        "uri": format!("https://{host}.sigstore.test"),
        "certChain": { "certificates": certificates },
        "validFor": { "start": FROM },
    })
}
