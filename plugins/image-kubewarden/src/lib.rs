//! The signature policy as a Kubewarden policy: waPC calls in, `policies/signature` decides.
//!
//! The same module validates and mutates: an image that comes with a tag is admitted as the digest
//! that was verified. Evidence comes with the object (the annotation that the admission filter reads
//! too), from the settings, or, where the settings say so, from Cosign's signature tags through the
//! host's `oci` capabilities. The arithmetic is done here: the host needs no trust root of its own.
//!
//! # What this crate does not do
//!
//! It reads no blobs, because Kubewarden's hosts offer none: bundles (Cosign 3) and attestations have
//! to be stapled.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod reads;
mod settings;
mod validate;

use wapc_guest::CallResult;

/// The waPC protocol between Kubewarden and its policies.
const PROTOCOL: &str = "v1";

/// What a waPC host calls first.
#[expect(unsafe_code, reason = "the name is the protocol's; nothing else here exports it")]
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    wapc_guest::register_function("validate", on_validate);
    wapc_guest::register_function("validate_settings", on_settings);
    wapc_guest::register_function("protocol_version", on_protocol_version);
}

fn on_validate(payload: &[u8]) -> CallResult {
    let host = |operation: &str, image: &str| {
        let message = serde_json::to_vec(image).map_err(|error| error.to_string())?;
        wapc_guest::host_call("kubewarden", "oci", operation, &message).map_err(|error| error.to_string())
    };
    Ok(serde_json::to_vec(&validate::validate(payload, &host))?)
}

fn on_settings(payload: &[u8]) -> CallResult {
    Ok(serde_json::to_vec(&settings::judge(payload))?)
}

fn on_protocol_version(_payload: &[u8]) -> CallResult {
    Ok(serde_json::to_vec(PROTOCOL)?)
}
