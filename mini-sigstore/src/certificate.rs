//! X.509 certificates: the authority's chain, Fulcio's leaves and the timestamp authority's.

use yasna::{DERWriter, Tag, construct_der};

use crate::{Fault, Identity, Key, KeyKind, Name, der, sct, sha256};

/// How long a Fulcio certificate lasts, in seconds.
const LEAF_SECONDS: i64 = 600;
/// The authorities' validity: 2025-01-01 to 2035-01-01.
const AUTHORITY: (i64, i64) = (1_735_689_600, 2_051_222_400);

const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
/// Fulcio's arc: the claims of a keyless certificate lie below it.
const FULCIO: &str = "1.3.6.1.4.1.57264.1";

/// An organisation and a common name.
type Distinguished = (&'static str, &'static str);

const ROOT: Distinguished = ("sigstore.test", "sigstore-root");
const INTERMEDIATE: Distinguished = ("sigstore.test", "sigstore-intermediate");
const STAMPING_ROOT: Distinguished = ("sigstore.test", "sigstore-tsa-root");
const STAMPING_INTERMEDIATE: Distinguished = ("sigstore.test", "sigstore-tsa-intermediate");
const STAMPING: Distinguished = ("sigstore.test", "sigstore-tsa");

/// A certificate as DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    serial: [u8; 16],
    issuer: Distinguished,
}

impl Certificate {
    /// The DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// PEM, as cosign's annotations and Rekor's entries have it.
    #[must_use]
    pub fn pem(&self) -> String {
        der::pem("CERTIFICATE", &self.der)
    }

    /// Issuer and serial number, as a CMS SignerInfo names a certificate.
    pub(crate) fn write_issuer_and_serial(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            der::name(writer.next(), Some(self.issuer));
            writer.next().write_bigint_bytes(&self.serial, true);
        });
    }

    /// The same two as `IssuerSerial` (RFC 5035), whose issuer is a list of general names.
    pub(crate) fn write_issuer_serial(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_tagged(Tag::context(4), |writer| der::name(writer, Some(self.issuer)));
            });
            writer.next().write_bigint_bytes(&self.serial, true);
        });
    }
}

/// A root and its intermediate, which issues the leaves.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    key: Key,
    pub(crate) intermediate: Certificate,
    pub(crate) root: Certificate,
}

impl Authority {
    pub(crate) fn derive(seed: &[u8; 32], prefix: &str) -> Self {
        let root_key = Key::derive(seed, &format!("{prefix}/root"), KeyKind::P384);
        let key = Key::derive(seed, &format!("{prefix}/intermediate"), KeyKind::P384);
        let root = authority((ROOT, ROOT), &root_key, &root_key, AUTHORITY, Vec::new());
        let usage = vec![extended_key_usage(CODE_SIGNING, false)];
        let intermediate = authority((INTERMEDIATE, ROOT), &key, &root_key, AUTHORITY, usage);
        Self { key, intermediate, root }
    }

    /// A leaf for `key`, valid from `at`, with the log's timestamp in it.
    pub(crate) fn issue(
        &self,
        key: &Key,
        identity: &Identity,
        at: i64,
        log: &sct::Log<'_>,
        faults: &[Fault],
    ) -> Certificate {
        let usage = if faults.contains(&Fault::NotForCodeSigning) { CLIENT_AUTH } else { CODE_SIGNING };
        let mut extensions = vec![
            key_usage(&[0x80], 1),
            extended_key_usage(usage, false),
            key_identifier(key),
            authority_identifier(&self.key),
            Extension::new("2.5.29.17", true, alternative_name(&identity.name)),
        ];
        extensions.extend(fulcio(identity));
        let life = (at, at + LEAF_SECONDS);
        let mut body = Body { subject: None, issuer: INTERMEDIATE, key, life, extensions };
        if !faults.contains(&Fault::NoSct) {
            let list = sct::list(log, at, &self.key, &body.encode(&self.key));
            let value = construct_der(|writer| writer.write_bytes(&list));
            body.extensions.push(Extension::new("1.3.6.1.4.1.11129.2.4.2", false, value));
        }
        body.sign(&self.key)
    }
}

