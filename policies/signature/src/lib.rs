//! May this image run: Cosign and Sigstore evidence in, a verdict with reasons out.
//!
//! A host asks three things of a [`Policy`], and does nothing but fetch in between:
//!
//! 1. [`plan`]: which reads of the registry are still needed for an image, given the [`Evidence`]
//!    so far. The host makes them, in parallel, and records each [`Answer`]; it asks again until
//!    the plan is empty.
//! 2. [`decide`]: allow, deny, or which evidence is missing, with the tree of [`Reason`]s.
//!
//! Everything that a decision stands on is in its arguments, so a recorded [`Evidence`] replays it.
//!
//! ```
//! use portcullis_core::UnixTime;
//! use portcullis_signature::{Evidence, ImageRef, Policy, Request, Outcome, decide, plan};
//!
//! let policy = Policy::from_json(br#"{"signers": {}, "rules": []}"#).unwrap();
//! let image = ImageRef::parse("ghcr.io/acme/app:1.2").unwrap();
//! let request = Request { image, namespace: Some("shop".into()) };
//! // No rule is about this image, and what no rule allows is denied: there is nothing to read.
//! assert!(plan(&request, &policy, &Evidence::default()).is_empty());
//! let verdict = decide(&request, &Evidence::default(), &policy, UnixTime::from_secs(0));
//! assert_eq!(verdict.outcome, Outcome::Deny);
//! ```
//!
//! # What this crate does not do
//!
//! It opens no connection and knows neither Envoy nor Kubernetes' API server. It wraps the crate
//! `sigstore-verify`, which reads the system's clock to refuse times in the future: the one thing
//! here that is not an argument, and it can only refuse.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod artifact;
mod condition;
mod decide;
mod digest;
mod encoding;
mod evidence;
mod gather;
mod image;
mod judge;
mod manifest;
mod pattern;
pub mod policy;
mod provider;
mod reason;
pub mod registry;
pub mod review;
mod staple;
mod time;
mod trust;
mod verify;

pub use artifact::{Artifact, verify_bundle};
pub use decide::{Dossier, Facts, Outcome, Request, Verdict, decide, plan};
pub use digest::{Digest, InvalidDigest};
pub use encoding::Base64;
pub use evidence::{ACCEPT_MANIFEST, Answer, Evidence, EvidenceError, Layer, Read, Staple, What};
pub use image::{ImageRef, InvalidImage};
pub use pattern::{InvalidPattern, Pattern};
pub use policy::{Policy, PolicyError};
pub use provider::{Host, use_host};
pub use reason::{Class, Reason, ReasonCode};
pub use staple::staples;
#[cfg(feature = "github-root")]
pub use trust::GITHUB_TRUSTED_ROOT;
