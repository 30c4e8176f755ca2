//! The key set's life as an event machine: its rules one by one, and all of them together in a
//! simulation of workers, an issuer and a network that are all made of one seed.

#[path = "life/keys.rs"]
mod keys;
#[path = "life/rig.rs"]
mod rig;
#[path = "life/rules.rs"]
mod rules;
#[path = "life/sharing.rs"]
mod sharing;
#[path = "life/simulation.rs"]
mod simulation;
#[path = "life/sources.rs"]
mod sources;
