//! `portcullis bundle`: the modules as files and as an OCI layout, with checksums, bills of materials
//! and the schemas of their configurations, and into a registry.

mod layout;
mod push;
mod sbom;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use portcullis_signature::ImageRef;
use sha2::{Digest as _, Sha256};

use crate::{
    output::{self, Answer},
    verify_image::Access,
};
use layout::Artifact;

const CHECKSUMS: &str = "SHA256SUMS";

/// The largest answer of a registry to a write.
const MAX_ANSWER: usize = 1 << 20;

/// Writes the modules to a folder, and to a registry.
///
/// The bytes are those that `demo`, `serve` and `check` run, and one version has one digest: nothing
/// of the time or the machine is in them. Beside each module is its bill of materials (CycloneDX); in
/// `schemas` are the JSON Schemas of the configurations, for editors, and in `oci` is an image layout
/// with the media types that Istio's `oci://` loader and Envoy Gateway read.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis bundle --out dist            # dist/jwt-auth.wasm, …, dist/oci, dist/SHA256SUMS
  (cd dist && sha256sum -c SHA256SUMS)

  # registry.example.com/portcullis/jwt-auth:1.0 and so on, with the credentials of `docker login`
  portcullis bundle --push registry.example.com/portcullis:1.0

  # The same, signed as Cosign signs with a key; `verify-image` and Cosign accept it.
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out bundle.key
  portcullis bundle --push registry.example.com/portcullis:1.0 --sign-key bundle.key

A file that this call did not write is never overwritten: a bundle of another version is replaced
only if its SHA256SUMS names the file with the checksum that it has.")]
pub(crate) struct Arguments {
    /// The folder; it is made where it is missing
    #[arg(long, value_name = "DIR", required_unless_present = "push")]
    out: Option<PathBuf>,
    /// Overwrite files that are not from a bundle
    #[arg(long, requires = "out")]
    force: bool,
    /// Push each module to `REF`'s repository with the module's name behind it, under `REF`'s tag
    #[arg(long, value_name = "REF", value_parser = parse_target)]
    push: Option<ImageRef>,
    /// Sign what is pushed with this ECDSA P-256 key (PKCS#8, PEM)
    #[arg(long, value_name = "FILE", requires = "push")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

fn parse_target(text: &str) -> Result<ImageRef, String> {
    let target = ImageRef::parse(text).map_err(|error| error.to_string())?;
    if text.contains('@') { Err("a tag is needed, not a digest".into()) } else { Ok(target) }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let modules: Vec<_> =
        portcullis_modules::ALL.iter().copied().chain([portcullis_modules::IMAGE_KUBEWARDEN]).collect();
    let bill = |module: &portcullis_modules::Module| {
        sbom::document(module, &checksum(module.wasm)).to_string().into_bytes()
    };
    let artifacts: Vec<_> = modules.iter().map(|module| Artifact::new(module, bill(module))).collect();
    if let Some(out) = &arguments.out {
        let mut files = Vec::new();
        for module in &modules {
            files.push((format!("{}.wasm", module.name), module.wasm.to_vec()));
            files.push((format!("{}.cdx.json", module.name), bill(module)));
        }
        for schema in crate::schema::ALL {
            files.push((format!("schemas/{}", schema.file()), schema.text.as_bytes().to_vec()));
        }
        files.extend(
            layout::files(&artifacts).into_iter().map(|(path, bytes)| (format!("oci/{path}"), bytes)),
        );
        write(out, files, arguments.force)?;
    }
    if let Some(target) = &arguments.push {
        let key = arguments.sign_key.as_deref().map(push::signing_key).transpose()?;
        let registry = arguments.access.open(MAX_ANSWER)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(push::push(&registry, target, &artifacts, key.as_ref()))?;
    }
    Ok(Answer::Yes)
}

/// Writes the files and their checksums below `out`.
fn write(out: &Path, mut files: Vec<(String, Vec<u8>)>, force: bool) -> anyhow::Result<()> {
    let sums = files.iter().fold(String::new(), |mut sums, (name, bytes)| {
        let _ = writeln!(sums, "{}  {name}", checksum(bytes));
        sums
    });
    // The list last: what it names is there.
    files.push((CHECKSUMS.into(), sums.into_bytes()));
    if !force {
        refuse_foreign(out, &files)?;
    }
    for (name, bytes) in &files {
        let path = out.join(name);
        let folder = path.parent().unwrap_or(out);
        fs::create_dir_all(folder).with_context(|| format!("make the folder `{}`", folder.display()))?;
        write_atomically(&path, bytes)?;
        if !name.starts_with("oci/") {
            let size = output::styled(output::QUIET, format!("{:>9}", bytes.len()));
            anstream::println!("{size} {}", path.display());
        }
    }
    let size = output::styled(output::QUIET, format!("{:>9}", "layout"));
    anstream::println!("{size} {}", out.join("oci").display());
    Ok(())
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
