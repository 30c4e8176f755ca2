//! The guards of a configuration: which route's answers are looked at, for what.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_core::{ConfigError, HeaderName};
use serde::Deserialize;

use super::{
    Canaries,
    echo::Echo,
    grpc::MOST_NUMBERS,
    json::MOST_TEXT,
    media::Types,
    rules::{MOST_PATHS, MOST_SEGMENTS, Rules, Segment},
};

type Resolved<T> = Result<T, ConfigError>;

/// How much of an answer may leave before all of it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// Nothing: a leak becomes a clean 502.
    Hold,
    /// What is known to be the tenant's: all up to the end of the last record that names it.
    #[default]
    VerifiedPrefix,
    /// Everything until a leak is seen; then the stream is reset. Some bytes leave.
    Sever,
    /// Everything; leaks are only reported.
    Observe,
}

/// What a leak does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// The answer does not leave.
    #[default]
    Enforce,
    /// It is counted and written down.
    Observe,
}

/// Whether it must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Presence {
    /// An answer without it is refused.
    #[default]
    Required,
    /// What is not there is not missed.
    IfPresent,
}

/// Which of a tenant's names answers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum By {
    /// The id.
    #[default]
    Id,
    /// The slug.
    Slug,
}

/// What becomes of upgrades and CONNECT, in which nothing can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Tunnels {
    /// They are refused.
    #[default]
    Refuse,
    /// They pass, unread.
    Pass,
}

/// What looks at the answers of a route: at least one of `echo`, `fields` and `canaries`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// A header in which the upstream says for which tenant and request it worked. Default: none.
    echo: Option<RawEcho>,
    /// Fields of JSON, NDJSON, events and gRPC that name the tenant. Default: none.
    fields: Option<RawFields>,
    /// Tokens that are planted in each tenant's data. Default: none.
    canaries: Option<RawCanaries>,
    /// How much of an answer may leave before all of it was seen. Default: `verified_prefix`.
    #[serde(default)]
    release: Release,
    /// Bytes of an answer that are held under `hold`, 256 to 67108864. Default: `1048576`.
    max_bytes: Option<u64>,
    /// Bytes of one record that waits, 256 to 4194304. Default: `65536`.
    max_record_bytes: Option<usize>,
    /// Media types that pass unread, such as `text/csv` or `image/*`.
    #[serde(default)]
    unscanned: Vec<String>,
    /// What becomes of upgrades and CONNECT. Default: `refuse`.
    #[serde(default)]
    tunnels: Tunnels,
}

/// The header `<tenant id>;<request id>` of an answer.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawEcho {
    /// The header, which never leaves. Default: `x-tenant-echo`.
    header: Option<String>,
    /// Whether every answer must have it. Default: `required`.
    #[serde(default)]
    presence: Presence,
    /// What a wrong one does. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
}

/// Fields that name the tenant: at least one of `keys`, `paths` and `grpc`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawFields {
    /// Member names at any depth, such as `tenant_id`.
    #[serde(default)]
    keys: Vec<String>,
    /// Paths from the top, such as `/data/*/owner/id`; `*` is every member or element.
    #[serde(default)]
    paths: Vec<String>,
    /// Which values are records, such as `/data/*`. By default the outermost object with such a
    /// field, a line, an event, a message.
    records: Option<String>,
    /// Field numbers on the way to a string in gRPC messages, such as `2.1`.
    #[serde(default)]
    grpc: Vec<String>,
    /// Which of the tenant's names the fields have. Default: `id`.
    #[serde(default)]
    by: By,
    /// Values that every tenant may see; `null` may be one of them.
    #[serde(default)]
    shared: Vec<Option<String>>,
    /// Whether every record must have such a field: a renamed one must not switch the guard off.
    /// Default: `required`.
    #[serde(default)]
    presence: Presence,
    /// What another tenant's record does. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
}

/// Tokens made of a secret and the tenant's id: another tenant's is found wherever it turns up.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawCanaries {
    /// How they begin: 6 to 32 letters, digits, `_` and `-` that answers do not have, such as
    /// `canary_`.
    prefix: String,
    /// The secret, base64, at least 16 bytes: `openssl rand -base64 32`.
    secret: String,
    /// What another tenant's canary does. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
}