/// A timestamp authority's certificate: how long it lasts and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampingCertificate {
    /// Its first second, since 1970.
    pub from: i64,
    /// Its last second, since 1970.
    pub to: i64,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether an intermediate authority is between it and the root. Then the seconds are the
    /// intermediate's, and the certificate lasts as long as the root.
    pub intermediate: bool,
}

/// What a timestamp authority's certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Time stamping, as it must be.
    TimeStamping,
    /// Code signing.
    CodeSigning,
    /// It does not say.
    Unsaid,
}

impl Default for StampingCertificate {
    fn default() -> Self {
        let (from, to) = AUTHORITY;
        Self { from, to, purpose: Purpose::TimeStamping, intermediate: false }
    }
}

/// The keys of a timestamp authority.
#[derive(Clone, Debug)]
pub(crate) struct StampingKeys {
    pub(crate) leaf: Key,
    pub(crate) intermediate: Key,
    pub(crate) root: Key,
}

/// The chain of a timestamp authority: its leaf, what is between, and the root.
pub(crate) fn stamping_chain(keys: &StampingKeys, leaf: StampingCertificate) -> Vec<Certificate> {
    let StampingCertificate { from, to, purpose, intermediate } = leaf;
    let (issuer, signer) =
        if intermediate { (STAMPING_INTERMEDIATE, &keys.intermediate) } else { (STAMPING_ROOT, &keys.root) };
    let mut extensions =
        vec![key_usage(&[0x80], 1), key_identifier(&keys.leaf), authority_identifier(signer)];
    match purpose {
        // RFC 3161 section 2.3: critical, and nothing else.
        Purpose::TimeStamping => extensions.push(extended_key_usage(TIME_STAMPING, true)),
        Purpose::CodeSigning => extensions.push(extended_key_usage(CODE_SIGNING, true)),
        Purpose::Unsaid => {}
    }
    let life = if intermediate { AUTHORITY } else { (from, to) };
    let body = Body { subject: Some(STAMPING), issuer, key: &keys.leaf, life, extensions };
    let mut chain = vec![body.sign(signer)];
    if intermediate {
        let usage = vec![extended_key_usage(TIME_STAMPING, false)];
        let between = (STAMPING_INTERMEDIATE, STAMPING_ROOT);
        chain.push(authority(between, &keys.intermediate, &keys.root, (from, to), usage));
    }
    chain.push(authority((STAMPING_ROOT, STAMPING_ROOT), &keys.root, &keys.root, AUTHORITY, Vec::new()));
    chain
}

fn authority(
    (subject, issuer): (Distinguished, Distinguished),
    key: &Key,
    signer: &Key,
    life: (i64, i64),
    mut extensions: Vec<Extension>,
) -> Certificate {
    // INVARIANT: an intermediate has no authority below it; a root has one level.
    let depth = u8::from(subject == issuer);
    let constraints = der::sequence(|writer| {
        writer.next().write_bool(true);
        writer.next().write_u8(depth);
    });
    extensions.extend([
        key_usage(&[0x06], 7),
        Extension::new("2.5.29.19", true, constraints),
        key_identifier(key),
        authority_identifier(signer),
    ]);
    Body { subject: Some(subject), issuer, key, life, extensions }.sign(signer)
}

/// What is signed: the TBSCertificate of RFC 5280 section 4.1.
struct Body<'a> {
    subject: Option<Distinguished>,
    issuer: Distinguished,
    key: &'a Key,
    /// Its first and its last second.
    life: (i64, i64),
    extensions: Vec<Extension>,
}

struct Extension {
    oid: String,
    critical: bool,
    value: Vec<u8>,
}

impl Extension {
    fn new(oid: &str, critical: bool, value: Vec<u8>) -> Self {
        Self { oid: oid.to_owned(), critical, value }
    }
}

