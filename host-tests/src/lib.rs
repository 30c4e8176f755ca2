//! What the tests share: the real Envoy as a child process, and the peers it talks to on loopback.
//!
//! * [`envoy`] finds or installs the binary, writes its configuration, starts it and reads its
//!   admin interface.
//! * [`loopback`] is everything around a gateway: an upstream that reports what reached it, a
//!   scripted JWK Set endpoint, and a client that sends bytes no ordinary client would send.
//!
//! * [`counted`] counts the instructions of a request.
//! * [`model`] is a language model that is slow and fails as it is told to.
//! * [`subject`] is who answers a request: the native policy, the module in the wasmtime host, the
//!   module in Envoy.
//! * [`tenant`] is the tenant corpus: requests against the files of `deploy/envoy`, and who answers.
//! * [`generated`] makes tokens by chance; [`pyjwt`] is a second opinion about them, and [`json_schema`]
//!   one about documents and their schemas.
//! * [`vectors`] finds the test vectors of other projects.
//! * [`kubectl`] renders what is applied to a cluster.
//!
//! The other cases are in `tests/`.

pub mod counted;
pub mod envoy;
pub mod generated;
pub mod json_schema;
pub mod kubectl;
pub mod loopback;
pub mod model;
pub mod pyjwt;
mod pypi;
mod python;
pub mod subject;
pub mod tenant;
pub mod vectors;
