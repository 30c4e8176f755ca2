//! The tenant policy: whose data is this?
//!
//! A request names its tenant in several places: host, path, header, claim. Every place that a
//! configuration knows must name the same one, and the caller must be proven to belong to it.
//!
//! # What this crate does not do
//!
//! It verifies no token: what is proven about the caller comes in as an argument. It reads no
//! clock, fetches nothing, logs nothing and does not know that Envoy exists. It does not look at
//! single objects: which of a tenant's records a member may see is the application's business.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

extern crate alloc;

pub mod audit;
mod claims;
pub mod concurrency;
mod config;
pub mod context;
pub mod directory;
pub mod firewall;
mod guard;
mod hygiene;
pub mod inspect;
mod name;
mod outcome;
mod policy;
mod proof;
pub mod quota;
mod record;
mod route;
mod scope;
mod settings;
mod source;
mod switch;
mod told;

#[cfg(feature = "schema")]
pub use config::schema;
pub use config::{Remote, Warning};
pub use directory::{Directory, Entry, Freshness, Listed, Member, Unreadable};
pub use guard::Guard;
pub use name::{Domain, InvalidName, RESERVED, Slug, TenantId};
pub use outcome::{Known, Outcome, OwnedHeader, Permit, Proven, Reason, Selection, Switch, Trace, Verdict};
pub use policy::Policy;
pub use proof::{Evidence, Origin, Unknown};
pub use record::{Membership, Record, State};
pub use route::Class;
pub use settings::Setting;
pub use told::Told;
