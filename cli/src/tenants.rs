//! `portcullis tenants`: the directory of tenants as tenant-guard fetches it.

mod folder;
pub(crate) mod source;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use portcullis_tenant::{
    Directory as _,
    directory::pack::{self, InMemory, Options, Pack, Seed},
};
use serde_json::json;

use crate::output::{self, Answer, Format};
use folder::Folder;

/// Make, check and ask a directory of tenants that tenant-guard fetches.
///
/// A directory of up to some thousand tenants can be served as one JSON document:
/// {"version": 7, "tenants": [{"id": "org_1", "slugs": ["acme"]}]}. A larger one is packed: a manifest
/// and parts, for any server of static files. Whoever fetches it again fetches only what changed.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    call: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    Pack(PackArguments),
    Check(CheckArguments),
    Show(ShowArguments),
}

/// Pack a list of tenants into a folder
///
/// Reads a JSON document ({"tenants": [...]}) or one tenant a line (NDJSON). Where the folder has an
/// edition already, parts whose tenants did not change stay as they are. The new manifest comes
/// last, and the parts of the edition before stay, so that a proxy in the middle of fetching that
/// one can end.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis tenants pack tenants.json --out public/tenants
  psql -qAtc 'select row_to_json(t) from tenant_export t' | portcullis tenants pack - --out public/tenants

Exit codes: 0 packed, 2 the list cannot be read, or two tenants could be taken for each other.")]
struct PackArguments {
    /// The list; `-` reads standard input
    file: PathBuf,
    /// The folder for manifest.json and parts/
    #[arg(long)]
    out: PathBuf,
    /// The edition's number; proxies refuse a lower one than they have [default: that of the
    /// document, else seconds since 1970, and always more than the edition before]
    #[arg(long)]
    version: Option<u64>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Would a proxy take this directory?
///
/// Checks a packed folder as a proxy does, and looks every tenant up under every name; or a JSON
/// document or NDJSON list, whether it could be packed.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Exit codes: 0 it is sound, 2 it is not or cannot be read.")]
struct CheckArguments {
    /// A folder, or a list of tenants; `-` reads a list from standard input
    path: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What does a packed directory say about a name?
///
/// Looks the name up as id, slug and domain, and prints the tenant as JSON.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Exit codes: 0 there is such a tenant, 1 there is none, 2 the folder cannot be read.")]
struct ShowArguments {
    /// The folder
    folder: PathBuf,
    /// An id, slug or domain
    name: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    match &arguments.call {
        Call::Pack(arguments) => pack(arguments),
        Call::Check(arguments) => check(arguments),
        Call::Show(arguments) => show(arguments),
    }
}

fn pack(arguments: &PackArguments) -> anyhow::Result<Answer> {
    let PackArguments { file, out, version, format } = arguments;
    let list = source::read(file)?;
    let folder = Folder::new(out);
    let previous = folder.manifest()?;
    let least = previous.as_ref().map_or(1, |previous| previous.version().saturating_add(1));
    let version = match version.or(list.version) {
        Some(version) if version < least => {
            bail!(
                "version {version} is not above {}, which the folder has: proxies would refuse it",
                least - 1
            )
        }
        Some(version) => version,
        None => now()?.max(least),
    };
    let options = Options { version, seed: seed()? };
    let packed = pack::pack(&list.tenants, options, previous.as_ref())?;
    let written = folder.write(&packed, previous.as_ref())?;
    let bytes: usize = packed.parts.iter().map(Vec::len).sum();
    let tenants = packed.manifest.tenants();
    match format {
        Format::Json => anstream::println!(
            "{}",
            json!({
                "version": version, "tenants": tenants, "parts": packed.parts.len(),
                "parts_written": written, "bytes": bytes,
            })
        ),
        Format::Text => anstream::println!(
            "{} {}: version {version}, {tenants} tenants in {} parts of {} KiB; {written} parts are new",
            output::styled(output::GOOD, "packed:"),
            out.display(),
            packed.parts.len(),
            (bytes / packed.parts.len().max(1)).div_ceil(1024),
        ),
    }
    Ok(Answer::Yes)
}

fn check(arguments: &CheckArguments) -> anyhow::Result<Answer> {
    let CheckArguments { path, format } = arguments;
    let shown = path.display().to_string();
    let packed = if path.is_dir() {
        Folder::new(path).read()?
    } else {
        let list = source::read(path)?;
        let options = Options { version: list.version.unwrap_or(1), seed: seed()? };
        pack::pack(&list.tenants, options, None).with_context(|| shown.clone())?
    };
    let version = packed.manifest.version();
    let parts = packed.parts.len();
    let memory = InMemory::new(packed).context("the parts are not those that the manifest names")?;
    let found = memory.verify().with_context(|| shown.clone())?;
    match format {
        Format::Json => anstream::println!(
            "{}",
            json!({
                "path": shown, "version": version, "tenants": found.tenants, "names": found.names,
                "members": found.members, "parts": parts,
            })
        ),
        Format::Text => anstream::println!(
            "{} {shown}: version {version}, {} tenants with {} slugs and domains and {} members",
            output::styled(output::GOOD, "ok:"),
            found.tenants,
            found.names,
            found.members,
        ),
    }
    Ok(Answer::Yes)
}

fn show(arguments: &ShowArguments) -> anyhow::Result<Answer> {
    let ShowArguments { folder, name } = arguments;
    let Pack { manifest, parts } = Folder::new(folder).read()?;
    let memory =
        InMemory::new(Pack { manifest, parts }).context("the parts are not those of the manifest")?;
    let directory = memory.directory();
    let mut answer = Answer::No;
    for (by, found) in [
        ("id", directory.by_id(name)),
        ("slug", directory.by_slug(name)),
        ("domain", directory.by_domain(name)),
    ] {
        let Some(entry) = found? else { continue };
        answer = Answer::Yes;
        let fields: serde_json::Map<_, _> =
            entry.fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        anstream::println!(
            "{}",
            json!({
                "found_by": by, "id": entry.id, "slug": entry.slug, "state": entry.state.as_str(),
                "plan": entry.plan, "region": entry.region, "fields": fields, "issuers": entry.issuers,
            })
        );
    }
    if answer == Answer::No {
        anstream::eprintln!("no tenant has `{}` as id, slug or domain", name.escape_debug());
    }
    Ok(answer)
}

fn now() -> anyhow::Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}

fn seed() -> anyhow::Result<Seed> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(Seed(seed))
}