impl Body<'_> {
    fn serial(&self) -> [u8; 16] {
        let digest = sha256([&self.key.id()[..], &self.life.0.to_be_bytes()].concat());
        let mut serial = [0; 16];
        serial.copy_from_slice(&digest[..16]);
        // Positive, and of full length.
        serial[0] = serial[0] & 0x7f | 0x40;
        serial
    }

    fn encode(&self, signer: &Key) -> Vec<u8> {
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                writer.next().write_bigint_bytes(&self.serial(), true);
                der::signature_algorithm(writer.next(), signer.kind());
                der::name(writer.next(), Some(self.issuer));
                writer.next().write_sequence(|writer| {
                    der::certificate_time(writer.next(), self.life.0);
                    der::certificate_time(writer.next(), self.life.1);
                });
                der::name(writer.next(), self.subject);
                writer.next().write_der(&self.key.public_der());
                writer.next().write_tagged(Tag::context(3), |writer| {
                    writer.write_sequence(|writer| {
                        for extension in &self.extensions {
                            writer.next().write_sequence(|writer| {
                                writer.next().write_oid(&der::oid(&extension.oid));
                                if extension.critical {
                                    writer.next().write_bool(true);
                                }
                                writer.next().write_bytes(&extension.value);
                            });
                        }
                    });
                });
            });
        })
    }

    fn sign(&self, signer: &Key) -> Certificate {
        let body = self.encode(signer);
        let signature = signer.sign(&body);
        let der = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&body);
                der::signature_algorithm(writer.next(), signer.kind());
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Certificate { der, serial: self.serial(), issuer: self.issuer }
    }
}

/// `bits` as a BIT STRING of `count` bits, trailing zeros left out as DER demands of named bits.
fn key_usage(bits: &[u8], count: usize) -> Extension {
    let value = construct_der(|writer| writer.write_bitvec_bytes(bits, count));
    Extension::new("2.5.29.15", true, value)
}

fn extended_key_usage(purpose: &str, critical: bool) -> Extension {
    let value = der::sequence(|writer| writer.next().write_oid(&der::oid(purpose)));
    Extension::new("2.5.29.37", critical, value)
}

/// RFC 7093 section 2, method 1: the start of the key's SHA-256.
fn identifier(key: &Key) -> Vec<u8> {
    sha256(key.raw_public())[..20].to_vec()
}

fn key_identifier(key: &Key) -> Extension {
    let value = construct_der(|writer| writer.write_bytes(&identifier(key)));
    Extension::new("2.5.29.14", false, value)
}

fn authority_identifier(key: &Key) -> Extension {
    let value = der::sequence(|writer| {
        writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(&identifier(key)));
    });
    Extension::new("2.5.29.35", false, value)
}

fn alternative_name(name: &Name) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| match name {
            Name::Email(text) => writer.next().write_tagged_implicit(Tag::context(1), |writer| {
                writer.write_ia5_string(text);
            }),
            Name::Uri(text) => writer.next().write_tagged_implicit(Tag::context(6), |writer| {
                writer.write_ia5_string(text);
            }),
            Name::Other(text) => writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_oid(&der::oid("1.3.6.1.4.1.57264.1.7"));
                    writer.next().write_tagged(Tag::context(0), |writer| writer.write_utf8_string(text));
                });
            }),
        });
    })
}

/// The issuer in both of its forms and the claims (Fulcio's `oid-info.md`).
fn fulcio(identity: &Identity) -> Vec<Extension> {
    let text = |value: &str| construct_der(|writer| writer.write_utf8_string(value));
    let arc = |arc: u8, value: Vec<u8>| Extension::new(&format!("{FULCIO}.{arc}"), false, value);
    let mut extensions = Vec::new();
    if let Some(issuer) = &identity.issuer {
        let raw = identity.raw_issuer.as_ref().unwrap_or(issuer);
        extensions.push(arc(1, raw.clone().into_bytes()));
        extensions.push(arc(8, text(issuer)));
    }
    for (number, value) in &identity.claims {
        let raw = *number < 8;
        extensions.push(arc(*number, if raw { value.clone().into_bytes() } else { text(value) }));
    }
    extensions
}
