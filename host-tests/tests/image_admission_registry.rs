//! The image filter in the real Envoy before a real registry (Debian's `docker-registry`), with images
//! that are signed in every layout, and before registries that fail.

#[path = "../../policies/signature/tests/common/conformance.rs"]
mod conformance;
#[path = "../../policies/signature/tests/common/registry.rs"]
mod registry;
#[path = "image_admission/stage.rs"]
mod stage;
#[path = "image_admission/webhook.rs"]
mod webhook;

use std::{net::TcpListener, slice, time::Duration};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::loopback::{Answer, Service};
use portcullis_mini_sigstore::{
    Content, Fault, Identity, Image, KeyKind, Layout, Log, START, Signing, Sigstore, TimestampStyle,
    TokenFault, Upload, Version,
    registry::{Registry, Transport},
    simple_signing,
};
use serde_json::{Value, json};
use webhook::Webhook;

const HOST: &str = "r.example";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

fn sigstore() -> Sigstore {
    Sigstore::new([9; 32])
}

fn identity() -> Identity {
    Identity::github("acme/shop", ".github/workflows/release.yml", "refs/heads/main")
}

/// A rule for each of the repositories under `acme` that are named, and one for all others.
fn configuration() -> Value {
    let sigstore = sigstore();
    let key = sigstore.key("release", KeyKind::P256).public_pem();
    let github = json!({ "repository": "acme/shop", "workflow": ".github/workflows/release.yml", "ref": "refs/heads/main" });
    let mut unlogged = github.clone();
    unlogged["log"] = json!("none");
    let rule = |name: &str, images: &[&str], require: Value| {
        let images: Vec<String> = images.iter().map(|image| format!("{HOST}/{image}/*")).collect();
        json!({ "name": name, "images": images, "require": require })
    };
    let signed = |signer: &str| json!({ "signature": { "signer": signer } });
    let mut exact = rule("exact", &["exact"], signed("release"));
    exact["signed_name"] = json!("exact");
    json!({
        "policy": {
            "roots": { "test": { "trusted_root": sigstore.trusted_root() } },
            "signers": {
                "release": { "github": github },
                "unlogged": { "github": unlogged },
                "key": { "key": { "public_key": key } },
                "logged_key": { "key": { "public_key": key, "log": "required", "root": "test" } },
            },
            "rules": [
                rule("keyless", &["keyless"], signed("release")),
                rule("unlogged", &["unlogged"], signed("unlogged")),
                rule("key", &["key"], signed("key")),
                rule("logged key", &["logged"], signed("logged_key")),
                rule("attested", &["attested"], json!({ "attestation": { "predicate_type": PROVENANCE, "signer": "release" } })),
                exact,
            ],
        },
        "hosts": { HOST: { "cluster": "registry" } },
    })
}

/// A registry and the webhook that reads it.
struct World {
    registry: Registry,
    webhook: Webhook,
    sigstore: Sigstore,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let registry = Registry::start(folder.path(), Transport::Http)?;
        let webhook = Webhook::start(&configuration(), Some(registry.host().parse()?))?;
        Ok(webhook.map(|webhook| Self { registry, webhook, sigstore: sigstore(), _folder: folder }))
    }

    fn keyless(&self) -> Signing<'_> {
        Signing::keyless(&self.sigstore, identity())
    }

    fn push(&self, name: &str, tag: &str, image: &Image, evidence: &[Upload]) -> Result<()> {
        for upload in slice::from_ref(&Upload::image(image, tag)).iter().chain(evidence) {
            self.registry.push(name, upload)?;
        }
        Ok(())
    }

    /// Pushes an image to `name` with a legacy signature of that name.
    fn legacy(&self, name: &str, signing: &Signing<'_>) -> Result<()> {
        let image = Image::new(name);
        let made = signing.sign(&image.simple_signing(&format!("{HOST}/{name}")));
        self.push(name, "1", &image, &[Upload::legacy(&image, &[made])])
    }

    /// Pushes an image to `name` with a bundle as Cosign 3 has it where there is no referrers API.
    fn bundle(
        &self,
        name: &str,
        signing: &Signing<'_>,
        version: Version,
        content: fn(&Image) -> Content,
    ) -> Result<()> {
        let image = Image::new(name);
        let made = signing.sign(&content(&image)).bundle(version);
        self.push(name, "1", &image, &[Upload::bundles(&image, &[made], Layout::FallbackTag)])
    }

    /// What the webhook says of one image: `VERIFIED`, or the cause of the refusal.
    fn judge(&self, image: &str) -> Result<String> {
        let answer = self.webhook.ask(&stage::review(&[format!("{HOST}/{image}")], None))?;
        cause(&answer)
    }
}

