//! Builds the npm package: the module for wasm32-unknown-unknown, wasm-bindgen's ES module and types
//! around it, and what Node and npm want beside them.
//!
//! `cargo run -p portcullis-signature-web-package -- FOLDER`

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use portcullis_signature::GITHUB_TRUSTED_ROOT;
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "module-web";
const NAME: &str = "portcullis_signature";

/// For Node, which reads the module from its file; everyone else fetches it.
const NODE: &str = r#"import { readFileSync } from "node:fs";
import { initSync } from "./portcullis_signature.js";

initSync({ module: readFileSync(new URL("./portcullis_signature_bg.wasm", import.meta.url)) });

export * from "./portcullis_signature.js";
export default async function () {}
"#;

fn main() -> Result<()> {
    let out: PathBuf = env::args_os().nth(1).context("name the folder that the package is to be in")?.into();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
    let built = build(&root)?;
    fs::create_dir_all(&out)?;
    Bindgen::new()
        .input_path(&built)
        .out_name(NAME)
        .web(true)?
        .omit_default_module_path(false)
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(&out)?;
    fs::write(out.join("node.js"), NODE)?;
    fs::write(out.join("github_trusted_root.json"), GITHUB_TRUSTED_ROOT)?;
    fs::write(out.join("package.json"), manifest())?;
    fs::copy(root.join("plugins/signature-web/README.md"), out.join("README.md"))?;
    fs::copy(root.join("LICENSE"), out.join("LICENSE"))?;
    let size = fs::metadata(out.join(format!("{NAME}_bg.wasm")))?.len();
    println!("{}: the module has {size} bytes", out.display());
    Ok(())
}

fn build(root: &Path) -> Result<PathBuf> {
    let target_dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target_dir = target_dir.join("modules");
    add_target()?;
    // Paths of the building machine neither leak into the module nor change it.
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let mut flags = format!("--remap-path-prefix={}=.", root.display());
    if let Some(home) = home {
        flags.push_str(&format!("\u{1f}--remap-path-prefix={}=/cargo", home.display()));
    }
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["build", "--locked", "--package", "portcullis-signature-web"])
        .args(["--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(&target_dir)
        // This tool's own flags are not the module's.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the module does not build");
    Ok(target_dir.join(TARGET).join(PROFILE).join("portcullis_signature_web.wasm"))
}

/// `rust-toolchain.toml` does not list this target, which only the package needs.
fn add_target() -> Result<()> {
    let libdir = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if Path::new(String::from_utf8(libdir.stdout)?.trim()).is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    ensure!(
        added.is_ok_and(|status| status.success()),
        "the Rust target {TARGET} is needed; install it: rustup target add {TARGET}"
    );
    Ok(())
}

fn manifest() -> String {
    format!(
        r#"{{
  "name": "@portcullis/signature",
  "version": "{}",
  "description": "May this image run: Cosign and Sigstore signatures judged by a policy, in Node, browsers and edge workers",
  "license": "Apache-2.0",
  "type": "module",
  "types": "./portcullis_signature.d.ts",
  "exports": {{
    ".": {{
      "types": "./portcullis_signature.d.ts",
      "node": "./node.js",
      "default": "./portcullis_signature.js"
    }},
    "./portcullis_signature_bg.wasm": "./portcullis_signature_bg.wasm",
    "./github_trusted_root.json": "./github_trusted_root.json"
  }},
  "sideEffects": ["./node.js"]
}}
"#,
        env!("CARGO_PKG_VERSION")
    )
}
