//! Takes the callbacks that no plugin here implements out of a module's exports.
//!
//! The SDK exports all of them, and a host calls what is exported: each one is a crossing into wasm
//! for every request, for nothing. A plugin that comes to need another callback adds it here; the
//! tests in the host and in Envoy fail until it does.

use std::error::Error;

use wasm_encoder::{
    ExportSection, Module, RawSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{Parser, Payload};

/// Exports that hosts look for and these plugins answer.
const KEPT: [&str; 14] = [
    "memory",
    "_initialize",
    "malloc",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_delete",
];

/// Those that only a plugin that looks at answers needs.
const RESPONSES: [&str; 3] =
    ["proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"];

/// `module` with only the exports that are of use; those for answers where it `sees_responses`.
pub fn without_unused_callbacks(module: &[u8], sees_responses: bool) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut slim = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(exports) = payload {
            let mut kept = ExportSection::new();
            for export in exports {
                let export = export?;
                if KEPT.contains(&export.name) || (sees_responses && RESPONSES.contains(&export.name)) {
                    kept.export(export.name, RoundtripReencoder.export_kind(export.kind)?, export.index);
                }
            }
            slim.section(&kept);
        } else if let Some((id, range)) = payload.as_section() {
            let data = module.get(range).ok_or("a section beyond the end of the module")?;
            slim.section(&RawSection { id, data });
        }
    }
    Ok(slim.finish())
}

/// `module` without the names of its functions, which only a trap's report shows.
pub fn without_names(module: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut slim = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if matches!(&payload, Payload::CustomSection(section) if section.name() == "name") {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            let data = module.get(range).ok_or("a section beyond the end of the module")?;
            slim.section(&RawSection { id, data });
        }
    }
    Ok(slim.finish())
}
