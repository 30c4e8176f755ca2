//! What several tests need.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

pub mod conformance;
pub mod images;
pub mod registry;
