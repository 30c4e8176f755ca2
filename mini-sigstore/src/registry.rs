//! A real registry on loopback: Debian's `docker-registry` (CNCF Distribution 2.8) as a child
//! process, with a client that pushes. It has no referrers API, so bundles go by the fallback tag.

mod push;

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Upload;

/// Where Debian's package puts it.
const BINARY: &str = "/usr/bin/docker-registry";
/// How long it may take to accept: it starts in a tenth of a second where nothing else runs.
const START: Duration = Duration::from_secs(30);

/// A running registry. Dropping it ends the process; its folder goes with it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

/// How a registry is reached.
#[derive(Clone, Copy, Debug, Default)]
pub enum Transport<'a> {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTPS with this certificate chain and key, both PEM files.
    Https {
        /// The chain.
        certificate: &'a Path,
        /// The key.
        key: &'a Path,
    },
}

impl Registry {
    /// Starts a registry whose contents lie in `folder`, on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// It cannot be had: it is not installed and `apt-get install docker-registry` fails, or it
    /// does not start. The text has its log.
    pub fn start(folder: &Path, transport: Transport<'_>) -> io::Result<Self> {
        install()?;
        let config = folder.join("config.yml");
        let tls = match transport {
            Transport::Http => String::new(),
            Transport::Https { certificate, key } => {
                format!("  tls: {{ certificate: {}, key: {} }}\n", certificate.display(), key.display())
            }
        };
        let storage = folder.join("storage");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{ level: info, formatter: text }}\nstorage:\n  filesystem: \
                 {{ rootdirectory: {} }}\n  delete: {{ enabled: true }}\nhttp:\n  addr: 127.0.0.1:0\n{tls}",
                storage.display()
            ),
        )?;
        let log = folder.join("registry.log");
        let file = fs::File::create(&log)?;
        let child = Command::new(BINARY)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut registry = Self { child, address: nowhere, folder: folder.to_owned() };
        registry.address = registry.wait(&log)?;
        Ok(registry)
    }

    /// Its host and port, as they stand in an image's name.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Pushes `upload` to `repository`. Over plain HTTP only.
    ///
    /// # Errors
    ///
    /// The registry refuses, or is not there.
    pub fn push(&self, repository: &str, upload: &Upload) -> io::Result<()> {
        push::push(self.address, repository, upload)
    }

    /// Overwrites what is stored of the blob or manifest `digest`: a registry that lies.
    ///
    /// # Errors
    ///
    /// There is no such blob.
    pub fn corrupt(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        let hex = digest.trim_start_matches("sha256:");
        let shard = hex.get(..2).unwrap_or_default();
        let path =
            self.folder.join("storage/docker/registry/v2/blobs/sha256").join(shard).join(hex).join("data");
        if !path.exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no `{}`", path.display())));
        }
        fs::write(path, bytes)
    }

    /// The address that the log names, once it accepts.
    fn wait(&mut self, log: &Path) -> io::Result<SocketAddr> {
        let start = Instant::now();
        loop {
            for line in BufReader::new(fs::File::open(log)?).lines() {
                if let Some(address) = listening(&line?) {
                    return Ok(address);
                }
            }
            let ended = self.child.try_wait()?.is_some();
            if ended || start.elapsed() > START {
                let log = fs::read_to_string(log)?;
                return Err(io::Error::other(format!("the registry did not start; its log:\n{log}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Neither can fail in a way that matters: the process is ours, and at worst has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line such as `msg="listening on 127.0.0.1:34567"`, with or without `, tls`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split(['"', ',', ' ']).next()?.parse().ok()
}

/// Installs the package where it is missing; two tests at once wait for one another in apt.
fn install() -> io::Result<()> {
    static ONCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if Path::new(BINARY).exists() {
        return Ok(());
    }
    for arguments in
        [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", "docker-registry"]]
    {
        let output = Command::new("apt-get")
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output();
        let text = match output {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        return Err(io::Error::other(format!(
            "`{BINARY}` is not there and cannot be installed (apt-get install docker-registry): {text}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_log() {
        let line = r#"time="x" level=info msg="listening on 127.0.0.1:34567" go.version=go1.19"#;
        assert_eq!(listening(line), Some(SocketAddr::from(([127, 0, 0, 1], 34567))));
        let tls = r#"level=info msg="listening on 127.0.0.1:1, tls""#;
        assert_eq!(listening(tls), Some(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(listening("starting upload purge"), None);
    }
}
