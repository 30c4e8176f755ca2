//! What a suite declares before its checks: keys, key sets and named tokens.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use portcullis_issuer::{Alg, ForgeError, Kind, Mint, Scene, Seed, SigningKey, jwk_set};
use serde_json::Value;

use super::{
    document::{AnswerFields, KeySpec, SetItemFields, Suite, TokenSpec},
    place::{self, At as _, Place, Wrong},
};

/// Keys of a suite are the same on every run, so that a token in a report can be looked at again.
/// They protect nothing.
const SEED: Seed = Seed::new(*b"portcullis test: keys of a suite");

/// Names in a `like` that may refer to each other.
const MAX_LIKE: usize = 16;

pub(super) struct World<'s> {
    suite: &'s Suite,
    folder: PathBuf,
    pub(super) keys: BTreeMap<String, SigningKey>,
}

impl<'s> World<'s> {
    pub(super) fn new(suite: &'s Suite, file: &Path) -> Result<Self, Wrong> {
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut world = Self { suite, folder, keys: BTreeMap::new() };
        for (name, spec) in &suite.keys {
            let key = world.key(name, &spec.value).at(place::of(spec))?;
            world.keys.insert(name.clone(), key);
        }
        world.generate_undeclared().map_err(|reason| Wrong::new(Place::default(), reason))?;
        for (name, spec) in &suite.tokens {
            if let TokenSpec::Mint(mint) = &spec.value {
                world.complete(mint).at(place::of(spec)).map_err(|wrong| {
                    Wrong::new(wrong.place, format!("the token `{name}`: {}", wrong.reason))
                })?;
            }
        }
        Ok(world)
    }

    /// A path in a suite is relative to the suite.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    fn read(&self, text: &str) -> anyhow::Result<String> {
        let path = self.path(text);
        fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))
    }

    fn json(&self, text: &str) -> anyhow::Result<Value> {
        serde_json::from_str(&self.read(text)?).with_context(|| format!("`{text}` is not JSON"))
    }

    fn key(&self, name: &str, spec: &KeySpec) -> anyhow::Result<SigningKey> {
        let kid = spec.kid.as_deref().unwrap_or(name);
        let key = match (&spec.file, &spec.jwk, &spec.secret) {
            (None, None, None) => {
                let Some(alg) = &spec.alg else {
                    bail!("the key `{name}` says neither `alg` nor where it is: `file`, `jwk` or `secret`")
                };
                return generate(kid, alg.parse()?, spec.bits);
            }
            (Some(file), None, None) => {
                let text = self.read(file)?;
                if text.trim_start().starts_with('{') {
                    let jwk = serde_json::from_str(&text).with_context(|| format!("`{file}` is not JSON"))?;
                    SigningKey::from_jwk(kid, &jwk)?
                } else {
                    SigningKey::from_pem(kid, &text)?
                }
            }
            (None, Some(jwk), None) => SigningKey::from_jwk(kid, jwk)?,
            (None, None, Some(secret)) => SigningKey::hmac(kid, secret.as_bytes()),
            _ => bail!("the key `{name}` is said twice: one of `file`, `jwk` and `secret`"),
        };
        let key = match &spec.kid {
            Some(kid) => key.renamed(kid),
            None => key,
        };
        Ok(match &spec.alg {
            Some(alg) => key.for_alg(alg.parse()?)?,
            None => key,
        })
    }

    /// `main-rs256` is a key of the issuer `main` for RS256, as long as nobody declares the issuer's
    /// set: then a suite needs no section for keys.
    fn generate_undeclared(&mut self) -> anyhow::Result<()> {
        let checks = self.suite.checks.iter().flat_map(|check| {
            std::iter::once(&check.value).chain(check.value.steps.iter().map(|step| &step.value))
        });
        let mints = checks.filter_map(|check| check.mint.as_ref()).map(|mint| &mint.value);
        let tokens = self.suite.tokens.values().filter_map(|token| match &token.value {
            TokenSpec::Mint(mint) => Some(mint.as_ref()),
            TokenSpec::Literal(_) => None,
        });
        let names: Vec<_> =
            mints.chain(tokens).flat_map(|mint| [&mint.key, &mint.signer]).flatten().collect();
        for name in names {
            if self.keys.contains_key(name) {
                continue;
            }
            if let Some((_, alg)) = by_convention(name) {
                self.keys.insert(name.clone(), generate(name, alg, None)?);
            }
        }
        Ok(())
    }

    /// The keys that are published for an issuer by their names alone.
    pub(super) fn keys_by_convention<'w>(&'w self, issuer: &'w str) -> impl Iterator<Item = &'w SigningKey> {
        let undeclared = self.keys.iter().filter(|(name, _)| !self.suite.keys.contains_key(*name));
        undeclared
            .filter(move |(name, _)| by_convention(name).is_some_and(|(prefix, _)| prefix == issuer))
            .map(|(_, key)| key)
    }

    /// The key set of an answer.
    pub(super) fn set(&self, answer: &AnswerFields) -> anyhow::Result<Option<Value>> {
        let Some(items) = &answer.keys else { return Ok(None) };
        let mut keys = Vec::new();
        for item in items {
            keys.extend(self.items(&item.0)?);
        }
        Ok(Some(jwk_set(keys)))
    }

    fn items(&self, item: &SetItemFields) -> anyhow::Result<Vec<Value>> {
        let mut keys = match (&item.key, &item.jwk, &item.file) {
            (Some(name), None, None) => {
                let key = self.keys.get(name).with_context(|| self.no_key(name))?;
                vec![key.jwk()]
            }
            (None, Some(jwk), None) => vec![jwk.clone()],
            (None, None, Some(file)) => {
                let document = self.json(file)?;
                match document.get("keys").and_then(Value::as_array) {
                    Some(keys) => keys.clone(),
                    None => vec![document],
                }
            }
            _ => bail!("a key of a set has one of `key`, `jwk` and `file`"),
        };
        for key in keys.iter_mut().filter_map(Value::as_object_mut) {
            key.extend(item.with.clone());
            key.retain(|name, _| !item.without.contains(name));
        }
        Ok(keys)
    }

    /// The scene of a check at a time.
    pub(super) fn scene(&self, now: i64) -> Scene {
        let mut names = self.keys.keys();
        // With a single key there is nothing to choose.
        let key = names.next().filter(|_| names.next().is_none()).cloned();
        Scene { keys: self.keys.clone(), key, now, ..Scene::default() }
    }

    /// Every named token as it is at a time.
    pub(super) fn tokens(&self, scene: &Scene) -> Result<BTreeMap<String, Vec<u8>>, Wrong> {
        let mut tokens = BTreeMap::new();
        for (name, spec) in &self.suite.tokens {
            let token = match &spec.value {
                TokenSpec::Literal(text) => text.trim().as_bytes().to_vec(),
                TokenSpec::Mint(mint) => self.forge(scene, mint).at(place::of(spec))?,
            };
            tokens.insert(name.clone(), token);
        }
        Ok(tokens)
    }

    pub(super) fn forge(&self, scene: &Scene, mint: &Mint) -> anyhow::Result<Vec<u8>> {
        scene.forge(&self.complete(mint)?).map_err(|error| match error {
            ForgeError::NoKey(name) => anyhow::anyhow!(self.no_key(&name)),
            ForgeError::Wrong(reason) => anyhow::anyhow!(reason),
        })
    }

    /// The mint with everything that it is like.
    fn complete(&self, mint: &Mint) -> anyhow::Result<Mint> {
        let mut all = mint.clone();
        for _ in 0..MAX_LIKE {
            let Some(name) = all.like.take() else { return Ok(all) };
            let base = match self.suite.tokens.get(&name).map(|token| &token.value) {
                Some(TokenSpec::Mint(base)) => base,
                Some(TokenSpec::Literal(_)) => bail!("`like: {name}`: that token is not minted here"),
                None => bail!("`like: {name}`: {}", self.no_token(&name)),
            };
            all = Mint { like: base.like.clone(), ..all.over(base) };
        }
        bail!("`like` goes round in a circle")
    }

    fn no_key(&self, name: &str) -> String {
        let known: Vec<_> = self.keys.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        format!(
            "no key is called `{name}`; there is: {known}. Declare it under `keys`, or call it `<issuer>-<algorithm>`"
        )
    }

    pub(super) fn no_token(&self, name: &str) -> String {
        let known: Vec<_> = self.suite.tokens.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        format!("no token is called `{name}`; there is: {known}. Declare it under `tokens`")
    }
}

