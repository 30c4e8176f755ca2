//! x
/// x
pub struct Worker;
