//! Builds every plugin for wasm32-wasip1 into a target folder of its own, adding the target to
//! the toolchain where it is missing, so that `cargo run`, `cargo test` and `cargo bench` work on
//! a fresh clone. Cargo runs this again only when the plugins' sources change.

mod kubewarden;
mod slim;

use std::{
    env,
    error::Error,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "wasm32-wasip1";
const PROFILE: &str = "module";
/// Package, and the name of the file that Cargo makes of it.
const PLUGINS: [(&str, &str); 2] = [
    ("portcullis-jwt-auth", "portcullis_jwt_auth.wasm"),
    ("portcullis-tenant-guard", "portcullis_tenant_guard.wasm"),
];
/// What only tests and benches need, as the feature `vectors` asks for.
const VECTORS: (&str, &str) = ("portcullis-vectors", "portcullis_vectors.wasm");
/// Plugins that look at answers.
const SEES_RESPONSES: [&str; 1] = ["portcullis_tenant_guard.wasm"];
/// Kubewarden policies: package, file, and the metadata that Kubewarden reads in the module itself.
/// Built apart, so that what they need of a shared crate is not in the others.
const POLICIES: [(&str, &str, &str); 1] = [(
    "portcullis-image-kubewarden",
    "portcullis_image_kubewarden.wasm",
    "plugins/image-kubewarden/metadata.json",
)];
/// The profile of plugins that are most of all large, or wait for others most of the time: see `Cargo.toml`. Built apart as well.
const SMALL_PROFILE: &str = "module-small";
const SMALL_PLUGINS: [(&str, &str); 2] = [
    ("portcullis-image-admission", "portcullis_image_admission.wasm"),
    ("portcullis-llm-fanout", "portcullis_llm_fanout.wasm"),
];
/// What a plugin is made of, seen from the workspace's root.
const SOURCES: [&str; 5] = ["policies", "plugins", "host-tests/vectors", "Cargo.toml", "Cargo.lock"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kubewarden.rs");
    println!("cargo::rerun-if-changed=slim.rs");
    add_target()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = target_dir(&out)?;
    let vectors = env::var_os("CARGO_FEATURE_VECTORS").map(|_| VECTORS);
    let policies = POLICIES.map(|(package, file, _)| (package, file));
    for (package, file) in PLUGINS.into_iter().chain(vectors).chain(policies).chain(SMALL_PLUGINS) {
        fs::write(out.join(format!("{file}.crates")), crates(&root, package)?)?;
    }
    build(&root, &target_dir, PROFILE, &PLUGINS.map(|(package, _)| package))?;
    if let Some((package, _)) = vectors {
        // Apart, so that the plugins are the same with it and without.
        build(&root, &target_dir, PROFILE, &[package])?;
    }
    for (_, file) in PLUGINS.into_iter().chain(vectors) {
        let built = fs::read(target_dir.join(TARGET).join(PROFILE).join(file))?;
        fs::write(out.join(file), slim::without_unused_callbacks(&built, SEES_RESPONSES.contains(&file))?)?;
    }
    build(&root, &target_dir, SMALL_PROFILE, &POLICIES.map(|(package, ..)| package))?;
    for (_, file, metadata) in POLICIES {
        let built = fs::read(target_dir.join(TARGET).join(SMALL_PROFILE).join(file))?;
        let metadata = fs::read(root.join(metadata))?;
        fs::write(out.join(file), kubewarden::with_metadata(slim::without_names(&built)?, &metadata))?;
    }
    build(&root, &target_dir, SMALL_PROFILE, &SMALL_PLUGINS.map(|(package, _)| package))?;
    for (_, file) in SMALL_PLUGINS {
        let built = fs::read(target_dir.join(TARGET).join(SMALL_PROFILE).join(file))?;
        fs::write(out.join(file), slim::without_names(&slim::without_unused_callbacks(&built, false)?)?)?;
    }
    Ok(())
}

/// `<target>/modules` beside the profile's folder, wherever `CARGO_TARGET_DIR` points.
fn target_dir(out: &Path) -> Result<PathBuf, String> {
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not inside a target folder")?;
    Ok(target.join("modules"))
}

/// `rust-toolchain.toml` lists the target, but rustup may be told not to install by itself.
fn add_target() -> Result<(), Box<dyn Error>> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let libdir = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if Path::new(String::from_utf8(libdir.stdout)?.trim()).is_dir() {
        return Ok(());
    }
    println!("cargo::warning=adding the target {TARGET} to the Rust toolchain");
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => {
            Err(format!("the plugins need the Rust target {TARGET}; install it: rustup target add {TARGET}")
                .into())
        }
    }
}

/// What is linked into a module: a line for each crate, with its version and licence.
fn crates(root: &Path, package: &str) -> Result<String, Box<dyn Error>> {
    let mut cargo = cargo(root);
    cargo.args(["tree", "--locked", "--target", TARGET, "--edges", "normal", "--prefix", "none"]);
    cargo.args(["--format", "{p}|{l}", "--package", package]);
    let output = cargo.output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the crates of `{package}` cannot be listed:\n{reason}").into());
    }
    let mut lines = std::collections::BTreeSet::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (crate_, licence) = line.split_once('|').ok_or("a crate without a licence's place")?;
        let mut words = crate_.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let notes: Vec<_> = words.collect();
        // A macro's code is not in the module.
        if notes.contains(&"(proc-macro)") {
            continue;
        }
        // A crate with a path is the project's own, also where it stands in for a published one.
        let is_own = notes.iter().any(|note| note.contains('/'));
        let prefix = if is_own && !name.starts_with("portcullis-") { "portcullis-" } else { "" };
        let version = version.trim_start_matches('v');
        lines.insert(format!("{prefix}{name} {version} {}\n", licence.trim_end_matches(" (*)")));
    }
    Ok(lines.into_iter().collect())
}

fn build(root: &Path, target_dir: &Path, profile: &str, packages: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut cargo = cargo(root);
    cargo.args(["build", "--locked", "--target", TARGET, "--profile", profile]);
    cargo.arg("--target-dir").arg(target_dir);
    for package in packages {
        cargo.args(["--package", package]);
    }
    // Paths of the building machine neither leak into the module nor change it.
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    // Every host that these modules are for has WebAssembly's 128-bit vectors (Envoy since 1.20).
    let mut flags = format!("-Ctarget-feature=+simd128\u{1f}--remap-path-prefix={}=.", root.display());
    if let Some(home) = home {
        flags.push_str(&format!("\u{1f}--remap-path-prefix={}=/cargo", home.display()));
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the plugins do not build:\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Cargo without what the outer build was told.
fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")));
    cargo.current_dir(root);
    // The outer build's flags and wrappers (clippy, coverage, a linker for this machine) are not
    // the module's: the same sources give the same module whoever asks for it.
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if matches!(
            text,
            "RUSTFLAGS"
                | "CARGO_ENCODED_RUSTFLAGS"
                | "RUSTC_WRAPPER"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "CARGO_BUILD_TARGET"
                | "CARGO_TARGET_DIR"
        ) || text.starts_with("CARGO_PROFILE_")
            || text.starts_with("CARGO_FEATURE_")
            || text.starts_with("CARGO_CFG_")
        {
            cargo.env_remove(name);
        }
    }
    cargo
}
