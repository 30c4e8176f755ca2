//! A file of `deploy/envoy` as people copy it, with the modules beside it and an issuer whose keys
//! the test has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_host_tests::{
    envoy::Envoy,
    loopback::{Reply, Request, Upstream},
};
use portcullis_issuer::{Seed, Setup, SigningKey};
use serde_json::Value;

/// The key of the examples, which signs for nobody.
const NOBODYS: [(&str, &str); 3] = [
    ("kid", "replace-me"),
    ("x", "9BTVBLQpisY_nmvjYUR6pQetfbOcSABCKDG47S7i4Y8"),
    ("y", "9PdDr2TX9wzkAKioHWBTw0w4uN9S22TkvMIP-O9xHC4"),
];

/// A copy of `deploy/envoy` with the modules where the files say they are.
pub fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_files(&deploy(), folder.path());
    for module in portcullis_modules::ALL {
        fs::write(folder.path().join(format!("{}.wasm", module.name)), module.wasm).unwrap();
    }
    let (certificate, key) = certificate("localhost");
    fs::write(folder.path().join("edge/tls.crt"), certificate).unwrap();
    fs::write(folder.path().join("edge/tls.key"), key).unwrap();
    folder
}

pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy")
}

pub fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_files(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// What is in `folder`, by name.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// A certificate for the server `name` that signs for itself, and its key, both PEM.
pub fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// One file, and what is around it.
pub struct Scene {
    pub folder: tempfile::TempDir,
    pub setup: Setup,
    pub upstream: Upstream,
    file: PathBuf,
}

impl Scene {
    /// The file as it is but for its ports, which may be taken here, and the issuer's key.
    pub fn load(file: &str) -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let setup =
            Setup::new(&Seed::new([7; 32]), "https://login.example.com", "api", i64::try_from(now).unwrap())
                .unwrap();
        let folder = copy();
        trust(folder.path(), &setup.keys.ec);
        let scene =
            Self { file: folder.path().join(file), folder, setup, upstream: Upstream::start().unwrap() };
        let scene = scene
            .replace("{address: 127.0.0.1, port_value: 9901}", "{address: 127.0.0.1, port_value: 0}")
            .replace("{address: 0.0.0.0, port_value: 10000}", "{address: 127.0.0.1, port_value: 0}");
        if !fs::read_to_string(&scene.file).unwrap().contains("- name: upstream\n") {
            return scene;
        }
        let port = scene.upstream.address().port();
        scene.replace(
            "{address: 127.0.0.1, port_value: 8080}",
            &format!("{{address: 127.0.0.1, port_value: {port}}}"),
        )
    }

    /// The file with `from`, which it has once, replaced.
    pub fn replace(self, from: &str, to: &str) -> Self {
        let text = fs::read_to_string(&self.file).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` in `{}`", self.file.display());
        fs::write(&self.file, text.replace(from, to)).unwrap();
        self
    }

    pub fn start(&self, binary: &Path) -> Envoy {
        Envoy::start_file(binary, &self.file, self.folder.path()).unwrap()
    }

    /// A token of the issuer with these claims beside the usual ones.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(claims, &self.setup.keys.ec)
    }

    /// The same token, signed by somebody who has the issuer's public key only.
    pub fn forged(&self, claims: &Value) -> String {
        self.signed(claims, &self.setup.keys.mallory_ec.renamed(self.setup.keys.ec.kid()))
    }

    fn signed(&self, claims: &Value, key: &SigningKey) -> String {
        let mut token = self.setup.token();
        for (name, value) in claims.as_object().into_iter().flatten() {
            token = token.claim(name, value.clone());
        }
        token.compact(key).unwrap()
    }
}

/// Puts `key` in the place of the examples' key in every file below `folder`.
fn trust(folder: &Path, key: &SigningKey) {
    let jwk = key.jwk();
    for path in files(folder) {
        if path.is_dir() {
            trust(&path, key);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let text = NOBODYS
                .iter()
                .fold(text, |text, (name, value)| text.replace(value, jwk[name].as_str().unwrap()));
            fs::write(&path, text).unwrap();
        }
    }
}

pub fn call(envoy: &Envoy, target: &str) -> Reply {
    envoy.connect("gateway").unwrap().call(&Request::get(target)).unwrap()
}

pub fn with_token(envoy: &Envoy, target: &str, token: &str) -> Reply {
    envoy.connect("gateway").unwrap().call(&Request::get(target).bearer(token)).unwrap()
}

pub fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.json().unwrap()["code"].as_str().unwrap()), (status, code));
}
