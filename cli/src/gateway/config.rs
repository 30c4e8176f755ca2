//! The gateway's configuration: a document in, settings that cannot be wrong out.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::document;

/// The document's shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    listen: SocketAddr,
    workers: Option<NonZeroUsize>,
    upstream: UpstreamConfig,
    #[serde(default)]
    clusters: BTreeMap<String, Cluster>,
    plugins: Vec<PluginConfig>,
    #[serde(default)]
    limits: Limits,
    #[serde(default = "default_drain")]
    drain: Span,
}

/// Where allowed requests go; plain HTTP/1.1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamConfig {
    pub(crate) address: Address,
    /// From the request to the head of the response.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Span,
}

/// An address that plugins may call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    pub(crate) address: Address,
    pub(crate) tls: Option<Tls>,
}

/// TLS to a cluster: the certificate must be good for `server_name`, from an authority that
/// browsers trust or from one of `ca_file`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) server_name: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    name: String,
    module: Option<PathBuf>,
    config: Option<Value>,
    config_file: Option<PathBuf>,
}

/// What clients may cost.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Connections at the same time; further ones wait in the kernel's queue.
    pub(crate) connections: NonZeroUsize,
    /// Bytes of a body that are held for a paused stream, per direction and plugin.
    pub(crate) body_bytes: NonZeroUsize,
    /// How long a request may stand still.
    pub(crate) idle: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN),
            body_bytes: NonZeroUsize::new(1 << 20).unwrap_or(NonZeroUsize::MIN),
            // Envoy's stream_idle_timeout.
            idle: Span(Duration::from_secs(300)),
        }
    }
}

const fn default_drain() -> Span {
    Span(Duration::from_secs(10))
}

const fn default_timeout() -> Span {
    Span(Duration::from_secs(15))
}

/// A duration such as `15s` or `1m 30s`, not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(D::Error::custom(format!("`{text}` is not a duration such as `500ms`, `15s` or `5m`"))),
        }
    }
}

/// `host:port`.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// As a URL has it: an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl std::str::FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || anyhow!("`{text}` is not `host:port`, such as `127.0.0.1:9000`");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let sound = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        if !sound {
            return Err(wrong());
        }
        Ok(Self { host: bracketed.unwrap_or(host).into(), port })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A configuration that was found sound; the plugins have not judged theirs yet.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: NonZeroUsize,
    pub(crate) upstream: UpstreamConfig,
    pub(crate) clusters: BTreeMap<String, Cluster>,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) limits: Limits,
    pub(crate) drain: Duration,
    /// What it was read from, beside the document itself.
    pub(crate) files: Vec<PathBuf>,
}

/// A plugin with its bytes.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) wasm: Cow<'static, [u8]>,
    pub(crate) configuration: Vec<u8>,
}

impl Config {
    /// Reads a file; paths in it are relative to its folder.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Settings> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        document::parse::<Self>(&document::read(path)?)?.resolve(&folder)
    }

    fn resolve(self, folder: &Path) -> anyhow::Result<Settings> {
        let Self { listen, workers, upstream, mut clusters, plugins, limits, drain } = self;
        if plugins.is_empty() {
            bail!("`plugins`: empty: every request would pass; name at least one");
        }
        let mut files: Vec<PathBuf> = plugins
            .iter()
            .flat_map(|plugin| [&plugin.module, &plugin.config_file])
            .flatten()
            .map(|file| folder.join(file))
            .collect();
        let plugins = plugins
            .into_iter()
            .enumerate()
            .map(|(at, plugin)| plugin.resolve(folder).with_context(|| format!("`plugins[{at}]`")))
            .collect::<anyhow::Result<_>>()?;
        for cluster in clusters.values_mut() {
            if let Some(file) = cluster.tls.as_mut().and_then(|tls| tls.ca_file.as_mut()) {
                *file = folder.join(&*file);
                files.push(file.clone());
            }
        }
        let workers =
            workers.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        Ok(Settings { listen, workers, upstream, clusters, plugins, limits, drain: drain.0, files })
    }
}

