//! The policy's reads through Kubewarden's `oci` capabilities, which know digests and manifests, and
//! no blobs. A signature's payload is small and has one form, so it is rebuilt and held against the
//! digest that the manifest names: what fits is what was signed.

use portcullis_signature::{
    Answer, Base64, Digest, Evidence, ImageRef, Policy, Read, ReasonCode, Request, What, plan, policy::Tags,
};
use serde::Deserialize;
use serde_json::json;

/// A call of the host's `oci` capabilities: the operation and the image, and the answer or why there is
/// none.
pub(crate) type Host<'a> = &'a dyn Fn(&str, &str) -> Result<Vec<u8>, String>;

/// Plan and reads alternate at most so often; the plan itself has four rounds.
const MAX_ROUNDS: usize = 6;
/// What a review may cost a registry. An image has two signature tags and the fallback tag.
const MAX_READS: usize = 256;

#[derive(Deserialize)]
struct ManifestDigest {
    digest: String,
}

/// Makes the reads that the host can make for `requests`, and pins what came with a tag.
pub(crate) fn gather(requests: &mut [Request], policy: &Policy, evidence: &mut Evidence, host: Host<'_>) {
    for request in requests.iter_mut() {
        if request.image.digest().is_none() && policy.document().tags == Tags::Pin {
            let wanted = !plan(request, policy, evidence).is_empty();
            if let Some(digest) = wanted.then(|| digest(&request.image, host)).flatten() {
                request.image = request.image.pinned(digest);
            }
        }
    }
    let mut made = 0_usize;
    for _ in 0..MAX_ROUNDS {
        let mut planned: Vec<_> =
            requests.iter().flat_map(|request| plan(request, policy, evidence)).collect();
        planned.sort();
        planned.dedup();
        if planned.is_empty() {
            break;
        }
        for read in planned {
            made = made.saturating_add(1);
            let answer = if made > MAX_READS {
                failed(ReasonCode::LimitExceeded, format!("more than {MAX_READS} reads"))
            } else {
                answer(&read, requests, host)
            };
            evidence.record(read, answer);
        }
    }
}

fn digest(image: &ImageRef, host: Host<'_>) -> Option<Digest> {
    let answer = host("v1/manifest_digest", &image.to_string()).ok()?;
    let answer: ManifestDigest = serde_json::from_slice(&answer).ok()?;
    Digest::parse(&answer.digest).ok()
}

fn answer(read: &Read, requests: &[Request], host: Host<'_>) -> Answer {
    match &read.what {
        What::Tag(tag) => {
            let image = format!("{}/{}:{tag}", read.registry, read.repository);
            match host("v1/oci_manifest", &image) {
                Ok(manifest) => Answer::Found(Base64(manifest)),
                Err(error) if is_absent(&error) => Answer::Absent,
                Err(error) => failed(ReasonCode::RegistryUnavailable, error),
            }
        }
        What::Blob(digest) => match payload(*digest, requests) {
            Some(payload) => Answer::Found(Base64(payload)),
            None => not_offered("blobs"),
        },
        What::Manifest(_) => not_offered("manifests by their bytes"),
        What::Referrers(_) => not_offered("referrers"),
    }
}

/// Registries say it in the distribution specification's code, and the host passes the text on.
fn is_absent(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["manifest_unknown", "manifest unknown", "name_unknown", "not found", "404"]
        .iter()
        .any(|word| error.contains(word))
}

fn not_offered(what: &str) -> Answer {
    let detail = format!("Kubewarden's host reads no {what}: bring the evidence along (`portcullis staple`)");
    failed(ReasonCode::RegistryUnavailable, detail)
}

fn failed(code: ReasonCode, detail: String) -> Answer {
    Answer::Failed { code, detail }
}

/// The simple signing payload with this digest, for one of the images, without annotations.
fn payload(digest: Digest, requests: &[Request]) -> Option<Vec<u8>> {
    requests.iter().find_map(|Request { image, .. }| {
        let about = image.digest()?;
        let mut names = vec![image.name()];
        // Cosign writes Docker Hub by another of its names.
        names.extend(image.name().strip_prefix("docker.io/").map(|rest| format!("index.docker.io/{rest}")));
        let tagged = names.iter().filter_map(|name| Some(format!("{name}:{}", image.tag()?)));
        let names: Vec<_> = names.iter().cloned().chain(tagged).collect();
        names.iter().map(|name| simple_signing(name, about)).find(|bytes| Digest::of(bytes) == digest)
    })
}

/// Byte for byte as Cosign writes it: members in this order, no spaces.
fn simple_signing(name: &str, digest: Digest) -> Vec<u8> {
    let (name, digest) = (json!(name), json!(digest.to_string()));
    format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":{name}}},\"image\":{{\"docker-manifest-digest\":{digest}}},\
         \"type\":\"cosign container image signature\"}},\"optional\":null}}"
    )
    .into_bytes()
}
