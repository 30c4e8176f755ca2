//! What single host calls cost: each many times a request, so that the price of one can be told, and
//! each once, as a filter makes them, when code and data come from farther away.

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
  (data (i32.const 96) "authorization")
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
    let end = r#"(func (export "proxy_on_delete") (param i32))"#;
    let mut all =
        vec![Priced { name: "be told of the end of a stream", times: 1, wasm: module("", "", end)? }];
    for (name, times, import, call) in CALLS {
        let body = format!("(drop {call})").repeat(times);
        all.push(Priced { name, times, wasm: module(import, &body, "")? });
    }
    Ok(all)
}

/// The calls of a filter, in its order, each once a request: each module makes those of the one
/// before, and one more.
///
/// # Errors
/// Never with the texts here; `wat` says so in its own type.
pub fn steps() -> Result<Vec<Priced>, wat::Error> {
    let mut body = String::new();
    STEPS
        .into_iter()
        .map(|(name, call)| {
            body.push_str("(drop ");
            body.push_str(call);
            body.push(')');
            Ok(Priced { name, times: 1, wasm: module(STEP_IMPORTS, &body, "")? })
        })
        .collect()
}

const STEP_IMPORTS: &str = r#"(import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $clock (param i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $publish (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $count (param i32 i64) (result i32)))"#;

const STEPS: [(&str, &str); 6] = [
    ("read all headers", "(call $headers (i32.const 0) (i32.const 0) (i32.const 4))"),
    ("read the clock", "(call $clock (i32.const 8))"),
    ("remove the token's header", "(call $remove (i32.const 0) (i32.const 96) (i32.const 13))"),
    ("set a header", "(call $set (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 64) (i32.const 5))"),
    (
        "set a property of 200 bytes",
        "(call $publish (i32.const 80) (i32.const 14) (i32.const 128) (i32.const 200))",
    ),
    ("increment a counter", "(call $count (i32.load (i32.const 16)) (i64.const 1))"),
];

fn module(import: &str, body: &str, more: &str) -> Result<Vec<u8>, wat::Error> {
    wat::parse_str(format!(
        "(module {import} {HEAD} {more} (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {body} i32.const 0))"
    ))
}
