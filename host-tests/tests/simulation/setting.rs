//! What a story is played with: the filter's configuration and what it promises.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    random::Random,
    tokens::{DEAD, ISSUER},
};

/// Where the keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// One address.
    Remote,
    /// Two addresses; the second is never in trouble. See [`Setting::first_is_gone`].
    Failover,
    /// An address that the discovery document names.
    Discovery,
}

/// The settings of one story.
#[derive(Clone, Debug)]
pub struct Setting {
    pub source: Source,
    /// An issuer that never answers is configured beside the other.
    pub dead: bool,
    pub default_fresh: u64,
    pub min_fresh: u64,
    pub max_fresh: u64,
    pub stale_if_error: u64,
    pub backoff_max: u64,
    pub wait: u64,
    pub waiting_requests: usize,
}

impl Setting {
    /// The stated bound: fetches in any minute, by one proxy.
    pub const FETCHES: usize = 4;
    /// How long one fetch may take.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    pub fn new(random: &mut Random) -> Self {
        let (min_fresh, default_fresh, max_fresh) =
            random.pick(&[(40, 60, 120), (40, 100, 200), (60, 120, 300), (60, 300, 900)]);
        Self {
            source: random.pick(&[
                Source::Remote,
                Source::Remote,
                Source::Remote,
                Source::Failover,
                Source::Discovery,
            ]),
            dead: random.chance(15),
            default_fresh,
            min_fresh,
            max_fresh,
            stale_if_error: random.pick(&[0, 60, 180, 600]),
            backoff_max: random.pick(&[20, 60]),
            wait: random.pick(&[2, 5, 8]),
            waiting_requests: random.pick(&[8, 4096]),
        }
    }

    /// How long a set is fresh that is answered with this `max-age`.
    pub fn fresh(&self, max_age: Option<u64>) -> Duration {
        Duration::from_secs(max_age.unwrap_or(self.default_fresh).clamp(self.min_fresh, self.max_fresh))
    }

    /// Whether the first of two addresses is gone for good: the second has to be enough. A third of
    /// the stories with two.
    pub fn first_is_gone(&self) -> bool {
        self.source == Source::Failover && self.wait == 5
    }

    pub fn stale(&self) -> Duration {
        Duration::from_secs(self.stale_if_error)
    }

    pub fn backoff(&self) -> Duration {
        Duration::from_secs(self.backoff_max)
    }

    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }

    /// The filter's configuration.
    pub fn configuration(&self) -> Value {
        let life = json!({
            "default_fresh": format!("{}s", self.default_fresh),
            "min_fresh": format!("{}s", self.min_fresh),
            "max_fresh": format!("{}s", self.max_fresh),
            "refresh_ahead": "10s",
            "stale_if_error": format!("{}s", self.stale_if_error),
            "backoff_max": format!("{}s", self.backoff_max),
            "max_document_bytes": 4096,
        });
        let remote = |address: &str, cluster: &str| json!({"uri": format!("{address}/jwks"), "cluster": cluster, "timeout": "5s", "life": life});
        let mut main = remote(ISSUER, "idp");
        let jwks = match self.source {
            Source::Remote => json!({"remote": main}),
            Source::Failover => {
                main["failover"] = json!([{"uri": "https://spare.example/jwks", "cluster": "spare"}]);
                json!({"remote": main})
            }
            Source::Discovery => json!({"discovery": {"cluster": "idp", "timeout": "5s", "life": life}}),
        };
        let issuer = |name: &str, issuer: &str, jwks: Value| json!({"name": name, "issuer": issuer, "audiences": ["api"], "algorithms": ["ES256"], "jwks": jwks});
        let mut issuers = vec![issuer("main", ISSUER, jwks)];
        let mut names = vec!["main"];
        if self.dead {
            issuers.push(issuer("dead", DEAD, json!({"remote": remote(DEAD, "dead")})));
            names.push("dead");
        }
        json!({
            "issuers": issuers,
            "rules": [{"path": {"prefix": "/"}, "require": {"any": names}}],
            "limits": {"wait": format!("{}s", self.wait), "waiting_requests": self.waiting_requests},
        })
    }
}
