//! What several tests need.

pub mod conformance;
