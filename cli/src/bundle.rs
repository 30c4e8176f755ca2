//! `portcullis bundle`: the modules as files, with their checksums.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::output::{self, Answer};

const CHECKSUMS: &str = "SHA256SUMS";

/// Writes the modules and their checksums to a folder.
///
/// The bytes are those that `demo`, `serve` and `check` run.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis bundle --out dist            # dist/jwt-auth.wasm, dist/tenant-guard.wasm, …, dist/SHA256SUMS
  (cd dist && sha256sum -c SHA256SUMS)

A file that this call did not write is never overwritten: a bundle of another version is replaced
only if its SHA256SUMS names the file with the checksum that it has.")]
pub(crate) struct Arguments {
    /// The folder; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Overwrite files that are not from a bundle
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let Arguments { out, force } = arguments;
    fs::create_dir_all(out).with_context(|| format!("make the folder `{}`", out.display()))?;
    let mut files: Vec<(String, Vec<u8>)> = portcullis_modules::ALL
        .iter()
        .chain([&portcullis_modules::IMAGE_KUBEWARDEN])
        .map(|module| (format!("{}.wasm", module.name), module.wasm.to_vec()))
        .collect();
    let sums = files.iter().fold(String::new(), |mut sums, (name, bytes)| {
        let _ = writeln!(sums, "{}  {name}", checksum(bytes));
        sums
    });
    files.push((CHECKSUMS.into(), sums.clone().into_bytes()));
    if !force {
        refuse_foreign(out, &files)?;
    }
    for (name, bytes) in &files {
        write_atomically(&out.join(name), bytes)?;
        anstream::println!(
            "{} {}",
            output::styled(output::QUIET, format!("{:>9}", bytes.len())),
            out.join(name).display()
        );
    }
    Ok(Answer::Yes)
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Every file that is in the way must be what the folder's own list of checksums says it is.
fn refuse_foreign(out: &Path, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let listed = fs::read_to_string(out.join(CHECKSUMS)).unwrap_or_default();
    for (name, new) in files {
        let path = out.join(name);
        let Ok(old) = fs::read(&path) else {
            // Missing is fine; anything else that cannot be read is in the way.
            if path.symlink_metadata().is_ok() {
                bail!("write `{}`: something else is there", path.display());
            }
            continue;
        };
        let own = if name == CHECKSUMS {
            listed.lines().all(|line| line.split_once("  ").is_some_and(|(sum, _)| sum.len() == 64))
        } else {
            listed.lines().any(|line| line == format!("{}  {name}", checksum(&old)))
        };
        if old != *new && !own {
            bail!("write `{}`: the file there is not from a bundle; move it or say --force", path.display());
        }
    }
    Ok(())
}

/// Whoever reads the file meanwhile (Envoy, say) sees the old one or the new one.
fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("write `{}`", path.display()))
}
