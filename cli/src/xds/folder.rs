//! The folder that is served: what is in it, as filters.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::wire;
use crate::{check, document, stamp::Stamp};

/// A filter as it is served.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// The beginning of the digest of everything in it.
    pub(super) version: String,
    /// The message.
    pub(super) bytes: Vec<u8>,
}

/// The filters by name.
pub(super) type Published = BTreeMap<String, Offer>;

pub(super) struct Folder {
    path: PathBuf,
    check: bool,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    last: Published,
}

impl Folder {
    pub(super) fn new(path: PathBuf, check: bool) -> Self {
        Self { path, check, stamps: Vec::new(), last: Published::new() }
    }

    /// Whether a file is another one since it was read.
    pub(super) fn has_changed(&self) -> bool {
        self.look().is_ok_and(|stamps| stamps != self.stamps)
    }

    /// Reads everything, and why some of it is not served: then what was served before still is.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or it has no filter at the first reading.
    pub(super) fn read(&mut self) -> anyhow::Result<(Published, Vec<String>)> {
        self.stamps = self.look()?;
        let (mut published, mut refused) = (Published::new(), Vec::new());
        for (path, _) in &self.stamps {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if !matches!(extension, Some("yaml" | "yml" | "json")) {
                continue;
            }
            match self.offer(name, path) {
                Ok(offer) => {
                    published.insert(name.to_owned(), offer);
                }
                Err(error) => {
                    refused.push(format!("{}: {error:#}", path.display()));
                    if let Some(before) = self.last.get(name) {
                        published.insert(name.to_owned(), before.clone());
                    }
                }
            }
        }
        if published.is_empty() {
            bail!(
                "no filter to serve: {}",
                refused.first().map_or("there is no <plugin>.yaml", String::as_str)
            );
        }
        self.last.clone_from(&published);
        Ok((published, refused))
    }

    fn offer(&self, name: &str, path: &Path) -> anyhow::Result<Offer> {
        let configuration = document::read(path)?;
        let bundled = portcullis_modules::by_name(name);
        let own = path.with_extension("wasm");
        let wasm = match (own.exists(), bundled) {
            (true, _) => document::read(&own)?,
            (false, Some(module)) => module.wasm.to_vec(),
            (false, None) => bail!("no plugin `{name}` in the bundle and no `{}`", own.display()),
        };
        // What is not even YAML goes out as it is where nothing is checked.
        let configuration = match document::plugin_configuration(configuration.clone()) {
            Err(_) if !self.check => configuration,
            read => read?,
        };
        if self.check
            && let Some(reason) = check::refusal(name, &wasm, &configuration)?
        {
            bail!("{reason}");
        }
        let holds_headers = bundled.is_some_and(|module| module.holds_headers);
        let bytes = wire::filter(name, &wasm, &configuration, holds_headers);
        let version = Sha256::digest(&bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(Offer { version, bytes })
    }

    fn look(&self) -> anyhow::Result<Vec<(PathBuf, Option<Stamp>)>> {
        let read = || format!("read the folder `{}`", self.path.display());
        let mut stamps = Vec::new();
        for entry in fs::read_dir(&self.path).with_context(read)? {
            let path = entry.with_context(read)?.path();
            stamps.push((path.clone(), Stamp::of(&path)));
        }
        stamps.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(stamps)
    }
}
