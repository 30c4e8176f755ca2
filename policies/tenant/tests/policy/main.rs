//! The policy from the outside: a configuration, a request and evidence in, a verdict out.

mod common;
mod configuration;
mod decision;
mod proofs;
mod scope;
