//! The signature policy for JavaScript: the same crate as in the admission filter, behind
//! wasm-bindgen.
//!
//! Documents go in and out as JSON texts, so that what a program sees is what the command writes and
//! the filter reads. The TypeScript types of what comes out are in `types.d.ts`.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

use portcullis_core::UnixTime;
use portcullis_signature::{
    Artifact, Digest, Evidence, ImageRef, Policy, Read, Reason, Request, decide, plan, verify_bundle,
};
use serde::Serialize;
use wasm_bindgen::{
    JsCast as _,
    prelude::{JsError, JsValue, wasm_bindgen},
};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

/// A policy that images and bundles are judged by.
#[wasm_bindgen(js_name = Policy)]
pub struct WebPolicy(Policy);

#[derive(Serialize)]
struct BundleVerdict {
    verified: bool,
    reason: Reason,
}

#[derive(Serialize)]
struct PlannedRead<'a> {
    read: &'a Read,
    registry: &'a str,
    path: String,
    accept: &'static str,
}

#[wasm_bindgen(js_class = Policy)]
impl WebPolicy {
    /// Reads a policy from its JSON text.
    ///
    /// # Errors
    ///
    /// The place in the document, and what would be right.
    #[wasm_bindgen(constructor)]
    pub fn new(json: &str) -> Result<Self, JsError> {
        Policy::from_json(json.as_bytes()).map(Self).map_err(|error| refused(&error))
    }

    /// Verifies a Sigstore bundle about an artifact, given by its digest (`sha256:…`), by one of the
    /// policy's signers, at a time in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Only where `digest` is not one: a bundle that does not count is an answer.
    #[wasm_bindgen(js_name = verifyBundle, unchecked_return_type = "BundleVerdict")]
    pub fn verify_bundle(
        &self,
        bundle: &str,
        digest: &str,
        signer: &str,
        now: f64,
    ) -> Result<JsValue, JsError> {
        let digest = Digest::parse(digest).map_err(|error| refused(&error))?;
        self.about(bundle, Artifact::Digest(digest), signer, now)
    }

    /// Verifies a Sigstore bundle about an artifact, given by its bytes.
    ///
    /// # Errors
    ///
    /// None: a bundle that does not count is an answer.
    #[wasm_bindgen(js_name = verifyBundleOver, unchecked_return_type = "BundleVerdict")]
    pub fn verify_bundle_over(
        &self,
        bundle: &str,
        artifact: &[u8],
        signer: &str,
        now: f64,
    ) -> Result<JsValue, JsError> {
        self.about(bundle, Artifact::Bytes(artifact), signer, now)
    }

    /// The reads of a registry that come next for an image; none where all is known.
    ///
    /// # Errors
    ///
    /// A name that is no image reference, or evidence that cannot be read.
    #[wasm_bindgen(unchecked_return_type = "PlannedRead[]")]
    pub fn plan(&self, image: &str, namespace: Option<String>, evidence: &str) -> Result<JsValue, JsError> {
        let (request, evidence) = asked(image, namespace, evidence)?;
        let reads = plan(&request, &self.0, &evidence);
        let planned = |read| -> PlannedRead<'_> {
            let read: &Read = read;
            PlannedRead { read, registry: &read.registry, path: read.path(), accept: read.accept() }
        };
        value(&reads.iter().map(planned).collect::<Vec<_>>())
    }

    /// Judges an image by recorded evidence, at a time in seconds since 1970.
    ///
    /// # Errors
    ///
    /// A name that is no image reference, or evidence that cannot be read.
    #[wasm_bindgen(unchecked_return_type = "Verdict")]
    pub fn judge(
        &self,
        image: &str,
        namespace: Option<String>,
        evidence: &str,
        now: f64,
    ) -> Result<JsValue, JsError> {
        let (request, evidence) = asked(image, namespace, evidence)?;
        let verdict = decide(&request, &evidence, &self.0, time(now));
        explained(&verdict, &verdict.reason)
    }

    fn about(
        &self,
        bundle: &str,
        artifact: Artifact<'_>,
        signer: &str,
        now: f64,
    ) -> Result<JsValue, JsError> {
        let result = verify_bundle(bundle, artifact, signer, &self.0, time(now));
        let verified = result.is_ok();
        let verdict = BundleVerdict { verified, reason: result.unwrap_or_else(|reason| reason) };
        explained(&verdict, &verdict.reason)
    }
}

fn asked(image: &str, namespace: Option<String>, evidence: &str) -> Result<(Request, Evidence), JsError> {
    let image = ImageRef::parse(image).map_err(|error| refused(&error))?;
    let evidence = if evidence.is_empty() {
        Evidence::default()
    } else {
        Evidence::from_json(evidence.as_bytes()).map_err(|error| refused(&error))?
    };
    Ok((Request { image, namespace }, evidence))
}

fn refused(error: &dyn std::error::Error) -> JsError {
    JsError::new(&error.to_string())
}

/// JavaScript's numbers are exact far beyond any time that matters; what is no number is before all.
#[expect(clippy::cast_possible_truncation, reason = "the conversion saturates")]
fn time(seconds: f64) -> UnixTime {
    UnixTime::from_secs(seconds as i64)
}

#[wasm_bindgen]
extern "C" {
    /// An answer, which also has its tree of reasons as text.
    type Answer;

    #[wasm_bindgen(method, structural, setter)]
    fn set_explanation(this: &Answer, text: &str);

    #[wasm_bindgen(js_namespace = JSON, js_name = parse, catch)]
    fn parse_json(text: &str) -> Result<JsValue, JsValue>;
}

fn explained(answer: &impl Serialize, reason: &Reason) -> Result<JsValue, JsError> {
    let answer: Answer = value(answer)?.unchecked_into();
    answer.set_explanation(&reason.to_string());
    Ok(answer.into())
}

/// A document as JavaScript's own objects.
fn value(document: &impl Serialize) -> Result<JsValue, JsError> {
    let text = serde_json::to_string(document).map_err(|error| refused(&error))?;
    parse_json(&text).map_err(|_| JsError::new("the answer is not JSON"))
}
