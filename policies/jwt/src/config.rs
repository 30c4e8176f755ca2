//! The configuration: from a document to a [`Policy`](crate::Policy) that cannot be wrong.
//!
//! `raw` is the document's shape, `resolve` turns it into the policy and refuses
//! contradictions and unsafe settings. Every error names the path in the document.

pub(crate) use portcullis_core::config::read;
pub use portcullis_core::config::{ConfigError, duration};

mod conditions;
mod profile;
pub(crate) mod raw;
mod remote;
pub(crate) mod resolve;
#[cfg(feature = "schema")]
mod schema;
#[cfg(feature = "schema")]
pub use schema::schema;
