//! The judges: installed once, then asked about a file of cases.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use crate::Answers;

/// Newer ones ask for a newer Node in their metadata, and run on Node 20 all the same.
const JAVASCRIPT: [&str; 3] =
    ["@sigstore/verify@4.1.3", "@sigstore/bundle@5.0.1", "@sigstore/protobuf-specs@0.5.2"];
const PYTHON: &str = "sigstore==4.5.1";

/// A verifier with the script that asks it.
pub(crate) struct Judge {
    program: PathBuf,
    script: PathBuf,
    folder: PathBuf,
}

impl Judge {
    /// What it says of `document`, the cases with their trusted root.
    pub(crate) fn judge(&self, document: &Value) -> Answers {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), document.to_string()).unwrap();
        let output = Command::new(&self.program)
            .arg(&self.script)
            .arg(file.path())
            .env("NODE_PATH", self.folder.join("node_modules"))
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the judge did not finish:\n{err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(name)
}

fn cache(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs `command`, which must succeed, unless a marker says that it did before.
fn once(folder: &Path, what: &str, commands: &mut [Command]) {
    let marker = folder.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == what) {
        return;
    }
    fs::create_dir_all(folder).unwrap();
    for command in commands {
        let output = command.output().unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}; the judges need node with npm, and python3 with venv")
        });
        assert!(
            output.status.success(),
            "{command:?} failed; the judges come from npm and PyPI:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::write(marker, what).unwrap();
}

pub(crate) fn javascript() -> &'static Judge {
    static JUDGE: OnceLock<Judge> = OnceLock::new();
    JUDGE.get_or_init(|| {
        let folder = cache("sigstore-js");
        let mut install = Command::new("npm");
        install
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .args(JAVASCRIPT)
            .env("npm_config_engine_strict", "false");
        once(&folder, &JAVASCRIPT.join(" "), &mut [install]);
        Judge { program: "node".into(), script: script("verify.cjs"), folder }
    })
}

pub(crate) fn python() -> &'static Judge {
    static JUDGE: OnceLock<Judge> = OnceLock::new();
    JUDGE.get_or_init(|| {
        let folder = cache("sigstore-python");
        let program = folder.join("bin/python");
        let mut environment = Command::new("python3");
        environment.args(["-m", "venv"]).arg(&folder);
        let mut install = Command::new(&program);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON]);
        once(&folder, PYTHON, &mut [environment, install]);
        Judge { program, script: script("verify.py"), folder }
    })
}
