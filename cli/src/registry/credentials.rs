//! Credentials from Docker's configuration file, as `docker login` and `podman login` write them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Deserialize;

/// How Docker's file calls Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// User names and passwords by registry.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// `user:password` in base64, as the file has it and a Basic login needs it.
    logins: BTreeMap<String, String>,
    /// Registries whose credentials are in a helper program, or all (`None` in `helper_for_all`).
    helpers: BTreeSet<String>,
    helper_for_all: bool,
}

// The file has much more in it, of Docker's and of its plugins'.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Login>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: Option<String>,
}

impl Credentials {
    /// Reads `path`; without one, the file where Docker has it, which need not be there.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not JSON.
    pub(super) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(found) = path.map(PathBuf::from).or_else(usual_place) else { return Ok(Self::default()) };
        let shown = || format!("read credentials from `{}`", found.display());
        let text = match fs::read(&found) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_none() => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(shown),
        };
        let file: File = serde_json::from_slice(&text).with_context(shown)?;
        let logins = file.auths.into_iter();
        let logins =
            logins.filter_map(|(name, login)| Some((name, login.auth.filter(|auth| is_base64(auth))?)));
        Ok(Self {
            logins: logins.collect(),
            helpers: file.helpers.into_keys().collect(),
            helper_for_all: file.store.is_some(),
        })
    }

    /// The login for the registry that serves at `host`.
    pub(super) fn for_registry(&self, host: &str) -> Option<&str> {
        names(host).into_iter().find_map(|name| self.logins.get(&name)).map(String::as_str)
    }

    /// What to say beside a refusal: helpers are other programs, which are not run.
    pub(super) fn hint(&self, host: &str) -> &'static str {
        if self.for_registry(host).is_some() {
            ", with the credentials of Docker's configuration"
        } else if self.helper_for_all || names(host).iter().any(|name| self.helpers.contains(name)) {
            "; its credentials are in a helper program, which is not run: write them to a file for --credentials"
        } else {
            "; Docker's configuration has no credentials for it"
        }
    }
}

fn names(host: &str) -> Vec<String> {
    if host == "registry-1.docker.io" {
        return [DOCKER_HUB, "docker.io", "index.docker.io"].map(str::to_owned).into();
    }
    vec![host.to_owned(), format!("https://{host}")]
}

/// A header carries it as it is.
fn is_base64(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

fn usual_place() -> Option<PathBuf> {
    let folder = match env::var_os("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> Credentials {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Credentials::read(Some(file.path())).unwrap()
    }

    #[test]
    fn logins_are_found_by_each_spelling_of_a_registry() {
        let all = credentials(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aA=="},"r.test:5000":{"auth":"bB=="},
                "https://s.test":{"auth":"cC=="},"t.test":{}},"HttpHeaders":{}}"#,
        );
        assert_eq!(all.for_registry("registry-1.docker.io"), Some("aA=="));
        assert_eq!(all.for_registry("r.test:5000"), Some("bB=="));
        assert_eq!(all.for_registry("s.test"), Some("cC=="));
        assert_eq!(all.for_registry("t.test"), None);
        assert_eq!(all.for_registry("r.test"), None);
    }

    #[test]
    fn a_helper_is_named_where_it_would_have_the_credentials() {
        assert!(credentials(r#"{"credHelpers":{"r.test":"x"}}"#).hint("r.test").contains("helper"));
        assert!(credentials(r#"{"credsStore":"x"}"#).hint("r.test").contains("helper"));
        assert!(credentials("{}").hint("r.test").contains("no credentials"));
    }

    #[test]
    fn what_no_header_can_carry_is_no_login() {
        assert_eq!(credentials(r#"{"auths":{"r.test":{"auth":"a\r\nb"}}}"#).for_registry("r.test"), None);
    }
}
