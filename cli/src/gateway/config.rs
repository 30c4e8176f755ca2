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

use crate::{document, source::Source};

/// The configuration of `portcullis serve`: a gateway with plugins before one upstream.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The address to listen at, such as `127.0.0.1:8080`.
    #[cfg_attr(test, schemars(with = "String"))]
    listen: SocketAddr,
    /// Threads that serve. By default one for each processor.
    workers: Option<NonZeroUsize>,
    /// Where allowed requests go.
    upstream: UpstreamConfig,
    /// Addresses that plugins may call, by the names that they use.
    #[serde(default)]
    clusters: BTreeMap<String, Cluster>,
    /// The filters in their order; at least one.
    plugins: Vec<PluginConfig>,
    /// What clients may cost.
    #[serde(default)]
    limits: Limits,
    /// How long requests under way have at the end, or after a change. Default: `10s`.
    #[serde(default = "default_drain")]
    drain: Span,
}

/// Where allowed requests go; plain HTTP/1.1.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamConfig {
    /// `host:port`.
    pub(crate) address: Address,
    /// From the request to the head of the response. Default: `15s`.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Span,
}

/// An address that plugins may call.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// `host:port`.
    pub(crate) address: Address,
    /// TLS to it. Default: none.
    pub(crate) tls: Option<Tls>,
}

/// TLS to a cluster: the certificate must be good for `server_name`, from an authority that
/// browsers trust or from one of `ca_file`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The name that its certificate must be good for. By default the address's host.
    pub(crate) server_name: Option<String>,
    /// PEM of the authorities to trust instead of those that browsers do.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A filter with its configuration: `config` or `config_file`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    /// A plugin of the bundle, such as `jwt-auth`; any name beside `module`.
    name: String,
    /// A WebAssembly module, where it is not one of the bundle.
    module: Option<PathBuf>,
    /// The plugin's configuration; its schema is the plugin's.
    config: Option<Value>,
    /// A file with it, JSON or YAML, relative to this one.
    config_file: Option<PathBuf>,
}

/// What clients may cost.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Connections at the same time; further ones wait in the kernel's queue. Default: `4096`.
    pub(crate) connections: NonZeroUsize,
    /// Bytes of a body that are held for a paused stream, per direction and plugin. Default:
    /// `1048576`.
    pub(crate) body_bytes: NonZeroUsize,
    /// How long a request may stand still. Default: `5m`.
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

#[cfg(test)]
impl schemars::JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A time above zero, such as `500ms`, `15s` or `1m 30s`.",
            "type": "string",
        })
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

#[cfg(test)]
impl schemars::JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`host:port`, such as `127.0.0.1:9000` or `[::1]:9000`.",
            "type": "string",
            "pattern": ":[0-9]+$",
        })
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
    /// The document with the configuration, and the path to it there.
    written: Option<(Source, String)>,
}

impl Plugin {
    /// The error of a configuration that the plugin refuses.
    pub(crate) fn refused(&self, reason: &str) -> anyhow::Error {
        match &self.written {
            Some((source, path)) => source.refused_below(path, reason).into(),
            None => anyhow!("{reason}"),
        }
    }
}

impl Config {
    /// Reads a file; paths in it are relative to its folder.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Settings> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let source = Source::read(path)?;
        let mut settings = source.parse::<Self>()?.resolve(&folder)?;
        // Where what a plugin refuses is written.
        for (at, plugin) in settings.plugins.iter_mut().enumerate() {
            plugin.written.get_or_insert_with(|| (source.clone(), format!("plugins[{at}].config")));
        }
        Ok(settings)
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
        let (configuration, written) = match (config, config_file) {
            (Some(_), Some(_)) => bail!("`config` and `config_file`: only one of them"),
            (Some(value), None) => (serde_json::to_vec(&value)?, None),
            (None, Some(file)) => {
                let source = Source::read(&folder.join(file)).context("`config_file`")?;
                (source.json().context("`config_file`")?, Some((source, String::new())))
            }
            (None, None) => (Vec::new(), None),
        };
        Ok(Plugin { name, wasm, configuration, written })
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
                written: None,
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
