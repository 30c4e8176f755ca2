//! The suite as people write it. Nothing here is checked for sense beyond its shape.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use portcullis_issuer::Mint;
use serde::{
    Deserialize, Deserializer,
    de::{
        Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer,
    },
};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A test suite for `portcullis test`: requests and tokens, each with the answer that it must
/// get.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    /// For reports; the file's name where there is none.
    pub(super) name: Option<String>,
    /// What is tested, for every check that names no other.
    #[cfg_attr(test, schemars(with = "Option<Policy>"))]
    pub(super) policy: Option<Spanned<Policy>>,
    /// The clock: a time (RFC 3339), or seconds since 1970. By default the present.
    #[cfg_attr(test, schemars(with = "Option<super::schema::Time>"))]
    pub(super) now: Option<Spanned<Value>>,
    /// What tokens are signed with, by name. One that is not declared and is called
    /// `<issuer>-<algorithm>`, such as `main-rs256`, is generated and published in that issuer's
    /// set.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, KeySpec>"))]
    pub(super) keys: BTreeMap<String, Spanned<KeySpec>>,
    /// For each issuer of the policy, by its name, what its address answers: a list of keys, or
    /// trouble.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Answer>"))]
    pub(super) jwks: BTreeMap<String, Spanned<Answer>>,
    /// Named tokens, for `${token:name}` and `like`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, TokenSpec>"))]
    pub(super) tokens: BTreeMap<String, Spanned<TokenSpec>>,
    /// For each cluster that a plugin calls, what it answers.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Vec<Route>>"))]
    pub(super) upstreams: BTreeMap<String, Spanned<Vec<Route>>>,
    /// What a check that says nothing of it sends.
    #[serde(default)]
    pub(super) request: Request,
    /// The checks.
    #[cfg_attr(test, schemars(with = "Vec<Check>"))]
    pub(super) checks: Vec<Spanned<Check>>,
}

/// One check, or one step of a check that is a sequence.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// What it shows; needed of a check, and unique.
    pub(super) name: Option<String>,
    /// In the place of the suite's.
    #[cfg_attr(test, schemars(with = "Option<Policy>"))]
    pub(super) policy: Option<Spanned<Policy>>,
    /// In the place of the suite's.
    #[cfg_attr(test, schemars(with = "Option<super::schema::Time>"))]
    pub(super) now: Option<Spanned<Value>>,
    /// How much time passes before the request, such as `20m`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) after: Option<Spanned<String>>,
    /// In the place of the suite's.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Answer>"))]
    pub(super) jwks: BTreeMap<String, Spanned<Answer>>,
    /// In the place of the suite's.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Vec<Route>>"))]
    pub(super) upstreams: BTreeMap<String, Spanned<Vec<Route>>>,
    /// Sent as the bearer token; `${token:alice}` is a named one.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) token: Option<Spanned<String>>,
    /// The token is made for this check.
    #[cfg_attr(test, schemars(with = "Option<Mint>"))]
    pub(super) mint: Option<Spanned<Mint>>,
    /// What is sent.
    #[cfg_attr(test, schemars(with = "Option<Request>"))]
    pub(super) request: Option<Spanned<Request>>,
    /// What the upstream answers.
    #[serde(default)]
    pub(super) response: Response,
    /// Exactly the codes of everything that is wrong with the token. Without it the check expects
    /// success.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    pub(super) expected_failure_codes: Option<Vec<Spanned<String>>>,
    /// What must come of it.
    #[cfg_attr(test, schemars(with = "Option<Expect>"))]
    pub(super) expect: Option<Spanned<Expect>>,
    /// A sequence of requests that share one module; time passes and key sets change between
    /// them.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<Check>"))]
    pub(super) steps: Vec<Spanned<Check>>,
}

impl Check {
    /// As a step: something changes or time passes, and nothing is sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.token.is_none()
            && self.mint.is_none()
            && self.request.is_none()
            && self.expect.is_none()
            && self.expected_failure_codes.is_none()
    }
}

