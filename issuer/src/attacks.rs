//! x
/// x
pub struct Setup; /// x
pub struct Case; /// x
pub struct Class; /// x
pub struct Expect; /// x
pub fn catalogue() {}