fn cause(answer: &Value) -> Result<String> {
    let response = &answer["response"];
    if response["allowed"] == true {
        return Ok("VERIFIED".into());
    }
    let audited = response["auditAnnotations"]["images"].as_str().context("no images in the audit")?;
    let audited: Value = serde_json::from_str(audited)?;
    let code = audited["/spec/containers/0/image"]["code"].as_str().context("no code")?.to_owned();
    let message = response["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains(&code), "the message does not say {code}: {message}");
    Ok(code)
}

fn manifest(image: &Image) -> Content {
    Content::Message(image.manifest.bytes.clone())
}

fn provenance(image: &Image) -> Content {
    Content::statement("", &image.hex(), PROVENANCE, &json!({}))
}

#[test]
fn an_image_that_is_signed_in_any_layout_may_run() -> Result<()> {
    let Some(world) = World::start()? else { return Ok(()) };
    let key = || Signing::key(&world.sigstore, world.sigstore.key("release", KeyKind::P256));
    let keyless = || world.keyless();
    let stamped = || keyless().timestamp(TimestampStyle::Plain);
    let sha384 = || keyless().log(Log::V2).timestamp(TimestampStyle::Sha384);
    let fraction = || keyless().log(Log::V2).timestamp(TimestampStyle::Fraction(".123456"));

    world.legacy("key/legacy", &key().log(Log::None))?;
    world.legacy("logged/legacy", &key())?;
    world.legacy("keyless/legacy", &keyless())?;
    world.legacy("keyless/legacy-stamped", &stamped())?;
    for (name, version) in [("v01", Version::V0_1), ("v02", Version::V0_2), ("v03", Version::V0_3)] {
        world.bundle(&format!("keyless/statement-{name}"), &keyless(), version, Image::statement)?;
        world.bundle(&format!("keyless/message-{name}"), &keyless(), version, manifest)?;
    }
    world.bundle("key/bundle", &key(), Version::V0_3, Image::statement)?;
    world.bundle("keyless/rekor2", &keyless().log(Log::V2), Version::V0_3, Image::statement)?;
    world.bundle("keyless/rekor2-message", &keyless().log(Log::V2), Version::V0_3, manifest)?;
    world.bundle("keyless/sha384", &sha384(), Version::V0_3, Image::statement)?;
    world.bundle("keyless/fraction", &fraction(), Version::V0_3, Image::statement)?;
    world.bundle("unlogged/bundle", &stamped().log(Log::None), Version::V0_3, Image::statement)?;
    world.bundle("attested/bundle", &keyless().log(Log::V2), Version::V0_3, provenance)?;
    let image = Image::new("attested/legacy");
    let made = keyless().attest_legacy(&provenance(&image));
    world.push("attested/legacy", "1", &image, &[Upload::legacy(&image, &[made])])?;

    let names = [
        "key/legacy",
        "logged/legacy",
        "keyless/legacy",
        "keyless/legacy-stamped",
        "keyless/statement-v01",
        "keyless/statement-v02",
        "keyless/statement-v03",
        "keyless/message-v01",
        "keyless/message-v02",
        "keyless/message-v03",
        "key/bundle",
        "keyless/rekor2",
        "keyless/rekor2-message",
        "keyless/sha384",
        "keyless/fraction",
        "unlogged/bundle",
        "attested/bundle",
        "attested/legacy",
    ];
    for name in names {
        assert_eq!(world.judge(&format!("{name}:1"))?, "VERIFIED", "{name}");
    }
    // All in one review, each pinned to what was verified.
    let images: Vec<String> = names.iter().map(|name| format!("{HOST}/{name}:1")).collect();
    let answer = world.webhook.ask(&stage::review(&images, None))?;
    ensure!(answer["response"]["allowed"] == true, "{answer:#}");
    let pinned = stage::patch(&answer)?;
    assert_eq!(pinned.len(), names.len());
    for (name, pinned) in
        names.iter().zip((0..).map(|index| &pinned[&format!("/spec/containers/{index}/image")]))
    {
        assert_eq!(*pinned, format!("{HOST}/{name}:1@{}", Image::new(name).digest()));
    }
    Ok(())
}

#[test]
fn an_image_that_is_not_signed_for_what_it_runs_as_may_not_run() -> Result<()> {
    let Some(world) = World::start()? else { return Ok(()) };
    let mut wrong = Vec::new();
    let mut expect = |image: &str, expected: &str| -> Result<()> {
        let found = world.judge(image)?;
        if found != expected {
            wrong.push(format!("{image}: {found}, and {expected} is expected"));
        }
        Ok(())
    };
    // Unsigned.
    world.push("keyless/unsigned", "1", &Image::new("unsigned"), &[])?;
    expect("keyless/unsigned:1", "SIGNATURE_MISSING")?;
    expect("keyless/nowhere:1", "IMAGE_NOT_FOUND")?;

    // Wrongly signed: by a stranger's key, for another workflow, and with a signature that does not hold.
    let stranger = Signing::key(&world.sigstore, world.sigstore.key("stranger", KeyKind::P256));
    world.legacy("key/stranger", &stranger)?;
    expect("key/stranger:1", "SIGNATURE_INVALID")?;
    let other = Identity::github("acme/other", ".github/workflows/release.yml", "refs/heads/main");
    let other = Signing::keyless(&world.sigstore, other);
    world.bundle("keyless/other-workflow", &other, Version::V0_3, Image::statement)?;
    expect("keyless/other-workflow:1", "IDENTITY_MISMATCH")?;
    for (name, fault, log, expected) in [
        ("signature", Fault::Signature, Log::V1, "SIGNATURE_INVALID"),
        // Expired.
        ("expired", Fault::ExpiredCertificate, Log::V1, "CERTIFICATE_EXPIRED"),
        ("expired-2", Fault::ExpiredCertificate, Log::V2, "CERTIFICATE_EXPIRED"),
        ("foreign", Fault::ForeignAuthority, Log::V1, "CERTIFICATE_UNTRUSTED"),
        ("log", Fault::ForeignLog, Log::V2, "LOG_CHECKPOINT_INVALID"),
        ("entry", Fault::OtherArtifactInLog, Log::V2, "LOG_ENTRY_MISMATCH"),
        ("time", Fault::NoTimestamp, Log::V2, "TIME_UNKNOWN"),
    ] {
        let (bundled, legacy) = (format!("keyless/{name}"), format!("keyless/legacy-{name}"));
        world.bundle(&bundled, &world.keyless().log(log).fault(fault), Version::V0_3, Image::statement)?;
        expect(&format!("{bundled}:1"), expected)?;
        if log == Log::V1 {
            world.legacy(&legacy, &world.keyless().fault(fault))?;
            expect(&format!("{legacy}:1"), expected)?;
        }
    }

    for (name, style, at, expected) in [
        ("timestamp-forged", TimestampStyle::Forged(TokenFault::FractionCutOff), 0, "TIMESTAMP_INVALID"),
        ("timestamp-two-signers", TimestampStyle::Forged(TokenFault::TwoSigners), 0, "TIMESTAMP_INVALID"),
        ("timestamp-not-der", TimestampStyle::Fraction(".50"), 0, "TIMESTAMP_INVALID"),
        // A certificate lasts ten minutes.
        ("timestamp-late", TimestampStyle::Fraction(".000001"), 600, "CERTIFICATE_EXPIRED"),
    ] {
        let signing = world.keyless().log(Log::V2).timestamp(style);
        let signing = signing.stamped_at(START + at);
        let name = format!("keyless/{name}");
        world.bundle(&name, &signing, Version::V0_3, Image::statement)?;
        expect(&format!("{name}:1"), expected)?;
    }

    // Signed, and copied to another repository with its signature.
    let image = Image::new("tools");
    let signature = world.keyless().sign(&image.simple_signing(&format!("{HOST}/keyless/tools")));
    for name in ["keyless/tools", "keyless/copied"] {
        world.push(name, "1", &image, &[Upload::legacy(&image, slice::from_ref(&signature))])?;
    }
    expect("keyless/tools:1", "VERIFIED")?;
    expect("keyless/copied:1", "NAME_MISMATCH")?;

    // Signed as 1, and tagged as 2 as well.
    let image = Image::new("tags");
    let payload = simple_signing(&format!("{HOST}/exact/tags:1"), &image.digest(), &Value::Null);
    let signature = world.keyless().sign(&payload);
    for tag in ["1", "2"] {
        world.push("exact/tags", tag, &image, &[Upload::legacy(&image, slice::from_ref(&signature))])?;
    }
    expect("exact/tags:1", "VERIFIED")?;
    expect("exact/tags:2", "TAG_MISMATCH")?;

    // The evidence of a signed image under the tags of another.
    let (signed, swapped) = (Image::new("signed"), Image::new("swapped"));
    let bundle = world.keyless().sign(&signed.statement()).bundle(Version::V0_3);
    world.push(
        "keyless/swap",
        "1",
        &swapped,
        &[Upload::bundles(&swapped, &[bundle], Layout::FallbackTag)],
    )?;
    expect("keyless/swap:1", "SUBJECT_DIGEST_MISMATCH")?;

    // The tag is moved to an image that nobody signed; the digest that was verified still runs.
    let good = Image::new("good");
    let bundle = world.keyless().sign(&good.statement()).bundle(Version::V0_3);
    let evidence = Upload::bundles(&good, &[bundle], Layout::FallbackTag);
    world.push("keyless/moved", "1", &good, slice::from_ref(&evidence))?;
    expect("keyless/moved:1", "VERIFIED")?;
    world.push("keyless/moved", "1", &Image::new("bad"), &[])?;
    expect("keyless/moved:1", "SIGNATURE_MISSING")?;
    expect(&format!("keyless/moved@{}", good.digest()), "VERIFIED")?;

    // Replaced in place: the registry gives other bytes for the digest of a signature, and of a manifest.
    let image = Image::new("replaced");
    let bundle = world.keyless().sign(&image.statement()).bundle(Version::V0_3);
    let evidence = Upload::bundles(&image, &[bundle], Layout::FallbackTag);
    world.push("keyless/replaced", "1", &image, slice::from_ref(&evidence))?;
    world.registry.corrupt(&evidence.blobs[0].digest(), b"{}")?;
    expect("keyless/replaced:1", "CONTENT_DIGEST_MISMATCH")?;
    let image = Image::new("worse");
    let bundle = world.keyless().sign(&image.statement()).bundle(Version::V0_3);
    let evidence = Upload::bundles(&image, &[bundle], Layout::FallbackTag);
    world.push("keyless/worse", "1", &image, &[evidence])?;
    world.registry.corrupt(&image.digest(), &Image::new("evil").manifest.bytes)?;
    expect("keyless/worse:1", "SIGNATURE_MISSING")?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn a_registry_that_fails_in_any_way_ends_in_a_denial_that_says_so() -> Result<()> {
    let mut configuration = configuration();
    configuration["limits"] = json!({ "deadline_ms": 1500 });
    configuration["policy"]["limits"] = json!({ "bytes": 100_000 });
    let review =
        |name: &str| stage::review(&[format!("{HOST}/keyless/{name}@{}", Image::new("app").digest())], None);
    // One registry, of which each repository fails in a way of its own.
    let service = Service::start(|seen| match seen.target.split('/').nth(3).unwrap_or_default() {
        "slow" => Answer::status(200).after(Duration::from_secs(20)),
        "failing" => Answer::status(500),
        "limiting" => Answer::status(429).header("retry-after", "3600"),
        "refusing" => Answer::status(403),
        "oversized" => Answer { body: vec![b' '; 200_000], ..Answer::status(200) },
        _ => lying(&seen.target),
    })?;
    let Some(webhook) = Webhook::start(&configuration, Some(service.address()))? else { return Ok(()) };
    for (name, expected) in [
        ("slow", &["REGISTRY_TIMEOUT", "DEADLINE_EXCEEDED"][..]),
        ("failing", &["REGISTRY_UNAVAILABLE"]),
        ("limiting", &["REGISTRY_RATE_LIMITED"]),
        ("refusing", &["REGISTRY_UNAUTHORIZED"]),
        ("oversized", &["REGISTRY_OVERSIZED"]),
        ("lying", &["CONTENT_DIGEST_MISMATCH"]),
    ] {
        let answer = webhook.ask(&review(name))?;
        let found = cause(&answer)?;
        ensure!(expected.contains(&found.as_str()), "{name}: {found}: {answer:#}");
        // What passes by itself says that it may be tried again.
        let code = if name == "lying" { 403 } else { 503 };
        assert_eq!(answer["response"]["status"]["code"], code, "{name}: {answer:#}");
    }
    // Nobody is there.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let Some(webhook) = Webhook::start(&configuration, Some(nobody))? else { return Ok(()) };
    assert_eq!(cause(&webhook.ask(&review("nobody"))?)?, "REGISTRY_UNAVAILABLE");
    Ok(())
}

/// Names a signature and then gives other bytes for it.
fn lying(path: &str) -> Answer {
    let sigstore = sigstore();
    let image = Image::new("app");
    let bundle = Signing::keyless(&sigstore, identity()).sign(&image.statement()).bundle(Version::V0_3);
    let upload = Upload::bundles(&image, &[bundle], Layout::FallbackTag);
    let last = path.rsplit('/').next().unwrap_or_default();
    let found = upload.manifests.iter().find(|(under, manifest)| under == last || manifest.digest() == last);
    match found {
        _ if path.contains("/blobs/") => Answer { body: b"{}".to_vec(), ..Answer::status(200) },
        Some((_, manifest)) => Answer { body: manifest.bytes.clone(), ..Answer::status(200) },
        None if last == image.digest() => Answer { body: image.manifest.bytes, ..Answer::status(200) },
        None => Answer::status(404),
    }
}