/// The issuer and the algorithm of a name such as `main-rs256`.
fn by_convention(name: &str) -> Option<(&str, Alg)> {
    let (issuer, alg) = name.rsplit_once('-')?;
    let alg = Alg::ALL.iter().copied().find(|own| own.as_str().eq_ignore_ascii_case(alg))?;
    Some((issuer, alg))
}

fn generate(kid: &str, alg: Alg, bits: Option<usize>) -> anyhow::Result<SigningKey> {
    let kind = match (Kind::usual(alg), bits) {
        (Kind::Rsa(_), Some(bits)) => Kind::Rsa(bits),
        (kind, _) => kind,
    };
    if bits.is_some() && !matches!(kind, Kind::Rsa(_)) {
        bail!("`bits` is for RSA keys");
    }
    Ok(SigningKey::generate(&SEED, kid, kind)?.for_alg(alg)?)
}

/// A time of day: RFC 3339, or seconds since 1970.
pub(super) fn instant(value: &Value) -> anyhow::Result<Duration> {
    match value {
        Value::Number(number) => {
            let seconds = number.as_u64().context("a time before 1970, or with a fraction")?;
            Ok(Duration::from_secs(seconds))
        }
        Value::String(text) => {
            let time = humantime::parse_rfc3339_weak(text)
                .with_context(|| format!("`{text}` is no time: write 2026-01-01T00:00:00Z"))?;
            Ok(time.duration_since(UNIX_EPOCH)?)
        }
        _ => bail!("a time is written 2026-01-01T00:00:00Z, or in seconds since 1970"),
    }
}

/// The machine's clock, in whole seconds: a suite without `now` runs at the present.
pub(super) fn present() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(since.as_secs())
}

/// A span of time such as `5m`.
pub(super) fn span(text: &str) -> anyhow::Result<Duration> {
    humantime::parse_duration(text).with_context(|| format!("`{text}` is no span of time: write 5m or 1h30m"))
}
