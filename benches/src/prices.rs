//! One host call many times a request, so that the price of a single one can be told.

/// A host call, how often the module makes it for each request, and the module.
#[derive(Clone, Debug)]
pub struct Priced {
    /// What the call is, for the table.
    pub name: &'static str,
    /// Calls for each request.
    pub times: usize,
    /// The module's bytes.
    pub wasm: Vec<u8>,
}

/// Name, calls a request, import, call. Names and values are at the addresses of [`MEMORY`].
const CALLS: [(&str, usize, &str, &str); 8] = [
    (
        "read the clock",
        20,
        r#"(import "env" "proxy_get_current_time_nanoseconds" (func $call (param i32) (result i32)))"#,
        "(call $call (i32.const 8))",
    ),
    (
        "increment a counter",
        20,
        r#"(import "env" "proxy_increment_metric" (func $call (param i32 i64) (result i32)))"#,
        "(call $call (i32.load (i32.const 16)) (i64.const 1))",
    ),
    (
        "read all headers",
        10,
        r#"(import "env" "proxy_get_header_map_pairs" (func $call (param i32 i32 i32) (result i32)))"#,
        "(call $call (i32.const 0) (i32.const 0) (i32.const 4))",
    ),
    (
        "remove a header that is not there",
        10,
        r#"(import "env" "proxy_remove_header_map_value" (func $call (param i32 i32 i32) (result i32)))"#,
        "(call $call (i32.const 0) (i32.const 64) (i32.const 5))",
    ),
    (
        "set a header",
        10,
        r#"(import "env" "proxy_replace_header_map_value" (func $call (param i32 i32 i32 i32 i32) (result i32)))"#,
        "(call $call (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 64) (i32.const 5))",
    ),
    (
        "set a property of 200 bytes",
        10,
        r#"(import "env" "proxy_set_property" (func $call (param i32 i32 i32 i32) (result i32)))"#,
        "(call $call (i32.const 80) (i32.const 14) (i32.const 128) (i32.const 200))",
    ),
    (
        "call a foreign function that does not exist",
        10,
        r#"(import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))"#,
        "(call $call (i32.const 64) (i32.const 5) (i32.const 128) (i32.const 200) (i32.const 0) (i32.const 4))",
    ),
    (
        "read the configuration (a buffer, and memory for it)",
        10,
        r#"(import "env" "proxy_get_buffer_bytes" (func $call (param i32 i32 i32 i32 i32) (result i32)))"#,
        "(call $call (i32.const 7) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 4))",
    ),
];

const HEAD: &str = r#"(import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 64) "x-sub")
  (data (i32.const 80) "portcullis_jwt")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 65536)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (drop (call $define (i32.const 0) (i32.const 80) (i32.const 14) (i32.const 16))) i32.const 1)
  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)"#;

/// A module for each host call that a filter makes, and one with the callback for a stream's end.
///
/// # Errors
/// Never with the texts above; `wat` says so in its own type.
pub fn modules() -> Result<Vec<Priced>, wat::Error> {
    let module = |import: &str, body: &str, more: &str| {
        let text = format!(
            "(module {import} {HEAD} {more} (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {body} i32.const 0))"
        );
        wat::parse_str(text)
    };
    let end = r#"(func (export "proxy_on_delete") (param i32))"#;
    let mut all =
        vec![Priced { name: "be told of the end of a stream", times: 1, wasm: module("", "", end)? }];
    for (name, times, import, call) in CALLS {
        let body = format!("(drop {call})").repeat(times);
        all.push(Priced { name, times, wasm: module(import, &body, "")? });
    }
    Ok(all)
}
