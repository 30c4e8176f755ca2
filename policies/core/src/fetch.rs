//! What policies need to say what should be fetched, and when: addresses, what an answer's headers
//! say, monotonic time, and records that workers share. Nothing here fetches.

pub mod address;
pub mod bytes;
pub mod http;
pub mod time;

pub use address::{Address, AddressError, Allow, Locality};
pub use http::ResponseHeaders;
pub use time::Instant;
