//! What makes a module a Kubewarden policy: its metadata, as a section of it (`kwctl annotate` does the
//! same).

use wasm_encoder::{CustomSection, Section as _};

/// The section's name, which Kubewarden looks for.
const SECTION: &str = "io.kubewarden.metadata";

/// `module` with `metadata` at its end, where a custom section may be.
pub fn with_metadata(mut module: Vec<u8>, metadata: &[u8]) -> Vec<u8> {
    let section = CustomSection { name: SECTION.into(), data: metadata.into() };
    section.append_to(&mut module);
    module
}
