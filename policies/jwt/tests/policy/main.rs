//! The policy as its callers see it: configurations that are refused, and decisions.

mod common;
mod conditions;
mod configuration;
mod decision;
mod examination;
mod verified;
