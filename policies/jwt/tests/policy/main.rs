//! The policy as its callers see it: configurations that are refused, and decisions.

mod common;
mod configuration;
mod decision;
mod examination;
mod verified;
