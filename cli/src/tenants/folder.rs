//! The folder of a packed directory: `manifest.json`, and `parts/` with a file per part, named by
//! its digest.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use portcullis_tenant::directory::pack::{Manifest, Pack, PartName};

pub(super) struct Folder<'f>(&'f Path);

impl<'f> Folder<'f> {
    pub(super) const fn new(path: &'f Path) -> Self {
        Self(path)
    }

    /// The manifest, if there is one.
    pub(super) fn manifest(&self) -> anyhow::Result<Option<Manifest>> {
        let path = self.0.join("manifest.json");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).with_context(|| format!("read `{}`", path.display()))?;
        Manifest::read(&bytes).map(Some).with_context(|| format!("`{}`", path.display()))
    }

    /// The whole directory, not yet checked.
    pub(super) fn read(&self) -> anyhow::Result<Pack> {
        let manifest =
            self.manifest()?.with_context(|| format!("`{}` has no manifest.json", self.0.display()))?;
        let read = |name: &PartName| {
            let path = self.part(name);
            fs::read(&path).with_context(|| format!("read `{}`", path.display()))
        };
        let parts = manifest.parts().iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Pack { manifest, parts })
    }

    /// Writes what is not there, the manifest last, and removes what neither this edition nor
    /// `previous` has. How many parts were written.
    pub(super) fn write(&self, pack: &Pack, previous: Option<&Manifest>) -> anyhow::Result<usize> {
        let parts = self.0.join("parts");
        fs::create_dir_all(&parts).with_context(|| format!("make `{}`", parts.display()))?;
        let mut written = 0;
        for (name, bytes) in pack.manifest.parts().iter().zip(&pack.parts) {
            let path = self.part(name);
            if fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64) {
                continue;
            }
            replace(&path, bytes)?;
            written += 1;
        }
        replace(&self.0.join("manifest.json"), pack.manifest.write().as_bytes())?;
        let named = pack.manifest.parts().iter().chain(previous.map(Manifest::parts).unwrap_or_default());
        let kept: BTreeSet<String> = named.map(PartName::hex).collect();
        for file in fs::read_dir(&parts)? {
            let file = file?;
            let name = file.file_name().into_string().unwrap_or_default();
            let ours = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if ours && !kept.contains(&name) {
                fs::remove_file(file.path())
                    .with_context(|| format!("remove `{}`", file.path().display()))?;
            }
        }
        Ok(written)
    }

    fn part(&self, name: &PartName) -> PathBuf {
        self.0.join("parts").join(name.hex())
    }
}

/// A server that reads the file meanwhile sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).with_context(|| format!("write `{}`", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("write `{}`", path.display()))
}