/// The filters that a request goes through.
#[derive(Clone, Debug)]
pub(super) struct Policy(pub(super) Vec<Filter>);

#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) plugin: String,
    pub(super) source: Source,
}

/// Where a configuration is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(String),
    Inline(Value),
}

impl Filter {
    fn from_map(mut map: Map<String, Value>) -> Result<Self, String> {
        let plugin = match map.remove("plugin") {
            None => "jwt-auth".into(),
            Some(Value::String(name)) => name,
            Some(_) => return Err("`plugin` is not a name".into()),
        };
        let source = match (map.remove("file"), map.remove("config")) {
            (Some(Value::String(file)), None) => Source::File(file),
            (Some(_), None) => return Err("`file` is not a path".into()),
            (None, Some(config)) => Source::Inline(config),
            (Some(_), Some(_)) => return Err("`file` and `config` are two configurations".into()),
            // What is left is the configuration itself.
            (None, None) => return Ok(Self { plugin, source: Source::Inline(Value::Object(map)) }),
        };
        match map.keys().next() {
            Some(other) => Err(format!("unknown field `{other}`, expected `plugin` with `file` or `config`")),
            None => Ok(Self { plugin, source }),
        }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let filter = |value| match value {
            Value::Object(map) => Filter::from_map(map).map_err(D::Error::custom),
            _ => Err(D::Error::custom("a policy is `{file: …}`, a configuration, or a list of these")),
        };
        match Value::deserialize(deserializer)? {
            Value::Array(filters) => filters.into_iter().map(filter).collect::<Result<_, _>>().map(Self),
            one => Ok(Self(vec![filter(one)?])),
        }
    }
}

/// A key that the suite signs with.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeySpec {
    /// Generated for this algorithm, if neither `file` nor `jwk` nor `secret` is there.
    pub(super) alg: Option<String>,
    /// The size of a generated RSA key.
    pub(super) bits: Option<usize>,
    /// The name in headers and sets; that of the key where there is none.
    pub(super) kid: Option<String>,
    /// A file with it: PKCS #8, PKCS #1, SEC 1, or a JWK.
    pub(super) file: Option<String>,
    /// The private key as a JWK.
    pub(super) jwk: Option<Value>,
    /// An HMAC secret as text.
    pub(super) secret: Option<String>,
}

/// A named token: as it is, or how to make it.
#[derive(Debug)]
pub(super) enum TokenSpec {
    Literal(String),
    Mint(Box<Mint>),
}

/// What an issuer's address answers: a key set, or trouble.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct AnswerFields {
    /// The key set.
    pub(super) keys: Option<Vec<SetItem>>,
    /// The status. Default: `200`.
    pub(super) status: Option<u16>,
    /// Headers of the answer.
    pub(super) headers: BTreeMap<String, String>,
    /// In the place of a key set.
    pub(super) body: Option<String>,
    /// How long it takes, such as `2s`.
    pub(super) delay: Option<String>,
    /// The connection is refused. Default: `false`.
    pub(super) down: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Answer(pub(super) AnswerFields);

/// One key of a set.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct SetItemFields {
    /// A key by its name.
    pub(super) key: Option<String>,
    /// Members to set.
    pub(super) with: Map<String, Value>,
    /// Members to leave out.
    pub(super) without: Vec<String>,
    /// A JWK as it is.
    pub(super) jwk: Option<Value>,
    /// A JWK Set or a JWK.
    pub(super) file: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SetItem(pub(super) SetItemFields);

/// What a cluster answers on a path.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Every path, where there is none.
    pub(super) path: Option<String>,
    /// The status. Default: `200`.
    pub(super) status: Option<u16>,
    /// Headers of the answer.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The body: a text, or a value that is written as JSON.
    pub(super) body: Option<Value>,
    /// How long it takes, such as `1s`.
    pub(super) delay: Option<String>,
    /// The connection is refused. Default: `false`.
    #[serde(default)]
    pub(super) down: bool,
}

