//! A filter's configuration in a file that Envoy watches (ECDS over `path_config_source`): the
//! hot swap without a control plane.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The file. Envoy notices a rename onto the path, not a write in place, so every change is a
/// rename; that also means that it never reads half a configuration.
#[derive(Debug)]
pub struct Discovered {
    name: String,
    path: PathBuf,
    version: u64,
}

impl Discovered {
    /// Writes the first configuration of the filter `name` into `folder`.
    ///
    /// `typed_config` is the filter's own message with its `@type`, for instance from
    /// [`super::config::wasm_config`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(folder: &Path, name: &str, typed_config: &Value) -> Result<Self> {
        let path = folder.join(format!("{name}.json"));
        let mut discovered = Self { name: name.to_owned(), path, version: 0 };
        discovered.swap(typed_config)?;
        Ok(discovered)
    }

    /// Replaces the configuration. Envoy takes it up within milliseconds, or refuses it and keeps
    /// the one before; its statistics `extension_config_discovery` say which.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn swap(&mut self, typed_config: &Value) -> Result<()> {
        self.version = self.version.wrapping_add(1);
        let document = json!({
            "version_info": self.version.to_string(),
            "resources": [{
                "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                "name": self.name,
                "typed_config": typed_config,
            }],
        });
        let beside = self.path.with_extension("json.new");
        fs::write(&beside, document.to_string())
            .with_context(|| format!("cannot write `{}`", beside.display()))?;
        fs::rename(&beside, &self.path).with_context(|| format!("cannot write `{}`", self.path.display()))
    }

    /// The file that Envoy watches.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
