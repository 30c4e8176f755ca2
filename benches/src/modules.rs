//! The yardstick among the wasm modules: one that does nothing, so that the price of crossing into
//! wasm can be told from the price of the work.

/// A filter that Envoy calls for each request's headers and that answers "continue", with no other
/// callback and no host call.
const NOTHING: &str = r#"
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))
"#;

/// The bytes of a module that does nothing.
///
/// # Errors
/// Never with the text above; `wat` says so in its own type.
pub fn nothing() -> Result<Vec<u8>, wat::Error> {
    wat::parse_str(NOTHING)
}