impl core::fmt::Debug for RawCanaries {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RawCanaries").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A guard that was found sound.
#[derive(Debug)]
pub(crate) struct Inspector {
    pub(super) echo: Option<Echo>,
    pub(super) fields: Option<Fields>,
    pub(super) canaries: Option<Planted>,
    pub(super) release: Release,
    pub(super) most_bytes: u64,
    pub(super) most_record_bytes: usize,
    pub(super) unscanned: Types,
    pub(super) tunnels: bool,
}

#[derive(Debug)]
pub(super) struct Fields {
    pub(super) rules: Rules,
    pub(super) by_slug: bool,
    pub(super) required: bool,
    pub(super) enforced: bool,
}

#[derive(Debug)]
pub(super) struct Planted {
    pub(super) canaries: Canaries,
    pub(super) enforced: bool,
}

impl Inspector {
    /// Whether bodies are looked at, and so must come whole and as they are written.
    pub(crate) const fn reads_bodies(&self) -> bool {
        self.fields.is_some() || self.canaries.is_some()
    }

    /// The header that the upstream answers with, which no client may see.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        self.echo.as_ref().map(|echo| &echo.header)
    }
}

/// The guards by their names.
pub(crate) fn resolve(raw: BTreeMap<String, Raw>) -> Resolved<Vec<(String, Arc<Inspector>)>> {
    raw.into_iter()
        .map(|(name, raw)| Ok((name.clone(), Arc::new(inspector(&format!("guards.{name}"), raw)?))))
        .collect()
}

fn inspector(path: &str, raw: Raw) -> Resolved<Inspector> {
    let Raw { echo, fields, canaries, release, max_bytes, max_record_bytes, unscanned, tunnels } = raw;
    let at = |member: &str| format!("{path}.{member}");
    if echo.is_none() && fields.is_none() && canaries.is_none() {
        return Err(ConfigError::new(path, "looks at nothing; give it `echo`, `fields` or `canaries`"));
    }
    let unscanned_path = at("unscanned");
    for (n, kind) in unscanned.iter().enumerate() {
        let sound = kind.split_once('/').is_some_and(|(family, rest)| {
            !family.is_empty()
                && !family.contains('*')
                && (rest == "*" || !rest.is_empty() && !rest.contains('*'))
        }) && !kind.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b';' || byte == b' ');
        if !sound {
            let reason = "not a media type in lower case, such as `text/csv` or `image/*`";
            return Err(ConfigError::new(format!("{unscanned_path}[{n}]"), reason));
        }
        if super::media::format(kind).is_some() {
            return Err(ConfigError::new(
                format!("{unscanned_path}[{n}]"),
                format!("`{kind}` can be looked into, so it is"),
            ));
        }
    }
    if release == Release::VerifiedPrefix && fields.is_none() && canaries.is_some() {
        let reason = "`verified_prefix` needs `fields` to know a record by; without them `hold` or `sever`";
        return Err(ConfigError::new(at("release"), reason));
    }
    let most_record_bytes = max_record_bytes.unwrap_or(64 * 1024);
    if !(256..=4 * 1024 * 1024).contains(&most_record_bytes) {
        return Err(ConfigError::new(at("max_record_bytes"), "not from 256 to 4194304"));
    }
    let most_bytes = max_bytes.unwrap_or(1024 * 1024);
    if !(256..=64 * 1024 * 1024).contains(&most_bytes) {
        return Err(ConfigError::new(at("max_bytes"), "not from 256 to 67108864"));
    }
    Ok(Inspector {
        echo: echo.map(|raw| self::echo(&at("echo"), raw)).transpose()?,
        fields: fields.map(|raw| self::fields(&at("fields"), raw)).transpose()?,
        canaries: canaries.map(|raw| self::canaries(&at("canaries"), raw)).transpose()?,
        release,
        most_bytes,
        most_record_bytes,
        unscanned: Types(unscanned),
        tunnels: tunnels == Tunnels::Pass,
    })
}

fn echo(path: &str, raw: RawEcho) -> Resolved<Echo> {
    let RawEcho { header, presence, mode } = raw;
    let header = header.unwrap_or_else(|| "x-tenant-echo".into());
    let header = HeaderName::new(&header)
        .map_err(|error| ConfigError::new(format!("{path}.header"), error.to_string()))?;
    Ok(Echo { header, required: presence == Presence::Required, enforced: mode == Mode::Enforce })
}

