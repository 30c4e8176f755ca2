//! What the policies' own fetches are answered with: key sets, discovery documents, anything else
//! that a suite declares.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portcullis_host::{Answer as HostAnswer, CallResponse, OutgoingCall};
use portcullis_jwt::{
    Policy,
    jwks::{KeySet, Limits, Origin},
    life::Source,
};
use serde_json::json;

use super::{document, world::span};

/// Where the discovery documents of a suite say that the keys are.
const JWKS_PATH: &str = "/suite-jwks";

/// The upstreams of one chain. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstreams(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Cluster and path of each issuer's documents.
    places: Vec<(String, String, Serves)>,
    /// What each issuer answers now.
    answers: BTreeMap<String, Prepared>,
    routes: BTreeMap<String, Vec<(Option<String>, Prepared)>>,
    /// The key set that was given out last, by issuer: what a module follows.
    given: BTreeMap<String, KeySet>,
    limits: BTreeMap<String, Limits>,
}

#[derive(Clone, Debug)]
enum Serves {
    Keys(String),
    Discovery { issuer: String, document: Vec<u8> },
}

/// An answer that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    response: Option<CallResponse>,
    delay: Duration,
}

impl Prepared {
    pub(super) fn new(
        status: Option<u16>,
        headers: &BTreeMap<String, String>,
        body: Vec<u8>,
        delay: Option<&str>,
        down: bool,
    ) -> anyhow::Result<Self> {
        let mut response = CallResponse::new(status.unwrap_or(200), body);
        for (name, value) in headers {
            response = response.header(name, value.as_str());
        }
        let delay = delay.map(span).transpose()?.unwrap_or_default();
        Ok(Self { response: Some(response).filter(|_| !down), delay })
    }

    pub(super) fn route(route: &document::Route) -> anyhow::Result<Self> {
        let body = match &route.body {
            None => Vec::new(),
            Some(serde_json::Value::String(text)) => text.clone().into_bytes(),
            Some(json) => json.to_string().into_bytes(),
        };
        Self::new(route.status, &route.headers, body, route.delay.as_deref(), route.down)
    }

    fn to_answer(&self) -> HostAnswer {
        match &self.response {
            Some(response) => HostAnswer::after(self.delay, response.clone()),
            None => HostAnswer::after(self.delay, CallResponse::no_connection()),
        }
    }
}

impl Upstreams {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns where the policy fetches its keys. Returns the names of those issuers.
    pub(super) fn learn(&self, policy: &Policy) -> BTreeSet<String> {
        let mut inner = self.lock();
        let mut issuers = BTreeSet::new();
        for (_, name, remote) in policy.remote_keys() {
            issuers.insert(name.to_owned());
            inner.limits.insert(name.to_owned(), remote.life.limits);
            for (source, cluster) in remote.life.sources.iter().zip(&remote.clusters) {
                match source {
                    Source::Keys(address) => {
                        inner.places.push((
                            cluster.clone(),
                            address.path().into(),
                            Serves::Keys(name.into()),
                        ));
                    }
                    Source::Discovery(address) => {
                        let jwks = format!("https://{}{JWKS_PATH}/{name}", address.authority());
                        let document = json!({ "issuer": remote.life.issuer, "jwks_uri": jwks })
                            .to_string()
                            .into_bytes();
                        let serves = Serves::Discovery { issuer: name.into(), document };
                        inner.places.push((cluster.clone(), address.path().into(), serves));
                        let path = format!("{JWKS_PATH}/{name}");
                        inner.places.push((cluster.clone(), path, Serves::Keys(name.into())));
                    }
                }
            }
        }
        issuers
    }

    /// From now on the issuer answers this.
    pub(super) fn set_answer(&self, issuer: &str, answer: Prepared) {
        self.lock().answers.insert(issuer.into(), answer);
    }

    /// From now on the cluster answers these.
    pub(super) fn set_routes(&self, cluster: &str, routes: Vec<(Option<String>, Prepared)>) {
        self.lock().routes.insert(cluster.into(), routes);
    }

    pub(super) fn clusters(&self) -> BTreeSet<String> {
        let inner = self.lock();
        inner.places.iter().map(|(cluster, ..)| cluster).chain(inner.routes.keys()).cloned().collect()
    }

    /// The key set that the issuer's address gave last.
    pub(super) fn given(&self, issuer: &str) -> Option<KeySet> {
        self.lock().given.get(issuer).cloned()
    }

    pub(super) fn answer(&self, call: &OutgoingCall) -> HostAnswer {
        let mut inner = self.lock();
        let path = call.headers.text(":path").unwrap_or_default().to_owned();
        let route = inner
            .routes
            .get(&call.cluster)
            .and_then(|routes| routes.iter().find(|(own, _)| own.as_ref().is_none_or(|own| *own == path)));
        if let Some((_, answer)) = route {
            return answer.to_answer();
        }
        let serves = inner.places.iter().find(|(cluster, own, _)| *cluster == call.cluster && *own == path);
        let missing = || HostAnswer::now(CallResponse::new(404, "nothing of the suite is here"));
        let Some((.., serves)) = serves.cloned() else { return missing() };
        let (issuer, document) = match serves {
            Serves::Keys(issuer) => (issuer, None),
            Serves::Discovery { issuer, document } => (issuer, Some(document)),
        };
        let Some(answer) = inner.answers.get(&issuer).cloned() else { return missing() };
        match (&answer.response, document) {
            (Some(_), Some(document)) => HostAnswer::now(CallResponse::new(200, document)),
            (response, _) => {
                // What is no key set leaves the one before in force.
                let limits = inner.limits.get(&issuer).copied().unwrap_or_default();
                let ok = response.as_ref().filter(|response| response.headers.text(":status") == Some("200"));
                if let Some(Ok(set)) = ok.map(|ok| KeySet::parse(&ok.body, Origin::Remote, &limits)) {
                    inner.given.insert(issuer, set);
                }
                answer.to_answer()
            }
        }
    }
}
