//! Runs the checks of one suite.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis_core::{Code, request::borrowed};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    chain::{self, Chain, Ready},
    document::{Answer, Check, Policy, Request, Route, Suite},
    findings,
    judge::{Difference, Expected, values},
    place::{self, At as _, Place, Wrong},
    upstreams::{Prepared, Upstreams},
    world::{World, instant, present, span},
};
use crate::stage::{Call, NotStarted, Observed, Stage};

/// What came of a suite.
#[derive(Debug)]
pub(super) struct SuiteResult {
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) checks: Vec<CheckResult>,
    /// Checks that the filter left out.
    pub(super) left_out: usize,
}

/// What came of a check.
#[derive(Debug)]
pub(super) struct CheckResult {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) steps: Vec<StepResult>,
    pub(super) took: Duration,
}

impl CheckResult {
    pub(super) fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.differences.is_empty())
    }
}

/// What came of one request.
#[derive(Debug)]
pub(super) struct StepResult {
    pub(super) name: Option<String>,
    pub(super) place: Place,
    pub(super) expected: String,
    pub(super) status: u16,
    pub(super) findings: Vec<String>,
    pub(super) differences: Vec<Difference>,
}

/// The checks of `suite` whose names `wanted` takes.
pub(super) fn run(
    suite: &Suite,
    file: &Path,
    wanted: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(),
) -> Result<SuiteResult, Wrong> {
    let world = World::new(suite, file)?;
    let now = match &suite.now {
        Some(now) => instant(&now.value).at(place::of(now))?,
        None => present(),
    };
    let runner = Runner { suite, world, now };
    let name = suite.name.clone().unwrap_or_else(|| {
        file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    });
    let mut result = SuiteResult { name, file: file.into(), checks: Vec::new(), left_out: 0 };
    let mut seen = std::collections::BTreeSet::new();
    for check in &suite.checks {
        let place = place::of(check);
        let Some(name) = &check.value.name else {
            return Err(Wrong::new(place, "a check needs a `name`"));
        };
        if !seen.insert(name) {
            return Err(Wrong::new(place, format!("another check is called `{name}` too")));
        }
        if !wanted(name) {
            result.left_out += 1;
            continue;
        }
        let start = std::time::Instant::now();
        let steps = runner.check(&check.value, place)?;
        result.checks.push(CheckResult { name: name.clone(), place, steps, took: start.elapsed() });
        progress();
    }
    Ok(result)
}

struct Runner<'s> {
    suite: &'s Suite,
    world: World<'s>,
    now: Duration,
}

/// What a check has while it runs.
struct Scene<'c> {
    stage: Stage,
    policy: Option<portcullis_jwt::Policy>,
    upstreams: Upstreams,
    tokens: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<&'c str, (&'c Answer, Place)>,
    request: &'c Request,
}

