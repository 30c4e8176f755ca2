//! Loads a plugin, configures it, and shows what it makes of one request.
//!
//! `cargo run -p portcullis-host --example header [MODULE.wasm [CONFIGURATION]]`; without a module
//! it takes a guest of a few lines that adds the header `x-greeting`.

use portcullis_host::{Engine, Module, Outcome, Plugin, Process, StreamInfo, Worker};
use std::error::Error;

const GUEST: &str = r#"(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-greetinghello")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 0) (i32.const 16) (i32.const 10) (i32.const 26) (i32.const 5))))"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let wasm = match arguments.next() {
        Some(path) => std::fs::read(path)?,
        None => wat::parse_str(GUEST)?,
    };
    let configuration = arguments.next().map(std::fs::read).transpose()?.unwrap_or_default();

    let process = Process::builder().on_log(|line| eprintln!("{line}")).build();
    let module = Module::compile(&Engine::new()?, &wasm)?;
    let mut worker = Worker::new(&process);
    worker.add(&module, Plugin::new("example").configuration(configuration))?;

    let stream = worker.open(StreamInfo::new().property(["source", "address"], "127.0.0.1:50000"));
    let request = [(":method", "GET"), (":path", "/"), (":authority", "localhost"), (":scheme", "http")];
    match worker.request_headers(stream, request, true) {
        Outcome::Forward(pieces) => println!("goes upstream: {pieces:?}"),
        Outcome::Reply(reply) => println!("answered: {:?} {}", reply.headers, reply.body.escape_ascii()),
        Outcome::Pause => println!("waits for {:?}", worker.take_calls()),
        Outcome::Trapped(trap, _) => println!("stopped: {trap}"),
        Outcome::Reset => println!("reset"),
    }
    worker.close(stream);
    println!("host calls: {:?}", process.host_calls());
    Ok(())
}