impl PluginConfig {
    fn resolve(self, folder: &Path) -> anyhow::Result<Plugin> {
        let Self { name, module, config, config_file } = self;
        let wasm = match module {
            Some(file) => Cow::Owned(document::read(&folder.join(file)).context("`module`")?),
            None => Cow::Borrowed(bundled(&name)?),
        };
        let configuration = match (config, config_file) {
            (Some(_), Some(_)) => bail!("`config` and `config_file`: only one of them"),
            (Some(value), None) => serde_json::to_vec(&value)?,
            (None, Some(file)) => {
                let read = document::read(&folder.join(file)).and_then(document::plugin_configuration);
                read.context("`config_file`")?
            }
            (None, None) => Vec::new(),
        };
        Ok(Plugin { name, wasm, configuration })
    }
}

fn bundled(name: &str) -> anyhow::Result<&'static [u8]> {
    let known: Vec<_> = portcullis_modules::ALL.iter().map(|module| module.name).collect();
    let module = portcullis_modules::by_name(name).ok_or_else(|| {
        anyhow!(
            "`name`: no plugin `{name}` in the bundle (there is: {}); `module` names a file",
            known.join(", ")
        )
    })?;
    Ok(module.wasm)
}

impl Settings {
    /// One plugin of the bundle in front of `upstream` on loopback.
    pub(crate) fn on_loopback(
        port: u16,
        upstream: SocketAddr,
        clusters: BTreeMap<String, SocketAddr>,
        plugin: portcullis_modules::Module,
        configuration: &Value,
    ) -> Self {
        let address = |socket: SocketAddr| Address { host: socket.ip().to_string(), port: socket.port() };
        let plain = |socket| Cluster { address: address(socket), tls: None };
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            workers: NonZeroUsize::MIN.saturating_add(1),
            upstream: UpstreamConfig { address: address(upstream), timeout: default_timeout() },
            clusters: clusters.into_iter().map(|(name, socket)| (name, plain(socket))).collect(),
            plugins: vec![Plugin {
                name: plugin.name.into(),
                wasm: Cow::Borrowed(plugin.wasm),
                configuration: configuration.to_string().into_bytes(),
            }],
            limits: Limits::default(),
            drain: default_drain().0,
            files: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, authority) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("idp.example:443", "idp.example:443"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().authority(), authority);
        }
        for text in
            ["", "x", ":80", "x:", "x:0", "x:99999", "::1:80", "[x]:80", "a b:80", "http://x:80", "x/y:80"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_path_and_what_would_be_right() {
        let base = "listen: 127.0.0.1:0\nplugins: [{name: jwt-auth}]\n";
        for (text, expected) in [
            ("upstream: {address: x}", "`upstream.address`: `x` is not `host:port`"),
            ("upstream: {address: 'x:1', timeout: 5}", "`upstream.timeout`: "),
            ("upstream: {address: 'x:1', timeout: 0s}", "`upstream.timeout`: `0s` is not a duration"),
            ("upstream: {address: 'x:1', retries: 3}", "unknown field `retries`"),
            (
                "upstream: {address: 'x:1'}\nclusters: {idp: {adress: 'x:1'}}",
                "`clusters.idp.adress`: unknown field",
            ),
            ("upstream: {address: 'x:1'}\nworkers: 0", "`workers`: "),
        ] {
            let error =
                document::parse::<Config>(format!("{base}{text}").as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_plugin_has_one_configuration_and_one_module() {
        let resolve = |plugins: &str| {
            let text = format!("listen: 127.0.0.1:0\nupstream: {{address: 'x:1'}}\nplugins: {plugins}");
            document::parse::<Config>(text.as_bytes()).unwrap().resolve(Path::new("/nowhere"))
        };
        for (plugins, expected) in [
            ("[]", "`plugins`: empty"),
            (
                "[{name: jwt-oauth}]",
                "`plugins[0]`: `name`: no plugin `jwt-oauth` in the bundle (there is: jwt-auth, tenant-guard, image-admission, llm-fanout)",
            ),
            ("[{name: jwt-auth, config: {}, config_file: x}]", "only one of them"),
            (
                "[{name: jwt-auth}, {name: jwt-auth, config_file: x}]",
                "`plugins[1]`: `config_file`: read `/nowhere/x`",
            ),
            ("[{name: mine, module: m.wasm}]", "`plugins[0]`: `module`: read `/nowhere/m.wasm`"),
        ] {
            let error = format!("{:#}", resolve(plugins).unwrap_err());
            assert!(error.contains(expected), "{plugins}: {error}");
        }
        assert_eq!(
            resolve("[{name: jwt-auth, config: {a: 1}}]").unwrap().plugins[0].configuration,
            br#"{"a":1}"#
        );
    }
}
