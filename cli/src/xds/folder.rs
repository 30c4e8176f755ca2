//! The folder that is served: what is in it, and why some of it is not served.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{
    cluster,
    listener::Listener,
    published::{Offer, Published},
    wire::{self, Kind, message::Message},
};
use crate::{check, document, gateway::config::Cluster, source::Source, stamp::Stamp};

pub(super) struct Folder {
    path: PathBuf,
    check: bool,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    last: Published,
}

impl Folder {
    pub(super) fn new(path: PathBuf, check: bool) -> Self {
        Self { path, check, stamps: Vec::new(), last: Published::default() }
    }

    /// Whether a file is another one since it was read.
    pub(super) fn has_changed(&self) -> bool {
        self.look().is_ok_and(|stamps| stamps != self.stamps)
    }

    /// Reads everything, and why some of it is not served: then what was served before still is.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or it has nothing to serve at the first reading.
    pub(super) fn read(&mut self) -> anyhow::Result<(Published, Vec<String>)> {
        self.stamps = self.look()?;
        let (mut published, mut told) = (Published::default(), Vec::new());
        // A listener is judged by what it names, so it comes last.
        for kind in [Kind::Filter, Kind::Cluster, Kind::Listener] {
            for (name, path) in self.documents(kind) {
                match self.offer(kind, &name, path, &published) {
                    Ok(offer) => published.insert(kind, name, offer),
                    Err(error) => {
                        told.push(format!("not served: {}: {error:#}", path.display()));
                        if let Some(before) = self.last.get(kind, &name) {
                            published.insert(kind, name, before.clone());
                        }
                    }
                }
            }
        }
        if published.is_empty() && self.last.is_empty() {
            bail!("nothing to serve: {}", told.first().map_or("there is no <plugin>.yaml", String::as_str));
        }
        for (kind, name, user) in published.keep_used(&self.last) {
            told.push(format!("still served: {} {name}, which the listener `{user}` names", kind.service()));
        }
        self.last.clone_from(&published);
        Ok((published, told))
    }

    /// The documents of `kind`, by the name of what they describe.
    fn documents(&self, kind: Kind) -> Vec<(String, &Path)> {
        let folder = self.folder(kind);
        let document = |path: &Path| {
            let extension = path.extension()?.to_str()?;
            let is_document = matches!(extension, "yaml" | "yml" | "json") && path.parent() == Some(&folder);
            is_document.then(|| Some(path.file_stem()?.to_str()?.to_owned()))?
        };
        self.stamps.iter().filter_map(|(path, _)| Some((document(path)?, path.as_path()))).collect()
    }

    fn folder(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Filter => self.path.clone(),
            Kind::Listener => self.path.join("listeners"),
            Kind::Cluster => self.path.join("clusters"),
        }
    }

    fn offer(&self, kind: Kind, name: &str, path: &Path, published: &Published) -> anyhow::Result<Offer> {
        let (message, uses) = match kind {
            Kind::Filter => return self.filter(name, path),
            Kind::Cluster => {
                let mut cluster: Cluster = read(path)?;
                if let Some(file) = cluster.tls.as_mut().and_then(|tls| tls.ca_file.as_mut()) {
                    *file = std::path::absolute(self.folder(kind).join(&*file))?;
                }
                if self.check {
                    cluster::check(&cluster)?;
                }
                (cluster::message(name, &cluster)?, Vec::new())
            }
            Kind::Listener => {
                let listener: Listener = read(path)?;
                listener.check()?;
                let uses = listener.uses();
                if self.check {
                    let known = |(kind, name): &&(Kind, String)| {
                        published.get(*kind, name).or_else(|| self.last.get(*kind, name)).is_some()
                    };
                    if let Some((kind, name)) = uses.iter().find(|used| !known(used)) {
                        let file = self.folder(*kind).join(format!("{name}.yaml"));
                        bail!("it names `{name}`, but there is no sound `{}`", file.display());
                    }
                }
                (listener.message(name), uses)
            }
        };
        Ok(offer(message, uses))
    }

    fn filter(&self, name: &str, path: &Path) -> anyhow::Result<Offer> {
        let configuration = document::read(path)?;
        let written = Source::new(path.display().to_string(), configuration.clone());
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
        let holds_headers = bundled.is_some_and(|module| module.holds_headers);
        let offer = offer(wire::filter(name, &wasm, &configuration, holds_headers), Vec::new());
        // Compiling a module takes a second: what is served already was checked.
        if self.check
            && self.last.get(Kind::Filter, name) != Some(&offer)
            && let Some(reason) = check::refusal(name, &wasm, &configuration)?
        {
            return Err(written.refused(&reason).into());
        }
        Ok(offer)
    }

    /// Everything in the folder and in its two folders, which need not be there.
    fn look(&self) -> anyhow::Result<Vec<(PathBuf, Option<Stamp>)>> {
        let mut stamps = BTreeMap::new();
        for kind in Kind::ALL {
            let folder = self.folder(kind);
            if kind != Kind::Filter && !folder.is_dir() {
                continue;
            }
            let read = || format!("read the folder `{}`", folder.display());
            for entry in fs::read_dir(&folder).with_context(read)? {
                let path = entry.with_context(read)?.path();
                let stamp = Stamp::of(&path);
                stamps.insert(path, stamp);
            }
        }
        Ok(stamps.into_iter().collect())
    }
}

fn offer(message: Message, uses: Vec<(Kind, String)>) -> Offer {
    let digest = Sha256::digest(&message);
    let version = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Offer { version, message, uses }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    document::parse(&document::read(path)?)
}
