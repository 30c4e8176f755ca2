//! A jwt-auth configuration in the embedded host, with the corpus's keys in the place of the
//! issuer's.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use portcullis_host::{Answer, CallResponse};
use portcullis_issuer::{
    Seed, Setup,
    attacks::{Request, Seen, Target, published},
    jwk_set,
};
use portcullis_jwt::Policy;
use serde_json::{Value, json};

use super::{Arguments, Gateway};
use crate::{
    source::Source,
    stage::{Call, Configured, NotStarted, Stage},
};

pub(super) struct Hosted {
    name: String,
    stage: Stage,
}

pub(super) fn prepare(file: &Path, arguments: &Arguments) -> anyhow::Result<(Target, Hosted)> {
    let shown = file.display().to_string();
    let source = Source::read(file)?.for_plugin("jwt-auth")?;
    let bytes = source.json()?;
    // The policy says what is wrong with it, with the path; what follows can rely on its shape.
    Policy::from_json(&bytes).map_err(|error| source.refused(&error.to_string()))?;
    let mut config: Value = serde_json::from_slice(&bytes)?;
    let index = issuer_index(&config, arguments.issuer.as_deref())?;
    let issuer = config["issuers"][index].clone();
    let name = issuer["name"].as_str().unwrap_or_default().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let target = target(&issuer, now, arguments)?;

    let keys = published().map_err(|reason| anyhow::anyhow!(reason))?;
    let keys = keys.iter().map(|key| target.publish(key)).collect::<Result<Vec<_>, _>>()?;
    let set = jwk_set(keys);
    // Where the set is fetched from does not matter to the attack; that it is there does.
    config["issuers"][index]["jwks"] = json!({ "inline": set });
    let configuration = config.to_string().into_bytes();
    let chain = [Configured { plugin: portcullis_modules::JWT_AUTH, configuration }];
    let whole = Duration::from_secs(now.as_secs());
    let stage = Stage::start(&chain, whole, [], |_| Answer::now(CallResponse::no_connection()));
    let stage = stage.map_err(|error| match error {
        NotStarted::Refused { plugin, reason } => anyhow::anyhow!("{plugin} refuses {shown}: {reason}"),
        NotStarted::Failed(error) => error,
    })?;
    Ok((target, Hosted { name: format!("{shown}, issuer {name}, in the embedded host"), stage }))
}

fn issuer_index(config: &Value, wanted: Option<&str>) -> anyhow::Result<usize> {
    let issuers = config["issuers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = issuers.iter().filter_map(|issuer| issuer["name"].as_str()).collect();
    let Some(wanted) = wanted else {
        return if names.is_empty() { bail!("the configuration has no issuer") } else { Ok(0) };
    };
    names
        .iter()
        .position(|name| *name == wanted)
        .with_context(|| format!("no issuer is called `{wanted}`; there is: {}", names.join(", ")))
}

/// What the corpus has to know, out of the issuer's configuration.
fn target(issuer: &Value, now: Duration, arguments: &Arguments) -> anyhow::Result<Target> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let audience = issuer["audiences"].get(0).map_or_else(|| "portcullis-attack".into(), text);
    let seconds = i64::try_from(now.as_secs())?;
    let setup = Setup::new(&Seed::from_os()?, &text(&issuer["issuer"]), &audience, seconds)?;
    let mut target = setup.target();
    target.algorithms = Some(issuer["algorithms"].as_array().into_iter().flatten().map(text).collect());
    target.path = arguments.path.clone().unwrap_or_else(|| "/".into());
    target.public_prefix.clone_from(&arguments.public);
    target.subject_header = issuer["forward"]["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|header| header["claim"] == "sub")
        .map(|header| text(&header["header"]));
    target.cookie = issuer["from"]["cookies"].get(0).map(text);
    target.query = issuer["from"]["query"].get(0).map(text);
    if let Some(skew) = issuer["clock_skew"].as_str() {
        target.scene.skew = i64::try_from(humantime::parse_duration(skew)?.as_secs())?;
    }
    let allowed = target.algorithms.clone().unwrap_or_default();
    let order = ["ec", "rsa", "ed", "pss", "p384"];
    let key = order.iter().find(|name| {
        target
            .scene
            .keys
            .get(**name)
            .is_some_and(|key| allowed.iter().any(|alg| alg == key.natural_alg().as_str()))
    });
    let Some(key) = key else {
        bail!("the corpus has no key for {}; it has ES256, RS256, EdDSA, PS256 and ES384", allowed.join(", "))
    };
    target.scene.key = Some((*key).into());
    for name in ["jti", "client_id"] {
        // RFC 9068 section 2.2 asks for them; others do not mind.
        target.scene.claims.insert(name.into(), "portcullis-attack".into());
    }
    if let Some(types) = issuer["types"].as_array().and_then(|types| types.first()) {
        target.scene.header.insert("typ".into(), types.clone());
    }
    if issuer.get("profile").is_some_and(|profile| profile == "oauth-access-token") {
        target.scene.header.insert("typ".into(), "at+jwt".into());
    }
    target.scene.claims.extend(arguments.claims.clone().unwrap_or_default());
    target.scene.header.extend(arguments.header.clone().unwrap_or_default());
    Ok(target)
}

impl Gateway for Hosted {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn now(&self) -> i64 {
        i64::try_from(self.stage.wall().as_secs()).unwrap_or(i64::MAX)
    }

    fn shows_upstream(&self) -> bool {
        true
    }

    fn ask(&mut self, request: &Request) -> anyhow::Result<Seen> {
        let pseudo = [
            (":method", request.method.as_str()),
            (":path", &request.path),
            (":authority", "localhost"),
            (":scheme", "https"),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let own = request.headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone()));
        let call = Call {
            request: pseudo.into_iter().chain(own).collect(),
            response: vec![(b":status".to_vec(), b"200".to_vec())],
            ..Call::default()
        };
        let seen = self.stage.ask(&call);
        if let Some(trap) = &seen.trap {
            bail!("{trap}");
        }
        let upstream = seen.upstream.as_ref().map(|headers| {
            headers
                .iter()
                .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
                .collect()
        });
        Ok(Seen { accepted: !seen.refused, code: seen.code(), upstream })
    }
}
