//! Breaks the rules of a key set's life one by one, and expects the simulation to notice: a
//! promise that no test can see broken is not kept by anything.
//!
//! `cargo run --example mutants [TEXT…]` builds the module once for each
//! rule in `mutants/life.json` (or those whose words hold one of the texts), with that rule broken
//! in a copy of the sources, and plays stories until one breaks a promise. It prints a table, and
//! fails where a broken rule goes unnoticed. All rules take about half an hour.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Stories that a broken rule may take to be noticed.
const SEEDS: u32 = 600;
const TARGET: &str = "wasm32-wasip1";

/// One rule, and how it is broken.
struct Mutant {
    rule: String,
    file: PathBuf,
    find: String,
    replace: String,
    /// The first story, where it takes a rare one to notice.
    from: u64,
}

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let wanted: Vec<String> = env::args().skip(1).collect();
    let copy = Copy::new(&root)?;
    ensure!(simulate(&root, &copy.build()?, 0)?.is_none(), "the unchanged module breaks a promise");
    let mut unnoticed = 0;
    println!("| broken on purpose | noticed as |\n|---|---|");
    for mutant in mutants(&root)? {
        if !wanted.is_empty() && !wanted.iter().any(|text| mutant.rule.contains(text)) {
            continue;
        }
        let noticed = copy.with(&mutant, |copy| simulate(&root, &copy.build()?, mutant.from))?;
        unnoticed += usize::from(noticed.is_none());
        println!("| {} | {} |", mutant.rule, noticed.as_deref().unwrap_or("**nothing**"));
    }
    eprintln!("{unnoticed} unnoticed in {SEEDS} stories each");
    Ok(if unnoticed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mutants(root: &Path) -> Result<Vec<Mutant>> {
    let text = fs::read_to_string(root.join("host-tests/mutants/life.json"))?;
    let list: Vec<Value> = serde_json::from_str(&text)?;
    list.iter()
        .map(|mutant| {
            let text = |name: &str| {
                mutant[name].as_str().map(str::to_owned).with_context(|| format!("no `{name}` in {mutant}"))
            };
            Ok(Mutant {
                rule: text("rule")?,
                file: text("file")?.into(),
                find: text("find")?,
                replace: text("replace")?,
                from: mutant["from"].as_u64().unwrap_or(0),
            })
        })
        .collect()
}

/// A copy of what the module is built from.
struct Copy {
    sources: PathBuf,
}

impl Copy {
    fn new(root: &Path) -> Result<Self> {
        let sources = root.join("target/mutants/sources");
        if sources.exists() {
            fs::remove_dir_all(&sources)?;
        }
        let listed = Command::new("git").current_dir(root).args(["ls-files", "-z"]).output()?;
        ensure!(listed.status.success(), "git does not list the sources of {}", root.display());
        for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            let (from, to) = (root.join(name), sources.join(name));
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            // A file that was deleted and not yet committed.
            if from.exists() {
                fs::copy(&from, &to)?;
            }
        }
        Ok(Self { sources })
    }

    /// Builds the module and names its file.
    fn build(&self) -> Result<PathBuf> {
        let target = self.sources.join("../target");
        let status = Command::new("cargo")
            .current_dir(&self.sources)
            .args(["build", "--quiet", "--locked", "--profile", "module", "--target", TARGET])
            .args(["--package", "portcullis-jwt-auth", "--target-dir"])
            .arg(&target)
            // Quick to build is what counts here.
            .args(["--config", "profile.module.lto=false", "--config", "profile.module.codegen-units=16"])
            .status()?;
        ensure!(status.success(), "the module does not build");
        Ok(target.join(TARGET).join("module/portcullis_jwt_auth.wasm"))
    }

    /// Does `work` while the rule is broken.
    fn with<T>(&self, mutant: &Mutant, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let path = self.sources.join(&mutant.file);
        let original = fs::read_to_string(&path).with_context(|| mutant.file.display().to_string())?;
        ensure!(
            original.matches(&mutant.find).count() == 1,
            "`{}` does not occur once in {}: the rule \"{}\" has to be described anew",
            mutant.find,
            mutant.file.display(),
            mutant.rule
        );
        fs::write(&path, original.replace(&mutant.find, &mutant.replace))?;
        let done = work(self).with_context(|| mutant.rule.clone());
        fs::write(&path, original)?;
        done
    }
}

/// What the first broken promise is, if one of the stories breaks one.
fn simulate(root: &Path, module: &Path, from: u64) -> Result<Option<String>> {
    let played = Command::new("cargo")
        .current_dir(root)
        .args(["test", "--quiet", "--test", "simulation"])
        .args(["--", "--nocapture", "every_seed"])
        .env("PORTCULLIS_JWT_AUTH", module)
        .env("PORTCULLIS_FIRST_SEED", from.to_string())
        .env("PORTCULLIS_SEEDS", SEEDS.to_string())
        .stdin(Stdio::null())
        .output()?;
    if played.status.success() {
        return Ok(None);
    }
    let said = [played.stdout, played.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let Some(promise) = said.lines().find_map(|line| line.split_once("BROKEN ")) else {
        bail!("the simulation fails for another reason:\n{said}");
    };
    // The words of the promise, without the story's particulars.
    let short: String = promise.1.chars().filter(|c| !matches!(c, '|')).take(110).collect();
    Ok(Some(short))
}
