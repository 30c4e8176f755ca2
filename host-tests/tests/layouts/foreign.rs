//! What another version has left under this version's own keys: a layout that changed without a new
//! number, or a value that was cut. In the embedded host.

use std::time::Duration;

use anyhow::{Result, ensure};
use portcullis_host::{CallResponse, Direction, Outcome, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_host_tests::subject::compiled;
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

const NOW: u64 = 1_767_225_600;
const VM: &str = "jwt-auth";

struct Stage {
    setup: Setup,
    clock: VirtualClock,
    process: Process,
}

impl Stage {
    fn new() -> Result<Self> {
        let setup = Setup::new(&Seed::new([5; 32]), "https://login.example.com", "api", i64::try_from(NOW)?)?;
        let clock = VirtualClock::at_unix_seconds(NOW);
        let process = Process::builder().clock(clock.clone()).seed(1).cluster("idp").recording().build();
        Ok(Self { setup, clock, process })
    }

    /// A worker that starts now, as those of the new version do during a roll-out.
    fn worker(&self) -> Result<Worker> {
        let mut configuration = self.setup.jwt_auth_everywhere();
        configuration["issuers"][0]["jwks"] = json!({"remote": {
            "uri": "http://idp/jwks", "cluster": "idp", "allow_insecure_http": true,
        }});
        let mut worker = Worker::new(&self.process);
        let plugin = Plugin::new(VM).configuration(configuration.to_string());
        worker.add(&compiled(portcullis_modules::JWT_AUTH.wasm)?, plugin)?;
        Ok(worker)
    }

    /// What becomes of a request with `token` in the end: `permitted`, or the code.
    fn judge(&self, worker: &mut Worker, token: &str) -> Result<String> {
        let stream = worker.open(StreamInfo::new());
        let bearer = format!("Bearer {token}");
        let request = [
            (":method", "GET"),
            (":path", "/x"),
            (":authority", "app.test"),
            (":scheme", "http"),
            ("authorization", bearer.as_str()),
        ];
        let mut outcome = worker.request_headers(stream, request, true);
        // Ten seconds at most.
        for _ in 0..200 {
            if !worker.is_paused(stream, Direction::Request) {
                break;
            }
            let mut events = Vec::new();
            for call in worker.take_calls() {
                let keys = self.setup.jwks().to_string();
                let answer = CallResponse::new(200, keys).header("content-type", "application/json");
                events.extend(worker.complete_call(call.id, Ok(answer)));
            }
            self.clock.advance(Duration::from_millis(50));
            events.extend(worker.poll());
            if let Some(event) = events.into_iter().find(|event| event.stream == stream) {
                outcome = event.outcome;
                break;
            }
        }
        worker.close(stream);
        ensure!(outcome.trap().is_none() && worker.trap(0).is_none(), "it trapped");
        Ok(match (&outcome, outcome.reply()) {
            (_, Some(reply)) => {
                let body: Value = serde_json::from_slice(&reply.body)?;
                body["code"].as_str().unwrap_or_default().to_owned()
            }
            (Outcome::Forward(_), None) => "permitted".into(),
            (other, None) => format!("{other:?}"),
        })
    }

    /// The keys under which the module shares something, and what.
    fn shared(&self) -> Vec<(String, Vec<u8>)> {
        let mut names: Vec<_> = self
            .process
            .take_record()
            .into_iter()
            .filter(|effect| effect.call == "proxy_set_shared_data")
            .map(|effect| effect.subject)
            .collect();
        names.sort();
        names.dedup();
        let value = |name: String| {
            let (value, _) = self.process.shared_data(VM, &name)?;
            Some((name, value))
        };
        names.into_iter().filter_map(value).collect()
    }
}

/// A name for what is left, and how it comes about.
type Damage = (&'static str, fn(&[u8]) -> Vec<u8>);

const DAMAGES: [Damage; 6] = [
    ("nothing", |_| Vec::new()),
    ("half of it", |value| value[..value.len() / 2].to_vec()),
    ("one byte more in front", |value| [&[2], value].concat()),
    ("one byte more behind", |value| [value, &[0]].concat()),
    ("ones", |_| vec![0xff; 64]),
    ("a megabyte of zeros", |_| vec![0; 1 << 20]),
];

#[test]
fn what_another_version_left_under_our_keys_is_not_believed_and_breaks_nothing() -> Result<()> {
    let mut tried = 0;
    for (what, damage) in DAMAGES {
        for at in 0..3 {
            let stage = Stage::new()?;
            let good = stage.setup.token().compact(&stage.setup.keys.ec)?;
            let forged = stage.setup.token().compact(&stage.setup.keys.mallory_ec.renamed("ec-1"))?;
            let mut old = stage.worker()?;
            assert_eq!(stage.judge(&mut old, &good)?, "permitted");
            let shared = stage.shared();
            assert_eq!(shared.len(), 3, "a set, a marker and a ledger: {shared:?}");
            let (name, value) = &shared[at];
            stage.process.set_shared_data(VM, name, &damage(value)).expect("there is room");

            // The next worker has nothing but what is shared; the old one has seen better.
            let mut new = stage.worker()?;
            for (who, worker) in [("old", &mut old), ("new", &mut new)] {
                let place = format!("{who}, {what} as {name}");
                assert_eq!(stage.judge(worker, &forged)?, "SIGNATURE_INVALID", "{place}");
                assert_eq!(stage.judge(worker, &good)?, "permitted", "{place}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, DAMAGES.len() * 3 * 2);
    Ok(())
}