impl Runner<'_> {
    fn check(&self, check: &Check, place: Place) -> Result<Vec<StepResult>, Wrong> {
        let mut scene = self.start(check, place)?;
        let mut results = Vec::new();
        let alone = check.steps.is_empty();
        if !alone {
            let own = [
                (check.token.is_some(), "token"),
                (check.mint.is_some(), "mint"),
                (check.expect.is_some(), "expect"),
                (check.expected_failure_codes.is_some(), "expected_failure_codes"),
            ];
            if let Some((_, name)) = own.iter().find(|(there, _)| *there) {
                return Err(Wrong::new(place, format!("a check with `steps` says `{name}` in its steps")));
            }
            if let Some(request) = &check.request {
                scene.request = &request.value;
            }
        }
        let single = (check, place);
        let steps = check.steps.iter().map(|step| (&step.value, place::of(step)));
        for (step, place) in std::iter::once(single).filter(|_| alone).chain(steps) {
            if !alone && (step.policy.is_some() || step.now.is_some() || !step.steps.is_empty()) {
                return Err(Wrong::new(place, "a step has no `policy`, `now` or `steps` of its own"));
            }
            if let Some(after) = &step.after {
                scene.stage.pass(span(&after.value).at(place::of(after))?);
            }
            if !alone {
                self.change(step, &mut scene)?;
                if step.is_quiet() {
                    continue;
                }
            }
            results.push(self.step(step, place, &mut scene, alone)?);
        }
        if results.is_empty() {
            return Err(Wrong::new(place, "none of the `steps` sends a request"));
        }
        Ok(results)
    }

    /// A fresh chain at the check's time: no check leaves anything for the next.
    fn start<'c>(&'c self, check: &'c Check, place: Place) -> Result<Scene<'c>, Wrong> {
        let policy: &Spanned<Policy> = check
            .policy
            .as_ref()
            .or(self.suite.policy.as_ref())
            .ok_or_else(|| Wrong::new(place, "neither the suite nor the check has a `policy`"))?;
        let policy_place = place::of(policy);
        let chain = Chain::load(&policy.value, &self.world).at(policy_place)?;
        let now = match &check.now {
            Some(now) => instant(&now.value).at(place::of(now))?,
            None => self.now,
        };
        let mut answers = BTreeMap::new();
        for (name, answer) in self.suite.jwks.iter().chain(&check.jwks) {
            let place = place::of(answer);
            if !chain.has_issuer(name) {
                let known = chain.issuer_names();
                let reason = format!("no issuer of the policy is called `{name}`; there is: {known}");
                return Err(Wrong::new(place, reason));
            }
            answers.insert(name.as_str(), (&answer.value, place));
        }
        let upstreams = Upstreams::default();
        for (cluster, routes) in self.suite.upstreams.iter().chain(&check.upstreams) {
            set_routes(&upstreams, cluster, routes)?;
        }
        let written = chain;
        let Ready { chain, policy } =
            written.ready(&self.world, |name| answers.get(name).copied(), &upstreams, policy_place)?;
        let answering = upstreams.clone();
        let stage = Stage::start(&chain, now, upstreams.clusters(), move |call| answering.answer(call));
        let stage = stage.map_err(|error| match error {
            NotStarted::Refused { plugin, reason } => {
                let reason = written.refused(plugin, &reason);
                Wrong::new(policy_place, format!("{plugin} refuses the configuration: {reason}"))
            }
            NotStarted::Failed(error) => Wrong::new(policy_place, error),
        })?;
        let tokens = self.world.tokens(&self.world.scene(seconds(now)))?;
        Ok(Scene { stage, policy, upstreams, tokens, answers, request: &self.suite.request })
    }

    fn step<'c>(
        &'c self,
        step: &'c Check,
        place: Place,
        scene: &mut Scene<'c>,
        alone: bool,
    ) -> Result<StepResult, Wrong> {
        let expected = Expected::new(step)?;
        let call = self.call(step, place, scene)?;
        let seen = scene.stage.ask(&call);
        let (findings, disagreement) = Self::findings(&call, &seen, scene);
        let mut differences = expected.differences(&seen, &findings);
        differences.extend(disagreement);
        Ok(StepResult {
            name: step.name.clone().filter(|_| !alone),
            place,
            expected: expected.summary(),
            status: seen.status(),
            findings,
            differences,
        })
    }

    /// What a step says that the issuers and the other upstreams answer from now on.
    fn change<'c>(&'c self, step: &'c Check, scene: &mut Scene<'c>) -> Result<(), Wrong> {
        for (cluster, routes) in &step.upstreams {
            set_routes(&scene.upstreams, cluster, routes)?;
        }
        for (name, answer) in &step.jwks {
            let place = place::of(answer);
            let fetched = scene
                .policy
                .as_ref()
                .is_some_and(|policy| policy.remote_keys().any(|(_, own, _)| own == name));
            if !fetched {
                let reason = format!(
                    "`{name}` is no issuer whose keys are fetched: its set cannot change between steps"
                );
                return Err(Wrong::new(place, reason));
            }
            scene.answers.insert(name, (&answer.value, place));
            let prepared = chain::prepared(&self.world, name, Some((&answer.value, place)), place)?;
            if let Some(prepared) = prepared {
                scene.upstreams.set_answer(name, prepared);
            }
        }
        Ok(())
    }

    fn call(&self, step: &Check, place: Place, scene: &Scene<'_>) -> Result<Call, Wrong> {
        let now = seconds(scene.stage.wall());
        let own = match (&step.token, &step.mint) {
            (Some(_), Some(mint)) => {
                return Err(Wrong::new(place::of(mint), "`token` and `mint` are two tokens"));
            }
            (Some(token), None) => Some(self.expand(&token.value, None, scene).at(place::of(token))?),
            (None, Some(mint)) => {
                Some(self.world.forge(&self.world.scene(now), &mint.value).at(place::of(mint))?)
            }
            (None, None) => None,
        };
        let (request, place) = match &step.request {
            Some(request) => (&request.value, place::of(request)),
            None => (scene.request, place),
        };
        let expand = |text: &str| self.expand(text, own.as_deref(), scene).at(place);
        let text = |text: &Option<String>, default: &str| expand(text.as_deref().unwrap_or(default));
        let mut pairs = vec![
            (b":method".to_vec(), text(&request.method, "GET")?),
            (b":path".to_vec(), text(&request.path, "/")?),
            (b":authority".to_vec(), text(&request.host, "localhost")?),
            (b":scheme".to_vec(), b"https".to_vec()),
        ];
        let mut says_token = mentions_token(&request.path);
        for (name, value) in &request.headers {
            for value in values(value).at(place)? {
                says_token |= value.contains("${token}");
                pairs.push((name.to_ascii_lowercase().into_bytes(), expand(&value)?));
            }
        }
        says_token |= mentions_token(&request.body);
        if let Some(token) = own.as_deref().filter(|_| !says_token) {
            pairs.push((b"authorization".to_vec(), [b"Bearer ", token].concat()));
        }
        let mut properties = BTreeMap::new();
        for (path, value) in &request.properties {
            properties.insert(path.split('.').collect::<Vec<_>>().join("\0"), property(value).at(place)?);
        }
        let mut response =
            vec![(b":status".to_vec(), step.response.status.unwrap_or(200).to_string().into_bytes())];
        for (name, value) in &step.response.headers {
            for value in values(value).at(place)? {
                response.push((name.to_ascii_lowercase().into_bytes(), value.into_bytes()));
            }
        }
        Ok(Call {
            request: pairs,
            body: text(&request.body, "")?,
            properties,
            response,
            response_body: step.response.body.clone().unwrap_or_default().into_bytes(),
        })
    }

    /// Text with `${token}`, `${token:name}` and the bytes of `${hex:…}` filled in.
    fn expand(&self, text: &str, own: Option<&[u8]>, scene: &Scene<'_>) -> anyhow::Result<Vec<u8>> {
        let expanded = portcullis_issuer::forge::Variables::default().expand_with(text, &mut |name| {
            if name == "token" {
                let missing = "`${token}` is the check's own token, and it has no `token` or `mint`";
                return own.map(|own| Some(own.to_vec())).ok_or_else(|| wrong(missing));
            }
            let Some(name) = name.strip_prefix("token:") else { return Ok(None) };
            let token = scene.tokens.get(name).cloned();
            token.map(Some).ok_or_else(|| wrong(&self.world.no_token(name)))
        });
        Ok(expanded?)
    }

    /// All codes, and whether the module said something else than the native policy.
    fn findings(call: &Call, seen: &Observed, scene: &Scene<'_>) -> (Vec<String>, Option<Difference>) {
        let said = seen.code();
        let Some(policy) = &scene.policy else { return (said.into_iter().collect(), None) };
        let unavailable = said.as_deref() == Some(Code::KeysUnavailable.as_str());
        let found = findings::codes(
            policy,
            &borrowed(&call.request),
            &scene.upstreams,
            !unavailable,
            scene.stage.now(),
        );
        let mut codes = found.codes;
        let first = codes.first().cloned().filter(|_| !found.permitted);
        let disagree = match (&first, &said) {
            (Some(first), said) => said.as_ref() != Some(first),
            // A plugin behind it may refuse what jwt-auth lets through.
            (None, Some(said)) => {
                codes.push(said.clone());
                false
            }
            (None, None) => false,
        };
        let difference = disagree.then(|| Difference {
            what: "the module and the native policy disagree; this is a defect of Portcullis".into(),
            expected: first.unwrap_or_default(),
            got: said.unwrap_or_else(|| "no refusal".into()),
        });
        (codes, difference)
    }
}

fn wrong(reason: &str) -> portcullis_issuer::ForgeError {
    portcullis_issuer::ForgeError::Wrong(reason.into())
}

fn mentions_token(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| text.contains("${token}"))
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn set_routes(upstreams: &Upstreams, cluster: &str, routes: &Spanned<Vec<Route>>) -> Result<(), Wrong> {
    let prepared = routes.value.iter().map(|route| Ok((route.path.clone(), Prepared::route(route)?)));
    let prepared = prepared.collect::<anyhow::Result<Vec<_>>>().at(place::of(routes))?;
    upstreams.set_routes(cluster, prepared);
    Ok(())
}

/// A property as the ABI encodes it: text as it is, numbers in 8 bytes, booleans in one.
fn property(value: &Value) -> anyhow::Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        Value::Bool(value) => Ok(vec![u8::from(*value)]),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Ok(number.to_le_bytes().to_vec()),
            None => anyhow::bail!("a property that is a number is a whole one"),
        },
        _ => anyhow::bail!("a property is text, a whole number or a boolean"),
    }
}