fn fields(path: &str, raw: RawFields) -> Resolved<Fields> {
    let RawFields { keys, paths, records, grpc, by, shared, presence, mode } = raw;
    let at = |member: &str| format!("{path}.{member}");
    if keys.is_empty() && paths.is_empty() && grpc.is_empty() {
        return Err(ConfigError::new(path, "names no field; give it `keys`, `paths` or `grpc`"));
    }
    if paths.len() > MOST_PATHS || keys.len() > MOST_PATHS || grpc.len() > MOST_PATHS {
        return Err(ConfigError::new(path, format!("more than {MOST_PATHS} of a kind")));
    }
    let short = |path: String, text: &str| {
        if (1..=MOST_TEXT).contains(&text.len()) {
            Ok(())
        } else {
            Err(ConfigError::new(path, format!("not from 1 to {MOST_TEXT} bytes long")))
        }
    };
    for (n, key) in keys.iter().enumerate() {
        short(format!("{}[{n}]", at("keys")), key)?;
    }
    for (n, owner) in shared.iter().enumerate() {
        short(format!("{}[{n}]", at("shared")), owner.as_deref().unwrap_or("null"))?;
    }
    let null = shared.iter().any(Option::is_none);
    let numbered = |member: &str, texts: Vec<String>| -> Vec<(String, String)> {
        texts.into_iter().enumerate().map(|(n, text)| (format!("{}[{n}]", at(member)), text)).collect()
    };
    let rules = Rules {
        keys: keys.into_iter().map(String::into_bytes).collect(),
        paths: numbered("paths", paths)
            .into_iter()
            .map(|(path, text)| pointer(&path, &text))
            .collect::<Resolved<_>>()?,
        records: records.map(|text| pointer(&at("records"), &text)).transpose()?,
        numbers: numbered("grpc", grpc)
            .into_iter()
            .map(|(path, text)| numbers(&path, &text))
            .collect::<Resolved<_>>()?,
        shared: shared.into_iter().flatten().collect(),
        null,
    };
    Ok(Fields {
        rules,
        by_slug: by == By::Slug,
        required: presence == Presence::Required,
        enforced: mode == Mode::Enforce,
    })
}

/// `/data/*/owner/id`: names as in a JSON pointer (RFC 6901), `*` for every member or element.
fn pointer(path: &str, text: &str) -> Resolved<Vec<Segment>> {
    let wrong = |reason: &str| ConfigError::new(path, reason.to_string());
    let names = text.strip_prefix('/').filter(|names| !names.is_empty());
    let names = names.ok_or_else(|| wrong("not a path such as `/data/*/tenant_id`"))?;
    let segments: Vec<Segment> = names
        .split('/')
        .map(|name| match name {
            "*" => Segment::Any,
            _ => Segment::Name(name.replace("~1", "/").replace("~0", "~").into_bytes()),
        })
        .collect();
    if segments.len() > MOST_SEGMENTS {
        return Err(wrong(&format!("more than {MOST_SEGMENTS} names")));
    }
    let long = |segment: &Segment| matches!(segment, Segment::Name(name) if name.len() > MOST_TEXT);
    if segments.iter().any(long) {
        return Err(wrong(&format!("a name longer than {MOST_TEXT} bytes")));
    }
    Ok(segments)
}

/// `2.1`: the field numbers on the way to a string.
fn numbers(path: &str, text: &str) -> Resolved<Vec<u32>> {
    let wrong = || {
        let reason = format!("not up to {MOST_NUMBERS} field numbers with dots between, such as `2.1`");
        ConfigError::new(path, reason)
    };
    let numbers: Vec<u32> = text
        .split('.')
        .map(|number| number.parse().ok().filter(|number| (1..1 << 29).contains(number)))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    if numbers.len() > MOST_NUMBERS { Err(wrong()) } else { Ok(numbers) }
}

fn canaries(path: &str, raw: RawCanaries) -> Resolved<Planted> {
    let RawCanaries { prefix, secret, mode } = raw;
    let secret = STANDARD.decode(secret).map_err(|_| {
        ConfigError::new(format!("{path}.secret"), "not base64; make one: openssl rand -base64 32")
    })?;
    if secret.len() < 16 {
        let reason = "shorter than 16 bytes; make one: openssl rand -base64 32";
        return Err(ConfigError::new(format!("{path}.secret"), reason));
    }
    let canaries = Canaries::new(&prefix, &secret).ok_or_else(|| {
        let reason =
            "not 6 to 32 letters, digits, `_` and `-`, such as `canary_`, and nothing that answers have";
        ConfigError::new(format!("{path}.prefix"), reason)
    })?;
    Ok(Planted { canaries, enforced: mode == Mode::Enforce })
}
