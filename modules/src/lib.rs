//! The plugins as built for release, embedded: whoever depends on this crate has them.
//!
//! `build.rs` builds them; see there for where and when.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One plugin, ready for a host.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// The plugin's name, and its file's name without `.wasm`.
    pub name: &'static str,
    /// The module's bytes.
    pub wasm: &'static [u8],
    /// The crates that are linked into it, a line for each: name, version, licence (an SPDX
    /// expression).
    pub crates: &'static str,
    /// Whether it holds headers back until it has seen the body behind them: a proxy lets the body
    /// come only where `allow_on_headers_stop_iteration` is set.
    pub holds_headers: bool,
}

impl Module {
    /// Writes the module to `folder` as a file with its name, for a proxy to load, and says where.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_to(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join(format!("{}.wasm", self.name));
        fs::write(&path, self.wasm)?;
        Ok(path)
    }
}

macro_rules! module {
    ($name:literal, $file:literal, holds_headers: $holds_headers:literal) => {
        Module {
            name: $name,
            holds_headers: $holds_headers,
            wasm: include_bytes!(concat!(env!("OUT_DIR"), "/", $file)),
            crates: include_str!(concat!(env!("OUT_DIR"), "/", $file, ".crates")),
        }
    };
}

/// The JWT filter.
pub const JWT_AUTH: Module = module!("jwt-auth", "portcullis_jwt_auth.wasm", holds_headers: false);

/// The tenant filter.
pub const TENANT_GUARD: Module = module!("tenant-guard", "portcullis_tenant_guard.wasm", holds_headers: true);

/// The signature policy for Kubewarden: no proxy loads it.
pub const IMAGE_KUBEWARDEN: Module =
    module!("image-kubewarden", "portcullis_image_kubewarden.wasm", holds_headers: false);

/// The admission webhook for signed images.
pub const IMAGE_ADMISSION: Module =
    module!("image-admission", "portcullis_image_admission.wasm", holds_headers: true);

/// Independent questions of one chat request, asked in parallel.
pub const LLM_FANOUT: Module = module!("llm-fanout", "portcullis_llm_fanout.wasm", holds_headers: true);

/// Not a plugin: takes its keys from the request, so that tests can run signature vectors in wasm.
#[cfg(feature = "vectors")]
pub const VECTORS: Module = module!("vectors", "portcullis_vectors.wasm", holds_headers: false);

/// Every plugin of the bundle.
pub const ALL: &[Module] = &[JWT_AUTH, TENANT_GUARD, IMAGE_ADMISSION, LLM_FANOUT];

/// The plugin called `name`.
#[must_use]
pub fn by_name(name: &str) -> Option<Module> {
    ALL.iter().copied().find(|module| module.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a module may have where nothing else is written here: bytes.
    const LIMIT: usize = 700_000;
    /// What jwt-auth had when somebody last looked; more than 5 % above it deserves a look. It is
    /// over the limit of the others, of which benches/README.md tells the reason.
    const JWT_AUTH_HAS: usize = 1_161_000;
    /// The same of tenant-guard: the policy, the directory's format and its life, the signed context,
    /// what looks at answers, quotas and places.
    const TENANT_GUARD_HAS: usize = 1_219_000;
    /// The same of image-admission: certificates, timestamps, logs and documents in JSON are each read
    /// by a library of its own.
    const IMAGE_ADMISSION_HAS: usize = 1_998_000;
    /// The same of image-kubewarden, which has no registry's protocol.
    const IMAGE_KUBEWARDEN_HAS: usize = 1_788_000;
    /// The same of llm-fanout, whose contract and answers are JSON.
    const LLM_FANOUT_HAS: usize = 407_000;

    #[test]
    fn no_module_grows_unnoticed() {
        for module in ALL.iter().chain([&IMAGE_KUBEWARDEN]) {
            let most = match module.name {
                "jwt-auth" => JWT_AUTH_HAS / 100 * 105,
                "tenant-guard" => TENANT_GUARD_HAS / 100 * 105,
                "image-admission" => IMAGE_ADMISSION_HAS / 100 * 105,
                "image-kubewarden" => IMAGE_KUBEWARDEN_HAS / 100 * 105,
                "llm-fanout" => LLM_FANOUT_HAS / 100 * 105,
                _ => LIMIT,
            };
            let size = module.wasm.len();
            assert!(size <= most, "{}: {size} bytes, at most {most} are expected", module.name);
        }
    }
}