/// A request; each text may hold `${token}`, `${token:name}` and `${hex:ff}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Request {
    /// The method. Default: `GET`.
    pub(super) method: Option<String>,
    /// The path with its query. Default: `/`.
    pub(super) path: Option<String>,
    /// The host.
    pub(super) host: Option<String>,
    /// A value, or several where the header is repeated.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, super::schema::Header>"))]
    pub(super) headers: BTreeMap<String, Value>,
    /// The body.
    pub(super) body: Option<String>,
    /// What the proxy knows of the connection, such as `connection.mtls`.
    pub(super) properties: BTreeMap<String, Value>,
}

/// What the upstream answers a request that reaches it.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Response {
    /// The status. Default: `200`.
    pub(super) status: Option<u16>,
    /// Headers: a value, or a list where one is repeated.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, super::schema::Header>"))]
    pub(super) headers: BTreeMap<String, Value>,
    /// The body.
    pub(super) body: Option<String>,
}

/// What must come of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// Whether it reaches the upstream.
    pub(super) decision: Option<Decision>,
    /// The status of the reply.
    pub(super) status: Option<u16>,
    /// The code of a refusal, which is that of the first finding.
    pub(super) code: Option<String>,
    /// What the upstream sees of each header: a value, a list of all, or `null` for none.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, super::schema::Header>"))]
    pub(super) upstream_headers: BTreeMap<String, Value>,
    /// The same for the reply.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, super::schema::Header>"))]
    pub(super) headers: BTreeMap<String, Value>,
    /// The whole body of the reply.
    pub(super) body: Option<String>,
}

/// Whether a request reaches the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// It does.
    Allow,
    /// A plugin answers instead.
    Deny,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// Reads text, a list or a map, whichever of them `T` takes.
struct Shapes<T>(&'static str, PhantomData<T>);

/// A type that is written in more than one shape.
trait Shaped: Sized {
    const EXPECTED: &'static str;
    fn text(_: String) -> Option<Self> {
        None
    }
    fn list<'de, A: SeqAccess<'de>>(_: A) -> Option<Result<Self, A::Error>> {
        None
    }
    fn map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

impl<'de, T: Shaped> Visitor<'de> for Shapes<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let wrong = E::invalid_type(serde::de::Unexpected::Str(text), &self);
        T::text(text.into()).ok_or(wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        let wrong = A::Error::invalid_type(serde::de::Unexpected::Seq, &self);
        T::list(list).unwrap_or(Err(wrong))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }
}

macro_rules! shaped {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Shapes::<Self>(Self::EXPECTED, PhantomData))
            }
        }
    )*};
}

shaped! { TokenSpec Answer SetItem }

impl Shaped for TokenSpec {
    const EXPECTED: &'static str = "a token, or a map that says how to mint one";
    fn text(text: String) -> Option<Self> {
        Some(Self::Literal(text))
    }
    fn map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Mint::deserialize(MapAccessDeserializer::new(map)).map(|mint| Self::Mint(Box::new(mint)))
    }
}

impl Shaped for Answer {
    const EXPECTED: &'static str = "a list of keys, or a map that says what the issuer answers";
    fn list<'de, A: SeqAccess<'de>>(list: A) -> Option<Result<Self, A::Error>> {
        let keys = Vec::<SetItem>::deserialize(SeqAccessDeserializer::new(list));
        Some(keys.map(|keys| Self(AnswerFields { keys: Some(keys), ..AnswerFields::default() })))
    }
    fn map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        AnswerFields::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl Shaped for SetItem {
    const EXPECTED: &'static str = "the name of a key, or a map with `key`, `jwk` or `file`";
    fn text(text: String) -> Option<Self> {
        Some(Self(SetItemFields { key: Some(text), ..SetItemFields::default() }))
    }
    fn map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        SetItemFields::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}
